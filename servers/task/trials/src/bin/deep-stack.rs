//! Uses so much of its stack, and waits: what measures stacks is measured with it.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::hint::black_box;

use task::{Environment, Started, Stop, log};
use trials::{number, wrong_setting};

task::needs! { log: log }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    // Zeros look as if the stack had not been used there.
    let fill = number(&environment, "fill", 0xaa)? as u8;
    match number(&environment, "bytes", 0)? {
        24_000 => use_stack::<24_000>(fill),
        56_000 => use_stack::<56_000>(fill),
        _ => return Err(wrong_setting("bytes", "24000 or 56000")),
    }
    log!(grants.log, "deep");
    task::ready(Started::Well);
    task::idle()
}

#[inline(never)]
fn use_stack<const BYTES: usize>(fill: u8) {
    black_box(&mut [fill; BYTES]);
}
