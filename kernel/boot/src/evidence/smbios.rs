//! SMBIOS strings that name a machine (SMBIOS reference specification 3.7: entry points 5.2, structures 6.1, types 7.1
//! to 7.4).

use abi::evidence::{Item, SmbiosField, Topic, text};

use super::{PhysicalMemory, adds_up, double, half, unavailable, word};

/// Longest structure table that is read.
const TABLE_BYTES_MAX: usize = 64 * 1024;
/// Most structures that are looked at.
const STRUCTURES_MAX: usize = 1024;
/// Type that ends the table.
const END: u8 = 127;

/// Which strings: type, place of the string's number in the formatted area, field.
const STRINGS: [(u8, usize, SmbiosField); 10] = [
    (0, 0x04, SmbiosField::BiosVendor),
    (0, 0x05, SmbiosField::BiosVersion),
    (1, 0x04, SmbiosField::SystemManufacturer),
    (1, 0x05, SmbiosField::SystemProduct),
    (1, 0x06, SmbiosField::SystemVersion),
    (2, 0x04, SmbiosField::BoardManufacturer),
    (2, 0x05, SmbiosField::BoardProduct),
    (2, 0x08, SmbiosField::BoardAssetTag),
    (3, 0x04, SmbiosField::ChassisManufacturer),
    (3, 0x08, SmbiosField::ChassisAssetTag),
];

/// What an entry point says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    version: (u8, u8),
    address: u64,
    bytes: usize,
}

/// Adds the strings that name the machine; `entry_point` is the physical address of either entry point, 0 for none.
pub fn collect(memory: &impl PhysicalMemory, entry_point: u64, mut add: impl FnMut(Item)) {
    let result = if entry_point == 0 { Err("firmware gives no SMBIOS") } else { table(memory, entry_point) };
    match result {
        Err(reason) => add(unavailable(Topic::Smbios, None, reason)),
        Ok((entry, table)) => {
            let mut seen = [false; END as usize];
            for structure in structures(table) {
                // A machine with several boards or chassis has its own first.
                match seen.get_mut(usize::from(structure.kind)) {
                    Some(seen) if !*seen => *seen = true,
                    _ => continue,
                }
                for (_, place, field) in STRINGS.iter().filter(|(kind, ..)| *kind == structure.kind) {
                    if let Some(value) = structure.string(*place).map(text).filter(|value| !value.is_empty()) {
                        add(Item::Smbios { field: *field, value });
                    }
                }
                if structure.kind == 1
                    && let Some(value) = structure.formatted.get(8..).and_then(|rest| rest.first_chunk())
                    && let Some(value) = uuid(value, entry.version)
                {
                    add(Item::Smbios { field: SmbiosField::SystemUuid, value: text(&value) });
                }
            }
        }
    }
}

fn table<M: PhysicalMemory>(memory: &M, entry_point: u64) -> Result<(Entry, &[u8]), &'static str> {
    let entry = entry(memory, entry_point).ok_or("the SMBIOS entry point is damaged")?;
    let table =
        memory.read(entry.address, entry.bytes.min(TABLE_BYTES_MAX)).ok_or("the SMBIOS table is not in memory")?;
    Ok((entry, table))
}

fn entry(memory: &impl PhysicalMemory, address: u64) -> Option<Entry> {
    let whole = |bytes: u8, least: usize| {
        let bytes = memory.read(address, bytes.into())?;
        (bytes.len() >= least && adds_up(bytes)).then_some(bytes)
    };
    let start = memory.read(address, 8)?;
    if start.starts_with(b"_SM3_") {
        let bytes = whole(start[6], 24)?;
        return Some(Entry {
            version: (bytes[7], bytes[8]),
            address: double(bytes, 16)?,
            bytes: word(bytes, 12)? as usize,
        });
    }
    if start.starts_with(b"_SM_") {
        let bytes = whole(start[5], 30)?;
        return Some(Entry {
            version: (bytes[6], bytes[7]),
            address: word(bytes, 24)?.into(),
            bytes: half(bytes, 22)?.into(),
        });
    }
    None
}

/// A structure: its formatted area, header included, and its strings.
struct Structure<'a> {
    kind: u8,
    formatted: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Structure<'a> {
    /// The string whose number is at this place; numbers count from 1, 0 is none.
    fn string(&self, place: usize) -> Option<&'a [u8]> {
        let number = usize::from(*self.formatted.get(place)?).checked_sub(1)?;
        self.strings.split(|byte| *byte == 0).nth(number)
    }
}

fn structures(table: &[u8]) -> impl Iterator<Item = Structure<'_>> {
    let mut rest = table;
    let next = move || {
        let (kind, length) = (*rest.first()?, usize::from(*rest.get(1)?));
        if length < 4 || kind == END {
            return None;
        }
        let (formatted, after) = rest.split_at_checked(length)?;
        // The strings end with an empty one: two zeroes in a row.
        let end = after.windows(2).position(|pair| pair == [0, 0])?;
        rest = &after[end + 2..];
        Some(Structure { kind, formatted, strings: &after[..end] })
    };
    core::iter::from_fn(next).take(STRUCTURES_MAX)
}

/// The UUID as text. Its first three parts are little-endian since version 2.6 (7.2.1); before, everybody took them as
/// big-endian. `None` if it says that there is none.
fn uuid(bytes: &[u8; 16], version: (u8, u8)) -> Option<[u8; 36]> {
    if *bytes == [0; 16] || *bytes == [0xff; 16] {
        return None;
    }
    let mut bytes = *bytes;
    if version >= (2, 6) {
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
    }
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        for digit in [byte >> 4, byte & 15] {
            text[at] = b"0123456789abcdef"[usize::from(digit)];
            at += 1;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::tests::{Pieces, checksum};
    extern crate std;
    use std::vec::Vec;

    const ENTRY: u64 = 0xf_5000;
    const TABLE: u64 = 0x7fe0_0000;

    fn structure(kind: u8, formatted: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut bytes = std::vec![kind, formatted.len() as u8 + 4, 0, 0];
        bytes.extend_from_slice(formatted);
        for string in strings {
            bytes.extend_from_slice(string.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(if strings.is_empty() { &[0, 0] } else { &[0] });
        bytes
    }

    fn azure() -> Vec<u8> {
        let mut system = std::vec![1, 2, 0, 0];
        system.extend(0..16);
        [
            structure(0, &[1, 2], &["American Megatrends Inc.", "090008"]),
            structure(1, &system, &["Microsoft Corporation", "Virtual Machine"]),
            structure(3, &[1, 3, 0, 0, 2], &["Microsoft Corporation", "7783-7084-3265-9085-8269-3286-77"]),
            structure(3, &[1, 3, 0, 0, 2], &["second", "second"]),
            structure(END, &[], &[]),
            structure(1, &[1], &["after the end"]),
        ]
        .concat()
    }

    fn version_3(bytes: usize) -> Vec<u8> {
        let mut entry = std::vec![0; 24];
        entry[..5].copy_from_slice(b"_SM3_");
        entry[6] = 24;
        entry[7] = 3;
        entry[12..16].copy_from_slice(&(bytes as u32).to_le_bytes());
        entry[16..].copy_from_slice(&TABLE.to_le_bytes());
        checksum(&mut entry, 5);
        entry
    }

    fn version_2(minor: u8, bytes: usize) -> Vec<u8> {
        let mut entry = std::vec![0; 31];
        entry[..4].copy_from_slice(b"_SM_");
        entry[5] = 31;
        entry[6] = 2;
        entry[7] = minor;
        entry[22..24].copy_from_slice(&(bytes as u16).to_le_bytes());
        entry[24..28].copy_from_slice(&(TABLE as u32).to_le_bytes());
        checksum(&mut entry, 4);
        entry
    }

    fn collected(entry: Vec<u8>, table: Vec<u8>) -> Vec<Item> {
        let mut items = Vec::new();
        collect(&Pieces(std::vec![(ENTRY, entry), (TABLE, table)]), ENTRY, |item| items.push(item));
        items
    }

    fn value(items: &[Item], wanted: SmbiosField) -> Option<&str> {
        items.iter().find_map(|item| match item {
            Item::Smbios { field, value } if *field == wanted => Some(value.as_str()),
            _ => None,
        })
    }

    #[test]
    fn both_entry_points_lead_to_the_strings() {
        let table = azure();
        for entry in [version_3(table.len()), version_2(8, table.len())] {
            let items = collected(entry, table.clone());
            assert_eq!(value(&items, SmbiosField::SystemManufacturer), Some("Microsoft Corporation"));
            assert_eq!(value(&items, SmbiosField::SystemProduct), Some("Virtual Machine"));
            assert_eq!(value(&items, SmbiosField::ChassisAssetTag), Some("7783-7084-3265-9085-8269-3286-77"));
            assert_eq!(value(&items, SmbiosField::BiosVersion), Some("090008"));
            assert_eq!(value(&items, SmbiosField::SystemUuid), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
            assert_eq!(items.len(), 7, "{items:?}");
        }
    }

    #[test]
    fn an_old_uuid_is_written_as_its_bytes_lie() {
        let table = azure();
        let items = collected(version_2(3, table.len()), table);
        assert_eq!(value(&items, SmbiosField::SystemUuid), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert_eq!(uuid(&[0xff; 16], (3, 0)), None);
    }

    #[test]
    fn damage_is_told_or_ends_the_table_and_never_panics() {
        let table = azure();
        let damaged = unavailable(Topic::Smbios, None, "the SMBIOS entry point is damaged");
        let mut entry = version_3(table.len());
        entry[20] ^= 1;
        assert_eq!(collected(entry, table.clone()), std::slice::from_ref(&damaged));
        assert_eq!(collected(b"_XYZ_000".to_vec(), table.clone()), [damaged]);
        let lost = collected(version_3(table.len() + 1), table.clone());
        assert_eq!(lost, [unavailable(Topic::Smbios, None, "the SMBIOS table is not in memory")]);
        for length in 0..table.len() {
            collected(version_3(length), table[..length].to_vec());
        }
        for index in 0..table.len() {
            for value in [0, 1, 3, 4, 127, 255] {
                let mut table = table.clone();
                table[index] = value;
                collected(version_3(table.len()), table);
            }
        }
        let mut items = Vec::new();
        collect(&Pieces::default(), 0, |item| items.push(item));
        assert_eq!(items, [unavailable(Topic::Smbios, None, "firmware gives no SMBIOS")]);
    }
}
