//! The commands in flight on a queue: one slot each.
//!
//! A command's identifier is its slot in the low six bits and a sequence number above, so that a completion that comes
//! twice, or for a command of before a reset, is caught as stale. To take a slot and to free it takes constant time and
//! little of it. All commands of a queue have the same timeout, so the order of issue is the order of deadlines; who is
//! oldest is looked for only where that matters.

use core::num::NonZeroU64;

/// A command in flight, or one that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot<T> {
    /// What the owner wants back when the command ends.
    payload: T,
    /// When it is overdue, in nanoseconds of the monotonic clock.
    deadline: u64,
    /// Its place in the order of issue.
    issued: u64,
}

/// Bits of an identifier that are the slot; the others are the sequence number.
const SLOT_BITS: u32 = 6;
/// Most slots.
const SLOTS_MAX: usize = 1 << SLOT_BITS;

/// The slot of an identifier.
const fn slot(identifier: u16) -> usize {
    identifier as usize % SLOTS_MAX
}

/// The identifier of the command in this slot that was issued in this place.
const fn identifier(number: usize, issued: u64) -> u16 {
    number as u16 | (issued as u16) << SLOT_BITS
}

/// What a slot is marked with while the command of this identifier is in flight in it; never zero.
const fn mark(identifier: u16) -> u32 {
    1 << u16::BITS | identifier as u32
}

/// At most `N` commands in flight, 64 or fewer, each with a payload.
#[derive(Debug)]
pub struct Slots<T, const N: usize> {
    slots: [Slot<T>; N],
    /// Which command is in flight in each slot; zero if none is.
    marks: [u32; SLOTS_MAX],
    /// Slots that may be taken and in which no command is in flight: one bit each.
    free: u64,
    in_flight: usize,
    /// Slots that may be taken.
    depth: usize,
    /// Commands ever issued.
    issued: u64,
}

impl<T: Copy, const N: usize> Slots<T, N> {
    /// No slots yet; `nothing` lies in them.
    pub const fn new(nothing: T) -> Self {
        const { assert!(N <= SLOTS_MAX) };
        let slot = Slot { payload: nothing, deadline: 0, issued: 0 };
        Self { slots: [slot; N], marks: [0; SLOTS_MAX], free: 0, in_flight: 0, depth: 0, issued: 0 }
    }

    /// Begins anew with `usable` slots, all free; at most `N`. The sequence goes on.
    pub fn reset(&mut self, usable: usize) {
        self.depth = usable.min(N);
        self.free = if self.depth == SLOTS_MAX { u64::MAX } else { (1 << self.depth) - 1 };
        self.marks = [0; SLOTS_MAX];
        self.in_flight = 0;
    }

    /// Commands that can be put in flight now.
    #[inline]
    pub fn free(&self) -> usize {
        self.depth - self.in_flight
    }

    /// Commands in flight.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Puts a command in flight and returns its identifier; `None` if all slots are taken. Deadlines must not become
    /// earlier from one call to the next.
    #[inline]
    pub fn take(&mut self, payload: T, deadline: u64) -> Option<u16> {
        let number = NonZeroU64::new(self.free)?.trailing_zeros() as usize;
        let place = self.slots.get_mut(number)?;
        let issued = self.issued + 1;
        *place = Slot { payload, deadline, issued };
        let identifier = identifier(number, issued);
        self.marks[number] = mark(identifier);
        self.free &= self.free - 1;
        self.in_flight += 1;
        self.issued = issued;
        Some(identifier)
    }

    /// Ends a command and frees its slot; `None` if no command of this identifier is in flight (a stale, repeated or
    /// invented completion).
    #[inline]
    pub fn retire(&mut self, ended: u16) -> Option<&T> {
        let number = slot(ended);
        if self.marks[number] != mark(ended) {
            return None;
        }
        self.marks[number] = 0;
        self.free |= 1 << number;
        self.in_flight -= 1;
        self.slots.get(number).map(|slot| &slot.payload)
    }

    /// When the oldest command in flight is overdue.
    #[cold]
    pub fn deadline(&self) -> Option<u64> {
        self.after(0).map(|(_, oldest)| oldest.deadline)
    }

    /// Ends the oldest command in flight; returns its payload and its deadline.
    #[cold]
    pub fn retire_oldest(&mut self) -> Option<(T, u64)> {
        let (number, oldest) = self.after(0)?;
        self.retire(identifier(number, oldest.issued));
        Some((oldest.payload, oldest.deadline))
    }

    /// The commands in flight that are overdue at `now`, the oldest first: identifier and payload. `select` gets each
    /// payload until it takes one.
    #[cold]
    pub fn find_overdue(&mut self, now: u64, mut select: impl FnMut(&mut T) -> bool) -> Option<u16> {
        let mut issued = 0;
        while let Some((number, command)) = self.after(issued).filter(|(_, command)| command.deadline <= now) {
            if select(&mut self.slots[number].payload) {
                return Some(identifier(number, command.issued));
            }
            issued = command.issued;
        }
        None
    }

    /// The oldest command in flight of those issued after this one.
    fn after(&self, issued: u64) -> Option<(usize, Slot<T>)> {
        let slots = self.slots.iter().enumerate();
        let commands = slots.filter(|(number, _)| self.marks[*number] != 0).map(|(number, slot)| (number, *slot));
        commands.filter(|(_, command)| command.issued > issued).min_by_key(|(_, command)| command.issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extern crate std;
    use std::collections::VecDeque;

    fn slots<T: Copy + Default, const N: usize>(usable: usize) -> Slots<T, N> {
        let mut slots = Slots::new(T::default());
        slots.reset(usable);
        slots
    }

    #[test]
    fn an_identifier_is_not_reused_for_a_thousand_commands() {
        let mut slots = slots::<u8, 4>(4);
        let first = slots.take(1, 10).unwrap();
        assert_eq!(slots.retire(first), Some(&1));
        for _ in 0..1000 {
            let next = slots.take(2, 10).unwrap();
            assert_eq!(slots.retire(first), None, "stale");
            assert_eq!(slots.retire(next), Some(&2));
        }
        slots.take(3, 10).unwrap();
        slots.reset(4);
        let after = slots.take(4, 10).unwrap();
        assert!(after >> 6 > 1000, "a reset begins no new sequence");
    }

    #[test]
    fn overdue_commands_are_found_in_their_order() {
        let mut slots = slots::<u8, 4>(4);
        let identifiers = [10, 20, 30].map(|deadline| slots.take(deadline as u8, deadline).unwrap());
        assert_eq!(slots.find_overdue(9, |_| true), None);
        assert_eq!(slots.find_overdue(20, |_| true), Some(identifiers[0]));
        assert_eq!(slots.find_overdue(20, |payload| *payload != 10), Some(identifiers[1]));
        assert_eq!(slots.find_overdue(20, |payload| *payload == 30), None);
    }

    #[test]
    fn what_is_not_in_flight_is_not_retired() {
        let mut slots = slots::<u8, 4>(4);
        let identifier = slots.take(7, 10).unwrap();
        assert_eq!(slots.retire(identifier), Some(&7));
        assert_eq!(slots.retire(identifier), None);
        assert_eq!(slots.retire(4), None);
        assert_eq!(slots.retire(u16::MAX), None);
        assert_eq!(slots.free(), 4);
    }

    #[test]
    fn no_more_are_taken_than_are_usable() {
        let mut slots = slots::<(), 8>(2);
        assert!(slots.take((), 0).is_some() && slots.take((), 0).is_some());
        assert_eq!(slots.take((), 0), None);
    }

    proptest! {
        /// Against a plain list in order of issue: the same are in flight, and the oldest deadline is the same.
        #[test]
        fn slots_agree_with_a_plain_list(steps in proptest::collection::vec((any::<bool>(), 0u16..10), 1..200)) {
            let mut slots = slots::<u64, 8>(8);
            let mut list = VecDeque::<(u16, u64)>::new();
            for (time, (take, identifier)) in steps.into_iter().enumerate() {
                let time = time as u64;
                if take {
                    let taken = slots.take(time, time);
                    prop_assert_eq!(taken.is_some(), list.len() < 8);
                    if let Some(identifier) = taken {
                        prop_assert!(list.iter().all(|(other, _)| *other != identifier));
                        list.push_back((identifier, time));
                    }
                } else {
                    // One of those in flight, or one that is none.
                    let place = usize::from(identifier);
                    let identifier = list.get(place).map_or(identifier, |(identifier, _)| *identifier);
                    let expected = list.remove(place).map(|(_, time)| time);
                    prop_assert_eq!(slots.retire(identifier).copied(), expected);
                }
                prop_assert_eq!(slots.deadline(), list.front().map(|(_, time)| *time));
                prop_assert_eq!(slots.free(), 8 - list.len());
                prop_assert_eq!(slots.in_flight(), list.len());
            }
            while let Some((_, time)) = list.pop_front() {
                prop_assert_eq!(slots.retire_oldest(), Some((time, time)));
            }
            prop_assert_eq!(slots.retire_oldest(), None);
        }
    }
}
