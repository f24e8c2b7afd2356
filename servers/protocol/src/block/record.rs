//! Operations, transfers and completions as records of fixed size: what a message has many of is read and written
//! without a look at each byte.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Failure, Operation, Transfer};
use crate::batch::{Batch, Record, field, put};
use crate::completion::Code;
use crate::nvme;

/// An operation in its plain form, as its record has it: what it has none of is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What it is for the driver.
    pub operation: nvme::Operation,
    /// First block, counted from the start of the client's own disk.
    pub first_block: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// Byte offset in the client's window.
    pub offset: u64,
}

/// First block, offset, blocks, what to do.
impl Record for Plain {
    const BYTES: usize = 24;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        let mut to = to;
        let to = &mut to;
        put(to, self.first_block.to_le_bytes());
        put(to, self.offset.to_le_bytes());
        put(to, self.blocks.to_le_bytes());
        put(to, u32::from(self.operation as u8).to_le_bytes());
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        let mut from = from;
        let from = &mut from;
        let first_block = u64::from_le_bytes(field(from)?);
        let offset = u64::from_le_bytes(field(from)?);
        let blocks = u32::from_le_bytes(field(from)?);
        let operation = nvme::Operation::new(u32::from_le_bytes(field(from)?))?;
        let is_good = operation.has_data()
            || offset == 0 && (operation != nvme::Operation::Flush || first_block == 0 && blocks == 0);
        is_good.then_some(Self { operation, first_block, blocks, offset })
    }
}

impl From<Operation> for Plain {
    #[inline]
    fn from(operation: Operation) -> Self {
        let (operation, first_block, blocks, offset) = match operation {
            Operation::Read { first_block, blocks, offset } => (nvme::Operation::Read, first_block, blocks, offset),
            Operation::Write { first_block, blocks, offset, durable: false } => {
                (nvme::Operation::Write, first_block, blocks, offset)
            }
            Operation::Write { first_block, blocks, offset, durable: true } => {
                (nvme::Operation::DurableWrite, first_block, blocks, offset)
            }
            Operation::Flush => (nvme::Operation::Flush, 0, 0, 0),
            Operation::Discard { first_block, blocks } => (nvme::Operation::Discard, first_block, blocks, 0),
            Operation::WriteZeroes { first_block, blocks } => (nvme::Operation::WriteZeroes, first_block, blocks, 0),
            Operation::Compare { first_block, blocks, offset } => {
                (nvme::Operation::Compare, first_block, blocks, offset)
            }
            Operation::Verify { first_block, blocks } => (nvme::Operation::Verify, first_block, blocks, 0),
        };
        Self { operation, first_block, blocks, offset }
    }
}

impl From<Plain> for Operation {
    fn from(Plain { operation, first_block, blocks, offset }: Plain) -> Self {
        match operation {
            nvme::Operation::Read => Self::Read { first_block, blocks, offset },
            nvme::Operation::Write => Self::Write { first_block, blocks, offset, durable: false },
            nvme::Operation::DurableWrite => Self::Write { first_block, blocks, offset, durable: true },
            nvme::Operation::Flush => Self::Flush,
            nvme::Operation::Discard => Self::Discard { first_block, blocks },
            nvme::Operation::WriteZeroes => Self::WriteZeroes { first_block, blocks },
            nvme::Operation::Compare => Self::Compare { first_block, blocks, offset },
            nvme::Operation::Verify => Self::Verify { first_block, blocks },
        }
    }
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; Self::BYTES];
        self.write(&mut bytes);
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        let operation = if bytes.len() == Self::BYTES { Self::read(bytes) } else { None };
        operation.ok_or_else(|| serde::de::Error::custom("no operation"))
    }
}

/// A [`Transfer`] in its plain form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainTransfer {
    /// The client's own number for it.
    pub tag: u32,
    /// What to do.
    pub operation: Plain,
}

/// The operation, then the tag; four bytes of zero.
impl Record for PlainTransfer {
    const BYTES: usize = 32;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        let (operation, mut rest) = to.split_at_mut(Plain::BYTES);
        self.operation.write(operation);
        put(&mut rest, u64::from(self.tag).to_le_bytes());
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        let (operation, mut rest) = from.split_at_checked(Plain::BYTES)?;
        let tag = u64::from_le_bytes(field(&mut rest)?).try_into().ok()?;
        Some(Self { tag, operation: Plain::read(operation)? })
    }
}

/// As in its plain form.
impl Record for Transfer {
    const BYTES: usize = PlainTransfer::BYTES;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        PlainTransfer { tag: self.tag, operation: self.operation.into() }.write(to);
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        PlainTransfer::read(from).map(|plain| Self { tag: plain.tag, operation: plain.operation.into() })
    }
}

impl<'a> Batch<'a, Transfer> {
    /// The same transfers in their plain form.
    #[inline]
    pub fn plain(self) -> Batch<'a, PlainTransfer> {
        self.same_records()
    }
}

/// Those without more to say, by their number less one.
const PLAIN: [Failure; 13] = [
    Failure::Denied,
    Failure::Invalid,
    Failure::DeadPeer,
    Failure::TimedOut,
    Failure::Busy,
    Failure::NoDisk,
    Failure::Unsupported,
    Failure::Different,
    Failure::Interrupted,
    Failure::Gone,
    Failure::Changed,
    Failure::NotOpen,
    Failure::Stopped,
];
/// The number of [`Failure::Device`].
const DEVICE: u8 = 255;

impl Code for Failure {
    fn code(self) -> [u8; 4] {
        match self {
            Failure::Device { kind, code } => [DEVICE, kind, code, 0],
            plain => {
                // Every other one is listed; a test holds that.
                let place = PLAIN.iter().position(|other| *other == plain).unwrap_or_default();
                [place as u8 + 1, 0, 0, 0]
            }
        }
    }

    fn of(code: [u8; 4]) -> Option<Self> {
        match code {
            [DEVICE, kind, code, 0] => Some(Failure::Device { kind, code }),
            [number, 0, 0, 0] => PLAIN.get(usize::from(number).checked_sub(1)?).copied(),
            _ => None,
        }
    }
}
