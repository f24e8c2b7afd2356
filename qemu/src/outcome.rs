//! What a log line means for a run: the system is up, it has failed, or neither yet.

use crate::serial::Event;

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every required task has started.
    Complete,
    /// The system will not come up; the line that says so.
    Failed(String),
}

impl Outcome {
    /// What this line decides, if anything.
    pub fn of(event: &Event) -> Option<Self> {
        match (event.component.as_str(), event.event.as_str()) {
            ("charter", "boot complete") => Some(Self::Complete),
            ("charter", "boot incomplete") => Some(Self::Failed(event.to_string())),
            // The UEFI application refused the package or this machine.
            ("boot", words) if starts_with_word(words, "refused") => Some(Self::Failed(event.to_string())),
            ("kernel", words) if starts_with_word(words, "panic") => Some(Self::Failed(event.to_string())),
            _ => None,
        }
    }
}

fn starts_with_word(words: &str, word: &str) -> bool {
    words.split(' ').next() == Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &str) -> Option<Outcome> {
        Outcome::of(&Event::parse(line).unwrap())
    }

    #[test]
    fn only_the_right_component_decides() {
        assert_eq!(outcome("charter: boot complete tasks=4"), Some(Outcome::Complete));
        assert_eq!(outcome("reader: boot complete tasks=4"), None);
        assert_eq!(outcome("charter: boot"), None);
        assert_eq!(outcome("nvme: panic message=x"), None);
    }

    #[test]
    fn a_failure_carries_its_line() {
        for line in [
            "charter: boot incomplete waiting=nvme",
            "kernel: panic message=\"no memory\"",
            "boot: refused reason=\"boot package damaged\"",
        ] {
            assert_eq!(outcome(line), Some(Outcome::Failed(line.into())));
        }
    }
}
