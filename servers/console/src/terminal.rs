//! Text on its way to the serial port. The port may be slower than this task, which then waits.

use core::fmt;
use core::time::Duration;

use heapless::Vec;
use task::abi::Error;
use task::abi::system_call::CONSOLE_BYTES_MAX;
use task::{Console, Deadline};

/// How long to wait before a port that is busy is tried again.
const PAUSE: Duration = Duration::from_millis(2);
/// How often it is tried until what was to be written is given up: a port that takes nothing for so long is gone.
const TRIES: u32 = 2500;

/// Writes to the console, as much at once as a system call takes.
#[derive(Debug)]
pub struct Terminal {
    console: Console,
    waiting: Vec<u8, CONSOLE_BYTES_MAX>,
}

impl Terminal {
    /// Nothing written.
    pub fn new(console: Console) -> Self {
        Self { console, waiting: Vec::new() }
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.waiting.is_full() {
                self.flush();
            }
            // There is room now.
            let _ = self.waiting.push(byte);
        }
    }

    /// Writes formatted text; [`say!`](crate::say!) is shorter.
    pub fn arguments(&mut self, text: fmt::Arguments<'_>) {
        // This writer does not fail; a value's own Display may, and what it wrote until then stands.
        let _ = fmt::Write::write_fmt(self, text);
    }

    /// Hands over what waits.
    pub fn flush(&mut self) {
        for _ in 0..TRIES {
            match self.console.write(&self.waiting) {
                Ok(_) => break,
                // A notification ends the pause early; whoever waits for it looks before it waits.
                Err(Error::Busy) => drop(task::wait(Deadline::after(PAUSE))),
                Err(_) => break,
            }
        }
        self.waiting.clear();
    }
}

impl fmt::Write for Terminal {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

/// Writes one line: `say!(terminal, "nsid={nsid}")`.
#[macro_export]
macro_rules! say {
    ($terminal:expr, $($text:tt)+) => {{
        $terminal.arguments(::core::format_args!($($text)+));
        $terminal.text("\n");
    }};
}

#[cfg(test)]
pub(crate) mod tests {
    use std::rc::Rc;
    use std::string::String;
    use std::vec::Vec;

    use core::cell::RefCell;

    use task::abi::start::Granted;
    use task::abi::system_call::Number;
    use task::{Frame, Grant, host};

    use super::*;

    pub(crate) fn console() -> Console {
        Console::from_granted(&Granted::Console { handle: 9, bits: 1 }).unwrap()
    }

    /// What a test writes on a terminal; other system calls go to `kernel`.
    pub(crate) fn written(
        mut kernel: impl FnMut(&mut Frame, &mut [u8]) + 'static,
        test: impl FnOnce(&mut Terminal),
    ) -> String {
        let bytes = Rc::new(RefCell::new(Vec::new()));
        let kept = bytes.clone();
        let all = move |frame: &mut Frame, buffer: &mut [u8]| {
            if frame.code == Number::ConsoleWrite as u64 {
                kept.borrow_mut().extend_from_slice(&buffer[..frame.arguments[1] as usize]);
            } else {
                kernel(frame, buffer);
            }
        };
        host::with(all, || {
            let mut terminal = Terminal::new(console());
            test(&mut terminal);
            terminal.flush();
        });
        String::from_utf8(bytes.take()).unwrap()
    }

    #[test]
    fn long_text_arrives_whole() {
        let long = "0123456789".repeat(100);
        let text = long.clone();
        assert_eq!(written(|_, _| (), move |terminal| terminal.text(&text)), long);
    }

    #[test]
    fn a_busy_port_is_tried_again() {
        let tries = Rc::new(RefCell::new(0));
        let count = tries.clone();
        let kernel = move |frame: &mut Frame, _: &mut [u8]| {
            if frame.code == Number::ConsoleWrite as u64 {
                *count.borrow_mut() += 1;
                if *count.borrow() < 5 {
                    host::fail(frame, Error::Busy);
                }
            }
        };
        host::with(kernel, || {
            let mut terminal = Terminal::new(console());
            terminal.text("x");
            terminal.flush();
        });
        assert_eq!(*tries.borrow(), 5);
    }
}
