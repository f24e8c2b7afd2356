//! Measuring the time-stamp counter and the APIC timer against the ACPI power-management timer.
//!
//! That timer is a counter of 24 or 32 bits at 3.579545 MHz (ACPI 6.5, 4.8.3.3). A measurement takes about three
//! milliseconds; of several the middle one is taken, because a host may stop us in one of them. A timer that stands
//! still ends the measurement after a bounded number of reads.

use x86_64::instructions::port::Port;

use crate::platform::apic;

/// Its frequency in hertz.
const POWER_TIMER_HERTZ: u64 = 3_579_545;
/// Counts of it that a measurement takes: about three milliseconds, less than half of what 24 bits hold.
const COUNTS: u32 = 10_000;
/// How often it is measured.
const MEASUREMENTS: usize = 3;
/// Reads of it until it is taken to stand still: at about a microsecond each, a hundred times what is needed.
const READS_MAX: u32 = 300_000;

/// Where the power-management timer is and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerTimer {
    /// Its I/O port.
    pub port: u16,
    /// Whether it has 32 bits rather than 24.
    pub is_wide: bool,
}

/// Something that counts up from 0 at a constant rate and can be started anew.
pub trait Counter {
    /// Starts it at 0.
    fn restart(&mut self);
    /// Counts since then, at most what it holds.
    fn elapsed(&mut self) -> u32;
    /// Switches it off.
    fn stop(&mut self);
}

/// The time that is measured against, and the time-stamp counter.
pub trait Reference {
    /// The reference counter, as read.
    fn read(&mut self) -> u32;
    /// Bits of it that count.
    fn mask(&self) -> u32;
    /// The time-stamp counter.
    fn time_stamp(&mut self) -> u64;
}

/// The machine's own.
#[derive(Debug)]
pub struct Ports(pub PowerTimer);

impl Reference for Ports {
    fn read(&mut self) -> u32 {
        // SAFETY: firmware's tables name this port as the timer's; reading it has no effect.
        unsafe { Port::new(self.0.port).read() }
    }

    fn mask(&self) -> u32 {
        if self.0.is_wide { u32::MAX } else { 0x00ff_ffff }
    }

    fn time_stamp(&mut self) -> u64 {
        apic::time_stamp()
    }
}

/// What was measured, in hertz; neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Of the time-stamp counter.
    pub tsc_hertz: u64,
    /// Of the APIC timer.
    pub apic_hertz: u64,
}

/// Measures; `None` if the reference stands still, or one of the others.
pub fn measure(reference: &mut impl Reference, timer: &mut impl Counter) -> Option<Measured> {
    let mut results = [Measured { tsc_hertz: 0, apic_hertz: 0 }; MEASUREMENTS];
    for result in &mut results {
        let outcome = measure_once(reference, timer);
        timer.stop();
        *result = outcome?;
    }
    results.sort_unstable_by_key(|result| result.tsc_hertz);
    Some(results[MEASUREMENTS / 2])
}

fn measure_once(reference: &mut impl Reference, timer: &mut impl Counter) -> Option<Measured> {
    let mask = reference.mask();
    let first = wait(reference, |value, before| value & mask != before & mask)?;
    timer.restart();
    let start = reference.time_stamp();
    let last = wait(reference, |value, _| value.wrapping_sub(first) & mask >= COUNTS)?;
    let elapsed = reference.time_stamp().checked_sub(start)?;
    let counted = timer.elapsed();
    let reference_counts = u64::from(last.wrapping_sub(first) & mask);
    let hertz = |counts: u64| {
        let hertz = u128::from(counts) * u128::from(POWER_TIMER_HERTZ) / u128::from(reference_counts.max(1));
        u64::try_from(hertz).ok().filter(|hertz| *hertz != 0)
    };
    Some(Measured { tsc_hertz: hertz(elapsed)?, apic_hertz: hertz(counted.into())? })
}

/// Reads until `done` says so of a value and the first one; returns that value, or `None` after too many reads.
fn wait(reference: &mut impl Reference, done: impl Fn(u32, u32) -> bool) -> Option<u32> {
    let before = reference.read();
    (0..READS_MAX).map(|_| reference.read()).find(|value| done(*value, before))
}
