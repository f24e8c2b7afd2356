//! Commands of the NVM command set (NVM command set 1.0, 3).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::entry::SubmissionEntry;

/// Flush (base 2.0, 7.1).
pub const FLUSH: u8 = 0x00;
/// Write (3.2.6).
pub const WRITE: u8 = 0x01;
/// Read (3.2.4).
pub const READ: u8 = 0x02;
/// Write Uncorrectable (3.2.7).
pub const WRITE_UNCORRECTABLE: u8 = 0x04;
/// Compare (3.2.1).
pub const COMPARE: u8 = 0x05;
/// Write Zeroes (3.2.8).
pub const WRITE_ZEROES: u8 = 0x08;
/// Dataset Management (3.2.3): its payload holds ranges.
pub const DATASET_MANAGEMENT: u8 = 0x09;
/// Verify (3.2.5).
pub const VERIFY: u8 = 0x0c;
/// Reservation Register (base 2.0, 7.3).
pub const RESERVATION_REGISTER: u8 = 0x0d;
/// Copy (3.2.2).
pub const COPY: u8 = 0x19;

/// Most logical blocks in one Read or Write: NLB is 16 bits, 0's based.
pub const BLOCKS_MAX: u32 = 0x1_0000;
/// NLB's place in dword 12 of a Read or Write.
pub const BLOCKS_MASK: u32 = 0xffff;
/// LR in dword 12: limited retry.
pub const LIMITED_RETRY: u32 = 1 << 31;
/// FUA in dword 12: force unit access.
pub const FORCE_UNIT_ACCESS: u32 = 1 << 30;
/// DEAC in dword 12 of Write Zeroes: the blocks may be deallocated.
pub const DEALLOCATE: u32 = 1 << 25;
/// AD in dword 11 of Dataset Management: the ranges are deallocated.
pub const ATTRIBUTE_DEALLOCATE: u32 = 1 << 2;
/// Most ranges in one Dataset Management command.
pub const RANGES_MAX: usize = 256;

/// Optional commands, ONCS in Identify Controller (base 2.0, figure 275).
pub mod optional {
    /// Compare.
    pub const COMPARE: u16 = 1 << 0;
    /// Dataset Management.
    pub const DATASET_MANAGEMENT: u16 = 1 << 2;
    /// Write Zeroes.
    pub const WRITE_ZEROES: u16 = 1 << 3;
    /// Verify.
    pub const VERIFY: u16 = 1 << 7;
}

/// A range of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// SLBA: the first.
    pub first: u64,
    /// How many, 1 to [`BLOCKS_MAX`].
    pub count: u32,
}

/// A range of Dataset Management's payload (NVM command set 1.0, figure 40): 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DatasetRange {
    /// Context attributes: hints about how the range is used.
    pub attributes: U32,
    /// Length in logical blocks.
    pub blocks: U32,
    /// Starting LBA.
    pub first: U64,
}

impl DatasetRange {
    /// Bytes of a range.
    pub const BYTES: usize = size_of::<Self>();

    /// A range without attributes.
    pub fn new(first: u64, blocks: u32) -> Self {
        Self { attributes: 0.into(), blocks: blocks.into(), first: first.into() }
    }
}

impl SubmissionEntry {
    /// A command that names a range of blocks in dwords 10 to 12: Read, Write, Compare, Verify, Write Zeroes (NVM
    /// command set 1.0, 3.2). The data's place, if it has any, is yet to be set.
    pub fn on_blocks(opcode: u8, identifier: u16, nsid: u32, range: BlockRange) -> Self {
        Self {
            dword10: (range.first as u32).into(),
            dword11: ((range.first >> 32) as u32).into(),
            dword12: (range.count.wrapping_sub(1) & BLOCKS_MASK).into(),
            ..Self::new(opcode, identifier, nsid)
        }
    }

    /// As [`Self::on_blocks`], with both PRP entries, and dword 12 as it is given: all at once, for those of which there
    /// are many.
    #[inline]
    pub fn transfer(opcode: u8, identifier: u16, nsid: u32, first: u64, dword12: u32, prp: (u64, u64)) -> Self {
        let head = u64::from(opcode) | u64::from(identifier) << 16 | u64::from(nsid) << 32;
        Self::from_words([head, 0, 0, prp.0, prp.1, first, dword12.into(), 0])
    }

    /// Read (NVM command set 1.0, 3.2.4); the data's place is yet to be set.
    pub fn read(identifier: u16, nsid: u32, range: BlockRange) -> Self {
        Self::on_blocks(READ, identifier, nsid, range)
    }

    /// With a bit of dword 12 set.
    pub fn with_dword12(self, bits: u32) -> Self {
        Self { dword12: (self.dword12.get() | bits).into(), ..self }
    }

    /// Dataset Management that deallocates so many ranges, 1 to [`RANGES_MAX`] (NVM command set 1.0, 3.2.3); the
    /// payload's place is yet to be set.
    pub fn deallocate(identifier: u16, nsid: u32, ranges: usize) -> Self {
        Self {
            dword10: (ranges.wrapping_sub(1) as u32 & 0xff).into(),
            dword11: ATTRIBUTE_DEALLOCATE.into(),
            ..Self::new(DATASET_MANAGEMENT, identifier, nsid)
        }
    }

    /// Flush (base 2.0, 7.1).
    pub fn flush(identifier: u16, nsid: u32) -> Self {
        Self::new(FLUSH, identifier, nsid)
    }

    /// The blocks that a Read, Write, Compare, Verify or Write Zeroes names in dwords 10 to 12.
    pub fn block_range(&self) -> BlockRange {
        BlockRange {
            first: u64::from(self.dword11.get()) << 32 | u64::from(self.dword10.get()),
            count: (self.dword12.get() & BLOCKS_MASK) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_where_the_specification_puts_them() {
        let range = DatasetRange::new(0x0102_0304_0506_0708, 0x1122_3344);
        let bytes = [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 8, 7, 6, 5, 4, 3, 2, 1];
        assert_eq!(range.as_bytes(), bytes);
        let command = SubmissionEntry::deallocate(1, 1, 256);
        assert_eq!((command.dword10.get(), command.dword11.get()), (0xff, 4));
    }

    #[test]
    fn a_read_carries_its_range() {
        for range in [
            BlockRange { first: 0, count: 1 },
            BlockRange { first: 0x1_2345_6789, count: BLOCKS_MAX },
            BlockRange { first: u64::MAX, count: 8 },
        ] {
            let read = SubmissionEntry::read(1, 2, range);
            assert_eq!(read.block_range(), range);
            let at_once = SubmissionEntry::transfer(READ, 1, 2, range.first, read.dword12.get(), (3, 4));
            assert_eq!(at_once, read.with_data(3, 4));
        }
    }
}
