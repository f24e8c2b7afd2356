//! Calls a server with a short deadline, again and again, and tells what came of it.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use task::{CallError, Deadline, Environment, Instant, Started, Stop, log};
use trials::{milliseconds, number};

task::needs! { server: call, log: log }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let patience = milliseconds(&environment, "deadline_milliseconds", 100)?;
    let pause = milliseconds(&environment, "pause_milliseconds", 0)?;
    let times = number(&environment, "times", 3)?;
    for turn in 0..times {
        let start = Instant::now();
        let answer = grants.server.call::<u64>(&turn, Deadline::after(patience));
        let took = Instant::now().since(start).as_millis();
        match answer {
            Ok(value) => log!(grants.log, "answered turn={turn} value={value} milliseconds={took}"),
            Err(CallError::Kernel(abi::Error::TimedOut)) => {
                log!(grants.log, "timed out turn={turn} milliseconds={took}")
            }
            Err(CallError::Kernel(abi::Error::DeadPeer)) => {
                log!(grants.log, "dead peer turn={turn} milliseconds={took}")
            }
            Err(error) => log!(grants.log, "failed turn={turn} error=\"{error}\" milliseconds={took}"),
        }
        if !pause.is_zero() {
            // A pause ends by timing out.
            let _ = task::wait(Deadline::after(pause));
        }
    }
    log!(grants.log, "done turns={times}");
    task::ready(Started::Well);
    task::idle()
}
