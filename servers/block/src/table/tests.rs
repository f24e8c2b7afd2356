//! Tables made here, damaged in every place.

use std::vec::Vec as StdVec;

use gpt_disk_types::{Crc32, GptHeader, GptPartitionName, Guid, LbaLe, U32Le, guid};
use protocol::nvme::Operations;

use super::*;

/// Blocks of a disk with a partition table, and how it is made.
pub struct Disk {
    pub block_bytes: usize,
    pub blocks: u64,
    pub entries: u32,
    pub entry_bytes: u32,
    /// Name, first and last block; types and GUIDs count up.
    pub partitions: StdVec<(&'static str, u64, u64)>,
}

pub const LINUX: Guid = guid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

impl Disk {
    pub fn new(block_bytes: usize) -> Self {
        let partitions = std::vec![("system", 100, 199), ("data", 200, 299), ("daten-ü", 300, 300)];
        Self { block_bytes, blocks: 1000, entries: 128, entry_bytes: 128, partitions }
    }

    /// The unique GUID of a partition.
    pub fn guid(number: usize) -> Guid {
        Guid::from_bytes([number as u8 + 1; 16])
    }

    /// Its type: the last one is of a type of its own.
    pub fn kind(&self, number: usize) -> Guid {
        if number + 1 == self.partitions.len() { Guid::from_bytes([0xee; 16]) } else { LINUX }
    }

    pub fn image(&self) -> StdVec<u8> {
        let mut image = std::vec![0; self.blocks as usize * self.block_bytes];
        let mut entries = std::vec![0; self.entries as usize * self.entry_bytes as usize];
        for (number, (name, first, last)) in self.partitions.iter().enumerate() {
            let mut own = GptPartitionName([0; 72]);
            name.chars().enumerate().for_each(|(index, character)| own.set_char(index, character).unwrap());
            let entry = GptPartitionEntry {
                partition_type_guid: GptPartitionType(self.kind(number)),
                unique_partition_guid: Self::guid(number),
                starting_lba: LbaLe::from_u64(*first),
                ending_lba: LbaLe::from_u64(*last),
                attributes: Default::default(),
                name: own,
            };
            entries[number * self.entry_bytes as usize..][..128].copy_from_slice(bytemuck::bytes_of(&entry));
        }
        let array_blocks = entries.len().div_ceil(self.block_bytes) as u64;
        let last = self.blocks - 1;
        for (at, other, array) in [(1, last, 2), (last, 1, last - array_blocks)] {
            let mut header = GptHeader {
                signature: Default::default(),
                revision: Default::default(),
                header_size: U32Le::from_u32(92),
                header_crc32: Crc32(U32Le::from_u32(0)),
                reserved: U32Le::from_u32(0),
                my_lba: LbaLe::from_u64(at),
                alternate_lba: LbaLe::from_u64(other),
                first_usable_lba: LbaLe::from_u64(2 + array_blocks),
                last_usable_lba: LbaLe::from_u64(last - array_blocks - 1),
                disk_guid: Self::guid(99),
                partition_entry_lba: LbaLe::from_u64(array),
                number_of_partition_entries: U32Le::from_u32(self.entries),
                size_of_partition_entry: U32Le::from_u32(self.entry_bytes),
                partition_entry_array_crc32: Crc32(U32Le::from_u32(crc32fast::hash(&entries))),
            };
            header.header_crc32 = Crc32(U32Le::from_u32(crc32fast::hash(bytemuck::bytes_of(&header))));
            image[at as usize * self.block_bytes..][..92].copy_from_slice(bytemuck::bytes_of(&header));
            image[array as usize * self.block_bytes..][..entries.len()].copy_from_slice(&entries);
        }
        image
    }

    pub fn namespace(&self) -> Namespace {
        let supports = Operations::default();
        let (blocks, block_bytes) = (self.blocks, self.block_bytes as u32);
        Namespace { nsid: 1, blocks, block_bytes, supports, volatile_cache: false }
    }

    /// Reads the table of an image; which copy was used, what was found, and damages on the way.
    fn read(
        &self,
        image: &[u8],
        wanted: &[Partition<'static>],
        scratch: u64,
    ) -> (Result<Copy, Damage>, StdVec<Found>, StdVec<Damage>) {
        let window = Window::host(scratch, true);
        let wanted = wanted
            .iter()
            .enumerate()
            .map(|(client, partition)| Wanted { client, partition: *partition, found: Found::Nothing })
            .collect();
        let (mut reading, mut next) = Reading::new(&self.namespace(), scratch, wanted);
        let mut damages = StdVec::new();
        for _ in 0..100 {
            let bytes = next.blocks as usize * self.block_bytes;
            assert!(bytes as u64 <= scratch, "{next:?} fits into the scratch");
            let at = next.first_block as usize * self.block_bytes;
            let readable = image.get(at..at + bytes).map(|data| window.copy_from(0, data).unwrap()).is_some();
            match reading.advance(&window, readable) {
                Step::Read(blocks) => next = blocks,
                Step::Damaged(_, damage, blocks) => {
                    damages.push(damage);
                    next = blocks;
                }
                Step::Done(copy) => return (Ok(copy), found(&reading), damages),
                Step::Failed(damage) => return (Err(damage), found(&reading), damages),
            }
        }
        panic!("it never ends");
    }
}

fn found(reading: &Reading<'_>) -> StdVec<Found> {
    reading.wanted().iter().map(|wanted| wanted.found).collect()
}

#[test]
fn partitions_are_found_by_name_type_and_guid() {
    for block_bytes in [512, 4096] {
        for scratch in [4096, 16384] {
            for (entries, entry_bytes) in [(128, 128), (4, 128), (128, 512), (100, 256), (33, 128)] {
                let disk = Disk { entries, entry_bytes, blocks: 2000, ..Disk::new(block_bytes) };
                let wanted = [
                    Partition::Name("data"),
                    Partition::Name("daten-ü"),
                    Partition::Guid(Disk::guid(0).to_bytes()),
                    Partition::Type([0xee; 16]),
                    Partition::Type(LINUX.to_bytes()),
                    Partition::Name("dat"),
                    Partition::Name("data2"),
                    Partition::Type([0; 16]),
                ];
                let mut partitions = disk.partitions.clone();
                for (_, first, last) in &mut partitions {
                    (*first, *last) = (*first + 300, *last + 300);
                }
                let disk = Disk { partitions, ..disk };
                let expected = [
                    Found::One(500, 599),
                    Found::One(600, 600),
                    Found::One(400, 499),
                    Found::One(600, 600),
                    Found::Several,
                    Found::Nothing,
                    Found::Nothing,
                    Found::Nothing,
                ];
                let (copy, found, damages) = disk.read(&disk.image(), &wanted, scratch);
                assert_eq!((copy, &found[..], damages), (Ok(Copy::Primary), &expected[..], std::vec![]));
            }
        }
    }
}

/// What is wrong with an image that was changed in its primary table.
fn damaged(change: impl Fn(&Disk, &mut StdVec<u8>)) -> Damage {
    let disk = Disk::new(512);
    let mut image = disk.image();
    change(&disk, &mut image);
    let (copy, found, damages) = disk.read(&image, &[Partition::Name("data")], 16384);
    assert_eq!((copy, found), (Ok(Copy::Backup), std::vec![Found::One(200, 299)]), "the backup is used");
    assert_eq!(damages.len(), 1);
    damages[0]
}

/// Changes a field of the primary header and makes its checksum right again.
fn with_field(at: usize, bytes: &[u8]) -> Damage {
    damaged(|_, image| {
        image[512 + at..][..bytes.len()].copy_from_slice(bytes);
        image[512 + 16..][..4].fill(0);
        let size = u32::from_le_bytes(*image[512 + 12..].first_chunk().unwrap()).min(512) as usize;
        let checksum = crc32fast::hash(&image[512..][..size]);
        image[512 + 16..][..4].copy_from_slice(&checksum.to_le_bytes());
    })
}

#[test]
fn each_damage_of_the_primary_is_told_and_the_backup_used() {
    assert_eq!(damaged(|_, image| image[512..1024].fill(0)), Damage::NoHeader);
    assert_eq!(damaged(|_, image| image[512 + 40] ^= 1), Damage::HeaderChecksum);
    assert_eq!(damaged(|_, image| image[1024 + 300] ^= 1), Damage::EntriesChecksum);
    assert_eq!(damaged(|_, image| image[1024 + 127 * 128] ^= 1), Damage::EntriesChecksum, "an unused one too");
    for (at, value, damage) in [
        (8, 0x0002_0000, Damage::Revision),
        (12, 91, Damage::Revision),
        (12, 513, Damage::Revision),
        (80, 0, Damage::EntrySize),
        (80, u64::from(u32::MAX), Damage::EntrySize),
        (84, 0, Damage::EntrySize),
        (84, 64, Damage::EntrySize),
        (84, 129, Damage::EntrySize),
        (84, 8192, Damage::EntrySize),
    ] {
        assert_eq!(with_field(at, &(value as u32).to_le_bytes()), damage, "{value} at {at}");
    }
    for (at, value) in [
        // Its own place, the first and last usable block, the place of the entries.
        (24, 2),
        (40, 1),
        (40, 968),
        (40, u64::MAX),
        (48, 999),
        (48, u64::MAX),
        (72, 0),
        (72, 1),
        (72, 100),
        (72, 999),
        (72, u64::MAX),
    ] {
        assert_eq!(with_field(at, &value.to_le_bytes()), Damage::Places, "{value} at {at}");
    }
}

#[test]
fn two_damaged_tables_are_no_table() {
    let disk = Disk::new(512);
    let mut image = disk.image();
    image[512] ^= 1;
    image[999 * 512 + 30] ^= 1;
    let (copy, _, damages) = disk.read(&image, &[Partition::Name("data")], 16384);
    assert_eq!((copy, damages), (Err(Damage::HeaderChecksum), std::vec![Damage::NoHeader]));
    let (copy, ..) = disk.read(&[], &[Partition::Name("data")], 16384);
    assert_eq!(copy, Err(Damage::Unreadable));
    let tiny = Disk { blocks: 1, ..Disk::new(512) };
    assert_eq!(tiny.read(&[0; 512], &[Partition::Name("data")], 16384).0, Err(Damage::NoHeader));
}

#[test]
fn a_partition_that_is_not_where_partitions_lie_is_none() {
    for place in [(1, 50), (33, 50), (960, 970), (50, 40), (50, u64::MAX)] {
        let disk = Disk { partitions: std::vec![("data", place.0, place.1)], ..Disk::new(512) };
        let (_, found, _) = disk.read(&disk.image(), &[Partition::Name("data")], 16384);
        assert_eq!(found, [Found::Misplaced], "{place:?}");
    }
}
