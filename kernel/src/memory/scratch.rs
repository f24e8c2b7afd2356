//! Pages that the kernel maps for the moment, to fill a frame that is mapped nowhere else.

use core::ops::Range;
use core::ptr::NonNull;

use abi::handoff::{SCRATCH, SCRATCH_TABLE};
use abi::layout::PAGE_BYTES;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Slots for the page tables of a walk, one a level.
pub const TABLE_SLOTS: usize = 4;
/// The slot for one page of contents.
pub const PAGE_SLOT: usize = 4;
/// The slot for one page of device registers.
pub const TRANSIENT_SLOT: usize = 5;
/// The slot for one page that contents are copied from.
pub const SOURCE_SLOT: usize = 6;
/// Slots for firmware's tables.
pub const FIRMWARE_SLOTS: Range<usize> = 16..511;

/// The scratch pages; there is one.
pub struct Scratch(());

impl Scratch {
    /// Takes them.
    ///
    /// # Safety
    /// Once only, while the page table of the scratch pages is mapped as `abi::handoff` says.
    pub unsafe fn take() -> Self {
        Self(())
    }

    /// Maps the frame at `physical` in a slot, in place of what was there. The page may be written and not executed;
    /// `more` can change that. It stays until the slot is used again.
    ///
    /// # Panics
    /// If the slot is the scratch pages' own table or beyond.
    pub fn map(&mut self, slot: usize, physical: u64, more: Flags) -> NonNull<u8> {
        assert!(slot < 511);
        let address = SCRATCH + slot as u64 * PAGE_BYTES;
        let entry = (SCRATCH_TABLE as *mut u64).wrapping_add(slot);
        let flags = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | more;
        // SAFETY: the table is mapped there (see `take`) and only this value writes it; the slot's page is reached
        // only through what this function returned before, which the caller gave up by using the slot again.
        unsafe { entry.write_volatile(physical | flags.bits()) };
        tlb::flush(VirtAddr::new(address));
        // The address is not null.
        NonNull::new(address as *mut u8).unwrap_or(NonNull::dangling())
    }

    /// Unmaps a slot.
    pub fn unmap(&mut self, slot: usize) {
        assert!(slot < 511);
        let entry = (SCRATCH_TABLE as *mut u64).wrapping_add(slot);
        // SAFETY: as in `map`.
        unsafe { entry.write_volatile(0) };
        tlb::flush(VirtAddr::new(SCRATCH + slot as u64 * PAGE_BYTES));
    }
}
