//! Firmware's tables: the bytes are the tables' bodies, and around them is what every reader checks first (root, list,
//! headers, checksums), so that a fuzzer gets past it.

use std::cell::RefCell;
use std::ptr::NonNull;

use kernel::platform::Mapper;
use kernel::platform::acpi::dmar::Dmar;
use kernel::platform::acpi::{Firmware, sleep};

pub mod first;

/// Where firmware's memory begins; no reader may look elsewhere.
const BASE: u64 = 0x7f00_0000;
const MEMORY_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 36;
/// Signatures of all tables that are read, and one that is not.
const SIGNATURES: [&[u8; 4]; 7] = [b"FACP", b"APIC", b"MCFG", b"DMAR", b"SSDT", b"DSDT", b"XXXX"];

/// Firmware's memory, lent to the kernel's reader.
struct Memory<'a> {
    bytes: &'a mut [u8],
}

impl Mapper for Memory<'_> {
    fn map_device(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn map_firmware(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>> {
        let start = usize::try_from(physical.checked_sub(BASE)?).ok()?;
        let end = start.checked_add(bytes.try_into().ok()?)?;
        NonNull::new(self.bytes.get_mut(start..end)?.as_mut_ptr())
    }

    fn map_transient(&mut self, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
        None
    }
}

fn sum_up(table: &mut [u8], at: usize) {
    table[at] = 0;
    table[at] = table.iter().fold(0, |sum, byte| sum.wrapping_sub(*byte));
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = vec![0; HEADER_BYTES];
    table[..4].copy_from_slice(signature);
    table.extend(body);
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    sum_up(&mut table, 9);
    table
}

/// Of each table a byte that chooses its signature (and, with the highest bit, breaks its checksum), its body's length in
/// two bytes, and its body. The last one may be cut.
fn tables(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut tables = Vec::new();
    while let Some(([choice, low, high], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        let mut table = table(SIGNATURES[usize::from(choice & 0x7f) % SIGNATURES.len()], body);
        table[9] ^= choice & 0x80;
        tables.push(table);
        bytes = rest;
    }
    tables
}

/// Lays the tables out behind a root of ACPI 2.0 and their list.
fn lay_out(memory: &mut [u8], tables: &[Vec<u8>]) {
    memory.fill(0);
    let mut at = 64;
    let mut put = |memory: &mut [u8], table: &[u8]| {
        let address = BASE + at as u64;
        let Some(room) = memory.get_mut(at..at + table.len()) else { return address };
        room.copy_from_slice(table);
        at += table.len();
        address
    };
    let addresses: Vec<u8> = tables.iter().flat_map(|table| put(memory, table).to_le_bytes()).collect();
    let list = put(memory, &table(b"XSDT", &addresses));
    memory[..8].copy_from_slice(b"RSD PTR ");
    memory[15] = 2;
    memory[20..24].copy_from_slice(&36u32.to_le_bytes());
    memory[24..32].copy_from_slice(&list.to_le_bytes());
    sum_up(&mut memory[..20], 8);
    sum_up(&mut memory[..36], 32);
}

/// Reads the tables.
pub fn read(bytes: &[u8]) {
    thread_local! {
        static MEMORY: RefCell<Vec<u8>> = RefCell::new(vec![0; MEMORY_BYTES]);
    }
    MEMORY.with_borrow_mut(|memory| {
        lay_out(memory, &tables(bytes));
        let firmware = Firmware::read(&mut Memory { bytes: memory }, BASE);
        for range in &firmware.ecam {
            assert!(range.first_bus <= range.last_bus, "{range:?}");
        }
    });
    // And as no checksum lets them through.
    let _ = sleep::types(bytes, sleep::OFF);
}

/// Reads a DMAR alone, whose length and checksum are right.
pub fn read_dmar(bytes: &[u8]) {
    let table = table(b"DMAR", bytes);
    if let Ok(dmar) = Dmar::read(&table) {
        assert!(!dmar.units.is_empty());
        for unit in &dmar.units {
            assert_eq!(unit.address % 4096, 0, "{unit:?}");
            assert_ne!(unit.address, 0, "{unit:?}");
        }
        for number in 0..=u8::MAX {
            assert!(dmar.io_apic(number).is_none_or(|(unit, _)| unit < dmar.units.len()));
        }
    }
    let _ = Dmar::read(bytes);
}
