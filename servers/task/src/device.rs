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

impl Registers {
    /// The kernel's number for them.
    pub fn handle(&self) -> u32 {
        self.handle
    }

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

    /// Takes the completions of a queue that are there and returns how many; the first of them are in `completions`, as
    /// many as it has room for. Never waits.
    ///
    /// # Errors
    /// Invalid for a queue that does not exist.
    pub fn complete(&self, queue: u16, completions: &mut [[u8; DEVICE_COMPLETION_BYTES]]) -> Result<usize, Error> {
        let arguments = [self.handle.into(), queue.into(), 0, 0];
        let count = system_call(Frame::new(Number::DeviceComplete, arguments)).result()?.arguments[0];
        let most = IPC_BUFFER_BYTES / DEVICE_COMPLETION_BYTES;
        let count = usize::try_from(count).unwrap_or(most).min(most);
        let fits = count.min(completions.len());
        buffer::read_into(completions[..fits].as_flattened_mut());
        Ok(count)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    const REGISTERS: Registers = Registers { handle: 4 };

    #[test]
    fn a_submission_that_stops_half_way_says_where_and_why() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments), (Number::DeviceSubmit as u64, [4, 1, 3, 0]));
            assert_eq!((buffer[0], buffer[64], buffer[128]), (1, 2, 3));
            frame.arguments[0] = 2;
            frame.arguments[1] = 17;
            host::fail(frame, Error::Denied);
        };
        let commands = [[1; DEVICE_COMMAND_BYTES], [2; DEVICE_COMMAND_BYTES], [3; DEVICE_COMMAND_BYTES]];
        let submission = host::with(kernel, || REGISTERS.submit(1, &commands));
        assert_eq!(submission, Submission { accepted: 2, refused: Some((Error::Denied, 17)) });
    }

    #[test]
    fn no_more_commands_go_along_than_fit() {
        let kernel = |frame: &mut Frame, _: &mut [u8]| frame.arguments[0] = frame.arguments[2];
        let commands = [[0; DEVICE_COMMAND_BYTES]; DEVICE_COMMANDS_MAX + 5];
        let submission = host::with(kernel, || REGISTERS.submit(0, &commands));
        assert_eq!(submission, Submission { accepted: DEVICE_COMMANDS_MAX, refused: None });
    }

    #[test]
    fn completions_and_data_are_copied_out() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            buffer[..32].copy_from_slice(&[[5; 16], [6; 16]].concat());
            frame.arguments[0] = if frame.code == Number::DeviceComplete as u64 { 2 } else { 32 };
        };
        host::with(kernel, || {
            let mut completions = [[0; 16]; 3];
            assert_eq!(REGISTERS.complete(1, &mut completions), Ok(2));
            assert_eq!(completions, [[5; 16], [6; 16], [0; 16]]);
            let mut one = [[0; 16]];
            assert_eq!((REGISTERS.complete(1, &mut one), one), (Ok(2), [[5; 16]]));
            let mut data = [0; 20];
            assert_eq!(REGISTERS.collect(1, 9, &mut data), Ok(32));
            assert_eq!((data[15], data[16], data[19]), (5, 6, 6));
        });
    }

    #[test]
    fn registers_are_read_and_written_by_width() {
        let kernel = |frame: &mut Frame, _: &mut [u8]| {
            let [handle, offset, bytes, value] = frame.arguments;
            match (Number::new(frame.code), handle, offset, bytes) {
                (Some(Number::DeviceRead), 4, 0x1c, 4) => frame.arguments[0] = 1,
                (Some(Number::DeviceRead), 4, 0, 8) => frame.arguments[0] = 1 << 40,
                (Some(Number::DeviceWrite), 4, 0x14, 4) if value == 0x46_0001 => frame.arguments = [0; 4],
                _ => host::fail(frame, Error::Denied),
            }
        };
        host::with(kernel, || {
            assert_eq!(REGISTERS.read_u32(0x1c), Ok(1));
            assert_eq!(REGISTERS.read_u64(0), Ok(1 << 40));
            assert_eq!(REGISTERS.write_u32(0x14, 0x46_0001), Ok(()));
            assert_eq!(REGISTERS.write_u64(0x28, 1), Err(Error::Denied));
        });
    }
}
