//! Finding the devices and making them ready to be handed to their brokers.

use abi::package::{BrokerKind, Device, Selector};
use broker::{Broker, Ledger, Region};
use heapless::Vec;
use nvme_broker::NvmeBroker;

use super::hardware::Parts;
use super::unit::{State, Unit};
use super::{AnyUnit, Devices, Entry, FIRST_VECTOR, Hidden};
use crate::log;
use crate::platform::msix::{Message, MsiX};
use crate::platform::pci::bar::{self, MemoryBar};
use crate::platform::pci::{Function, Handle};
use crate::platform::registers::Registers;
use crate::platform::{Mapper, Platform};
use abi::package::{DEVICE_REGIONS_MAX, DEVICE_VECTORS_MAX};

/// Most bytes of a register BAR that the kernel maps: room for every doorbell that a broker can make.
const REGISTER_BYTES_MAX: u64 = 0x10_0000;

/// Bytes of hidden memory that a broker of this kind needs: contiguous, whole pages.
pub const fn hidden_bytes(kind: BrokerKind) -> u32 {
    match kind {
        BrokerKind::Nvme => NvmeBroker::HIDDEN_BYTES,
    }
}

/// Why a function that matched cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("BAR {0}: {1}")]
    Bar(u8, bar::BarError),
    #[error("no room to map it")]
    Room,
    #[error("no memory for its broker")]
    Hidden,
}

impl Devices {
    /// Finds every PCI function and switches bus mastering off on all that are no bridges. First of all, before
    /// memory that firmware used is given to anybody.
    pub fn find(&mut self, mapper: &mut impl Mapper, platform: &Platform) {
        platform.pci.scan(mapper, &mut self.inventory);
        let inventory = &self.inventory;
        log!(
            "charter",
            "pci scanned access={} functions={} bridges={} bus_mastering_cleared={}",
            platform.pci,
            inventory.functions().len(),
            inventory.bridges().len(),
            inventory.masters()
        );
        if inventory.unlisted() > 0 {
            log!("charter", "pci functions unlisted count={}", inventory.unlisted());
        }
    }

    /// Adds the next device of the boot package: finds its function, maps its registers, switches its legacy
    /// interrupts off and masks its MSI-X table. To be called once for every device, in the package's order, after
    /// [`Devices::find`]; [`Devices::service`] follows.
    ///
    /// `regions` are the device's regions in the order of the package. `hidden` gives [`hidden_bytes`] of memory; it
    /// is asked only if the device can be used.
    pub fn add<M: Mapper>(
        &mut self,
        mapper: &mut M,
        platform: &Platform,
        device: &Device<'_>,
        regions: Vec<Region, DEVICE_REGIONS_MAX>,
        hidden: impl FnOnce(&mut M, u32) -> Option<Hidden>,
    ) {
        let index = self.entries.len();
        let name = device.name;
        let taken = |address| {
            self.entries.iter().any(|entry| entry.function.as_ref().is_some_and(|other| other.address() == address))
        };
        let found = self.inventory.select(&device.selector, taken);
        let mut function = found.and_then(|found| platform.pci.open(mapper, found.address));
        let unit = match (found, &mut function) {
            (Some(found), Some(function)) => {
                log!(
                    "charter",
                    "device found name={name} address={} pci_vendor={:#06x} pci_device_id={:#06x} \
                     class={:#04x} subclass={:#04x} prog_if={:#04x}",
                    found.address,
                    found.identity.vendor,
                    found.identity.device,
                    found.identity.class.0,
                    found.identity.class.1,
                    found.identity.class.2
                );
                for bridge in self.inventory.path(found.address) {
                    platform.pci.open_bridge(mapper, bridge);
                }
                prepare(index, mapper, platform, device, function, regions, hidden).unwrap_or_else(|because| {
                    log!("charter", "device unusable name={name} because=\"{because}\"");
                    AnyUnit::Missing(State::Unusable)
                })
            }
            _ => {
                log!("charter", "device absent name={name} selector=\"{}\"", Shown(&device.selector));
                AnyUnit::Missing(State::Absent)
            }
        };
        let entry = Entry {
            // The package's names fit, `Package::open` checked them.
            name: name.try_into().unwrap_or_default(),
            function,
            vectors: device.vectors.clone(),
            writable: device.limits.iter().any(|limit| limit.writable),
            unit,
        };
        // The package has no more devices than there is room for, `Package::open` checked that.
        let _ = self.entries.push(entry);
    }
}

/// Everything between a function that matched and its broker.
fn prepare<M: Mapper>(
    index: usize,
    mapper: &mut M,
    platform: &Platform,
    device: &Device<'_>,
    function: &mut Handle,
    regions: Vec<Region, DEVICE_REGIONS_MAX>,
    hidden: impl FnOnce(&mut M, u32) -> Option<Hidden>,
) -> Result<AnyUnit, Unusable> {
    function.silence();
    let bar = bar::memory(function, device.bar).map_err(|error| Unusable::Bar(device.bar, error))?;
    let registers = map(mapper, bar).ok_or(Unusable::Room)?;
    function.set_memory_decoding(true);
    let mut msix = MsiX::open(mapper, function);
    if let Ok(msix) = &mut msix {
        msix.mask_all();
    }
    let (vectors, messages) = vectors(index, platform, device, msix.as_ref());
    let bytes = hidden_bytes(device.broker);
    let hidden = hidden(mapper, bytes).ok_or(Unusable::Hidden)?;
    let ledger = Ledger {
        regions,
        vectors,
        limits: device.limits.clone(),
        hidden: hidden.physical,
        register_bytes: registers.bytes(),
        reserved: msix.as_ref().map(|msix| msix.reserved(device.bar)).unwrap_or_default(),
    };
    // SAFETY: `Hidden` promises `bytes` bytes on a page, mapped for ever, that nothing else uses.
    let hidden = unsafe { Registers::new(hidden.start, bytes) };
    let parts = Parts { registers, hidden, msix: msix.ok(), messages, clock: platform.clock };
    Ok(match device.broker {
        BrokerKind::Nvme => AnyUnit::Nvme(Unit::new(NvmeBroker::new(ledger), parts)),
    })
}

/// Maps the part of a BAR that is used.
fn map(mapper: &mut impl Mapper, bar: MemoryBar) -> Option<Registers> {
    let bytes = bar.bytes.min(REGISTER_BYTES_MAX);
    let start = mapper.map_device(bar.address, bytes)?;
    // SAFETY: `map_device` maps these bytes for ever; a BAR lies on a multiple of its size, which is at least 16, and
    // only registers are in it.
    Some(unsafe { Registers::new(start, bytes as u32) })
}

/// Which granted MSI-X entries the device has, and what each of them is to send. What it lacks is said.
fn vectors(
    index: usize,
    platform: &Platform,
    device: &Device<'_>,
    msix: Result<&MsiX, &crate::platform::msix::MsiXError>,
) -> (Vec<u16, DEVICE_VECTORS_MAX>, Vec<(u16, Message), DEVICE_VECTORS_MAX>) {
    let name = device.name;
    let (mut vectors, mut messages) = (Vec::new(), Vec::new());
    let entries = match msix {
        Ok(msix) => msix.entries(),
        Err(error) => {
            log!("charter", "device without interrupts name={name} because=\"{error}\"");
            return (vectors, messages);
        }
    };
    for (position, granted) in device.vectors.iter().enumerate() {
        if *granted >= entries {
            log!("charter", "device vector unavailable name={name} vector={granted} table_entries={entries}");
            continue;
        }
        let number = FIRST_VECTOR + (index * DEVICE_VECTORS_MAX + position) as u8;
        let message = Message::to_cpu(platform.apic.id(), number);
        // Both hold as many as the package can grant.
        let _ = vectors.push(*granted);
        let _ = messages.push((*granted, message));
    }
    (vectors, messages)
}

/// A selector as the log shows it.
struct Shown<'a>(&'a Selector);

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut between = "";
        if let Some((class, subclass, interface)) = self.0.class {
            write!(f, "class={class:#04x}/{subclass:#04x}/{interface:#04x}")?;
            between = " ";
        }
        if let Some(vendor) = self.0.vendor {
            write!(f, "{between}vendor={vendor:#06x}")?;
            between = " ";
        }
        if let Some(device) = self.0.device {
            write!(f, "{between}device={device:#06x}")?;
            between = " ";
        }
        if let Some(address) = self.0.address {
            write!(f, "{between}pci={address}")?;
        }
        Ok(())
    }
}
