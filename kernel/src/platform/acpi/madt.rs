//! The multiple APIC description table (ACPI 6.5, 5.2.12): the interrupt controllers.

use super::{Firmware, HEADER_BYTES, u16_at, u32_at, u64_at};

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its own number.
    pub number: u8,
    /// Physical address of its registers.
    pub address: u64,
    /// Number of its first input among those of all of them.
    pub first_input: u32,
}

/// An interrupt of ISA that arrives elsewhere, or otherwise, than ISA says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Its number on ISA.
    pub interrupt: u8,
    /// Where it arrives.
    pub input: u32,
    /// How.
    pub trigger: Trigger,
}

/// How an interrupt is signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// It is active while the line is low.
    pub active_low: bool,
    /// It is a level, not an edge.
    pub level: bool,
}

impl Trigger {
    /// As on ISA.
    pub const ISA: Self = Self { active_low: false, level: false };

    /// From the flags of an override: 0 in either field means as on the bus, which is ISA.
    fn new(flags: u16) -> Self {
        Self { active_low: flags & 3 == 3, level: flags >> 2 & 3 == 3 }
    }
}

impl Firmware {
    /// Reads the table. An entry without length ends it.
    pub(super) fn read_madt(&mut self, table: &[u8]) {
        const IO_APIC: u8 = 1;
        const OVERRIDE: u8 = 2;
        const LOCAL_APIC_ADDRESS: u8 = 5;
        self.local_apic = u32_at(table, HEADER_BYTES).map(u64::from).filter(|address| *address != 0);
        let mut rest = table.get(HEADER_BYTES + 8..).unwrap_or_default();
        while let [kind, length, ..] = *rest {
            // An entry shorter than its own head would never end.
            let Some((entry, others)) = rest.split_at_checked(length.max(2).into()) else { break };
            rest = others;
            match kind {
                IO_APIC => {
                    let address = u32_at(entry, 4).map(u64::from).filter(|address| *address != 0);
                    if let (Some(address), Some(first_input)) = (address, u32_at(entry, 8)) {
                        // Beyond the room: it is not masked, as if it were not described.
                        let _ = self.io_apics.push(IoApic { number: entry[2], address, first_input });
                    }
                }
                OVERRIDE => {
                    if let (Some(0), Some(interrupt), Some(input), Some(flags)) =
                        (entry.get(2), entry.get(3), u32_at(entry, 4), u16_at(entry, 8))
                    {
                        // Beyond the room: as if it were not described.
                        let _ = self.overrides.push(Override {
                            interrupt: *interrupt,
                            input,
                            trigger: Trigger::new(flags),
                        });
                    }
                }
                LOCAL_APIC_ADDRESS => self.local_apic = u64_at(entry, 4).or(self.local_apic),
                _ => {}
            }
        }
    }

    /// Where an interrupt of ISA arrives, and how.
    pub fn isa_input(&self, interrupt: u8) -> (u32, Trigger) {
        let elsewhere = self.overrides.iter().find(|own| own.interrupt == interrupt);
        elsewhere.map_or((interrupt.into(), Trigger::ISA), |own| (own.input, own.trigger))
    }
}
