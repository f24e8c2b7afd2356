//! Hyper-V's reference time page (Hypervisor Top Level Functional Specification, 12.7): how a partition gets its time
//! from the time-stamp counter, and so how fast that counter runs, without a frequency register.
//!
//! The page holds a sequence, a scale and an offset; the time in units of 100 ns is (counter × scale) / 2^64 + offset.
//! Sequence 0 says that the page is no good at the moment, as on a host whose counters do not run at one rate; then
//! nothing is taken from it.

/// Units of the reference time in a second.
const UNITS: u128 = 10_000_000;
/// Reads of a page that changes all the time until it is given up.
const TRIES: u32 = 100;

/// Something that holds the page's words; tests stand in for it.
pub trait Page {
    /// The sequence, at byte 0.
    fn sequence(&self) -> u32;
    /// The scale, at byte 8.
    fn scale(&self) -> u64;
    /// The offset, at byte 16.
    fn offset(&self) -> i64;
}

/// Scale and offset that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    scale: u64,
    offset: i64,
}

impl Reference {
    /// Reads the page; `None` if it is no good now.
    pub fn read(page: &impl Page) -> Option<Self> {
        (0..TRIES)
            .find_map(|_| {
                let before = page.sequence();
                let reference = Self { scale: page.scale(), offset: page.offset() };
                // The hypervisor changes the sequence when it changes the rest.
                (before == page.sequence()).then_some((before, reference))
            })
            .and_then(|(sequence, reference)| (sequence != 0 && reference.scale != 0).then_some(reference))
    }

    /// The reference time at a value of the time-stamp counter, in units of 100 ns.
    pub fn time(&self, counter: u64) -> u64 {
        let scaled = (u128::from(counter) * u128::from(self.scale)) >> 64;
        (scaled as u64).wrapping_add_signed(self.offset)
    }

    /// How fast the time-stamp counter runs, in hertz: what makes the scale one unit each 100 ns.
    pub fn tsc_hertz(&self) -> u64 {
        let scale = u128::from(self.scale.max(1));
        u64::try_from(((UNITS << 64) + scale / 2) / scale).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use proptest::prelude::*;

    /// A page whose sequence is another one at each read, for as many reads as `changes`.
    struct Fake {
        sequence: Cell<u32>,
        changes: Cell<u32>,
        scale: u64,
        offset: i64,
    }

    impl Page for Fake {
        fn sequence(&self) -> u32 {
            if let Some(left) = self.changes.get().checked_sub(1) {
                self.changes.set(left);
                self.sequence.set(self.sequence.get() + 1);
            }
            self.sequence.get()
        }

        fn scale(&self) -> u64 {
            self.scale
        }

        fn offset(&self) -> i64 {
            self.offset
        }
    }

    fn page(sequence: u32, changes: u32, scale: u64, offset: i64) -> Fake {
        Fake { sequence: Cell::new(sequence), changes: Cell::new(changes), scale, offset }
    }

    /// The scale of a counter of this rate.
    fn scale(hertz: u64) -> u64 {
        u64::try_from((UNITS << 64) / u128::from(hertz)).unwrap()
    }

    #[test]
    fn time_is_scaled_and_moved_by_the_offset() {
        let reference = Reference::read(&page(1, 0, scale(2_000_000_000), 5000)).unwrap();
        // Two seconds of a counter of 2 GHz are 20 million units, less the rounding of the scale.
        let time = reference.time(4_000_000_000);
        assert!((20_004_999..=20_005_000).contains(&time), "{time}");
        let reference = Reference::read(&page(7, 0, 1 << 63, -100)).unwrap();
        assert_eq!(reference.time(1000), 400);
        assert_eq!(reference.time(u64::MAX), (u64::MAX >> 1) - 100);
    }

    #[test]
    fn a_page_that_is_no_good_gives_nothing() {
        assert_eq!(Reference::read(&page(0, 0, scale(2_000_000_000), 0)), None, "sequence 0");
        assert_eq!(Reference::read(&page(1, 0, 0, 0)), None, "no scale");
        assert_eq!(Reference::read(&page(1, u32::MAX, 7, 0)), None, "it never stands still");
    }

    #[test]
    fn a_page_that_is_changing_is_read_again() {
        assert!(Reference::read(&page(1, 5, scale(3_000_000_000), 0)).is_some());
    }

    proptest! {
        #[test]
        fn the_rate_follows_from_the_scale(hertz in 100_000_000u64..10_000_000_000) {
            let reference = Reference::read(&page(3, 0, scale(hertz), 0)).unwrap();
            // The scale has more digits than the rate.
            prop_assert!(reference.tsc_hertz().abs_diff(hertz) <= 1, "{} of {hertz}", reference.tsc_hertz());
        }

        #[test]
        fn any_page_does_no_harm(sequence: u32, scale: u64, offset: i64, counter: u64) {
            if let Some(reference) = Reference::read(&page(sequence, 0, scale, offset)) {
                let _ = (reference.time(counter), reference.tsc_hertz());
            }
        }
    }
}
