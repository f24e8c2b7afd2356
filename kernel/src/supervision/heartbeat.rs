//! Who must say that it is alive, and has not.
//!
//! A task that hangs looks like one that waits: only the task knows. So a task whose supervisor asks for it says at each
//! turn of its loop, at the latest after a quarter of its period, that it is alive. What counts is how often the kernel
//! looked and had heard nothing, not how much time the clock shows: where a host halts the whole machine for a while,
//! the clock jumps, and nobody is to blame.

/// Looks in one period.
const LOOKS: u64 = 4;
/// Periods that a task may take to start, in place of one.
const PERIODS_TO_START: u64 = 16;

/// Whether and when a task must be heard. Zero in every byte where it need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Nanoseconds between two looks; 0 if it need not be heard.
    between: u64,
    /// When to look next; 0 while the task does not run.
    next: u64,
    /// Looks since it was heard.
    silent: u64,
}

impl Heartbeat {
    /// Need not be heard.
    pub const NONE: Self = Self { between: 0, next: 0, silent: 0 };

    /// Must be heard once in so many milliseconds; 0 for never.
    pub fn every(milliseconds: u32) -> Self {
        Self { between: u64::from(milliseconds) * (1_000_000 / LOOKS), ..Self::NONE }
    }

    /// How long it may be silent, in nanoseconds.
    pub fn period(&self) -> u64 {
        self.between * LOOKS
    }

    /// Its task begins to run. Returns when to look first, if at all.
    pub fn begin(&mut self, now: u64) -> Option<u64> {
        self.silent = 0;
        self.next = if self.between == 0 { 0 } else { now + self.between };
        self.next_look()
    }

    /// Its task does not run any more.
    pub fn pause(&mut self) {
        self.next = 0;
    }

    /// When to look next, if at all.
    pub fn next_look(&self) -> Option<u64> {
        (self.next != 0).then_some(self.next)
    }

    /// It was heard. Returns after how long it has to be heard again, with time to spare; 0 if it need not.
    pub fn heard(&mut self) -> u64 {
        self.silent = 0;
        self.between
    }

    /// Looks, if it is time. Whether it has been silent for too long; a task that `starts` has longer.
    pub fn is_silent(&mut self, now: u64, starts: bool) -> bool {
        if self.next == 0 || self.next > now {
            return false;
        }
        self.next = now + self.between;
        self.silent += 1;
        self.silent > if starts { LOOKS * PERIODS_TO_START } else { LOOKS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_heard_in_time_is_never_silent_and_who_is_not_is() {
        let mut heart = Heartbeat::every(8);
        let mut now = heart.begin(0).unwrap();
        assert_eq!((now, heart.heard(), heart.period()), (2_000_000, 2_000_000, 8_000_000));
        for _ in 0..100 {
            assert!(!heart.is_silent(now, false));
            heart.heard();
            now = heart.next_look().unwrap();
        }
        let mut looks = 0;
        while !heart.is_silent(now, false) {
            looks += 1;
            now = heart.next_look().unwrap();
        }
        assert_eq!(looks, 4);
        heart.begin(now);
        assert!((0..64).all(|_| !heart.is_silent(heart.next, true)), "a start takes longer");
        assert!(heart.is_silent(heart.next, true));
    }

    #[test]
    fn a_clock_that_jumps_silences_nobody() {
        let mut heart = Heartbeat::every(8);
        heart.begin(0);
        assert!(!heart.is_silent(1_000_000_000_000, false), "one look, however late");
    }

    #[test]
    fn who_need_not_be_heard_or_does_not_run_is_not_looked_at() {
        let mut heart = Heartbeat::every(0);
        assert_eq!((heart.begin(5), heart.heard(), heart.is_silent(u64::MAX, false)), (None, 0, false));
        let mut heart = Heartbeat::every(8);
        heart.begin(5);
        heart.pause();
        assert!((0..9).all(|_| !heart.is_silent(u64::MAX, false)) && heart.next_look().is_none());
    }
}
