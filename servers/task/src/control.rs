//! A task's own life: that it started, that it waits, that it ends.

use core::fmt;

use abi::system_call::Number;

use crate::log::Line;
use crate::raw::{Frame, system_call};

/// How a task's start went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Started {
    /// It serves.
    Well = 0,
    /// It could not do what it is for.
    Failed = 1,
}

/// Tells the kernel how the start went, for `charter: boot complete`. The first time counts.
pub fn ready(started: Started) {
    system_call(Frame::new(Number::Ready, [started as u64, 0, 0, 0]));
}

/// Lets the next task of the same priority run.
pub fn yield_now() {
    system_call(Frame::new(Number::Yield, [0; 4]));
}

/// Stops this task with an exit code and a reason for the kernel's log line, of which the first
/// [`LOG_BYTES_MAX`](abi::system_call::LOG_BYTES_MAX) bytes are kept.
pub fn exit(code: u64, reason: impl fmt::Display) -> ! {
    let mut line = Line::new();
    line.write(format_args!("{reason}"));
    system_call(Frame::new(Number::Exit, [code, line.length() as u64, 0, 0]));
    // The kernel does not come back from this call. Spinning is all that is left should it ever do.
    loop {
        core::hint::spin_loop();
    }
}

/// Waits for ever, and uses no processor: a task that has done its work and stays, so that its end is not mistaken
/// for a failure.
pub fn idle() -> ! {
    loop {
        // Notifications that still come are of no interest. If even waiting fails, let others run.
        if crate::ipc::wait(crate::Deadline::NEVER).is_err() {
            yield_now();
        }
    }
}

/// Why a task's `run` ended: the reason goes to the kernel's log line. Made from anything with a short text, so that
/// `?` works; what is longer is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop(heapless::String<96>);

impl<T: fmt::Display> From<T> for Stop
where
    T: core::error::Error,
{
    fn from(error: T) -> Self {
        Self::new(format_args!("{error}"))
    }
}

impl Stop {
    /// Stops with this reason.
    pub fn new(reason: fmt::Arguments<'_>) -> Self {
        let mut text = Cut(heapless::String::new());
        // Cut never fails, only the value's own Display could, and then what there is counts.
        let _ = fmt::Write::write_fmt(&mut text, reason);
        Self(text.0)
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

/// Keeps as much as fits.
struct Cut(heapless::String<96>);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.push(character).is_err() {
                break;
            }
        }
        Ok(())
    }
}
