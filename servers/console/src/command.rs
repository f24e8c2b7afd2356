//! Which commands there are, and reading one.

use core::fmt;

use crate::Granted;
use task::{Name, number};

/// A command that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Shows which commands there are.
    Help,
    /// Shows the tasks.
    Tasks,
    /// Shows the PCI functions.
    Devices,
    /// Shows the disk.
    Disks,
    /// Reads blocks and shows their SHA-256 and first bytes.
    Read {
        /// Which namespace, as `disks` shows it.
        nsid: u32,
        /// First block.
        block: u64,
        /// Number of blocks.
        blocks: u32,
    },
    /// Reads a range of the disk and judges what `blockcheck` has written there.
    Verify {
        /// First block.
        block: u64,
        /// Number of blocks; up to the end, if left out.
        blocks: Option<u64>,
    },
    /// Measures calls and reads.
    Bench,
    /// Shows the last lines of the log.
    Log {
        /// How many.
        lines: u32,
    },
    /// Shows what machine this is, and how that is known.
    Cloud,
    /// Shows the machine's evidence, for `image-builder classify`.
    Record,
    /// Stops a task.
    Kill {
        /// Which.
        task: Name,
    },
    /// Switches the machine off.
    PowerOff,
    /// Resets the machine.
    Reboot,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake<'a> {
    /// There is no such command.
    Unknown(&'a str),
    /// The charter does not grant what it needs.
    NotGranted(&'a str),
    /// Its words make no sense; this is how it is used.
    Usage(&'static str),
}

impl fmt::Display for Mistake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "there is no command `{word}`; `help` shows which there are"),
            Self::NotGranted(word) => write!(f, "`{word}` is not granted by the charter; `help` shows what is"),
            Self::Usage(usage) => write!(f, "usage: {usage}"),
        }
    }
}

/// A command as `help` shows it.
pub struct Entry {
    /// Its first word.
    name: &'static str,
    /// How it is used.
    pub usage: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Whether the charter grants what it needs.
    pub is_granted: fn(&Granted) -> bool,
    read: fn(&[&str]) -> Option<Command>,
}

const LOG_LINES: u32 = 20;

/// Every command.
pub const ENTRIES: [Entry; 13] = [
    Entry {
        name: "help",
        usage: "help",
        about: "shows these lines",
        is_granted: |_| true,
        read: |words| words.is_empty().then_some(Command::Help),
    },
    Entry {
        name: "tasks",
        usage: "tasks",
        about: "every task: state, priority, generation, time",
        is_granted: |granted| granted.tasks.is_some(),
        read: |words| words.is_empty().then_some(Command::Tasks),
    },
    Entry {
        name: "devices",
        usage: "devices",
        about: "every PCI function, and which are granted",
        is_granted: |granted| granted.devices.is_some(),
        read: |words| words.is_empty().then_some(Command::Devices),
    },
    Entry {
        name: "disks",
        usage: "disks",
        about: "the disk that this console may read",
        is_granted: |granted| granted.disk.is_some(),
        read: |words| words.is_empty().then_some(Command::Disks),
    },
    Entry {
        name: "read",
        usage: "read NSID LBA [COUNT]",
        about: "SHA-256 and first bytes of blocks",
        is_granted: |granted| granted.disk.is_some(),
        read: |words| match *words {
            [nsid, block] => Some(Command::Read { nsid: number(nsid)?, block: number(block)?, blocks: 1 }),
            [nsid, block, blocks] => {
                let blocks = number(blocks).filter(|blocks| *blocks > 0)?;
                Some(Command::Read { nsid: number(nsid)?, block: number(block)?, blocks })
            }
            _ => None,
        },
    },
    Entry {
        name: "verify",
        usage: "verify [LBA [COUNT]]",
        about: "reads a range, judges patterns of `blockcheck`",
        is_granted: |granted| granted.disk.is_some(),
        read: |words| match *words {
            [] => Some(Command::Verify { block: 0, blocks: None }),
            [block] => Some(Command::Verify { block: number(block)?, blocks: None }),
            [block, blocks] => Some(Command::Verify { block: number(block)?, blocks: Some(number(blocks)?) }),
            _ => None,
        },
    },
    Entry {
        name: "bench",
        usage: "bench",
        about: "what system calls, calls and reads cost",
        is_granted: |_| true,
        read: |words| words.is_empty().then_some(Command::Bench),
    },
    Entry {
        name: "log",
        usage: "log [LINES]",
        about: "the last lines of the log",
        is_granted: |granted| granted.history.is_some(),
        read: |words| match *words {
            [] => Some(Command::Log { lines: LOG_LINES }),
            [lines] => Some(Command::Log { lines: number(lines)? }),
            _ => None,
        },
    },
    Entry {
        name: "cloud",
        usage: "cloud",
        about: "what machine this is, and how that is known",
        is_granted: |granted| granted.cloud.is_some(),
        read: |words| words.is_empty().then_some(Command::Cloud),
    },
    Entry {
        name: "record",
        usage: "record",
        about: "the evidence, for `image-builder classify`",
        is_granted: |granted| granted.cloud.is_some(),
        read: |words| words.is_empty().then_some(Command::Record),
    },
    Entry {
        name: "kill",
        usage: "kill TASK",
        about: "stops a task as if it had failed",
        is_granted: |granted| granted.kills.iter().any(Option::is_some),
        read: |words| match *words {
            [task] => Some(Command::Kill { task: task.try_into().ok()? }),
            _ => None,
        },
    },
    Entry {
        name: "power",
        usage: "power off",
        about: "flushes, and switches the machine off",
        is_granted: |granted| granted.off.is_some(),
        read: |words| (words == ["off"]).then_some(Command::PowerOff),
    },
    Entry {
        name: "reboot",
        usage: "reboot",
        about: "flushes, and resets the machine",
        is_granted: |granted| granted.reboot.is_some(),
        read: |words| words.is_empty().then_some(Command::Reboot),
    },
];

/// Reads a line; `None` for an empty one.
///
/// # Errors
/// What is wrong with it.
pub fn read<'a>(line: &'a str, granted: &Granted) -> Option<Result<Command, Mistake<'a>>> {
    /// More words than any command has.
    const WORDS: usize = 5;
    let mut words: heapless::Vec<&str, WORDS> = heapless::Vec::new();
    for word in line.split_ascii_whitespace() {
        // Beyond them no command makes sense of the line either.
        let _ = words.push(word);
    }
    let (name, rest) = words.split_first()?;
    Some(match ENTRIES.iter().find(|entry| entry.name == *name) {
        None => Err(Mistake::Unknown(name)),
        Some(entry) if !(entry.is_granted)(granted) => Err(Mistake::NotGranted(name)),
        Some(entry) => (entry.read)(rest).ok_or(Mistake::Usage(entry.usage)),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::terminal::tests::console;
    use std::string::ToString;
    use task::abi::start::GRANTS_MAX;
    use task::abi::start::Granted as Started;
    use task::{Call, Grant, Inspect, Kill, Power, Window};

    pub(crate) fn nothing() -> Granted {
        let console = console();
        Granted {
            console,
            tasks: None,
            devices: None,
            history: None,
            disk: None,
            cloud: None,
            off: None,
            reboot: None,
            kills: [None; GRANTS_MAX],
        }
    }

    pub(crate) fn everything() -> Granted {
        let inspect = |handle| Inspect::from_granted(&Started::Inspect { handle });
        let power = |handle| Power::from_granted(&Started::Power { handle });
        let call = |handle| Call::from_granted(&Started::Call { handle, bits: 0 });
        let mut kills = [None; GRANTS_MAX];
        kills[0] = Kill::from_granted(&Started::Kill { handle: 8 });
        Granted {
            kills,
            tasks: inspect(1),
            devices: inspect(2),
            history: inspect(3),
            disk: call(4).map(|call| (call, Window::host(4096, true))),
            cloud: call(5),
            off: power(6),
            reboot: power(7),
            ..nothing()
        }
    }

    #[test]
    fn commands_are_read_with_their_numbers() {
        let granted = everything();
        let read = |line| read(line, &granted);
        assert_eq!(read(""), None);
        assert_eq!(read("   "), None);
        assert_eq!(read(" tasks "), Some(Ok(Command::Tasks)));
        assert_eq!(read("read 2 0x10"), Some(Ok(Command::Read { nsid: 2, block: 16, blocks: 1 })));
        assert_eq!(read("read 2 7 8"), Some(Ok(Command::Read { nsid: 2, block: 7, blocks: 8 })));
        assert_eq!(read("verify 5"), Some(Ok(Command::Verify { block: 5, blocks: None })));
        assert_eq!(read("log 3"), Some(Ok(Command::Log { lines: 3 })));
        assert_eq!(read("power off"), Some(Ok(Command::PowerOff)));
        assert_eq!(read("kill nvme"), Some(Ok(Command::Kill { task: "nvme".try_into().unwrap() })));
    }

    #[test]
    fn mistakes_are_told_apart() {
        let granted = everything();
        let told = |line| read(line, &granted).unwrap().unwrap_err().to_string();
        assert_eq!(told("shutdown now"), "there is no command `shutdown`; `help` shows which there are");
        assert_eq!(told("power"), "usage: power off");
        assert_eq!(told("power on"), "usage: power off");
        for line in [
            "read 2",
            "read x 0",
            "read 2 -1",
            "read 2 0 99999999999",
            "read 2 0 0",
            "read 2 0 1 1",
            "read 1 2 3 4 5 6 7",
        ] {
            assert_eq!(told(line), "usage: read NSID LBA [COUNT]", "{line}");
        }
        let told = read("tasks", &nothing()).unwrap().unwrap_err().to_string();
        assert_eq!(told, "`tasks` is not granted by the charter; `help` shows what is");
    }

    #[test]
    fn without_grants_there_is_little() {
        let left = ENTRIES.iter().filter(|entry| (entry.is_granted)(&nothing())).map(|entry| entry.name);
        assert!(left.eq(["help", "bench"]));
        assert!(ENTRIES.iter().all(|entry| (entry.is_granted)(&everything())));
    }
}
