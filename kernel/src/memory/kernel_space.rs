//! What the kernel maps for itself: IPC buffers, device registers, hidden memory, stacks.

use core::ptr::NonNull;

use abi::handoff::{DYNAMIC_END, PACKAGE};
use abi::layout::PAGE_BYTES;
use x86_64::structures::paging::PageTableFlags as Flags;

use super::scratch::{FIRMWARE_SLOTS, TRANSIENT_SLOT};
use super::task_memory::TaskMemory;
use super::{Memory, MemoryError};
use crate::platform::Mapper;

impl Memory {
    /// Takes addresses for `bytes`, whole pages, with an unmapped page after them.
    fn take_addresses(&mut self, bytes: u64) -> Result<u64, MemoryError> {
        let start = self.next_dynamic;
        let end = start.checked_add(bytes).and_then(|end| end.checked_add(PAGE_BYTES)).ok_or(MemoryError::Full)?;
        if end > DYNAMIC_END {
            return Err(MemoryError::Full);
        }
        self.next_dynamic = end;
        Ok(start)
    }

    fn map_run(&mut self, address: u64, physical: u64, bytes: u64, flags: Flags) -> Result<(), MemoryError> {
        for offset in (0..bytes).step_by(PAGE_BYTES as usize) {
            self.tables.map(&mut self.frames, self.kernel_root, address + offset, physical + offset, flags)?;
        }
        Ok(())
    }

    /// Maps contiguous memory for the kernel, writable, and zeroes it.
    ///
    /// # Errors
    /// If addresses or frames for tables are used up.
    pub fn map_zeroed(&mut self, physical: u64, bytes: u64) -> Result<NonNull<u8>, MemoryError> {
        let address = self.take_addresses(bytes)?;
        self.map_run(address, physical, bytes, Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL)?;
        let start = NonNull::new(address as *mut u8).ok_or(MemoryError::Full)?;
        // SAFETY: these pages were mapped just now, writable, and nobody else knows them.
        unsafe { start.write_bytes(0, bytes as usize) };
        Ok(start)
    }

    /// Fresh zeroed memory for the kernel, with unmapped pages before and after it.
    ///
    /// # Errors
    /// If addresses or frames are used up.
    pub fn allocate(&mut self, bytes: u64) -> Result<(NonNull<u8>, u64), MemoryError> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        let physical = self.frames.contiguous(bytes)?;
        Ok((self.map_zeroed(physical, bytes)?, physical))
    }

    /// Unmaps the boot package and everything that was mapped for the moment. Nobody may use them any more. What is left
    /// looks into tasks' memory, and makes that of restarted ones new.
    pub fn finish(mut self, package_bytes: u64) -> TaskMemory {
        let package = self.tables.translate(self.kernel_root, PACKAGE);
        for offset in (0..package_bytes).step_by(PAGE_BYTES as usize) {
            self.tables.unmap(self.kernel_root, PACKAGE + offset);
        }
        for slot in FIRMWARE_SLOTS.start..self.next_firmware_slot {
            self.tables.scratch().unmap(slot);
        }
        self.tables.scratch().unmap(TRANSIENT_SLOT);
        self.tables.forget();
        TaskMemory::new(self.tables, package)
    }
}

impl Mapper for Memory {
    fn map_device(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>> {
        let within = physical % PAGE_BYTES;
        let length = within.checked_add(bytes)?.checked_next_multiple_of(PAGE_BYTES)?;
        let address = self.take_addresses(length).ok()?;
        let flags = Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL | Flags::NO_CACHE | Flags::WRITE_THROUGH;
        self.map_run(address, physical - within, length, flags).ok()?;
        NonNull::new((address + within) as *mut u8)
    }

    fn map_transient(&mut self, physical: u64) -> Option<NonNull<u8>> {
        Some(self.tables.scratch().map(TRANSIENT_SLOT, physical, Flags::NO_CACHE | Flags::WRITE_THROUGH))
    }

    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
        self.allocate(PAGE_BYTES).ok()
    }

    fn map_firmware(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>> {
        let within = physical % PAGE_BYTES;
        let pages = usize::try_from(within.checked_add(bytes)?.div_ceil(PAGE_BYTES)).ok()?;
        let first = self.next_firmware_slot;
        if pages == 0 || pages > FIRMWARE_SLOTS.end - first {
            return None;
        }
        self.next_firmware_slot += pages;
        let mut address = None;
        for page in 0..pages {
            let frame = (physical - within).checked_add(page as u64 * PAGE_BYTES)?;
            let mapped = self.tables.scratch().map(first + page, frame, Flags::empty());
            address = address.or(Some(mapped));
        }
        NonNull::new(address?.as_ptr().wrapping_add(within as usize))
    }
}
