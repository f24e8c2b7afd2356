//! The monotonic clock and deadlines.
//!
//! On the machine the time is read from the time-stamp counter, by the scale that the kernel told at the task's start: no
//! system call. On the host, and where the kernel tells none, [`Number::Clock`] is asked.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use abi::start::ClockScale;
use abi::system_call::{NO_DEADLINE, Number};

use crate::raw::{Frame, system_call};

/// What the kernel told at this task's start; zero where it told nothing.
static SCALE: Scale = Scale { start: AtomicU64::new(0), nanoseconds: AtomicU64::new(0) };

struct Scale {
    start: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Scale {
    #[inline]
    fn get(&self) -> ClockScale {
        ClockScale { start: self.start.load(Ordering::Relaxed), nanoseconds: self.nanoseconds.load(Ordering::Relaxed) }
    }
}

/// Reads the clock by this scale from now on. Once, before anything else.
#[cfg(target_os = "none")]
pub(crate) fn set_scale(scale: ClockScale) {
    SCALE.start.store(scale.start, Ordering::Relaxed);
    SCALE.nanoseconds.store(scale.nanoseconds, Ordering::Relaxed);
}

/// A time of the kernel's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The time now. In one place, because a program asks for it in many.
    #[inline(never)]
    pub fn now() -> Self {
        let scale = SCALE.get();
        if scale.nanoseconds == 0 {
            return Self(system_call(Frame::new(Number::Clock, [0; 4])).arguments[0]);
        }
        Self(scale.at(crate::measure::time_stamp()))
    }

    /// The time at this many nanoseconds of the clock.
    pub const fn at(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds of the clock.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time and a while; the end of all time if that is beyond it.
    pub fn plus(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(while_.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Until when a call or a receive waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// It waits as long as it takes.
    pub const NEVER: Self = Self(NO_DEADLINE);
    /// It does not wait: what is not there already, times out.
    pub const NOW: Self = Self(0);

    /// Until this time.
    pub const fn at(instant: Instant) -> Self {
        Self(instant.0)
    }

    /// For this long from now. Reads the clock.
    pub fn after(while_: Duration) -> Self {
        Self(Instant::now().plus(while_).0)
    }

    /// As the system calls take it.
    pub(crate) const fn nanoseconds(self) -> u64 {
        self.0
    }
}
