//! Memory that nobody may write while tasks run: whatever is mapped writable nowhere. Code and constants of the kernel and
//! of tasks, what tasks are restarted from, and every page that is free: the kernel allocates none once tasks run.
//!
//! A device that writes outside its regions, or a kernel that a task led astray, is found by comparing two moments.

use super::{GuestMemory, Mapping, PAGE_BYTES};
use crate::qmp::{Client, QmpError};

/// A moment of a guest.
pub struct Still {
    memory: Vec<u8>,
    /// Whether somebody may write it, for each page.
    may_change: Vec<bool>,
}

impl Still {
    /// Pauses the guest, looks at its memory, the first `bytes` of it, and lets it go on. What `task` maps may change.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn take(control: &mut Client, bytes: u64, task: &str) -> Result<Self, QmpError> {
        control.pause()?;
        let page_table = control.register("CR3")?;
        let mut memory = GuestMemory::new(control, bytes)?;
        let mut may_change = vec![false; (bytes / PAGE_BYTES) as usize];
        for root in memory.address_spaces(page_table)? {
            for table in memory.tables(root)? {
                mark(&mut may_change, table, PAGE_BYTES);
            }
            for Mapping { physical, bytes, .. } in
                memory.mappings(root)?.into_iter().filter(|mapping| mapping.rights.writable)
            {
                mark(&mut may_change, physical, bytes);
            }
        }
        for space in memory.tasks(page_table)?.iter().filter(|space| space.task == task) {
            space.user().for_each(|mapping| mark(&mut may_change, mapping.physical, mapping.bytes));
        }
        let memory = memory.low;
        control.resume()?;
        Ok(Self { memory, may_change })
    }

    /// How many pages nobody may write.
    pub fn pages(&self) -> usize {
        self.may_change.iter().filter(|may| !**may).count()
    }

    /// Pauses the guest for good. The addresses of pages that were written and may not be.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn changed(&self, control: &mut Client) -> Result<Vec<u64>, QmpError> {
        control.pause()?;
        let now = control.read_memory(0, self.memory.len() as u64)?;
        Ok(self.differ(&now))
    }

    fn differ(&self, now: &[u8]) -> Vec<u64> {
        let pages = self.memory.chunks(PAGE_BYTES as usize).zip(now.chunks(PAGE_BYTES as usize));
        let pages = (0..).step_by(PAGE_BYTES as usize).zip(pages).zip(&self.may_change);
        pages.filter(|((_, (before, now)), may)| !**may && before != now).map(|((address, _), _)| address).collect()
    }
}

/// Marks the pages of a physical range, as far as they are there.
fn mark(pages: &mut [bool], physical: u64, bytes: u64) {
    let first = (physical / PAGE_BYTES) as usize;
    let end = (physical + bytes).div_ceil(PAGE_BYTES) as usize;
    let end = end.min(pages.len());
    if first < end {
        pages[first..end].fill(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_nobody_may_write_is_found_if_a_byte_of_it_has_changed_and_no_other_is() {
        let mut still = Still { memory: vec![0; 5 * 4096], may_change: vec![false; 5] };
        mark(&mut still.may_change, 4096, 1);
        mark(&mut still.may_change, 3 * 4096, 4096);
        mark(&mut still.may_change, 1 << 30, 4096);
        assert_eq!((still.pages(), &still.may_change[..]), (3, &[false, true, false, true, false][..]));
        let mut now = still.memory.clone();
        assert!(still.differ(&now).is_empty());
        (0..5).for_each(|page| now[page * 4096 + 4095] = 1);
        assert_eq!(still.differ(&now), [0, 2 * 4096, 4 * 4096]);
    }
}
