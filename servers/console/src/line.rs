//! The line that is being typed: printable characters, backspace, Ctrl-U, Ctrl-C, Enter. Everything else, the arrows'
//! escape sequences among it, is passed over.

use heapless::String;

/// Longest line; what is typed beyond it is not taken.
pub const LINE_BYTES: usize = 100;

/// What a byte did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing that shows.
    Nothing,
    /// It was added to the line.
    Added(char),
    /// So many characters were taken back.
    Removed(usize),
    /// The line is complete.
    Complete,
    /// The line was given up.
    Cancelled,
}

/// Where in an escape sequence the bytes are (ECMA-48, 5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

/// A line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String<LINE_BYTES>,
    escape: Escape,
    after_return: bool,
}

impl Line {
    /// What stands on it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Empties it and returns what stood on it.
    pub fn take(&mut self) -> String<LINE_BYTES> {
        core::mem::take(&mut self.text)
    }

    /// Takes a byte that was typed.
    pub fn type_byte(&mut self, byte: u8) -> Typed {
        // Enter may come as a carriage return, a line feed, or both.
        let second_of_enter = core::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n';
        match (self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => {
                self.escape = Escape::Sequence;
                return Typed::Nothing;
            }
            (Escape::Sequence, b'0'..=b'?') => return Typed::Nothing,
            (Escape::Begun | Escape::Sequence, b' '..=b'~') => {
                self.escape = Escape::None;
                return Typed::Nothing;
            }
            _ => self.escape = Escape::None,
        }
        match byte {
            0x1b => {
                self.escape = Escape::Begun;
                Typed::Nothing
            }
            b'\n' if second_of_enter => Typed::Nothing,
            b'\r' | b'\n' => Typed::Complete,
            0x08 | 0x7f => self.text.pop().map_or(Typed::Nothing, |_| Typed::Removed(1)),
            // Ctrl-U
            0x15 => match self.take().len() {
                0 => Typed::Nothing,
                length => Typed::Removed(length),
            },
            // Ctrl-C
            0x03 => {
                self.text.clear();
                Typed::Cancelled
            }
            b' '..=b'~' => {
                let character = char::from(byte);
                self.text.push(character).map_or(Typed::Nothing, |()| Typed::Added(character))
            }
            _ => Typed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn typed(line: &mut Line, bytes: &[u8]) -> Vec<Typed> {
        bytes.iter().map(|byte| line.type_byte(*byte)).filter(|typed| *typed != Typed::Nothing).collect()
    }

    #[test]
    fn characters_are_added_and_taken_back() {
        let mut line = Line::default();
        typed(&mut line, b"tasl\x7fks");
        assert_eq!(line.text(), "tasks");
        assert_eq!(typed(&mut line, b"\x15\x08\x15"), [Typed::Removed(5)]);
        assert_eq!(typed(&mut line, b"x\x03"), [Typed::Added('x'), Typed::Cancelled]);
        assert_eq!(line.text(), "");
    }

    #[test]
    fn enter_is_one_whatever_it_sends() {
        for enter in [&b"\r"[..], b"\n", b"\r\n"] {
            let mut line = Line::default();
            assert_eq!(typed(&mut line, enter), [Typed::Complete]);
            assert_eq!(typed(&mut line, enter), [Typed::Complete]);
        }
        assert_eq!(typed(&mut Line::default(), b"\n\n"), [Typed::Complete, Typed::Complete]);
    }

    #[test]
    fn arrows_and_control_characters_are_passed_over() {
        let mut line = Line::default();
        typed(&mut line, b"a\x1b[A\x1b[1;5Cb\x1bOPc\x1bxd\x00\xff\te");
        assert_eq!(line.text(), "abcde");
    }

    #[test]
    fn a_line_is_bounded() {
        let mut line = Line::default();
        assert_eq!(typed(&mut line, &[b'x'; 500]).len(), LINE_BYTES);
        assert_eq!(line.take().len(), LINE_BYTES);
        assert_eq!(line.text(), "");
    }
}
