//! Ends in the way that its settings say, again and again if it is restarted, and tells at each start what of its memory
//! is as it was made: variables, stack, message buffer.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use task::{Deadline, Environment, Instant, Started, Stop, Supervise, alive, log};
use trials::{milliseconds, wrong_setting};

task::needs! {
    log: log,
    optional watch: supervise,
}
task::main!(run);

/// What variables hold before a program first runs.
const MADE: u64 = 0x0123_4567_89ab_cdef;
static FILLED: AtomicU64 = AtomicU64::new(MADE);
static ZERO: AtomicU64 = AtomicU64::new(0);

/// How to end.
enum End {
    Never,
    Fault,
    Exit,
    /// Computes for ever.
    Spin,
    /// Waits for ever.
    Wait,
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let end = match environment.setting("end") {
        Some("never") => End::Never,
        Some("fault") => End::Fault,
        Some("exit") => End::Exit,
        Some("spin") => End::Spin,
        Some("wait") => End::Wait,
        _ => return Err(wrong_setting("end", "never, fault, exit, spin or wait")),
    };
    let after = milliseconds(&environment, "after_milliseconds", 0)?;
    let is_made = FILLED.load(Ordering::Relaxed) == MADE && ZERO.load(Ordering::Relaxed) == 0;
    log!(grants.log, "began made={is_made} watches={}", environment.all::<Supervise>().count());
    FILLED.store(!MADE, Ordering::Relaxed);
    ZERO.store(u64::MAX, Ordering::Relaxed);
    if environment.setting("ready") != Some("false") {
        task::ready(Started::Well);
    }

    let death = Instant::now().plus(after);
    while matches!(end, End::Never) || Instant::now() < death {
        let beat = alive().map_or(death, |beat| Instant::now().plus(beat));
        // A pause ends by timing out.
        let _ = task::wait(Deadline::at(if matches!(end, End::Never) { beat } else { beat.min(death) }));
    }
    match end {
        End::Never => Ok(()),
        End::Exit => Err(Stop::new(format_args!("as the charter says"))),
        End::Fault => overflow(),
        End::Spin => loop {
            core::hint::spin_loop();
        },
        End::Wait => task::idle(),
    }
}

/// A fault that a program without unsafe code can have.
#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn overflow() -> Result<(), Stop> {
    let deep = core::hint::black_box([0_u8; 256]);
    overflow()?;
    core::hint::black_box(deep);
    Ok(())
}
