//! Has the kernel make faults in another task, one after the other, as a seed says. Works with a kernel that has the
//! feature `test-faults`; with a product's it says so and ends.
//!
//! | setting | |
//! |---|---|
//! | `seed` | everything that is done follows from it; when it is done does not |
//! | `fault` | `kill`, or a name of `abi::faults::Fault` |
//! | `faults` | how many |
//! | `begin_milliseconds` | how long to wait before the first |
//! | `pause_milliseconds` | the longest pause between two; each is random |
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use abi::faults::Fault;
use task::{Deadline, Environment, Kill, Started, Stop};
use trials::{insist, number, wrong_setting};

task::needs! {
    victim: kill,
    log: log,
}
task::main!(run);

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// What became of an attempt.
enum Outcome {
    Done,
    Nothing,
    /// The victim has stopped and does not run again yet.
    Stopped,
}

fn inject(victim: &Kill, fault: Option<Fault>, random: &mut Random) -> Result<Outcome, Stop> {
    let result = match fault {
        None => victim.kill().map(|()| true),
        Some(fault) => victim.inject(fault, random.number(), random.number()),
    };
    match result {
        Ok(true) => Ok(Outcome::Done),
        Ok(false) => Ok(Outcome::Nothing),
        Err(abi::Error::DeadPeer) => Ok(Outcome::Stopped),
        Err(abi::Error::Invalid) => Err(Stop::new(format_args!("the kernel makes no faults: it is a product's"))),
        Err(other) => Err(other.into()),
    }
}

fn run(environment: Environment) -> Result<(), Stop> {
    /// How long a victim may stay stopped.
    const PATIENCE: u32 = 30_000;
    let grants = Grants::find(&environment)?;
    let fault = match environment.setting("fault") {
        Some("kill") => None,
        Some(name) => Some(Fault::from_name(name).ok_or(wrong_setting("fault", "kill, or a fault's name"))?),
        None => return Err(wrong_setting("fault", "kill, or a fault's name")),
    };
    let (seed, faults) = (number(&environment, "seed", 1)?, number(&environment, "faults", 10)?);
    let most = number(&environment, "pause_milliseconds", 100)?.max(1) * 1_000;
    let begin = number(&environment, "begin_milliseconds", 1_000)?;
    let mut random = Random(seed);
    task::ready(Started::Well);
    let pause = |microseconds| {
        // A pause ends by timing out.
        let _ = task::wait(Deadline::after(Duration::from_micros(microseconds)));
    };
    pause(begin * 1_000);
    let (mut done, mut nothing, mut waited) = (0, 0, 0);
    while done < faults {
        pause(random.number() % most + 1);
        match inject(&grants.victim, fault, &mut random)? {
            Outcome::Done => {
                done += 1;
                waited = 0;
                insist(grants.log, format_args!("fault number={done}"));
            }
            Outcome::Nothing => nothing += 1,
            Outcome::Stopped => {
                waited += 1;
                if waited > PATIENCE {
                    return Err(Stop::new(format_args!("the victim does not run any more")));
                }
                pause(1_000);
            }
        }
    }
    insist(grants.log, format_args!("done faults={done} without_effect={nothing}"));
    task::idle()
}
