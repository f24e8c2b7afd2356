//! Measures reads of a disk: client, block server, driver, device, and back.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use bench::{busy_ticks, row};
use block_client::{Disk, Error};
use protocol::block::{BatchRoom, Operation, Transfer};
use task::measure::mark_first_read;
use task::{Environment, Inbox, Started, Stop};

task::needs! { disk: call, data: window, log: log }
task::main!(run);

/// Iterations of each row with one read at a time.
const READS: u64 = 30;
/// Reads under way at a time in the deep row: this task's share of the queue.
const DEPTH: u64 = 32;
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(300);
const SMALL: u64 = 4096;

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let disk = Disk::new(grants.disk, PATIENCE);
    let information = disk.open()?;
    disk.read(0, 1, 0)?;
    mark_first_read();
    let block_bytes = u64::from(information.block_bytes);
    for (name, bytes) in [("read-4k-depth-1", SMALL), ("read-128k-depth-1", 128 << 10)] {
        let blocks = (bytes / block_bytes) as u32;
        let mut first_block = 0;
        let ticks = busy_ticks(READS, || {
            first_block += u64::from(blocks);
            disk.read(first_block, blocks, 0)
        })?;
        row(&grants.log, name, ticks, 0, READS);
    }
    let mut deep = Deep::new(disk, (SMALL / block_bytes) as u32);
    // An iteration is as many reads as are under way.
    let ticks = busy_ticks(READS, || deep.complete(DEPTH))?;
    row(&grants.log, "read-4k-depth-32", ticks, 0, READS * DEPTH);
    task::log!(grants.log, "batches reads={} exchanges={}", deep.completed, deep.exchanges);
    task::ready(Started::Well);
    task::idle()
}

/// Reads of which many are under way.
struct Deep {
    disk: Disk,
    blocks: u32,
    transfers: BatchRoom<Transfer>,
    inbox: Inbox,
    begun: u64,
    completed: u64,
    exchanges: u64,
}

impl Deep {
    fn new(disk: Disk, blocks: u32) -> Self {
        let (transfers, inbox) = (BatchRoom::new(), Inbox::new());
        Self { disk, blocks, transfers, inbox, begun: 0, completed: 0, exchanges: 0 }
    }

    /// Goes on until so many more have completed; [`DEPTH`] of them are always under way.
    fn complete(&mut self, reads: u64) -> Result<(), Error> {
        let end = self.completed + reads;
        while self.completed < end {
            self.transfers.clear();
            let wanted = self.completed + DEPTH - self.begun;
            for number in self.begun..self.begun + wanted {
                let operation = Operation::Read {
                    first_block: number % 4096 * u64::from(self.blocks),
                    blocks: self.blocks,
                    offset: number % DEPTH * SMALL,
                };
                // There is room for as many as may be under way.
                let _ = self.transfers.push(&Transfer { tag: number as u32, operation });
            }
            let done = self.disk.exchange(&self.transfers, true, &mut self.inbox, |completion| {
                assert!(completion.outcome.is_ok(), "a read failed");
            })?;
            self.begun += done.accepted as u64;
            self.completed += done.completed as u64;
            self.exchanges += 1;
        }
        Ok(())
    }
}
