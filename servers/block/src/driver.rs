//! The driver as the server sees it.

use core::time::Duration;

use heapless::Vec;
use protocol::block::Failure;
use protocol::nvme::{self, Answer, BATCH_MAX, Completion, NAMESPACES_MAX, Namespace, Transfer};
use serde::{Deserialize, Serialize};
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

/// [`nvme::Request`], with transfers that stay where they are.
#[derive(Serialize)]
#[cfg_attr(test, derive(Debug))]
enum Request<'a> {
    Controller,
    Namespaces,
    Exchange(&'a [Transfer]),
    Shutdown,
    Begin,
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

    fn ask(&self, request: &Request<'_>, patience: Duration) -> Result<Answer, Failure> {
        self.call.call(request, Deadline::after(patience)).map_err(lost)
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

/// Reads [`Answer::Exchanged`] without making one, which is a kilobyte that would be moved about. `None` if the bytes
/// are another answer, or none.
fn exchanged(bytes: &[u8], completions: &mut Completions) -> Option<Exchanged> {
    fn take<'b, T: Deserialize<'b>>(bytes: &mut &'b [u8]) -> Option<T> {
        let (item, rest) = postcard::take_from_bytes(bytes).ok()?;
        *bytes = rest;
        Some(item)
    }
    let mut bytes = bytes;
    let bytes = &mut bytes;
    if take::<u32>(bytes)? != EXCHANGED {
        return None;
    }
    let accepted = take::<u8>(bytes)?.into();
    for _ in 0..take::<u32>(bytes)? {
        completions.push(take(bytes)?).ok()?;
    }
    let namespaces = take(bytes)?;
    bytes.is_empty().then_some(Exchanged { accepted, namespaces })
}

/// The number of [`Answer::Exchanged`] in its messages.
const EXCHANGED: u32 = 3;

/// The model of Azure's controller of remote disks (docs/devices/azure-disk.md).
const AZURE_MODEL: &str = "MSFT NVMe Accelerator v1.0";

impl Driver for NvmeDriver {
    fn begin(&mut self) -> Result<(), Failure> {
        match self.ask(&Request::Begin, START)? {
            Answer::Begun => Ok(()),
            Answer::NotBegun => Err(Failure::Busy),
            _ => Err(Failure::DeadPeer),
        }
    }

    fn namespaces(&mut self) -> Result<Namespaces, Failure> {
        match self.ask(&Request::Namespaces, START)? {
            Answer::Namespaces(namespaces) => Ok(namespaces),
            Answer::NoController => Err(Failure::NoDisk),
            _ => Err(Failure::DeadPeer),
        }
    }

    fn is_azure(&mut self) -> bool {
        matches!(self.ask(&Request::Controller, ANSWER), Ok(Answer::Controller(own)) if own.model == AZURE_MODEL)
    }

    fn exchange(&mut self, transfers: &[Transfer], completions: &mut Completions) -> Result<Exchanged, Failure> {
        let mut inbox = Inbox::new();
        let request = Request::Exchange(transfers);
        let bytes = self.call.call_bytes(&request, Deadline::after(ANSWER), &mut inbox).map_err(lost)?;
        match exchanged(bytes, completions) {
            Some(exchanged) => Ok(exchanged),
            None => match postcard::from_bytes(bytes) {
                Ok(Answer::NoController) => Err(Failure::Gone),
                _ => Err(Failure::DeadPeer),
            },
        }
    }

    fn shutdown(&mut self) -> Result<(), Failure> {
        match self.ask(&Request::Shutdown, SHUTDOWN)? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_protocol() {
        let transfer = Transfer {
            tag: 300,
            operation: nvme::Operation::Write { durable: true },
            nsid: 2,
            first_block: 1 << 33,
            blocks: 8,
            offset: 4096,
        };
        let transfers = [transfer; 3];
        for (own, protocols) in [
            (Request::Controller, nvme::Request::Controller),
            (Request::Namespaces, nvme::Request::Namespaces),
            (Request::Exchange(&transfers), nvme::Request::Exchange(Vec::from_slice(&transfers).unwrap())),
            (Request::Shutdown, nvme::Request::Shutdown),
            (Request::Begin, nvme::Request::Begin),
        ] {
            let (mut one, mut other) = ([0; 256], [0; 256]);
            let one = postcard::to_slice(&own, &mut one).unwrap();
            assert_eq!(one, postcard::to_slice(&protocols, &mut other).unwrap(), "{own:?}");
        }
    }

    #[test]
    fn an_exchanged_answer_is_read_as_the_protocol_writes_it() {
        let told: Completions = [
            Completion { tag: 1, outcome: Ok(()) },
            Completion { tag: u32::MAX, outcome: Err(nvme::Failure::Device { kind: 2, code: 0x81 }) },
        ]
        .into_iter()
        .chain((2..32).map(|tag| Completion { tag, outcome: Err(nvme::Failure::Gone) }))
        .collect();
        let answer = Answer::Exchanged { accepted: 32, completions: told.clone(), namespaces: 300 };
        let mut room = [0; 512];
        let bytes = postcard::to_slice(&answer, &mut room).unwrap();
        let mut completions = Completions::new();
        assert_eq!(exchanged(bytes, &mut completions), Some(Exchanged { accepted: 32, namespaces: 300 }));
        assert_eq!(completions, told);
        for length in 0..bytes.len() {
            assert_eq!(exchanged(&bytes[..length], &mut Completions::new()), None, "cut at {length}");
        }
        let mut room = [0; 64];
        for other in [Answer::NoController, Answer::Namespaces(Vec::new()), Answer::Shutdown(Ok(()))] {
            let bytes = postcard::to_slice(&other, &mut room).unwrap();
            assert_eq!(exchanged(bytes, &mut Completions::new()), None);
        }
    }
}
