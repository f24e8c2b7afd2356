//! Measures reads of a disk: client, block server, driver, device, and back.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use bench::{busy_ticks, row};
use protocol::block::{Answer, Request};
use task::{Deadline, Environment, Started, Stop};

task::needs! { disk: call, data: window, log: log }
task::main!(run);

/// Iterations of each row.
const READS: u64 = 30;

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let information = match grants.disk.call(&Request::Information, Deadline::NEVER) {
        Ok(Answer::Information(information)) => information,
        other => return Err(Stop::new(format_args!("no disk: {other:?}"))),
    };
    for (name, bytes) in [("read-4k-depth-1", 4096), ("read-128k-depth-1", 128 << 10)] {
        let blocks = bytes / information.block_bytes;
        let mut first_block = 0;
        let ticks = busy_ticks(READS, || {
            first_block += u64::from(blocks);
            match grants.disk.call(&Request::Read { first_block, blocks, offset: 0 }, Deadline::NEVER) {
                Ok(Answer::Done) => Ok(()),
                other => Err(Stop::new(format_args!("not read: {other:?}"))),
            }
        })?;
        row(&grants.log, name, ticks, 0, READS);
    }
    task::ready(Started::Well);
    task::idle()
}
