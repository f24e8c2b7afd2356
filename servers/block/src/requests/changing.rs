//! Changes that a driver has, or had: what overlaps them has to wait.

use protocol::nvme::{Operation, Transfer};

/// Blocks of a namespace.
#[derive(Clone, Copy, Debug)]
struct Range {
    nsid: u32,
    first_block: u64,
    blocks: u32,
}

impl Range {
    const NOTHING: Self = Self { nsid: 0, first_block: 0, blocks: 0 };

    fn of(transfer: &Transfer) -> Self {
        Self { nsid: transfer.nsid, first_block: transfer.first_block, blocks: transfer.blocks }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let end = |of: &Self| of.first_block.saturating_add(of.blocks.into());
        self.nsid == other.nsid && self.first_block < end(other) && other.first_block < end(self)
    }
}

/// A mark for each number.
#[derive(Clone, Copy, Debug)]
struct Marks {
    words: [u64; 3],
    count: usize,
}

impl Marks {
    const NONE: Self = Self { words: [0; 3], count: 0 };

    fn has(&self, index: usize) -> bool {
        self.words[index / 64] & 1 << (index % 64) != 0
    }

    fn add(&mut self, index: usize) {
        self.words[index / 64] |= 1 << (index % 64);
        self.count += 1;
    }

    fn remove(&mut self, index: usize) {
        self.words[index / 64] &= !(1 << (index % 64));
        self.count -= 1;
    }

    fn any(&self, matches: impl Fn(usize) -> bool) -> bool {
        for (word, marks) in self.words.iter().enumerate() {
            let mut left = *marks;
            while left != 0 {
                if matches(word * 64 + left.trailing_zeros() as usize) {
                    return true;
                }
                left &= left - 1;
            }
        }
        false
    }
}

/// Changes, by the numbers of their requests, which are below `N`.
#[derive(Debug)]
pub struct Changing<const N: usize> {
    ranges: [Range; N],
    /// Those that are here.
    all: Marks,
    /// Those of them that a driver had that has stopped.
    undecided: Marks,
}

impl<const N: usize> Changing<N> {
    /// None.
    pub const fn new() -> Self {
        const { assert!(N <= 3 * 64, "each has a mark") };
        Self { ranges: [Range::NOTHING; N], all: Marks::NONE, undecided: Marks::NONE }
    }

    /// A driver is given this, which is here already if it is undecided.
    #[inline(always)]
    pub fn add(&mut self, index: usize, transfer: &Transfer) {
        if transfer.operation.changes_blocks() {
            self.add_change(index, Range::of(transfer));
        }
    }

    #[inline(never)]
    fn add_change(&mut self, index: usize, range: Range) {
        if !self.all.has(index) {
            self.ranges[index] = range;
            self.all.add(index);
        }
    }

    /// The driver has stopped that had this; nothing, if it is no change.
    pub fn unsettle(&mut self, index: usize) {
        if self.all.has(index) && !self.undecided.has(index) {
            self.undecided.add(index);
        }
    }

    /// It was not taken.
    pub fn take_back(&mut self, index: usize) {
        if !self.undecided.has(index) {
            self.remove(index);
        }
    }

    /// It has ended; nothing, if it is not here.
    #[inline]
    pub fn remove(&mut self, index: usize) {
        if self.all.count == 0 || !self.all.has(index) {
            return;
        }
        self.all.remove(index);
        if self.undecided.has(index) {
            self.undecided.remove(index);
        }
    }

    /// Whether this one has to wait: a change for all changes that it overlaps, anything else for those that are
    /// undecided; what is undecided itself for none, because the driver had all these at once before.
    #[inline]
    pub fn holds_up(&self, transfer: &Transfer, is_undecided: bool) -> bool {
        self.all.count > 0 && !is_undecided && self.overlaps(transfer)
    }

    #[inline(never)]
    fn overlaps(&self, transfer: &Transfer) -> bool {
        let against = if transfer.operation.changes_blocks() { &self.all } else { &self.undecided };
        let range = Range::of(transfer);
        transfer.operation != Operation::Flush && against.any(|index| self.ranges[index].overlaps(&range))
    }
}
