//! The block server's messages: what its clients ask of it, and what the charter grants them.

use serde::{Deserialize, Serialize};

/// What the charter grants a client: a range of a namespace, a direction, and the window its data lies in. The image
/// builder writes it as the parameters of the client's `call` grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskGrant {
    /// Namespace identifier.
    pub nsid: u32,
    /// First logical block of the range.
    pub first_block: u64,
    /// Number of logical blocks; `None` up to the end of the namespace.
    pub blocks: Option<u64>,
    /// Whether the range may also be written.
    pub writable: bool,
    /// The client's window: where it begins in the driver's DMA region, in bytes.
    pub window_offset: u64,
    /// The client's window: its bytes.
    pub window_bytes: u64,
}

/// What a client asks. Blocks are counted from the start of the client's own range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What disk is this? Answered with [`Answer::Information`].
    Information,
    /// Read blocks into the client's window. Answered with [`Answer::Done`] when the data is there.
    Read {
        /// First block.
        first_block: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
        /// Where the data goes: byte offset in the client's window, a multiple of 4.
        offset: u64,
    },
    /// Make everything written durable. Answered with [`Answer::Done`].
    Flush,
}

/// What the block server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::Information`].
    Information(Information),
    /// It was done.
    Done,
    /// It was not done.
    Failed(Failure),
}

/// A client's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Information {
    /// The namespace behind it.
    pub nsid: u32,
    /// First logical block of the range in the namespace.
    pub first_block: u64,
    /// Blocks in the range.
    pub blocks: u64,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// Whether it may be written.
    pub writable: bool,
}

/// Why a request was not done: five different answers, as the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The charter does not grant it.
    Denied,
    /// It makes no sense: no blocks, or beyond the range or the window.
    Invalid,
    /// The driver stopped before the request ended.
    DeadPeer,
    /// The device did not answer in time.
    TimedOut,
    /// Too much is under way; try again.
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
