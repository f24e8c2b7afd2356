//! The commands in flight on a queue: one slot each, its number is the command's identifier.
//!
//! Everything takes constant time. Slots are reused in the order in which they became free, so an identifier stays
//! unused for as long as possible and a completion that comes twice is most likely caught as stale. All commands of a
//! queue have the same timeout, so the order of issue is the order of deadlines, and the oldest command alone tells
//! when the next one expires.

use heapless::Deque;

/// A command in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight<T> {
    /// What the owner wants back when the command ends.
    payload: T,
    /// When it is overdue, in nanoseconds of the monotonic clock.
    deadline: u64,
    /// The slots that were taken just before and just after, among those in flight.
    older: Option<u16>,
    newer: Option<u16>,
}

/// At most `N` commands in flight, each with a payload.
#[derive(Debug)]
pub struct Slots<T, const N: usize> {
    slots: [Option<InFlight<T>>; N],
    free: Deque<u16, N>,
    usable: usize,
    oldest: Option<u16>,
    newest: Option<u16>,
}

impl<T: Copy, const N: usize> Slots<T, N> {
    /// `usable` slots, all free; at most `N`.
    pub fn new(usable: usize) -> Self {
        let mut free = Deque::new();
        let usable = usable.min(N);
        for number in 0..usable {
            // There is room for N and no more than N are put in.
            let _ = free.push_back(number as u16);
        }
        Self { slots: [const { None }; N], free, usable, oldest: None, newest: None }
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
        self.slots[usize::from(number)] = Some(InFlight { payload, deadline, older, newer: None });
        Some(number)
    }

    /// Ends a command and frees its slot; `None` if no command of this identifier is in flight (a stale, repeated or
    /// invented completion).
    pub fn retire(&mut self, identifier: u16) -> Option<T> {
        let ended = self.slots.get_mut(usize::from(identifier))?.take()?;
        match ended.older.and_then(|older| self.slots[usize::from(older)].as_mut()) {
            Some(older) => older.newer = ended.newer,
            None => self.oldest = ended.newer,
        }
        match ended.newer.and_then(|newer| self.slots[usize::from(newer)].as_mut()) {
            Some(newer) => newer.older = ended.older,
            None => self.newest = ended.older,
        }
        // Only numbers that left the queue come back to it.
        let _ = self.free.push_back(identifier);
        Some(ended.payload)
    }

    /// When the oldest command in flight is overdue.
    pub fn deadline(&self) -> Option<u64> {
        self.slots[usize::from(self.oldest?)].as_ref().map(|oldest| oldest.deadline)
    }

    /// Ends the oldest command in flight; returns its payload and its deadline.
    pub fn retire_oldest(&mut self) -> Option<(T, u64)> {
        let number = self.oldest?;
        let deadline = self.deadline()?;
        Some((self.retire(number)?, deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extern crate std;
    use std::collections::VecDeque;
    use std::vec::Vec;

    #[test]
    fn an_identifier_is_reused_only_after_all_others() {
        let mut slots = Slots::<u8, 4>::new(4);
        let first = slots.take(1, 10).unwrap();
        assert_eq!(slots.retire(first), Some(1));
        let next: Vec<_> = (0..3).map(|payload| slots.take(payload, 10).unwrap()).collect();
        assert!(!next.contains(&first));
    }

    #[test]
    fn what_is_not_in_flight_is_not_retired() {
        let mut slots = Slots::<u8, 4>::new(4);
        let identifier = slots.take(7, 10).unwrap();
        assert_eq!(slots.retire(identifier), Some(7));
        assert_eq!(slots.retire(identifier), None);
        assert_eq!(slots.retire(4), None);
        assert_eq!(slots.retire(u16::MAX), None);
        assert_eq!(slots.free(), 4);
    }

    #[test]
    fn no_more_are_taken_than_are_usable() {
        let mut slots = Slots::<(), 8>::new(2);
        assert!(slots.take((), 0).is_some() && slots.take((), 0).is_some());
        assert_eq!(slots.take((), 0), None);
    }

    proptest! {
        /// Against a plain list in order of issue: the same are in flight, and the oldest deadline is the same.
        #[test]
        fn slots_agree_with_a_plain_list(steps in proptest::collection::vec((any::<bool>(), 0u16..10), 1..200)) {
            let mut slots = Slots::<u64, 8>::new(8);
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
                    let place = list.iter().position(|(other, _)| *other == identifier);
                    let expected = place.and_then(|place| list.remove(place)).map(|(_, time)| time);
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
