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

/// Describes `bytes` (at least 1, at most [`nvme_spec::brokered::TRANSFER_BYTES_MAX`]) from a dword-aligned physical
/// address on: returns PRP entries 1 and 2, and writes the list if one is needed. `was_used` says that the list has
/// been written whole before, and is set when it has.
///
/// Entries of the list that the transfer does not need hold an address of this transfer, or of an earlier one of the
/// same device: whatever a controller makes of them, they lie in its regions.
pub fn describe(device: &mut impl Device, address: u64, bytes: u32, list: &List, was_used: &mut bool) -> (u64, u64) {
    let in_first = PAGE - (address & (PAGE_U64 - 1)) as u32;
    if bytes <= in_first {
        return (address, 0);
    }
    let second = (address & !(PAGE_U64 - 1)) + PAGE_U64;
    if bytes - in_first <= PAGE {
        return (address, second);
    }
    let last = (address + u64::from(bytes) - 1) & !(PAGE_U64 - 1);
    // No transfer has more pages than the list has entries.
    let pages = ((last - second) / PAGE_U64 + 1).min(LIST_ENTRIES.into()) as u32;
    device.write_hidden_series(list.offset, second, PAGE_U64, pages);
    if !*was_used {
        device.write_hidden_series(list.offset + pages * ENTRY_BYTES, last, 0, LIST_ENTRIES - pages);
        *was_used = true;
    }
    (address, list.address)
}
