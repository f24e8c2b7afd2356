//! The fixed ACPI description table (ACPI 6.5, 5.2.9): the power-management timer, and how the machine is switched off
//! and reset.

use super::{Firmware, PowerTimer, u32_at, u64_at};

/// A register as firmware names it (generic address structure, ACPI 6.5, 5.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// An I/O port.
    Port(u16),
    /// A physical address.
    Memory(u64),
}

/// What is written where to reset the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Where, one byte wide.
    pub register: Register,
    /// What.
    pub value: u8,
}

/// Registers of the machine's power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerRegisters {
    /// Power-management control registers, 16 bits wide: every machine that is not hardware-reduced has the first.
    pub control: [Option<Register>; 2],
    /// Where firmware is told to hand those over, and the value that tells it; `None` if it has done so for good.
    pub hand_over: Option<(u16, u8)>,
    /// Sleep control register, one byte wide, on hardware-reduced machines.
    pub sleep_control: Option<Register>,
    /// The reset register.
    pub reset: Option<Reset>,
    /// Physical address of the DSDT.
    pub definitions: Option<u64>,
}

const RESET_SUPPORTED: u32 = 1 << 10;
const WIDE_TIMER: u32 = 1 << 8;
const HARDWARE_REDUCED: u32 = 1 << 20;

impl Firmware {
    /// Reads the table. What it is too short for is absent.
    pub(super) fn read_fadt(&mut self, table: &[u8]) {
        let flags = u32_at(table, 112).unwrap_or(0);
        let power = &mut self.power;
        power.definitions =
            u64_at(table, 140).filter(|address| *address != 0).or_else(|| Some(u64::from(u32_at(table, 40)?)));
        if flags & HARDWARE_REDUCED == 0 {
            let timer = port(table, 208, 76);
            self.power_timer = timer.map(|port| PowerTimer { port, is_wide: flags & WIDE_TIMER != 0 });
            power.control = [register(table, 172, Some(64)), register(table, 184, Some(68))];
            let command = u32_at(table, 48).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
            power.hand_over = command.zip(table.get(52).copied()).filter(|(_, value)| *value != 0);
        } else {
            power.sleep_control = register(table, 244, None);
        }
        if flags & RESET_SUPPORTED != 0
            && let (Some(register), Some(value)) = (register(table, 116, None), table.get(128))
        {
            power.reset = Some(Reset { register, value: *value });
        }
    }
}

/// The register that the structure at `extended` names, or the port that the older field at `short` does.
fn register(table: &[u8], extended: usize, short: Option<usize>) -> Option<Register> {
    const SYSTEM_MEMORY: u8 = 0;
    const SYSTEM_IO: u8 = 1;
    let address = table.get(extended..).and_then(|rest| u64_at(rest, 4)).filter(|address| *address != 0);
    let named = match (table.get(extended), address) {
        (Some(&SYSTEM_MEMORY), Some(address)) => Some(Register::Memory(address)),
        (Some(&SYSTEM_IO), Some(address)) => u16::try_from(address).ok().map(Register::Port),
        _ => None,
    };
    named.or_else(|| {
        let port = u16::try_from(u32_at(table, short?)?).ok().filter(|port| *port != 0);
        port.map(Register::Port)
    })
}

/// Likewise, if it is a port.
fn port(table: &[u8], extended: usize, short: usize) -> Option<u16> {
    match register(table, extended, None) {
        Some(Register::Port(port)) => Some(port),
        _ => u16::try_from(u32_at(table, short)?).ok().filter(|port| *port != 0),
    }
}
