//! The driver as the server sees it.

use core::time::Duration;

use heapless::{String, Vec};
use protocol::block::Failure;
use protocol::nvme::{self, Answer, BATCH_MAX, Batch, Completion, NAMESPACES_MAX, Namespace, Request, Transfer};
use task::{Call, CallError, Deadline, Inbox, Kill, abi};

/// How long the driver may take to bring its controller up, before it answers the first time: the longest that a
/// controller may ask for is 127.5 s (NVMe base 2.0, CAP.TO).
pub const START: Duration = Duration::from_secs(150);
/// How long it may take to answer afterwards. It never waits for the device before it answers, so this is far more
/// than it needs; all clients wait as long for one that does not.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it may take to shut its controller down: a controller may ask for 4295 s (NVMe base 2.0, RTD3E), but power
/// is cut long before.
const SHUTDOWN: Duration = Duration::from_secs(300);

/// Completions of one exchange.
pub type Completions = Vec<Completion, BATCH_MAX>;
/// The namespaces of one controller.
pub type Namespaces = Vec<Namespace, NAMESPACES_MAX>;

/// The controller behind the driver: two of which this is the same are taken for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its model.
    pub model: String<40>,
    /// Its serial number.
    pub serial: String<20>,
}

impl Identity {
    /// Whether it is one of Azure's remote disks, whose namespaces are the system disk and data disks by number
    /// (docs/devices/azure-disk.md).
    pub fn is_azure(&self) -> bool {
        self.model == AZURE_MODEL
    }
}

/// What the driver tells a server that begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Whose namespaces these are.
    pub controller: Identity,
    /// The active ones.
    pub namespaces: Namespaces,
    /// Transfers that the driver always has room for, and may be posted to it; 0 if it is to be asked each time.
    pub room: usize,
}

/// Why the driver did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It has stopped, has started since, or does not answer: what it had may have been done or not, until
    /// [`Driver::begin`] is answered, from when on nothing of it is under way.
    Away(Failure),
    /// What it answers is no answer to what it was asked.
    Nonsense,
    /// It has no device, or this server may not call it.
    Lost(Failure),
}

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
    /// Begins: the driver knows this server afterwards, and nothing that it was given before is under way. Waits as long as
    /// this for a driver that is starting.
    ///
    /// # Errors
    /// [`Trouble::Away`] with [`Failure::Busy`] while something still is under way.
    fn begin(&mut self, patience: Duration) -> Result<Hello, Trouble>;

    /// The active namespaces.
    ///
    /// # Errors
    /// Why they are not told.
    fn namespaces(&mut self) -> Result<Namespaces, Trouble>;

    /// Hands over transfers and adds what has completed since to the empty `completions`. Does
    /// not wait for the device.
    ///
    /// # Errors
    /// Nothing is known of what the driver had.
    fn exchange(&mut self, transfers: Batch<'_, Transfer>, completions: &mut Completions)
    -> Result<Exchanged, Trouble>;

    /// Shuts the controller down, and waits for it. The inner error is that the controller did not say that it has.
    ///
    /// # Errors
    /// The driver did not answer.
    fn shutdown(&mut self) -> Result<Result<(), Failure>, Trouble>;

    /// Whether [`Self::report`] can do anything.
    fn may_report(&self) -> bool {
        false
    }

    /// Has it stopped, because it goes on and yet must have failed. Returns whether it was running. Its device is seen to
    /// stop before a driver answers again.
    fn report(&mut self) -> bool {
        false
    }
}

/// The NVMe driver task.
#[derive(Debug)]
pub struct NvmeDriver {
    call: Call,
    /// How it is stopped, if the charter grants that.
    stop: Option<Kill>,
}

impl NvmeDriver {
    /// The driver behind this endpoint, and how it is stopped.
    pub fn new(call: Call, stop: Option<Kill>) -> Self {
        Self { call, stop }
    }

    fn ask<'i>(&self, request: &Request<'_>, patience: Duration, inbox: &'i mut Inbox) -> Result<Answer<'i>, Trouble> {
        self.call.call_borrowed(request, Deadline::after(patience), inbox).map_err(silent)
    }
}

/// What is made of a driver that does not answer.
fn silent(error: CallError) -> Trouble {
    Trouble::Away(match error {
        CallError::Kernel(abi::Error::Denied) => return Trouble::Lost(Failure::Denied),
        CallError::Kernel(abi::Error::TimedOut) => Failure::TimedOut,
        CallError::Kernel(abi::Error::Busy) => Failure::Busy,
        CallError::Kernel(abi::Error::DeadPeer) => Failure::DeadPeer,
        // Too long a request cannot be: a full batch has its room. What is left is a driver that talks nonsense.
        CallError::Kernel(abi::Error::Invalid) | CallError::Malformed(_) | CallError::TooLong(_) => {
            return Trouble::Nonsense;
        }
    })
}

/// What is made of an answer that is none to what was asked.
fn other(answer: &Answer<'_>) -> Trouble {
    match answer {
        Answer::NoController => Trouble::Lost(Failure::Gone),
        // It has started since.
        Answer::NotBegun => Trouble::Away(Failure::DeadPeer),
        _ => Trouble::Nonsense,
    }
}

/// The model of Azure's controller of remote disks (docs/devices/azure-disk.md).
const AZURE_MODEL: &str = "MSFT NVMe Accelerator v1.0";

impl Driver for NvmeDriver {
    fn begin(&mut self, patience: Duration) -> Result<Hello, Trouble> {
        let mut inbox = Inbox::new();
        let room = match self.ask(&Request::Begin, patience, &mut inbox)? {
            Answer::Begun { room } => room.into(),
            Answer::NotBegun => return Err(Trouble::Away(Failure::Busy)),
            answer => return Err(other(&answer)),
        };
        let controller = match self.ask(&Request::Controller, ANSWER, &mut inbox)? {
            Answer::Controller(nvme::Controller { model, serial, .. }) => Identity { model, serial },
            answer => return Err(other(&answer)),
        };
        Ok(Hello { controller, namespaces: self.namespaces()?, room })
    }

    fn namespaces(&mut self) -> Result<Namespaces, Trouble> {
        match self.ask(&Request::Namespaces, ANSWER, &mut Inbox::new())? {
            Answer::Namespaces(namespaces) => Ok(namespaces.iter().take(NAMESPACES_MAX).collect()),
            answer => Err(other(&answer)),
        }
    }

    fn exchange(
        &mut self,
        transfers: Batch<'_, Transfer>,
        completions: &mut Completions,
    ) -> Result<Exchanged, Trouble> {
        let mut inbox = Inbox::new();
        match self.ask(&Request::Exchange(transfers), ANSWER, &mut inbox)? {
            Answer::Exchanged { accepted, completions: told, namespaces } => {
                completions.extend(told.iter().take(BATCH_MAX));
                Ok(Exchanged { accepted: accepted.into(), namespaces })
            }
            answer => Err(other(&answer)),
        }
    }

    fn shutdown(&mut self) -> Result<Result<(), Failure>, Trouble> {
        match self.ask(&Request::Shutdown, SHUTDOWN, &mut Inbox::new())? {
            Answer::Shutdown(result) => Ok(result.map_err(failure)),
            Answer::NoController => Ok(Err(Failure::Gone)),
            answer => Err(other(&answer)),
        }
    }

    fn may_report(&self) -> bool {
        self.stop.is_some()
    }

    fn report(&mut self) -> bool {
        self.stop.is_some_and(|stop| stop.report().is_ok())
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
