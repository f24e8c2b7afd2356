//! Lays the kernel out in memory: how much it needs, what goes where, and the page tables for it.

use abi::handoff::{BOOT_STACK_BYTES, BOOT_STACK_TOP, HANDOFF, Handoff, PACKAGE, SCRATCH_TABLE};
use abi::layout::PAGE_BYTES;
use abi::package::Access;

use crate::PAGE;
use crate::kernel::Kernel;
use crate::paging::{Lifetime, PagingError, TABLE_SPAN, Tables};

/// Pages of the handoff.
pub const HANDOFF_PAGES: usize = size_of::<Handoff>().div_ceil(PAGE);
/// Pages of the kernel's stack.
pub const STACK_PAGES: usize = BOOT_STACK_BYTES as usize / PAGE;

/// Memory of whole pages whose physical address is known.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// Physical address of the first one.
    pub physical: u64,
    /// How many.
    pub count: usize,
}

/// Most page tables that [`map`] uses for this kernel and a package of `package_pages` pages.
pub fn tables(kernel: &Kernel<'_>, package_pages: usize) -> usize {
    /// Level 4 and 3, and of level 2 one for the kernel's image and one for what lies above it.
    const UPPER: usize = 4;
    /// The scratch pages; handoff and stack, which share one table.
    const FIXED: usize = 2;
    /// The switching code, levels 3 to 1, doubled as it may lie across any boundary.
    const SWITCH: usize = 6;
    let spans = |pages: usize| pages.div_ceil(TABLE_SPAN as usize / PAGE);
    // A segment that begins anywhere reaches into one table more than its size says.
    let image: usize = kernel.segments.iter().map(|segment| spans(segment.pages()) + 1).sum();
    UPPER + FIXED + SWITCH + image + spans(package_pages)
}

/// Puts the kernel's segments into `memory`, [`Kernel::pages`] pages at `physical`, and maps them.
///
/// # Errors
/// If page tables run out.
///
/// # Panics
/// If `memory` is too short.
pub fn load(
    kernel: &Kernel<'_>,
    mut memory: &mut [u8],
    mut physical: u64,
    tables: &mut Tables<'_>,
) -> Result<(), PagingError> {
    for segment in &kernel.segments {
        let pages = segment.pages();
        let (own, rest) = memory.split_at_mut(pages * PAGE);
        let start = (segment.address - segment.first_page()) as usize;
        let end = start + segment.data.len();
        own[..start].fill(0);
        own[start..end].copy_from_slice(segment.data);
        own[end..].fill(0);
        tables.map(segment.first_page(), physical, pages, segment.access, Lifetime::Kernel)?;
        memory = rest;
        physical += (pages * PAGE) as u64;
    }
    Ok(())
}

/// Maps everything but the kernel's image: see [`abi::handoff`]. `switch` is the code that loads the new page tables,
/// mapped one to one.
///
/// # Errors
/// If page tables run out.
pub fn map(
    tables: &mut Tables<'_>,
    handoff: u64,
    stack: u64,
    package: Pages,
    switch: Pages,
) -> Result<(), PagingError> {
    tables.map_table_itself(SCRATCH_TABLE)?;
    tables.map(HANDOFF, handoff, HANDOFF_PAGES, Access::Read, Lifetime::Temporary)?;
    tables.map(BOOT_STACK_TOP - BOOT_STACK_BYTES, stack, STACK_PAGES, Access::ReadWrite, Lifetime::Kernel)?;
    tables.map(PACKAGE, package.physical, package.count, Access::Read, Lifetime::Temporary)?;
    tables.map(switch.physical, switch.physical, switch.count, Access::ReadExecute, Lifetime::Temporary)
}

/// The pages that `bytes` bytes at `address` touch.
pub fn pages_of(address: u64, bytes: usize) -> Pages {
    let physical = address - address % PAGE_BYTES;
    Pages { physical, count: ((address - physical) as usize + bytes).div_ceil(PAGE) }
}

#[cfg(test)]
mod tests;
