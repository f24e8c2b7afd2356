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
    pub fn of(line: &str) -> Option<Self> {
        let failed = || Some(Self::Failed(line.to_owned()));
        // A panic's text is whatever it is, so these two are not parsed. The UEFI application speaks only when it
        // starts nothing.
        if line.starts_with("kernel: panic") || line.starts_with("boot: ") {
            return failed();
        }
        let event = Event::parse(line).ok()?;
        if event.is("charter", "boot complete") {
            Some(Self::Complete)
        } else if event.is("charter", "boot incomplete") {
            failed()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_component_decides() {
        assert_eq!(Outcome::of("charter: boot complete tasks=4"), Some(Outcome::Complete));
        assert_eq!(Outcome::of("reader: boot complete tasks=4"), None);
        assert_eq!(Outcome::of("charter: boot"), None);
        assert_eq!(Outcome::of("nvme: kernel: panic"), None);
        assert_eq!(Outcome::of("BdsDxe: starting Boot0001"), None);
    }

    #[test]
    fn a_failure_carries_its_line() {
        for line in [
            "charter: boot incomplete task=nvme reason=could-not-start",
            "kernel: panic panicked at kernel/src/start.rs:1:2: a=\"b",
            "boot: package refused: boot package damaged: checksum 0x00000001, expected 0x00000002",
        ] {
            assert_eq!(Outcome::of(line), Some(Outcome::Failed(line.into())));
        }
    }
}
