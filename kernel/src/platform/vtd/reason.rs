//! Why a device's memory is protected as it is: one word for the log each.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident $word:literal,)*) => {
        /// Why remapping is used for a device, or why not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum Reason {
            $($(#[doc = $doc])* #[error($word)] $name,)*
        }

        impl Reason {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

reasons! {
    /// Firmware describes no IOMMU. First, because this is what is so before anything was looked at.
    NoTable "no-dmar-table",
    /// Two Identify commands showed it: what lies in the domain is reached, what does not is not.
    ProbePassed "probe-passed",
    // The table.
    /// Firmware's description cannot be used.
    TableMalformed "dmar-table-malformed",
    /// Firmware's description says that interrupts are not to be remapped.
    InterruptRemappingOff "interrupt-remapping-off",
    // The charter.
    /// The charter says that it is not to be used.
    CharterForbids "charter-forbids",
    /// The charter grants no device.
    NoDevice "no-device-granted",
    // A unit.
    /// Its registers answer nothing, or cannot be mapped.
    UnitSilent "unit-silent",
    /// Its capabilities contradict each other, or lie outside its registers.
    CapabilitiesContradict "capabilities-contradict",
    /// It cannot remap interrupts.
    InterruptRemappingMissing "interrupt-remapping-missing",
    /// It takes no invalidations from a queue.
    QueuedInvalidationMissing "queued-invalidation-missing",
    /// It has no second-level tables of three or four levels, or takes too narrow addresses.
    AddressWidth "address-width",
    /// It knows too few domains.
    Domains "domains-too-few",
    /// It cannot name this processor in an interrupt.
    ProcessorNumber "processor-number",
    /// It did not do in its time what it was told.
    UnitTimedOut "unit-timed-out",
    /// There was no memory for its tables.
    NoMemory "no-memory-for-tables",
    // The device.
    /// It is in another PCI segment group than the first.
    Segment "segment-not-covered",
    /// No unit is in front of it.
    NoUnit "no-unit",
    /// Firmware wants it to keep memory.
    ReservedMemory "rmrr-names-device",
    /// A function of somebody else could pass for it, or is reached past the unit.
    IsolationGroup "isolation-group-shared",
    /// A bridge on its way passes requests on as its own.
    BridgePath "bridge-path-not-covered",
    // The probe.
    /// Its broker knows no command to try it with.
    ProbeUnsupported "probe-unsupported",
    /// It did not become ready, or did not answer.
    ProbeUnanswered "probe-unanswered",
    /// What it was told to write into the domain did not arrive.
    ProbeNotDelivered "probe-not-delivered",
    /// What it was told to write outside the domain arrived.
    CanaryWritten "canary-written",
    /// The unit recorded no fault for that.
    FaultNotRecorded "fault-not-recorded",
    // A device that nobody knows how to try.
    /// Its unit was seen to hold another device, in this boot.
    UnitProbed "unit-probed",
    /// Its unit was not.
    UnitNotProbed "unit-not-probed",
}

impl Reason {
    /// Whether a device is held by its unit, as far as this boot has shown.
    pub fn is_held(self) -> bool {
        matches!(self, Self::ProbePassed | Self::UnitProbed)
    }

    /// What the log says of the IOMMU as a whole.
    pub fn iommu(self) -> &'static str {
        match self {
            Self::ProbePassed | Self::UnitProbed => "verified",
            Self::NoTable => "absent",
            _ => "unusable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heapless::String;

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let word = |reason: &Reason| -> String<64> { heapless::format!("{reason}").unwrap() };
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert!(word(reason).bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{reason}");
            assert!(Reason::ALL[..position].iter().all(|other| word(other) != word(reason)));
        }
    }
}
