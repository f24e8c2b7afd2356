//! The operations of a run, one after the other: each follows from the seed and its number alone.

use crate::pattern::{Generation, mix};

/// How many of a hundred operations are of each kind; what is left over reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Writes.
    pub write: u32,
    /// Writes that are durable when they complete.
    pub durable: u32,
    /// Discards.
    pub discard: u32,
    /// Writes of zeroes.
    pub zeroes: u32,
}

/// What to do to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Blocks of the disk that are used, from the first. At least 1.
    pub blocks: u64,
    /// Most blocks of one operation. At least 1.
    pub blocks_max: u32,
    /// Of how many operations each last is a flush. At least 1.
    pub flush_every: u32,
    /// The kinds of the others.
    pub mix: Mix,
}

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes its own generation of each block.
    Write {
        /// Durable when it completes.
        durable: bool,
    },
    /// Reads and verifies.
    Read,
    /// Gives blocks up.
    Discard,
    /// Writes zeroes.
    WriteZeroes,
    /// Makes everything durable that has completed.
    Flush,
}

impl Action {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Read => "read",
            Self::Discard => "discard",
            Self::WriteZeroes => "write-zeroes",
            Self::Flush => "flush",
        }
    }
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 1.
    pub generation: Generation,
    /// What to do.
    pub action: Action,
    /// First block; 0 for a flush.
    pub first_block: u64,
    /// How many; 0 for a flush.
    pub blocks: u32,
}

impl Step {
    /// Whether this block is among its blocks.
    pub fn covers(&self, block: u64) -> bool {
        block >= self.first_block && block - self.first_block < u64::from(self.blocks)
    }

    /// Whether both use some block.
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |step: &Self| step.first_block.saturating_add(step.blocks.into());
        self.first_block < end(other) && other.first_block < end(self)
    }

    /// Whether it changes what blocks read as.
    pub fn changes(&self) -> bool {
        matches!(self.action, Action::Write { .. } | Action::Discard | Action::WriteZeroes)
    }
}

impl Plan {
    /// The operation of this number, from 1.
    pub fn step(&self, generation: Generation) -> Step {
        if generation.is_multiple_of(self.flush_every) {
            return Step { generation, action: Action::Flush, first_block: 0, blocks: 0 };
        }
        let dice = mix(self.seed ^ mix(generation.into()));
        let (kind, size, place) = ((dice % 100) as u32, mix(dice ^ 1), mix(dice ^ 2));
        let Mix { write, durable, discard, zeroes } = self.mix;
        let action = match kind {
            _ if kind < write => Action::Write { durable: false },
            _ if kind < write + durable => Action::Write { durable: true },
            _ if kind < write + durable + discard => Action::Discard,
            _ if kind < write + durable + discard + zeroes => Action::WriteZeroes,
            _ => Action::Read,
        };
        // As many small as large ones: first the number of bits, then the number.
        let most = u64::from(self.blocks_max).min(self.blocks).max(1);
        let bits = most.ilog2() + 1;
        let limit = (2_u64 << (size % u64::from(bits))).min(most + 1);
        let blocks = 1 + mix(size) % (limit - 1).max(1);
        let first_block = place % (self.blocks - blocks + 1);
        Step { generation, action, first_block, blocks: blocks as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIX: Mix = Mix { write: 50, durable: 5, discard: 5, zeroes: 5 };

    proptest! {
        #[test]
        fn steps_lie_on_the_disk(seed: u64, blocks in 1..5000_u64, blocks_max in 1..300_u32, generation in 1..1_000_000_u32) {
            let plan = Plan { seed, blocks, blocks_max, flush_every: 10, mix: MIX };
            let step = plan.step(generation);
            prop_assert_eq!(step, plan.step(generation));
            if step.action == Action::Flush {
                prop_assert_eq!((generation % 10, step.blocks), (0, 0));
            } else {
                prop_assert!(step.blocks >= 1 && step.blocks <= blocks_max);
                prop_assert!(step.first_block + u64::from(step.blocks) <= blocks);
            }
        }
    }

    #[test]
    fn the_kinds_come_as_often_as_they_should_and_sizes_are_mixed() {
        let plan = Plan { seed: 3, blocks: 10_000, blocks_max: 64, flush_every: 100, mix: MIX };
        let steps: Vec<_> = (1..=10_000).map(|generation| plan.step(generation)).collect();
        let count = |of: fn(&Step) -> bool| steps.iter().filter(|step| of(step)).count();
        assert_eq!(count(|step| step.action == Action::Flush), 100);
        assert!((4500..5500).contains(&count(|step| step.action == Action::Write { durable: false })));
        for action in [Action::Write { durable: true }, Action::Discard, Action::WriteZeroes] {
            let own = steps.iter().filter(|step| step.action == action).count();
            assert!((350..650).contains(&own), "{action:?}: {own}");
        }
        assert!(count(|step| step.blocks == 1) > 1000 && count(|step| step.blocks > 32) > 500);
        assert!(count(|step| step.blocks == 64) > 0);
    }
}
