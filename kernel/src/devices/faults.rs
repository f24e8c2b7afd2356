//! What IOMMUs blocked, told once for each power of two a device: a device can do this without end.

use super::confinement::{Holder, Vouch};
use super::{Devices, Entry};
use crate::log;
use crate::platform::vtd::{self, FAULTS_AGAIN, Fault, Place, Reason, Remapping};

/// What looking for blocked requests has cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    times: u64,
    nanoseconds: u64,
    longest: u64,
}

/// From so many looks on they are told of: fewer are no storm.
const STORM: u64 = 64;

impl Looks {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { times: 0, nanoseconds: 0, longest: 0 }
    }

    /// One more, from `start` to `end`, in nanoseconds.
    fn add(&mut self, start: u64, end: u64) {
        let spent = end.saturating_sub(start);
        self.times = self.times.saturating_add(1);
        self.nanoseconds = self.nanoseconds.saturating_add(spent);
        self.longest = self.longest.max(spent);
    }
}

/// The IOMMU, for a device in its place.
pub(super) struct Held<'a> {
    pub(super) remapping: &'a mut Remapping,
    /// Only a device with a place is tried.
    pub(super) place: Option<&'a Place>,
    /// Whether the unit of a device that nobody can try vouches for it.
    pub(super) vouch: Vouch,
}

impl Holder for Held<'_> {
    fn begin(&mut self) -> Option<u64> {
        let place = self.place.filter(|_| !self.remapping.is_probing())?;
        Some(self.remapping.begin_probe(place))
    }

    fn end(&mut self) -> Result<(), Reason> {
        self.place.map_or(Err(Reason::NoUnit), |place| self.remapping.end_probe(place))
    }

    fn release(&mut self) {
        if let Some(place) = self.place {
            self.remapping.release(place);
        }
    }

    fn forget(&mut self) {
        if let Some(place) = self.place {
            self.remapping.forget(place);
        }
    }

    fn vouch(&self) -> Vouch {
        self.vouch
    }

    fn is_settled(&self) -> bool {
        self.place.is_none_or(|place| self.remapping.is_settled(place))
    }
}

impl Devices {
    /// An IOMMU has blocked something, or it is time to look whether it has. Returns when to look again, in
    /// nanoseconds: until then the IOMMUs do not interrupt.
    pub fn take_faults(&mut self, now: u64) -> Option<u64> {
        if self.count_faults() > 0 {
            return Some(now.saturating_add(FAULTS_AGAIN));
        }
        self.remapping.await_faults();
        None
    }

    /// Requests of a device that an IOMMU has blocked.
    pub fn blocked(&self, index: usize) -> u64 {
        self.entries.get(index).map_or(0, |entry| entry.faults)
    }

    /// Whether the log was told of blocked requests of a device since this was last asked.
    pub fn take_blocked(&mut self, index: usize) -> bool {
        self.entries.get_mut(index).is_some_and(|entry| core::mem::take(&mut entry.is_fault_told))
    }

    /// It took from `start` to `end`, in nanoseconds, to look what was blocked, and to tell of it. In a storm the log has
    /// the sum, once for each power of two.
    pub fn account_faults(&mut self, start: u64, end: u64) {
        self.looks.add(start, end);
        let Looks { times, nanoseconds, longest } = self.looks;
        if times >= STORM && times.is_power_of_two() {
            log!(
                "dma",
                "blocked requests looked for times={times} nanoseconds={nanoseconds} longest_nanoseconds={longest} \
                 since_boot_nanoseconds={end}"
            );
        }
    }

    /// Takes what was blocked, and says so; returns how much it was.
    pub(super) fn count_faults(&mut self) -> usize {
        let Self { entries, remapping, stray_faults, .. } = self;
        let mut taken = 0;
        remapping.take_faults(|fault| {
            taken += 1;
            let culprit = vtd::culprit(&fault);
            let is_it = |entry: &&mut Entry| entry.function.as_ref().is_some_and(|own| own.address() == culprit);
            match entries.iter_mut().find(is_it) {
                Some(entry) => {
                    let is_held = entry.unit.verdict().is_some_and(Reason::is_held);
                    entry.is_fault_told |= tell(&mut entry.faults, &entry.name, &fault, is_held);
                }
                None => {
                    tell(stray_faults, "none", &fault, false);
                }
            }
        });
        taken
    }
}

/// Says that a request was blocked. Its address is shown where it is one of the device's domain; elsewhere it may be a
/// physical one, which nobody is to read in the log. Returns whether it was said.
fn tell(count: &mut u64, name: &str, fault: &Fault, is_held: bool) -> bool {
    let before = *count;
    *count = count.saturating_add(1);
    if count.checked_ilog2() == before.checked_ilog2() {
        return false;
    }
    let (culprit, access, reason) = (vtd::culprit(fault), fault.access(), fault.reason);
    if is_held {
        let address = fault.address;
        log!(
            "dma",
            "request blocked device={name} requester={culprit} access={access} address={address:#x} reason={reason:#04x} count={count}"
        );
    } else {
        log!(
            "dma",
            "request blocked device={name} requester={culprit} access={access} reason={reason:#04x} count={count}"
        );
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_summed_and_the_longest_is_kept() {
        let mut looks = Looks::new();
        for (start, end) in [(10, 14), (20, 29), (30, 33), (41, 40)] {
            looks.add(start, end);
        }
        assert_eq!((looks.times, looks.nanoseconds, looks.longest), (4, 16, 9));
    }
}
