//! What firmware's ACPI tables say of the machine, as far as the kernel needs it: no AML, no table kept.
//!
//! The tables are bytes that somebody else wrote: every length is checked against what is mapped, every table against
//! its checksum, and one that is wrong is left out and said so. Layouts: ACPI 6.5, chapter 5; MCFG: PCI Firmware
//! Specification 3.3, 4.1.2.
//!
//! - [`fadt`]: the power-management timer, and how the machine is switched off and reset.
//! - [`madt`]: the interrupt controllers.
//! - [`dmar`]: the IOMMUs.
//! - [`sleep`]: the one AML object that is looked at, by its bytes.

use abi::layout::PAGE_BYTES;
use heapless::Vec;

use super::Mapper;
use super::clock::calibration::PowerTimer;
use crate::log;

pub mod dmar;
pub mod fadt;
pub mod madt;
pub mod sleep;

use dmar::{Dmar, DmarError};
use fadt::PowerRegisters;
use madt::{IoApic, Override};
use sleep::SleepTypes;

/// Most ECAM ranges, I/O APICs and tables looked at; further ones are left out.
pub const ECAM_RANGES_MAX: usize = 16;
/// See [`ECAM_RANGES_MAX`].
pub const IO_APICS_MAX: usize = 16;
/// See [`ECAM_RANGES_MAX`].
pub const OVERRIDES_MAX: usize = 16;
const TABLES_MAX: usize = 128;
/// Longest table looked at, in bytes.
const TABLE_BYTES_MAX: u32 = 0x10_0000;

const HEADER_BYTES: usize = 36;
const ROOT_BYTES: usize = 20;
const EXTENDED_ROOT_BYTES: usize = 36;

/// Memory through which configuration space of a range of buses is reached (PCI Express Base 5.0, 7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRange {
    /// Physical address of bus 0 of the segment, even if the range begins later.
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// What firmware's tables say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// ECAM ranges, from the MCFG; empty on machines without PCI Express.
    pub ecam: Vec<EcamRange, ECAM_RANGES_MAX>,
    /// The power-management timer, from the FADT.
    pub power_timer: Option<PowerTimer>,
    /// How the machine is switched off and reset, from the FADT.
    pub power: PowerRegisters,
    /// What is written to switch it off, from the DSDT or an SSDT.
    pub off: Option<SleepTypes>,
    /// Physical address of the local APICs, from the MADT.
    pub local_apic: Option<u64>,
    /// The I/O APICs, from the MADT.
    pub io_apics: Vec<IoApic, IO_APICS_MAX>,
    /// Where the interrupts of ISA arrive that do not arrive where their number says, from the MADT.
    pub overrides: Vec<Override, OVERRIDES_MAX>,
    /// The IOMMUs, from the DMAR; `None` if there is none, an error if it cannot be used.
    pub dmar: Option<Result<Dmar, DmarError>>,
}

/// Why a table was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum TableError {
    #[error("its address makes no sense")]
    Address,
    #[error("its length makes no sense")]
    Length,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its signature is wrong")]
    Signature,
    #[error("there is no room to map it")]
    Room,
}

impl Firmware {
    /// Reads the tables. `root` is the physical address of the root pointer; with 0, or a root that is no good, all is
    /// absent.
    #[inline(never)]
    pub fn read(mapper: &mut impl Mapper, root: u64) -> Self {
        let mut firmware = Self::default();
        if root == 0 {
            log!("charter", "acpi absent");
            return firmware;
        }
        if let Err(error) = firmware.read_root(mapper, root) {
            log!("charter", "acpi unusable because=\"{error}\"");
        }
        firmware
    }

    fn read_root(&mut self, mapper: &mut impl Mapper, address: u64) -> Result<(), TableError> {
        let root = map(mapper, address, ROOT_BYTES)?;
        if !root.starts_with(b"RSD PTR ") {
            return Err(TableError::Signature);
        }
        check(root)?;
        let short = u64::from(u32_at(root, 16).unwrap_or(0));
        let mut long = 0;
        if root.get(15).is_some_and(|revision| *revision >= 2) {
            let root = map(mapper, address, EXTENDED_ROOT_BYTES)?;
            check(root)?;
            long = u64_at(root, 24).unwrap_or(0);
        }
        let (address, signature, width) = if long != 0 { (long, b"XSDT", 8) } else { (short, b"RSDT", 4) };
        let list = table(mapper, address)?;
        if !list.starts_with(signature) {
            return Err(TableError::Signature);
        }
        let mut addresses: Vec<u64, TABLES_MAX> = Vec::new();
        for entry in list[HEADER_BYTES..].chunks_exact(width).take(TABLES_MAX) {
            let entry = if width == 8 { u64_at(entry, 0) } else { u32_at(entry, 0).map(u64::from) };
            // There are no more than `TABLES_MAX`.
            let _ = addresses.push(entry.unwrap_or(0));
        }
        for address in &addresses {
            self.read_table(mapper, *address);
        }
        self.read_sleep_types(mapper, &addresses);
        Ok(())
    }

    /// Looks for what switches the machine off: in the DSDT, then in each SSDT.
    fn read_sleep_types(&mut self, mapper: &mut impl Mapper, addresses: &[u64]) {
        let definitions = self.power.definitions.into_iter().chain(addresses.iter().copied());
        for address in definitions {
            let Ok(header) = map(mapper, address, HEADER_BYTES) else { continue };
            if !(header.starts_with(b"DSDT") || header.starts_with(b"SSDT")) {
                continue;
            }
            match table(mapper, address) {
                Ok(table) => self.off = sleep::types(&table[HEADER_BYTES..], sleep::OFF),
                Err(error) => log!("charter", "acpi table ignored signature=definitions because=\"{error}\""),
            }
            if self.off.is_some() {
                return;
            }
        }
    }

    fn read_table(&mut self, mapper: &mut impl Mapper, address: u64) {
        let Ok(header) = map(mapper, address, HEADER_BYTES) else { return };
        let Some(signature) = header.first_chunk::<4>().copied() else { return };
        if !matches!(&signature, b"MCFG" | b"FACP" | b"APIC" | b"DMAR") {
            return;
        }
        match table(mapper, address) {
            Err(error) => {
                let name = core::str::from_utf8(&signature).unwrap_or("?");
                log!("charter", "acpi table ignored signature={name} because=\"{error}\"");
                if &signature == b"DMAR" {
                    self.dmar = Some(Err(DmarError::Damaged));
                }
            }
            Ok(table) => match &signature {
                b"MCFG" => self.read_mcfg(table),
                b"FACP" => self.read_fadt(table),
                b"APIC" => self.read_madt(table),
                _ => self.dmar = Some(Dmar::read(table)),
            },
        }
    }

    fn read_mcfg(&mut self, table: &[u8]) {
        const FIRST: usize = HEADER_BYTES + 8;
        for entry in table.get(FIRST..).unwrap_or_default().chunks_exact(16) {
            let (Some(base), Some(segment)) = (u64_at(entry, 0), u16_at(entry, 8)) else { continue };
            let range = EcamRange { base, segment, first_bus: entry[10], last_bus: entry[11] };
            let end = base.checked_add((u64::from(range.last_bus) + 1) << 20);
            let overlaps = |other: &EcamRange| {
                other.segment == segment && other.first_bus <= range.last_bus && range.first_bus <= other.last_bus
            };
            let is_good = base != 0
                && base.is_multiple_of(1 << 20)
                && end.is_some_and(|end| end <= 1 << 52)
                && range.first_bus <= range.last_bus;
            if is_good && !self.ecam.iter().any(overlaps) {
                // Beyond the room: the range's devices are not found.
                let _ = self.ecam.push(range);
            }
        }
    }
}

/// Maps bytes of a table.
fn map<M: Mapper>(mapper: &mut M, address: u64, bytes: usize) -> Result<&[u8], TableError> {
    let end = address.checked_add(bytes as u64).ok_or(TableError::Address)?;
    if address < PAGE_BYTES || end > 1 << 52 {
        return Err(TableError::Address);
    }
    let start = mapper.map_firmware(address, bytes as u64).ok_or(TableError::Room)?;
    // SAFETY: `map_firmware` maps these bytes readable until start-up ends, and while it lasts `mapper` is borrowed.
    // Nobody writes firmware's tables: they are no free memory, so no task has them, and bus mastering is switched off
    // before any device is used.
    Ok(unsafe { core::slice::from_raw_parts(start.as_ptr(), bytes) })
}

/// Maps a whole table and checks it: at least a header, not absurdly long, its bytes add up.
fn table<M: Mapper>(mapper: &mut M, address: u64) -> Result<&[u8], TableError> {
    let length = u32_at(map(mapper, address, HEADER_BYTES)?, 4).ok_or(TableError::Length)?;
    if length > TABLE_BYTES_MAX || (length as usize) < HEADER_BYTES {
        return Err(TableError::Length);
    }
    let table = map(mapper, address, length as usize)?;
    check(table)?;
    Ok(table)
}

fn check(bytes: &[u8]) -> Result<(), TableError> {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if sum == 0 { Ok(()) } else { Err(TableError::Checksum) }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
