//! Judging, on the host, a disk on which a run was cut short: by a crash, a reset, or power that went.
//!
//! What is known is the plan, and the last line `flushed generation=N` of the log: every operation up to N had completed
//! before a flush that completed too. So each block must be as the last of these operations left it, or as a later one
//! did: whether those happened, nobody has promised. An earlier one is a lost write.

use std::collections::HashSet;

use crate::expected::Content;
use crate::pattern::{self, Generation, Seen};
use crate::plan::{Action, Plan};

/// A judge of one disk.
#[derive(Clone, Debug)]
pub struct Judge {
    plan: Plan,
    durable: Generation,
    last: Generation,
    contents: Vec<Content>,
    /// Blocks that a later operation may have made zeroes.
    zeroed: HashSet<u64>,
    /// Blocks that a later operation may have discarded.
    discarded: HashSet<u64>,
}

/// A block that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block}: should be {expected} or later, and is {seen}")]
pub struct Wrong {
    /// The block.
    pub block: u64,
    /// What the last durable operation left.
    pub expected: Content,
    /// What is there.
    pub seen: Seen,
}

impl Judge {
    /// Everything up to `durable` is durable; operations after `last` were never begun. A run of which only its log is
    /// known began at most as many operations after the `issued=` of its last line as its `depth`, and those up to the
    /// flush after the next: a `last` that is too high excuses only zeroes and discarded blocks that are not.
    pub fn new(plan: Plan, durable: Generation, last: Generation) -> Self {
        let mut contents = vec![Content::Unknown; plan.blocks as usize];
        for step in (1..=durable).map(|generation| plan.step(generation)).filter(|step| step.changes()) {
            for block in step.first_block..step.first_block + u64::from(step.blocks) {
                contents[block as usize] = contents[block as usize].after(&step);
            }
        }
        let (mut zeroed, mut discarded) = (HashSet::new(), HashSet::new());
        for step in (durable + 1..=last).map(|generation| plan.step(generation)) {
            let blocks = step.first_block..step.first_block + u64::from(step.blocks);
            match step.action {
                Action::WriteZeroes => zeroed.extend(blocks),
                Action::Discard => discarded.extend(blocks),
                _ => {}
            }
        }
        Self { plan, durable, last, contents, zeroed, discarded }
    }

    /// Judges a block by its bytes.
    ///
    /// # Errors
    /// It cannot be what the run left.
    pub fn block(&self, block: u64, bytes: &[u8]) -> Result<Seen, Wrong> {
        let seen = pattern::judge(self.plan.seed, block, &mut bytes.to_vec());
        let expected = self.contents[block as usize];
        let later = match seen {
            Seen::Written(generation) => {
                let step = self.plan.step(generation);
                generation > self.durable
                    && generation <= self.last
                    && matches!(step.action, Action::Write { .. })
                    && step.covers(block)
            }
            Seen::Zeroes => self.zeroed.contains(&block) || self.discarded.contains(&block),
            Seen::Ones => self.discarded.contains(&block),
            _ => false,
        };
        if later || expected.allows(seen) { Ok(seen) } else { Err(Wrong { block, expected, seen }) }
    }

    /// Judges every block of a disk.
    pub fn disk<'a>(&'a self, bytes: &'a [u8], block_bytes: usize) -> impl Iterator<Item = Wrong> + 'a {
        let blocks = bytes.chunks_exact(block_bytes).take(self.contents.len());
        blocks.enumerate().filter_map(|(block, bytes)| self.block(block as u64, bytes).err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Mix;
    use proptest::prelude::*;

    const PLAN: Plan = Plan {
        seed: 11,
        blocks: 200,
        blocks_max: 16,
        flush_every: 8,
        mix: Mix { write: 60, durable: 5, discard: 5, zeroes: 10 },
    };

    /// A disk after the operations that `happened`.
    fn disk(last: Generation, happened: impl Fn(Generation) -> bool) -> Vec<u8> {
        let mut disk = vec![0xee; 200 * 512];
        for generation in (1..=last).filter(|generation| happened(*generation)) {
            let step = PLAN.step(generation);
            for block in step.first_block..step.first_block + u64::from(step.blocks) {
                let place = &mut disk[block as usize * 512..][..512];
                match step.action {
                    Action::Write { .. } => pattern::fill(PLAN.seed, block, generation, place),
                    Action::WriteZeroes | Action::Discard => place.fill(0),
                    _ => {}
                }
            }
        }
        disk
    }

    proptest! {
        #[test]
        fn any_later_operation_may_have_happened(durable in 1..300_u32, later in 0..60_u32, some: u64) {
            let disk = disk(durable + later, |own| own <= durable || some >> (own % 64) & 1 == 1);
            let judge = Judge::new(PLAN, durable, durable + later);
            prop_assert_eq!(judge.disk(&disk, 512).next(), None);
        }

        /// One durable write is left out: it is noticed, unless everything of it was written again.
        #[test]
        fn a_lost_write_is_noticed(lost in 1..200_u32) {
            let step = PLAN.step(lost);
            prop_assume!(matches!(step.action, Action::Write { .. }));
            let again = |block| (lost + 1..=200).any(|own| PLAN.step(own).changes() && PLAN.step(own).covers(block));
            let left = (step.first_block..step.first_block + u64::from(step.blocks)).filter(|block| !again(*block));
            let wrong: Vec<_> = Judge::new(PLAN, 200, 200).disk(&disk(200, |own| own != lost), 512).collect();
            prop_assert_eq!(wrong.iter().map(|wrong| wrong.block).collect::<Vec<_>>(), left.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_generation_that_never_was_is_wrong() {
        let mut disk = disk(100, |_| true);
        let step = (1..).map(|own| PLAN.step(own)).find(|step| matches!(step.action, Action::Write { .. })).unwrap();
        let block = step.first_block;
        pattern::fill(PLAN.seed, block, 100_000, &mut disk[block as usize * 512..][..512]);
        let wrong: Vec<_> = Judge::new(PLAN, 100, 150).disk(&disk, 512).collect();
        assert_eq!((wrong.len(), wrong[0].block, wrong[0].seen), (1, block, Seen::Written(100_000)));
    }
}
