//! Log lines: `component: event words key=value key=value`.
//!
//! The component is the sender's, put there by the kernel; a task writes the rest: `log!(log, "ready nsid={nsid}")`.
//! Values have no spaces or are [`Quoted`]. What is too long is cut.

use core::fmt::{self, Write};

use abi::system_call::{LOG_BYTES_MAX, Number};

use crate::buffer;
use crate::raw::{Frame, system_call};

/// May write to the log under a component name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub(crate) handle: u32,
}

impl Log {
    /// Writes one line; [`log!`](crate::log!) is shorter.
    ///
    /// # Errors
    /// [`abi::Error::Busy`] if this task has written too much lately: the line is dropped and counted.
    pub fn line(&self, text: fmt::Arguments<'_>) -> Result<(), abi::Error> {
        let mut line = Line::new();
        line.write(text);
        system_call(Frame::new(Number::Log, [self.handle.into(), line.length() as u64, 0, 0])).result()?;
        Ok(())
    }
}

/// Writes one log line: `log!(log, "read nsid={nsid} blocks={}", count)`. A line that the kernel drops (too many at a
/// time) is counted there, so nothing is returned.
#[macro_export]
macro_rules! log {
    ($log:expr, $($text:tt)+) => {{
        let _ = $crate::Log::line(&$log, ::core::format_args!($($text)+));
    }};
}

/// Text in the IPC buffer, cut at [`LOG_BYTES_MAX`] on a character.
pub(crate) struct Line {
    length: usize,
    full: bool,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { length: 0, full: false }
    }

    pub(crate) fn write(&mut self, text: fmt::Arguments<'_>) {
        // This writer does not fail. A value's own Display may; what it wrote until then stands.
        let _ = self.write_fmt(text);
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LOG_BYTES_MAX - self.length;
        let fits = if self.full {
            0
        } else if text.len() <= room {
            text.len()
        } else {
            self.full = true;
            text.floor_char_boundary(room)
        };
        buffer::write(self.length, &text.as_bytes()[..fits]);
        self.length += fits;
        Ok(())
    }
}

/// A value that may hold spaces: in double quotes, `"` and `\` behind a `\`, control characters as `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => {
                    f.write_char('\\')?;
                    f.write_char(character)?;
                }
                _ if character.is_control() => f.write_char('?')?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}
