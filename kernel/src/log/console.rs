//! The console's text on its way to the serial port, between the lines of the log.
//!
//! Each of its lines begins with [`CONSOLE_PREFIX`], which no line of the log does, and holds printable ASCII alone, so
//! no text of the console is, or looks like, an event. A backspace takes back what the console itself has written on
//! an unfinished line and never the prefix. When the log has a line to write while one of the console's is unfinished,
//! that one is ended first, and the console is told.

use abi::system_call::{CONSOLE_BYTES_MAX, CONSOLE_PREFIX};
use heapless::{Deque, Vec};

/// Bytes of text that may wait for the serial port.
const WAITING_BYTES: usize = 2048;
const _: () = assert!(WAITING_BYTES >= CONSOLE_BYTES_MAX);
/// Bytes that are handed to the serial port at once: as many as its FIFO takes.
const PART_BYTES: usize = 16;
/// Most bytes that one byte of text becomes: a prefix and a line's end.
const EXPANDED_BYTES: usize = CONSOLE_PREFIX.len() + 3;

const BACKSPACE: u8 = 8;

/// What the console has written and the serial port not yet taken.
pub struct Console {
    waiting: Deque<u8, WAITING_BYTES>,
    /// What the port has to take before anything else, and how much of it it has taken.
    part: Vec<u8, { PART_BYTES + EXPANDED_BYTES }>,
    taken: usize,
    /// Characters on its unfinished line, if it has begun one.
    column: Option<u32>,
    /// Whether the log has ended such a line and nothing was written since, for the console to be told.
    interrupted: bool,
    /// The same, for a line's end that is still to come: it would be one too many.
    ended: bool,
}

impl Console {
    /// Nothing written.
    pub const fn new() -> Self {
        Self { waiting: Deque::new(), part: Vec::new(), taken: 0, column: None, interrupted: false, ended: false }
    }

    /// Takes text, all of it or none. Returns whether there was room.
    pub fn write(&mut self, text: &[u8]) -> bool {
        let room = self.waiting.capacity() - self.waiting.len() >= text.len();
        if room {
            // There is room for each.
            text.iter().for_each(|byte| {
                let _ = self.waiting.push_back(*byte);
            });
        }
        room
    }

    /// Whether something waits for the serial port.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.is_under_way()
    }

    /// Whether the port has something to take before anything else.
    pub fn is_under_way(&self) -> bool {
        self.taken < self.part.len()
    }

    /// Ends an unfinished line, because the log has one to write, while nothing is under way: [`Console::send`]
    /// then has the bytes for it.
    pub fn interrupt(&mut self) {
        if self.column.take().is_some() {
            self.interrupted = true;
            self.ended = true;
            self.part.clear();
            self.taken = 0;
            self.expand(b"\r\n");
        }
    }

    /// Whether [`Console::interrupt`] ended a line since this was last asked, and nothing was written since.
    pub fn take_interrupted(&mut self) -> bool {
        core::mem::take(&mut self.interrupted)
    }

    /// Whether [`Console::interrupt`] ended a line that nobody has asked for yet.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Hands the next few bytes to `send`; returns how many it took.
    pub fn send(&mut self, send: &mut impl FnMut(&[u8]) -> usize) -> usize {
        if !self.is_under_way() {
            self.part.clear();
            self.taken = 0;
            while self.part.len() < PART_BYTES
                && let Some(byte) = self.waiting.pop_front()
            {
                self.begin(byte);
            }
        }
        let rest = &self.part[self.taken..];
        let sent = if rest.is_empty() { 0 } else { send(rest).min(rest.len()) };
        self.taken += sent;
        sent
    }

    fn begin(&mut self, byte: u8) {
        if byte == BACKSPACE {
            if let Some(column @ 1..) = self.column {
                self.column = Some(column - 1);
                self.expand(b"\x08 \x08");
            }
            return;
        }
        self.interrupted = false;
        if core::mem::take(&mut self.ended) && byte == b'\n' {
            return;
        }
        if self.column.is_none() {
            self.expand(CONSOLE_PREFIX.as_bytes());
        }
        if byte == b'\n' {
            self.column = None;
            self.expand(b"\r\n");
        } else {
            self.column = Some(self.column.unwrap_or(0).saturating_add(1));
            self.expand(&[if matches!(byte, b' '..=b'~') { byte } else { b'?' }]);
        }
    }

    fn expand(&mut self, bytes: &[u8]) {
        // They fit: a part grows only while it is short.
        let _ = self.part.extend_from_slice(bytes);
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    /// Everything that comes out, through a port that takes `at_once` bytes and then none, and so on.
    fn sent(console: &mut Console, at_once: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while console.is_waiting() {
            let mut room = at_once;
            console.send(&mut |part| {
                let take = part.len().min(room);
                room -= take;
                bytes.extend_from_slice(&part[..take]);
                take
            });
        }
        bytes
    }

    fn text(console: &mut Console, text: &[u8]) -> String {
        assert!(console.write(text));
        String::from_utf8(sent(console, 1)).unwrap()
    }

    #[test]
    fn every_line_begins_with_the_prefix() {
        let mut console = Console::new();
        assert_eq!(text(&mut console, b"one\n\ntwo"), "> one\r\n> \r\n> two");
        assert_eq!(text(&mut console, b" and\n"), " and\r\n");
        assert_eq!(text(&mut console, b"\r\x1b[2Jcharter: boot complete\xff\n"), "> ??[2Jcharter: boot complete?\r\n");
    }

    #[test]
    fn a_backspace_takes_back_what_was_written_and_never_the_prefix() {
        let mut console = Console::new();
        assert_eq!(text(&mut console, b"\x08ab\x08\x08\x08\x08c"), "> ab\x08 \x08\x08 \x08c");
        assert_eq!(text(&mut console, b"\n\x08\x08"), "\r\n");
    }

    #[test]
    fn an_interrupted_line_ends_and_the_rest_begins_anew() {
        let mut console = Console::new();
        console.interrupt();
        assert!(!console.is_waiting() && !console.take_interrupted(), "no line was begun");
        text(&mut console, b"ab");
        console.interrupt();
        assert_eq!(sent(&mut console, 1), b"\r\n");
        assert!(console.take_interrupted() && !console.take_interrupted());
        assert_eq!(text(&mut console, b"c\n"), "> c\r\n");
    }

    #[test]
    fn who_goes_on_after_an_interruption_is_not_told_and_ends_no_line_twice() {
        let mut console = Console::new();
        text(&mut console, b"$ help");
        console.interrupt();
        assert_eq!(text(&mut console, b"\nanswer\n$ "), "\r\n> answer\r\n> $ ");
        assert!(!console.take_interrupted());
        console.interrupt();
        assert_eq!(text(&mut console, b"\n\n"), "\r\n> \r\n", "one end was due, the other is an empty line");
    }

    #[test]
    fn what_finds_no_room_is_refused_whole() {
        let mut console = Console::new();
        let mut taken = 0;
        while console.write(&[b'x'; 100]) {
            taken += 100;
        }
        assert!(taken <= WAITING_BYTES && taken + 100 > WAITING_BYTES);
        assert_eq!(sent(&mut console, 3).len(), taken + CONSOLE_PREFIX.len());
    }

    proptest! {
        /// Whatever is written, through whatever port: every line begins with the prefix and is printable.
        #[test]
        fn no_bytes_make_a_line_of_the_log(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..20),
            at_once in 1usize..20,
        ) {
            let mut console = Console::new();
            let mut bytes = Vec::new();
            for (part, interrupt) in parts {
                prop_assert!(console.write(&part));
                bytes.extend(sent(&mut console, at_once));
                if interrupt {
                    console.interrupt();
                }
            }
            bytes.extend(sent(&mut console, at_once));
            let text = String::from_utf8(bytes).unwrap();
            for line in text.split_terminator("\r\n") {
                let rest = line.strip_prefix(CONSOLE_PREFIX);
                prop_assert!(rest.is_some(), "{line:?}");
                // The cursor never comes back to the prefix.
                let mut column = 0i64;
                for byte in rest.unwrap().bytes() {
                    prop_assert!(matches!(byte, b' '..=b'~' | 8));
                    column += if byte == 8 { -1 } else { 1 };
                    prop_assert!(column >= 0, "{line:?}");
                }
            }
        }
    }
}
