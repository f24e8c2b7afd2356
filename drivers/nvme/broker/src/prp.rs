//! PRP entries: where in physical memory a command's data lies (base 2.0, 4.1.1).

use broker::Device;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use crate::layout::{LIST_BYTES, PAGE};

const PAGE_U64: u64 = PAGE as u64;

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
    let mut page = second;
    let mut offset = 0;
    while offset < LIST_BYTES && (page <= last || !*was_used) {
        let mut entries = [U64::ZERO; 8];
        for entry in &mut entries {
            *entry = page.min(last).into();
            page += PAGE_U64;
        }
        device.write_hidden(list.offset + offset, entries.as_bytes());
        offset += size_of_val(&entries) as u32;
    }
    *was_used = true;
    (address, list.address)
}
