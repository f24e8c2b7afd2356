//! The commands in flight on a queue: one slot each.
//!
//! A command's identifier is its slot in the low six bits and a sequence number above, so that a completion that comes
//! twice, or for a command of before a reset, is caught as stale. Everything takes constant time. All commands of a queue
//! have the same timeout, so the order of issue is the order of deadlines, and the oldest command alone tells when the
//! next one expires.

use heapless::Deque;

use crate::place::Place;

/// A command in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight<T> {
    /// What the owner wants back when the command ends.
    payload: T,
    identifier: u16,
    /// When it is overdue, in nanoseconds of the monotonic clock.
    deadline: u64,
    /// The slots that were taken just before and just after, among those in flight.
    older: Option<u16>,
    newer: Option<u16>,
}

/// Bits of an identifier that are the slot; the others are the sequence number.
const SLOT_BITS: u32 = 6;

/// The slot of an identifier.
const fn slot(identifier: u16) -> u16 {
    identifier & ((1 << SLOT_BITS) - 1)
}

/// At most `N` commands in flight, 64 or fewer, each with a payload.
#[derive(Debug)]
pub struct Slots<T, const N: usize> {
    slots: [Place<InFlight<T>>; N],
    free: Deque<u16, N>,
    usable: usize,
    sequence: u16,
    oldest: Option<u16>,
    newest: Option<u16>,
}

impl<T: Copy, const N: usize> Slots<T, N> {
    /// No slots yet.
    pub const fn new() -> Self {
        const { assert!(N <= 1 << SLOT_BITS) };
        Self {
            slots: [const { Place::Free }; N],
            free: Deque::new(),
            usable: 0,
            sequence: 0,
            oldest: None,
            newest: None,
        }
    }

    /// Begins anew with `usable` slots, all free; at most `N`. The sequence goes on.
    pub fn reset(&mut self, usable: usize) {
        self.slots.fill(Place::Free);
        self.free.clear();
        self.usable = usable.min(N);
        for number in 0..self.usable {
            // There is room for N and no more than N are put in.
            let _ = self.free.push_back(number as u16);
        }
        (self.oldest, self.newest) = (None, None);
    }

    /// Commands that can be put in flight now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Commands in flight.
    pub fn in_flight(&self) -> usize {
        self.usable - self.free.len()
    }

    /// Puts a command in flight and returns its identifier; `None` if all slots are taken. Deadlines must not become
    /// earlier from one call to the next.
    pub fn take(&mut self, payload: T, deadline: u64) -> Option<u16> {
        let number = self.free.pop_front()?;
        let older = self.newest.replace(number);
        match older.and_then(|older| self.slots[usize::from(older)].as_mut()) {
            Some(older) => older.newer = Some(number),
            None => self.oldest = Some(number),
        }
        self.sequence = self.sequence.wrapping_add(1);
        let identifier = number | self.sequence << SLOT_BITS;
        self.slots[usize::from(number)] = Place::Taken(InFlight { payload, identifier, deadline, older, newer: None });
        Some(identifier)
    }

    /// Ends a command and frees its slot; `None` if no command of this identifier is in flight (a stale, repeated or
    /// invented completion).
    pub fn retire(&mut self, identifier: u16) -> Option<T> {
        let number = slot(identifier);
        let place = self.slots.get_mut(usize::from(number))?;
        let ended = place.get().filter(|ended| ended.identifier == identifier)?;
        *place = Place::Free;
        match ended.older.and_then(|older| self.slots[usize::from(older)].as_mut()) {
            Some(older) => older.newer = ended.newer,
            None => self.oldest = ended.newer,
        }
        match ended.newer.and_then(|newer| self.slots[usize::from(newer)].as_mut()) {
            Some(newer) => newer.older = ended.older,
            None => self.newest = ended.older,
        }
        // Only numbers that left the queue come back to it.
        let _ = self.free.push_back(number);
        Some(ended.payload)
    }

    /// When the oldest command in flight is overdue.
    pub fn deadline(&self) -> Option<u64> {
        self.slots[usize::from(self.oldest?)].as_ref().map(|oldest| oldest.deadline)
    }

    /// Ends the oldest command in flight; returns its payload and its deadline.
    pub fn retire_oldest(&mut self) -> Option<(T, u64)> {
        let oldest = self.slots[usize::from(self.oldest?)].get()?;
        Some((self.retire(oldest.identifier)?, oldest.deadline))
    }

    /// The commands in flight that are overdue at `now`, the oldest first: identifier and payload. `select` gets each
    /// payload until it takes one.
    pub fn find_overdue(&mut self, now: u64, mut select: impl FnMut(&mut T) -> bool) -> Option<u16> {
        let mut next = self.oldest;
        while let Some(command) = next.and_then(|number| self.slots[usize::from(number)].as_mut()) {
            if command.deadline > now {
                return None;
            }
            if select(&mut command.payload) {
                return Some(command.identifier);
            }
            next = command.newer;
        }
        None
    }
}

impl<T: Copy, const N: usize> Default for Slots<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extern crate std;
    use std::collections::VecDeque;

    fn slots<T: Copy, const N: usize>(usable: usize) -> Slots<T, N> {
        let mut slots = Slots::new();
        slots.reset(usable);
        slots
    }

    #[test]
    fn an_identifier_is_not_reused_for_a_thousand_commands() {
        let mut slots = slots::<u8, 4>(4);
        let first = slots.take(1, 10).unwrap();
        assert_eq!(slots.retire(first), Some(1));
        for _ in 0..1000 {
            let next = slots.take(2, 10).unwrap();
            assert_eq!(slots.retire(first), None, "stale");
            assert_eq!(slots.retire(next), Some(2));
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
        assert_eq!(slots.retire(identifier), Some(7));
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
                    prop_assert_eq!(slots.retire(identifier), expected);
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
