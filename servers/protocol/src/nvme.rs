//! The NVMe driver's messages: what the block server asks of it.
//!
//! Requests are asynchronous: [`Request::Exchange`] hands over a batch and takes what has completed since, and returns
//! at once. The driver signals its client when there is more to take.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Most transfers in one exchange, either way.
pub const BATCH_MAX: usize = 32;
/// Most namespaces told of.
pub const NAMESPACES_MAX: usize = 32;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a message is encoded at once, never stored")]
pub enum Request {
    /// What controller is this? Answered with [`Answer::Controller`].
    Controller,
    /// Which namespaces does it have? Answered with [`Answer::Namespaces`].
    Namespaces,
    /// Take these transfers, and give what has completed. Answered with [`Answer::Exchanged`].
    Exchange(Vec<Transfer, BATCH_MAX>),
}

/// What the driver answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a message is encoded at once, never stored")]
pub enum Answer {
    /// There is no controller, or it did not start.
    NoController,
    /// To [`Request::Controller`].
    Controller(Controller),
    /// To [`Request::Namespaces`].
    Namespaces(Vec<Namespace, NAMESPACES_MAX>),
    /// To [`Request::Exchange`]: how many transfers were taken, from the first (fewer when the driver has no room for
    /// more), and what completed. Every transfer taken completes exactly once.
    Exchanged {
        /// Transfers taken.
        accepted: u8,
        /// Transfers finished, in no particular order.
        completions: Vec<Completion, BATCH_MAX>,
    },
}

/// The controller, as Identify Controller tells it (NVMe base 2.0, figure 275), text without its trailing spaces and
/// with `?` for what is not printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Model number.
    pub model: String<40>,
    /// Serial number.
    pub serial: String<20>,
    /// Firmware revision.
    pub firmware: String<8>,
    /// Version register: major in bits 31:16, minor in 15:8, tertiary in 7:0.
    pub version: u32,
    /// Active namespaces.
    pub namespaces: u32,
    /// Largest single command, in bytes.
    pub transfer_bytes_max: u32,
}

/// An active namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its identifier.
    pub nsid: u32,
    /// Its size in logical blocks.
    pub blocks: u64,
    /// Bytes in a logical block; 0 if its format cannot be used (metadata, or a size beyond a page).
    pub block_bytes: u32,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Read blocks into memory.
    Read,
    /// Make everything written so far durable; blocks and place are ignored.
    Flush,
}

/// One request to the device. It may be longer than one device command: the driver splits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The client's own number for it, returned in its completion. Unique among those in flight.
    pub tag: u32,
    /// What to do.
    pub operation: Operation,
    /// Which namespace.
    pub nsid: u32,
    /// First logical block.
    pub first_block: u64,
    /// Number of logical blocks, at least 1.
    pub blocks: u32,
    /// Where the data lies: byte offset in the driver's DMA region, a multiple of 4.
    pub offset: u64,
}

/// A finished transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The transfer's tag.
    pub tag: u32,
    /// How it ended.
    pub outcome: Result<(), Failure>,
}

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The transfer makes no sense: unknown namespace, blocks beyond its end, memory beyond the region.
    Invalid,
    /// The grant does not allow it.
    Denied,
    /// The device reported an error: status code type and status code (NVMe base 2.0, 3.3.3.2.1).
    Device {
        /// Status code type.
        kind: u8,
        /// Status code.
        code: u8,
    },
    /// The controller is gone, failed or was reset before the transfer ended.
    Aborted,
    /// The device did not answer in time.
    TimedOut,
}
