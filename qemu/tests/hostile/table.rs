//! What is tried, by whom, and the one answer that it must get.

mod brokered;
mod client;
mod direct;

use std::fmt;

use abi::Error;
use broker::Reason as _;
use nvme_broker::Reason;

/// Who answers, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The broker refuses a command, for this reason.
    Broker(Reason),
    /// The broker refuses a register or a queue; the driver is told the error alone.
    Register(Reason),
    /// The kernel refuses before a broker or a server is asked.
    Kernel(Error),
    /// The block server refuses.
    Server(&'static str),
    /// The task's own library does.
    Library(&'static str),
    /// It is allowed, and this is what comes of it.
    Allowed(&'static str),
    /// The IOMMU blocks what the device reaches for; QEMU's trace has the address.
    Blocked(Reach),
    /// The kernel has seen to it that there is nothing, as it is found.
    Kept(&'static str),
    /// It is allowed, because it acts on the driver's own device, and this is what comes of it.
    Own(&'static str),
}
use Expected::{Allowed, Blocked, Broker, Kept, Kernel, Library, Own, Register, Server};
pub use brokered::BROKERED;
pub use client::CLIENT;
pub use direct::{DIRECT, NOT_MAPPED, OnDirect, in_common, on_direct};

/// How a device reaches for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Read,
    Write,
}

impl Expected {
    /// The answer and the reason's number, as the log has them. What is blocked, the driver is not told: it stands in
    /// QEMU's trace.
    pub fn logged(self) -> (String, Option<u64>) {
        match self {
            Broker(reason) => (reason.error().to_string(), Some(reason.code().into())),
            Register(reason) => (reason.error().to_string(), None),
            Kernel(error) => (error.to_string().replace(' ', "-"), None),
            Server(word) | Library(word) | Allowed(word) | Kept(word) | Own(word) => (word.to_owned(), None),
            Blocked(reach) => (format!("{reach:?} blocked"), None),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broker(reason) | Register(reason) => write!(f, "broker | {}: {reason}", reason.error()),
            Kernel(error) => write!(f, "kernel | {error}"),
            Server(word) => write!(f, "block server | {word}"),
            Library(word) => write!(f, "task library | {word}"),
            Allowed(word) => write!(f, "(allowed) | {word}"),
            Blocked(Reach::Read) => write!(f, "IOMMU | read blocked"),
            Blocked(Reach::Write) => write!(f, "IOMMU | write blocked"),
            Kept(word) => write!(f, "kernel | {word}"),
            Own(word) => write!(f, "(allowed: its own device) | {word}"),
        }
    }
}

/// An attempt.
pub struct Attempt {
    /// Its name in the log.
    pub name: &'static str,
    /// What is tried, in how many ways.
    pub what: &'static str,
    /// What is answered, to each.
    pub expected: Expected,
}

const fn attempt(name: &'static str, expected: Expected, what: &'static str) -> Attempt {
    Attempt { name, what, expected }
}
