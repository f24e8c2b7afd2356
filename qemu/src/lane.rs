//! The lanes on which the same test runs: how a driver's commands reach its device.

use crate::harness::Log;
use crate::machine::{Iommu, Machine};

/// A lane, and what is between device and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Through the kernel's broker, on a machine without an IOMMU.
    Brokered,
    /// Through the kernel's broker, behind an IOMMU: the charter grants less than the whole device.
    BrokeredBehindIommu,
    /// Through rings of the driver's own, behind an IOMMU: the charter grants the whole device.
    Direct,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Brokered, Self::BrokeredBehindIommu, Self::Direct];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brokered => "brokered",
            Self::BrokeredBehindIommu => "brokered-behind-iommu",
            Self::Direct => "direct",
        }
    }

    /// A charter for this lane, from one that grants less than the whole of each device.
    ///
    /// # Panics
    /// If it names no limits.
    pub fn charter(self, text: &str) -> String {
        const LIMITS: &str = "limits = [";
        if self != Self::Direct {
            return text.to_owned();
        }
        let mut parts = text.split(LIMITS);
        let mut changed = parts.next().unwrap_or_default().to_owned();
        let mut count = 0;
        for part in parts {
            let rest = after_list(part).expect("a list of limits ends");
            changed += LIMITS;
            changed += "{ access = \"read-write\" }]";
            changed += rest;
            count += 1;
        }
        assert!(count > 0, "the charter grants the whole device, or none");
        changed
    }

    /// Changes a machine for this lane.
    pub fn change(self, machine: &mut Machine) {
        if self != Self::Brokered {
            machine.iommu = Some(Iommu::default());
        }
    }

    /// Checks that every controller was bound on this lane, and that what is between it and memory was seen to hold.
    ///
    /// # Panics
    /// If it is not so.
    pub fn check(self, log: &Log) {
        let lane = if self == Self::Direct { "direct" } else { "brokered" };
        let backend = if self == Self::Brokered { "bounce-buffer" } else { "direct-remapping" };
        let mut bound = 0;
        for line in log.events().iter().filter(|line| line.get("lane").is_some()) {
            assert_eq!(line.get("lane"), Some(lane), "{line}");
            bound += 1;
        }
        assert!(bound > 0, "a line names the lane");
        for line in log.all("dma", "backend selection") {
            assert_eq!(line.get("backend"), Some(backend), "{line}");
            assert_eq!(line.get("host_physical_user_visible"), Some("false"));
        }
        assert_eq!(log.all("dma", "request blocked").count(), 0, "only what was provoked is blocked");
    }
}

/// What follows the list that this text is within, and whatever lists it holds.
fn after_list(text: &str) -> Option<&str> {
    let mut depth = 1_u32;
    let end = text.find(|character| {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    text.get(end? + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charter_of_limits_becomes_one_of_whole_devices() {
        let text =
            "a = { registers = \"d\", limits = [{ opcodes = [\"read\"] }, { namespace = 2 }] }\nb = [1]\nlimits = []\n";
        assert_eq!(Lane::Brokered.charter(text), text);
        assert_eq!(Lane::BrokeredBehindIommu.charter(text), text);
        let whole = "limits = [{ access = \"read-write\" }]";
        assert_eq!(Lane::Direct.charter(text), format!("a = {{ registers = \"d\", {whole} }}\nb = [1]\n{whole}\n"));
    }
}
