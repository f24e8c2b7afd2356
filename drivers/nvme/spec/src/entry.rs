//! Submission and completion queue entries (base 2.0, 3.3.3).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::status::Status;

/// A command as it lies in a submission queue: 64 bytes (base 2.0, figure 86).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SubmissionEntry {
    /// OPC.
    pub opcode: u8,
    /// FUSE in bits 1:0, PSDT in bits 7:6; zero means a single command whose data PRP entries describe.
    pub flags: u8,
    /// CID: the command's identifier, unique among those in flight on its queue.
    pub identifier: U16,
    /// NSID.
    pub nsid: U32,
    /// Command dword 2.
    pub dword2: U32,
    /// Command dword 3.
    pub dword3: U32,
    /// MPTR: where the metadata lies.
    pub metadata_pointer: U64,
    /// PRP entry 1.
    pub prp1: U64,
    /// PRP entry 2.
    pub prp2: U64,
    /// Command dword 10.
    pub dword10: U32,
    /// Command dword 11.
    pub dword11: U32,
    /// Command dword 12.
    pub dword12: U32,
    /// Command dword 13.
    pub dword13: U32,
    /// Command dword 14.
    pub dword14: U32,
    /// Command dword 15.
    pub dword15: U32,
}

impl SubmissionEntry {
    /// Bytes of an entry.
    pub const BYTES: usize = size_of::<Self>();

    /// A command of which all but this is zero.
    pub fn new(opcode: u8, identifier: u16, nsid: u32) -> Self {
        Self { opcode, identifier: identifier.into(), nsid: nsid.into(), ..Self::default() }
    }

    /// With both PRP entries set.
    pub fn with_data(self, prp1: u64, prp2: u64) -> Self {
        Self { prp1: prp1.into(), prp2: prp2.into(), ..self }
    }

    /// The entry in these bytes.
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        zerocopy::transmute!(bytes)
    }

    /// The entry of these dwords, two in a word, the lower one first.
    #[inline]
    pub fn from_words(words: [u64; 8]) -> Self {
        zerocopy::transmute!(words.map(u64::to_le_bytes))
    }

    /// The entry's dwords, two in a word, the lower one first.
    #[inline(always)]
    pub fn to_words(&self) -> [u64; 8] {
        let words: &[[u8; 8]; 8] = zerocopy::transmute_ref!(self);
        words.map(u64::from_le_bytes)
    }

    /// The entry that these bytes are.
    #[inline(always)]
    pub fn of_bytes(bytes: &[u8; 64]) -> &Self {
        zerocopy::transmute_ref!(bytes)
    }

    /// The entry's bytes.
    pub fn to_bytes(self) -> [u8; 64] {
        zerocopy::transmute!(self)
    }
}

/// A completion as it lies in a completion queue: 16 bytes (base 2.0, figure 89).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CompletionEntry {
    /// The command's own result.
    pub dword0: U32,
    /// The command's own result, or reserved.
    pub dword1: U32,
    /// SQHD: how far the controller has fetched from the submission queue.
    pub submission_head: U16,
    /// SQID: the submission queue of the command.
    pub submission_queue: U16,
    /// CID: the command's identifier.
    pub identifier: U16,
    /// Phase tag in bit 0, [`Status`] in bits 15:1.
    pub status_and_phase: U16,
}

impl CompletionEntry {
    /// All zero.
    pub const ZERO: Self = Self {
        dword0: U32::ZERO,
        dword1: U32::ZERO,
        submission_head: U16::ZERO,
        submission_queue: U16::ZERO,
        identifier: U16::ZERO,
        status_and_phase: U16::ZERO,
    };
    /// Bytes of an entry.
    pub const BYTES: usize = size_of::<Self>();

    /// P: changes with every pass of the controller through the queue.
    pub fn phase(&self) -> bool {
        self.status_and_phase.get() & 1 != 0
    }

    /// How the command ended.
    pub fn status(&self) -> Status {
        Status(self.status_and_phase.get() >> 1)
    }

    /// Sets status and phase tag.
    pub fn set_status(&mut self, status: Status, phase: bool) {
        self.status_and_phase = (status.0 << 1 | phase as u16).into();
    }

    /// The entry in these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        zerocopy::transmute!(bytes)
    }

    /// An entry with this second half, read as a little-endian word: all but the command's own result, which is zero.
    #[inline]
    pub fn from_second_half(half: u64) -> Self {
        Self {
            submission_head: (half as u16).into(),
            submission_queue: ((half >> 16) as u16).into(),
            identifier: ((half >> 32) as u16).into(),
            status_and_phase: ((half >> 48) as u16).into(),
            ..Self::ZERO
        }
    }

    /// The entry's bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        zerocopy::transmute!(self)
    }
}

const _: () = assert!(SubmissionEntry::BYTES == 64 && CompletionEntry::BYTES == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submission_fields_lie_where_the_specification_puts_them() {
        let mut bytes = [0; 64];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let entry = SubmissionEntry::from_bytes(bytes);
        assert_eq!((entry.opcode, entry.flags, entry.identifier.get()), (0, 1, 0x0302));
        assert_eq!(entry.nsid.get(), 0x0706_0504);
        assert_eq!(entry.metadata_pointer.get(), 0x1716_1514_1312_1110);
        assert_eq!(entry.prp1.get(), 0x1f1e_1d1c_1b1a_1918);
        assert_eq!(entry.prp2.get(), 0x2726_2524_2322_2120);
        assert_eq!((entry.dword10.get(), entry.dword15.get()), (0x2b2a_2928, 0x3f3e_3d3c));
        assert_eq!(entry.to_bytes(), bytes);
        let words = core::array::from_fn(|index| u64::from_le_bytes(bytes.as_chunks().0[index]));
        assert_eq!(SubmissionEntry::from_words(words), entry);
        assert_eq!(entry.to_words(), words);
    }

    #[test]
    fn completion_fields_lie_where_the_specification_puts_them() {
        let mut entry = CompletionEntry {
            submission_head: 0x1234.into(),
            submission_queue: 0x5678.into(),
            identifier: 0x9abc.into(),
            ..Default::default()
        };
        entry.set_status(Status::LBA_OUT_OF_RANGE, true);
        assert_eq!(entry.to_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0x78, 0x56, 0xbc, 0x9a, 0x01, 0x01]);
        assert!(entry.phase());
        assert_eq!(entry.status(), Status::LBA_OUT_OF_RANGE);
        assert_eq!(CompletionEntry::from_second_half(0x0101_9abc_5678_1234), entry);
    }
}
