//! Transfers, completions and namespaces as records of fixed size: what a message has many of is read and written without a look
//! at each byte.

use super::{Failure, Namespace, Operation, Operations, Transfer};
use crate::batch::{Record, field, put};
use crate::completion::Code;

/// Tag, namespace, first block, offset, blocks, operation; three bytes of zero.
impl Record for Transfer {
    const BYTES: usize = 32;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        let mut to = to;
        let to = &mut to;
        put(to, self.tag.to_le_bytes());
        put(to, self.nsid.to_le_bytes());
        put(to, self.first_block.to_le_bytes());
        put(to, self.offset.to_le_bytes());
        put(to, self.blocks.to_le_bytes());
        put(to, u32::from(self.operation as u8).to_le_bytes());
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        let mut from = from;
        let from = &mut from;
        let tag = u32::from_le_bytes(field(from)?);
        let nsid = u32::from_le_bytes(field(from)?);
        let first_block = u64::from_le_bytes(field(from)?);
        let offset = u64::from_le_bytes(field(from)?);
        let blocks = u32::from_le_bytes(field(from)?);
        let operation = Operation::new(u32::from_le_bytes(field(from)?))?;
        Some(Self { tag, operation, nsid, first_block, blocks, offset })
    }
}

impl Code for Failure {
    fn code(self) -> [u8; 4] {
        match self {
            Failure::Invalid => [1, 0, 0, 0],
            Failure::Denied => [2, 0, 0, 0],
            Failure::Unsupported => [3, 0, 0, 0],
            Failure::Stopped => [4, 0, 0, 0],
            Failure::Different => [5, 0, 0, 0],
            Failure::Device { kind, code } => [6, kind, code, 0],
            Failure::Aborted => [7, 0, 0, 0],
            Failure::TimedOut => [8, 0, 0, 0],
            Failure::Gone => [9, 0, 0, 0],
        }
    }

    fn of(code: [u8; 4]) -> Option<Self> {
        Some(match code {
            [1, 0, 0, 0] => Failure::Invalid,
            [2, 0, 0, 0] => Failure::Denied,
            [3, 0, 0, 0] => Failure::Unsupported,
            [4, 0, 0, 0] => Failure::Stopped,
            [5, 0, 0, 0] => Failure::Different,
            [6, kind, code, 0] => Failure::Device { kind, code },
            [7, 0, 0, 0] => Failure::Aborted,
            [8, 0, 0, 0] => Failure::TimedOut,
            [9, 0, 0, 0] => Failure::Gone,
            _ => return None,
        })
    }
}

/// Number, bytes in a block, blocks, and a bit for each thing that can be done with it and for a volatile cache.
impl Record for Namespace {
    const BYTES: usize = 20;

    fn write(&self, to: &mut [u8]) {
        let Operations { write, discard, write_zeroes, compare, verify } = self.supports;
        let bits = [write, discard, write_zeroes, compare, verify, self.volatile_cache];
        let bits = bits.into_iter().enumerate().fold(0, |bits, (place, set)| bits | u32::from(set) << place);
        let mut to = to;
        let to = &mut to;
        put(to, self.nsid.to_le_bytes());
        put(to, self.block_bytes.to_le_bytes());
        put(to, self.blocks.to_le_bytes());
        put(to, bits.to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        let mut from = from;
        let from = &mut from;
        let nsid = u32::from_le_bytes(field(from)?);
        let block_bytes = u32::from_le_bytes(field(from)?);
        let blocks = u64::from_le_bytes(field(from)?);
        let bits = u32::from_le_bytes(field(from)?);
        let has = |place: u32| bits & 1 << place != 0;
        let supports =
            Operations { write: has(0), discard: has(1), write_zeroes: has(2), compare: has(3), verify: has(4) };
        (bits >> 6 == 0).then_some(Self { nsid, blocks, block_bytes, supports, volatile_cache: has(5) })
    }
}
