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
