//! PCI functions: where they are, what they are, and their configuration space.
//!
//! Configuration space is reached through memory ([`ecam`]) where firmware describes it, otherwise through two I/O
//! ports ([`ports`]). The search ([`scan`]) sees every function through a [`Bus`]; what is granted is then opened as a
//! [`Handle`]. Everything that reads or changes a function works on the trait [`Function`], so that tests can stand in
//! for the machine.
//!
//! Offsets, bits: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base 5.0, chapter 7.

use abi::system_call::PciAddress;
use core::fmt;
use heapless::Vec;

use super::Mapper;
use super::acpi::{ECAM_RANGES_MAX, EcamRange};
use super::registers::Registers;
use super::vtd::Passage;

pub mod bar;
pub mod capability;
pub mod ecam;
#[cfg(test)]
pub(crate) mod fake;
pub mod ports;
pub mod scan;

pub use scan::{Bridge, Found, Inventory};

/// Identification: device and vendor.
pub const IDENTIFICATION: u16 = 0x00;
/// Status and command.
pub const COMMAND: u16 = 0x04;
/// Class, subclass, programming interface and revision.
pub const CLASS: u16 = 0x08;
/// Self-test, header type and two timers.
pub const HEADER: u16 = 0x0c;
/// First base address register.
pub const BARS: u16 = 0x10;
/// Of a bridge: the buses around it.
pub const BRIDGE_BUSES: u16 = 0x18;
/// Pointer to the first capability.
pub const CAPABILITIES: u16 = 0x34;

const PORT_DECODING: u32 = 1 << 0;
const MEMORY_DECODING: u32 = 1 << 1;
const BUS_MASTERING: u32 = 1 << 2;
const INTX_DISABLED: u32 = 1 << 10;
const MSI_ENABLED: u32 = 1 << 16;
const MSI_X_ENABLED: u32 = 1 << 31;

/// One function's configuration space. Offsets are multiples of four.
pub trait Function {
    /// Reads a word; all ones if the function does not answer.
    fn read(&mut self, offset: u16) -> u32;

    /// Writes a word.
    fn write(&mut self, offset: u16, value: u32);

    /// The command register.
    fn command(&mut self) -> u32 {
        self.read(COMMAND) & 0xffff
    }

    /// Writes the command register. The status register beside it is cleared where ones are written: zeroes keep it.
    fn set_command(&mut self, command: u32) {
        self.write(COMMAND, command & 0xffff);
    }

    /// Lets the function read and write memory by itself, or not.
    fn set_bus_mastering(&mut self, on: bool) {
        let command = self.command();
        self.set_command(if on { command | BUS_MASTERING } else { command & !BUS_MASTERING });
    }

    /// Lets the function answer at its memory BARs, or not.
    fn set_memory_decoding(&mut self, on: bool) {
        let command = self.command();
        self.set_command(if on { command | MEMORY_DECODING } else { command & !MEMORY_DECODING });
    }

    /// Switches off what a function uses to make arrangements with an IOMMU by itself: ATS, page requests, PASID.
    fn forget_translations(&mut self) {
        for (kind, enabled) in [
            (capability::ADDRESS_TRANSLATION, 1 << 31),
            (capability::PAGE_REQUEST, 1),
            (capability::PROCESS_ADDRESS_SPACE, 1 << 16),
        ] {
            if let Some(at) = capability::find_extended(self, kind) {
                let control = self.read(at + 4);
                // Status bits in the upper half of page requests' are cleared where ones are written.
                let status = if kind == capability::PAGE_REQUEST { 0xffff_0000 } else { 0 };
                self.write(at + 4, control & !enabled & !status);
            }
        }
    }

    /// Takes every way from the function to interrupt or to reach memory: bus mastering, INTx, MSI and MSI-X.
    fn silence(&mut self) {
        let command = self.command();
        self.set_command(command & !BUS_MASTERING | INTX_DISABLED);
        for (kind, enabled) in [(capability::MSI, MSI_ENABLED), (capability::MSI_X, MSI_X_ENABLED)] {
            if let Some(at) = capability::find(self, kind) {
                let control = self.read(at);
                self.write(at, control & !enabled);
            }
        }
    }
}

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor identifier.
    pub vendor: u16,
    /// Device identifier.
    pub device: u16,
    /// Class, subclass, programming interface.
    pub class: (u8, u8, u8),
}

/// What the function is; `None` if none answers.
pub fn identity(function: &mut (impl Function + ?Sized)) -> Option<Identity> {
    let identification = function.read(IDENTIFICATION);
    let vendor = identification as u16;
    if vendor == 0xffff || vendor == 0 {
        return None;
    }
    let [_, interface, subclass, class] = function.read(CLASS).to_le_bytes();
    Some(Identity { vendor, device: (identification >> 16) as u16, class: (class, subclass, interface) })
}

/// The way to every function, while the buses are searched.
pub trait Bus {
    /// Reads a word of a function's configuration space; all ones if no function answers.
    fn read(&mut self, address: PciAddress, offset: u16) -> u32;

    /// Writes a word.
    fn write(&mut self, address: PciAddress, offset: u16, value: u32);
}

/// One function of a bus.
#[derive(Debug)]
pub struct At<'a, B>(pub &'a mut B, pub PciAddress);

impl<B: Bus> Function for At<'_, B> {
    fn read(&mut self, offset: u16) -> u32 {
        self.0.read(self.1, offset)
    }

    fn write(&mut self, offset: u16, value: u32) {
        self.0.write(self.1, offset, value);
    }
}

/// How configuration space is reached on this machine.
#[derive(Clone, Debug)]
pub struct Access {
    /// Through memory; if there are none, through I/O ports: segment 0, the first 256 bytes of each function.
    ranges: Vec<EcamRange, ECAM_RANGES_MAX>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ranges.is_empty() { "ports" } else { "ecam" })
    }
}

impl Access {
    /// Through memory if there are ranges, else through ports.
    pub fn new(ranges: &Vec<EcamRange, ECAM_RANGES_MAX>) -> Self {
        Self { ranges: ranges.clone() }
    }

    /// Finds every function and switches bus mastering off on all that are no bridges.
    pub fn scan(&self, mapper: &mut impl Mapper, inventory: &mut Inventory) {
        if self.ranges.is_empty() {
            if ports::Ports.answer() {
                scan::scan(&mut ports::Ports, 0, 0, u8::MAX, inventory);
            }
            return;
        }
        let mut bus = ecam::Ecam::new(mapper, &self.ranges);
        for range in &self.ranges {
            scan::scan(&mut bus, range.segment, range.first_bus, range.last_bus, inventory);
        }
    }

    /// How a bridge passes on what comes from behind it: the ports of PCI Express say whose it is (PCI Express Base
    /// 5.0, 7.5.3.2).
    pub fn passage(&self, mapper: &mut impl Mapper, address: PciAddress) -> Passage {
        fn look(mut bridge: impl Function) -> Passage {
            let port = capability::find(&mut bridge, capability::EXPRESS).map(|at| bridge.read(at) >> 20 & 0xf);
            // Root port, and a switch's upstream and downstream port.
            if matches!(port, Some(4..=6)) { Passage::Transparent } else { Passage::Opaque }
        }
        if self.ranges.is_empty() {
            look(At(&mut ports::Ports, address))
        } else {
            look(At(&mut ecam::Ecam::new(mapper, &self.ranges), address))
        }
    }

    /// Where the memory BARs of the machine's functions and bridges begin, but for one: that of `address` numbered
    /// `except`. What firmware gave no address is left out.
    pub fn memory_bars<'a>(
        &'a self,
        mapper: &'a mut impl Mapper,
        inventory: &'a Inventory,
        address: PciAddress,
        except: u8,
    ) -> impl Iterator<Item = u64> + 'a {
        let endpoints = inventory.functions().iter().map(|found| (found.address, bar::COUNT));
        let bridges = inventory.bridges().iter().map(|bridge| (bridge.address, bar::BRIDGE_COUNT));
        endpoints.chain(bridges).flat_map(move |(own, count)| {
            let except = (own == address).then_some(except);
            if self.ranges.is_empty() {
                bar::bases(&mut At(&mut ports::Ports, own), count, except)
            } else {
                bar::bases(&mut At(&mut ecam::Ecam::new(&mut *mapper, &self.ranges), own), count, except)
            }
        })
    }

    /// Opens a function for good. `None` if there is no room to map it.
    pub fn open(&self, mapper: &mut impl Mapper, address: PciAddress) -> Option<Handle> {
        if self.ranges.is_empty() {
            return Some(Handle { address, space: Space::Ports });
        }
        let start = mapper.map_device(ecam::page(&self.ranges, address)?, ecam::FUNCTION_BYTES)?;
        // SAFETY: `map_device` maps the page for ever, and it is this function's configuration space.
        let registers = unsafe { Registers::new(start, ecam::FUNCTION_BYTES as u32) };
        Some(Handle { address, space: Space::Memory(registers) })
    }

    /// Lets a bridge pass on what the functions behind it and the CPU say to each other. Firmware leaves bridges
    /// closed in front of devices that it did not use.
    pub fn open_bridge(&self, mapper: &mut impl Mapper, address: PciAddress) {
        fn open(mut bridge: impl Function) {
            let command = bridge.command();
            bridge.set_command(command | MEMORY_DECODING | BUS_MASTERING);
        }
        if self.ranges.is_empty() {
            open(At(&mut ports::Ports, address));
        } else {
            open(At(&mut ecam::Ecam::new(mapper, &self.ranges), address));
        }
    }
}

/// A function that was opened.
#[derive(Debug)]
pub struct Handle {
    address: PciAddress,
    space: Space,
}

#[derive(Debug)]
enum Space {
    Memory(Registers),
    Ports,
}

impl Handle {
    /// Where it is.
    pub fn address(&self) -> PciAddress {
        self.address
    }
}

impl Function for Handle {
    fn read(&mut self, offset: u16) -> u32 {
        match &self.space {
            Space::Memory(registers) => registers.read_u32(offset.into()),
            Space::Ports => ports::Ports.read(self.address, offset),
        }
    }

    fn write(&mut self, offset: u16, value: u32) {
        match &mut self.space {
            Space::Memory(registers) => registers.write_u32(offset.into(), value),
            Space::Ports => ports::Ports.write(self.address, offset, value),
        }
    }
}
