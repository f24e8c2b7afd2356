//! A namespace whose content is computed from its place, so that it can be of any size.

/// A namespace of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identifier.
    pub nsid: u32,
    /// Size in blocks.
    pub blocks: u64,
    /// A block is `1 << this` bytes.
    pub block_shift: u8,
    /// Bytes of metadata to each block.
    pub metadata_bytes: u16,
    /// NOIOB: blocks between boundaries that no read or write may cross; 0 for none.
    pub boundary: u16,
    /// It is write protected.
    pub protected: bool,
}

impl Namespace {
    /// A namespace without metadata.
    pub const fn new(nsid: u32, blocks: u64, block_shift: u8) -> Self {
        Self { nsid, blocks, block_shift, metadata_bytes: 0, boundary: 0, protected: false }
    }

    /// Bytes in a block.
    pub const fn block_bytes(&self) -> u64 {
        1 << self.block_shift
    }

    /// What blocks hold.
    pub fn content(&self, first_block: u64, blocks: u64) -> Vec<u8> {
        let first = u128::from(first_block) << self.block_shift;
        let words = (blocks << self.block_shift) / 8;
        (0..words).flat_map(|word| self.word(first / 8 + u128::from(word)).to_le_bytes()).collect()
    }

    /// A word by its place: different in every namespace and at every place.
    fn word(&self, place: u128) -> u64 {
        let mut word = (place as u64) ^ ((place >> 64) as u64).rotate_left(32) ^ u64::from(self.nsid) << 48;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_depends_on_namespace_and_place_only() {
        let namespace = Namespace::new(1, u64::MAX >> 12, 12);
        let together = namespace.content(1 << 40, 2);
        assert_eq!(together[4096..], namespace.content((1 << 40) + 1, 1));
        assert_ne!(together[..4096], together[4096..]);
        assert_ne!(Namespace::new(2, 8, 12).content(0, 1), Namespace::new(1, 8, 12).content(0, 1));
    }
}
