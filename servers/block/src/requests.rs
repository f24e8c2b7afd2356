//! Every request that the server holds, from its admission until its client has been told how it ended; and who goes
//! first. Pure: no client, no driver, no disk.
//!
//! A request leaves [`State::InFlight`] in one place, [`Requests::complete`], and only by the tag that it was handed over
//! with: a completion that comes twice, late or out of nowhere ends nothing.
//!
//! # When the driver stops
//! What it had is then *undecided*: the device may have done it or not. [`Requests::unsettle`] makes it wait again, before
//! everything else, to be handed to the next driver a second time. That must not show. Doing the same change twice shows
//! only if another change of the same blocks has come between: so of two changes that overlap the driver never has both,
//! and nothing that overlaps an undecided change, not even a read, is handed over before that change has ended. A Compare
//! is not repeated, because what it found the first time is lost: it ends as interrupted.
//!
//! # Who goes first
//! A client has at most its share of requests here. Of those, the driver gets at most [`IN_FLIGHT_MAX`] at a time, of
//! [`BYTES_IN_FLIGHT_MAX`] together, so that the device's queue never holds so much of one client that another one would
//! wait long behind it; one request counts for at most half of that, because the driver cuts large ones into parts that
//! take turns. A client with nothing in flight is not held up by these bounds. What is left is given out by
//! deficit round robin over bytes (Shreedhar and Varghese, 1995): each client's turn is worth [`QUANTUM_BYTES`], so
//! clients that always have more to do move the same number of bytes, whatever the sizes of their requests.

mod admission;
mod changing;
mod doubts;
mod list;

use heapless::Vec;
use protocol::block::{Completion, Failure, REQUESTS_MAX};
use protocol::nvme::{BatchRoom, Operation, Transfer};
use task::abi::start::CLIENTS_MAX;

use changing::Changing;
use list::List;

/// Most transfers that the driver has at a time, but for those of clients with nothing else in flight.
pub const IN_FLIGHT_MAX: usize = 64;
/// Most bytes that these move.
pub const BYTES_IN_FLIGHT_MAX: u64 = 1 << 20;
/// Bytes that a client's turn is worth.
pub const QUANTUM_BYTES: u64 = 64 << 10;
/// What an operation without data counts for.
const BYTES_WITHOUT_DATA: u64 = 4096;

/// Who asks: a client's position, or the server itself.
pub const SERVER: usize = CLIENTS_MAX;
/// Requests of the server's own at a time.
const SERVER_SHARE: usize = 2;
const PARTIES: usize = CLIENTS_MAX + 1;
const REQUESTS: usize = REQUESTS_MAX as usize + SERVER_SHARE;

/// Who is told of a request's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<R> {
    /// A client that waits for just this.
    Call(R),
    /// A client that takes completions, by its own number.
    Tag(u32),
    /// Nobody: the client has begun anew since.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not with the driver.
    Waiting,
    /// With the driver.
    InFlight,
    /// Over; its client has not been told.
    Ended(Result<(), Failure>),
}

#[derive(Debug)]
struct Request<R> {
    party: u8,
    origin: Origin<R>,
    transfer: Transfer,
    /// What it moves, or counts for if that is nothing.
    bytes: u64,
    state: State,
    /// It was with a driver that has stopped, and has not ended since.
    undecided: bool,
    /// The time, in ticks, when the driver was given it.
    handed_over: u32,
    /// How often a driver was stopped because of it.
    doubts: u8,
}

impl<R> Request<R> {
    /// What its client takes, once it has ended; `None` if none takes anything.
    #[inline(always)]
    fn completion(&self) -> Option<Completion> {
        match *self {
            Self { origin: Origin::Tag(tag), state: State::Ended(outcome), .. } => Some(Completion { tag, outcome }),
            _ => None,
        }
    }

    /// What it counts for while the driver has it.
    fn weight(&self) -> u64 {
        weight(self.bytes)
    }
}

/// What a request of so many bytes, never none, counts for while the driver has it.
fn weight(bytes: u64) -> u64 {
    bytes.min(BYTES_IN_FLIGHT_MAX / 2)
}

#[derive(Clone, Copy, Debug)]
struct Party {
    waiting: List,
    ended: List,
    /// How many have ended.
    to_tell: u8,
    /// Requests here, in any state.
    held: u8,
    in_flight: u8,
    deficit: u64,
}

impl Party {
    const NEW: Self = Self { waiting: List::EMPTY, ended: List::EMPTY, to_tell: 0, held: 0, in_flight: 0, deficit: 0 };
}

/// All requests. `R` is a reply handle.
#[derive(Debug)]
pub struct Requests<R> {
    entries: [Option<Request<R>>; REQUESTS],
    next: list::Links<REQUESTS>,
    free: List,
    parties: [Party; PARTIES],
    /// Ended ones of clients that wait for just them.
    answers: List,
    /// Whose turn it is.
    turn: usize,
    in_flight: usize,
    bytes_in_flight: u64,
    waiting: usize,
    /// Parties with requests that wait, one a bit.
    waiting_parties: u32,
    sequence: u32,
    /// The time, in ticks.
    now: u32,
    /// Those that change blocks and are with the driver, or undecided.
    changing: Changing<REQUESTS>,
}

impl<R> Default for Requests<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Bits of a tag that tell the entry; those above count.
const INDEX_BITS: u32 = 8;
const _: () = assert!(REQUESTS <= 1 << INDEX_BITS && CLIENTS_MAX < u8::MAX as usize);

/// The entry that a tag tells.
const fn index(tag: u32) -> usize {
    (tag & ((1 << INDEX_BITS) - 1)) as usize
}

impl<R> Requests<R> {
    /// Without requests.
    pub const fn new() -> Self {
        let (next, free) = list::Links::with_all();
        Self {
            entries: [const { None }; REQUESTS],
            next,
            free,
            parties: [const { Party::NEW }; PARTIES],
            answers: List::EMPTY,
            turn: 0,
            in_flight: 0,
            bytes_in_flight: 0,
            waiting: 0,
            waiting_parties: 0,
            sequence: 0,
            now: 0,
            changing: Changing::new(),
        }
    }

    /// Requests of a client here, in any state.
    pub fn held(&self, party: usize) -> usize {
        self.parties[party].held.into()
    }

    /// Requests of a client that have not ended.
    pub fn under_way(&self, party: usize) -> bool {
        self.parties[party].in_flight > 0 || !self.parties[party].waiting.is_empty()
    }

    /// Whether a client has completions to take.
    pub fn has_ended(&self, party: usize) -> bool {
        !self.parties[party].ended.is_empty()
    }

    /// Whether the driver has something.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Requests that the driver has.
    pub fn count_in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether requests wait for the driver.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Chooses what to hand over to the driver next, and counts it as in flight. [`Self::not_taken`] must follow for
    /// what the driver does not take.
    pub fn choose(&mut self, batch: &mut BatchRoom<Transfer>) {
        if self.waiting == 0 {
            return;
        }
        // First one of each client that has nothing in flight, so that nobody waits for others.
        let mut parties = self.waiting_parties;
        while parties != 0 {
            let party = parties.trailing_zeros() as usize;
            parties &= parties - 1;
            if self.parties[party].in_flight == 0 && !self.is_held_up(party) {
                self.hand_over(party, batch);
            }
        }
        self.take_turns(batch);
    }

    fn take_turns(&mut self, batch: &mut BatchRoom<Transfer>) {
        let mut passed_over = 0;
        while passed_over < PARTIES && self.waiting > 0 && self.in_flight < IN_FLIGHT_MAX && !batch.is_full() {
            let party = &mut self.parties[self.turn];
            match party.waiting.first().and_then(|index| self.entries[index].as_ref()) {
                None => {
                    party.deficit = 0;
                    passed_over += 1;
                }
                Some(request) if party.deficit < request.bytes => {
                    party.deficit += QUANTUM_BYTES;
                    passed_over = 0;
                }
                // What it overlaps is with the driver, and will end.
                Some(request) if self.changing.holds_up(&request.transfer, request.undecided) => passed_over += 1,
                // Its turn stays, so that smaller ones of others do not go before it for ever.
                Some(request) if self.bytes_in_flight + request.weight() > BYTES_IN_FLIGHT_MAX => return,
                Some(request) => {
                    party.deficit -= request.bytes;
                    passed_over = 0;
                    self.hand_over(self.turn, batch);
                    continue;
                }
            }
            self.turn = (self.turn + 1) % PARTIES;
        }
    }

    /// Whether the first of a party's requests that wait has to wait for another one's end.
    fn is_held_up(&self, party: usize) -> bool {
        let first = self.parties[party].waiting.first().and_then(|index| self.entries[index].as_ref());
        first.is_some_and(|request| self.changing.holds_up(&request.transfer, request.undecided))
    }

    fn hand_over(&mut self, party: usize, batch: &mut BatchRoom<Transfer>) {
        if batch.is_full() {
            return;
        }
        let Some(index) = self.next.pop_front(&mut self.parties[party].waiting) else { return };
        let Some(request) = &mut self.entries[index] else { return };
        request.state = State::InFlight;
        request.handed_over = self.now;
        let (transfer, bytes) = (request.transfer, request.bytes);
        self.put_in_flight(party, index, &transfer, bytes, batch);
        self.took_waiting(party);
    }

    /// A request goes to the driver with this batch, in which there is room: it was looked at.
    #[inline(always)]
    fn put_in_flight(
        &mut self,
        party: usize,
        index: usize,
        transfer: &Transfer,
        bytes: u64,
        batch: &mut BatchRoom<Transfer>,
    ) {
        let _ = batch.push(transfer);
        self.changing.add(index, transfer);
        self.parties[party].in_flight += 1;
        self.in_flight += 1;
        self.bytes_in_flight += weight(bytes);
    }

    /// One of a party's requests waits no longer.
    fn took_waiting(&mut self, party: usize) {
        self.waiting -= 1;
        if self.parties[party].waiting.is_empty() {
            self.waiting_parties &= !(1 << party);
        }
    }

    /// The driver has no room for these, which [`Self::choose`] gave last: they wait again, in their old order, with new
    /// tags. So a driver that has taken them all the same is found out by the first that it says has ended.
    pub fn not_taken(&mut self, rest: &[Transfer]) {
        for transfer in rest {
            self.sequence = self.sequence.wrapping_add(1);
            let index = index(transfer.tag);
            if let Some(request) = self.entries.get_mut(index).and_then(Option::as_mut) {
                request.transfer.tag = self.sequence << INDEX_BITS | index as u32;
            }
        }
        for transfer in rest.iter().rev() {
            let index = index(transfer.tag);
            let Some(request) = self.entries.get_mut(index).and_then(Option::as_mut) else { continue };
            request.state = State::Waiting;
            self.changing.take_back(index);
            let party = &mut self.parties[usize::from(request.party)];
            party.in_flight -= 1;
            self.in_flight -= 1;
            self.bytes_in_flight -= request.weight();
            self.waiting += 1;
            self.waiting_parties |= 1 << request.party;
            self.next.push_front(&mut party.waiting, index);
        }
    }

    /// A transfer with this tag has ended, the driver says. Returns the party that is to be told, a bit; none of them if a
    /// client waits for just this, or nobody does. `None` if none of this tag is in flight.
    #[inline(always)]
    pub fn complete(&mut self, tag: u32, outcome: Result<(), Failure>) -> Option<u32> {
        let index = index(tag);
        let request = self.entries.get_mut(index)?.as_ref()?;
        if request.transfer.tag != tag || request.state != State::InFlight {
            return None;
        }
        let (party, weight) = (usize::from(request.party), request.weight());
        let told = self.end(index, outcome);
        self.parties[party].in_flight -= 1;
        self.in_flight -= 1;
        self.bytes_in_flight -= weight;
        Some(told)
    }

    /// The driver has stopped: what it had is undecided, and waits before everything else, in its old order. What nobody
    /// waits for any more is forgotten, a Compare ends as interrupted. Returns the parties that have to be told of that, one
    /// a bit.
    #[cold]
    pub fn unsettle(&mut self) -> u32 {
        let mut told = 0;
        let mut old: Vec<(u32, u8), REQUESTS> = Vec::new();
        for index in 0..REQUESTS {
            let Some(request) = &mut self.entries[index] else { continue };
            if request.state != State::InFlight {
                continue;
            }
            let (party, tag) = (request.party, request.transfer.tag);
            if matches!(request.origin, Origin::Nobody) || request.transfer.operation == Operation::Compare {
                told |= self.complete(tag, Err(Failure::Interrupted)).unwrap_or(0);
                continue;
            }
            request.undecided = true;
            request.state = State::Waiting;
            self.changing.unsettle(index);
            self.in_flight -= 1;
            self.bytes_in_flight -= request.weight();
            self.waiting += 1;
            self.waiting_parties |= 1 << party;
            self.parties[usize::from(party)].in_flight -= 1;
            // The sequence in a tag has the tag's upper bits, and goes round.
            let age = self.sequence.wrapping_sub(tag >> INDEX_BITS) << INDEX_BITS;
            let place = old.iter().position(|(other, _)| *other > age).unwrap_or(old.len());
            // There is room for all.
            let _ = old.insert(place, (age, index as u8));
        }
        // The youngest first, so that the oldest comes to stand before it.
        for (_, index) in old {
            let index = usize::from(index);
            if let Some(request) = &self.entries[index] {
                self.next.push_front(&mut self.parties[usize::from(request.party)].waiting, index);
            }
        }
        told
    }

    /// Requests that are undecided.
    pub fn undecided(&self) -> usize {
        self.entries.iter().flatten().filter(|request| request.undecided).count()
    }

    /// Ends what is here and has not ended, of all.
    pub fn fail_all(&mut self, failure: Failure) {
        for index in 0..REQUESTS {
            let tag = match &self.entries[index] {
                Some(request) if request.state == State::InFlight => request.transfer.tag,
                _ => continue,
            };
            self.complete(tag, Err(failure));
        }
        for party in 0..PARTIES {
            self.fail_waiting(party, failure);
        }
    }

    /// The disk of a client is another one now: ends what it has here that no driver has. What is undecided is
    /// interrupted, the rest was never done.
    pub fn fail_changed(&mut self, party: usize) {
        while let Some(index) = self.next.pop_front(&mut self.parties[party].waiting) {
            self.took_waiting(party);
            let is_undecided = self.entries[index].as_ref().is_some_and(|request| request.undecided);
            self.end(index, Err(if is_undecided { Failure::Interrupted } else { Failure::Changed }));
        }
    }

    /// Ends what a client has here that no driver has.
    pub fn fail_waiting(&mut self, party: usize, failure: Failure) {
        while let Some(index) = self.next.pop_front(&mut self.parties[party].waiting) {
            self.took_waiting(party);
            self.end(index, Err(failure));
        }
    }

    /// A client begins anew: nobody is told of what it has here. What is in flight stays until it has ended.
    pub fn orphan(&mut self, party: usize) {
        self.fail_waiting(party, Failure::Interrupted);
        for request in self.entries.iter_mut().flatten().filter(|request| usize::from(request.party) == party) {
            if request.state == State::InFlight {
                request.origin = Origin::Nobody;
            }
        }
        self.taken(party, usize::MAX);
    }

    /// A request has ended, and is in no list. Returns the party that is to be told, as [`Self::complete`].
    #[inline(always)]
    fn end(&mut self, index: usize, outcome: Result<(), Failure>) -> u32 {
        let Some(request) = &mut self.entries[index] else { return 0 };
        request.state = State::Ended(outcome);
        request.undecided = false;
        self.changing.remove(index);
        match request.origin {
            Origin::Call(_) => self.next.push_back(&mut self.answers, index),
            Origin::Tag(_) => {
                let party = &mut self.parties[usize::from(request.party)];
                party.to_tell += 1;
                self.next.push_back(&mut party.ended, index);
                return 1 << request.party;
            }
            Origin::Nobody => drop(self.release(index)),
        }
        0
    }

    fn release(&mut self, index: usize) -> Option<Request<R>> {
        let request = self.entries[index].take()?;
        self.parties[usize::from(request.party)].held -= 1;
        self.next.push_back(&mut self.free, index);
        Some(request)
    }

    /// Whether answers are due to clients that wait for them.
    #[inline]
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Takes an answer that is due to a client that waits for it.
    #[inline]
    pub fn take_answer(&mut self) -> Option<(R, Result<(), Failure>)> {
        let index = self.next.pop_front(&mut self.answers)?;
        match self.release(index)? {
            Request { origin: Origin::Call(reply), state: State::Ended(outcome), .. } => Some((reply, outcome)),
            _ => None,
        }
    }

    /// The completions that a client has not taken, in the order in which they came.
    pub fn ended(&self, party: usize) -> impl Iterator<Item = Completion> + '_ {
        self.next.iter(&self.parties[party].ended).filter_map(|index| self.entries[index].as_ref()?.completion())
    }

    /// Puts as many of them into a room as it has place for.
    pub fn tell_ended(&self, party: usize, room: &mut BatchRoom<Completion>) {
        for index in self.next.iter(&self.parties[party].ended) {
            let Some(completion) = self.entries[index].as_ref().and_then(Request::completion) else { continue };
            if room.push(&completion).is_err() {
                return;
            }
        }
    }

    /// The client has taken so many of them.
    pub fn taken(&mut self, party: usize, count: usize) {
        let of = &mut self.parties[party];
        if count >= of.to_tell.into() {
            // Their entries need nothing more: no tag finds one that has ended.
            of.held -= core::mem::take(&mut of.to_tell);
            self.next.append(&mut self.free, core::mem::replace(&mut of.ended, List::EMPTY));
            return;
        }
        of.to_tell -= count as u8;
        for _ in 0..count {
            let Some(index) = self.next.pop_front(&mut self.parties[party].ended) else { return };
            self.release(index);
        }
    }
}

#[cfg(test)]
mod tests;
