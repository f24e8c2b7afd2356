//! How transfers ended, until their clients are told.

use heapless::Vec;
use protocol::nvme::{BatchRoom, Completion, Failure};

use super::TRANSFERS_MAX;

/// A transfer that has ended.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// Whose it was.
    badge: u32,
    completion: Completion,
}

/// Those that have ended, in the order in which they did.
#[derive(Debug)]
pub struct Ended {
    outcomes: Vec<Outcome, TRANSFERS_MAX>,
}

impl Ended {
    /// None.
    pub const fn new() -> Self {
        Self { outcomes: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// One more. There is room for all that can be accepted.
    #[inline]
    pub fn push(&mut self, badge: u32, tag: u32, outcome: Result<(), Failure>) {
        let _ = self.outcomes.push(Outcome { badge, completion: Completion { tag, outcome } });
    }

    /// Moves this client's into `completions`, as many as there is room for.
    pub fn take(&mut self, badge: u32, completions: &mut BatchRoom<Completion>) {
        self.outcomes.retain(|ended| ended.badge != badge || completions.push(&ended.completion).is_err());
    }

    /// Adds this client's to `completions` and leaves them here. Returns whether there was room for all.
    pub fn copy(&self, badge: u32, completions: &mut BatchRoom<Completion>) -> bool {
        let mut own = self.outcomes.iter().filter(|ended| ended.badge == badge);
        own.all(|ended| completions.push(&ended.completion).is_ok())
    }

    /// Forgets this client's, of which there are so many.
    #[inline]
    pub fn forget(&mut self, badge: u32, count: usize) {
        if count == self.outcomes.len() {
            self.outcomes.clear();
        } else {
            self.forget_all(badge);
        }
    }

    /// Forgets this client's.
    pub fn forget_all(&mut self, badge: u32) {
        self.outcomes.retain(|ended| ended.badge != badge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec as List;

    fn tags(room: &BatchRoom<Completion>) -> List<u32> {
        room.batch().iter().map(|completion| completion.tag).collect()
    }

    #[test]
    fn each_client_is_told_of_its_own_once() {
        let mut ended = Ended::new();
        for tag in 0..6 {
            ended.push(1 + tag % 2, tag, Ok(()));
        }
        let mut room = BatchRoom::new();
        assert!(ended.copy(1, &mut room));
        assert_eq!(tags(&room), [0, 2, 4]);
        ended.forget(1, room.len());
        room.clear();
        assert!(ended.copy(1, &mut room) && room.is_empty());
        assert!(ended.copy(2, &mut room));
        assert_eq!(tags(&room), [1, 3, 5]);
        ended.forget(2, room.len());
        assert!(ended.is_empty());
    }

    #[test]
    fn what_finds_no_room_stays_in_its_order() {
        let mut ended = Ended::new();
        for tag in 0..40 {
            ended.push(1, tag, Err(Failure::Gone));
        }
        let mut room = BatchRoom::new();
        assert!(!ended.copy(1, &mut room));
        room.clear();
        ended.take(1, &mut room);
        assert_eq!(tags(&room), List::from_iter(0..32));
        room.clear();
        ended.take(1, &mut room);
        assert_eq!(tags(&room), List::from_iter(32..40));
        assert!(ended.is_empty());
    }
}
