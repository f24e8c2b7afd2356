//! The NVMe driver's messages: what the block server asks of it.
//!
//! Requests are asynchronous: [`Request::Exchange`] hands over a batch and takes what has completed since, and returns
//! at once. The driver signals its client when there is more to take. A client that waits on an endpoint when it is
//! signalled may be told along with the signal what there is ([`Notice`]), and need not ask.
//!
//! A client to which [`Answer::Begun`] promises room may post its transfers: it does not wait for an answer, all of them are
//! taken, and what it would have learned it is told along with a signal. A driver that cannot take what is posted, because
//! it has restarted or lost its controller, signals; the client asks, and learns why.
//!
//! A client begins with [`Request::Begin`]. A driver that has restarted knows none of its clients, and answers an
//! exchange with [`Answer::NotBegun`]: so a client cannot take it for the one to which it gave transfers, and these are
//! of unknown fate. A client that has restarted begins anew, and hears nothing of what it gave in its earlier life.
//!
//! Transfers are carried out in no particular order. A client for which the order of two matters waits for the end of
//! the first before it hands over the second; [`Operation::Flush`] makes durable what had ended before it was handed
//! over.

mod record;

use heapless::String;
use serde::{Deserialize, Serialize};

pub use crate::batch::{Batch, BatchRoom, Framed};
use crate::batch::{Tail, read};

/// Most transfers in one exchange, either way.
pub const BATCH_MAX: usize = crate::batch::ITEMS_MAX;
/// Most namespaces told of.
pub const NAMESPACES_MAX: usize = crate::batch::ITEMS_MAX;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// What controller is this? Answered with [`Answer::Controller`].
    Controller,
    /// Which namespaces does it have? Answered with [`Answer::Namespaces`].
    Namespaces,
    /// Take these transfers, and give what has completed. Answered with [`Answer::Exchanged`].
    #[serde(borrow)]
    Exchange(Batch<'a, Transfer>),
    /// Shut the controller down: from now on no transfer is taken (they end with [`Failure::Stopped`]), what is in
    /// flight ends, and the controller makes everything durable (base 2.0, 3.6.1). Answered with [`Answer::Shutdown`]
    /// when it has; the driver goes on answering others meanwhile. Only clients that may transfer may ask.
    Shutdown,
    /// The client begins: nobody is told of transfers of an earlier life of it, and what of them the device has not been
    /// told is not done. Answered with [`Answer::Begun`], or with [`Answer::NotBegun`] while the device has some of them;
    /// the driver signals when it has not any more.
    Begin,
}

/// What the driver answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// There is no controller, it did not start, or it is gone.
    NoController,
    /// To [`Request::Controller`].
    Controller(Controller),
    /// To [`Request::Namespaces`].
    Namespaces(#[serde(borrow)] Batch<'a, Namespace>),
    /// To [`Request::Exchange`]: how many transfers were taken, from the first (fewer when the driver has no room for
    /// more), and what completed. Every transfer taken completes exactly once.
    Exchanged {
        /// Transfers taken.
        accepted: u8,
        /// Transfers finished, in no particular order.
        #[serde(borrow)]
        completions: Batch<'a, Completion>,
        /// A number that changes whenever the list of namespaces, or what is told of one, has changed: a client that
        /// sees a new one asks [`Request::Namespaces`] again.
        namespaces: u32,
    },
    /// To [`Request::Shutdown`]: whether the controller says that it has shut down.
    Shutdown(Result<(), Failure>),
    /// To [`Request::Begin`]: nothing that this client gave before is under way.
    Begun {
        /// Transfers of this client that there is room for, whatever others do; 0 if there may be none. While it keeps to
        /// that, the client may post [`Request::Exchange`] in place of calling: it is then told by signals alone.
        room: u8,
    },
    /// To [`Request::Begin`]: not yet. To [`Request::Exchange`]: nothing was taken, because the client has not begun
    /// since the driver started.
    NotBegun,
}

/// What the driver tells along with its signal: as much of it as [`Answer::Exchanged`] to a request without transfers
/// would, and told instead of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice<'a> {
    /// All transfers of the client that have finished and were not told of.
    #[serde(borrow)]
    pub completions: Batch<'a, Completion>,
    /// As in [`Answer::Exchanged`].
    pub namespaces: u32,
}

/// The number of [`Request::Exchange`] among requests.
const EXCHANGE: u8 = 2;

impl<'a> Request<'a> {
    /// Decodes a whole message; sooner where it is an exchange. `None` if it is none, or has bytes left over.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            [EXCHANGE, rest @ ..] => match Batch::split(rest) {
                Some((batch, [])) => Some(Self::Exchange(batch)),
                _ => read(bytes),
            },
            _ => read(bytes),
        }
    }

    /// The message of [`Request::Exchange`] with these transfers.
    #[inline]
    pub fn exchange(transfers: &mut BatchRoom<Transfer>) -> Framed<'_> {
        transfers.framed([EXCHANGE], Tail::None)
    }
}

impl<'a> Notice<'a> {
    /// Decodes a whole message. `None` if it is none, or has bytes left over.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        match Batch::split(bytes) {
            Some((completions, [number @ 0..0x80])) => Some(Self { completions, namespaces: u32::from(*number) }),
            _ => read(bytes),
        }
    }

    /// The message with these completions, and this number for the namespaces.
    #[inline]
    pub fn framed(completions: &mut BatchRoom<Completion>, namespaces: u32) -> Framed<'_> {
        completions.framed([], Tail::Number(namespaces))
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identifier.
    pub nsid: u32,
    /// Its size in logical blocks.
    pub blocks: u64,
    /// Bytes in a logical block; 0 if its format cannot be used (metadata, or a size beyond a page).
    pub block_bytes: u32,
    /// What can be done with it besides reading and flushing.
    pub supports: Operations,
    /// The controller keeps written data in a volatile cache: it is durable after [`Operation::Flush`], or when it was
    /// written with `durable`. Without one, everything is durable when it has ended.
    pub volatile_cache: bool,
}

/// Operations that the device offers on a namespace and the driver's grant allows on some of it. Whether the grant
/// allows one for certain blocks shows when it is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// [`Operation::Write`]; false for a write-protected namespace and for a grant that is read-only.
    pub write: bool,
    /// [`Operation::Discard`].
    pub discard: bool,
    /// [`Operation::WriteZeroes`].
    pub write_zeroes: bool,
    /// [`Operation::Compare`].
    pub compare: bool,
    /// [`Operation::Verify`].
    pub verify: bool,
}

/// What to do, by its number in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Read blocks into memory.
    Read = 0,
    /// Write blocks from memory.
    Write,
    /// As [`Self::Write`], but it ends only when the blocks are durable, whatever caches there are (Force Unit Access).
    DurableWrite,
    /// Make everything durable that was written and had ended before; blocks and place are ignored.
    Flush,
    /// The blocks' content is not needed any more; what they read as afterwards is the device's affair. One range;
    /// place is ignored.
    Discard,
    /// The blocks read as zeroes from now on; place is ignored.
    WriteZeroes,
    /// Compare blocks with memory: [`Failure::Different`] if they are not the same.
    Compare,
    /// Have the device check that the blocks can be read, without moving them; place is ignored.
    Verify,
}

impl Operation {
    /// All, by their numbers.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::DurableWrite,
        Self::Flush,
        Self::Discard,
        Self::WriteZeroes,
        Self::Compare,
        Self::Verify,
    ];

    /// The operation of this number.
    #[inline]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::ALL.len() as u32 { Some(Self::ALL[number as usize]) } else { None }
    }

    /// A bit of its own.
    #[inline]
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Whether it changes blocks.
    #[inline]
    pub const fn changes_blocks(self) -> bool {
        const CHANGES: u8 = Operation::Write.bit()
            | Operation::DurableWrite.bit()
            | Operation::Discard.bit()
            | Operation::WriteZeroes.bit();
        self.bit() & CHANGES != 0
    }

    /// Whether it has a place in memory.
    #[inline]
    pub const fn has_data(self) -> bool {
        const DATA: u8 =
            Operation::Read.bit() | Operation::Write.bit() | Operation::DurableWrite.bit() | Operation::Compare.bit();
        self.bit() & DATA != 0
    }
}

/// One request to the device. It may be longer than one device command: the driver splits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub type Completion = crate::Completion<Failure>;

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The transfer makes no sense: unknown namespace, blocks beyond its end, memory beyond the region.
    Invalid,
    /// The grant does not allow it.
    Denied,
    /// The device, or the namespace, has no such command.
    Unsupported,
    /// The driver was told to shut down.
    Stopped,
    /// Compare found a difference.
    Different,
    /// The device reported an error: status code type and status code (NVMe base 2.0, 3.3.3.2.1).
    Device {
        /// Status code type.
        kind: u8,
        /// Status code.
        code: u8,
    },
    /// A reset of the controller, or an Abort command, ended it: it may or may not have happened.
    Aborted,
    /// The device did not answer in time: it may or may not have happened.
    TimedOut,
    /// The device was removed, or does not work any more: it may or may not have happened.
    Gone,
}
