//! Commands of the NVM command set (NVM command set 1.0, 3).

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

/// A range of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// SLBA: the first.
    pub first: u64,
    /// How many, 1 to [`BLOCKS_MAX`].
    pub count: u32,
}

impl SubmissionEntry {
    /// Read (NVM command set 1.0, 3.2.4); the data's place is yet to be set.
    pub fn read(identifier: u16, nsid: u32, range: BlockRange) -> Self {
        Self {
            dword10: (range.first as u32).into(),
            dword11: ((range.first >> 32) as u32).into(),
            dword12: (range.count.wrapping_sub(1) & BLOCKS_MASK).into(),
            ..Self::new(READ, identifier, nsid)
        }
    }

    /// Flush (base 2.0, 7.1).
    pub fn flush(identifier: u16, nsid: u32) -> Self {
        Self::new(FLUSH, identifier, nsid)
    }

    /// The blocks that a Read, Write or Compare names in dwords 10 to 12.
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
    fn a_read_carries_its_range() {
        for range in [
            BlockRange { first: 0, count: 1 },
            BlockRange { first: 0x1_2345_6789, count: BLOCKS_MAX },
            BlockRange { first: u64::MAX, count: 8 },
        ] {
            assert_eq!(SubmissionEntry::read(1, 1, range).block_range(), range);
        }
    }
}
