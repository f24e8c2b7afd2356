//! Changes that a driver has, or had: what overlaps them has to wait.

use protocol::nvme::{Operation, Transfer};

/// Whether an operation changes blocks.
pub const fn changes(operation: Operation) -> bool {
    matches!(operation, Operation::Write { .. } | Operation::WriteZeroes | Operation::Discard)
}

/// Blocks of a namespace.
#[derive(Clone, Copy, Debug)]
struct Range {
    nsid: u32,
    first_block: u64,
    blocks: u32,
}

impl Range {
    fn of(transfer: &Transfer) -> Self {
        Self { nsid: transfer.nsid, first_block: transfer.first_block, blocks: transfer.blocks }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let end = |of: &Self| of.first_block.saturating_add(of.blocks.into());
        self.nsid == other.nsid && self.first_block < end(other) && other.first_block < end(self)
    }
}

/// Numbers below `N`, packed.
type Marks = [u64; 3];

/// Changes, by the numbers of their requests, which are below `N`.
#[derive(Debug)]
pub struct Changing<const N: usize> {
    ranges: [Range; N],
    /// Those that are here.
    all: Marks,
    /// Those of them that are undecided.
    undecided: Marks,
}

impl<const N: usize> Changing<N> {
    /// None.
    pub const fn new() -> Self {
        const { assert!(N <= 3 * 64, "each has a mark") };
        let nothing = Range { nsid: 0, first_block: 0, blocks: 0 };
        Self { ranges: [nothing; N], all: [0; 3], undecided: [0; 3] }
    }

    /// A driver is given this change.
    pub fn add(&mut self, index: usize, transfer: &Transfer) {
        self.ranges[index] = Range::of(transfer);
        self.all[index / 64] |= 1 << (index % 64);
    }

    /// The driver has stopped that had this; nothing, if it is no change.
    pub fn unsettle(&mut self, index: usize) {
        self.undecided[index / 64] |= self.all[index / 64] & 1 << (index % 64);
    }

    /// It has ended, or was not taken.
    pub fn remove(&mut self, index: usize) {
        self.all[index / 64] &= !(1 << (index % 64));
        self.undecided[index / 64] &= !(1 << (index % 64));
    }

    /// Whether this one has to wait: a change for all changes that it overlaps, anything else for those that are
    /// undecided; what is undecided itself for none, because the driver had all these at once before.
    #[inline]
    pub fn holds_up(&self, transfer: &Transfer, is_undecided: bool) -> bool {
        let marks = if changes(transfer.operation) { &self.all } else { &self.undecided };
        if is_undecided || *marks == [0; 3] || transfer.operation == Operation::Flush {
            return false;
        }
        self.overlaps(marks, &Range::of(transfer))
    }

    fn overlaps(&self, marks: &Marks, range: &Range) -> bool {
        (0..).zip(marks).any(|(word, marks)| {
            let mut left = *marks;
            core::iter::from_fn(|| {
                let bit = left.checked_ilog2()?;
                left &= !(1 << bit);
                Some(word * 64 + bit as usize)
            })
            .any(|index| self.ranges[index].overlaps(range))
        })
    }
}
