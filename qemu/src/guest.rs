//! A paused guest's memory, read from outside: page tables, what they map, and whether it holds an address.
//!
//! Tests use it to look at what tasks can reach without asking the kernel.

mod still;
mod tasks;

use std::collections::HashMap;
use std::ops::Range;

use crate::qmp::{Client, QmpError};

pub use still::Still;
pub use tasks::Space;

/// Bytes in a page.
pub const PAGE_BYTES: u64 = 4096;

/// Memory of a guest. The machine should be paused while it is used.
pub struct GuestMemory<'a> {
    control: &'a mut Client,
    /// The first bytes of memory, read at once.
    low: Vec<u8>,
    /// Pages beyond, read when first used.
    far: HashMap<u64, Vec<u8>>,
}

/// A run of pages that is mapped contiguously with the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First virtual address.
    pub address: u64,
    /// First physical address.
    pub physical: u64,
    /// Bytes.
    pub bytes: u64,
    /// What may be done with it.
    pub rights: Rights,
}

/// What a mapping allows, over all levels of the page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Ring 3 may use it.
    pub user: bool,
    /// It may be written.
    pub writable: bool,
    /// It may be executed.
    pub executable: bool,
}

impl Mapping {
    /// Its physical addresses.
    pub fn physical_range(&self) -> Range<u64> {
        self.physical..self.physical + self.bytes
    }

    /// The physical address behind a virtual one, if this mapping has it.
    pub fn translate(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.address).filter(|offset| *offset < self.bytes).map(|offset| self.physical + offset)
    }
}

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const DIRTY: u64 = 1 << 6;
const ACCESSED_DIRTY: u64 = 1 << 5 | DIRTY;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

impl<'a> GuestMemory<'a> {
    /// Reads the first `low_bytes` of memory at once; what is used beyond is read page by page.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn new(control: &'a mut Client, low_bytes: u64) -> Result<Self, QmpError> {
        let low = control.read_memory(0, low_bytes)?;
        Ok(Self { control, low, far: HashMap::new() })
    }

    /// A page of physical memory.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn page(&mut self, physical: u64) -> Result<&[u8], QmpError> {
        let start = physical & FRAME;
        if start + PAGE_BYTES <= self.low.len() as u64 {
            return Ok(&self.low[start as usize..][..PAGE_BYTES as usize]);
        }
        if !self.far.contains_key(&start) {
            let page = self.control.read_memory(start, PAGE_BYTES)?;
            self.far.insert(start, page);
        }
        Ok(&self.far[&start])
    }

    /// Everything behind a mapping.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn contents(&mut self, mapping: &Mapping) -> Result<Vec<u8>, QmpError> {
        let range = mapping.physical_range();
        match self.low.get(range.start as usize..range.end as usize) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => self.control.read_memory(mapping.physical, mapping.bytes),
        }
    }

    /// The level 4 tables in the first part of memory that share the kernel's half with `root`: one an address space.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn address_spaces(&mut self, root: u64) -> Result<Vec<u64>, QmpError> {
        const KERNEL: usize = 511;
        let kernel = self.entry(root & FRAME, KERNEL)? & !ACCESSED_DIRTY;
        let pages = self.low.chunks_exact(PAGE_BYTES as usize).enumerate();
        let same = pages.filter(|(_, page)| entry(page, KERNEL) & !ACCESSED_DIRTY == kernel);
        Ok(same.map(|(index, _)| index as u64 * PAGE_BYTES).collect())
    }

    /// Everything that a level 4 table maps.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn mappings(&mut self, root: u64) -> Result<Vec<Mapping>, QmpError> {
        let mut found = Vec::new();
        let all = Rights { user: true, writable: true, executable: true };
        self.walk(root & FRAME, 4, 0, all, &mut found)?;
        Ok(found)
    }

    /// The pages that hold the page tables under a level 4 table, itself among them.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn tables(&mut self, root: u64) -> Result<Vec<u64>, QmpError> {
        let (mut found, mut tables) = (Vec::new(), vec![(root & FRAME, 4)]);
        while let Some((table, level)) = tables.pop() {
            found.push(table);
            for index in 0..512 {
                let entry = self.entry(table, index)?;
                if level > 1 && entry & PRESENT != 0 && (level == 4 || entry & LARGE == 0) {
                    tables.push((entry & FRAME, level - 1));
                }
            }
        }
        Ok(found)
    }

    /// Page-table entries under a level 4 table that are not present and not zero. A processor with the L1 terminal fault
    /// reads, by speculation, what its first cache holds of the page that such an entry names.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn absent_entries_that_name_a_page(&mut self, root: u64) -> Result<Vec<u64>, QmpError> {
        let mut found = Vec::new();
        let mut tables = vec![(root & FRAME, 4)];
        while let Some((table, level)) = tables.pop() {
            for index in 0..512 {
                let entry = self.entry(table, index)?;
                if entry & PRESENT == 0 {
                    found.extend((entry != 0).then_some(entry));
                } else if level > 1 && (level == 4 || entry & LARGE == 0) {
                    tables.push((entry & FRAME, level - 1));
                }
            }
        }
        Ok(found)
    }

    fn walk(
        &mut self,
        table: u64,
        level: u32,
        address: u64,
        above: Rights,
        found: &mut Vec<Mapping>,
    ) -> Result<(), QmpError> {
        let shift = 12 + 9 * (level - 1);
        for index in 0..512 {
            let entry = self.entry(table, index)?;
            if entry & PRESENT == 0 {
                continue;
            }
            let rights = Rights {
                user: above.user && entry & USER != 0,
                writable: above.writable && entry & WRITABLE != 0,
                executable: above.executable && entry & NO_EXECUTE == 0,
            };
            let mut address = address | (index as u64) << shift;
            if level == 4 && index >= 256 {
                // Addresses are sign-extended from bit 47.
                address |= 0xffff_0000_0000_0000;
            }
            if level == 1 || (level < 4 && entry & LARGE != 0) {
                let bytes = 1 << shift;
                push(found, Mapping { address, physical: entry & FRAME & !(bytes - 1), bytes, rights });
            } else {
                self.walk(entry & FRAME, level - 1, address, rights, found)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, table: u64, index: usize) -> Result<u64, QmpError> {
        Ok(entry(self.page(table)?, index))
    }
}

fn entry(page: &[u8], index: usize) -> u64 {
    page[index * 8..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Adds a mapping to the last one if it goes on there.
fn push(found: &mut Vec<Mapping>, next: Mapping) {
    match found.last_mut() {
        Some(last)
            if last.rights == next.rights
                && last.address.checked_add(last.bytes) == Some(next.address)
                && last.physical + last.bytes == next.physical =>
        {
            last.bytes += next.bytes;
        }
        _ => found.push(next),
    }
}

/// A physical address, or the number of a page, that lies in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Where, from the first of the bytes.
    pub offset: usize,
    /// What was read there.
    pub value: u64,
    /// How it was read.
    pub form: Form,
}

/// The forms in which an address may be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An address in 64 bits.
    Address64,
    /// An address in 32 bits.
    Address32,
    /// A page's number (address / 4096) in 32 bits, and so in 64 bits too.
    PageNumber,
}

/// Looks in bytes, at any alignment, for an address in one of the physical ranges or for the number of one of their
/// pages.
pub fn leaks(bytes: &[u8], secret: &[Range<u64>]) -> Vec<Leak> {
    let is_secret = |value: u64| secret.iter().any(|range| range.contains(&value));
    let mut found = Vec::new();
    for offset in 0..bytes.len() {
        let rest = &bytes[offset..];
        let word = rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let half = rest.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
        if let Some(value) = word.filter(|value| is_secret(*value)) {
            found.push(Leak { offset, value, form: Form::Address64 });
        } else if let Some(value) = half.filter(|value| is_secret(*value)) {
            found.push(Leak { offset, value, form: Form::Address32 });
        } else if let Some(value) = half.filter(|value| is_secret(*value * PAGE_BYTES)) {
            found.push(Leak { offset, value, form: Form::PageNumber });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_every_form_and_at_every_alignment() {
        let secret = [0x8765_4000..0x8765_8000, 0x2_1234_5000..0x2_1234_6000];
        for offset in 0..8 {
            for (value, form, width) in [
                (0x2_1234_5678_u64, Form::Address64, 8),
                (0x8765_7fff, Form::Address64, 8),
                (0x8765_4000, Form::Address32, 4),
                (0x8_7656, Form::PageNumber, 4),
                (0x21_2345, Form::PageNumber, 8),
            ] {
                let mut bytes = [0xff; 32];
                bytes[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
                assert_eq!(leaks(&bytes, &secret), [Leak { offset, value, form }], "{value:#x} at {offset}");
            }
        }
    }

    #[test]
    fn what_is_near_is_not_found() {
        let secret = 0x2_1234_5000..0x2_1234_6000;
        for value in [0x2_1234_4fff_u64, 0x2_1234_6000, 0x1234_5000, 0x21_2344, 0x21_2346] {
            let mut bytes = [0xff; 32];
            bytes[8..16].copy_from_slice(&value.to_le_bytes());
            assert_eq!(leaks(&bytes, std::slice::from_ref(&secret)), [], "{value:#x}");
        }
    }

    #[test]
    fn neighbouring_pages_become_one_mapping() {
        let rights = Rights { user: true, writable: false, executable: true };
        let page = |address, physical| Mapping { address, physical, bytes: PAGE_BYTES, rights };
        let mut found = Vec::new();
        for next in [page(0x1000, 0x8000), page(0x2000, 0x9000), page(0x3000, 0xc000), page(0x5000, 0xd000)] {
            push(&mut found, next);
        }
        assert_eq!(
            found,
            [Mapping { bytes: 0x2000, ..page(0x1000, 0x8000) }, page(0x3000, 0xc000), page(0x5000, 0xd000)]
        );
        assert_eq!(found[0].translate(0x2fff), Some(0x9fff));
        assert_eq!(found[0].translate(0x3000), None);
        assert_eq!(found[0].translate(0xfff), None);
    }
}
