//! PRP entries: where in physical memory a command's data lies (base 2.0, 4.1.1).

use broker::Device;

use crate::layout::{LIST_BYTES, PAGE};

const PAGE_U64: u64 = PAGE as u64;
const ENTRY_BYTES: u32 = 8;
const LIST_ENTRIES: u32 = LIST_BYTES / ENTRY_BYTES;

/// A command's own PRP list in hidden memory.
#[derive(Debug)]
pub struct List {
    /// Hidden offset.
    pub offset: u32,
    /// Physical address.
    pub address: u64,
}

/// The PRP entry 2 of `bytes` (at least 1, at most [`nvme_spec::brokered::TRANSFER_BYTES_MAX`]) from a dword-aligned
/// physical address on, which is entry 1; `None` if a list is needed.
#[inline(always)]
pub fn second(address: u64, bytes: u32) -> Option<u64> {
    let end_in_page = (address as u32 & (PAGE - 1)) + bytes;
    match end_in_page {
        _ if end_in_page <= PAGE => Some(0),
        _ if end_in_page <= 2 * PAGE => Some(next_page(address)),
        _ => None,
    }
}

fn next_page(address: u64) -> u64 {
    (address & !(PAGE_U64 - 1)) + PAGE_U64
}

/// Writes the list of `bytes` that need one, and returns PRP entry 2. `was_used` says that the list has been written
/// whole before, and is set when it has.
///
/// Entries of the list that the transfer does not need hold an address of this transfer, or of an earlier one of the
/// same device: whatever a controller makes of them, they lie in its regions.
pub fn write_list(device: &mut impl Device, address: u64, bytes: u32, list: &List, was_used: &mut bool) -> u64 {
    let second = next_page(address);
    let last = (address + u64::from(bytes) - 1) & !(PAGE_U64 - 1);
    // No transfer has more pages than the list has entries.
    let pages = ((last - second) / PAGE_U64 + 1).min(LIST_ENTRIES.into()) as u32;
    device.write_hidden_series(list.offset, second, PAGE_U64, pages);
    if !*was_used {
        device.write_hidden_series(list.offset + pages * ENTRY_BYTES, last, 0, LIST_ENTRIES - pages);
        *was_used = true;
    }
    list.address
}
