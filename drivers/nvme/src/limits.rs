//! How long a single command may be, by operation.

use nvme_spec::identify::ControllerNvm;
use nvme_spec::nvm::BLOCKS_MAX;
use nvme_spec::{PAGE_BYTES, brokered};
use protocol::nvme::Operation;
use zerocopy::FromBytes;

/// What controller and lane allow in one command. Bytes, but for discards: blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Read, Write and Compare.
    pub data: u32,
    /// Verify.
    pub verify: u64,
    /// Write Zeroes.
    pub write_zeroes: u64,
    /// A range to discard.
    pub discard_blocks: u32,
}

impl Limits {
    /// Of a controller that was not identified: nothing may be moved.
    pub const UNKNOWN: Self = Self { data: 0, verify: 0, write_zeroes: 0, discard_blocks: 0 };

    /// For a controller with this MDTS that reports nothing else: then Verify is taken to be no longer than Read.
    pub const fn new(transfer_shift_max: u8) -> Self {
        let data = brokered::transfer_bytes_max(transfer_shift_max);
        Self { data, verify: data as u64, write_zeroes: u64::MAX, discard_blocks: u32::MAX }
    }

    /// With what Identify Controller for the NVM command set tells.
    pub fn with_reported(self, page: &[u8; PAGE_BYTES]) -> Self {
        let Ok(reported) = ControllerNvm::ref_from_bytes(page) else { return self };
        let range = match reported.range_blocks_max.get() {
            0 => u32::MAX,
            most => most,
        };
        let together = match reported.deallocate_blocks_max.get() {
            0 => u32::MAX,
            most => u32::try_from(most).unwrap_or(u32::MAX),
        };
        Self {
            verify: pages(reported.verify_shift_max),
            write_zeroes: pages(reported.write_zeroes_shift_max),
            discard_blocks: range.min(together),
            ..self
        }
    }

    /// Most blocks of this size in one command, at least 1.
    pub fn blocks(&self, operation: Operation, block_bytes: u32) -> u32 {
        let bytes = match operation {
            Operation::Read | Operation::Write | Operation::DurableWrite | Operation::Compare => u64::from(self.data),
            Operation::Verify => self.verify,
            Operation::WriteZeroes => self.write_zeroes,
            Operation::Discard => return self.discard_blocks,
            Operation::Flush => return 1,
        };
        let blocks = bytes / u64::from(block_bytes.max(1));
        // BLOCKS_MAX has 17 bits.
        blocks.clamp(1, u64::from(BLOCKS_MAX)) as u32
    }
}

/// A limit that is reported as a power of two of pages, where 0 is none.
const fn pages(shift: u8) -> u64 {
    // 2^51 pages of 2^12 bytes are all that 64 bits hold.
    if shift == 0 || shift > 51 { u64::MAX } else { (PAGE_BYTES as u64) << shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromZeros, IntoBytes};

    #[test]
    fn what_is_not_reported_is_as_long_as_the_specification_allows() {
        let limits = Limits::new(0);
        assert_eq!(limits.blocks(Operation::Read, 512), 1024);
        assert_eq!(limits.blocks(Operation::Compare, 4096), 128);
        assert_eq!(limits.blocks(Operation::Verify, 4096), 128);
        assert_eq!(limits.blocks(Operation::WriteZeroes, 512), BLOCKS_MAX);
        assert_eq!(limits.blocks(Operation::Discard, 512), u32::MAX);
    }

    #[test]
    fn reported_limits_hold() {
        let mut reported = ControllerNvm::new_zeroed();
        (reported.verify_shift_max, reported.write_zeroes_shift_max) = (3, 255);
        reported.range_blocks_max = 1000.into();
        reported.deallocate_blocks_max = 900.into();
        let limits = Limits::new(7).with_reported(reported.as_bytes().try_into().unwrap());
        assert_eq!(limits.blocks(Operation::Verify, 512), 64);
        assert_eq!(limits.blocks(Operation::WriteZeroes, 4096), BLOCKS_MAX);
        assert_eq!(limits.blocks(Operation::Discard, 4096), 900);
        let none = Limits::new(7).with_reported(&[0; 4096]);
        assert_eq!(none.blocks(Operation::Verify, 512), BLOCKS_MAX);
        assert_eq!(none.blocks(Operation::Discard, 512), u32::MAX);
    }
}
