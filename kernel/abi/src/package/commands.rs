//! Which commands a limit allows, by the names that the NVMe standard gives them.

use serde::{Deserialize, Serialize};

use super::Limit;
use crate::named::named;

/// A command on blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Makes durable what was written.
    Flush,
    /// Writes blocks from memory.
    Write,
    /// Reads blocks into memory.
    Read,
    /// Compares blocks with memory.
    Compare,
    /// Makes blocks read as zeroes.
    WriteZeroes,
    /// Says that the contents of blocks are not needed any more.
    DatasetManagement,
    /// Checks that blocks can be read.
    Verify,
}

named! { Command:
    Flush "flush",
    Write "write",
    Read "read",
    Compare "compare",
    WriteZeroes "write-zeroes",
    DatasetManagement "dataset-management",
    Verify "verify",
}

impl Command {
    /// Whether it may change blocks, which a limit must let be written then.
    pub const fn changes_blocks(self) -> bool {
        matches!(self, Self::Write | Self::WriteZeroes | Self::DatasetManagement)
    }
}

/// A set of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands(u8);

impl Commands {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self((1 << Command::ALL.len()) - 1);

    /// With one more.
    #[must_use]
    pub const fn with(self, command: Command) -> Self {
        Self(self.0 | 1 << command as u8)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether this one is among them.
    pub const fn contains(self, command: Command) -> bool {
        self.0 & 1 << command as u8 != 0
    }

    /// Whether every one of the others is among them.
    pub const fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Command> {
        Command::ALL.iter().copied().filter(move |command| self.contains(*command))
    }

    /// Those that one of these limits allows on some blocks.
    pub fn allowed_by(limits: &[Limit]) -> Self {
        limits.iter().flat_map(|limit| limit.allowed().iter()).fold(Self::NONE, Self::with)
    }

    /// As a number of 8 bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From such a number; bits without a command are left out.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether there is a command for each of its bits, and one at all.
    pub(super) const fn is_good(self) -> bool {
        self.0 != 0 && Self::ALL.covers(self)
    }
}

impl FromIterator<Command> for Commands {
    fn from_iter<T: IntoIterator<Item = Command>>(commands: T) -> Self {
        commands.into_iter().fold(Self::NONE, Self::with)
    }
}

impl Limit {
    /// The commands that it allows: those that it lists, without those that change blocks where it lets none be written.
    pub fn allowed(&self) -> Commands {
        self.commands.iter().filter(|command| self.writable || !command.changes_blocks()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let some: Commands = [Command::Read, Command::Flush].into_iter().collect();
        assert!(some.iter().eq([Command::Flush, Command::Read]));
        assert!(Commands::ALL.covers(some) && !some.covers(Commands::ALL) && some.covers(some));
        assert!(Commands::ALL.iter().eq(Command::ALL.iter().copied()));
        assert_eq!((Commands::from_bits(some.bits()), Commands::from_bits(u8::MAX)), (some, Commands::ALL));
        assert!(some.is_good() && !Commands::NONE.is_good() && !Commands(0x80).is_good());
    }

    #[test]
    fn what_changes_blocks_is_allowed_only_where_they_may_be_written() {
        let whole = Limit::WHOLE_DEVICE;
        let reading = Limit { writable: false, ..whole };
        let listed = Limit { commands: Commands::NONE.with(Command::Write).with(Command::Compare), ..whole };
        assert_eq!(whole.allowed(), Commands::ALL);
        assert!(reading.allowed().iter().eq([Command::Flush, Command::Read, Command::Compare, Command::Verify]));
        assert!(Limit { writable: false, ..listed }.allowed().iter().eq([Command::Compare]));
        assert_eq!(Commands::allowed_by(&[]), Commands::NONE);
        assert!(Commands::allowed_by(&[reading, listed]).contains(Command::Write));
        assert!(!Commands::allowed_by(&[reading, listed]).contains(Command::WriteZeroes));
    }
}
