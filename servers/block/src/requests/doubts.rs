//! Requests because of which a driver is stopped: one that it has had for too long, and one of which it says what cannot be.

use protocol::block::Failure;
use protocol::nvme::Operation;

use super::list::List;
use super::{Requests, State};

/// How often a driver is stopped because of one request. The one after that is believed.
const DOUBTS_MAX: u8 = 2;

impl<R> Requests<R> {
    /// One tick later.
    pub fn tick(&mut self) {
        self.now = self.now.wrapping_add(1);
    }

    /// What the driver has with this tag: whose it is, and what is to be done.
    pub fn in_flight(&self, tag: u32) -> Option<(usize, Operation)> {
        let index = super::index(tag);
        let request = self.entries.get(index)?.as_ref()?;
        let is_it = request.transfer.tag == tag && request.state == State::InFlight;
        is_it.then_some((request.party.into(), request.transfer.operation))
    }

    /// Doubts what the driver says of the request with this tag. Whether the driver is to be stopped because of it: not,
    /// if that was done often enough.
    pub fn doubt(&mut self, tag: u32) -> bool {
        let request = self.entries.get_mut(super::index(tag)).and_then(Option::as_mut);
        let Some(request) = request.filter(|request| request.doubts < DOUBTS_MAX) else { return false };
        request.doubts += 1;
        true
    }

    /// How many the driver has had for more than so many ticks. Each is doubted.
    pub fn doubt_overdue(&mut self, ticks: u32) -> usize {
        let now = self.now;
        let is_late = |handed_over: u32| now.wrapping_sub(handed_over) > ticks;
        let mut overdue = 0;
        for request in self.entries.iter_mut().flatten() {
            if request.state == State::InFlight && is_late(request.handed_over) {
                request.doubts = request.doubts.saturating_add(1);
                overdue += 1;
            }
        }
        overdue
    }

    /// Another driver is there and has nothing yet: ends those that too many before it did not end. Returns the parties
    /// that are to be told, one a bit.
    pub fn fail_overdue(&mut self) -> u32 {
        let mut told = 0;
        for party in 0..self.parties.len() {
            let mut all = core::mem::replace(&mut self.parties[party].waiting, List::EMPTY);
            while let Some(index) = self.next.pop_front(&mut all) {
                if self.entries[index].as_ref().is_none_or(|request| request.doubts <= DOUBTS_MAX) {
                    self.next.push_back(&mut self.parties[party].waiting, index);
                    continue;
                }
                self.end(index, Err(Failure::TimedOut));
                self.waiting -= 1;
                told |= 1 << party;
            }
            if self.parties[party].waiting.is_empty() {
                self.waiting_parties &= !(1 << party);
            }
        }
        told
    }
}
