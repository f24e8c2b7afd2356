//! Builds page tables in memory that will be theirs, without reading or writing anything else.
//!
//! Four levels (Intel SDM volume 3A, 4.5). Firmware maps memory one to one, so the tables are a plain slice whose first
//! element has a known physical address; a table's entry is followed by turning its address back into an index.

use abi::layout::PAGE_BYTES;
use abi::package::Access;
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags, PageTableIndex};
use x86_64::{PhysAddr, VirtAddr};

/// Bytes that one table of the lowest level maps.
pub const TABLE_SPAN: u64 = 512 * PAGE_BYTES;

/// Why a page was not mapped. Both say that the application reckoned wrong, not that its input is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagingError {
    /// There are no tables left.
    #[error("no page table left")]
    OutOfTables,
    /// There is a page already.
    #[error("page {0:#x} mapped twice")]
    Mapped(u64),
}

/// How long a mapping stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the kernel: global, so that it survives a change of address space in the translation cache.
    Kernel,
    /// The kernel takes it away some time.
    Temporary,
}

/// Page tables under construction. The first one is the level 4 table.
#[derive(Debug)]
pub struct Tables<'a> {
    tables: &'a mut [PageTable],
    physical: u64,
    used: usize,
}

impl<'a> Tables<'a> {
    /// Begins with an empty level 4 table. `physical` is the address of `tables`, which may hold anything.
    ///
    /// # Errors
    /// If `tables` is empty.
    pub fn new(tables: &'a mut [PageTable], physical: u64) -> Result<Self, PagingError> {
        let mut new = Self { tables, physical, used: 0 };
        new.take()?;
        Ok(new)
    }

    /// Physical address of the level 4 table.
    pub fn root(&self) -> u64 {
        self.physical
    }

    /// Maps `pages` pages from `address` to the physical pages from `physical`, for the kernel only.
    ///
    /// # Errors
    /// If a page is mapped already or tables run out; pages before it stay mapped.
    pub fn map(
        &mut self,
        address: u64,
        physical: u64,
        pages: usize,
        access: Access,
        lifetime: Lifetime,
    ) -> Result<(), PagingError> {
        let mut flags = Flags::PRESENT;
        flags.set(Flags::WRITABLE, access == Access::ReadWrite);
        flags.set(Flags::NO_EXECUTE, access != Access::ReadExecute);
        flags.set(Flags::GLOBAL, lifetime == Lifetime::Kernel);
        for page in 0..pages as u64 {
            let address = address + page * PAGE_BYTES;
            let (table, index) = self.lowest(address)?;
            let entry = &mut self.tables[table][index];
            if !entry.is_unused() {
                return Err(PagingError::Mapped(address));
            }
            entry.set_addr(PhysAddr::new_truncate(physical + page * PAGE_BYTES), flags);
        }
        Ok(())
    }

    /// Maps the lowest table that covers `address` at `address` itself, writable.
    ///
    /// # Errors
    /// As [`Tables::map`].
    pub fn map_table_itself(&mut self, address: u64) -> Result<(), PagingError> {
        let (table, _) = self.lowest(address)?;
        let physical = self.physical + table as u64 * PAGE_BYTES;
        self.map(address, physical, 1, Access::ReadWrite, Lifetime::Kernel)
    }

    /// What `address` is mapped to: the entry of the lowest level, if there is one.
    pub fn entry(&self, address: u64) -> Option<&PageTableEntry> {
        let (indices, last) = indices(address);
        let mut table = 0;
        for index in indices {
            table = self.next(table, index)?;
        }
        let entry = &self.tables[table][last];
        (!entry.is_unused()).then_some(entry)
    }

    /// The lowest table that covers `address`, made if there is none, and the index in it.
    fn lowest(&mut self, address: u64) -> Result<(usize, PageTableIndex), PagingError> {
        let (indices, last) = indices(address);
        let mut table = 0;
        for index in indices {
            table = match self.next(table, index) {
                Some(next) => next,
                None => {
                    let next = self.take()?;
                    let physical = PhysAddr::new_truncate(self.physical + next as u64 * PAGE_BYTES);
                    // Rights are set on the lowest level only; upper levels allow the kernel everything.
                    self.tables[table][index].set_addr(physical, Flags::PRESENT | Flags::WRITABLE);
                    next
                }
            };
        }
        Ok((table, last))
    }

    fn next(&self, table: usize, index: PageTableIndex) -> Option<usize> {
        let entry = &self.tables[table][index];
        // An entry in use was made by `lowest`, so its address is that of one of our tables.
        (!entry.is_unused()).then(|| ((entry.addr().as_u64() - self.physical) / PAGE_BYTES) as usize)
    }

    fn take(&mut self) -> Result<usize, PagingError> {
        self.tables.get_mut(self.used).ok_or(PagingError::OutOfTables)?.zero();
        self.used += 1;
        Ok(self.used - 1)
    }
}

/// Indices into the tables of level 4, 3 and 2, and into that of level 1.
fn indices(address: u64) -> ([PageTableIndex; 3], PageTableIndex) {
    let address = VirtAddr::new_truncate(address);
    ([address.p4_index(), address.p3_index(), address.p2_index()], address.p1_index())
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;

    const PHYSICAL: u64 = 0x12_3000;
    const ADDRESS: u64 = 0xffff_ffff_8000_0000;

    fn dirty(count: usize) -> std::vec::Vec<PageTable> {
        let mut table = PageTable::new();
        table.iter_mut().for_each(|entry| entry.set_addr(PhysAddr::new(0x7000), Flags::all()));
        std::vec![table; count]
    }

    #[test]
    fn rights_are_those_asked_for_and_never_the_users() {
        let mut memory = dirty(4);
        let mut tables = Tables::new(&mut memory, PHYSICAL).unwrap();
        tables.map(ADDRESS, 0x1_0000, 2, Access::ReadExecute, Lifetime::Kernel).unwrap();
        tables.map(ADDRESS + 0x2000, 0x2_0000, 1, Access::Read, Lifetime::Kernel).unwrap();
        tables.map(ADDRESS + 0x3000, 0x3_0000, 1, Access::ReadWrite, Lifetime::Temporary).unwrap();
        let seen = |page: u64| {
            let entry = tables.entry(ADDRESS + page * PAGE_BYTES).unwrap();
            (entry.addr().as_u64(), entry.flags())
        };
        assert_eq!(seen(0), (0x1_0000, Flags::PRESENT | Flags::GLOBAL));
        assert_eq!(seen(1), (0x1_1000, Flags::PRESENT | Flags::GLOBAL));
        assert_eq!(seen(2), (0x2_0000, Flags::PRESENT | Flags::GLOBAL | Flags::NO_EXECUTE));
        assert_eq!(seen(3), (0x3_0000, Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE));
        assert!(tables.entry(ADDRESS + 0x4000).is_none());
        assert!(tables.entry(0).is_none());
    }

    #[test]
    fn a_page_is_not_mapped_twice() {
        let mut memory = dirty(4);
        let mut tables = Tables::new(&mut memory, PHYSICAL).unwrap();
        tables.map(ADDRESS, 0x1_0000, 2, Access::Read, Lifetime::Kernel).unwrap();
        let again = tables.map(ADDRESS + 0x1000, 0x5_0000, 1, Access::ReadWrite, Lifetime::Kernel);
        assert_eq!(again, Err(PagingError::Mapped(ADDRESS + 0x1000)));
        assert_eq!(tables.entry(ADDRESS + 0x1000).unwrap().addr().as_u64(), 0x1_1000);
    }

    #[test]
    fn tables_run_out_with_an_error() {
        assert!(matches!(Tables::new(&mut [], PHYSICAL), Err(PagingError::OutOfTables)));
        let mut memory = dirty(4);
        let mut tables = Tables::new(&mut memory, PHYSICAL).unwrap();
        tables.map(ADDRESS, 0, 512, Access::Read, Lifetime::Kernel).unwrap();
        let more = tables.map(ADDRESS + TABLE_SPAN, 0, 1, Access::Read, Lifetime::Kernel);
        assert_eq!(more, Err(PagingError::OutOfTables));
    }

    #[test]
    fn a_table_mapped_at_its_own_end_is_that_table() {
        let mut memory = dirty(4);
        let mut tables = Tables::new(&mut memory, PHYSICAL).unwrap();
        let address = ADDRESS + TABLE_SPAN - PAGE_BYTES;
        tables.map_table_itself(address).unwrap();
        let entry = tables.entry(address).unwrap();
        assert_eq!(entry.addr().as_u64(), PHYSICAL + 3 * PAGE_BYTES);
        assert!(entry.flags().contains(Flags::WRITABLE | Flags::NO_EXECUTE));
        assert_eq!(memory[3].iter().filter(|entry| !entry.is_unused()).count(), 1);
        assert_eq!(memory[3][511].addr().as_u64(), PHYSICAL + 3 * PAGE_BYTES);
    }
}
