//! What the UEFI application passes to the kernel, and where the kernel lies.
//!
//! The kernel's half of every address space is one page-map level 4 entry, [`KERNEL_ENTRY`]:
//!
//! | from | what |
//! |---|---|
//! | [`KERNEL_IMAGE`] | the kernel's ELF segments, each with its own rights |
//! | [`SCRATCH`] | one page table's worth of pages that the kernel maps and unmaps at will; its last page is that page table itself |
//! | [`HANDOFF`] | the [`Handoff`], read-only |
//! | [`BOOT_STACK_TOP`] | the kernel's stack, growing down from here, unmapped pages around it |
//! | [`PACKAGE`] | the boot package, read-only, until tasks run |
//! | [`DYNAMIC`] | what the kernel maps itself: IPC buffers, device registers, hidden memory, further stacks |
//!
//! The application enters the kernel with `rdi` = [`HANDOFF`], `rsp` = [`BOOT_STACK_TOP`] − 8, interrupts off, paging as
//! above, CR0.WP and EFER.NXE set, CR4.PGE clear (image, stack and scratch table are marked global all the same). The
//! application's code that switches is also mapped, one to one, in the lower half; the kernel drops that half first of
//! all. Firmware's descriptor tables are not mapped: until the kernel has loaded its own, any fault resets the machine.

use crate::layout::PAGE_BYTES;

/// Index of the level 4 entry that is the kernel's.
pub const KERNEL_ENTRY: usize = 511;
/// Where the kernel's image is linked.
pub const KERNEL_IMAGE: u64 = 0xffff_ffff_8000_0000;
/// First address after the room for the kernel's image.
pub const KERNEL_IMAGE_END: u64 = 0xffff_ffff_c000_0000;
/// The scratch pages: 2 MiB, one page table.
pub const SCRATCH: u64 = 0xffff_ffff_c000_0000;
/// The page table that maps the scratch pages, as the last of them.
pub const SCRATCH_TABLE: u64 = SCRATCH + 511 * PAGE_BYTES;
/// The [`Handoff`].
pub const HANDOFF: u64 = 0xffff_ffff_c020_0000;
/// First address after the kernel's stack.
pub const BOOT_STACK_TOP: u64 = 0xffff_ffff_c034_0000;
/// Bytes of the kernel's stack.
pub const BOOT_STACK_BYTES: u64 = 0x1_0000;
/// The boot package.
pub const PACKAGE: u64 = 0xffff_ffff_c400_0000;
/// Largest boot package, in bytes.
pub const PACKAGE_BYTES_MAX: u64 = 0x0800_0000;
/// First address of what the kernel maps itself.
pub const DYNAMIC: u64 = 0xffff_ffff_d000_0000;
/// First address after it.
pub const DYNAMIC_END: u64 = 0xffff_ffff_ffff_f000;

/// Largest ELF file of a kernel, in bytes.
pub const KERNEL_FILE_BYTES_MAX: u64 = 16 << 20;

/// Names of the PE sections that carry kernel and boot package, each packed.
pub const KERNEL_SECTION: &str = ".kernel";
/// See [`KERNEL_SECTION`].
pub const PACKAGE_SECTION: &str = ".package";

/// First word of a [`Handoff`].
pub const HANDOFF_MAGIC: u64 = u64::from_le_bytes(*b"CHARTER1");
/// Most entries of the memory map; firmware's further ones are left out, which loses memory but is safe.
pub const MEMORY_RANGES_MAX: usize = 256;

/// Free memory, physical, on page boundaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What the UEFI application passes to the kernel. Addresses are physical.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Handoff {
    /// [`HANDOFF_MAGIC`].
    pub magic: u64,
    /// The level 4 page table that is loaded.
    pub page_table: u64,
    /// Bytes of the boot package at [`PACKAGE`].
    pub package_bytes: u64,
    /// The ACPI root system description pointer (UEFI 2.10, 4.6, ACPI 2.0 table GUID, else 1.0); 0 if there is none.
    pub acpi_root: u64,
    /// The SMBIOS 3 entry point, else the SMBIOS 2 one; 0 if there is none.
    pub smbios_entry: u64,
    /// The machine's evidence ([`crate::evidence`]): [`EVIDENCE_BYTES`](crate::evidence::EVIDENCE_BYTES) bytes of whole
    /// pages, not among `memory`.
    pub evidence: u64,
    /// The memory that outlives a reset ([`crate::crash::memory`]), as it was found; 0 if firmware gave it at none of the
    /// places. Not among `memory`.
    pub crash_memory: u64,
    /// Bytes of memory that the application, what it has allocated and firmware's memory map lie in: it is never free.
    pub loader_bytes: u64,
    /// Time-stamp counter when the application was entered.
    pub entry_time: u64,
    /// Time-stamp counter when firmware was left.
    pub exit_time: u64,
    /// Counts of the time-stamp counter that it took to collect the evidence.
    pub evidence_time: u64,
    /// Bytes of evidence that are used.
    pub evidence_bytes: u64,
    /// Number of `memory` entries used.
    pub memory_ranges: u64,
    /// Memory that nobody uses: UEFI's conventional memory, less what the application took for kernel, package, page
    /// tables and stack. Ascending, not overlapping, nothing below 1 MiB.
    pub memory: [MemoryRange; MEMORY_RANGES_MAX],
}
