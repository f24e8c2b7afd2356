//! Operations, transfers and completions as records of fixed size: what a message has many of is read and written
//! without a look at each byte.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Failure, Operation, Transfer};
use crate::batch::{Record, field, put};
use crate::completion::Code;

/// First block, offset, blocks, what to do; three bytes of zero. What an operation has none of is zero.
impl Record for Operation {
    const BYTES: usize = 24;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        let (number, first_block, blocks, offset) = match *self {
            Self::Read { first_block, blocks, offset } => (0, first_block, blocks, offset),
            Self::Write { first_block, blocks, offset, durable } => {
                (1 + u32::from(durable), first_block, blocks, offset)
            }
            Self::Flush => (3, 0, 0, 0),
            Self::Discard { first_block, blocks } => (4, first_block, blocks, 0),
            Self::WriteZeroes { first_block, blocks } => (5, first_block, blocks, 0),
            Self::Compare { first_block, blocks, offset } => (6, first_block, blocks, offset),
            Self::Verify { first_block, blocks } => (7, first_block, blocks, 0),
        };
        let mut to = to;
        let to = &mut to;
        put(to, first_block.to_le_bytes());
        put(to, u64::to_le_bytes(offset));
        put(to, blocks.to_le_bytes());
        put(to, number.to_le_bytes());
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        let mut from = from;
        let from = &mut from;
        let first_block = u64::from_le_bytes(field(from)?);
        let offset = u64::from_le_bytes(field(from)?);
        let blocks = u32::from_le_bytes(field(from)?);
        let number = u32::from_le_bytes(field(from)?);
        Some(match (number, offset) {
            (0, _) => Self::Read { first_block, blocks, offset },
            (1 | 2, _) => Self::Write { first_block, blocks, offset, durable: number == 2 },
            (3, 0) if first_block == 0 && blocks == 0 => Self::Flush,
            (4, 0) => Self::Discard { first_block, blocks },
            (5, 0) => Self::WriteZeroes { first_block, blocks },
            (6, _) => Self::Compare { first_block, blocks, offset },
            (7, 0) => Self::Verify { first_block, blocks },
            _ => return None,
        })
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; Self::BYTES];
        self.write(&mut bytes);
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        let operation = if bytes.len() == Self::BYTES { Self::read(bytes) } else { None };
        operation.ok_or_else(|| serde::de::Error::custom("no operation"))
    }
}

/// The operation, then the tag; four bytes of zero.
impl Record for Transfer {
    const BYTES: usize = 32;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        let (operation, mut rest) = to.split_at_mut(Operation::BYTES);
        self.operation.write(operation);
        put(&mut rest, u64::from(self.tag).to_le_bytes());
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        let (operation, mut rest) = from.split_at_checked(Operation::BYTES)?;
        let tag = u64::from_le_bytes(field(&mut rest)?).try_into().ok()?;
        Some(Self { tag, operation: Operation::read(operation)? })
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
