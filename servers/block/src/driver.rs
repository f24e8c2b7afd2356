//! The driver as the server sees it.

use core::time::Duration;

use heapless::Vec;
use protocol::block::Failure;
use protocol::nvme::{self, Answer, BATCH_MAX, Completion, NAMESPACES_MAX, Namespace, Request, Transfer};
use task::{Call, CallError, Deadline, abi};

/// How long the driver may take to bring its controller up, before it answers the first time: the longest that a
/// controller may ask for is 127.5 s (NVMe base 2.0, CAP.TO).
const START: Duration = Duration::from_secs(150);
/// How long it may take to answer afterwards. It never waits for the device before it answers, so this is far more
/// than it needs.
const ANSWER: Duration = Duration::from_secs(30);

/// What came of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Transfers taken, from the first.
    pub accepted: usize,
    /// Transfers finished.
    pub completions: Vec<Completion, BATCH_MAX>,
}

/// Moves blocks. What it answers is not trusted to make sense.
pub trait Driver {
    /// The active namespaces.
    ///
    /// # Errors
    /// Why there are none to be had, as a client is told.
    fn namespaces(&mut self) -> Result<Vec<Namespace, NAMESPACES_MAX>, Failure>;

    /// Hands over transfers and takes what has completed since. Does not wait for the device.
    ///
    /// # Errors
    /// The driver is lost, and everything it had with it.
    fn exchange(&mut self, transfers: Vec<Transfer, BATCH_MAX>) -> Result<Exchanged, Failure>;
}

/// The NVMe driver task.
#[derive(Clone, Copy, Debug)]
pub struct NvmeDriver {
    call: Call,
}

impl NvmeDriver {
    /// The driver behind this endpoint.
    pub fn new(call: Call) -> Self {
        Self { call }
    }

    fn ask(&self, request: &Request, patience: Duration) -> Result<Answer, Failure> {
        self.call.call(request, Deadline::after(patience)).map_err(|error| match error {
            CallError::Kernel(abi::Error::Denied) => Failure::Denied,
            CallError::Kernel(abi::Error::TimedOut) => Failure::TimedOut,
            CallError::Kernel(abi::Error::Busy) => Failure::Busy,
            CallError::Kernel(abi::Error::DeadPeer) => Failure::DeadPeer,
            // Too long a request cannot be: a full batch has its room. What is left is a driver that talks nonsense.
            CallError::Kernel(abi::Error::Invalid) | CallError::Malformed(_) | CallError::TooLong(_) => {
                Failure::DeadPeer
            }
        })
    }
}

impl Driver for NvmeDriver {
    fn namespaces(&mut self) -> Result<Vec<Namespace, NAMESPACES_MAX>, Failure> {
        match self.ask(&Request::Namespaces, START)? {
            Answer::Namespaces(namespaces) => Ok(namespaces),
            Answer::NoController => Err(Failure::NoDisk),
            _ => Err(Failure::DeadPeer),
        }
    }

    fn exchange(&mut self, transfers: Vec<Transfer, BATCH_MAX>) -> Result<Exchanged, Failure> {
        match self.ask(&Request::Exchange(transfers), ANSWER)? {
            Answer::Exchanged { accepted, completions, .. } => Ok(Exchanged { accepted: accepted.into(), completions }),
            Answer::NoController => Err(Failure::NoDisk),
            _ => Err(Failure::DeadPeer),
        }
    }
}

/// What a client is told of a transfer's failure.
pub fn failure(failure: nvme::Failure) -> Failure {
    match failure {
        nvme::Failure::Invalid => Failure::Invalid,
        nvme::Failure::Denied => Failure::Denied,
        nvme::Failure::Device { kind, code } => Failure::Device { kind, code },
        // The driver lives, the transfer does not: to the client the device did not do it in time, or at all.
        nvme::Failure::Aborted | nvme::Failure::TimedOut => Failure::TimedOut,
        nvme::Failure::Gone | nvme::Failure::Stopped => Failure::NoDisk,
        // Of operations that are not asked for yet.
        nvme::Failure::Unsupported | nvme::Failure::Different => Failure::Invalid,
    }
}
