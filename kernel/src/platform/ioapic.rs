//! The I/O APICs: every input is masked, because devices interrupt by message (MSI-X); one may be routed, the serial
//! port's.
//!
//! Registers: Intel 82093AA data sheet, chapter 3.

use heapless::Vec;

use super::Mapper;
use super::acpi::IO_APICS_MAX;
use super::acpi::madt::{IoApic, Trigger};
use super::registers::Registers;

const SELECT: u32 = 0x00;
const WINDOW: u32 = 0x10;
const VERSION: u32 = 0x01;
const REDIRECTION: u32 = 0x10;
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
/// In the upper half: in remappable format (VT-d specification 4.1, 5.1.2.1).
const REMAPPABLE: u32 = 1 << 16;
/// Bytes of registers that are used.
const BYTES: u64 = 0x20;

/// The machine's I/O APICs.
#[derive(Debug, Default)]
pub struct IoApics(Vec<One, IO_APICS_MAX>);

/// One of them.
#[derive(Debug)]
struct One {
    number: u8,
    first_input: u32,
    registers: Registers,
}

/// Where an input's interrupts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the processor of this number.
    Processor(u8),
    /// Where this entry of the interrupt remapping table says.
    Entry(u16),
}

impl Target {
    /// The upper half of an input's register.
    fn high(self) -> u32 {
        match self {
            Self::Processor(number) => u32::from(number) << 24,
            Self::Entry(entry) => (u32::from(entry) & 0x7fff) << 17 | REMAPPABLE,
        }
    }

    /// What it adds to the lower half.
    fn low(self) -> u32 {
        match self {
            Self::Processor(_) => 0,
            Self::Entry(entry) => u32::from(entry) >> 15 << 11,
        }
    }
}

impl IoApics {
    /// Masks every input of these.
    pub fn start(mapper: &mut impl Mapper, described: &Vec<IoApic, IO_APICS_MAX>) -> Self {
        let mut all = Vec::new();
        for IoApic { number, address, first_input } in described {
            if !address.is_multiple_of(BYTES) {
                continue;
            }
            let Some(start) = mapper.map_device(*address, BYTES) else { continue };
            // SAFETY: `map_device` maps these bytes for ever; only registers are there, and `start` is as aligned as
            // the address is.
            let mut registers = unsafe { Registers::new(start, BYTES as u32) };
            mask(&mut registers);
            // There are no more than are described.
            let _ = all.push(One { number: *number, first_input: *first_input, registers });
        }
        Self(all)
    }

    /// Sends an input's interrupts to the target that `target` gives for the I/O APIC of this number, under a vector.
    /// Returns whether there is such an input, and a target.
    pub fn route(
        &mut self,
        input: u32,
        trigger: Trigger,
        vector: u8,
        target: impl FnOnce(u8) -> Option<Target>,
    ) -> bool {
        let (active_low, level) = (u32::from(trigger.active_low) * ACTIVE_LOW, u32::from(trigger.level) * LEVEL);
        for One { number, first_input, registers } in &mut self.0 {
            let Some(own) = input.checked_sub(*first_input).filter(|own| *own <= last_input(registers)) else {
                continue;
            };
            let Some(target) = target(*number) else { return false };
            write(registers, REDIRECTION + 2 * own + 1, target.high());
            write(registers, REDIRECTION + 2 * own, u32::from(vector) | active_low | level | target.low());
            return true;
        }
        false
    }
}

fn write(registers: &mut Registers, register: u32, value: u32) {
    registers.write_u32(SELECT, register);
    registers.write_u32(WINDOW, value);
}

/// Number of its last input. One that does not answer (all ones) has 256, and gets writes that nobody sees.
fn last_input(registers: &mut Registers) -> u32 {
    registers.write_u32(SELECT, VERSION);
    (registers.read_u32(WINDOW) >> 16) & 0xff
}

/// Masks every input of one of them.
fn mask(registers: &mut Registers) {
    for input in 0..=last_input(registers) {
        write(registers, REDIRECTION + 2 * input, MASKED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_an_entry() {
        assert_eq!((Target::Processor(3).high(), Target::Processor(3).low()), (3 << 24, 0));
        assert_eq!((Target::Entry(0x8005).high(), Target::Entry(0x8005).low()), (5 << 17 | 1 << 16, 1 << 11));
    }
}
