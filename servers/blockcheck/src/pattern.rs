//! A block's bytes: who wrote it, where it belongs, when it was written, and a checksum, so that a block that is torn,
//! stale or in the wrong place is told from one that is right.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `CHKBLOCK` |
//! | 8..16 | seed |
//! | 16..24 | the block, counted from the start of the disk |
//! | 24..28 | generation: the number of the operation that wrote it |
//! | 28..32 | CRC-32 of all bytes, these four as zero |
//! | 32.. | pseudo-random words that follow from the four |
//!
//! All little-endian.

/// First bytes of each block.
pub const MAGIC: [u8; 8] = *b"CHKBLOCK";
/// Smallest block.
pub const BLOCK_BYTES_MIN: usize = 512;
/// Largest block.
pub const BLOCK_BYTES_MAX: usize = 4096;

/// Number of the operation that wrote a block, from 1.
pub type Generation = u32;

/// What bytes of a block say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This block, whole, of this generation.
    Written(Generation),
    /// Nothing but zeroes.
    Zeroes,
    /// Nothing but ones.
    Ones,
    /// The checksum is wrong: bytes of several writes, or damaged ones.
    Torn,
    /// Another block, whole.
    OtherBlock(u64),
    /// A block of another seed, whole.
    OtherSeed(u64),
    /// No block of this kind.
    Foreign,
}

impl core::fmt::Display for Seen {
    /// As the value of a log line, with its further key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Written(generation) => write!(f, "written found_generation={generation}"),
            Self::Zeroes => f.write_str("zeroes"),
            Self::Ones => f.write_str("ones"),
            Self::Torn => f.write_str("torn"),
            Self::OtherBlock(block) => write!(f, "other-block found_block={block}"),
            Self::OtherSeed(seed) => write!(f, "other-seed found_seed={seed:#x}"),
            Self::Foreign => f.write_str("foreign"),
        }
    }
}

/// One step of SplitMix64: a number that follows from this one.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Writes the bytes of a block into `bytes`, which is one block.
pub fn fill(seed: u64, block: u64, generation: Generation, bytes: &mut [u8]) {
    let mut state = mix(seed ^ mix(block ^ mix(generation.into())));
    let (words, _) = bytes.as_chunks_mut::<8>();
    for word in words.iter_mut().skip(4) {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *word = state.to_le_bytes();
    }
    let header = [MAGIC, seed.to_le_bytes(), block.to_le_bytes(), u64::from(generation).to_le_bytes()];
    for (word, value) in words.iter_mut().zip(header) {
        *word = value;
    }
    let checksum = crc32fast::hash(bytes);
    if let Some(place) = bytes.get_mut(28..32) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// What the bytes of `block` say. May change them.
pub fn judge(seed: u64, block: u64, bytes: &mut [u8]) -> Seen {
    let word =
        |bytes: &[u8], index: usize| bytes.as_chunks::<8>().0.get(index).map_or(0, |word| u64::from_le_bytes(*word));
    if !bytes.starts_with(&MAGIC) {
        return match bytes.first() {
            Some(0) if bytes.iter().all(|byte| *byte == 0) => Seen::Zeroes,
            Some(0xff) if bytes.iter().all(|byte| *byte == 0xff) => Seen::Ones,
            _ => Seen::Foreign,
        };
    }
    let (own_seed, own_block, last) = (word(bytes, 1), word(bytes, 2), word(bytes, 3));
    let (generation, checksum) = (last as u32, (last >> 32) as u32);
    if let Some(place) = bytes.get_mut(28..32) {
        place.fill(0);
    }
    if crc32fast::hash(bytes) != checksum {
        Seen::Torn
    } else if own_seed != seed {
        Seen::OtherSeed(own_seed)
    } else if own_block != block {
        Seen::OtherBlock(own_block)
    } else {
        Seen::Written(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(seed: u64, block: u64, generation: Generation, bytes: usize) -> Vec<u8> {
        let mut data = vec![0xa5; bytes];
        fill(seed, block, generation, &mut data);
        data
    }

    proptest! {
        #[test]
        fn a_block_says_who_it_is(seed: u64, number: u64, generation: u32, size in 0..4_u32) {
            let data = block(seed, number, generation, 512 << size);
            prop_assert_eq!(judge(seed, number, &mut data.clone()), Seen::Written(generation));
            prop_assert_eq!(judge(seed, number ^ 1, &mut data.clone()), Seen::OtherBlock(number));
            prop_assert_eq!(judge(seed ^ 1, number, &mut data.clone()), Seen::OtherSeed(seed));
        }

        #[test]
        fn one_changed_byte_is_seen(at in 0..512_usize, flip in 1..=255_u8) {
            let mut data = block(1, 2, 3, 512);
            data[at] ^= flip;
            let seen = judge(1, 2, &mut data);
            prop_assert!(seen == if at < 8 { Seen::Foreign } else { Seen::Torn }, "{:?}", seen);
        }

        #[test]
        fn two_halves_are_torn(cut in 40..512_usize, one in 1..1000_u32, other in 1..1000_u32) {
            prop_assume!(one != other);
            let (first, second) = (block(1, 2, one, 512), block(1, 2, other, 512));
            let mut data = [&first[..cut], &second[cut..]].concat();
            prop_assert_eq!(judge(1, 2, &mut data), Seen::Torn);
        }
    }

    #[test]
    fn what_is_no_block_is_told_apart() {
        assert_eq!(judge(1, 2, &mut [0; 512]), Seen::Zeroes);
        assert_eq!(judge(1, 2, &mut [0xff; 512]), Seen::Ones);
        let mut almost = [0; 512];
        almost[511] = 1;
        assert_eq!(judge(1, 2, &mut almost), Seen::Foreign);
    }

    /// Disks of earlier runs stay readable, and other programs can be held against these bytes.
    #[test]
    fn the_bytes_stay_as_they_are() {
        let data = block(7, 1000, 42, 512);
        let header = [MAGIC, [7, 0, 0, 0, 0, 0, 0, 0], [0xe8, 3, 0, 0, 0, 0, 0, 0], [42, 0, 0, 0, 7, 221, 211, 131]];
        assert_eq!(data[..32], *header.as_flattened());
    }
}
