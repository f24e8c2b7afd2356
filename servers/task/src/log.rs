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
    /// The kernel's number for it.
    pub fn handle(&self) -> u32 {
        self.handle
    }

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

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use core::cell::RefCell;

    use super::*;
    use crate::host;

    /// The lines that a test writes.
    fn lines(test: impl FnOnce(Log)) -> Vec<String> {
        let lines = Rc::new(RefCell::new(Vec::new()));
        let kept = lines.clone();
        let kernel = move |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0]), (Number::Log as u64, 3));
            let text = &buffer[..frame.arguments[1] as usize];
            kept.borrow_mut().push(String::from_utf8(text.to_vec()).expect("a line is UTF-8"));
        };
        host::with(kernel, || test(Log { handle: 3 }));
        Rc::into_inner(lines).unwrap().into_inner()
    }

    #[test]
    fn a_line_is_its_formatted_text() {
        let nsid = 2;
        assert_eq!(lines(|log| log!(log, "ready nsid={nsid} blocks={}", 77)), ["ready nsid=2 blocks=77"]);
    }

    #[test]
    fn a_long_line_is_cut_on_a_character() {
        let told = lines(|log| {
            log!(log, "{}", "x".repeat(5000));
            log!(log, "{}{}é{}", "x".repeat(1000), "y".repeat(23), "never");
        });
        assert_eq!(told[0].len(), LOG_BYTES_MAX);
        assert!(told[1].ends_with('y') && told[1].len() == 1023, "what follows a cut is not told either");
    }

    #[test]
    fn a_line_that_is_dropped_is_an_error() {
        let refuse = |frame: &mut Frame, _: &mut [u8]| host::fail(frame, abi::Error::Busy);
        assert_eq!(host::with(refuse, || Log { handle: 3 }.line(format_args!("x"))), Err(abi::Error::Busy));
    }

    #[test]
    fn quoted_values_stay_on_their_line() {
        assert_eq!(Quoted("QEMU NVMe Ctrl").to_string(), "\"QEMU NVMe Ctrl\"");
        assert_eq!(Quoted("a\" b=\\\n\x1b[0m").to_string(), "\"a\\\" b=\\\\??[0m\"");
    }
}
