//! A disk image that UEFI firmware boots: a GUID partition table with one EFI system partition, which holds
//! `\EFI\BOOT\BOOTX64.EFI`, and beside it the [symbols](crate::symbols), which nothing boots.
//!
//! The partition is FAT16. The UEFI specification (2.10, 13.3) wants firmware to read FAT12, FAT16 and FAT32; it names
//! FAT32 for fixed disks, which cannot be smaller than 33 MiB, nine tenths of them empty here. FAT16 is the smallest
//! that a fixed disk's partition can have by the cluster count that decides its type; firmware goes by that count.
//!
//! Nothing in it is random or of the time of building: identifiers are made of the EFI file's SHA-256, times are the
//! first of 1980. The same file gives the same image.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::symbols;

const SECTOR_BYTES: u64 = 512;
const MIB: u64 = 1 << 20;
/// Where the partition begins, and what is left behind it for the second partition table.
const MARGIN_BYTES: u64 = MIB;
/// The smallest partition: FAT16 has at least 4085 clusters (FAT specification 1.03, "FAT type determination"), here of
/// one sector, and its tables and root directory need some 50 KiB.
const PARTITION_BYTES_MIN: u64 = 3 * MIB;
/// What the file system needs beside files: boot sector, two tables of at most 128 KiB, root directory, folders.
const OVERHEAD_BYTES: u64 = 512 << 10;

/// Why no image could be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The partition table could not be written.
    #[error("cannot write the partition table")]
    Partitions(#[from] gpt::GptError),
    /// The protective record before it could not be written.
    #[error("cannot write the protective master boot record")]
    Protective(#[from] gpt::mbr::MBRError),
    /// The file system could not be written.
    #[error("cannot write the EFI system partition")]
    FileSystem(#[from] std::io::Error),
    /// The file is too large for this file system.
    #[error("an EFI file of {0} bytes does not fit into a FAT16 partition")]
    TooLarge(usize),
}

/// An image, a multiple of 1 MiB long, that boots this EFI file. Without symbols it has no file of them.
///
/// # Errors
/// If the files are too large for FAT16, about 1 GiB.
pub fn image(efi: &[u8], symbols: &[u8]) -> Result<Vec<u8>, ImageError> {
    image_of_at_least(efi, symbols, 0)
}

/// The same, of at least so many bytes: the partition is the larger, the second partition table at the very end.
///
/// # Errors
/// If the files are, or so many bytes are, too large for FAT16.
pub fn image_of_at_least(efi: &[u8], symbols: &[u8], bytes: u64) -> Result<Vec<u8>, ImageError> {
    let digest: [u8; 32] = Sha256::digest(efi).into();
    let needed =
        (efi.len() as u64 + symbols.len() as u64 + OVERHEAD_BYTES).next_multiple_of(MIB).max(PARTITION_BYTES_MIN);
    let partition_bytes = needed.max(bytes.next_multiple_of(MIB).saturating_sub(2 * MARGIN_BYTES));
    let cluster = cluster_bytes(partition_bytes).ok_or(ImageError::TooLarge(efi.len()))?;
    let mut image = vec![0; (partition_bytes + 2 * MARGIN_BYTES) as usize];
    partition_table(&mut image, partition_bytes, &digest)?;
    let partition = MARGIN_BYTES as usize..(MARGIN_BYTES + partition_bytes) as usize;
    file_system(&mut image[partition], cluster, efi, symbols, &digest)?;
    Ok(image)
}

/// The smallest cluster with which the partition is FAT16: fewer than 65525 of them.
fn cluster_bytes(partition_bytes: u64) -> Option<u32> {
    let fits = |cluster: &u32| partition_bytes / u64::from(*cluster) < 65_525;
    [512, 1024, 2048, 4096, 8192, 16384].into_iter().find(fits)
}

/// An identifier of its own kind (RFC 9562, version 8) made of the digest.
fn identifier(digest: &[u8; 32], half: usize) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[half * 16..half * 16 + 16]);
    Uuid::new_v8(bytes)
}

fn partition_table(image: &mut [u8], partition_bytes: u64, digest: &[u8; 32]) -> Result<(), ImageError> {
    let sectors = image.len() as u64 / SECTOR_BYTES;
    let mut device = Cursor::new(image);
    ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1).unwrap_or(u32::MAX)).overwrite_lba0(&mut device)?;
    let mut disk = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(device, Some(identifier(digest, 0)))?;
    let first = MARGIN_BYTES / SECTOR_BYTES;
    let id = disk.add_partition_at("EFI system", 1, first, partition_bytes / SECTOR_BYTES, partition_types::EFI, 0)?;
    let mut partitions = disk.partitions().clone();
    if let Some(partition) = partitions.get_mut(&id) {
        partition.part_guid = identifier(digest, 1);
    }
    disk.update_partitions(partitions)?;
    disk.write()?;
    Ok(())
}

fn file_system(
    partition: &mut [u8],
    cluster: u32,
    efi: &[u8],
    symbols: &[u8],
    digest: &[u8; 32],
) -> Result<(), ImageError> {
    let volume = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .bytes_per_cluster(cluster)
        .volume_id(volume)
        .volume_label(*b"CHARTER    ");
    let mut device = Cursor::new(partition);
    fatfs::format_volume(&mut device, options)?;
    let file_system = FileSystem::new(&mut device, FsOptions::new().update_accessed_date(false))?;
    {
        let folder = file_system.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
        write(folder.create_file("BOOTX64.EFI")?, efi)?;
        if !symbols.is_empty() {
            write(file_system.root_dir().create_file(symbols::FILE_NAME)?, symbols)?;
        }
    }
    file_system.unmount()?;
    hidden_sectors(&mut device)?;
    Ok(())
}

fn write(mut file: impl Write, contents: &[u8]) -> std::io::Result<()> {
    file.write_all(contents)?;
    file.flush()
}

/// Tells the boot sector where the partition begins, which the formatter does not know (FAT specification 1.03,
/// BPB_HiddSec).
fn hidden_sectors(device: &mut (impl Read + Write + Seek)) -> std::io::Result<()> {
    device.seek(SeekFrom::Start(28))?;
    device.write_all(&((MARGIN_BYTES / SECTOR_BYTES) as u32).to_le_bytes())
}
