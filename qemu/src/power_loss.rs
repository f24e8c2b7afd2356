//! What a disk may hold after its power was cut at some point of a recorded run.
//!
//! A device with a volatile write cache has made durable what was finished before the last finished flush; of later
//! writes it may have lost any, in any order. NVMe promises no more than that one logical block is whole (AWUPF 0, which
//! QEMU reports; NVM Command Set 1.0, section 2.1.4.1), so a longer write may be torn at any block. A killed QEMU loses
//! nothing, because the host's own cache outlives it: losses are therefore simulated here, from the recorded run.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::write_log::{Operation, WriteLog};

/// A recorded run, up to some cut.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a WriteLog,
    block_bytes: usize,
    /// The disk at the last flush before the cut.
    durable: Vec<u8>,
    /// Entries before this one are in `durable`.
    durable_entries: usize,
    /// Entries before this one had been finished.
    cut: usize,
}

/// What became of the writes since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of them are on the disk, as after a mere stop of the machine.
    Nothing,
    /// All of them are lost.
    Everything,
    /// Those from some moment on are lost; the first of them may be torn.
    Tail,
    /// Each block holds what it had at the last flush or what any write since gave it, as it happened.
    Scattered,
}

impl Loss {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Everything, Self::Tail, Self::Scattered];
}

impl<'a> Replay<'a> {
    /// A run on a disk that held `before`, cut before its first operation.
    pub fn new(log: &'a WriteLog, before: Vec<u8>, block_bytes: usize) -> Self {
        Self { log, block_bytes, durable: before, durable_entries: 0, cut: 0 }
    }

    /// Moves the cut forward: the first `entries` had been finished.
    ///
    /// # Panics
    /// If the cut lies before the present one, or an entry beyond the disk.
    pub fn advance(&mut self, entries: usize) {
        assert!(entries >= self.cut, "a run is replayed forward");
        let operations = self.log.entries();
        for index in self.cut..entries {
            if operations[index].operation == Operation::Flush {
                for earlier in &operations[self.durable_entries..index] {
                    apply(self.log, &mut self.durable, &earlier.operation);
                }
                self.durable_entries = index + 1;
            }
        }
        self.cut = entries;
    }

    /// What the disk surely holds: everything that was finished before the last flush.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// How many operations have been finished since the last flush.
    pub fn pending(&self) -> usize {
        self.cut - self.durable_entries
    }

    /// The disk after a loss of this kind.
    pub fn disk(&self, loss: Loss, random: &mut Random) -> Vec<u8> {
        let mut disk = self.durable.clone();
        let pending = &self.log.entries()[self.durable_entries..self.cut];
        match loss {
            Loss::Everything => {}
            Loss::Nothing => pending.iter().for_each(|entry| apply(self.log, &mut disk, &entry.operation)),
            Loss::Tail => {
                let kept = random.below(pending.len() as u64 + 1) as usize;
                pending[..kept].iter().for_each(|entry| apply(self.log, &mut disk, &entry.operation));
                if let Some(Operation::Write { at, data }) = pending.get(kept).map(|entry| &entry.operation) {
                    let blocks = (data.len() / self.block_bytes) as u64;
                    let bytes = random.below(blocks + 1) as usize * self.block_bytes;
                    let at = *at as usize;
                    disk[at..at + bytes].copy_from_slice(&self.log.data(data)[..bytes]);
                }
            }
            Loss::Scattered => {
                for (block, versions) in self.versions() {
                    let place = &mut disk[block * self.block_bytes..][..self.block_bytes];
                    match random.below(versions.len() as u64 + 1).checked_sub(1) {
                        None => {}
                        Some(index) => match versions[index as usize] {
                            Some(data) => place.copy_from_slice(data),
                            None => place.fill(0),
                        },
                    }
                }
            }
        }
        disk
    }

    /// What each block was given since the last flush, in order; `None` is a discard.
    fn versions(&self) -> BTreeMap<usize, Vec<Option<&[u8]>>> {
        let mut versions: BTreeMap<usize, Vec<Option<&[u8]>>> = BTreeMap::new();
        for entry in &self.log.entries()[self.durable_entries..self.cut] {
            match &entry.operation {
                Operation::Flush => {}
                Operation::Write { at, data } => {
                    for (index, block) in self.log.data(data).chunks(self.block_bytes).enumerate() {
                        versions.entry(*at as usize / self.block_bytes + index).or_default().push(Some(block));
                    }
                }
                Operation::Discard { at, bytes } => {
                    let first = *at as usize / self.block_bytes;
                    for block in first..first + *bytes as usize / self.block_bytes {
                        versions.entry(block).or_default().push(None);
                    }
                }
            }
        }
        versions
    }
}

/// Does to the disk what was done. What was discarded reads as zeroes.
fn apply(log: &WriteLog, disk: &mut [u8], operation: &Operation) {
    match operation {
        Operation::Flush => {}
        Operation::Write { at, data } => disk[*at as usize..][..data.len()].copy_from_slice(log.data(data)),
        Operation::Discard { at, bytes } => disk[*at as usize..][..*bytes as usize].fill(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_log::made::Maker;

    const BLOCK: usize = 512;
    /// Eight blocks.
    const BEFORE: [u8; 8 * BLOCK] = [0xee; 8 * BLOCK];

    /// Block 0 ← 1, flush, blocks 0 to 2 ← 2, block 0 ← 3, discard of block 7.
    fn log() -> WriteLog {
        let mut maker = Maker::new();
        maker.write(0, &[1; BLOCK]);
        maker.flush();
        maker.write(0, &[2; 3 * BLOCK]);
        maker.write(0, &[3; BLOCK]);
        maker.discard(7, 1);
        WriteLog::parse(maker.bytes).unwrap()
    }

    /// The first byte of each block, all of whose bytes must be the same.
    fn blocks(disk: &[u8]) -> Vec<u8> {
        let whole = disk.chunks(BLOCK).inspect(|block| assert!(block.iter().all(|byte| *byte == block[0]), "torn"));
        whole.map(|block| block[0]).collect()
    }

    fn outcomes(cut: usize, loss: Loss) -> std::collections::BTreeSet<Vec<u8>> {
        let log = log();
        let mut replay = Replay::new(&log, BEFORE.to_vec(), BLOCK);
        replay.advance(cut);
        let mut random = Random::new(3);
        (0..400).map(|_| blocks(&replay.disk(loss, &mut random))).collect()
    }

    const E: u8 = 0xee;

    #[test]
    fn what_was_flushed_is_never_lost_and_the_rest_may_be() {
        assert_eq!(outcomes(1, Loss::Everything).into_iter().collect::<Vec<_>>(), [[E; 8]]);
        assert_eq!(outcomes(2, Loss::Everything).into_iter().collect::<Vec<_>>(), [[1, E, E, E, E, E, E, E]]);
        assert_eq!(outcomes(5, Loss::Everything).into_iter().collect::<Vec<_>>(), [[1, E, E, E, E, E, E, E]]);
        assert_eq!(outcomes(5, Loss::Nothing).into_iter().collect::<Vec<_>>(), [[3, 2, 2, E, E, E, E, 0]]);
    }

    #[test]
    fn a_tail_is_lost_from_any_operation_and_any_block_on() {
        let expected = [[1, E, E, E], [2, 2, 2, E], [2, 2, E, E], [2, E, E, E], [3, 2, 2, E]];
        let whole: Vec<_> = outcomes(4, Loss::Tail).into_iter().map(|blocks| blocks[..4].to_vec()).collect();
        assert_eq!(whole, expected);
    }

    #[test]
    fn scattered_blocks_hold_any_of_their_versions() {
        let outcomes = outcomes(5, Loss::Scattered);
        assert_eq!(outcomes.len(), 3 * 2 * 2 * 2, "{outcomes:?}");
    }

    #[test]
    fn a_run_is_replayed_in_steps() {
        let log = log();
        let mut replay = Replay::new(&log, BEFORE.to_vec(), BLOCK);
        let pending: Vec<_> = (0..=5).map(|cut| (replay.advance(cut), replay.pending()).1).collect();
        assert_eq!(pending, [0, 1, 0, 1, 2, 3]);
        assert_eq!(blocks(replay.durable()), [1, E, E, E, E, E, E, E]);
    }
}
