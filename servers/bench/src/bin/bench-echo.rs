//! Answers every call with the caller's own words.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use abi::system_call::{NO_DEADLINE, NO_HANDLE, Number};
use task::{Environment, Frame, Started, Stop, system_call};

task::needs! { requests: receive }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    task::ready(Started::Well);
    let handle = u64::from(grants.requests.handle());
    let mut frame = Frame::new(Number::ReplyReceive, [NO_HANDLE, 0, NO_DEADLINE, handle]);
    loop {
        let Frame { arguments: [reply, bytes, ..], words, .. } = system_call(frame);
        frame = Frame { code: Number::ReplyReceive as u64, arguments: [reply, bytes, NO_DEADLINE, handle], words };
    }
}
