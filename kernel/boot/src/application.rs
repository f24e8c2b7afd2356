//! The way from firmware to the kernel, in the order in which it happens.

mod evidence;
mod nvme;
mod pci;

use core::fmt::Write;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::crash::memory as crash;
use abi::evidence::EVIDENCE_BYTES;
use abi::handoff::{
    BOOT_STACK_TOP, HANDOFF, HANDOFF_MAGIC, Handoff, KERNEL_FILE_BYTES_MAX, KERNEL_SECTION, MEMORY_RANGES_MAX,
    MemoryRange, PACKAGE_BYTES_MAX, PACKAGE_SECTION,
};
use abi::package::{self, Package, PackageError};
use boot::PAGE;
use boot::image::{self, ImageError};
use boot::kernel::{Kernel, KernelError};
use boot::layout::{self, HANDOFF_PAGES, STACK_PAGES};
use boot::memory::FreeMemory;
use boot::paging::{PagingError, Tables};
use packed::{Packed, PackedError};
use uefi::boot::{AllocateType, MemoryType, OpenProtocolAttributes, OpenProtocolParams};
use uefi::mem::memory_map::MemoryMap;
use uefi::proto::loaded_image::LoadedImage;
use uefi::table::cfg::ConfigTableEntry;
use uefi::{Guid, Status};
use x86_64::structures::paging::PageTable;

use crate::processor;

/// Why the kernel was not started.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("package refused: {0}")]
    Package(#[from] PackageError),
    #[error("package refused: {0}")]
    PackedPackage(PackedError),
    #[error("package refused: {0} bytes are more than the {PACKAGE_BYTES_MAX} there is room for")]
    PackageTooLong(u64),
    #[error("kernel refused: {0}")]
    PackedKernel(PackedError),
    #[error("kernel refused: {0} bytes are more than the {KERNEL_FILE_BYTES_MAX} there is room for")]
    KernelTooLong(u64),
    #[error("kernel refused: {0}")]
    Kernel(#[from] KernelError),
    #[error("package refused: {0}")]
    NoPackage(ImageError),
    #[error("kernel refused: {0}")]
    NoKernel(ImageError),
    #[error("machine refused: {0}")]
    Processor(&'static str),
    #[error("no memory for the kernel: {0}")]
    Memory(Status),
    #[error("firmware does not say where this image is: {0}")]
    LoadedImage(Status),
    #[error("page tables: {0}")]
    Paging(#[from] PagingError),
}

impl Refusal {
    fn status(&self) -> Status {
        match self {
            Self::Package(_)
            | Self::PackedPackage(_)
            | Self::PackageTooLong(_)
            | Self::NoPackage(_)
            | Self::Kernel(_)
            | Self::PackedKernel(_)
            | Self::KernelTooLong(_)
            | Self::NoKernel(_) => Status::COMPROMISED_DATA,
            Self::Processor(_) => Status::UNSUPPORTED,
            Self::Memory(status) | Self::LoadedImage(status) => *status,
            Self::Paging(_) => Status::LOAD_ERROR,
        }
    }
}

#[uefi::entry]
fn main() -> Status {
    // SAFETY: a no-operation.
    #[cfg(target_os = "uefi")]
    unsafe {
        abi::mark!(0x01);
    }
    let entry_time = processor::time();
    match start(entry_time) {
        Ok(never) => match never {},
        Err(refusal) => {
            // If the console takes nothing there is nobody to tell; firmware still gets the status.
            let _ = uefi::system::with_stdout(|console| writeln!(console, "boot: {refusal}"));
            refusal.status()
        }
    }
}

/// Does everything that may fail, then leaves firmware for good.
fn start(entry_time: u64) -> Result<core::convert::Infallible, Refusal> {
    if let Some(missing) = processor::missing() {
        return Err(Refusal::Processor(missing));
    }
    let crash_memory = crash_memory();
    let image = Image::find()?;
    let packed = Packed::read(image.section(PACKAGE_SECTION).map_err(Refusal::NoPackage)?);
    let packed = packed.map_err(Refusal::PackedPackage)?;
    if packed.bytes > PACKAGE_BYTES_MAX {
        return Err(Refusal::PackageTooLong(packed.bytes));
    }
    // The kernel reads it where it is, and keeps the programs to restart tasks from.
    let package = Pages::allocate(packed.bytes)?.filled(&packed).map_err(Refusal::PackedPackage)?;
    let package_bytes = package::length(package)?;
    // Its own checksum says no more than that with which it was packed.
    Package::open_checked(&package[..package_bytes])?;

    let packed = Packed::read(image.section(KERNEL_SECTION).map_err(Refusal::NoKernel)?);
    let packed = packed.map_err(Refusal::PackedKernel)?;
    if packed.bytes > KERNEL_FILE_BYTES_MAX {
        return Err(Refusal::KernelTooLong(packed.bytes));
    }
    let kernel_file = Pages::allocate(packed.bytes)?;
    let kernel = Kernel::read(kernel_file.filled(&packed).map_err(Refusal::PackedKernel)?)?;

    let package = layout::pages_of(package.as_ptr() as u64, package_bytes);
    let switch = layout::pages_of(processor::enter as *const () as u64, processor::ENTER_BYTES);
    let memory = Memory::allocate(layout::tables(&kernel, package.count), kernel.pages())?;
    let mut tables = Tables::new(memory.tables, memory.tables_physical)?;
    layout::load(&kernel, memory.kernel, memory.kernel_physical, &mut tables)?;
    let entry = kernel.entry;
    // SAFETY: nothing of what was read there is used any more: `load` has copied the segments.
    unsafe { kernel_file.free() };
    let handoff_physical = &raw const *memory.handoff as u64;
    layout::map(&mut tables, handoff_physical, memory.stack_physical, package, switch)?;

    let tables_of_firmware = evidence::Tables {
        acpi_root: table(&[ConfigTableEntry::ACPI2_GUID, ConfigTableEntry::ACPI_GUID]),
        smbios_entry: table(&[ConfigTableEntry::SMBIOS3_GUID, ConfigTableEntry::SMBIOS_GUID]),
    };
    // SAFETY: the page is part of the allocation and of nothing else there.
    let mut buffer = unsafe { nvme::Buffer::new(memory.buffer) };
    let evidence_physical = memory.evidence.as_ptr() as u64;
    let evidence_start = processor::time();
    let evidence_bytes = evidence::collect(&tables_of_firmware, memory.evidence, &mut buffer) as u64;
    let evidence_time = processor::time().saturating_sub(evidence_start);

    *memory.handoff = Handoff {
        magic: HANDOFF_MAGIC,
        page_table: tables.root(),
        package_bytes: package_bytes as u64,
        acpi_root: tables_of_firmware.acpi_root,
        smbios_entry: tables_of_firmware.smbios_entry,
        evidence: evidence_physical,
        crash_memory,
        loader_bytes: 0,
        entry_time,
        exit_time: 0,
        evidence_time,
        evidence_bytes,
        memory_ranges: 0,
        memory: [MemoryRange::default(); MEMORY_RANGES_MAX],
    };
    // SAFETY: no protocol is open and nothing of boot services' memory is referred to: sections, tables, handoff and
    // evidence lie in the image and in pages allocated for the loader, which stay.
    let map = unsafe { uefi::boot::exit_boot_services(Some(MemoryType::LOADER_DATA)) };
    // SAFETY: firmware was left just now.
    unsafe { processor::prepare() };
    let mut free = FreeMemory::new(&mut memory.handoff.memory);
    // Memory of boot services is not reused: devices that firmware started may write there until the kernel stops them.
    for range in map.entries().filter(|range| range.ty == MemoryType::CONVENTIONAL) {
        free.add(range.phys_start, range.page_count);
    }
    memory.handoff.memory_ranges = free.count() as u64;
    memory.handoff.loader_bytes = map
        .entries()
        .filter(|range| matches!(range.ty, MemoryType::LOADER_CODE | MemoryType::LOADER_DATA))
        .map(|range| range.page_count * PAGE as u64)
        .sum();
    memory.handoff.exit_time = processor::time();
    // SAFETY: `layout` mapped the code of `enter` one to one and everything else where the handoff says; `kernel` was
    // checked to have its entry in code; `prepare` turned interrupts off.
    unsafe { processor::enter(HANDOFF, tables.root(), BOOT_STACK_TOP - 8, entry) }
}

/// This application as firmware loaded it.
struct Image {
    start: *const u8,
    bytes: usize,
}

impl Image {
    fn find() -> Result<Self, Refusal> {
        let handle = uefi::boot::image_handle();
        let params = OpenProtocolParams { handle, agent: handle, controller: None };
        // SAFETY: not opened exclusively, because firmware's own use of it goes on; nobody changes or removes the
        // protocol of an image that runs.
        let image = unsafe {
            uefi::boot::open_protocol::<LoadedImage>(params, OpenProtocolAttributes::GetProtocol)
                .map_err(|error| Refusal::LoadedImage(error.status()))?
        };
        let (start, bytes) = image.info();
        Ok(Self { start: start.cast(), bytes: bytes as usize })
    }

    /// Contents of a section, which begins on a page.
    fn section(&self, name: &'static str) -> Result<&'static [u8], ImageError> {
        // SAFETY: firmware loaded the image there, its headers first. Nothing writes them.
        let headers = unsafe { core::slice::from_raw_parts(self.start, self.bytes.min(PAGE)) };
        let range = image::section(headers, self.bytes, name)?;
        // SAFETY: the range lies in the image, which stays in memory. The two sections that are asked for are data that
        // the image builder added: nothing in this application refers to them, so nothing writes them.
        Ok(unsafe { core::slice::from_raw_parts(self.start.add(range.start), range.len()) })
    }
}

/// Memory for something that is unpacked.
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn allocate(bytes: u64) -> Result<Self, Refusal> {
        // Each caller has a limit below.
        let bytes = bytes as usize;
        let kind = AllocateType::AnyPages;
        let start = uefi::boot::allocate_pages(kind, MemoryType::LOADER_DATA, bytes.div_ceil(PAGE).max(1))
            .map_err(|error| Refusal::Memory(error.status()))?;
        Ok(Self { start, bytes })
    }

    /// What is unpacked there.
    fn filled(&self, packed: &Packed<'_>) -> Result<&'static [u8], PackedError> {
        // SAFETY: the pages are ours alone, and any bytes are bytes; the one other reference there can be is the one
        // that this returns, and each of these is asked for it once.
        let into = unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) };
        packed.unpack(into)?;
        Ok(into)
    }

    /// Gives them back to firmware, and so, later, to the kernel.
    ///
    /// # Safety
    ///
    /// Nothing of what was unpacked there may be used any more.
    unsafe fn free(self) {
        // Firmware that does not take them back keeps them: they are lost, and nothing else.
        // SAFETY: they were allocated so, and the caller has no use for them.
        let _ = unsafe { uefi::boot::free_pages(self.start, self.bytes.div_ceil(PAGE).max(1)) };
    }
}

/// The memory that the kernel begins with: one allocation, which firmware's memory map shows as the loader's.
struct Memory {
    tables: &'static mut [PageTable],
    tables_physical: u64,
    kernel: &'static mut [u8],
    kernel_physical: u64,
    stack_physical: u64,
    handoff: &'static mut Handoff,
    evidence: &'static mut [u8],
    /// For what devices answer.
    buffer: NonNull<u8>,
}

impl Memory {
    fn allocate(tables: usize, kernel: usize) -> Result<Self, Refusal> {
        let handoff = tables + kernel + STACK_PAGES;
        let evidence = handoff + HANDOFF_PAGES;
        let buffer = evidence + EVIDENCE_BYTES / PAGE;
        let pages = buffer + 1;
        let start = uefi::boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, pages)
            .map_err(|error| Refusal::Memory(error.status()))?;
        let physical = |pages: usize| start.as_ptr() as u64 + (pages * PAGE) as u64;
        // SAFETY: the pages are ours alone from now on, aligned, never freed, and what they hold came from outside Rust;
        // every bit pattern is a table, a byte and a handoff. The parts do not overlap: each begins where the one before
        // ends, and together they are as long as the allocation.
        unsafe {
            let at = |pages: usize| start.add(pages * PAGE);
            Ok(Self {
                tables: core::slice::from_raw_parts_mut(start.cast::<PageTable>().as_ptr(), tables),
                tables_physical: physical(0),
                kernel: core::slice::from_raw_parts_mut(at(tables).as_ptr(), kernel * PAGE),
                kernel_physical: physical(tables),
                stack_physical: physical(tables + kernel),
                handoff: at(handoff).cast::<Handoff>().as_mut(),
                evidence: core::slice::from_raw_parts_mut(at(evidence).as_ptr(), EVIDENCE_BYTES),
                buffer: at(buffer),
            })
        }
    }
}

/// Takes the memory in which crashes outlive a reset, first of all, so that it is where it was at the boot before; 0 if
/// firmware uses each of the places. What lies there stays.
fn crash_memory() -> u64 {
    let take = |place: &u64| {
        let kind = AllocateType::Address(*place);
        uefi::boot::allocate_pages(kind, MemoryType::LOADER_DATA, crash::BYTES.div_ceil(PAGE)).ok()
    };
    crash::PLACES.iter().find_map(take).map_or(0, |start| start.as_ptr() as u64)
}

/// The address of the first of these configuration tables that firmware has, else 0.
fn table(guids: &[Guid]) -> u64 {
    let find = |guid: &Guid| {
        uefi::system::with_config_table(|entries| entries.iter().find(|entry| entry.guid == *guid).map(|e| e.address))
    };
    guids.iter().find_map(find).map_or(0, |address| address as u64)
}

/// Says where, once, and stops: nothing here panics unless firmware breaks its own rules.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    static SEEN: AtomicBool = AtomicBool::new(false);
    // After firmware was left there is no console, and asking for it panics: the second time just stops.
    if !SEEN.swap(true, Ordering::Relaxed) {
        let _ = uefi::system::with_stdout(|console| writeln!(console, "boot: {info}"));
    }
    loop {
        x86_64::instructions::hlt();
    }
}
