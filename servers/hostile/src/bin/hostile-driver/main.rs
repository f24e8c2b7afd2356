//! A driver of an NVMe controller that tries everything that it must not be able to do. It takes the place of `nvme` in
//! a charter, with the same grants. Each attempt has a line `attempt name=… answer=… reason=… times=…`, and the last
//! line is `attempts done`.
//!
//! What it is granted of the disk, and where data lies in its region, is agreed with `qemu/tests/charters/hostile.toml`:
//! see [`device`].
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

mod admin;
mod device;
mod queues;
mod registers;
mod stale;
mod transfers;

use hostile::driver::Means;
use hostile::handles;
use hostile::pattern;
use task::{Environment, Interrupt, Started, Stop};
use trials::insist;

use device::{Device, SALT};

task::needs! {
    registers: registers,
    log: log,
    data: dma,
    requests: receive,
    optional completion: interrupt,
    optional admin: interrupt,
}
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let vector = grants.completion.map_or(0, |Interrupt { vector, .. }| vector);
    let means =
        Means { registers: grants.registers, requests: grants.requests, log: grants.log, data: grants.data, vector };
    pattern::fill(&means.data.window, SALT, 0, means.data.window.bytes())?;
    task::ready(Started::Well);

    let mut device = Device::new(means);
    device.until_quiet()?;
    registers::controller_off(&device);
    device.enable()?;
    registers::controller_on(&device);
    admin::attempts(&mut device)?;
    queues::attempts(&mut device)?;
    transfers::before_anything_is_known(&mut device)?;
    transfers::attempts(&mut device)?;
    transfers::in_flight(&mut device)?;
    transfers::rewritten(&mut device)?;
    transfers::flood(&mut device)?;
    queues::deleted(&mut device)?;
    stale::attempts(&mut device)?;
    handles::attempts(means.registers, means.requests, means.log);
    registers::shut_down(&device)?;
    insist(means.log, format_args!("attempts done"));
    task::idle()
}
