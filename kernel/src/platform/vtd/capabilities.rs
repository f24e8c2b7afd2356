//! What a remapping unit can do: its two capability registers, decoded and judged (VT-d specification 4.1, 11.4.2 and
//! 11.4.3).
//!
//! A unit that lacks something that isolation needs is not used at all, and which of it is said.

use super::Reason;

/// Bytes of registers that every unit has.
pub const REGISTER_BYTES: u32 = 4096;
/// Bytes of a fault record.
pub const FAULT_RECORD_BYTES: u32 = 16;
/// Bytes of registers that are mapped at most: more than any unit can say it has.
const REGISTER_BYTES_MAX: u32 = 0x8000;
/// Domains that the kernel numbers at most, number 0 left out, which is not for use in caching mode.
const DOMAINS_WANTED: u32 = 64;

/// What a unit can do and wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Levels of second-level tables: 3 or 4.
    pub levels: u8,
    /// Addresses that a device may use are below two to the power of this.
    pub address_bits: u8,
    /// Offset of the first fault record.
    pub fault_records: u32,
    /// How many fault records there are.
    pub fault_record_count: u16,
    /// What is not present may be cached, so that what becomes present is to be invalidated as well.
    pub caching_mode: bool,
    /// Writes to tables are to be flushed from its buffers by command.
    pub write_buffer_flush: bool,
    /// It sees the processor's caches when it reads tables; otherwise they are to be flushed.
    pub coherent: bool,
    /// It takes 32-bit processor numbers.
    pub extended_interrupts: bool,
    /// It has protected memory regions, which firmware may have left on.
    pub protected_memory: bool,
}

impl Capabilities {
    /// Decodes the capability register and the extended one.
    ///
    /// # Errors
    /// The first thing that it lacks.
    pub fn new(capability: u64, extended: u64) -> Result<Self, Reason> {
        let bits = |value: u64, first: u32, count: u32| (value >> first) & ((1 << count) - 1);
        let has = |value: u64, bit: u32| bits(value, bit, 1) != 0;
        if (capability, extended) == (u64::MAX, u64::MAX) || (capability, extended) == (0, 0) {
            return Err(Reason::UnitSilent);
        }
        if !has(extended, 1) {
            return Err(Reason::QueuedInvalidationMissing);
        }
        if !has(extended, 3) {
            return Err(Reason::InterruptRemappingMissing);
        }
        // Second-level tables of three levels hold 39 bits, of four 48.
        let widths = bits(capability, 8, 5);
        let (levels, table_bits) = match (widths & 1 << 2 != 0, widths & 1 << 1 != 0) {
            (true, _) => (4, 48),
            (false, true) => (3, 39),
            (false, false) => return Err(Reason::AddressWidth),
        };
        let address_bits = (bits(capability, 16, 6) as u8 + 1).min(table_bits);
        if address_bits < 39 {
            return Err(Reason::AddressWidth);
        }
        // Two to the power of 4 and twice this; 7 is reserved.
        match bits(capability, 0, 3) {
            7 => return Err(Reason::CapabilitiesContradict),
            count if 1u32 << (4 + 2 * count) <= DOMAINS_WANTED => return Err(Reason::Domains),
            _ => {}
        }
        let fault_records = bits(capability, 24, 10) as u32 * 16;
        let fault_record_count = bits(capability, 40, 8) as u16 + 1;
        let end = fault_records + u32::from(fault_record_count) * FAULT_RECORD_BYTES;
        // The records cannot lie where other registers are.
        if fault_records < 0x100 || end > REGISTER_BYTES_MAX {
            return Err(Reason::CapabilitiesContradict);
        }
        Ok(Self {
            levels,
            address_bits,
            fault_records,
            fault_record_count,
            caching_mode: has(capability, 7),
            write_buffer_flush: has(capability, 4),
            coherent: has(extended, 0),
            extended_interrupts: has(extended, 4),
            protected_memory: has(capability, 5) || has(capability, 6),
        })
    }

    /// Bytes of registers that are used, whole pages.
    pub fn register_bytes(&self) -> u32 {
        let end = self.fault_records + u32::from(self.fault_record_count) * FAULT_RECORD_BYTES;
        end.next_multiple_of(REGISTER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// QEMU 7.2, `-device intel-iommu,intremap=on`.
    const CAPABILITY: u64 = 0x00d2_008c_2226_0206;
    const EXTENDED: u64 = 0x00f0_0f4a;

    #[test]
    fn a_recorded_unit_is_good() {
        let capabilities = Capabilities::new(CAPABILITY, EXTENDED).unwrap();
        assert_eq!((capabilities.levels, capabilities.address_bits), (3, 39));
        assert_eq!((capabilities.fault_records, capabilities.fault_record_count), (0x220, 1));
        assert!(!capabilities.coherent && !capabilities.caching_mode && !capabilities.write_buffer_flush);
        assert_eq!(capabilities.register_bytes(), 4096);
    }

    #[test]
    fn what_a_unit_wants_is_seen() {
        let capabilities = Capabilities::new(CAPABILITY | 1 << 7 | 1 << 4 | 1 << 10, EXTENDED | 1).unwrap();
        assert!(capabilities.coherent && capabilities.caching_mode && capabilities.write_buffer_flush);
        assert_eq!((capabilities.levels, capabilities.address_bits), (4, 39));
    }

    #[test]
    fn each_lack_has_its_reason() {
        let without = |bits: u64| CAPABILITY & !bits;
        for (capability, extended, reason) in [
            (u64::MAX, u64::MAX, Reason::UnitSilent),
            (0, 0, Reason::UnitSilent),
            (CAPABILITY, EXTENDED & !(1 << 1), Reason::QueuedInvalidationMissing),
            (CAPABILITY, EXTENDED & !(1 << 3), Reason::InterruptRemappingMissing),
            (without(0x1f << 8), EXTENDED, Reason::AddressWidth),
            (without(0x3f << 16) | 37 << 16, EXTENDED, Reason::AddressWidth),
            (without(7), EXTENDED, Reason::Domains),
            (CAPABILITY | 7, EXTENDED, Reason::CapabilitiesContradict),
            (without(0x3ff << 24), EXTENDED, Reason::CapabilitiesContradict),
        ] {
            assert_eq!(Capabilities::new(capability, extended), Err(reason), "{capability:#x} {extended:#x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_within_bounds(capability: u64, extended: u64) {
            if let Ok(capabilities) = Capabilities::new(capability, extended) {
                prop_assert!(matches!(capabilities.levels, 3 | 4));
                prop_assert!((39..=48).contains(&capabilities.address_bits));
                prop_assert!(capabilities.register_bytes() <= REGISTER_BYTES_MAX);
                let end = capabilities.fault_records + u32::from(capabilities.fault_record_count) * 16;
                prop_assert!(end <= capabilities.register_bytes());
            }
        }
    }
}
