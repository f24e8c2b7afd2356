//! Measures reads of a disk: client, block server, driver, device, and back.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use bench::{busy_ticks, row};
use block_client::Disk;
use task::{Environment, Started, Stop};

task::needs! { disk: call, data: window, log: log }
task::main!(run);

/// Iterations of each row.
const READS: u64 = 30;
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let disk = Disk::new(grants.disk, PATIENCE);
    let information = disk.open()?;
    for (name, bytes) in [("read-4k-depth-1", 4096), ("read-128k-depth-1", 128 << 10)] {
        let blocks = bytes / information.block_bytes;
        let mut first_block = 0;
        let ticks = busy_ticks(READS, || {
            first_block += u64::from(blocks);
            disk.read(first_block, blocks, 0)
        })?;
        row(&grants.log, name, ticks, 0, READS);
    }
    task::ready(Started::Well);
    task::idle()
}
