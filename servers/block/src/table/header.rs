//! The header of a GUID partition table (UEFI specification 2.10, 5.3.2).

use core::ops::RangeInclusive;

use gpt_disk_types::{GptHeader, GptHeaderRevision, GptHeaderSignature};
use protocol::nvme::Namespace;
use task::Window;

use super::Damage;

/// Most bytes of entries that are read: of the usual 128 bytes each, 2048 partitions.
const ENTRIES_BYTES_MAX: u64 = 256 << 10;
/// Largest entry. The usual one, and smallest, has 128 bytes.
const ENTRY_BYTES_MAX: u32 = 4096;
/// Largest block.
const BLOCK_BYTES_MAX: usize = 4096;

/// A header that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// First block of the entries.
    pub entries_block: u64,
    /// Bytes of an entry.
    pub entry_bytes: u32,
    entries: u32,
    /// CRC-32 of the entries.
    pub entries_checksum: u32,
    /// Blocks among which partitions lie.
    pub usable: RangeInclusive<u64>,
}

impl Header {
    /// Reads the header that lies at the start of the window and came from block `at`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(window: &Window, namespace: &Namespace, at: u64) -> Result<Self, Damage> {
        let mut block = [0; BLOCK_BYTES_MAX];
        let block_bytes = (namespace.block_bytes as usize).min(BLOCK_BYTES_MAX);
        let block = &mut block[..block_bytes];
        window.copy_to(0, block).map_err(|_| Damage::Unreadable)?;
        let header: GptHeader =
            block.get(..size_of::<GptHeader>()).map(bytemuck::pod_read_unaligned).ok_or(Damage::NoHeader)?;
        if header.signature != GptHeaderSignature::EFI_COMPATIBLE_PARTITION_TABLE_HEADER {
            return Err(Damage::NoHeader);
        }
        let header_bytes = { header.header_size }.to_u32() as usize;
        if header.revision != GptHeaderRevision::VERSION_1_0
            || !(size_of::<GptHeader>()..=block_bytes).contains(&header_bytes)
        {
            return Err(Damage::Revision);
        }
        // The checksum is over the header with its own field as zero.
        block[16..20].fill(0);
        if super::CRC32.checksum(&block[..header_bytes]) != { header.header_crc32 }.0.to_u32() {
            return Err(Damage::HeaderChecksum);
        }
        Self::check(&header, namespace, at)
    }

    fn check(header: &GptHeader, namespace: &Namespace, at: u64) -> Result<Self, Damage> {
        let entry_bytes = { header.size_of_partition_entry }.to_u32();
        let entries = { header.number_of_partition_entries }.to_u32();
        let own = Self {
            entries_block: { header.partition_entry_lba }.to_u64(),
            entry_bytes,
            entries,
            entries_checksum: { header.partition_entry_array_crc32 }.0.to_u32(),
            usable: { header.first_usable_lba }.to_u64()..={ header.last_usable_lba }.to_u64(),
        };
        let is_entry = (128..=ENTRY_BYTES_MAX).contains(&entry_bytes) && entry_bytes.is_power_of_two();
        if !is_entry || entries == 0 || own.entries_bytes() > ENTRIES_BYTES_MAX {
            return Err(Damage::EntrySize);
        }
        let entries_blocks = own.entries_bytes().div_ceil(namespace.block_bytes.into());
        let entries_end = own.entries_block.checked_add(entries_blocks);
        let fits = { header.my_lba }.to_u64() == at
            && own.entries_block > 1
            && entries_end.is_some_and(|end| end <= namespace.blocks)
            && own.usable.start() <= own.usable.end()
            && *own.usable.start() > 1
            && *own.usable.end() < namespace.blocks.saturating_sub(1)
            // The entries lie before or behind the partitions.
            && (entries_end.is_some_and(|end| end <= *own.usable.start()) || own.entries_block > *own.usable.end());
        if fits { Ok(own) } else { Err(Damage::Places) }
    }

    /// Bytes of all entries.
    pub fn entries_bytes(&self) -> u64 {
        // Both factors have 32 bits.
        u64::from(self.entries) * u64::from(self.entry_bytes)
    }
}
