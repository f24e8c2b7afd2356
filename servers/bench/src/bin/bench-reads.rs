//! Measures reads of a disk: client, block server, driver, device, and back.
//!
//! The setting `measure` says what: nothing, the rows that have budgets; `scale`, rows of every depth and size; `clients`,
//! one row, while as many tasks altogether as the setting `clients` says read one after the other; `load`, nothing: it is
//! one of the others; `rates`, how many reads there are in a second of the clock.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::fmt::Display;
use core::time::Duration;

use bench::{busy_ticks, row};
use block_client::{Disk, Error};
use protocol::block::{BATCH_MAX, BatchRoom, Operation, Transfer};
use task::measure::mark_first_read;
use task::{Environment, Inbox, Instant, Log, Started, Stop};

task::needs! { disk: call, data: window, log: log }
task::main!(run);

/// Iterations of each row with one read at a time.
const READS: u64 = 30;
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a small read, and of a large one.
const SMALL: u32 = 4096;
const LARGE: u32 = 128 << 10;
/// Reads under way at a time in the deep row: this task's share of the queue.
const DEPTH: u64 = 32;
/// Reads of each shape whose time is measured.
const RATED: u64 = 20_000;

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let disk = Disk::new(grants.disk, PATIENCE);
    let block_bytes = disk.open()?.block_bytes;
    disk.read(0, 1, 0)?;
    mark_first_read();
    let reads = |bytes, depth| Reads::new(disk, bytes, bytes / block_bytes, depth);
    match environment.setting("measure") {
        Some("scale") => {
            for depth in [1, 2, 4, 8, 16, 32, 64] {
                reads(SMALL, depth).measure(&grants.log, format_args!("depth-{depth}"))?;
            }
            for shift in 9..=20 {
                reads(1 << shift, 1).measure(&grants.log, format_args!("bytes-{}", 1 << shift))?;
            }
        }
        Some("clients") => {
            let clients = environment.setting("clients").and_then(|clients| clients.parse().ok()).unwrap_or(1);
            // The server takes turns, so for each read of this task each of the others has one.
            let ticks = busy_ticks(READS, || reads(SMALL, 1).complete(1))?;
            row(&grants.log, format_args!("clients-{clients}"), ticks, 0, READS * clients);
        }
        Some("load") => {
            task::ready(Started::Well);
            loop {
                reads(SMALL, 1).complete(READS)?;
            }
        }
        Some("rates") => {
            for (name, bytes, depth) in
                [("read-4k-depth-1", SMALL, 1), ("read-128k-depth-1", LARGE, 1), ("read-4k-depth-32", SMALL, DEPTH)]
            {
                let mut reads = reads(bytes, depth);
                reads.complete(RATED / 10)?;
                let begin = Instant::now();
                reads.complete(RATED)?;
                let nanoseconds = Instant::now().since(begin).as_nanos();
                task::log!(grants.log, "rate name={name} reads={RATED} nanoseconds={nanoseconds}");
            }
        }
        _ => {
            reads(SMALL, 1).measure(&grants.log, "read-4k-depth-1")?;
            reads(LARGE, 1).measure(&grants.log, "read-128k-depth-1")?;
            let mut deep = reads(SMALL, DEPTH);
            deep.measure(&grants.log, "read-4k-depth-32")?;
            task::log!(grants.log, "batches reads={} exchanges={}", deep.completed, deep.exchanges);
        }
    }
    task::ready(Started::Well);
    task::idle()
}

/// Reads of one size, of which so many are always under way.
struct Reads {
    disk: Disk,
    bytes: u32,
    blocks: u32,
    depth: u64,
    transfers: BatchRoom<Transfer>,
    inbox: Inbox,
    begun: u64,
    completed: u64,
    exchanges: u64,
}

impl Reads {
    fn new(disk: Disk, bytes: u32, blocks: u32, depth: u64) -> Self {
        let (transfers, inbox) = (BatchRoom::new(), Inbox::new());
        Self { disk, bytes, blocks, depth, transfers, inbox, begun: 0, completed: 0, exchanges: 0 }
    }

    /// Logs a row. An iteration is as many reads as are under way.
    fn measure(&mut self, log: &Log, name: impl Display) -> Result<(), Error> {
        let depth = self.depth;
        let ticks = busy_ticks(READS, || self.complete(depth))?;
        row(log, name, ticks, 0, READS * depth);
        Ok(())
    }

    /// Goes on until so many more have completed.
    fn complete(&mut self, reads: u64) -> Result<(), Error> {
        let end = self.completed + reads;
        while self.completed < end {
            if self.depth == 1 {
                let Operation::Read { first_block, blocks, offset } = self.operation(self.completed) else { continue };
                self.disk.read(first_block, blocks, offset)?;
                self.completed += 1;
            } else {
                self.exchange()?;
            }
        }
        Ok(())
    }

    fn operation(&self, number: u64) -> Operation {
        Operation::Read {
            first_block: number % 512 * u64::from(self.blocks),
            blocks: self.blocks,
            offset: number % self.depth * u64::from(self.bytes),
        }
    }

    fn exchange(&mut self) -> Result<(), Error> {
        self.transfers.clear();
        let wanted = self.completed + self.depth - self.begun;
        for number in self.begun..self.begun + wanted.min(BATCH_MAX as u64) {
            // There is room for a batch.
            let _ = self.transfers.push(&Transfer { tag: number as u32, operation: self.operation(number) });
        }
        let wait = wanted <= BATCH_MAX as u64;
        let done = self.disk.exchange(&self.transfers, wait, &mut self.inbox, |completion| {
            assert!(completion.outcome.is_ok(), "a read failed");
        })?;
        self.begun += done.accepted as u64;
        self.completed += done.completed as u64;
        self.exchanges += 1;
        Ok(())
    }
}
