//! The classification task's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use classify::lines::{Cloud, Line};
use classify::surface::Surface;
use protocol::nvme::{Answer, Controller, Request};
use task::{Call, CallError, Deadline, Environment, Started, Stop, abi, log};

task::needs! { controller: information, driver: call, log: log }
task::main!(run);

/// How long the driver may take to bring its controller up: the longest that a controller may ask for is 127.5 s (NVMe
/// base 2.0, CAP.TO).
const START: Duration = Duration::from_secs(150);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    // The driver answers once the controller is up, or will never be: what is asked of the device after that, stands.
    let controller = ask(grants.driver);
    let information = grants.controller.information()?;
    match Surface::new(&information, controller.as_ref().ok()) {
        Ok(surface) => {
            for cloud in Cloud::ALL {
                log!(grants.log, "{}", Line { surface, cloud });
            }
            if let Err(reason) = controller {
                log!(grants.log, "cloud shape of an unbound controller reason={reason}");
            }
        }
        Err(reason) => log!(grants.log, "cloud shape none reason={reason}"),
    }
    // It has said what there is, also if that is nothing. That a disk is missing is the driver's to report.
    task::ready(Started::Well);
    task::idle()
}

/// What the driver says of its controller.
fn ask(driver: Call) -> Result<Controller, &'static str> {
    match driver.call(&Request::Controller, Deadline::after(START)) {
        Ok(Answer::Controller(controller)) => Ok(controller),
        Ok(Answer::NoController) => Err("no-controller"),
        Ok(_) | Err(CallError::Malformed(_) | CallError::TooLong(_)) => Err("malformed"),
        Err(CallError::Kernel(abi::Error::DeadPeer)) => Err("dead-peer"),
        Err(CallError::Kernel(abi::Error::TimedOut)) => Err("timed-out"),
        Err(CallError::Kernel(abi::Error::Denied)) => Err("denied"),
        Err(CallError::Kernel(abi::Error::Invalid | abi::Error::Busy)) => Err("refused"),
    }
}
