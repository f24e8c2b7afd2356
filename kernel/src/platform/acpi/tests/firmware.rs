//! Firmware's memory with tables in it, as the tests lay it out, and the fuzzer (qemu/fuzz).

extern crate std;
use core::ptr::NonNull;
use std::vec::Vec;

use super::Mapper;

/// Where it begins; there is nothing elsewhere.
pub const BASE: u64 = 0x7f00_0000;
/// Bytes of a table's header.
const HEADER_BYTES: usize = 36;

/// The memory.
pub struct Memory(pub Vec<u8>);

impl Mapper for Memory {
    fn map_device(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn map_firmware(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>> {
        let start = usize::try_from(physical.checked_sub(BASE)?).ok()?;
        let end = start.checked_add(bytes.try_into().ok()?)?;
        NonNull::new(self.0.get_mut(start..end)?.as_mut_ptr())
    }

    fn map_transient(&mut self, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
        None
    }
}

/// Makes the bytes add up to zero, by that one.
pub fn sum_up(table: &mut [u8], at: usize) {
    table[at] = 0;
    table[at] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// A table with this body.
pub fn make(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = Vec::from([0; HEADER_BYTES]);
    table[..4].copy_from_slice(signature);
    table.extend(body);
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    sum_up(&mut table, 9);
    table
}

/// Lays out a root, its list and the tables; returns the memory and the root's address.
pub fn machine(revision: u8, tables: &[Vec<u8>]) -> (Vec<u8>, u64) {
    let mut memory = Vec::from([0; 64]);
    let mut addresses = Vec::new();
    for table in tables {
        addresses.push(BASE + memory.len() as u64);
        memory.extend(table);
    }
    let entries: Vec<u8> = if revision >= 2 {
        addresses.iter().flat_map(|address| address.to_le_bytes()).collect()
    } else {
        addresses.iter().flat_map(|address| (*address as u32).to_le_bytes()).collect()
    };
    let list = BASE + memory.len() as u64;
    memory.extend(make(if revision >= 2 { b"XSDT" } else { b"RSDT" }, &entries));
    memory[..8].copy_from_slice(b"RSD PTR ");
    memory[15] = revision;
    if revision >= 2 {
        memory[20..24].copy_from_slice(&36u32.to_le_bytes());
        memory[24..32].copy_from_slice(&list.to_le_bytes());
    } else {
        memory[16..20].copy_from_slice(&(list as u32).to_le_bytes());
    }
    sum_up(&mut memory[..20], 8);
    if revision >= 2 {
        sum_up(&mut memory[..36], 32);
    }
    (memory, BASE)
}
