//! Measures system calls, messages and signals.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use abi::system_call::{NO_DEADLINE, Number};
use bench::{ITERATIONS, repeated, row, ticks};
use task::measure::{enter, mark_begin, mark_end, stay, time_stamp};
use task::{Deadline, Environment, Started, Stop};

task::needs! { echo: call, waiter: call, wake: signal, log: log }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let nothing = [0; 4];
    let empty = ticks(|| stay(Number::Null, nothing));
    row(&grants.log, "loop", empty, 0, ITERATIONS);
    let without = empty.least;
    row(&grants.log, "null", ticks(|| enter(Number::Null, nothing)), without, ITERATIONS);
    for (name, bytes) in [("call-reply-0", 0), ("call-reply-48", 48)] {
        let call = [grants.echo.handle().into(), bytes, NO_DEADLINE, 0];
        row(&grants.log, name, ticks(|| enter(Number::Call, call)), without, ITERATIONS);
    }
    signal(&grants, without)?;
    task::ready(Started::Well);
    task::idle()
}

/// From just before the signal to the first instruction of the waiter, who is above: each side adds up its own time
/// stamps, and the difference of the sums is the sum of the differences.
fn signal(grants: &Grants, without: u64) -> Result<(), Stop> {
    let ask = || {
        grants
            .waiter
            .call::<u64>(&(), Deadline::NEVER)
            .map_err(|error| Stop::new(format_args!("the waiter did not answer: {error}")))
    };
    let wake = [grants.wake.handle().into(), 0, 0, 0];
    let ticks = repeated(|| {
        enter(Number::Signal, wake);
        ask()?;
        let mut signalled = 0u64;
        mark_begin();
        for _ in 0..ITERATIONS {
            signalled = signalled.wrapping_add(time_stamp());
            enter(Number::Signal, wake);
        }
        mark_end();
        Ok::<_, Stop>(ask()?.wrapping_sub(signalled))
    })?;
    row(&grants.log, "signal-wake", ticks, without, ITERATIONS);
    Ok(())
}
