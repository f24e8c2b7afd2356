//! Does nothing, and holds memory that nobody may change: a window of DMA memory and an array on its stack, both filled
//! with a pattern that a test finds from outside.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::hint::black_box;

use hostile::pattern;
use task::{Environment, Started, Stop, Window, log};
use trials::number;

task::needs! { before: window, after: window, log: log }
task::main!(run);

/// Words on the stack.
const WORDS: usize = 1024;

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let salt = number(&environment, "salt", 0)?;
    for window in [grants.before, grants.after] {
        fill(&window, salt)?;
    }
    let stack: [u64; WORDS] = core::array::from_fn(|index| pattern::word(salt, index as u64 * 8));
    log!(grants.log, "canary words={WORDS}");
    task::ready(Started::Well);
    while black_box(&stack)[0] != 0 {
        // A pause ends by timing out, or by what nobody may send.
        let _ = task::wait(task::Deadline::NEVER);
    }
    Ok(())
}

fn fill(window: &Window, salt: u64) -> Result<(), Stop> {
    pattern::fill(window, salt, 0, window.bytes()).map_err(|error| Stop::new(format_args!("{error}")))
}
