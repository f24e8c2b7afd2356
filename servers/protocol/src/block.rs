//! The block server's messages: what its clients ask of it. `docs/block.md` says what a client may rely on.
//!
//! A client begins with [`Request::Open`], which says which [`VERSION`] it speaks; before that nothing else is
//! answered. Then it calls for one operation at a time ([`Request::Transfer`]), or hands over up to [`BATCH_MAX`] in a
//! message and takes what has completed ([`Request::Exchange`]).
//!
//! Data lies in the client's window, and a message names a place in it. A client without a window has a slot of the
//! server's own instead, reached by [`Request::Store`] and [`Request::Load`].

mod grant;
mod record;

pub use crate::batch::{Batch, BatchRoom, Framed, Full, Items};
use crate::batch::{Record, Tail, read};
pub use grant::{ClientGrant, DiskGrant, Extent, Partition, Place};
pub use record::{Plain, PlainTransfer};

use serde::{Deserialize, Serialize};

/// Version of these messages. [`Request::Open`] and [`Answer::Version`] are the same in every version.
pub const VERSION: u16 = 3;
/// Most transfers in one message, either way.
pub const BATCH_MAX: usize = crate::batch::ITEMS_MAX;
/// Most bytes that [`Request::Load`] and [`Request::Store`] copy.
pub const COPY_BYTES_MAX: usize = 3072;
/// Most requests of all clients that the server holds at a time: the shares of the charter add up to no more.
pub const REQUESTS_MAX: u8 = 128;
/// Largest share of one client.
pub const SHARE_MAX: u8 = 64;
/// The share of a client whose grant names none.
pub const SHARE_DEFAULT: u8 = 8;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// A client begins. What an earlier life of it had under way ends first, and nobody is told of it. Answered with
    /// [`Answer::Information`], or [`Answer::Version`].
    Open {
        /// The [`VERSION`] that it speaks.
        version: u16,
    },
    /// What disk is this, now? Answered with [`Answer::Information`].
    Information,
    /// Do this [`Operation`], and answer [`Answer::Done`] when it is done.
    Transfer(Plain),
    /// Take these, and tell which have completed. Answered with [`Answer::Exchanged`].
    Exchange {
        /// New ones; may be none.
        #[serde(borrow)]
        transfers: Batch<'a, Transfer>,
        /// Answer only when something has completed, or nothing is under way. Otherwise the answer comes at once, and
        /// the server signals the client when there is more to take, if the charter grants it to.
        wait: bool,
    },
    /// Copy bytes out of the client's slot. Answered with [`Answer::Data`].
    Load {
        /// From this byte of the slot.
        offset: u64,
        /// How many, at most [`COPY_BYTES_MAX`].
        bytes: u16,
    },
    /// Copy bytes into the client's slot. Answered with [`Answer::Done`].
    Store {
        /// To this byte of the slot.
        offset: u64,
        /// The bytes, at most [`COPY_BYTES_MAX`].
        #[serde(borrow, with = "bytes")]
        data: &'a [u8],
    },
    /// Take no further requests of anybody, let what is under way end, make all of it durable and shut the device
    /// down. Answered with [`Answer::Done`] when power may be cut. Only for a client whose grant says so.
    Shutdown,
}

/// What to do. Blocks are counted from the start of the client's own disk, bytes from the start of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read blocks into the window.
    Read {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
        /// Where the data goes: byte offset in the window, a multiple of 4.
        offset: u64,
    },
    /// Write blocks from the window.
    Write {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
        /// Where the data lies: byte offset in the window, a multiple of 4.
        offset: u64,
        /// Whether it is on durable media when it has completed (Force Unit Access).
        durable: bool,
    },
    /// Make durable every write that had completed when this was asked.
    Flush,
    /// These blocks' contents are no longer needed: what they read as until they are written again is not known.
    Discard {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
    },
    /// Let these blocks read as zeroes.
    WriteZeroes {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
    },
    /// Compare blocks with the window: [`Failure::Different`] if they differ.
    Compare {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
        /// Where the data to compare with lies: byte offset in the window, a multiple of 4.
        offset: u64,
    },
    /// Let the device check that it can read these blocks; no data moves.
    Verify {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
    },
}

/// One of several operations under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The client's own number for it, returned in its completion.
    pub tag: u32,
    /// What to do.
    pub operation: Operation,
}

/// A finished transfer.
pub type Completion = crate::Completion<Failure>;

/// What the block server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// To [`Request::Open`] of a version that the server does not speak: the one that it does.
    Version {
        /// The server's [`VERSION`].
        supported: u16,
    },
    /// To [`Request::Open`] and [`Request::Information`].
    Information(Information),
    /// It was done.
    Done,
    /// It was not done.
    Failed(Failure),
    /// To [`Request::Exchange`].
    Exchanged {
        /// How many transfers were taken, from the first: fewer when the client's share is used up. Every one taken
        /// completes exactly once.
        accepted: u8,
        /// Whether the disk is no longer the one of the last [`Answer::Information`]: new transfers fail with
        /// [`Failure::Changed`] until the client has asked again.
        changed: bool,
        /// Transfers finished, in no particular order.
        #[serde(borrow)]
        completions: Batch<'a, Completion>,
    },
    /// To [`Request::Load`].
    #[serde(borrow, with = "bytes")]
    Data(&'a [u8]),
}

/// The numbers of [`Request::Transfer`] and [`Request::Exchange`] among requests.
const TRANSFER: u8 = 2;
/// What a [`Plain`] has, as a message tells it.
const PLAIN_BYTES: u8 = Plain::BYTES as u8;
const EXCHANGE: u8 = 3;
/// The numbers of [`Answer::Done`] and [`Answer::Exchanged`] among answers.
const DONE: u8 = 2;
const EXCHANGED: u8 = 4;

impl<'a> Request<'a> {
    /// Decodes a whole message; sooner where it is of a kind that there are many of. `None` if it is none, or has bytes left
    /// over.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            [TRANSFER, PLAIN_BYTES, operation @ ..] if operation.len() == Plain::BYTES => {
                Plain::read(operation).map(Self::Transfer)
            }
            [TRANSFER, ..] => read(bytes),
            [EXCHANGE, rest @ ..] => match Batch::split(rest) {
                Some((transfers, [wait @ 0..=1])) => Some(Self::Exchange { transfers, wait: *wait != 0 }),
                _ => read(bytes),
            },
            _ => read(bytes),
        }
    }

    /// The message of [`Request::Exchange`].
    #[inline]
    pub fn exchange(transfers: &mut BatchRoom<Transfer>, wait: bool) -> Framed<'_> {
        transfers.framed([EXCHANGE], Tail::Byte(wait.into()))
    }
}

/// The message of a [`Request::Transfer`].
#[derive(Clone, Copy, Debug)]
pub struct TransferMessage([u8; 48]);

impl TransferMessage {
    /// Of this operation.
    #[inline]
    pub fn new(operation: &Operation) -> Self {
        let mut bytes = [0; 48];
        (bytes[0], bytes[1]) = (TRANSFER, PLAIN_BYTES);
        Plain::from(*operation).write(&mut bytes[2..2 + Plain::BYTES]);
        Self(bytes)
    }

    /// Its bytes, and zeroes behind them.
    pub fn bytes(&self) -> &[u8; 48] {
        &self.0
    }

    /// How many of them are the message.
    pub const LENGTH: usize = 2 + Plain::BYTES;
}

impl<'a> Answer<'a> {
    /// The message of [`Answer::Done`], and zeroes behind it.
    pub const DONE: [u8; 48] = {
        let mut bytes = [0; 48];
        bytes[0] = DONE;
        bytes
    };
    /// How many bytes of it are the message.
    pub const DONE_LENGTH: usize = 1;

    /// Decodes a whole message; sooner where it is of a kind that there are many of. `None` if it is none, or has bytes left
    /// over.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            [DONE] => Some(Self::Done),
            [EXCHANGED, accepted, changed @ 0..=1, rest @ ..] => match Batch::split(rest) {
                Some((completions, [])) => {
                    Some(Self::Exchanged { accepted: *accepted, changed: *changed != 0, completions })
                }
                _ => read(bytes),
            },
            _ => read(bytes),
        }
    }

    /// The message of [`Answer::Exchanged`].
    #[inline]
    pub fn exchanged(accepted: u8, changed: bool, completions: &mut BatchRoom<Completion>) -> Framed<'_> {
        completions.framed([EXCHANGED, accepted, changed.into()], Tail::None)
    }
}

/// A client's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Information {
    /// The server's [`VERSION`].
    pub version: u16,
    /// The namespace behind it.
    pub nsid: u32,
    /// First logical block of the disk in the namespace.
    pub first_block: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// What may be asked of it.
    pub supports: Supports,
    /// Bytes of the window, or of the slot, that data passes through.
    pub window_bytes: u64,
    /// Whether that is a slot of the server's, for [`Request::Load`] and [`Request::Store`].
    pub is_slot: bool,
    /// Most operations of this client under way at a time.
    pub share: u8,
}

/// What a disk can do, beyond being read and flushed: what the charter grants and the device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supports {
    /// [`Operation::Write`].
    pub write: bool,
    /// [`Operation::Discard`].
    pub discard: bool,
    /// [`Operation::WriteZeroes`].
    pub write_zeroes: bool,
    /// [`Operation::Compare`].
    pub compare: bool,
    /// [`Operation::Verify`].
    pub verify: bool,
    /// The device may lose completed writes that were not flushed when its power goes.
    pub volatile_cache: bool,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The charter does not grant it.
    Denied,
    /// It makes no sense: no blocks, or beyond the disk or the window.
    Invalid,
    /// The driver stopped before the request ended.
    DeadPeer,
    /// The device did not answer in time.
    TimedOut,
    /// The client has as much under way as its share allows; try again.
    Busy,
    /// There is no such disk on this machine, or its format cannot be used.
    NoDisk,
    /// The device reported an error: NVMe status code type and status code.
    Device {
        /// Status code type.
        kind: u8,
        /// Status code.
        code: u8,
    },
    /// The device does not have this operation.
    Unsupported,
    /// Compared, and different.
    Different,
    /// It was under way when the device had to be reset: it may have been done or not.
    Interrupted,
    /// The device is gone.
    Gone,
    /// The disk is no longer the one of the last [`Answer::Information`]: another size, or another place.
    Changed,
    /// The client has not opened its disk, or the server has restarted since.
    NotOpen,
    /// The system is being shut down.
    Stopped,
}

impl Failure {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::DeadPeer => "dead-peer",
            Self::TimedOut => "timed-out",
            Self::Busy => "busy",
            Self::NoDisk => "no-disk",
            Self::Device { .. } => "device",
            Self::Unsupported => "unsupported",
            Self::Different => "different",
            Self::Interrupted => "interrupted",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::NotOpen => "not-open",
            Self::Stopped => "stopped",
        }
    }
}

impl core::fmt::Display for Failure {
    /// As the value of a log line; the device's own codes follow as further keys.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Device { kind, code } => write!(f, " status_type={kind:#x} status_code={code:#04x}"),
            _ => Ok(()),
        }
    }
}

/// Bytes as a whole, not one by one as serde takes a slice. The same on the wire.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de [u8], D::Error> {
        <&[u8]>::deserialize(deserializer)
    }
}
