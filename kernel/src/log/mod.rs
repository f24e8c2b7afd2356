//! The serial log: one line an event, `component: event words key=value key=value`.
//!
//! The kernel writes the component from the sender's identity and the charter, never from its text, and the text
//! carries no control characters, so no task can forge another's line. Lines wait in a ring until the serial port takes
//! them; a line that does not fit is dropped whole and counted. What the port has taken stays in the ring until newer
//! lines need the room, so that it can still be read ([`remembered`]).
//!
//! The [`console`]'s text goes to the same port, between lines, and is none of the log.

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use abi::package::NAME_BYTES_MAX;
use abi::system_call::LOG_BYTES_MAX;
use checks::{Check, holds};

pub mod console;
pub mod refusals;

use console::Console;

/// Bytes of the ring.
const RING_BYTES: usize = 32 * 1024;
const _: () = assert!(RING_BYTES.is_power_of_two());
/// Bytes of the ring that tasks leave to the kernel's own lines: no flood of theirs drowns what the kernel has to say.
const KERNEL_BYTES: usize = 8 * 1024;
/// Lines that a task may write at once.
const BURST_LINES: u32 = 256;
/// Nanoseconds after which it may write one more.
const LINE_NANOSECONDS: u64 = 5_000_000;

/// Writes one kernel line: `log!("charter", "device found name={}", name)`.
#[macro_export]
macro_rules! log {
    ($component:expr, $($arguments:tt)*) => {
        $crate::log::line($component, ::core::format_args!($($arguments)*))
    };
}

/// How much a task may write to the log.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    lines: u32,
    refilled: u64,
    dropped: u32,
}

/// What an [`Allowance`] says to one more line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it; so many were dropped since the last one that was written.
    Write {
        /// Lines dropped.
        dropped: u32,
    },
    /// Drop it.
    Drop,
}

impl Allowance {
    /// A full burst.
    pub const fn full() -> Self {
        Self { lines: BURST_LINES, refilled: 0, dropped: 0 }
    }

    /// Nothing yet.
    pub const fn nothing() -> Self {
        Self { lines: 0, refilled: 0, dropped: 0 }
    }

    /// Asks for one line at the time `now`, in nanoseconds.
    pub fn take(&mut self, now: u64) -> Verdict {
        let refill = now.saturating_sub(self.refilled) / LINE_NANOSECONDS;
        if refill > 0 {
            self.lines = u32::try_from(refill).unwrap_or(BURST_LINES).saturating_add(self.lines).min(BURST_LINES);
            self.refilled = now;
        }
        match self.lines.checked_sub(1) {
            Some(left) => {
                self.lines = left;
                Verdict::Write { dropped: core::mem::take(&mut self.dropped) }
            }
            None => {
                self.dropped = self.dropped.saturating_add(1);
                Verdict::Drop
            }
        }
    }
}

/// Writes one of the kernel's own lines.
pub fn line(component: &str, text: fmt::Arguments<'_>) {
    with_ring(|ring| ring.line(component, text));
}

/// Writes one line of a task under a component name that the charter grants it. Returns whether there was room: what
/// the kernel keeps for itself is none.
pub fn task_line(component: &str, text: fmt::Arguments<'_>) -> bool {
    let mut room = false;
    with_ring(|ring| {
        room = ring.written - ring.read + LOG_BYTES_MAX + 2 * NAME_BYTES_MAX <= RING_BYTES - KERNEL_BYTES;
        if room {
            ring.line(component, text);
        }
    });
    room
}

/// Hands waiting bytes to `send`, which returns how many it took, until it takes none, none are left or `at_most` were
/// taken. Returns whether bytes are left that `send` would take. The log goes before the console.
pub fn drain(at_most: usize, mut send: impl FnMut(&[u8]) -> usize) -> bool {
    let mut more = false;
    with_ring(|ring| {
        let mut budget = at_most;
        while budget > 0 && ring.is_waiting() {
            let sent = ring.send(budget, &mut send);
            // A console's text may come to nothing, as a backspace does where there is nothing to take back.
            if sent == 0 && ring.is_waiting() {
                return;
            }
            budget = budget.saturating_sub(sent);
        }
        more = ring.is_waiting();
    });
    more
}

/// Whether anything waits for the serial port.
pub fn is_waiting() -> bool {
    let mut waiting = false;
    with_ring(|ring| waiting = ring.is_waiting());
    waiting
}

/// Takes text of the console, all of it or none. Returns whether there was room.
pub fn console_text(text: &[u8]) -> bool {
    let mut room = false;
    with_ring(|ring| room = ring.console.write(text));
    room
}

/// Whether a line of the log has ended one that the console had not finished, since it was told so last. `told` says
/// that it is told now.
pub fn console_interrupted(told: bool) -> bool {
    let mut interrupted = false;
    with_ring(|ring| {
        interrupted = if told { ring.console.take_interrupted() } else { ring.console.is_interrupted() };
    });
    interrupted
}

/// Copies bytes of the log from `place` on, counted from the log's first byte, or from the oldest byte that is still
/// remembered. Returns the place of the first byte copied and their number, which is 0 at the end.
pub fn remembered(place: u64, to: &mut [u8]) -> (u64, usize) {
    let mut copied = (place, 0);
    with_ring(|ring| {
        let oldest = ring.farthest.saturating_sub(RING_BYTES);
        let start = usize::try_from(place).unwrap_or(usize::MAX).clamp(oldest, ring.written);
        let count = (ring.written - start).min(to.len());
        let (first, second) = ring.bytes.split_at(start % RING_BYTES);
        let head = count.min(second.len());
        to[..head].copy_from_slice(&second[..head]);
        to[head..count].copy_from_slice(&first[..count - head]);
        copied = (start as u64, count);
    });
    copied
}

struct Ring {
    bytes: [u8; RING_BYTES],
    /// Bytes taken and put since the start; their difference never exceeds the ring.
    read: usize,
    written: usize,
    /// The most bytes that were ever put, also of lines that found no room in the end: older ones are gone.
    farthest: usize,
    lost: u32,
    console: Console,
}

impl Ring {
    /// Puts a whole line, or counts it as lost.
    fn line(&mut self, component: &str, text: fmt::Arguments<'_>) {
        let start = self.written;
        let lost = self.lost;
        let told = lost == 0
            || (write!(Clean(self), "kernel: log full dropped_lines={lost}").is_ok() && self.push(b'\n').is_ok());
        let written = told
            && write!(Clean(self), "{component}: ").is_ok()
            && Clean(self).write_fmt(text).is_ok()
            && self.push(b'\n').is_ok();
        if written {
            self.lost = 0;
        } else {
            self.written = start;
            self.lost = lost.saturating_add(1);
        }
    }

    fn is_waiting(&self) -> bool {
        self.read != self.written || self.console.is_waiting()
    }

    /// Hands a part of what waits to `send`, at most `at_most` bytes; returns how many it took.
    fn send(&mut self, at_most: usize, send: &mut impl FnMut(&[u8]) -> usize) -> usize {
        if self.read != self.written && !self.console.is_under_way() {
            // The console's turn comes where the log is at the end of a line, so within one of its lines this does
            // nothing.
            self.console.interrupt();
        }
        if self.read == self.written || self.console.is_under_way() {
            return self.console.send(send);
        }
        let start = self.read % RING_BYTES;
        let waiting = self.written - self.read;
        let end = (start + waiting.min(at_most)).min(RING_BYTES);
        let sent = send(&self.bytes[start..end]);
        self.read += sent;
        sent
    }

    /// All of it, with what is not printable replaced; a line of a task that stops is long, and put within one entry.
    fn push_ascii(&mut self, text: &[u8]) -> fmt::Result {
        if text.len() > RING_BYTES - (self.written - self.read) {
            return Err(fmt::Error);
        }
        let (before, after) = self.bytes.split_at_mut(self.written % RING_BYTES);
        let (head, tail) = text.split_at(text.len().min(after.len()));
        let is_clean = |byte: &u8| holds(Check::LogText, matches!(byte, b' '..=b'~'));
        let clean = |(place, byte): (&mut u8, &u8)| *place = if is_clean(byte) { *byte } else { b'?' };
        after.iter_mut().zip(head).for_each(clean);
        before.iter_mut().zip(tail).for_each(clean);
        self.written += text.len();
        self.farthest = self.farthest.max(self.written);
        Ok(())
    }

    fn push(&mut self, byte: u8) -> fmt::Result {
        if self.written - self.read == RING_BYTES {
            return Err(fmt::Error);
        }
        self.bytes[self.written % RING_BYTES] = byte;
        self.written += 1;
        self.farthest = self.farthest.max(self.written);
        Ok(())
    }
}

/// Puts text into the ring with everything but printable ASCII replaced.
struct Clean<'a>(&'a mut Ring);

impl Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.is_ascii() {
            return self.0.push_ascii(text.as_bytes());
        }
        text.chars().try_for_each(|character| {
            self.0.push(match character {
                ' '..='~' => character as u8,
                _ => b'?',
            })
        })
    }
}

struct Log {
    busy: AtomicBool,
    ring: UnsafeCell<Ring>,
}

// SAFETY: the ring is only reached through `with_ring`, which lets one user in at a time.
unsafe impl Sync for Log {}

static LOG: Log = Log {
    busy: AtomicBool::new(false),
    ring: UnsafeCell::new(Ring {
        bytes: [0; RING_BYTES],
        read: 0,
        written: 0,
        farthest: 0,
        lost: 0,
        console: Console::new(),
    }),
};

/// Uses the ring, unless it is in use already: a machine check within a log line must not wait for that line.
fn with_ring(work: impl FnOnce(&mut Ring)) {
    if LOG.busy.swap(true, Ordering::Acquire) {
        return;
    }
    // SAFETY: `busy` was clear and is now set, so nobody else has a reference until it is cleared below.
    work(unsafe { &mut *LOG.ring.get() });
    LOG.busy.store(false, Ordering::Release);
}

/// Lets a panic write although it may have struck within a log line.
///
/// # Safety
/// Nobody may go on after this with a line that was being written.
pub unsafe fn force_free() {
    LOG.busy.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    /// One test for the ring, because it is one for the whole process.
    #[test]
    fn lines_come_out_whole_and_clean() {
        let collect = || {
            let mut bytes = Vec::new();
            while drain(100, |part| {
                let take = part.len().min(7);
                bytes.extend_from_slice(&part[..take]);
                take
            }) {}
            String::from_utf8(bytes).unwrap()
        };
        collect();
        line("nvme", format_args!("a\nkernel: forged\r\x1b[2J é"));
        assert_eq!(collect(), "nvme: a?kernel: forged??[2J ?\n");
        while task_line("task", format_args!("0123456789")) {}
        line("kernel", format_args!("there is room for the kernel"));
        let text = collect();
        assert!(text.ends_with("task: 0123456789\nkernel: there is room for the kernel\n"));
        for _ in 0..RING_BYTES {
            line("x", format_args!("0123456789"));
        }
        let text = collect();
        assert!(text.lines().all(|line| line == "x: 0123456789"));
        line("x", format_args!("after"));
        let text = collect();
        assert!(text.starts_with("kernel: log full dropped_lines=") && text.ends_with("\nx: after\n"), "{text}");

        assert!(console_text(b"typ"));
        assert_eq!(collect(), "> typ");
        line("y", format_args!("event"));
        assert_eq!(collect(), "\r\ny: event\n");
        assert!(console_interrupted(false) && console_interrupted(true) && !console_interrupted(true));
        assert!(console_text(b"ed\ncharter: boot complete\n"));
        assert_eq!(collect(), "> ed\r\n> charter: boot complete\r\n");

        let mut bytes = [0; 4096];
        let (mut place, mut all) = (0, Vec::new());
        loop {
            let (start, count) = remembered(place, &mut bytes);
            assert!(place == start || (place == 0 && start > 0), "only the oldest is gone");
            all.extend_from_slice(&bytes[..count]);
            place = start + count as u64;
            if count == 0 {
                break;
            }
        }
        let text = String::from_utf8(all).unwrap();
        assert!(text.ends_with("\nx: after\ny: event\n") && text.len() <= RING_BYTES, "no console's text in it");
        assert_eq!(remembered(place, &mut bytes), (place, 0));
        assert_eq!(remembered(u64::MAX, &mut bytes), (place, 0));
        line("z", format_args!("!"));
        assert_eq!(remembered(place, &mut bytes).1, 5);
        assert_eq!(&bytes[..5], b"z: !\n");
        collect();
    }

    #[test]
    fn an_allowance_runs_out_and_comes_back() {
        let mut allowance = Allowance::full();
        for _ in 0..BURST_LINES {
            assert_eq!(allowance.take(1), Verdict::Write { dropped: 0 });
        }
        assert_eq!(allowance.take(1), Verdict::Drop);
        assert_eq!(allowance.take(2), Verdict::Drop);
        assert_eq!(allowance.take(LINE_NANOSECONDS + 2), Verdict::Write { dropped: 2 });
        assert_eq!(allowance.take(LINE_NANOSECONDS + 2), Verdict::Drop);
    }
}
