//! A disk of the block server, as its client uses it: one call an operation, or many operations under way.
//!
//! ```ignore
//! let disk = Disk::new(grants.disk, Duration::from_secs(30));
//! let information = disk.open()?;                            // before everything else
//! disk.read(0, 8, 0)?;                                       // blocks 0 to 7 to the start of the window
//! ```
//!
//! A block server that stops, and is started again, knows none of its clients. Whatever a client asks next ends as
//! [`Error::Restarted`], once: what it had under way may have been done or not, in parts too. [`Disk::resume`] waits for
//! the server and begins anew; nothing of before is under way any more when it returns, so what is asked again then is
//! done after it:
//!
//! ```ignore
//! while let Err(Error::Restarted) = disk.write(0, 8, 0) {
//!     disk.resume()?;                                        // the window is as it was
//! }
//! ```
//!
//! A driver that stops shows only as a delay.
//!
//! `docs/block.md` says what may be relied on.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use core::fmt;
use core::time::Duration;

use protocol::block::{
    Answer, BatchRoom, COPY_BYTES_MAX, Completion, Failure, Information, Operation, Request, Transfer, TransferMessage,
    VERSION,
};
use task::{Call, CallError, Deadline, Encoded, Inbox, Instant, Send, abi};

/// How long to wait between two looks for a server that has stopped.
const PAUSE: Duration = Duration::from_millis(5);

/// Why something was not done, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The block server answered so.
    Server(Failure),
    /// The block server speaks another version.
    Version {
        /// The one that it speaks.
        supported: u16,
    },
    /// The block server has stopped, or has started since it was last asked. What was under way may have been done or
    /// not; [`Disk::resume`] is the way to go on.
    Restarted,
    /// The kernel answered so: the block server itself did not.
    Kernel(abi::Error),
    /// The block server's answer is no answer to the request.
    Malformed,
}

impl core::error::Error for Error {}

impl fmt::Display for Error {
    /// As the value of a log line, with its further keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Server(failure) => return write!(f, "{failure} by=server"),
            Self::Version { supported } => return write!(f, "version supported={supported} by=server"),
            Self::Restarted => return write!(f, "restarted by=server"),
            Self::Malformed => return write!(f, "malformed by=server"),
            Self::Kernel(abi::Error::Denied) => "denied",
            Self::Kernel(abi::Error::Invalid) => "invalid",
            Self::Kernel(abi::Error::DeadPeer) => "dead-peer",
            Self::Kernel(abi::Error::TimedOut) => "timed-out",
            Self::Kernel(abi::Error::Busy) => "busy",
        };
        write!(f, "{name} by=kernel")
    }
}

impl Error {
    /// Whether [`Disk::resume`] may help: the disk changed, or the server has restarted.
    pub fn is_cured_by_opening(&self) -> bool {
        matches!(self, Self::Server(Failure::Changed) | Self::Restarted)
    }
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Transfers taken, from the first; the others were not, for want of room.
    pub accepted: usize,
    /// Completions told of.
    pub completed: usize,
    /// Whether the disk has changed: ask [`Disk::information`].
    pub changed: bool,
}

/// The disk behind an endpoint of the block server.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    call: Call,
    patience: Duration,
}

impl Disk {
    /// The disk, with how long each call may take.
    pub fn new(call: Call, patience: Duration) -> Self {
        Self { call, patience }
    }

    #[inline]
    fn ask<'i>(&self, request: &(impl Send + ?Sized), inbox: &'i mut Inbox) -> Result<Answer<'i>, Error> {
        let answer = self.call.call_bytes(request, Deadline::after(self.patience), inbox);
        match answer.map(Answer::read) {
            // It does not know this client, which has opened its disk before everything else.
            Ok(Some(Answer::Failed(Failure::NotOpen))) | Err(CallError::Kernel(abi::Error::DeadPeer)) => {
                Err(Error::Restarted)
            }
            Ok(Some(Answer::Failed(failure))) => Err(Error::Server(failure)),
            Ok(Some(Answer::Version { supported })) => Err(Error::Version { supported }),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Error::Malformed),
            Err(CallError::Kernel(error)) => Err(Error::Kernel(error)),
            Err(CallError::Malformed(_) | CallError::TooLong(_)) => Err(Error::Malformed),
        }
    }

    #[inline]
    fn tell(&self, request: &(impl Send + ?Sized)) -> Result<(), Error> {
        match self.ask(request, &mut Inbox::new())? {
            Answer::Done => Ok(()),
            _ => Err(Error::Malformed),
        }
    }

    fn learn(&self, request: &Request<'_>) -> Result<Information, Error> {
        match self.ask(request, &mut Inbox::new())? {
            Answer::Information(information) => Ok(information),
            _ => Err(Error::Malformed),
        }
    }

    /// Begins. Nothing of an earlier life of this task is under way afterwards.
    ///
    /// # Errors
    /// Why there is no disk.
    pub fn open(&self) -> Result<Information, Error> {
        self.learn(&Request::Open { version: VERSION })
    }

    /// Begins anew after [`Error::Restarted`], as soon as the server is there again, for as long as a call may take.
    /// Notification bits that come meanwhile are lost: whoever waits for some looks at everything once afterwards.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Error::Restarted`] if the server has not come back in time.
    pub fn resume(&self) -> Result<Information, Error> {
        let end = Instant::now().plus(self.patience);
        loop {
            match self.open() {
                Err(Error::Restarted) if Instant::now() < end => {
                    // Whatever ends it, the next look tells.
                    let _ = task::wait(Deadline::after(PAUSE));
                }
                result => return result,
            }
        }
    }

    /// What disk it is now.
    ///
    /// # Errors
    /// Why there is none any more.
    pub fn information(&self) -> Result<Information, Error> {
        self.learn(&Request::Information)
    }

    /// Does one operation and waits for its end.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn run(&self, operation: Operation) -> Result<(), Error> {
        let message = TransferMessage::new(&operation);
        self.tell(&Encoded::new(message.bytes(), TransferMessage::LENGTH))
    }

    /// Reads blocks to the byte `offset` of the window.
    ///
    /// # Errors
    /// As [`Self::run`], and so on for the following.
    pub fn read(&self, first_block: u64, blocks: u32, offset: u64) -> Result<(), Error> {
        self.run(Operation::Read { first_block, blocks, offset })
    }

    /// Writes blocks from the byte `offset` of the window; [`Self::flush`] makes them durable.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn write(&self, first_block: u64, blocks: u32, offset: u64) -> Result<(), Error> {
        self.run(Operation::Write { first_block, blocks, offset, durable: false })
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn flush(&self) -> Result<(), Error> {
        self.run(Operation::Flush)
    }

    /// Hands over these transfers and tells `each` of those that have completed. With `wait` it comes back only when
    /// something has, or nothing is under way.
    ///
    /// # Errors
    /// Nothing was told. After [`abi::Error::TimedOut`] it is not known which transfers were taken: [`Self::open`]
    /// begins anew.
    pub fn exchange(
        &self,
        transfers: &BatchRoom<Transfer>,
        wait: bool,
        inbox: &mut Inbox,
        mut each: impl FnMut(Completion),
    ) -> Result<Exchanged, Error> {
        match self.ask(&Request::Exchange { transfers: transfers.batch(), wait }, inbox)? {
            Answer::Exchanged { accepted, changed, completions } => {
                let completed = completions.iter().map(&mut each).count();
                Ok(Exchanged { accepted: accepted.into(), completed, changed })
            }
            _ => Err(Error::Malformed),
        }
    }

    /// Copies bytes of the slot out.
    ///
    /// # Errors
    /// As [`Self::run`]; some may have been copied then.
    pub fn load(&self, offset: u64, to: &mut [u8]) -> Result<(), Error> {
        let mut inbox = Inbox::new();
        for (index, piece) in to.chunks_mut(COPY_BYTES_MAX).enumerate() {
            let request = Request::Load { offset: place(offset, index), bytes: piece.len() as u16 };
            match self.ask(&request, &mut inbox)? {
                Answer::Data(data) if data.len() == piece.len() => piece.copy_from_slice(data),
                _ => return Err(Error::Malformed),
            }
        }
        Ok(())
    }

    /// Copies bytes into the slot.
    ///
    /// # Errors
    /// As [`Self::run`]; some may have been copied then.
    pub fn store(&self, offset: u64, from: &[u8]) -> Result<(), Error> {
        from.chunks(COPY_BYTES_MAX)
            .enumerate()
            .try_for_each(|(index, data)| self.tell(&Request::Store { offset: place(offset, index), data }))
    }

    /// Shuts the storage down, for everybody; power may be cut afterwards.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn shut_down(&self) -> Result<(), Error> {
        self.tell(&Request::Shutdown)
    }
}

/// Where the piece of this number lies. Beyond the end of all memory it is no place in a slot, as the server says.
fn place(offset: u64, piece: usize) -> u64 {
    offset.saturating_add((piece * COPY_BYTES_MAX) as u64)
}

#[cfg(test)]
mod tests;
