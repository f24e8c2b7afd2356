//! Sections of the EFI file, packed: kernel and boot package lie in it as LZ4 frames, of which the UEFI application
//! unpacks a byte in some two instructions. `lz4 -d` reads them, too.

use std::io::Write;

use ::packed::{Packed, PackedError};
use lz4::liblz4::BlockChecksum;
use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};

/// As small as this format gets: packing takes milliseconds, and unpacking no longer for it.
const LEVEL: u32 = 12;

/// Packs what goes into a section, one byte or more. The same contents give the same bytes.
///
/// # Errors
/// If the library is out of memory.
pub fn pack(contents: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = EncoderBuilder::new()
        .level(LEVEL)
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Independent)
        .block_checksum(BlockChecksum::NoBlockChecksum)
        .checksum(ContentChecksum::ChecksumEnabled)
        .content_size(contents.len() as u64)
        .build(Vec::new())?;
    encoder.write_all(contents)?;
    let (section, ended) = encoder.finish();
    ended.map(|()| section)
}

/// Why a section was not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// It says that its contents are more than may be.
    #[error("its contents have {bytes} bytes, at most {limit} may be")]
    TooLong {
        /// What it says.
        bytes: u64,
        /// What may be.
        limit: u64,
    },
}

/// Unpacks a section as the UEFI application does.
///
/// # Errors
/// If it is none of this image builder's, or damaged.
pub fn unpack(section: &[u8], limit: u64) -> Result<Vec<u8>, UnpackError> {
    let packed = Packed::read(section)?;
    if packed.bytes > limit {
        return Err(UnpackError::TooLong { bytes: packed.bytes, limit });
    }
    let mut contents = vec![0; packed.bytes as usize];
    packed.unpack(&mut contents)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_within_its_limit() {
        // More than one block, and a part that cannot be packed.
        let contents: Vec<u8> = (0..9_000_000u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> (n >> 20)) as u8).collect();
        for contents in [&contents[..], b"a"] {
            let section = pack(contents).unwrap();
            assert!(unpack(&section, contents.len() as u64).unwrap() == contents);
            assert_eq!(pack(contents).unwrap(), section);
        }
        let section = pack(&contents).unwrap();
        let (bytes, limit) = (9_000_000, 8_999_999);
        assert_eq!(unpack(&section, limit), Err(UnpackError::TooLong { bytes, limit }));
        assert_eq!(unpack(b"\x7fELF, as once", limit), Err(UnpackError::Packed(PackedError::NotFrame)));
    }
}
