//! Masks every input of every I/O APIC: devices interrupt by message (MSI-X) only.
//!
//! Registers: Intel 82093AA data sheet, chapter 3.

use super::Mapper;
use super::acpi::IO_APICS_MAX;
use super::registers::Registers;
use heapless::Vec;

const SELECT: u32 = 0x00;
const WINDOW: u32 = 0x10;
const VERSION: u32 = 0x01;
const REDIRECTION: u32 = 0x10;
const MASKED: u32 = 1 << 16;
/// Bytes of registers that are used.
const BYTES: u64 = 0x20;

/// Masks the I/O APICs at these physical addresses.
pub fn mask_all(mapper: &mut impl Mapper, addresses: &Vec<u64, IO_APICS_MAX>) {
    for address in addresses {
        if !address.is_multiple_of(BYTES) {
            continue;
        }
        let Some(start) = mapper.map_device(*address, BYTES) else { continue };
        // SAFETY: `map_device` maps these bytes for ever; only registers are there, and `start` is as aligned as
        // `address` is.
        mask(&mut unsafe { Registers::new(start, BYTES as u32) });
    }
}

/// Masks every input of one of them. One that does not answer (all ones) gets writes that nobody sees.
fn mask(registers: &mut Registers) {
    registers.write_u32(SELECT, VERSION);
    let last = (registers.read_u32(WINDOW) >> 16) & 0xff;
    for input in 0..=last {
        registers.write_u32(SELECT, REDIRECTION + 2 * input);
        registers.write_u32(WINDOW, MASKED);
    }
}
