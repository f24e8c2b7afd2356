//! Which ACPI tables there are, whose they are, and whether they declare a VMBus (ACPI 6.5: root pointer 5.2.5, headers
//! 5.2.6, FADT 5.2.9).

use abi::evidence::{Item, Topic, text};
use heapless::Vec;

use super::{PhysicalMemory, adds_up, double, unavailable, word};

/// Bytes of every table's header.
const HEADER_BYTES: usize = 36;
/// Longest table that is looked through.
const TABLE_BYTES_MAX: u32 = 1 << 20;
/// Most tables.
const TABLES_MAX: usize = 40;
/// Hardware ids of the VMBus, as Hyper-V's tables and Linux's driver of it know them.
const VMBUS: [&str; 3] = ["VMBUS", "VMBus", "MSFT1000"];
/// AML's prefix of a string, which ends with a zero (20.2.3).
const AML_STRING: u8 = 0x0d;

/// Adds a line for each table (those that differ in nothing are told once), and each VMBus device id that their code
/// holds. `root` is the physical address of the root pointer, 0 for none.
pub fn collect(memory: &impl PhysicalMemory, root: u64, mut add: impl FnMut(Item)) {
    let Some(tables) = tables(memory, root) else {
        let reason = if root == 0 { "firmware gives no ACPI" } else { "the ACPI root is damaged" };
        add(unavailable(Topic::Acpi, None, reason));
        return;
    };
    let mut told: Vec<&[u8], TABLES_MAX> = Vec::new();
    for table in tables.into_iter().flat_map(|address| with_dsdt(memory, address)) {
        let Some(header) = header(memory, table) else { continue };
        // Signature, OEM id and OEM table id.
        let identity = &header[10..24];
        if !told.iter().any(|other| other[..4] == header[..4] && other[10..24] == *identity) {
            // There is room for as many as there are tables.
            let _ = told.push(header);
            add(Item::AcpiTable {
                signature: text(&header[..4]),
                oem: text(&header[10..16]),
                oem_table: text(&header[16..24]),
            });
        }
        if matches!(&header[..4], b"DSDT" | b"SSDT") {
            let Some(code) = code(memory, table) else {
                add(unavailable(Topic::Acpi, None, "a table with code is not in memory"));
                continue;
            };
            for id in VMBUS.iter().filter(|id| holds(code, id)) {
                add(Item::AcpiDevice { table: text(&header[..4]), id: text(id.as_bytes()) });
            }
        }
    }
}

/// The tables that the root names.
fn tables(memory: &impl PhysicalMemory, root: u64) -> Option<Vec<u64, TABLES_MAX>> {
    let pointer = memory.read(root, 20).filter(|bytes| bytes.starts_with(b"RSD PTR ") && adds_up(bytes))?;
    let extended = (pointer[15] >= 2).then(|| memory.read(root, 36).and_then(|bytes| double(bytes, 24))).flatten();
    let (address, width) = match extended {
        Some(address) if address != 0 => (address, 8),
        _ => (u64::from(word(pointer, 16)?), 4),
    };
    let length = word(header(memory, address)?, 4).filter(|length| *length <= TABLE_BYTES_MAX)?;
    let list = memory.read(address, length as usize)?.get(HEADER_BYTES..)?;
    let entry = |bytes: &[u8]| double(bytes, 0).or_else(|| word(bytes, 0).map(u64::from));
    Some(list.chunks_exact(width).filter_map(entry).filter(|address| *address != 0).take(TABLES_MAX - 1).collect())
}

/// The table, and after the FADT the DSDT that it names.
fn with_dsdt(memory: &impl PhysicalMemory, table: u64) -> impl Iterator<Item = u64> {
    let dsdt = || {
        header(memory, table).filter(|header| header.starts_with(b"FACP"))?;
        let extended = memory.read(table, 148).and_then(|bytes| double(bytes, 140)).filter(|address| *address != 0);
        extended.or_else(|| memory.read(table, 44).and_then(|bytes| word(bytes, 40)).map(u64::from))
    };
    [Some(table), dsdt()].into_iter().flatten()
}

fn header<M: PhysicalMemory>(memory: &M, table: u64) -> Option<&[u8]> {
    memory.read(table, HEADER_BYTES)
}

fn code<M: PhysicalMemory>(memory: &M, table: u64) -> Option<&[u8]> {
    let length = word(header(memory, table)?, 4).filter(|length| *length <= TABLE_BYTES_MAX)?;
    memory.read(table, length as usize)
}

/// Whether the code holds this text as a string of its own.
fn holds(code: &[u8], text: &str) -> bool {
    code.windows(text.len() + 2)
        .any(|part| part[0] == AML_STRING && part[1..=text.len()] == *text.as_bytes() && part[text.len() + 1] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::tests::{Pieces, checksum};
    extern crate std;
    use std::string::String;
    use std::vec::Vec;

    const ROOT: u64 = 0x1000;

    fn table(signature: &[u8; 4], oem: &[u8; 14], body: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(signature);
        bytes[4..8].copy_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
        bytes[10..24].copy_from_slice(oem);
        bytes.extend_from_slice(body);
        bytes
    }

    fn root(revision: u8) -> Vec<u8> {
        let mut bytes = std::vec![0; 36];
        bytes[..8].copy_from_slice(b"RSD PTR ");
        bytes[15] = revision;
        bytes[16..20].copy_from_slice(&0x2000_u32.to_le_bytes());
        bytes[24..32].copy_from_slice(&0x3000_u64.to_le_bytes());
        checksum(&mut bytes[..20], 8);
        bytes
    }

    const HYPERV: &[u8; 14] = b"VRTUALMICROSFT";

    fn machine(revision: u8, id: &str) -> Pieces {
        let mut facp = std::vec![0; 112];
        facp[4..8].copy_from_slice(&0x6000_u32.to_le_bytes());
        facp[104..].copy_from_slice(&0x6000_u64.to_le_bytes());
        let code = [b"\x10\x40VMBS\x08_HID\x0d".as_slice(), id.as_bytes(), b"\0rest"].concat();
        let (narrow, wide) = ([0x4000_u32, 0x5000, 0x5000, 0, 0x9999], [0x4000_u64, 0x5000, 0x5000, 0, 0x9999]);
        Pieces(std::vec![
            (ROOT, root(revision)),
            (0x2000, table(b"RSDT", HYPERV, &narrow.map(u32::to_le_bytes).concat())),
            (0x3000, table(b"XSDT", HYPERV, &wide.map(u64::to_le_bytes).concat())),
            (0x4000, table(b"FACP", HYPERV, &facp)),
            (0x5000, table(b"APIC", HYPERV, &[])),
            (0x6000, table(b"DSDT", HYPERV, &code)),
        ])
    }

    fn told(memory: &Pieces, root: u64) -> Vec<String> {
        let mut told = Vec::new();
        collect(memory, root, |item| {
            told.push(match item {
                Item::AcpiTable { signature, oem, oem_table } => std::format!("{signature} {oem} {oem_table}"),
                Item::AcpiDevice { table, id } => std::format!("{table} has {id}"),
                Item::Unavailable { reason, .. } => reason.as_str().into(),
                other => panic!("{other:?}"),
            });
        });
        told
    }

    #[test]
    fn tables_are_told_once_and_the_vmbus_is_found() {
        for revision in [0, 2] {
            for id in VMBUS {
                let expected = [
                    "FACP VRTUAL MICROSFT",
                    "DSDT VRTUAL MICROSFT",
                    &std::format!("DSDT has {id}"),
                    "APIC VRTUAL MICROSFT",
                ];
                assert_eq!(told(&machine(revision, id), ROOT), expected);
            }
        }
    }

    #[test]
    fn a_name_that_only_looks_like_it_is_no_vmbus() {
        for id in ["VMBUS2", "VMBU", "PNP0A03", ""] {
            assert!(!told(&machine(2, id), ROOT).iter().any(|line| line.contains("has")), "{id}");
        }
        assert!(!holds(b"VMBUS\0", "VMBUS"));
    }

    #[test]
    fn damage_is_told_and_never_panics() {
        assert_eq!(told(&Pieces::default(), 0), ["firmware gives no ACPI"]);
        assert_eq!(told(&Pieces::default(), ROOT), ["the ACPI root is damaged"]);
        let whole = machine(2, "VMBUS");
        for piece in 0..whole.0.len() {
            for length in 0..whole.0[piece].1.len() {
                let mut cut = machine(2, "VMBUS");
                cut.0[piece].1.truncate(length);
                told(&cut, ROOT);
                let mut damaged = machine(2, "VMBUS");
                damaged.0[piece].1[length] ^= 0xff;
                told(&damaged, ROOT);
            }
        }
    }
}
