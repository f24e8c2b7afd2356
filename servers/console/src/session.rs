//! From bytes that were typed to commands, with prompt and echo.

use core::time::Duration;

use task::Deadline;

use crate::command::{self, Command, ENTRIES};
use crate::line::{Line, Typed};
use crate::terminal::Terminal;
use crate::{Granted, bench, cloud, disk, say, system};

/// What stands before the line that is being typed, behind the kernel's own prefix.
const PROMPT: &str = "$ ";
/// How long the log must be quiet until a line that it went between is shown again.
const QUIET: Duration = Duration::from_millis(150);

/// What the session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    /// The end of the boot: before, there is no prompt.
    Boot,
    /// Something to be typed, behind a prompt.
    Shown,
    /// The same; a line of the log went between, and the prompt is shown again when the log is quiet.
    Interrupted,
}

/// A session at the console.
#[derive(Debug)]
pub struct Session {
    granted: Granted,
    terminal: Terminal,
    line: Line,
    prompt: Prompt,
}

impl Session {
    /// Before anything was typed.
    pub fn new(granted: Granted) -> Self {
        let terminal = Terminal::new(granted.console);
        Self { granted, terminal, line: Line::default(), prompt: Prompt::Boot }
    }

    /// Serves what is typed, for ever; returns if there is no serial port.
    pub fn run(mut self) -> Result<(), task::abi::Error> {
        loop {
            let typed = self.granted.console.read()?;
            if !typed.state.present {
                return Ok(());
            }
            if self.prompt == Prompt::Boot && typed.state.boot_told {
                say!(self.terminal, "this is the console: `help` shows what the charter lets it do");
                self.show_prompt();
            }
            if typed.state.interrupted && self.prompt == Prompt::Shown {
                self.prompt = Prompt::Interrupted;
            }
            typed.bytes().iter().for_each(|byte| self.take(*byte));
            if typed.lost > 0 {
                say!(self.terminal, "\n{} characters lost: typed faster than they were taken", typed.lost);
                self.show_prompt();
            }
            self.terminal.flush();
            if typed.bytes().is_empty() {
                self.wait();
            }
        }
    }

    /// Waits for something to be typed, or for the time to show the prompt again.
    fn wait(&mut self) {
        if self.prompt != Prompt::Interrupted {
            // Never times out; whatever ends it, the next look tells.
            let _ = task::wait(Deadline::NEVER);
        } else if task::wait(Deadline::after(QUIET)).is_err() {
            self.show_prompt();
        }
    }

    fn show_prompt(&mut self) {
        self.prompt = Prompt::Shown;
        self.terminal.text(PROMPT);
        self.terminal.text(self.line.text());
        self.terminal.flush();
    }

    /// Takes a byte that was typed.
    fn take(&mut self, byte: u8) {
        if self.prompt == Prompt::Interrupted {
            self.show_prompt();
        }
        match self.line.type_byte(byte) {
            Typed::Nothing => {}
            Typed::Added(character) => self.terminal.text(character.encode_utf8(&mut [0; 4])),
            Typed::Removed(count) => (0..count).for_each(|_| self.terminal.text("\x08")),
            Typed::Cancelled => {
                self.terminal.text("^C\n");
                self.show_prompt();
            }
            Typed::Complete => {
                self.terminal.text("\n");
                self.terminal.flush();
                let line = self.line.take();
                match command::read(&line, &self.granted) {
                    None => {}
                    Some(Ok(command)) => self.execute(command),
                    Some(Err(mistake)) => say!(self.terminal, "{mistake}"),
                }
                self.show_prompt();
            }
        }
    }

    fn execute(&mut self, command: Command) {
        let (granted, terminal) = (&self.granted, &mut self.terminal);
        match command {
            Command::Help => {
                for entry in ENTRIES.iter().filter(|entry| (entry.is_granted)(granted)) {
                    say!(terminal, "{:22} {}", entry.usage, entry.about);
                }
            }
            Command::Tasks => granted.tasks.iter().for_each(|tasks| system::tasks(*tasks, terminal)),
            Command::Devices => granted.devices.iter().for_each(|devices| system::devices(*devices, terminal)),
            Command::Log { lines } => granted.history.iter().for_each(|log| system::log(*log, lines, terminal)),
            Command::Disks => granted.disk.iter().for_each(|(call, _)| disk::show(*call, terminal)),
            Command::Read { nsid, block, blocks } => {
                granted.disk.iter().for_each(|(call, data)| disk::read(*call, data, nsid, block, blocks, terminal));
            }
            Command::Verify { block, blocks } => {
                granted.disk.iter().for_each(|(call, data)| disk::verify(*call, data, block, blocks, terminal));
            }
            Command::Bench => bench::run(granted, terminal),
            Command::Cloud => granted.cloud.iter().for_each(|call| cloud::verdict(*call, terminal)),
            Command::Record => granted.cloud.iter().for_each(|call| cloud::record(*call, terminal)),
            Command::Kill { task } => system::kill(&granted.kills, &task, terminal),
            Command::PowerOff => granted.off.iter().for_each(|power| system::end(*power, granted.disk, terminal)),
            Command::Reboot => granted.reboot.iter().for_each(|power| system::end(*power, granted.disk, terminal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::{everything, nothing};
    use crate::terminal::tests::written;
    use std::string::String;
    use std::vec::Vec;
    use task::abi::system_call::{ConsoleState, Number};
    use task::{Frame, host};

    /// What a session answers to what is typed, in pieces; the port disappears afterwards, so that it ends.
    fn answers(granted: Granted, pieces: &'static [(&'static str, bool)]) -> String {
        let mut pieces = pieces.iter().copied();
        let kernel = move |frame: &mut Frame, _: &mut [u8]| match Number::new(frame.code) {
            Some(Number::ConsoleRead) => {
                let mut state = ConsoleState { present: false, boot_told: true, interrupted: false };
                frame.arguments = [0; 4];
                if let Some((text, interrupted)) = pieces.next() {
                    state = ConsoleState { present: true, interrupted, ..state };
                    let mut bytes = [0; 48];
                    bytes[..text.len()].copy_from_slice(text.as_bytes());
                    let words: Vec<_> =
                        bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
                    frame.words = words.try_into().unwrap();
                    frame.arguments[1] = text.len() as u64;
                }
                frame.arguments[0] = state.to_word();
            }
            Some(Number::ReplyReceive) => host::fail(frame, task::abi::Error::TimedOut),
            _ => {}
        };
        written(kernel, |_| Session::new(granted).run().unwrap())
    }

    const BANNER: &str = "this is the console: `help` shows what the charter lets it do\n$ ";

    fn after_banner(text: &str) -> &str {
        text.strip_prefix(BANNER).unwrap_or_else(|| panic!("{text:?}"))
    }

    #[test]
    fn what_is_typed_is_echoed_and_answered() {
        let text = answers(nothing(), &[("he", false), ("lx\x08p\r", false)]);
        assert!(after_banner(&text).starts_with("helx\x08p\nhelp "), "{text:?}");
        assert!(text.ends_with("\n$ "), "{text:?}");
        assert!(text.contains("bench") && !text.contains("power"), "what is not granted is not shown");
        let text = answers(everything(), &[("help\r", false)]);
        assert!(text.contains("power off") && text.contains("record"), "{text:?}");
    }

    #[test]
    fn mistakes_and_cancelled_lines_give_a_new_prompt() {
        let text = answers(nothing(), &[("reed\r", false), ("abc\x03\r", false)]);
        let rest = "reed\nthere is no command `reed`; `help` shows which there are\n$ abc^C\n$ \n$ ";
        assert_eq!(after_banner(&text), rest);
    }

    #[test]
    fn a_line_that_the_log_went_between_is_shown_again() {
        let text = answers(nothing(), &[("ab", false), ("", true), ("", false), ("c", false)]);
        assert_eq!(after_banner(&text), "ab$ abc");
        let text = answers(nothing(), &[("ab", false), ("c", true)]);
        assert_eq!(after_banner(&text), "ab$ abc", "at once, when something is typed");
    }
}
