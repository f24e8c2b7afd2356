//! Finding the devices and making them ready to be handed to their brokers.

use abi::package::{BrokerKind, Commands, Device, Limit, RemappingPolicy, Selector};
use broker::{Broker, Ledger, Region};
use heapless::Vec;
use nvme_broker::NvmeBroker;

use super::confinement::Confinement;
use super::hardware::Parts;
use super::no_broker::NoBroker;
use super::unit::{LaneChoice, State, Unit};
use super::{AnyUnit, Devices, Entry, FIRST_VECTOR, Hidden};
use super::{lane, opened};
use crate::log;
use crate::platform::msix::{Message, MsiX, MsiXError};
use crate::platform::pci::bar::{self, MemoryBar};
use crate::platform::pci::{Function, Handle};
use crate::platform::registers::Registers;
use crate::platform::vtd::{Place, RUNS_MAX, Reason, Remapping, Way};
use crate::platform::{Mapper, Platform};
use abi::layout::PAGE_BYTES;
use abi::package::{DEVICE_REGIONS_MAX, DEVICE_VECTORS_MAX};

/// Most bytes of a register BAR that the kernel maps: room for every doorbell that a broker can make.
const REGISTER_BYTES_MAX: u64 = 0x10_0000;

/// Bytes of hidden memory that a broker of this kind needs: contiguous, whole pages.
pub const fn hidden_bytes(kind: BrokerKind) -> u32 {
    match kind {
        BrokerKind::Nvme => NvmeBroker::HIDDEN_BYTES,
        BrokerKind::None => NoBroker::HIDDEN_BYTES,
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
    #[error("no remapping: {0}")]
    Remapping(Reason),
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

    /// Takes every IOMMU over. After [`Devices::find`], before any device is added and has its bus mastering back.
    // Start-up's frames must not add up: its stack has 64 KiB.
    #[inline(never)]
    pub fn start_remapping<'a>(
        &mut self,
        mapper: &mut impl Mapper,
        platform: &Platform,
        devices: impl Iterator<Item = Device<'a>>,
    ) {
        let mut wanted = Err(Reason::NoDevice);
        for device in devices {
            if device.remapping != RemappingPolicy::Forbid {
                wanted = Ok(());
            } else if wanted == Err(Reason::NoDevice) {
                wanted = Err(Reason::CharterForbids);
            }
        }
        self.remapping = Remapping::start(mapper, platform, wanted);
        if platform.firmware.dmar.is_none() || wanted == Err(Reason::NoDevice) {
            tell_backend(self.remapping.reason(), None);
        }
    }

    /// What an I/O APIC of this number is to send for this processor to be interrupted; see [`Remapping::io_apic`].
    pub fn io_apic(&mut self, platform: &Platform, number: u8, vector: u8, level: bool) -> Option<Option<u16>> {
        self.remapping.io_apic(platform, number, vector, level)
    }

    /// Adds the next device of the boot package: finds its function, maps its registers, switches its legacy
    /// interrupts off and masks its MSI-X table. To be called once for every device, in the package's order, after
    /// [`Devices::find`]; [`Devices::service`] follows.
    ///
    /// `regions` are the device's regions in the order of the package. `hidden` gives [`hidden_bytes`] of memory; it
    /// is asked only if the device can be used.
    #[inline(never)]
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
        let mut place = None;
        let mut direct = opened::Direct::default();
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
                let mut way = Way::new();
                for bridge in self.inventory.path(found.address) {
                    // No path is longer than there are bridges.
                    let _ = way.push((bridge, platform.pci.passage(mapper, bridge)));
                    platform.pci.open_bridge(mapper, bridge);
                }
                let confine = |mapper: &mut M, runs: &[(u64, u64)]| {
                    let allowed = device.remapping != RemappingPolicy::Forbid;
                    self.remapping.confine(mapper, platform, &self.inventory, found.address, &way, runs, allowed)
                };
                match prepare(mapper, device, function, regions, hidden, confine) {
                    Ok(prepared) => {
                        place = prepared.place.clone();
                        let bar = prepared.bar;
                        let is_candidate = device.limits.iter().any(Limit::is_whole_device)
                            && place.as_ref().is_some_and(|place| place.refused.is_none());
                        let own_pages = if is_candidate {
                            let inventory = &self.inventory;
                            let others = platform.pci.memory_bars(mapper, inventory, found.address, device.bar);
                            lane::own_pages(bar, &prepared.ledger.reserved, others)
                        } else {
                            0
                        };
                        direct = opened::Direct {
                            registers: bar.address,
                            rings: prepared.hidden.physical,
                            is_candidate,
                            ..opened::Direct::default()
                        };
                        prepared.finish(index, platform, device, &mut self.remapping, own_pages)
                    }
                    Err(because) => {
                        log!("charter", "device unusable name={name} because=\"{because}\"");
                        AnyUnit::Missing(State::Unusable)
                    }
                }
            }
            _ => {
                log!("charter", "device absent name={name} selector=\"{}\"", Shown(&device.selector));
                if platform.firmware.dmar.is_some() {
                    tell_backend(Reason::NoDevice, Some(name));
                }
                AnyUnit::Missing(State::Absent)
            }
        };
        let entry = Entry {
            // The package's names fit, `Package::open` checked them.
            name: name.try_into().unwrap_or_default(),
            function,
            vectors: device.vectors.clone(),
            commands: Commands::allowed_by(&device.limits),
            place,
            direct,
            // Without an IOMMU it was said for all devices.
            is_verdict_told: platform.firmware.dmar.is_none(),
            is_refused: false,
            faults: 0,
            is_fault_told: false,
            unit,
        };
        // The package has no more devices than there is room for, `Package::open` checked that.
        let _ = self.entries.push(entry);
    }
}

/// A function that can be used, but for its interrupts.
struct Prepared {
    bar: MemoryBar,
    registers: Registers,
    msix: Result<MsiX, MsiXError>,
    hidden: Hidden,
    /// With memory where it is.
    ledger: Ledger,
    /// Behind an IOMMU, or why not.
    place: Option<Place>,
    open: Option<Reason>,
}

/// Everything between a function that matched and its broker, but for interrupts. `confine` puts it behind an IOMMU.
#[inline(never)]
fn prepare<M: Mapper>(
    mapper: &mut M,
    device: &Device<'_>,
    function: &mut Handle,
    regions: Vec<Region, DEVICE_REGIONS_MAX>,
    hidden: impl FnOnce(&mut M, u32) -> Option<Hidden>,
    confine: impl FnOnce(&mut M, &[(u64, u64)]) -> Result<Result<Place, Reason>, Reason>,
) -> Result<Prepared, Unusable> {
    function.silence();
    function.forget_translations();
    let bar = bar::memory(function, device.bar).map_err(|error| Unusable::Bar(device.bar, error))?;
    // Where nobody here reads registers, one page of them is mapped.
    let most = if device.broker == BrokerKind::None { PAGE_BYTES } else { REGISTER_BYTES_MAX };
    let registers = map(mapper, bar, most).ok_or(Unusable::Room)?;
    function.set_memory_decoding(true);
    let mut msix = MsiX::open(mapper, function);
    if let Ok(msix) = &mut msix {
        msix.mask_all();
    }
    let bytes = hidden_bytes(device.broker);
    let hidden = hidden(mapper, bytes).ok_or(Unusable::Hidden)?;
    let mut runs: Vec<(u64, u64), RUNS_MAX> = Vec::new();
    for run in [(hidden.physical, u64::from(bytes))].into_iter().chain(regions.iter().map(|own| (own.base, own.bytes)))
    {
        // There is room for hidden memory and every region.
        let _ = runs.push(run);
    }
    let (place, open) = match confine(mapper, &runs).map_err(Unusable::Remapping)? {
        Ok(place) => (Some(place), None),
        Err(reason) => (None, Some(reason)),
    };
    let ledger = Ledger {
        regions,
        vectors: Vec::new(),
        limits: device.limits.clone(),
        hidden: hidden.physical,
        register_bytes: bar.bytes.min(REGISTER_BYTES_MAX) as u32,
        reserved: msix.as_ref().map(|msix| msix.reserved(device.bar)).unwrap_or_default(),
    };
    Ok(Prepared { bar, registers, msix, hidden, ledger, place, open })
}

impl Prepared {
    /// Gives it its interrupts and its broker.
    #[inline(never)]
    fn finish(
        self,
        index: usize,
        platform: &Platform,
        device: &Device<'_>,
        remapping: &mut Remapping,
        own_pages: u32,
    ) -> AnyUnit {
        let Self { bar: _, registers, msix, hidden, mut ledger, place, open } = self;
        let message = |number| match &place {
            Some(place) => remapping.message(place, platform, number),
            None => Ok(Message::to_cpu(platform.apic.id(), number)),
        };
        let messages;
        (ledger.vectors, messages) = vectors(index, device, msix.as_ref(), message);
        // SAFETY: `Hidden` promises that many bytes on a page, mapped for ever, that nothing else uses.
        let hidden = unsafe { Registers::new(hidden.start, hidden_bytes(device.broker)) };
        let parts = Parts { registers, hidden, msix: msix.ok(), messages, clock: platform.clock };
        let refused = place.as_ref().and_then(|place| place.refused);
        let (ledger, confinement) = match (&place, open.or(refused)) {
            (Some(place), None) if device.broker == BrokerKind::None => {
                (moved(&ledger, place), Confinement::to_be_vouched_for())
            }
            (Some(place), None) => (moved(&ledger, place), Confinement::to_be_tried(ledger)),
            (_, reason) => (ledger, Confinement::known(reason.unwrap_or(Reason::NoUnit))),
        };
        let must_be_held = device.remapping == RemappingPolicy::Require || device.broker == BrokerKind::None;
        let lane = LaneChoice::new(device.limits.clone(), own_pages);
        match device.broker {
            BrokerKind::Nvme => {
                AnyUnit::Nvme(Unit::new(NvmeBroker::new(ledger), parts, confinement, must_be_held, lane))
            }
            BrokerKind::None => {
                AnyUnit::NoBroker(Unit::new(NoBroker::new(ledger), parts, confinement, must_be_held, lane))
            }
        }
    }
}

/// The ledger for a device behind an IOMMU: the same memory, where the device finds it.
fn moved(plain: &Ledger, place: &Place) -> Ledger {
    let mut seen = place.seen.iter().copied();
    let mut ledger = plain.clone();
    ledger.hidden = seen.next().unwrap_or_default();
    for (region, seen) in ledger.regions.iter_mut().zip(seen) {
        region.base = seen;
    }
    ledger
}

/// How memory is protected from a device, or from all of them, and why.
pub(super) fn tell_backend(reason: Reason, device: Option<&str>) {
    let backend = if reason.is_held() { "direct-remapping" } else { "bounce-buffer" };
    let iommu = reason.iommu();
    match device {
        None => log!(
            "dma",
            "backend selection backend={backend} iommu={iommu} reason={reason} host_physical_user_visible=false"
        ),
        Some(name) => log!(
            "dma",
            "backend selection backend={backend} iommu={iommu} reason={reason} host_physical_user_visible=false \
             device={name}"
        ),
    }
}

/// Maps the part of a BAR that is used.
fn map(mapper: &mut impl Mapper, bar: MemoryBar, most: u64) -> Option<Registers> {
    let bytes = bar.bytes.min(most);
    let start = mapper.map_device(bar.address, bytes)?;
    // SAFETY: `map_device` maps these bytes for ever; a BAR lies on a multiple of its size, which is at least 16, and
    // only registers are in it.
    Some(unsafe { Registers::new(start, bytes as u32) })
}

/// Which granted MSI-X entries the device has, and what each of them is to send: `message` for an interrupt vector.
/// What it lacks is said.
fn vectors(
    index: usize,
    device: &Device<'_>,
    msix: Result<&MsiX, &MsiXError>,
    mut message: impl FnMut(u8) -> Result<Message, Reason>,
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
        match message(number) {
            Ok(message) => {
                // Both hold as many as the package can grant.
                let _ = vectors.push(*granted);
                let _ = messages.push((*granted, message));
            }
            Err(reason) => {
                log!("charter", "device vector unavailable name={name} vector={granted} because={reason}");
            }
        }
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
