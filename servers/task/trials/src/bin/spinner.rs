//! Computes for ever, and never waits: others of its priority must get their share, and higher ones all they want.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use task::{Environment, Instant, Started, Stop, log};
use trials::{milliseconds, number};

task::needs! { log: log }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let every = milliseconds(&environment, "report_milliseconds", 0)?;
    let mut reports = number(&environment, "reports", 5)?;
    log!(grants.log, "spinning");
    task::ready(Started::Well);
    let mut turns = 0_u64;
    let mut last = Instant::now();
    loop {
        for _ in 0..10_000 {
            turns = core::hint::black_box(turns) + 1;
        }
        if !every.is_zero() && reports > 0 && Instant::now().since(last) >= every {
            last = Instant::now();
            reports -= 1;
            log!(grants.log, "spun turns={turns}");
        }
    }
}
