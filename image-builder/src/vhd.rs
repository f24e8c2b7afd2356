//! Fixed VHD, the one disk format that Azure takes: the disk's bytes as they are, then a footer of 512 bytes.
//!
//! The footer is that of Microsoft's "Virtual Hard Disk Image Format Specification" 1.0, numbers big-endian. Two things
//! are left open there and settled here:
//! - **Which size counts.** The footer holds the exact size and a geometry that can only approximate it. QEMU believes
//!   the exact size only of creators that it knows to have meant it; of others it takes the geometry, which is smaller
//!   and cuts the second partition table off. `qem2` is the creator that QEMU itself writes for disks meant for Azure.
//! - **Time and identifier.** The time is the first second that the format can express, the identifier is made of the
//!   disk's bytes: the same disk gives the same file.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 512;
/// Azure takes disks of whole MiB only.
pub const DISK_BYTES_MULTIPLE: u64 = 1 << 20;
/// The smallest disk that Azure takes, footer not counted.
pub const DISK_BYTES_MIN: u64 = 20 << 20;
/// The largest disk that Azure takes, footer not counted.
pub const DISK_BYTES_MAX: u64 = 35_183_298_347_520 - FOOTER_BYTES as u64;

const COOKIE: [u8; 8] = *b"conectix";
const CREATOR: [u8; 4] = *b"qem2";
const CREATOR_VERSION: u32 = 0x0005_0003;
const CREATOR_SYSTEM: [u8; 4] = *b"Wi2k";
/// Bit 1 is reserved and always set.
const FEATURES: u32 = 2;
const FORMAT_VERSION: u32 = 0x0001_0000;
const TYPE_FIXED: u32 = 2;
/// Where the checksum lies.
const CHECKSUM: usize = 64;
const SECTOR_BYTES: u64 = 512;

/// Why a disk cannot be a VHD for Azure, or a file is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VhdError {
    /// The size is one that Azure refuses.
    #[error("a disk of {0} bytes is none that Azure takes: whole MiB, from 20 MiB to 33,553,407 MiB")]
    Size(u64),
    /// There is no footer, or a damaged one.
    #[error("not a fixed VHD: {0}")]
    NotVhd(&'static str),
}

/// A disk as a VHD file.
///
/// # Errors
/// If Azure takes no disk of this size.
pub fn vhd(mut disk: Vec<u8>) -> Result<Vec<u8>, VhdError> {
    let digest = Sha256::digest(&disk);
    let mut identifier = [0; 16];
    identifier.copy_from_slice(&digest[..16]);
    let footer = footer(disk.len() as u64, Uuid::new_v8(identifier))?;
    disk.extend_from_slice(&footer);
    Ok(disk)
}

/// The footer of a disk of so many bytes.
///
/// # Errors
/// If Azure takes no disk of this size.
pub fn footer(disk_bytes: u64, identifier: Uuid) -> Result<[u8; FOOTER_BYTES], VhdError> {
    if !disk_bytes.is_multiple_of(DISK_BYTES_MULTIPLE) || !(DISK_BYTES_MIN..=DISK_BYTES_MAX).contains(&disk_bytes) {
        return Err(VhdError::Size(disk_bytes));
    }
    let (cylinders, heads, sectors) = geometry(disk_bytes / SECTOR_BYTES);
    let mut footer = [0; FOOTER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| footer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &COOKIE);
    put(8, &FEATURES.to_be_bytes());
    put(12, &FORMAT_VERSION.to_be_bytes());
    // No further header: there is none in a fixed disk.
    put(16, &u64::MAX.to_be_bytes());
    // At 24, seconds since the start of 2000: 0.
    put(28, &CREATOR);
    put(32, &CREATOR_VERSION.to_be_bytes());
    put(36, &CREATOR_SYSTEM);
    put(40, &disk_bytes.to_be_bytes());
    put(48, &disk_bytes.to_be_bytes());
    put(56, &cylinders.to_be_bytes());
    put(58, &[heads, sectors]);
    put(60, &TYPE_FIXED.to_be_bytes());
    put(68, identifier.as_bytes());
    let sum = checksum(&footer);
    footer[CHECKSUM..CHECKSUM + 4].copy_from_slice(&sum.to_be_bytes());
    Ok(footer)
}

/// The disk in a fixed VHD file, whoever wrote it.
///
/// # Errors
/// If the file has no sound footer, or one of another kind or size of disk.
pub fn disk(file: &[u8]) -> Result<&[u8], VhdError> {
    let (disk, footer) = file.split_last_chunk::<FOOTER_BYTES>().ok_or(VhdError::NotVhd("it is too short"))?;
    if footer[..8] != COOKIE {
        return Err(VhdError::NotVhd("it has no footer"));
    }
    if footer[CHECKSUM..CHECKSUM + 4] != checksum(footer).to_be_bytes() {
        return Err(VhdError::NotVhd("the footer's checksum is wrong"));
    }
    if footer[60..64] != TYPE_FIXED.to_be_bytes() {
        return Err(VhdError::NotVhd("the disk is not of the fixed type"));
    }
    if footer[48..56] != (disk.len() as u64).to_be_bytes() {
        return Err(VhdError::NotVhd("the footer's size is not the file's"));
    }
    Ok(disk)
}

/// Whether a file ends as a VHD does.
pub fn is_vhd(file: &[u8]) -> bool {
    file.split_last_chunk::<FOOTER_BYTES>().is_some_and(|(_, footer)| footer[..8] == COOKIE)
}

/// Ones' complement of the sum of all bytes but the checksum's own.
fn checksum(footer: &[u8; FOOTER_BYTES]) -> u32 {
    let own = CHECKSUM..CHECKSUM + 4;
    let others = footer.iter().enumerate().filter(|(at, _)| !own.contains(at));
    !others.map(|(_, byte)| u32::from(*byte)).sum::<u32>()
}

/// Cylinders, heads and sectors a track that come closest from below (appendix "CHS Calculation").
fn geometry(sectors: u64) -> (u16, u8, u8) {
    // Numbers of more sectors than a geometry can have are cut: 65535 cylinders, 16 heads, 255 sectors.
    let total = sectors.min(65535 * 16 * 255) as u32;
    let (sectors_per_track, heads, tracks);
    if total >= 65535 * 16 * 63 {
        (sectors_per_track, heads, tracks) = (255, 16, total / 255);
    } else {
        let few = total / 17;
        let heads_for_few = few.div_ceil(1024).max(4);
        if few < heads_for_few * 1024 && heads_for_few <= 16 {
            (sectors_per_track, heads, tracks) = (17, heads_for_few, few);
        } else if total / 31 < 16 * 1024 {
            (sectors_per_track, heads, tracks) = (31, 16, total / 31);
        } else {
            (sectors_per_track, heads, tracks) = (63, 16, total / 63);
        }
    }
    ((tracks / heads) as u16, heads as u8, sectors_per_track as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_is_that_of_the_specification() {
        let footer = footer(20 << 20, Uuid::from_bytes([0xab; 16])).unwrap();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"conectix\0\0\0\x02\0\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
        expected.extend_from_slice(b"qem2\0\x05\0\x03Wi2k\0\0\0\0\x01\x40\0\0\0\0\0\0\x01\x40\0\0");
        // 602 cylinders, 4 heads, 17 sectors: 40936 of 40960 sectors.
        expected.extend_from_slice(&[0x02, 0x5a, 4, 17, 0, 0, 0, 2]);
        let sum = expected.iter().chain(&[0xab; 16]).map(|byte| u32::from(*byte)).sum::<u32>();
        expected.extend_from_slice(&(!sum).to_be_bytes());
        expected.extend_from_slice(&[0xab; 16]);
        expected.resize(FOOTER_BYTES, 0);
        assert_eq!(footer[..], expected[..]);
    }

    #[test]
    fn geometries_are_those_of_the_specification() {
        for (mebibytes, expected) in [
            (20, (602, 4, 17)),
            (40, (963, 5, 17)),
            (504, (1024, 16, 63)),
            (1024, (2080, 16, 63)),
            (31 * 1024, (64_495, 16, 63)),
            (32 * 1024, (16_448, 16, 255)),
            (200 * 1024, (65_535, 16, 255)),
        ] {
            assert_eq!(geometry(mebibytes << 11), expected, "{mebibytes} MiB");
        }
    }

    #[test]
    fn sizes_that_azure_refuses_are_refused() {
        let id = Uuid::nil();
        for bytes in [0, DISK_BYTES_MIN - DISK_BYTES_MULTIPLE, DISK_BYTES_MIN + 512, DISK_BYTES_MAX + 1, u64::MAX] {
            assert_eq!(footer(bytes, id), Err(VhdError::Size(bytes)));
        }
        assert!(footer(DISK_BYTES_MIN, id).is_ok());
        assert!(footer(DISK_BYTES_MAX / DISK_BYTES_MULTIPLE * DISK_BYTES_MULTIPLE, id).is_ok());
    }

    #[test]
    fn a_disk_comes_back_and_a_damaged_footer_is_seen() {
        let bytes: Vec<u8> = (0..DISK_BYTES_MIN).map(|at| (at >> 7) as u8).collect();
        let file = vhd(bytes.clone()).unwrap();
        assert_eq!(file, vhd(bytes.clone()).unwrap());
        assert_eq!(disk(&file).unwrap(), bytes);
        assert!(is_vhd(&file) && !is_vhd(&bytes) && !is_vhd(b"conectix"));
        for at in [0, 30, 50, 61, CHECKSUM, 70, 511] {
            let mut damaged = file.clone();
            damaged[bytes.len() + at] ^= 1;
            assert!(disk(&damaged).is_err(), "{at}");
        }
        assert_eq!(disk(&file[SECTOR_BYTES as usize..]), Err(VhdError::NotVhd("the footer's size is not the file's")));
        assert_eq!(disk(b""), Err(VhdError::NotVhd("it is too short")));
    }
}
