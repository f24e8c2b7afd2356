//! Waits for signals and adds up the times at which it was woken; a call takes the sum.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use task::abi::system_call::{NO_DEADLINE, NO_HANDLE, Number};
use task::measure::time_stamp;
use task::{Environment, Frame, Reply, Started, Stop, system_call};

task::needs! { requests: receive }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    task::ready(Started::Well);
    let mut sum = 0u64;
    let wait = [NO_HANDLE, 0, NO_DEADLINE, grants.requests.handle().into()];
    loop {
        // What the library makes of an event is not what is measured.
        let event = system_call(Frame::new(Number::ReplyReceive, wait));
        let now = time_stamp();
        match event.arguments[0] {
            NO_HANDLE => sum = sum.wrapping_add(now),
            // A client that is gone meanwhile is no concern of ours.
            reply => drop(Reply::from_handle(reply).send(&core::mem::take(&mut sum))),
        }
    }
}
