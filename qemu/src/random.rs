//! Random numbers that follow from a seed, for tests that must be repeatable after they have failed.

use std::time::{SystemTime, UNIX_EPOCH};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers that follows from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The sequence of this seed without its first `index` numbers.
    pub const fn at(seed: u64, index: u64) -> Self {
        Self { state: seed.wrapping_add(index.wrapping_mul(STEP)) }
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number from 0 and smaller than `end`; 0 if `end` is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        // Scaled instead of reduced: unbiased enough for any `end` that fits in memory.
        ((self.number() as u128 * end as u128) >> 64) as u64
    }

    /// A number from `from` up to `to`, both included.
    pub const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True once in `times`.
    pub const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The seed to use: the environment's `SEED`, decimal or `0x…`, so that a run can be repeated; otherwise a fresh one.
///
/// # Panics
/// If `SEED` is no number.
pub fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(text) => number(&text).unwrap_or_else(|| panic!("SEED={text} is no number")),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
            Random::new(now ^ (u64::from(std::process::id()) << 48)).number()
        }
    }
}

/// A seed as it is printed or written: decimal or `0x…`.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_sequence() {
        // SplitMix64's first value for seed 0.
        assert_eq!(Random::new(0).number(), 0xe220_a839_7b1d_cdaf);
        let numbers = |seed| (0..4).scan(Random::new(seed), |random, _| Some(random.number())).collect::<Vec<_>>();
        assert_eq!(numbers(5), numbers(5));
        assert_ne!(numbers(5), numbers(6));
    }

    #[test]
    fn ranges_are_kept_and_used_up_to_their_ends() {
        let mut random = Random::new(1);
        let mut seen = [0; 7];
        for _ in 0..700 {
            seen[random.between(3, 9) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.between(u64::MAX, u64::MAX), u64::MAX);
    }
}
