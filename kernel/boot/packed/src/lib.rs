//! Unpacks a section: an LZ4 frame (LZ4 Frame Format Description, version 1.6) of the kind that the image builder writes:
//! blocks that do not depend on each other, the size of the contents at its start, and their checksum at its end. Tools
//! for LZ4 read it, too.
//!
//! The bytes become the kernel, and what it is granted from: nothing of them is used before all of them are there and
//! their checksum holds.
//!
//! A crate of its own because it is built to be fast: the application around it runs once, and is built to be small, but
//! this looks at every byte.
#![no_std]
#![forbid(unsafe_code)]

use core::ops::Range;

use lz4_flex::block::decompress_into;
use twox_hash::XxHash32;

/// First bytes of a frame.
const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// FLG: version 1, independent blocks, size and checksum of the contents; no checksums of blocks, no dictionary.
const FLAGS: u8 = 0b0110_1100;
/// Magic, FLG, BD (how long a block may be), size of the contents, checksum of the last three.
const HEADER_BYTES: usize = 4 + 1 + 1 + 8 + 1;
/// What FLG, BD and size lie in.
const DESCRIPTOR: Range<usize> = 4..14;
/// In a block's size: its contents lie there as they are.
const AS_IT_IS: u32 = 1 << 31;

/// Why a section was not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// It does not begin like an LZ4 frame.
    #[error("it is not an LZ4 frame")]
    NotFrame,
    /// It is a frame of another kind than the image builder writes.
    #[error("it is an LZ4 frame of another kind: flags {0:#04x}")]
    Kind(u8),
    /// The frame's header was changed.
    #[error("its header is damaged")]
    Header,
    /// It ends before its contents do.
    #[error("it is cut short")]
    Short,
    /// A block cannot be unpacked, or not to as many bytes as there should be.
    #[error("a block of it is damaged")]
    Block,
    /// What was unpacked is not what was packed.
    #[error("its contents are damaged: checksum {found:#010x} instead of {expected:#010x}")]
    Checksum {
        /// What it says.
        expected: u32,
        /// What the contents have.
        found: u32,
    },
}

/// A section's contents, not unpacked yet.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    blocks: &'a [u8],
    /// Bytes when they are unpacked. Whoever makes room for them has limits of his own.
    pub bytes: u64,
}

impl<'a> Packed<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is none of an image builder's frame.
    pub fn read(section: &'a [u8]) -> Result<Self, PackedError> {
        let Some((header, blocks)) = section.split_at_checked(HEADER_BYTES) else { return Err(PackedError::NotFrame) };
        if header[..4] != MAGIC {
            return Err(PackedError::NotFrame);
        }
        if header[4] != FLAGS {
            return Err(PackedError::Kind(header[4]));
        }
        if header[14] != XxHash32::oneshot(0, &header[DESCRIPTOR]).to_le_bytes()[1] {
            return Err(PackedError::Header);
        }
        let bytes = header[6..14].first_chunk().ok_or(PackedError::NotFrame)?;
        Ok(Self { blocks, bytes: u64::from_le_bytes(*bytes) })
    }

    /// Unpacks the contents, of [`Packed::bytes`] bytes, into memory of that length. What follows the frame is ignored.
    ///
    /// # Errors
    /// If they are not what was packed; then `into` may hold anything.
    pub fn unpack(&self, into: &mut [u8]) -> Result<(), PackedError> {
        let mut from = self.blocks;
        let mut done = 0;
        loop {
            let size = word(&mut from)?;
            if size == 0 {
                break;
            }
            let (block, rest) = from.split_at_checked((size & !AS_IT_IS) as usize).ok_or(PackedError::Short)?;
            let room = &mut into[done..];
            done += if size & AS_IT_IS != 0 {
                room.get_mut(..block.len()).ok_or(PackedError::Block)?.copy_from_slice(block);
                block.len()
            } else {
                decompress_into(block, room).map_err(|_| PackedError::Block)?
            };
            from = rest;
        }
        if done != into.len() || done as u64 != self.bytes {
            return Err(PackedError::Block);
        }
        let (expected, found) = (word(&mut from)?, XxHash32::oneshot(0, into));
        if found != expected {
            return Err(PackedError::Checksum { expected, found });
        }
        Ok(())
    }
}

fn word(from: &mut &[u8]) -> Result<u32, PackedError> {
    let (word, rest) = from.split_first_chunk().ok_or(PackedError::Short)?;
    *from = rest;
    Ok(u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    extern crate std;
    use std::io::Write;
    use std::vec::Vec;

    /// As another implementation packs it: with the smallest blocks, so that there are several.
    fn pack(contents: &[u8]) -> Vec<u8> {
        let info = FrameInfo::new()
            .content_size(Some(contents.len() as u64))
            .content_checksum(true)
            .block_size(BlockSize::Max64KB)
            .block_mode(BlockMode::Independent);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(section: &[u8]) -> Result<Vec<u8>, PackedError> {
        let packed = Packed::read(section)?;
        let mut contents = std::vec![0; packed.bytes as usize];
        packed.unpack(&mut contents)?;
        Ok(contents)
    }

    /// Parts of it can be packed, parts of it cannot.
    fn contents() -> Vec<u8> {
        let random = (0u32..100_000).map(|n| (n.wrapping_mul(n).wrapping_mul(0x9e37_79b9) >> 24) as u8);
        random.chain([7; 100_000]).collect()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        for contents in [&contents()[..], &[1], &[]] {
            let section = pack(contents);
            assert_eq!(unpack(&section).as_deref(), Ok(contents));
            assert_eq!(unpack(&[&section[..], &[0; 100]].concat()).as_deref(), Ok(contents), "with bytes behind it");
        }
    }

    #[test]
    fn each_damage_has_its_name() {
        let good = pack(&contents());
        let damaged = |at: usize, bit: u8| {
            let mut section = good.clone();
            section[at] ^= bit;
            unpack(&section).unwrap_err()
        };
        assert_eq!(damaged(0, 1), PackedError::NotFrame);
        assert_eq!(damaged(4, 0x10), PackedError::Kind(FLAGS ^ 0x10));
        assert_eq!(damaged(6, 1), PackedError::Header);
        assert_eq!(damaged(14, 1), PackedError::Header);
        assert!(matches!(damaged(HEADER_BYTES + 4 + 1000, 1), PackedError::Checksum { .. }));
        assert!(matches!(damaged(good.len() - 1, 1), PackedError::Checksum { .. }));
        for length in 0..HEADER_BYTES {
            assert_eq!(unpack(&good[..length]), Err(PackedError::NotFrame));
        }
        for length in [HEADER_BYTES, HEADER_BYTES + 3, HEADER_BYTES + 100, good.len() - 5, good.len() - 1] {
            assert_eq!(unpack(&good[..length]), Err(PackedError::Short), "{length} of {}", good.len());
        }
        let mut short = std::vec![0; contents().len() - 1];
        assert_eq!(Packed::read(&good).unwrap().unpack(&mut short), Err(PackedError::Block));
    }

    proptest! {
        #[test]
        fn no_change_unpacks_to_something_else(at in 0usize..100_000, bit in 0u8..8) {
            let contents = contents();
            let mut section = pack(&contents);
            let at = at % section.len();
            section[at] ^= 1 << bit;
            let packed = Packed::read(&section);
            // As much as was allowed for, whatever the header says.
            let mut room = std::vec![0; contents.len()];
            let unpacked = packed.and_then(|packed| packed.unpack(&mut room));
            // The code for how long blocks may be is covered by the header's checksum alone.
            prop_assert!(unpacked.is_err() || room == contents);
        }
    }
}
