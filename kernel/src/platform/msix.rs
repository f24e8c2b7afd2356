//! The MSI-X table of a function: which message each of its interrupts sends.
//!
//! A table entry is an address that the device writes to, so the table is the kernel's alone. Every entry is masked
//! but those that the charter grants. PCI Express Base 5.0, 7.7.2.

use core::ptr::NonNull;
use heapless::Vec;

use super::Mapper;
use super::pci::bar::{self, BarError};
use super::pci::{Function, capability};
use super::registers::Registers;

const ENTRY_BYTES: u32 = 16;
const ENTRY_ADDRESS: u32 = 0;
const ENTRY_ADDRESS_HIGH: u32 = 4;
const ENTRY_DATA: u32 = 8;
const ENTRY_CONTROL: u32 = 12;
const ENTRY_MASKED: u32 = 1;

/// In the upper half of the capability's first word.
const ENABLE: u32 = 1 << 31;
const FUNCTION_MASK: u32 = 1 << 30;

/// What an interrupt writes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Address, in the local APICs' range.
    pub address: u32,
    /// Data.
    pub data: u32,
}

impl Message {
    /// A fixed, edge-triggered interrupt with this vector to the CPU whose local APIC has this number (Intel SDM 3A,
    /// 11.11). Numbers beyond 255 need interrupt remapping and reach nobody.
    pub const fn to_cpu(apic: u32, vector: u8) -> Self {
        Self { address: 0xfee0_0000 | (apic & 0xff) << 12, data: vector as u32 }
    }
}

/// Why a function's MSI-X table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MsiXError {
    /// It has none.
    #[error("no MSI-X capability")]
    Missing,
    /// The BAR that it lies in cannot be used.
    #[error("MSI-X table in BAR {0}: {1}")]
    Bar(u8, BarError),
    /// It does not lie inside that BAR.
    #[error("MSI-X table beyond its BAR")]
    Beyond,
    /// There is no room to map it.
    #[error("no room to map the MSI-X table")]
    Room,
}

/// Where something lies: in which BAR, first byte and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    bar: u8,
    offset: u32,
    bytes: u32,
}

impl Place {
    fn new(register: u32, bytes: u32) -> Self {
        Self { bar: (register & 7) as u8, offset: register & !7, bytes }
    }
}

/// A function's MSI-X table.
#[derive(Debug)]
pub struct MsiX {
    /// Offset of the capability in configuration space.
    capability: u16,
    entries: u16,
    table: Registers,
    places: [Place; 2],
}

impl MsiX {
    /// Finds and maps the table. Nothing is changed yet; memory decoding must be on before an entry is touched.
    ///
    /// # Errors
    /// See [`MsiXError`].
    pub fn open(mapper: &mut impl Mapper, function: &mut impl Function) -> Result<Self, MsiXError> {
        let capability = capability::find(function, capability::MSI_X).ok_or(MsiXError::Missing)?;
        let entries = ((function.read(capability) >> 16) & 0x7ff) as u16 + 1;
        let bytes = u32::from(entries) * ENTRY_BYTES;
        let table = Place::new(function.read(capability + 4), bytes);
        let pending = Place::new(function.read(capability + 8), u32::from(entries).div_ceil(64) * 8);
        let bar = bar::memory(function, table.bar).map_err(|error| MsiXError::Bar(table.bar, error))?;
        if u64::from(table.offset) + u64::from(bytes) > bar.bytes {
            return Err(MsiXError::Beyond);
        }
        let start: NonNull<u8> =
            mapper.map_device(bar.address + u64::from(table.offset), bytes.into()).ok_or(MsiXError::Room)?;
        // SAFETY: `map_device` maps the table for ever; its offset is a multiple of eight, its BAR of sixteen, and
        // only the table is in it.
        let registers = unsafe { Registers::new(start, bytes) };
        Ok(Self { capability, entries, table: registers, places: [table, pending] })
    }

    /// Entries in the table, 1 to 2048.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// The ranges (first byte, bytes) of this BAR that hold the table and the pending bits.
    pub fn reserved(&self, bar: u8) -> Vec<(u32, u32), 2> {
        self.places.iter().filter(|place| place.bar == bar).map(|place| (place.offset, place.bytes)).collect()
    }

    /// Masks every entry.
    pub fn mask_all(&mut self) {
        for entry in 0..u32::from(self.entries) {
            self.table.write_u32(entry * ENTRY_BYTES + ENTRY_CONTROL, ENTRY_MASKED);
        }
    }

    /// Switches MSI-X on with these entries and no others. A device may have changed its table in a reset, so it is
    /// written anew, while nothing can be sent. Entries beyond the table are left out.
    pub fn switch_on(&mut self, function: &mut impl Function, messages: &[(u16, Message)]) {
        self.control(function, ENABLE | FUNCTION_MASK);
        self.mask_all();
        for (entry, message) in messages {
            if *entry >= self.entries {
                continue;
            }
            let at = u32::from(*entry) * ENTRY_BYTES;
            self.table.write_u32(at + ENTRY_ADDRESS, message.address);
            self.table.write_u32(at + ENTRY_ADDRESS_HIGH, 0);
            self.table.write_u32(at + ENTRY_DATA, message.data);
            self.table.write_u32(at + ENTRY_CONTROL, 0);
        }
        self.control(function, ENABLE);
    }

    /// Switches MSI-X off.
    pub fn switch_off(&mut self, function: &mut impl Function) {
        self.control(function, FUNCTION_MASK);
    }

    fn control(&mut self, function: &mut impl Function, bits: u32) {
        let before = function.read(self.capability);
        function.write(self.capability, before & !(ENABLE | FUNCTION_MASK) | bits);
    }
}

#[cfg(test)]
mod tests;
