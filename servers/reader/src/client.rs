//! The block server as its client sees it.

use core::fmt;
use core::time::Duration;

use protocol::block::{Answer, Failure, Information, Request};
use task::{Call, CallError, Deadline, abi};

/// Why there is no data, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoData {
    /// The block server answered so.
    Server(Failure),
    /// The kernel answered so: the block server itself did not.
    Kernel(abi::Error),
    /// The block server's answer is no answer to the request.
    Malformed,
}

impl fmt::Display for NoData {
    /// As the value of a log line, with its further keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Server(failure) => return write!(f, "{failure} by=server"),
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

/// A disk, as this task uses it.
pub trait Disk {
    /// What disk it is.
    ///
    /// # Errors
    /// Why there is none.
    fn information(&mut self) -> Result<Information, NoData>;
    /// Reads blocks of the range to the byte `offset` of the window.
    ///
    /// # Errors
    /// Why they are not there.
    fn read(&mut self, first_block: u64, blocks: u32, offset: u64) -> Result<(), NoData>;
}

/// The disk behind an endpoint of the block server.
#[derive(Clone, Copy, Debug)]
pub struct ServedDisk {
    call: Call,
    patience: Duration,
}

impl ServedDisk {
    /// The disk, with how long each request may take.
    pub fn new(call: Call, patience: Duration) -> Self {
        Self { call, patience }
    }

    fn ask(&self, request: &Request) -> Result<Answer, NoData> {
        match self.call.call(request, Deadline::after(self.patience)) {
            Ok(Answer::Failed(failure)) => Err(NoData::Server(failure)),
            Ok(answer) => Ok(answer),
            Err(CallError::Kernel(error)) => Err(NoData::Kernel(error)),
            Err(CallError::Malformed(_) | CallError::TooLong(_)) => Err(NoData::Malformed),
        }
    }
}

impl Disk for ServedDisk {
    fn information(&mut self) -> Result<Information, NoData> {
        match self.ask(&Request::Information)? {
            Answer::Information(information) => Ok(information),
            _ => Err(NoData::Malformed),
        }
    }

    fn read(&mut self, first_block: u64, blocks: u32, offset: u64) -> Result<(), NoData> {
        match self.ask(&Request::Read { first_block, blocks, offset })? {
            Answer::Done => Ok(()),
            _ => Err(NoData::Malformed),
        }
    }
}
