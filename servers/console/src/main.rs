//! The console's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use console::Granted;
use console::session::Session;
use task::abi::start::GRANTS_MAX;
use task::{Environment, Started, Stop};

task::needs! {
    console: console,
    optional tasks: inspect,
    optional devices: inspect,
    optional history: inspect,
    optional disk: call,
    optional data: window,
    optional cloud: call,
    optional off: power,
    optional reboot: power,
    optional kill: kill,
}
task::main!(run);
task::stack!(17_912);

fn run(environment: Environment) -> Result<(), Stop> {
    let Grants { console, tasks, devices, history, disk, data, cloud, off, reboot, .. } = Grants::find(&environment)?;
    let mut kills = [None; GRANTS_MAX];
    kills.iter_mut().zip(environment.all()).for_each(|(slot, kill)| *slot = Some(kill));
    let granted = Granted { console, tasks, devices, history, disk: disk.zip(data), cloud, off, reboot, kills };
    // Whether there is anybody to type, or a port to type at, is no part of the boot.
    task::ready(Started::Well);
    Session::new(granted).run()?;
    // There is no serial port.
    task::idle()
}
