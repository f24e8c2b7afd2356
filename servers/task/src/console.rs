//! The serial console, as the task that is granted it uses it.

use abi::system_call::{CONSOLE_BYTES_MAX, ConsoleState, MESSAGE_REGISTER_BYTES, Number};

use crate::buffer;
use crate::raw::{Frame, system_call};

/// May read what is typed on the serial port, and write text there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Console {
    pub(crate) handle: u32,
    pub(crate) bits: u64,
}

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typed {
    /// How the console is.
    pub state: ConsoleState,
    /// Bytes lost since the last call.
    pub lost: u64,
    bytes: [u8; MESSAGE_REGISTER_BYTES],
    count: usize,
}

impl Typed {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

impl Console {
    /// The notification bits that tell of something to read.
    pub fn bits(&self) -> u64 {
        self.bits
    }

    /// Takes what was typed, if anything.
    ///
    /// # Errors
    /// As [`Number::ConsoleRead`].
    pub fn read(&self) -> Result<Typed, abi::Error> {
        let after = system_call(Frame::new(Number::ConsoleRead, [self.handle.into(), 0, 0, 0])).result()?;
        let mut bytes = [0; MESSAGE_REGISTER_BYTES];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(after.words) {
            *place = word.to_le_bytes();
        }
        let [state, count, lost, _] = after.arguments;
        let count = usize::try_from(count).unwrap_or(0).min(bytes.len());
        Ok(Typed { state: ConsoleState::from_word(state), lost, bytes, count })
    }

    /// Writes text, as much of it as one call takes; returns how many bytes that was.
    ///
    /// # Errors
    /// [`abi::Error::Busy`] if the port is slower than this task: nothing was written.
    pub fn write(&self, text: &[u8]) -> Result<usize, abi::Error> {
        let part = &text[..text.len().min(CONSOLE_BYTES_MAX)];
        buffer::write(0, part);
        system_call(Frame::new(Number::ConsoleWrite, [self.handle.into(), part.len() as u64, 0, 0])).result()?;
        Ok(part.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    const CONSOLE: Console = Console { handle: 4, bits: 2 };

    #[test]
    fn what_was_typed_comes_in_registers() {
        let kernel = |frame: &mut Frame, _: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0]), (Number::ConsoleRead as u64, 4));
            frame.arguments = [0b101, 9, 3, 0];
            frame.words = [u64::from_le_bytes(*b"read 0 1"), u64::from(b'\n'), 0, 0, 0, 0];
        };
        let typed = host::with(kernel, || CONSOLE.read()).unwrap();
        assert_eq!((typed.bytes(), typed.lost), (&b"read 0 1\n"[..], 3));
        assert!(typed.state.present && typed.state.interrupted && !typed.state.boot_told);
    }

    #[test]
    fn long_text_is_written_in_parts() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0]), (Number::ConsoleWrite as u64, 4));
            assert!(buffer[..frame.arguments[1] as usize].iter().all(|byte| *byte == b'x'));
        };
        host::with(kernel, || {
            assert_eq!(CONSOLE.write(&[b'x'; 1000]), Ok(CONSOLE_BYTES_MAX));
            assert_eq!(CONSOLE.write(b"x"), Ok(1));
        });
    }
}
