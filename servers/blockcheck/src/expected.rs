//! What each block should read as: four bytes a block.

use crate::pattern::{Generation, Seen};
use crate::plan::{Action, Step};

/// Generations are below this.
pub const GENERATIONS: Generation = 1 << 30;

/// What a block should read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nobody knows: it was never written, or a write of it failed.
    Unknown,
    /// This generation.
    Written(Generation),
    /// Zeroes.
    Zeroes,
    /// It was discarded: zeroes, ones, or what was there before, if that is known.
    Discarded(Option<Generation>),
}

impl Content {
    /// In four bytes; zero for [`Self::Unknown`].
    pub fn encode(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Written(generation) => generation,
            Self::Zeroes => GENERATIONS,
            Self::Discarded(before) => 2 << 30 | before.unwrap_or(0),
        }
    }

    /// From four bytes.
    pub fn decode(bytes: u32) -> Self {
        let generation = bytes & (GENERATIONS - 1);
        match bytes >> 30 {
            0 if generation == 0 => Self::Unknown,
            0 => Self::Written(generation),
            1 => Self::Zeroes,
            _ => Self::Discarded(Some(generation).filter(|generation| *generation > 0)),
        }
    }

    /// What it is after an operation on it.
    pub fn after(self, step: &Step) -> Self {
        match (step.action, self) {
            (Action::Write { .. }, _) => Self::Written(step.generation),
            (Action::WriteZeroes, _) => Self::Zeroes,
            (Action::Discard, Self::Written(before)) => Self::Discarded(Some(before)),
            (Action::Discard, Self::Zeroes) => Self::Discarded(None),
            (Action::Discard, Self::Unknown) => Self::Unknown,
            _ => self,
        }
    }

    /// Whether it may read as this.
    pub fn allows(self, seen: Seen) -> bool {
        match (self, seen) {
            (Self::Unknown, _) => true,
            (Self::Written(own), Seen::Written(generation)) => own == generation,
            (Self::Zeroes, Seen::Zeroes) => true,
            (Self::Discarded(_), Seen::Zeroes | Seen::Ones) => true,
            (Self::Discarded(before), Seen::Written(generation)) => before == Some(generation),
            _ => false,
        }
    }
}

impl core::fmt::Display for Content {
    /// As the value of a log line, with its further key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unknown => f.write_str("anything"),
            Self::Written(generation) => write!(f, "written generation={generation}"),
            Self::Zeroes => f.write_str("zeroes"),
            Self::Discarded(_) => f.write_str("discarded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(action: Action) -> Step {
        Step { generation: 9, action, first_block: 0, blocks: 1 }
    }

    #[test]
    fn four_bytes_hold_every_content() {
        for content in [
            Content::Unknown,
            Content::Written(1),
            Content::Written(GENERATIONS - 1),
            Content::Zeroes,
            Content::Discarded(None),
            Content::Discarded(Some(77)),
        ] {
            assert_eq!(Content::decode(content.encode()), content);
        }
        assert_eq!(Content::decode(0), Content::Unknown);
    }

    #[test]
    fn operations_change_what_is_allowed() {
        let written = Content::Written(5);
        assert!(written.allows(Seen::Written(5)));
        for wrong in [Seen::Written(4), Seen::Zeroes, Seen::Torn, Seen::OtherBlock(1), Seen::Foreign, Seen::Ones] {
            assert!(!written.allows(wrong), "{wrong:?}");
        }
        let write = step(Action::Write { durable: false });
        assert_eq!(written.after(&write), Content::Written(9));
        assert_eq!(written.after(&step(Action::Read)), written);
        let discarded = written.after(&step(Action::Discard));
        assert!(discarded.allows(Seen::Zeroes) && discarded.allows(Seen::Written(5)));
        assert!(!discarded.allows(Seen::Written(4)) && !discarded.allows(Seen::Torn));
        assert_eq!(discarded.after(&step(Action::WriteZeroes)), Content::Zeroes);
        assert!(!Content::Zeroes.allows(Seen::Written(5)));
    }
}
