//! Pseudo-random numbers that follow from a seed alone: what a fuzzer did once, it does again.

/// SplitMix64 (public domain, Sebastiano Vigna).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether something of this probability, in hundredths, happens.
    pub const fn percent(&mut self, hundredths: u64) -> bool {
        self.below(100) < hundredths
    }

    /// One of these, which are not none.
    pub fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut other, mut third) = (Random::new(7), Random::new(7), Random::new(8));
        let numbers: [u64; 4] = core::array::from_fn(|_| one.next());
        assert_eq!(numbers, core::array::from_fn(|_| other.next()));
        assert_ne!(numbers, core::array::from_fn(|_| third.next()));
        assert_eq!(Random::new(0).next(), 0xe220_a839_7b1d_cdaf, "the generator's published first number");
    }
}
