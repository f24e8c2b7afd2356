//! Why a device did not do what its driver asked.

use abi::Error;
use broker::{Reason, Refusal};

use super::State;
use super::no_broker::Nobody;
use super::unit::Wrapped;

/// Why a call to a device was refused: it reads as a sentence part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The device is not in a state for any call.
    State(State),
    /// An argument is beyond what any device has.
    Argument,
    /// The driver has registers and rings of its own.
    Direct,
    /// The broker of `drivers/nvme/broker` says so.
    Nvme(nvme_broker::Reason),
    /// There is no broker to ask.
    NoBroker(Nobody),
}

/// Reason codes from here on are the kernel's own; below are the brokers'.
const KERNEL_CODES: u16 = 0xff00;

impl core::fmt::Display for Because {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::State(state) => write!(f, "device is {state}"),
            Self::Argument => f.write_str("argument out of range"),
            Self::Direct => f.write_str("the lane is direct"),
            Self::Nvme(reason) => reason.fmt(f),
            Self::NoBroker(reason) => reason.fmt(f),
        }
    }
}

impl Because {
    /// The reason's number for the driver, never zero.
    pub fn code(self) -> u16 {
        match self {
            Self::Argument => KERNEL_CODES,
            Self::Direct => KERNEL_CODES + 0x80,
            Self::State(state) => KERNEL_CODES + 1 + state as u16,
            Self::Nvme(reason) => reason.code(),
            Self::NoBroker(reason) => reason.code(),
        }
    }
}

impl From<Wrapped<nvme_broker::Reason>> for Because {
    fn from(Wrapped(reason): Wrapped<nvme_broker::Reason>) -> Self {
        Self::Nvme(reason)
    }
}

impl From<Wrapped<Nobody>> for Because {
    fn from(Wrapped(reason): Wrapped<Nobody>) -> Self {
        Self::NoBroker(reason)
    }
}

impl From<Because> for Refusal<Because> {
    /// The refusal for one of the kernel's own reasons. A device that is on its way is busy; nothing else can be done
    /// by asking again.
    fn from(because: Because) -> Self {
        let error = match because {
            Because::State(State::Starting) => Error::Busy,
            Because::Direct => Error::Denied,
            _ => Error::Invalid,
        };
        Self { error, because }
    }
}
