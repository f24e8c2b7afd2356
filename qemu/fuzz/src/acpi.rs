//! Firmware's tables: the bytes are the tables' bodies, and around them is what every reader checks first (root, list,
//! headers, checksums), so that a fuzzer gets past it.

use kernel::platform::Mapper;
use kernel::platform::acpi::dmar::Dmar;
use kernel::platform::acpi::{Firmware, sleep};

pub mod first;
#[path = "../../../kernel/src/platform/acpi/tests/firmware.rs"]
mod firmware;

use firmware::{Memory, machine, make};

/// Signatures of all tables that are read, and one that is not.
const SIGNATURES: [&[u8; 4]; 7] = [b"FACP", b"APIC", b"MCFG", b"DMAR", b"SSDT", b"DSDT", b"SLIC"];

/// Of each table a byte that chooses its signature (and, with the highest bit, breaks its checksum), its body's length in
/// two bytes, and its body. The last one may be cut.
fn tables(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut tables = Vec::new();
    while let Some(([choice, low, high], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        let mut table = make(SIGNATURES[usize::from(choice & 0x7f) % SIGNATURES.len()], body);
        table[9] ^= choice & 0x80;
        tables.push(table);
        bytes = rest;
    }
    tables
}

/// Reads the tables.
pub fn read(bytes: &[u8]) {
    let (memory, root) = machine(2, &tables(bytes));
    let firmware = Firmware::read(&mut Memory(memory), root);
    for range in &firmware.ecam {
        assert!(range.first_bus <= range.last_bus, "{range:?}");
    }
    // And as no checksum lets them through.
    let _ = sleep::types(bytes, sleep::OFF);
}

/// Reads a DMAR alone, whose length and checksum are right.
pub fn read_dmar(bytes: &[u8]) {
    let table = make(b"DMAR", bytes);
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
