//! Blocks that were found to be allowed, so that the next command on them need not be looked up.
//!
//! Nearly every command is of the kind, and in the namespace and grant, of one before. What was found for that one is
//! remembered as an [`Extent`], and the next one compared with it in one piece. A command that does not lie in it is not
//! refused: it is looked up, which finds out whether it is allowed too, or why it is not.

use nvme_spec::SubmissionEntry;
use nvme_spec::nvm::{BLOCKS_MASK, FORCE_UNIT_ACCESS, LIMITED_RETRY};

use crate::queue::IDENTIFIER;

/// Of a command's first word, all but its identifier: opcode, flags and namespace.
const HEAD: u64 = !IDENTIFIER;
/// Of the word of dwords 12 and 13, what may be set.
pub const OPERANDS: u32 = BLOCKS_MASK | LIMITED_RETRY | FORCE_UNIT_ACCESS;
/// Extents that are remembered, a power of two: Read and Write have each their own place.
const REMEMBERED: usize = 4;

/// Blocks of a namespace on which commands of one kind are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The first word of such a command, but for its identifier.
    pub head: u64,
    /// The first of the blocks.
    first: u64,
    /// The first one after them.
    end: u64,
    /// Most blocks of one command.
    blocks_max: u32,
    /// A block is `1 << this` bytes.
    pub block_shift: u8,
}

impl Extent {
    /// None: no command has this first word.
    const NOTHING: Self = Self { head: u64::MAX, first: 0, end: 0, blocks_max: 0, block_shift: 0 };

    /// Blocks from `first` up to and without `end`, on which this command is allowed, and others of at most
    /// `transfer_bytes_max`.
    pub fn around(command: &SubmissionEntry, first: u64, end: u64, block_shift: u8, transfer_bytes_max: u32) -> Self {
        let [head, ..] = command.to_words();
        Self { head: head & HEAD, first, end, blocks_max: transfer_bytes_max >> block_shift, block_shift }
    }

    /// Whether a command is of this kind and nothing is set in it that must not be, and its blocks lie here.
    #[inline(always)]
    fn allows(&self, command: &SubmissionEntry) -> bool {
        let [head, dwords2, metadata, _, _, first, dwords12, dwords14] = command.to_words();
        let must_be_zero = dwords2 | metadata | dwords14 | dwords12 & !u64::from(OPERANDS);
        let count = (dwords12 as u32 & BLOCKS_MASK) + 1;
        head & HEAD == self.head
            && must_be_zero == 0
            && count <= self.blocks_max
            && first >= self.first
            && first.checked_add(count.into()).is_some_and(|end| end <= self.end)
    }
}

/// What is remembered.
#[derive(Debug)]
pub struct Extents([Extent; REMEMBERED]);

impl Extents {
    /// Nothing.
    pub const fn new() -> Self {
        Self([Extent::NOTHING; REMEMBERED])
    }

    /// Back to nothing: what it was found from is another than it was.
    pub fn forget(&mut self) {
        *self = Self::new();
    }

    /// For the commands that follow.
    pub fn remember(&mut self, extent: Extent) {
        self.0[extent.head as usize % REMEMBERED] = extent;
    }

    /// The extent in which a command is allowed, if it is remembered.
    #[inline(always)]
    pub fn find(&self, command: &SubmissionEntry) -> Option<&Extent> {
        let extent = &self.0[usize::from(command.opcode) % REMEMBERED];
        extent.allows(command).then_some(extent)
    }
}
