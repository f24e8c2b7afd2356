//! Monotonic nanoseconds, from the time-stamp counter.
//!
//! How fast the counter runs is asked of the platform ([`source`]); only a platform that does not say is measured
//! ([`calibration`]). The result carries where it comes from, for the log.

use core::fmt;

use super::Mapper;
use super::apic::{self, LocalApic};
use abi::start::ClockScale;

pub mod calibration;
pub mod reference;
pub mod source;

pub use calibration::Counter;
use calibration::PowerTimer;
use source::{Declared, Processor};

/// Nanoseconds in a second.
const SECOND: u128 = 1_000_000_000;

/// What is taken where nothing says how fast the time-stamp counter runs and nothing can measure it: more than any
/// CPU has, so that every deadline comes late rather than early.
const ASSUMED_TSC_HERTZ: u64 = 5_000_000_000;
/// Likewise for the APIC timer: its interrupts come early, and are then asked for again.
const ASSUMED_APIC_HERTZ: u64 = 10_000_000;

/// Where a frequency comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// CPUID leaf 0x15: the crystal's frequency and its ratio to the time-stamp counter.
    CrystalRatio,
    /// CPUID leaf 0x16: the base frequency.
    BaseFrequency,
    /// CPUID leaf 0x40000010: told by a hypervisor.
    HypervisorLeaf,
    /// Model-specific registers 0x40000022 and 0x40000023 of Hyper-V.
    HyperV,
    /// The scale of Hyper-V's reference time page.
    ReferencePage,
    /// Measured against the ACPI power-management timer.
    PowerTimer,
    /// Nothing told, nothing to measure against.
    Assumed,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrystalRatio => "cpuid-0x15",
            Self::BaseFrequency => "cpuid-0x16",
            Self::HypervisorLeaf => "cpuid-0x40000010",
            Self::HyperV => "hyper-v",
            Self::ReferencePage => "hyper-v-reference-page",
            Self::PowerTimer => "acpi-pm-timer",
            Self::Assumed => "assumed",
        })
    }
}

/// A frequency in hertz, never zero, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// Hertz.
    pub hertz: u64,
    /// Where it comes from.
    pub source: Source,
}

/// The kernel's clock: nanoseconds since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Time-stamp counter at 0 ns.
    start: u64,
    /// Nanoseconds a count, as a 32.32 fixed-point number.
    nanoseconds: u64,
    /// Counts a nanosecond, likewise.
    counts: u64,
    /// Counts of the APIC timer a nanosecond, likewise.
    timer_counts: u64,
    tsc: Frequency,
    apic: Frequency,
}

/// `numerator / denominator` as a 32.32 fixed-point number, at least the smallest one.
fn fixed(numerator: u128, denominator: u128) -> u64 {
    u64::try_from((numerator << 32) / denominator.max(1)).unwrap_or(u64::MAX).max(1)
}

/// `value` times a 32.32 fixed-point number; the largest value where it does not fit.
fn scale(value: u64, factor: u64) -> u64 {
    u64::try_from((u128::from(value) * u128::from(factor)) >> 32).unwrap_or(u64::MAX)
}

impl Clock {
    /// A clock that begins at `start` of the time-stamp counter.
    pub fn new(start: u64, tsc: Frequency, apic: Frequency) -> Self {
        Self {
            start,
            nanoseconds: fixed(SECOND, tsc.hertz.into()),
            counts: fixed(tsc.hertz.into(), SECOND),
            timer_counts: fixed(apic.hertz.into(), SECOND),
            tsc,
            apic,
        }
    }

    /// Nanoseconds since the clock was started.
    pub fn now(&self) -> u64 {
        self.at(apic::time_stamp())
    }

    /// Nanoseconds at a value of the time-stamp counter; 0 before the start.
    pub fn at(&self, counter: u64) -> u64 {
        self.scale().at(counter)
    }

    /// By which tasks read it themselves.
    pub fn scale(&self) -> ClockScale {
        ClockScale { start: self.start, nanoseconds: self.nanoseconds }
    }

    /// How long so many counts of the time-stamp counter take, in nanoseconds.
    pub fn nanoseconds(&self, counts: u64) -> u64 {
        scale(counts, self.nanoseconds)
    }

    /// The time-stamp counter at which a time has come: the clock is never before `nanoseconds` then, but for the
    /// rounding of the two factors, a few counts a second.
    pub fn counter_at(&self, nanoseconds: u64) -> u64 {
        self.start.saturating_add(scale(nanoseconds, self.counts)).saturating_add(1)
    }

    /// Counts of the APIC timer that take `nanoseconds`, at least 1 and at most what the timer holds.
    pub fn timer_count(&self, nanoseconds: u64) -> u32 {
        u32::try_from(scale(nanoseconds, self.timer_counts).saturating_add(1)).unwrap_or(u32::MAX)
    }

    /// Frequency of the time-stamp counter.
    pub fn tsc(&self) -> Frequency {
        self.tsc
    }

    /// Frequency of the APIC timer.
    pub fn apic(&self) -> Frequency {
        self.apic
    }
}

/// The clock's part of a log line.
impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "source={} hz={} apic_source={} apic_hz={}",
            self.tsc.source, self.tsc.hertz, self.apic.source, self.apic.hertz
        )
    }
}

/// Starts the clock. A platform that does not tell its frequencies is measured, which takes some ten milliseconds.
pub fn start(mapper: &mut impl Mapper, apic: &mut LocalApic, power_timer: Option<PowerTimer>) -> Clock {
    let mut declared = source::declared(&Processor);
    if declared.tsc.is_none() && source::has_reference_page(&Processor) {
        declared.tsc = source::from_reference_page(mapper);
    }
    let measured = match declared {
        Declared { tsc: Some(_), apic: Some(_) } => None,
        _ => {
            mark_wait();
            let measured = power_timer.and_then(|timer| calibration::measure(&mut calibration::Ports(timer), apic));
            mark_go_on();
            measured
        }
    };
    let (tsc, timer) = choose(declared, measured);
    Clock::new(apic::time_stamp(), tsc, timer)
}

/// Marks the beginning of a wait for hardware, for a counter outside.
fn mark_wait() {
    // SAFETY: a no-operation.
    #[cfg(target_os = "none")]
    unsafe {
        abi::mark!(0x02);
    }
}

/// Marks its end.
fn mark_go_on() {
    // SAFETY: a no-operation.
    #[cfg(target_os = "none")]
    unsafe {
        abi::mark!(0x03);
    }
}

/// What the platform declares goes before what was measured, and that before what is assumed.
fn choose(declared: Declared, measured: Option<calibration::Measured>) -> (Frequency, Frequency) {
    let pick = |declared: Option<Frequency>, measured: Option<u64>, assumed| {
        let measured = measured.map(|hertz| Frequency { hertz, source: Source::PowerTimer });
        declared.or(measured).unwrap_or(Frequency { hertz: assumed, source: Source::Assumed })
    };
    (
        pick(declared.tsc, measured.map(|measured| measured.tsc_hertz), ASSUMED_TSC_HERTZ),
        pick(declared.apic, measured.map(|measured| measured.apic_hertz), ASSUMED_APIC_HERTZ),
    )
}

#[cfg(test)]
mod tests;
