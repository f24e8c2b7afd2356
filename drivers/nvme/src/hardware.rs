//! What the driver needs of its surroundings.
//!
//! On the machine these are the kernel's device calls ([`abi::system_call`], bound in the binary); on the host they
//! are a stand-in that joins the driver with the real broker and a model controller (crate `nvme-model`).

use abi::Error;
use abi::system_call::DeviceInformation;
use nvme_spec::{CompletionEntry, SubmissionEntry};

/// What came of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Commands accepted, from the first.
    pub accepted: usize,
    /// Why the next one was refused, with the broker's reason code; `None` if all were accepted or there was no room
    /// for more.
    pub refused: Option<(Error, u16)>,
}

/// The device, the clock and the log.
pub trait Hardware {
    /// What the device is.
    ///
    /// # Errors
    /// Denied without a grant.
    fn information(&mut self) -> Result<DeviceInformation, Error>;

    /// Reads a 32-bit register at a byte offset in the BAR.
    ///
    /// # Errors
    /// Denied if the broker does not allow it, invalid if the device is absent.
    fn read_u32(&mut self, offset: u32) -> Result<u32, Error>;

    /// Reads a 64-bit register, likewise.
    ///
    /// # Errors
    /// As for 32 bits.
    fn read_u64(&mut self, offset: u32) -> Result<u64, Error>;

    /// Writes a 32-bit register at a byte offset in the BAR.
    ///
    /// # Errors
    /// Denied if the broker does not allow it, invalid if the device is absent, busy if it is not in a state for it
    /// yet.
    fn write_u32(&mut self, offset: u32, value: u32) -> Result<(), Error>;

    /// Submits commands, at most [`abi::system_call::DEVICE_COMMANDS_MAX`], and rings the doorbell once.
    fn submit(&mut self, queue: u16, commands: &[SubmissionEntry]) -> Submission;

    /// Takes completions of a queue; returns how many. Fewer than there is room for means that there were no more.
    ///
    /// # Errors
    /// Invalid if there is no such queue.
    fn complete(&mut self, queue: u16, completions: &mut [CompletionEntry]) -> Result<usize, Error>;

    /// Copies the data that a finished command left in memory mapped nowhere; returns its length in bytes.
    ///
    /// # Errors
    /// Invalid if it left none.
    fn collect(&mut self, queue: u16, identifier: u16, data: &mut [u8]) -> Result<usize, Error>;

    /// The monotonic clock, in nanoseconds.
    fn now(&mut self) -> u64;

    /// Writes a line to the log.
    fn log(&mut self, line: core::fmt::Arguments<'_>);
}
