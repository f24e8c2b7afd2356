//! Collects what the machine tells of itself while firmware is still there to be asked.
//!
//! Whatever fails here is an item of the evidence and keeps nothing from booting. What is asked of firmware ends: the
//! numbers of functions, controllers and namespaces are limited, every command has a timeout, and a controller that let
//! one pass is asked nothing more. Devices that firmware has not started stay as they are.

use abi::evidence::{Item, SeenBy, Topic, Writer};
use abi::system_call::PciAddress;
use boot::PAGE;
use boot::evidence::{PhysicalMemory, acpi, processor, smbios, unavailable};
use uefi::boot::{
    HandleBuffer, MemoryDescriptor, MemoryType, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol, SearchType,
};
use uefi::mem::memory_map::{MemoryMap, MemoryMapOwned};
use uefi::proto::ProtocolPointer;
use uefi::{Handle, Identify};

use super::nvme::{self, Buffer, PassThru};
use super::pci::{Function, PciIo};

/// Most PCI functions that are looked at.
const FUNCTIONS_MAX: usize = 256;
/// Most NVMe controllers that are told of.
const CONTROLLERS_MAX: usize = 8;
/// PCI class of NVMe controllers (NVMe over PCIe transport 1.0, 3.8.1.4).
const NVME: (u8, u8, u8) = (0x01, 0x08, 0x02);

/// Where firmware's tables are.
pub struct Tables {
    /// ACPI's root pointer, 0 if there is none.
    pub acpi_root: u64,
    /// An SMBIOS entry point, 0 if there is none.
    pub smbios_entry: u64,
}

/// Collects everything; returns how many bytes it takes. `buffer` is for what devices answer.
pub fn collect(tables: &Tables, bytes: &mut [u8], buffer: &mut Buffer) -> usize {
    let mut evidence = Writer::new(bytes);
    let mut add = |item: Item| evidence.add(&item);
    processor::collect(crate::processor::cpuid, &mut add);
    match FirmwareMemory::find() {
        Some(memory) => {
            smbios::collect(&memory, tables.smbios_entry, &mut add);
            acpi::collect(&memory, tables.acpi_root, &mut add);
        }
        None => {
            add(unavailable(Topic::Smbios, None, "firmware gives no memory map"));
            add(unavailable(Topic::Acpi, None, "firmware gives no memory map"));
        }
    }
    functions(&mut add, buffer);
    evidence.used()
}

/// The NVMe controllers among the PCI functions that firmware found, and what those that it started answer.
fn functions(add: &mut impl FnMut(Item), buffer: &mut Buffer) {
    let Some(handles) = handles() else {
        add(unavailable(Topic::Pci, None, "firmware found no PCI functions"));
        return;
    };
    let mut controllers = 0;
    for handle in handles.iter().take(FUNCTIONS_MAX) {
        let function = match open::<PciIo>(*handle).ok_or("not opened").and_then(|mut protocol| protocol.function()) {
            Ok(function) => function,
            Err(reason) => {
                add(unavailable(Topic::Pci, None, reason));
                continue;
            }
        };
        let Function { address, vendor, device, subsystem, class } = function;
        if class != NVME {
            continue;
        }
        controllers += 1;
        if controllers > CONTROLLERS_MAX {
            add(unavailable(Topic::Pci, Some(address), "more controllers than are told of"));
            break;
        }
        let (seen_by, subsystem) = (SeenBy::Firmware, Some(subsystem));
        add(Item::Function { seen_by, address, vendor, device, subsystem, class, bound: false });
        identify(*handle, address, add, buffer);
    }
    if handles.len() > FUNCTIONS_MAX {
        add(unavailable(Topic::Pci, None, "more functions than are looked at"));
    }
}

fn identify(handle: Handle, address: PciAddress, add: &mut impl FnMut(Item), buffer: &mut Buffer) {
    let result = match open::<PassThru>(handle) {
        Some(mut protocol) => nvme::identify(&mut protocol, address, buffer, add),
        None => Err("firmware has not started this controller"),
    };
    if let Err(reason) = result {
        add(unavailable(Topic::Identify, Some(address), reason));
    }
}

fn handles() -> Option<HandleBuffer> {
    uefi::boot::locate_handle_buffer(SearchType::ByProtocol(&PciIo::GUID)).ok()
}

fn open<P: ProtocolPointer>(handle: Handle) -> Option<ScopedProtocol<P>> {
    let params = OpenProtocolParams { handle, agent: uefi::boot::image_handle(), controller: None };
    // SAFETY: not opened exclusively, because firmware's driver goes on using the device. It does nothing meanwhile: this
    // application is the only one that runs, and nobody disconnects a driver or removes a protocol.
    let protocol = unsafe { uefi::boot::open_protocol::<P>(params, OpenProtocolAttributes::GetProtocol) };
    // Firmware may open it and give no interface.
    protocol.ok().filter(|protocol| protocol.get().is_some())
}

/// Memory by firmware's own map of it. Firmware maps all of it one to one (UEFI 2.10, 2.3.4).
struct FirmwareMemory {
    map: MemoryMapOwned,
}

impl FirmwareMemory {
    fn find() -> Option<Self> {
        uefi::boot::memory_map(MemoryType::LOADER_DATA).ok().map(|map| Self { map })
    }

    /// The end of the memory around this address, if it is memory.
    fn end_of(&self, address: u64) -> Option<u64> {
        /// The last part of the first MiB, where PCs keep firmware's tables; not every map lists it.
        const PC_FIRMWARE: core::ops::Range<u64> = 0xe_0000..0x10_0000;
        let end =
            |range: &MemoryDescriptor| range.phys_start.saturating_add(range.page_count.saturating_mul(PAGE as u64));
        let listed = self.map.entries().find(|range| (range.phys_start..end(range)).contains(&address));
        match listed {
            Some(range) => is_memory(range.ty).then(|| end(range)),
            None => PC_FIRMWARE.contains(&address).then_some(PC_FIRMWARE.end),
        }
    }
}

fn is_memory(kind: MemoryType) -> bool {
    matches!(
        kind,
        MemoryType::RESERVED
            | MemoryType::LOADER_CODE
            | MemoryType::LOADER_DATA
            | MemoryType::BOOT_SERVICES_CODE
            | MemoryType::BOOT_SERVICES_DATA
            | MemoryType::RUNTIME_SERVICES_CODE
            | MemoryType::RUNTIME_SERVICES_DATA
            | MemoryType::CONVENTIONAL
            | MemoryType::ACPI_RECLAIM
            | MemoryType::ACPI_NON_VOLATILE
    )
}

impl PhysicalMemory for FirmwareMemory {
    fn read(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let end = address.checked_add(bytes as u64)?;
        let mut covered = address;
        while covered < end {
            covered = self.end_of(covered)?;
        }
        if address == 0 {
            return None;
        }
        // SAFETY: all of it is memory in firmware's map, which firmware maps one to one, readable. Firmware's tables,
        // which alone are read here, change no more once applications run.
        Some(unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address as usize), bytes) })
    }
}
