//! The driver as the server sees it.

use core::time::Duration;

use heapless::Vec;
use protocol::block::Failure;
use protocol::nvme::{self, Answer, BATCH_MAX, BatchRoom, Completion, NAMESPACES_MAX, Namespace, Request, Transfer};
use task::{Call, CallError, Deadline, Inbox, abi};

/// How long the driver may take to bring its controller up, before it answers the first time: the longest that a
/// controller may ask for is 127.5 s (NVMe base 2.0, CAP.TO).
const START: Duration = Duration::from_secs(150);
/// How long it may take to answer afterwards. It never waits for the device before it answers, so this is far more
/// than it needs.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to shut its controller down: a controller may ask for 4295 s (NVMe base 2.0, RTD3E), but power
/// is cut long before.
const SHUTDOWN: Duration = Duration::from_secs(300);

/// Completions of one exchange.
pub type Completions = Vec<Completion, BATCH_MAX>;
/// The namespaces of one controller.
pub type Namespaces = Vec<Namespace, NAMESPACES_MAX>;

/// What came of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Transfers taken, from the first.
    pub accepted: usize,
    /// A number that changes when the namespaces have changed.
    pub namespaces: u32,
}

/// Moves blocks. What it answers is not trusted to make sense.
pub trait Driver {
    /// Begins: the driver knows this server afterwards, and nothing that an earlier life of it gave is under way.
    ///
    /// # Errors
    /// [`Failure::Busy`] while something still is; why the driver does not answer.
    fn begin(&mut self) -> Result<(), Failure>;

    /// The active namespaces.
    ///
    /// # Errors
    /// Why there are none to be had, as a client is told.
    fn namespaces(&mut self) -> Result<Namespaces, Failure>;

    /// Whether the controller is one of Azure's remote disks, whose namespaces are the system disk and data disks by
    /// number (docs/devices/azure-disk.md).
    fn is_azure(&mut self) -> bool;

    /// Hands over at most [`BATCH_MAX`] transfers and adds what has completed since to the empty `completions`. Does
    /// not wait for the device.
    ///
    /// # Errors
    /// The driver is lost, and everything it had with it.
    fn exchange(&mut self, transfers: &[Transfer], completions: &mut Completions) -> Result<Exchanged, Failure>;

    /// Shuts the controller down, and waits for it.
    ///
    /// # Errors
    /// The controller did not say that it has.
    fn shutdown(&mut self) -> Result<(), Failure>;
}

/// The NVMe driver task.
#[derive(Debug)]
pub struct NvmeDriver {
    call: Call,
    /// Those of an exchange, on their way.
    transfers: BatchRoom<Transfer>,
}

impl NvmeDriver {
    /// The driver behind this endpoint.
    pub fn new(call: Call) -> Self {
        Self { call, transfers: BatchRoom::new() }
    }

    fn ask<'i>(&self, request: &Request<'_>, patience: Duration, inbox: &'i mut Inbox) -> Result<Answer<'i>, Failure> {
        self.call.call_borrowed(request, Deadline::after(patience), inbox).map_err(lost)
    }
}

/// What is told of a driver that does not answer.
fn lost(error: CallError) -> Failure {
    match error {
        CallError::Kernel(abi::Error::Denied) => Failure::Denied,
        CallError::Kernel(abi::Error::TimedOut) => Failure::TimedOut,
        CallError::Kernel(abi::Error::Busy) => Failure::Busy,
        CallError::Kernel(abi::Error::DeadPeer) => Failure::DeadPeer,
        // Too long a request cannot be: a full batch has its room. What is left is a driver that talks nonsense.
        CallError::Kernel(abi::Error::Invalid) | CallError::Malformed(_) | CallError::TooLong(_) => Failure::DeadPeer,
    }
}

/// The model of Azure's controller of remote disks (docs/devices/azure-disk.md).
const AZURE_MODEL: &str = "MSFT NVMe Accelerator v1.0";

impl Driver for NvmeDriver {
    fn begin(&mut self) -> Result<(), Failure> {
        match self.ask(&Request::Begin, START, &mut Inbox::new())? {
            Answer::Begun => Ok(()),
            Answer::NotBegun => Err(Failure::Busy),
            _ => Err(Failure::DeadPeer),
        }
    }

    fn namespaces(&mut self) -> Result<Namespaces, Failure> {
        match self.ask(&Request::Namespaces, START, &mut Inbox::new())? {
            Answer::Namespaces(namespaces) => Ok(namespaces.iter().take(NAMESPACES_MAX).collect()),
            Answer::NoController => Err(Failure::NoDisk),
            _ => Err(Failure::DeadPeer),
        }
    }

    fn is_azure(&mut self) -> bool {
        let mut inbox = Inbox::new();
        matches!(self.ask(&Request::Controller, ANSWER, &mut inbox), Ok(Answer::Controller(own)) if own.model == AZURE_MODEL)
    }

    fn exchange(&mut self, transfers: &[Transfer], completions: &mut Completions) -> Result<Exchanged, Failure> {
        self.transfers.clear();
        for transfer in transfers {
            // As many as there is room for.
            let _ = self.transfers.push(transfer);
        }
        let mut inbox = Inbox::new();
        match self.ask(&Request::Exchange(self.transfers.batch()), ANSWER, &mut inbox)? {
            Answer::Exchanged { accepted, completions: told, namespaces } => {
                completions.extend(told.iter().take(BATCH_MAX));
                Ok(Exchanged { accepted: accepted.into(), namespaces })
            }
            Answer::NoController => Err(Failure::Gone),
            _ => Err(Failure::DeadPeer),
        }
    }

    fn shutdown(&mut self) -> Result<(), Failure> {
        match self.ask(&Request::Shutdown, SHUTDOWN, &mut Inbox::new())? {
            Answer::Shutdown(result) => result.map_err(failure),
            Answer::NoController => Err(Failure::Gone),
            _ => Err(Failure::DeadPeer),
        }
    }
}

/// What a client is told of a transfer's failure.
pub fn failure(failure: nvme::Failure) -> Failure {
    match failure {
        nvme::Failure::Invalid => Failure::Invalid,
        nvme::Failure::Denied => Failure::Denied,
        nvme::Failure::Unsupported => Failure::Unsupported,
        nvme::Failure::Stopped => Failure::Stopped,
        nvme::Failure::Different => Failure::Different,
        nvme::Failure::Device { kind, code } => Failure::Device { kind, code },
        nvme::Failure::Aborted => Failure::Interrupted,
        nvme::Failure::TimedOut => Failure::TimedOut,
        nvme::Failure::Gone => Failure::Gone,
    }
}
