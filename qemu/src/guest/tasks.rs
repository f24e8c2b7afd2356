//! The tasks of a paused guest: their address spaces, and how deep their stacks have been.

use abi::layout::{STACK_BYTES_MAX, STACK_TOP, START_INFO, WINDOW_START};
use abi::start::StartInfo;

use super::{DIRTY, FRAME, GuestMemory, LARGE, Mapping, PAGE_BYTES, PRESENT};
use crate::qmp::QmpError;

/// An address space of a task.
#[derive(Clone, Debug)]
pub struct Space {
    /// The task's name.
    pub task: String,
    /// Everything that it maps, the kernel's half too.
    pub mappings: Vec<Mapping>,
    /// Its level 4 table.
    root: u64,
}

impl Space {
    /// What the task itself may use.
    pub fn user(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().filter(|mapping| mapping.rights.user)
    }

    /// DMA memory.
    pub fn windows(&self) -> impl Iterator<Item = &Mapping> {
        self.user().filter(|mapping| mapping.address >= WINDOW_START)
    }
}

impl GuestMemory<'_> {
    /// Every task's address space, found by the kernel's half that they share with `page_table`. The tables of another
    /// address space with the same half (the kernel's own) are left out, as they have no start information.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn tasks(&mut self, page_table: u64) -> Result<Vec<Space>, QmpError> {
        let mut spaces = Vec::new();
        for root in self.address_spaces(page_table)? {
            let mappings = self.mappings(root)?;
            let Some(physical) = mappings.iter().find_map(|mapping| mapping.translate(START_INFO)) else { continue };
            let page = self.page(physical)?.to_vec();
            if let Ok((information, _)) = postcard::take_from_bytes::<StartInfo<'_>>(&page) {
                spaces.push(Space { task: information.task.to_owned(), mappings, root });
            }
        }
        Ok(spaces)
    }

    /// How many bytes of its stack a task has ever used: down to the lowest word that is not zero, as all were when it
    /// began; or down to the lowest page that the processor marked as written, if zeros alone were written there.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn stack_used(&mut self, space: &Space) -> Result<u64, QmpError> {
        let mut lowest = STACK_TOP;
        for page in (1..=STACK_BYTES_MAX / PAGE_BYTES).map(|pages| STACK_TOP - pages * PAGE_BYTES) {
            // An unmapped page lies below the stack.
            let Some(entry) = self.leaf(space.root, page)? else { break };
            if entry & DIRTY != 0 {
                let words = self.page(entry & FRAME)?.chunks_exact(8);
                let zeros = words.take_while(|word| word.iter().all(|byte| *byte == 0)).count() as u64 * 8;
                lowest = page + if zeros == PAGE_BYTES { 0 } else { zeros };
            }
        }
        Ok(STACK_TOP - lowest)
    }

    /// The page table's entry for a page of 4 KiB, if it is mapped as one.
    fn leaf(&mut self, root: u64, address: u64) -> Result<Option<u64>, QmpError> {
        let mut table = root & FRAME;
        for level in (1..=4_u32).rev() {
            let index = (address >> (12 + 9 * (level - 1))) as usize % 512;
            let entry = self.entry(table, index)?;
            if entry & PRESENT == 0 || (level > 1 && entry & LARGE != 0) {
                return Ok(None);
            }
            if level == 1 {
                return Ok(Some(entry));
            }
            table = entry & FRAME;
        }
        Ok(None)
    }
}
