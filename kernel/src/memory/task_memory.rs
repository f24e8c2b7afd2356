//! Tasks' memory as the kernel looks into it while tasks run, and makes it new where one is restarted: a page at a time,
//! in a scratch page, found through the task's own page tables. No address of a task is ever used as a pointer. No page
//! table changes but that of the scratch pages, and, where a driver comes to drive its device directly, the one that
//! start-up made for that.

use abi::layout::{DIRECT_REGISTERS, PAGE_BYTES, USER_END};
use x86_64::structures::paging::PageTableFlags as Flags;

use super::tables::Tables;
use crate::devices::Opened;
use crate::supervision::image::Page;

/// Words of a page.
pub const PAGE_WORDS: usize = PAGE_BYTES as usize / 8;

/// Looks into tasks' memory, and makes it new.
pub struct TaskMemory {
    tables: Tables,
    /// Physical address of the boot package, which is contiguous and stays where firmware loaded it.
    package: Option<u64>,
}

impl TaskMemory {
    /// With what start-up built page tables with, and where the boot package lies.
    pub(super) fn new(tables: Tables, package: Option<u64>) -> Self {
        Self { tables, package }
    }

    /// Makes a page of a task what it is when the task starts. A page that the task does not have is left out.
    pub fn load(&mut self, root: u64, page: &Page) {
        if let (Some(frame), Some(package)) = (self.tables.user_frame(root, page.address), self.package) {
            self.tables.copy(frame, package + page.offset, page.filled);
        }
    }

    /// Looks at the page of a task in which `address` lies; `None` if the task has none mapped there. `root` is the
    /// task's level 4 page table.
    pub fn page<T>(&mut self, root: u64, address: u64, look: impl FnOnce(&[u64; PAGE_WORDS]) -> T) -> Option<T> {
        let page = self.map(root, address)?;
        // SAFETY: the frame was mapped there just now; no task runs, and no device writes what is not in a window, so
        // nobody writes it while it is looked at. Of a window each word is a number like any other.
        Some(look(unsafe { &*page }))
    }

    /// Changes the byte at this address of a task. Returns whether the task has one there.
    #[cfg(feature = "test-faults")]
    pub fn change(&mut self, root: u64, address: u64, change: impl FnOnce(u8) -> u8) -> bool {
        let Some(page) = self.map(root, address) else { return false };
        let byte = page.cast::<u8>().wrapping_add((address % PAGE_BYTES) as usize);
        // SAFETY: the frame was mapped there just now, for writing, and no reference to it exists.
        unsafe { byte.write_volatile(change(byte.read_volatile())) };
        true
    }

    fn map(&mut self, root: u64, address: u64) -> Option<*mut [u64; PAGE_WORDS]> {
        if address >= USER_END {
            return None;
        }
        let frame = self.tables.user_frame(root, address)?;
        Some(self.tables.show(frame).as_ptr().cast())
    }

    /// Maps a device's registers and its memory for rings into the task that drives it directly. `root` is the task's level
    /// 4 page table, `device` the device's number. Returns whether there was room, which start-up makes.
    pub fn map_direct(&mut self, root: u64, device: u16, opened: &Opened) -> bool {
        let data = Flags::USER_ACCESSIBLE | Flags::WRITABLE | Flags::NO_EXECUTE;
        let uncached = data | Flags::NO_CACHE | Flags::WRITE_THROUGH;
        let part = abi::direct::part(device);
        let runs = [
            (part, opened.rings, opened.ring_bytes, data),
            (part + DIRECT_REGISTERS, opened.registers, opened.register_bytes, uncached),
        ];
        let mut mapped = true;
        for (address, physical, bytes, flags) in runs {
            for offset in (0..bytes).step_by(PAGE_BYTES as usize) {
                mapped &= self.tables.map_prepared(root, address + offset, physical + offset, flags);
            }
        }
        self.tables.forget();
        mapped
    }

    /// Unmaps what was looked at or made new.
    pub fn forget(&mut self) {
        self.tables.forget();
    }
}
