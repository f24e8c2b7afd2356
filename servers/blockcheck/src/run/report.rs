//! What a run tells.

use core::fmt;

use protocol::block::Failure;

use crate::expected::Content;
use crate::pattern::{Generation, Seen};
use crate::plan::{Action, Step};

/// A line of the log while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Everything up to this generation is durable.
    Flushed {
        /// The last operation of which that is known, and all before it.
        generation: Generation,
        /// The last operation that was begun by now.
        issued: Generation,
    },
    /// A block is not what it should be.
    Wrong {
        /// The block.
        block: u64,
        /// What it should be.
        expected: Content,
        /// What it is.
        seen: Seen,
    },
    /// The block server has restarted.
    Restarted {
        /// Operations that were under way, and are asked for once more.
        again: usize,
    },
    /// An operation was not done.
    Failed {
        /// The operation.
        step: Step,
        /// Why.
        failure: Failure,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flushed { generation, issued } => write!(f, "flushed generation={generation} issued={issued}"),
            Self::Wrong { block, expected, seen } => write!(f, "wrong block={block} expected={expected} found={seen}"),
            Self::Restarted { again } => write!(f, "block server restarted again={again}"),
            Self::Failed { step, failure } => write!(
                f,
                "request failed operation={} lba={} blocks={} generation={} error={failure}",
                step.action.name(),
                step.first_block,
                step.blocks,
                step.generation
            ),
        }
    }
}

/// How a run went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations that ended.
    pub requests: u64,
    /// Reads among them.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Discards and writes of zeroes.
    pub zeroes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Blocks that were compared.
    pub verified: u64,
    /// Blocks that were wrong.
    pub errors: u64,
    /// Operations that were not done.
    pub failed: u64,
    /// How often the block server has restarted.
    pub restarts: u64,
}

impl Tally {
    /// One more operation has ended.
    pub fn count(&mut self, step: &Step, block_bytes: u32) {
        self.requests += 1;
        let bytes = u64::from(step.blocks) * u64::from(block_bytes);
        match step.action {
            Action::Read => self.reads += 1,
            Action::Write { .. } => self.writes += 1,
            Action::Discard | Action::WriteZeroes => self.zeroes += 1,
            Action::Flush => self.flushes += 1,
        }
        if matches!(step.action, Action::Read | Action::Write { .. }) {
            self.bytes += bytes;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, reads, writes, zeroes, flushes, bytes, verified, errors, failed, restarts } = self;
        write!(
            f,
            "requests={requests} bytes={bytes} errors={errors} failed={failed} verified={verified} reads={reads} \
             writes={writes} zeroes={zeroes} flushes={flushes} restarts={restarts}"
        )
    }
}
