//! A device, through its broker: registers, commands, completions.

use abi::Error;
use abi::layout::IPC_BUFFER_BYTES;
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMMANDS_MAX, DEVICE_COMPLETION_BYTES, DeviceInformation, Number};

use crate::buffer;
use crate::raw::{Frame, system_call};

/// May ask what a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub(crate) handle: u32,
}

impl Device {
    /// What the device is, now.
    ///
    /// # Errors
    /// None of a granted device: one that was not found is [`DeviceInformation::present`] `== false`.
    pub fn information(&self) -> Result<DeviceInformation, Error> {
        information(self.handle)
    }
}

/// Is told of a device's interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// The MSI-X table entry to give to the device.
    pub vector: u16,
    /// The notification bits that it sets.
    pub bits: u64,
}

/// May use a device's registers and queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    pub(crate) handle: u32,
}

/// How a submission went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Commands that the device will see, from the first.
    pub accepted: usize,
    /// Why the next one was refused, and the broker's number for the reason; `None` if all were accepted or there was
    /// no room for more just now.
    pub refused: Option<(Error, u64)>,
}

/// Room for what [`Registers::complete`] takes: 4 KiB.
pub struct Completions {
    entries: [[u8; DEVICE_COMPLETION_BYTES]; IPC_BUFFER_BYTES / DEVICE_COMPLETION_BYTES],
}

impl Default for Completions {
    fn default() -> Self {
        Self::new()
    }
}

impl Completions {
    /// An empty one.
    pub const fn new() -> Self {
        Self { entries: [[0; DEVICE_COMPLETION_BYTES]; IPC_BUFFER_BYTES / DEVICE_COMPLETION_BYTES] }
    }
}

impl Registers {
    /// What the device is, now.
    ///
    /// # Errors
    /// As [`Device::information`].
    pub fn information(&self) -> Result<DeviceInformation, Error> {
        information(self.handle)
    }

    /// Reads a 32-bit register at this byte offset in the BAR.
    ///
    /// # Errors
    /// Denied if the broker does not list it, invalid if the device is absent or the offset is none.
    pub fn read_u32(&self, offset: u32) -> Result<u32, Error> {
        self.read(offset, 4).map(|value| value as u32)
    }

    /// Reads a 64-bit register.
    ///
    /// # Errors
    /// As [`Self::read_u32`].
    pub fn read_u64(&self, offset: u32) -> Result<u64, Error> {
        self.read(offset, 8)
    }

    /// Writes a 32-bit register; the broker authors what the device sees.
    ///
    /// # Errors
    /// As [`Self::read_u32`], and busy if the device is not in a state for it yet.
    pub fn write_u32(&self, offset: u32, value: u32) -> Result<(), Error> {
        self.write(offset, 4, value.into())
    }

    /// Writes a 64-bit register.
    ///
    /// # Errors
    /// As [`Self::write_u32`].
    pub fn write_u64(&self, offset: u32, value: u64) -> Result<(), Error> {
        self.write(offset, 8, value)
    }

    fn read(&self, offset: u32, bytes: u64) -> Result<u64, Error> {
        let arguments = [self.handle.into(), offset.into(), bytes, 0];
        Ok(system_call(Frame::new(Number::DeviceRead, arguments)).result()?.arguments[0])
    }

    fn write(&self, offset: u32, bytes: u64, value: u64) -> Result<(), Error> {
        let arguments = [self.handle.into(), offset.into(), bytes, value];
        system_call(Frame::new(Number::DeviceWrite, arguments)).result().map(|_| ())
    }

    /// Submits commands to a queue, at most [`DEVICE_COMMANDS_MAX`] of those given, and rings its doorbell once.
    pub fn submit(&self, queue: u16, commands: &[[u8; DEVICE_COMMAND_BYTES]]) -> Submission {
        let commands = &commands[..commands.len().min(DEVICE_COMMANDS_MAX)];
        buffer::write(0, commands.as_flattened());
        let arguments = [self.handle.into(), queue.into(), commands.len() as u64, 0];
        let after = system_call(Frame::new(Number::DeviceSubmit, arguments));
        let refused = after.result().err().map(|error| (error, after.arguments[1]));
        // The kernel never counts more than it was given.
        let accepted = usize::try_from(after.arguments[0]).unwrap_or(0).min(commands.len());
        Submission { accepted, refused }
    }

    /// Takes the completions of a queue that are there. Never waits.
    ///
    /// # Errors
    /// Invalid for a queue that does not exist.
    pub fn complete<'c>(
        &self,
        queue: u16,
        completions: &'c mut Completions,
    ) -> Result<&'c [[u8; DEVICE_COMPLETION_BYTES]], Error> {
        let arguments = [self.handle.into(), queue.into(), 0, 0];
        let count = system_call(Frame::new(Number::DeviceComplete, arguments)).result()?.arguments[0];
        let room = completions.entries.len();
        let taken = &mut completions.entries[..usize::try_from(count).unwrap_or(room).min(room)];
        buffer::read_into(taken.as_flattened_mut());
        Ok(taken)
    }

    /// Copies a finished command's data that lies in memory mapped nowhere, as much as fits, and returns its length.
    ///
    /// # Errors
    /// Invalid if this command left none.
    pub fn collect(&self, queue: u16, identifier: u16, data: &mut [u8]) -> Result<usize, Error> {
        let arguments = [self.handle.into(), queue.into(), identifier.into(), 0];
        let bytes = system_call(Frame::new(Number::DeviceCollect, arguments)).result()?.arguments[0];
        let bytes = usize::try_from(bytes).unwrap_or(IPC_BUFFER_BYTES).min(IPC_BUFFER_BYTES);
        let fits = data.len().min(bytes);
        buffer::read_into(&mut data[..fits]);
        Ok(bytes)
    }
}

fn information(handle: u32) -> Result<DeviceInformation, Error> {
    let after = system_call(Frame::new(Number::DeviceInformation, [handle.into(), 0, 0, 0])).result()?;
    Ok(DeviceInformation::from_words(after.words))
}
