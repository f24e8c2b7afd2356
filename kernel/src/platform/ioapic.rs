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
/// Bytes of registers that are used.
const BYTES: u64 = 0x20;

/// The machine's I/O APICs.
#[derive(Debug)]
pub struct IoApics(Vec<(u32, Registers), IO_APICS_MAX>);

impl IoApics {
    /// Masks every input of these.
    pub fn start(mapper: &mut impl Mapper, described: &Vec<IoApic, IO_APICS_MAX>) -> Self {
        let mut all = Vec::new();
        for IoApic { address, first_input } in described {
            if !address.is_multiple_of(BYTES) {
                continue;
            }
            let Some(start) = mapper.map_device(*address, BYTES) else { continue };
            // SAFETY: `map_device` maps these bytes for ever; only registers are there, and `start` is as aligned as
            // the address is.
            let mut registers = unsafe { Registers::new(start, BYTES as u32) };
            mask(&mut registers);
            // There are no more than are described.
            let _ = all.push((*first_input, registers));
        }
        Self(all)
    }

    /// Sends an input's interrupts to a processor under a vector. Returns whether there is such an input, and a way to
    /// that processor.
    pub fn route(&mut self, input: u32, trigger: Trigger, processor: u32, vector: u8) -> bool {
        // Without interrupt remapping, an entry holds eight bits of the processor's number.
        let Ok(processor) = u8::try_from(processor) else { return false };
        let (active_low, level) = (u32::from(trigger.active_low) * ACTIVE_LOW, u32::from(trigger.level) * LEVEL);
        for (first, registers) in &mut self.0 {
            let Some(own) = input.checked_sub(*first).filter(|own| *own <= last_input(registers)) else { continue };
            write(registers, REDIRECTION + 2 * own + 1, u32::from(processor) << 24);
            write(registers, REDIRECTION + 2 * own, u32::from(vector) | active_low | level);
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
