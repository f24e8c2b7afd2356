//! Disk images with known contents.
//!
//! Contents are pseudo-random and follow from a seed and the position alone, so that a test can say what lies at any
//! place without reading the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::{GptConfig, partition_types};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::random::Random;

/// Size of the demonstration disk in bytes.
pub const DEMONSTRATION_BYTES: u64 = 64 << 20;
/// Seed of its contents.
pub const DEMONSTRATION_SEED: u64 = 0x4348_4152_5445_5231;

/// Why a disk image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file.
    #[error("disk image {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The partition table.
    #[error("disk image {path}: partition table: {source}")]
    Table {
        /// Which file.
        path: String,
        /// Why.
        source: gpt::GptError,
    },
}

/// The 8 bytes at position `index * 8` of contents with this seed.
fn word(seed: u64, index: u64) -> [u8; 8] {
    Random::at(seed, index).number().to_le_bytes()
}

/// Contents with this seed at a position, both in bytes and multiples of 8.
pub fn contents(seed: u64, position: u64, bytes: usize) -> Vec<u8> {
    (position / 8..).take(bytes / 8).flat_map(|index| word(seed, index)).collect()
}

/// Makes the demonstration disk if there is no such file: a GPT with one partition, pseudo-random contents. Returns
/// whether it was made.
///
/// # Errors
/// If the file cannot be written.
pub fn demonstration(path: &Path) -> Result<bool, DiskError> {
    if path.exists() {
        return Ok(false);
    }
    let file_error = |source| DiskError::File { path: path.display().to_string(), source };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(file_error)?;
    // Written beside and renamed, so that there is never half a disk.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(file_error)?;
    write_contents(file.as_file_mut(), DEMONSTRATION_SEED, DEMONSTRATION_BYTES).map_err(file_error)?;
    write_table(file.as_file_mut()).map_err(|source| DiskError::Table { path: path.display().to_string(), source })?;
    file.persist(path).map_err(|error| file_error(error.error))?;
    Ok(true)
}

fn write_contents(file: &mut File, seed: u64, bytes: u64) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let mut writer = BufWriter::new(file);
    for position in (0..bytes).step_by(CHUNK) {
        writer.write_all(&contents(seed, position, CHUNK.min((bytes - position) as usize)))?;
    }
    writer.flush()
}

/// A protective MBR and a GPT with one partition, with fixed identifiers.
fn write_table(file: &mut File) -> Result<(), gpt::GptError> {
    const DISK: Uuid = Uuid::from_u128(0x63_68_61_72_74_65_72_2d_80_00_00_00_00_00_00_01);
    const PARTITION: Uuid = Uuid::from_u128(0x63_68_61_72_74_65_72_2d_80_00_00_00_00_00_00_02);
    const FIRST_BLOCK: u64 = 2048;
    const RESERVED_BLOCKS: u64 = 34;

    let blocks = file.metadata()?.len() / 512;
    // The table's own blocks are zero where the table leaves room, as on a new disk.
    file.write_all_at(&[0; 34 * 512], 0)?;
    ProtectiveMBR::with_lb_size(u32::try_from(blocks - 1).unwrap_or(u32::MAX))
        .overwrite_lba0(file)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(&mut *file, Some(DISK))?;
    let length = blocks - FIRST_BLOCK - RESERVED_BLOCKS;
    let number = table.add_partition_at("charter-data", 1, FIRST_BLOCK, length, partition_types::LINUX_FS, 0)?;
    let mut partitions = table.take_partitions();
    if let Some(partition) = partitions.get_mut(&number) {
        partition.part_guid = PARTITION;
    }
    table.update_partitions(partitions)?;
    table.write()?;
    Ok(())
}

/// Makes or replaces a file of pseudo-random contents, without a partition table.
///
/// # Errors
/// If the file cannot be written.
pub fn random(path: &Path, seed: u64, bytes: u64) -> io::Result<()> {
    write_contents(&mut File::create(path)?, seed, bytes)
}

/// Makes or replaces a file of `bytes` zeroes that takes no room, and writes pseudo-random contents of `extent` bytes at
/// each of the positions. Contents follow from the position in the file.
///
/// # Errors
/// If the file cannot be written.
pub fn sparse(path: &Path, seed: u64, bytes: u64, positions: &[u64], extent: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.set_len(bytes)?;
    positions.iter().try_for_each(|&position| file.write_all_at(&contents(seed, position, extent), position))
}

/// The SHA-256 of a part of a file, in hexadecimal as the log writes it.
///
/// # Errors
/// If the file does not have that part.
pub fn sha256(path: &Path, position: u64, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut hash = Sha256::new();
    let mut part = file.take(bytes);
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        let read = part.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        total += read as u64;
    }
    if total != bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} ends before", path.display())));
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn contents_follow_from_the_position() {
        let whole = contents(7, 0, 4096);
        assert_eq!(contents(7, 512, 512), whole[512..1024]);
        assert_ne!(contents(8, 0, 4096), whole);
        // SplitMix64's first value for seed 0.
        assert_eq!(word(0, 0), 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }

    #[test]
    fn the_demonstration_disk_is_always_the_same_and_sound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/disk.img");
        assert!(demonstration(&path).unwrap());
        assert_eq!(
            sha256(&path, 0, DEMONSTRATION_BYTES).unwrap(),
            "270514f2c75800be704588707d58edd0100686a13057a6316686289863d05acb"
        );
        // Debian keeps it off an ordinary user's search path.
        let places = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let report = Command::new("sgdisk").env("PATH", places).arg("-v").arg(&path).output();
        let report = report.expect("sgdisk is installed (make setup)");
        let report = String::from_utf8_lossy(&report.stdout).into_owned();
        assert!(report.contains("No problems found"), "{report}");
        assert_eq!(fs::read(&path).unwrap()[1 << 20..][..512], contents(DEMONSTRATION_SEED, 1 << 20, 512));
    }

    #[test]
    fn a_disk_that_is_there_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        fs::write(&path, b"mine").unwrap();
        assert!(!demonstration(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_sparse_disk_has_contents_at_its_positions_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let far = 3 << 40;
        sparse(&path, 9, 4 << 40, &[0, far], 4096).unwrap();
        let hash = |bytes: &[u8]| hexadecimal(&Sha256::digest(bytes));
        assert_eq!(sha256(&path, far + 512, 1024).unwrap(), hash(&contents(9, far + 512, 1024)));
        assert_eq!(sha256(&path, 4096, 512).unwrap(), hash(&[0; 512]));
        assert!(sha256(&path, 4 << 40, 1).is_err());
    }
}
