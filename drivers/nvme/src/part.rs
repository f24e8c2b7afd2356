//! What one device command carries out of a transfer, and how a transfer is cut into such parts.

use protocol::nvme::{Operation, Transfer};

/// One device command's share of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which transfer, for [`crate::transfers::Transfers::part_ended`].
    pub transfer: u16,
    /// What to do.
    pub operation: Operation,
    /// Which namespace.
    pub nsid: u32,
    /// First logical block.
    pub first_block: u64,
    /// Number of logical blocks; 0 for a flush.
    pub blocks: u32,
    /// Where the data lies: byte offset in the region.
    pub offset: u64,
    /// It was in flight when the controller was reset, and is issued once more.
    pub again: bool,
}

impl Part {
    /// The whole of a transfer, as one part.
    pub fn whole(number: u16, transfer: &Transfer) -> Self {
        let Transfer { operation, nsid, first_block, blocks, offset, .. } = *transfer;
        Self { transfer: number, operation, nsid, first_block, blocks, offset, again: false }
    }

    /// The part as a transfer of its own, to be checked like one.
    pub fn as_transfer(&self) -> Transfer {
        let Self { operation, nsid, first_block, blocks, offset, .. } = *self;
        Transfer { tag: 0, operation, nsid, first_block, blocks, offset }
    }
}

/// How a transfer is cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes in a block.
    pub block_bytes: u32,
    /// Most blocks in one part; 0 counts as 1.
    pub blocks: u32,
    /// Blocks between boundaries that no part crosses; 0 if there are none.
    pub boundary: u32,
}

impl Cut {
    /// Not known.
    pub const NONE: Self = Self { block_bytes: 0, blocks: 0, boundary: 0 };
    /// Not at all.
    pub const WHOLE: Self = Self { block_bytes: 0, blocks: u32::MAX, boundary: 0 };

    /// Most blocks of a part that begins here.
    pub fn most(self, first_block: u64) -> u32 {
        let most = self.blocks.max(1);
        if self.boundary == 0 {
            return most;
        }
        // A remainder by 32 bits has 32 bits.
        let beyond = (first_block % u64::from(self.boundary)) as u32;
        most.min(self.boundary - beyond)
    }
}
