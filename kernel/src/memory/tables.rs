//! Walks and extends page tables (Intel SDM volume 3, 4.5), each of them mapped for the moment.

use core::ptr::NonNull;

use abi::handoff::KERNEL_ENTRY;
use abi::layout::{IPC_BUFFER_BYTES, PAGE_BYTES};
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};
use x86_64::{PhysAddr, VirtAddr};

use super::MemoryError;
use super::frames::Frames;
use super::scratch::{PAGE_SLOT, SOURCE_SLOT, Scratch, TABLE_SLOTS};

const _: () = assert!(IPC_BUFFER_BYTES as u64 == PAGE_BYTES);

/// Page tables through the scratch pages. Remembers which tables are mapped there, so that neighbouring pages cost no
/// new walk.
pub struct Tables {
    scratch: Scratch,
    /// The table in each slot, 0 for none; slot *n* holds a table of level *n* + 1.
    mapped: [u64; TABLE_SLOTS],
}

impl Tables {
    /// Over these scratch pages.
    pub fn new(scratch: Scratch) -> Self {
        Self { scratch, mapped: [0; TABLE_SLOTS] }
    }

    /// The scratch pages, for slots that are not for tables.
    pub fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    fn table(&mut self, level: usize, physical: u64) -> &mut PageTable {
        let slot = level - 1;
        if self.mapped[slot] != physical {
            self.scratch.map(slot, physical, Flags::empty());
            self.mapped[slot] = physical;
        }
        let address = abi::handoff::SCRATCH + slot as u64 * PAGE_BYTES;
        // SAFETY: `physical` is a page table that only this walk changes, mapped at this slot just now or before; the
        // reference lives as long as `self` is borrowed, and the slot is used again only through `self`.
        unsafe { &mut *(address as *mut PageTable) }
    }

    /// A fresh page table with nothing in it.
    pub fn new_table(&mut self, frames: &mut Frames, level: usize) -> Result<u64, MemoryError> {
        let physical = frames.frame()?;
        self.table(level, physical).zero();
        Ok(physical)
    }

    /// A fresh level 4 table with the kernel's half of `kernel_root`.
    pub fn new_root(&mut self, frames: &mut Frames, kernel_root: u64) -> Result<u64, MemoryError> {
        let kernel = self.table(4, kernel_root)[KERNEL_ENTRY].clone();
        let root = self.new_table(frames, 4)?;
        self.table(4, root)[KERNEL_ENTRY] = kernel;
        Ok(root)
    }

    /// Clears every entry of a level 4 table but the kernel's, and forgets translations.
    pub fn drop_lower_half(&mut self, root: u64) {
        for index in (0..512).filter(|index| *index != KERNEL_ENTRY) {
            self.table(4, root)[index].set_unused();
        }
        x86_64::instructions::tlb::flush_all();
    }

    /// Maps one page. Missing tables are made, for users too if the page is.
    ///
    /// # Errors
    /// If no frame is left for a table, or the page is mapped already.
    pub fn map(
        &mut self,
        frames: &mut Frames,
        root: u64,
        address: u64,
        physical: u64,
        flags: Flags,
    ) -> Result<(), MemoryError> {
        let mut table = root;
        let upper = Flags::PRESENT | Flags::WRITABLE | (flags & Flags::USER_ACCESSIBLE);
        for level in [4, 3, 2] {
            table = self.next_table(frames, table, level, address, upper)?;
        }
        let entry = &mut self.table(1, table)[index(address, 1)];
        if !entry.is_unused() {
            return Err(MemoryError::Mapped { address });
        }
        entry.set_addr(PhysAddr::new(physical), flags | Flags::PRESENT);
        Ok(())
    }

    /// Makes the tables in which a task's page is to be mapped later ([`Tables::map_prepared`]).
    ///
    /// # Errors
    /// If no frame is left for a table.
    pub fn prepare(&mut self, frames: &mut Frames, root: u64, address: u64) -> Result<(), MemoryError> {
        let mut table = root;
        let upper = Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE;
        for level in [4, 3, 2] {
            table = self.next_table(frames, table, level, address, upper)?;
        }
        Ok(())
    }

    fn next_table(
        &mut self,
        frames: &mut Frames,
        table: u64,
        level: usize,
        address: u64,
        flags: Flags,
    ) -> Result<u64, MemoryError> {
        let index = index(address, level);
        let entry = &self.table(level, table)[index];
        if !entry.is_unused() {
            return Ok(entry.addr().as_u64());
        }
        let fresh = self.new_table(frames, level - 1)?;
        self.table(level, table)[index].set_addr(PhysAddr::new(fresh), flags);
        Ok(fresh)
    }

    /// Maps one page where tables were prepared. Returns whether they were, and nothing else is mapped there.
    pub fn map_prepared(&mut self, root: u64, address: u64, physical: u64, flags: Flags) -> bool {
        let Some(table) = self.last_table(root, address) else { return false };
        let entry = &mut self.table(1, table)[index(address, 1)];
        if !entry.is_unused() {
            return entry.addr().as_u64() == physical;
        }
        // What was not present is remembered by no processor (Intel SDM 3A, 4.10.2.3): nothing is to be flushed.
        // A frame's address: nothing is cut off, and no check of that is left that could fail.
        let frame = PhysAddr::new_truncate(physical).align_down(PAGE_BYTES);
        entry.set_addr(frame, flags | Flags::PRESENT);
        true
    }

    /// The frame of the page in which a task's address lies; `None` unless it is mapped for users.
    pub fn user_frame(&mut self, root: u64, address: u64) -> Option<u64> {
        let mut table = root;
        for level in [4, 3, 2, 1] {
            let entry = &self.table(level, table)[index(address, level)];
            if !entry.flags().contains(Flags::PRESENT | Flags::USER_ACCESSIBLE) {
                return None;
            }
            table = entry.addr().as_u64();
        }
        Some(table)
    }

    /// Maps one frame for the moment, until the next one.
    pub fn show(&mut self, physical: u64) -> NonNull<u8> {
        self.scratch.map(PAGE_SLOT, physical, Flags::empty())
    }

    /// The level 1 table that maps a page, if there is one.
    fn last_table(&mut self, root: u64, address: u64) -> Option<u64> {
        let mut table = root;
        for level in [4, 3, 2] {
            let entry = &self.table(level, table)[index(address, level)];
            if entry.is_unused() {
                return None;
            }
            table = entry.addr().as_u64();
        }
        Some(table)
    }

    /// Unmaps one page, if it is mapped.
    pub fn unmap(&mut self, root: u64, address: u64) {
        if let Some(table) = self.last_table(root, address) {
            self.table(1, table)[index(address, 1)].set_unused();
            x86_64::instructions::tlb::flush(VirtAddr::new(address));
        }
    }

    /// The frame of a page, if it is mapped.
    pub fn translate(&mut self, root: u64, address: u64) -> Option<u64> {
        let table = self.last_table(root, address)?;
        let entry = &self.table(1, table)[index(address, 1)];
        (!entry.is_unused()).then(|| entry.addr().as_u64())
    }

    /// Fills a frame with `bytes` of contiguous physical memory, at most a page of it, then zeroes. The memory is not in
    /// the frame.
    pub fn copy(&mut self, frame: u64, from: u64, bytes: usize) {
        let page = self.scratch.map(PAGE_SLOT, frame, Flags::empty());
        let (bytes, mut done) = (bytes.min(PAGE_BYTES as usize), 0);
        while done < bytes {
            let place = from + done as u64;
            let within = (place % PAGE_BYTES) as usize;
            let count = (bytes - done).min(PAGE_BYTES as usize - within);
            let source = self.scratch.map(SOURCE_SLOT, place - within as u64, Flags::empty());
            // SAFETY: both pages were mapped just now, the one for writing; what is copied lies inside each of them, and
            // no reference to either exists.
            unsafe { page.as_ptr().add(done).copy_from_nonoverlapping(source.as_ptr().add(within), count) };
            done += count;
        }
        // SAFETY: as above; the rest of the same page.
        unsafe { page.as_ptr().add(bytes).write_bytes(0, PAGE_BYTES as usize - bytes) };
    }

    /// Fills a frame: `data`, at most a page of it, then zeroes.
    pub fn fill(&mut self, physical: u64, data: &[u8]) {
        let page = self.show(physical);
        let length = data.len().min(PAGE_BYTES as usize);
        // SAFETY: the frame was mapped there just now for writing; `data` is not in it, because no frame that is being
        // filled is mapped anywhere else.
        unsafe {
            page.as_ptr().copy_from_nonoverlapping(data.as_ptr(), length);
            page.as_ptr().add(length).write_bytes(0, PAGE_BYTES as usize - length);
        }
    }

    /// Unmaps what is mapped for the moment.
    pub fn forget(&mut self) {
        for slot in (0..=PAGE_SLOT).chain([SOURCE_SLOT]) {
            self.scratch.unmap(slot);
        }
        self.mapped = [0; TABLE_SLOTS];
    }
}

/// Index of an address in a table of this level, 1 to 4.
fn index(address: u64, level: usize) -> usize {
    (address >> (12 + 9 * (level - 1))) as usize & 511
}
