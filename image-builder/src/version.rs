//! Whether an image is newer than another one: an image with a good signature but a lower version brings back what was
//! mended since.
//!
//! The version is `system.version` of the charter. It lies in the boot package, under the signature.

use std::fmt;

use serde::Serialize;

use crate::authority::Authority;

/// From one system to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// To a higher version.
    Upgrade,
    /// To the same version.
    Same,
    /// To a lower version.
    Downgrade,
    /// One of them has no version, so that nothing can be said.
    Unknown,
    /// To a system of another name.
    AnotherSystem,
}

/// From which version to which, and what that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// The version that is replaced; 0 for none.
    pub old: u32,
    /// The version that replaces it.
    pub new: u32,
    /// What that is.
    pub step: Step,
}

/// What replacing one system with another does to the version.
pub fn change(old: &Authority, new: &Authority) -> VersionChange {
    let (before, after) = (old.system_version, new.system_version);
    let step = if old.system != new.system {
        Step::AnotherSystem
    } else if before == 0 || after == 0 {
        // A system that stops saying its version cannot hide a downgrade behind that.
        if before > after { Step::Downgrade } else { Step::Unknown }
    } else {
        match after.cmp(&before) {
            std::cmp::Ordering::Greater => Step::Upgrade,
            std::cmp::Ordering::Equal => Step::Same,
            std::cmp::Ordering::Less => Step::Downgrade,
        }
    };
    VersionChange { old: before, new: after, step }
}

impl VersionChange {
    /// Whether what was mended may come back.
    pub fn is_downgrade(&self) -> bool {
        self.step == Step::Downgrade
    }
}

impl fmt::Display for VersionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { old, new, step } = self;
        match step {
            Step::Upgrade => write!(f, "version {old} to {new}: an upgrade"),
            Step::Same => write!(f, "version {new}: the same"),
            Step::Downgrade => write!(f, "version {old} to {new}: a DOWNGRADE"),
            Step::Unknown => write!(f, "version {old} to {new}: 0 is none, neither upgrade nor downgrade"),
            Step::AnotherSystem => write!(f, "another system"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(old: (&str, u32), new: (&str, u32)) -> Step {
        let system =
            |(name, system_version): (&str, u32)| Authority { system: name.into(), system_version, tasks: Vec::new() };
        change(&system(old), &system(new)).step
    }

    #[test]
    fn a_lower_version_is_a_downgrade() {
        assert_eq!(step(("a", 3), ("a", 4)), Step::Upgrade);
        assert_eq!(step(("a", 3), ("a", 3)), Step::Same);
        assert_eq!(step(("a", 3), ("a", 2)), Step::Downgrade);
        assert_eq!(step(("a", 3), ("a", 0)), Step::Downgrade);
        assert_eq!(step(("a", 0), ("a", 1)), Step::Unknown);
        assert_eq!(step(("a", 0), ("a", 0)), Step::Unknown);
        assert_eq!(step(("a", 3), ("b", 2)), Step::AnotherSystem);
    }
}
