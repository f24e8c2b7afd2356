//! Judges what a disk holds after a crash of a system on which `blockcheck` was at work.
//!
//! Known are the disk before the run, the record of everything that it was told ([`crate::write_log`]), and what
//! blockcheck's plan says of each operation. A *cut* is a moment of the run: what blockcheck had logged by then, and how
//! long the record was a moment later. Everything that blockcheck was told stands in the record by the time that it
//! logs it, so whatever it claimed at a cut must hold for every disk that a power failure could have left there
//! ([`crate::power_loss`]).
//!
//! Of each such disk:
//! - what was acknowledged before a completed flush is there, or what a later operation made of it;
//! - every block is whole, of this place, and of a generation that the plan has for it; AWUPF is 0, so blocks and no
//!   more are atomic;
//! - no byte outside blockcheck's range has changed.

use std::collections::HashSet;
use std::ops::Range;

use blockcheck::crash::{Judge, Wrong};
use blockcheck::pattern::{self, Generation, Seen};
use blockcheck::plan::{Action, Plan};

use crate::power_loss::{Loss, Replay};
use crate::random::Random;
use crate::write_log::{Entry, Operation, WriteLog};

/// A run that was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// What the disk held before.
    pub before: Vec<u8>,
    /// What it was told.
    pub log: WriteLog,
    /// What blockcheck does.
    pub plan: Plan,
    /// blockcheck's first block on the disk.
    pub first_block: u64,
    /// Bytes of a block.
    pub block_bytes: usize,
}

/// How many operations may have been begun after the latest write of the record: those under way, and others that leave
/// no generation. What is beyond excuses only zeroes.
const UNSEEN: Generation = 128;

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Everything up to here is durable, blockcheck says.
    pub durable: Generation,
    /// Bytes of the record, looked at after the above.
    pub log_bytes: u64,
}

/// What a disk must not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Bytes that are not blockcheck's have changed.
    #[error("cut at entry {entries}, {loss:?} lost: byte {byte} outside the range has changed")]
    Outside {
        /// The cut.
        entries: usize,
        /// What was lost.
        loss: Loss,
        /// The first such byte.
        byte: usize,
    },
    /// What was durable is not there.
    #[error("cut at entry {entries}, {loss:?} lost, {durable} durable: {wrong}")]
    Lost {
        /// The cut.
        entries: usize,
        /// What was lost.
        loss: Loss,
        /// What blockcheck said.
        durable: Generation,
        /// What is wrong.
        wrong: Wrong,
    },
    /// A block has changed to what no operation up to the cut leaves.
    #[error("cut at entry {entries}, {loss:?} lost: block {block} has changed to {seen}")]
    Impossible {
        /// The cut.
        entries: usize,
        /// What was lost.
        loss: Loss,
        /// The block, of blockcheck's.
        block: u64,
        /// What it holds.
        seen: Seen,
    },
    /// The disk was told to change something outside the range.
    #[error("entry {entry} of the record changes {bytes} bytes at byte {at} of the disk, outside the range")]
    Told {
        /// The entry.
        entry: usize,
        /// Where.
        at: u64,
        /// How many bytes.
        bytes: u64,
    },
}

impl Recorded {
    /// blockcheck's bytes of the disk.
    fn range(&self) -> Range<usize> {
        let first = self.first_block as usize * self.block_bytes;
        first..first + self.plan.blocks as usize * self.block_bytes
    }

    /// Judges every disk that a power failure at one of these cuts, in the order of the run, could have left: for each
    /// kind of loss one, drawn by `random`. Stops after a few problems.
    pub fn judge(&self, cuts: &[Cut], random: &mut Random) -> Vec<Problem> {
        const ENOUGH: usize = 5;
        let mut problems = self.told_outside();
        let written = self.written();
        let mut replay = Replay::new(&self.log, self.before.clone(), self.block_bytes);
        for cut in cuts {
            let entries = self.log.entries_within(cut.log_bytes);
            replay.advance(entries);
            let last = written[..entries].iter().max().copied().unwrap_or(0).max(cut.durable) + UNSEEN;
            let judge = Judge::new(self.plan, cut.durable, last);
            let touched = Touched::new(&self.plan, last);
            for loss in Loss::ALL {
                let disk = replay.disk(loss, random);
                self.judge_disk(&disk, &judge, &touched, (entries, loss, cut.durable), &mut problems);
                if problems.len() >= ENOUGH {
                    problems.truncate(ENOUGH);
                    return problems;
                }
            }
        }
        problems
    }

    fn judge_disk(
        &self,
        disk: &[u8],
        judge: &Judge,
        touched: &Touched,
        (entries, loss, durable): (usize, Loss, Generation),
        problems: &mut Vec<Problem>,
    ) {
        let range = self.range();
        let changed = |part: Range<usize>| {
            let pairs = disk[part.clone()].iter().zip(&self.before[part.clone()]);
            // Compared as a whole first, which is much faster.
            (disk[part.clone()] != self.before[part.clone()])
                .then(|| pairs.take_while(|(now, before)| now == before).count() + part.start)
        };
        let outside = changed(0..range.start).or_else(|| changed(range.end..disk.len()));
        problems.extend(outside.map(|byte| Problem::Outside { entries, loss, byte }));
        let own = disk[range.clone()].chunks_exact(self.block_bytes);
        let before = self.before[range].chunks_exact(self.block_bytes);
        for (block, (now, before)) in (0..).zip(own.zip(before)) {
            match judge.block(block, now) {
                Err(wrong) => problems.push(Problem::Lost { entries, loss, durable, wrong }),
                Ok(seen) if now != before && !touched.may_leave(&self.plan, block, seen) => {
                    problems.push(Problem::Impossible { entries, loss, block, seen });
                }
                Ok(_) => {}
            }
        }
    }

    /// Which operation each entry was, if it was a write; 0 for others.
    fn written(&self) -> Vec<Generation> {
        let operation = |entry: &Entry| {
            let Operation::Write { at, data } = &entry.operation else { return 0 };
            let block = (*at / self.block_bytes as u64).wrapping_sub(self.first_block);
            let first = self.log.data(data).get(..self.block_bytes).unwrap_or_default();
            match pattern::judge(self.plan.seed, block, &mut first.to_vec()) {
                Seen::Written(generation) => generation,
                _ => 0,
            }
        };
        self.log.entries().iter().map(operation).collect()
    }

    /// Operations outside the range, whether or not anything of them would have been seen later.
    fn told_outside(&self) -> Vec<Problem> {
        let range = self.range();
        let told = |(entry, Entry { operation, .. }): (usize, &Entry)| {
            let (at, bytes) = match operation {
                Operation::Flush => return None,
                Operation::Write { at, data } => (*at, data.len() as u64),
                Operation::Discard { at, bytes } => (*at, *bytes),
            };
            let inside = at >= range.start as u64 && at + bytes <= range.end as u64;
            (!inside).then_some(Problem::Told { entry, at, bytes })
        };
        self.log.entries().iter().enumerate().filter_map(told).take(1).collect()
    }
}

/// What operations up to some number may leave in a block, beyond what was there before.
struct Touched {
    last: Generation,
    /// Blocks that may have become zeroes, or after a discard ones.
    zeroed: HashSet<u64>,
}

impl Touched {
    fn new(plan: &Plan, last: Generation) -> Self {
        let steps = (1..=last).map(|generation| plan.step(generation));
        let zeroing = steps.filter(|step| matches!(step.action, Action::WriteZeroes | Action::Discard));
        let blocks = zeroing.flat_map(|step| step.first_block..step.first_block + u64::from(step.blocks));
        Self { last, zeroed: blocks.collect() }
    }

    fn may_leave(&self, plan: &Plan, block: u64, seen: Seen) -> bool {
        match seen {
            Seen::Written(generation) => {
                let step = plan.step(generation);
                generation <= self.last && matches!(step.action, Action::Write { .. }) && step.covers(block)
            }
            Seen::Zeroes | Seen::Ones => self.zeroed.contains(&block),
            Seen::Torn | Seen::OtherBlock(_) | Seen::OtherSeed(_) | Seen::Foreign => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_log::made::Maker;
    use blockcheck::plan::Mix;

    const BLOCK: usize = 512;
    const DISK_BLOCKS: usize = 300;
    const FIRST: u64 = 20;
    const LAST: Generation = 160;
    const PLAN: Plan = Plan {
        seed: 5,
        blocks: 200,
        blocks_max: 16,
        flush_every: 16,
        mix: Mix { write: 70, durable: 0, discard: 10, zeroes: 10 },
    };

    /// How a system may misbehave.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Mutant {
        None,
        /// Flushes are answered and not passed on.
        NoFlush,
        /// A flush is answered, and only then passed on.
        EarlyAnswer,
        /// Writes are acknowledged and passed on after the flush that follows.
        LateWrite,
        /// A write is never done.
        LostWrite,
        /// The first half of a block is written alone.
        TornBlock,
        /// A write goes to the block after its own.
        WrongBlock,
        /// Older data is written once more.
        StaleWrite,
        /// One block beyond the range is written.
        BeyondRange,
        /// One block before the range is discarded.
        BeforeRange,
    }

    fn before() -> Vec<u8> {
        crate::disk::contents(1, 0, DISK_BLOCKS * BLOCK)
    }

    fn data(plan: &Plan, generation: Generation) -> Vec<u8> {
        let step = plan.step(generation);
        let mut data = vec![0; step.blocks as usize * BLOCK];
        for (block, bytes) in (step.first_block..).zip(data.chunks_mut(BLOCK)) {
            pattern::fill(plan.seed, block, generation, bytes);
        }
        data
    }

    /// A run of one operation at a time on a system of this kind, with a cut after each operation.
    fn run(mutant: Mutant) -> (Recorded, Vec<Cut>) {
        let mut maker = Maker::new();
        let mut cuts = vec![Cut { durable: 0, log_bytes: maker.bytes.len() as u64 }];
        let mut durable = 0;
        for generation in 1..=LAST {
            let step = PLAN.step(generation);
            let sector = FIRST + step.first_block;
            let is_write = matches!(step.action, Action::Write { .. });
            // The one operation that goes wrong.
            let wrong = is_write && step.blocks > 1 && generation > 40 && generation % 16 == 15;
            match step.action {
                Action::Flush if mutant == Mutant::NoFlush => durable = generation,
                Action::Flush if mutant == Mutant::EarlyAnswer => {
                    durable = generation;
                    cuts.push(Cut { durable, log_bytes: maker.bytes.len() as u64 });
                    maker.flush();
                }
                Action::Flush => {
                    maker.flush();
                    durable = generation;
                    if mutant == Mutant::LateWrite {
                        let late = generation - 1;
                        if matches!(PLAN.step(late).action, Action::Write { .. }) {
                            maker.write(FIRST + PLAN.step(late).first_block, &data(&PLAN, late));
                        }
                    }
                }
                Action::Write { .. } => match mutant {
                    Mutant::LateWrite if generation % 16 == 15 => {}
                    Mutant::LostWrite if wrong => {}
                    Mutant::TornBlock if wrong => {
                        let mut bytes = data(&PLAN, generation);
                        bytes[BLOCK / 2..BLOCK].fill(0x55);
                        maker.write(sector, &bytes);
                    }
                    Mutant::WrongBlock if wrong => maker.write(sector - 1, &data(&PLAN, generation)),
                    Mutant::StaleWrite if wrong => {
                        maker.write(sector, &data(&PLAN, generation));
                        let old = PLAN.step(1).first_block;
                        maker.write(FIRST + old, &data(&PLAN, 1));
                    }
                    Mutant::BeyondRange if wrong => maker.write(FIRST + PLAN.blocks, &[0; BLOCK]),
                    Mutant::BeforeRange if wrong => maker.discard(FIRST - 1, 1),
                    _ => maker.write(sector, &data(&PLAN, generation)),
                },
                Action::WriteZeroes => maker.write(sector, &vec![0; step.blocks as usize * BLOCK]),
                Action::Discard => maker.discard(sector, step.blocks.into()),
                Action::Read => {}
            }
            cuts.push(Cut { durable, log_bytes: maker.bytes.len() as u64 });
        }
        let log = WriteLog::parse(maker.bytes).unwrap();
        (Recorded { before: before(), log, plan: PLAN, first_block: FIRST, block_bytes: BLOCK }, cuts)
    }

    fn problems(mutant: Mutant, seed: u64) -> Vec<Problem> {
        let (recorded, cuts) = run(mutant);
        recorded.judge(&cuts, &mut Random::new(seed))
    }

    #[test]
    fn a_sound_system_has_no_problems_wherever_it_is_cut() {
        for seed in 0..8 {
            assert_eq!(problems(Mutant::None, seed), []);
        }
    }

    #[test]
    fn every_way_of_misbehaving_is_noticed() {
        for mutant in [
            Mutant::NoFlush,
            Mutant::EarlyAnswer,
            Mutant::LateWrite,
            Mutant::LostWrite,
            Mutant::TornBlock,
            Mutant::WrongBlock,
            Mutant::StaleWrite,
            Mutant::BeyondRange,
            Mutant::BeforeRange,
        ] {
            let problems = problems(mutant, 1);
            assert!(!problems.is_empty(), "{mutant:?}");
            let told = problems.iter().any(|problem| matches!(problem, Problem::Told { .. }));
            assert_eq!(told, matches!(mutant, Mutant::BeyondRange | Mutant::BeforeRange), "{mutant:?}: {problems:?}");
        }
    }

    #[test]
    fn what_was_not_flushed_may_be_lost() {
        let (recorded, cuts) = run(Mutant::None);
        let claims = (0..).zip(&cuts).map(|(generation, cut)| Cut { durable: generation, ..*cut }).collect::<Vec<_>>();
        let problems = recorded.judge(&claims, &mut Random::new(1));
        assert!(problems.iter().all(|problem| matches!(problem, Problem::Lost { .. })), "{problems:?}");
        assert!(!problems.is_empty(), "it claims more than was flushed");
    }
}
