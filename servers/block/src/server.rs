//! The server: what a request means, and who is told what. Pure: the driver and the reply handles are behind traits and
//! types, the memory is a view.
//!
//! Every request is answered exactly once, and every transfer that was taken completes exactly once; [`Requests`] keeps
//! them until then. What a client asks in [`Request::Transfer`] is answered when its transfer ends. What it hands over
//! with [`Request::Exchange`] waits until the client takes it.

mod answers;
mod disks;
mod doubts;
mod hand_over;
mod power;
mod recovery;

use heapless::{Deque, Vec};
use protocol::block::{BATCH_MAX, Batch, COPY_BYTES_MAX, Failure, Plain, PlainTransfer, Request, Transfer, VERSION};
use protocol::nvme::{self, BatchRoom};
use task::abi::start::CLIENTS_MAX;

use crate::client::{Client, Held, Named, Standing, State};
use crate::disk::{Disk, Unusable};
use crate::driver::{Driver, Identity, Namespaces};
use crate::memory::Memory;
use crate::note::Note;
use crate::requests::{Origin, Requests};
use crate::table::Reading;
pub use answers::{AnswerRoom, Due, Said};
pub use doubts::Doubt;
use power::Power;
use recovery::Link;

/// Lines for the log that are kept until it is told.
const NOTES_MAX: usize = 32;

/// The server's state. `D` is the driver, `R` a reply handle, `'g` how long the charter's grants are there.
pub struct Server<'g, D, R> {
    driver: D,
    clients: Vec<Client<'g, R>, CLIENTS_MAX>,
    requests: Requests<R>,
    memory: Memory,
    namespaces: Namespaces,
    /// The driver's number for them.
    namespaces_number: u32,
    /// The controller that they are on; `None` before the driver has told of any.
    controller: Option<Identity>,
    /// The partition table that is being read.
    reading: Option<Reading<'g>>,
    power: Power<R>,
    link: Link,
    /// Transfers on their way to the driver.
    batch: BatchRoom<nvme::Transfer>,
    /// Whether these were chosen and the driver does not have them yet.
    staged: bool,
    /// Transfers that the driver always has room for.
    room: usize,
    /// For how many ticks the driver may have a request.
    patience: u32,
    /// For how many ticks it has had nothing, although there is something to do.
    idle: u32,
    /// Positions of clients whose requests may fail in ways in which none should, one a bit: several drivers said so.
    convinced: u64,
    /// Why a driver was stopped that said that its device is gone, or did not let the server begin, if none has begun
    /// since.
    insisted: Option<Failure>,
    /// An answer that needs nothing else.
    immediate: Option<(R, Said)>,
    /// Positions of clients with something held, one a bit.
    holding: u32,
    /// Positions of clients that are to be signalled, one a bit.
    signals: u32,
    notes: Deque<Note<'g>, NOTES_MAX>,
}

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// A server for these clients, which knows nothing yet: [`Self::begin`] follows.
    pub fn new(driver: D, memory: Memory, clients: impl IntoIterator<Item = Named<'g>>) -> Self {
        let mut places = memory.slots();
        let client = |named: Named<'g>| {
            let window = named.grant.and_then(|grant| grant.disk).map(|disk| disk.window);
            let place = match window {
                Some(Some(window)) => Some((window, false)),
                Some(None) => places.next().map(|slot| (slot, true)),
                None => None,
            };
            Client::new(named, place)
        };
        Self {
            driver,
            clients: clients.into_iter().take(CLIENTS_MAX).map(client).collect(),
            requests: Requests::new(),
            memory,
            namespaces: Vec::new(),
            namespaces_number: 0,
            controller: None,
            reading: None,
            power: Power::On,
            link: Link::Away,
            batch: BatchRoom::new(),
            staged: false,
            room: 0,
            patience: u32::MAX,
            idle: 0,
            convinced: 0,
            insisted: None,
            immediate: None,
            holding: 0,
            signals: 0,
            notes: Deque::new(),
        }
    }

    /// Whether something is awaited from the driver.
    pub fn is_waiting(&self) -> bool {
        self.requests.is_in_flight() || self.requests.is_waiting()
    }

    /// Takes a line for the log.
    pub fn take_note(&mut self) -> Option<Note<'g>> {
        self.notes.pop_front()
    }

    /// Takes the clients that are to be signalled: a bit for each position.
    pub fn take_signals(&mut self) -> u32 {
        core::mem::take(&mut self.signals)
    }

    fn note(&mut self, note: Note<'g>) {
        // What does not fit is the log's loss: it is emptied after every event.
        let _ = self.notes.push_back(note);
    }

    /// A client's request; `None` if it was malformed.
    pub fn request(&mut self, badge: u32, reply: R, request: Option<Request<'_>>) {
        let Some(client) = self.clients.iter().position(|client| client.named.badge == badge) else {
            return self.say(reply, Said::Failed(Failure::Denied));
        };
        // A client that asks again has stopped waiting for what it asked before.
        self.clients[client].held = None;
        self.holding &= !(1 << client);
        let Some(request) = request else {
            return self.say(reply, Said::Failed(Failure::Invalid));
        };
        self.begin_batch();
        match self.respond(client, reply, request) {
            Ok(()) => {}
            Err((reply, said)) => self.say(reply, said),
        }
        if self.requests.is_waiting() || self.staged && !self.may_post() {
            self.run(false);
        }
    }

    fn say(&mut self, reply: R, said: Said) {
        self.immediate = Some((reply, said));
    }

    /// Does what is asked; gives back what can be answered at once.
    fn respond(&mut self, client: usize, reply: R, request: Request<'_>) -> Result<(), (R, Said)> {
        match request {
            Request::Open { version } if version != VERSION => return Err((reply, Said::Version)),
            Request::Shutdown => return self.shut_down(client, reply),
            // What an earlier life of the client asked for concerns nobody any more, whatever comes of this one.
            Request::Open { .. } => self.requests.orphan(client),
            _ => {}
        }
        if let Some(failure) = self.lost().or_else(|| self.power.refuses()) {
            return match request {
                // It still learns how its transfers ended; when it knows of all, that no more are taken.
                Request::Exchange { wait, .. } if self.requests.held(client) > 0 => {
                    self.take_in(client, reply, Batch::EMPTY, wait)
                }
                _ => Err((reply, Said::Failed(failure))),
            };
        }
        let failed = |reply, failure| Err((reply, Said::Failed(failure)));
        match request {
            Request::Open { .. } => {
                self.hold(client, Held::Information { reply, open: true });
                Ok(())
            }
            _ if self.clients[client].standing == Standing::New => failed(reply, Failure::NotOpen),
            Request::Information => {
                self.hold(client, Held::Information { reply, open: false });
                Ok(())
            }
            Request::Transfer(operation) => self.take_one(client, reply, &operation),
            Request::Exchange { transfers, wait } => self.take_in(client, reply, transfers, wait),
            Request::Load { offset, bytes } => Err((reply, self.load(client, offset, bytes))),
            Request::Store { offset, data } => Err((reply, self.store(client, offset, data))),
            Request::Shutdown => failed(reply, Failure::Denied),
        }
    }

    fn hold(&mut self, client: usize, held: Held<R>) {
        self.clients[client].held = Some(held);
        self.holding |= 1 << client;
    }

    /// A client's disk, as it knows it.
    #[inline(always)]
    fn disk(&self, client: usize) -> Result<&Disk, Failure> {
        let client = &self.clients[client];
        let disk = match &client.state {
            State::Disk(disk) => disk,
            State::Pending => return Err(Failure::Changed),
            State::Unusable(reason) => return Err(no_disk(reason)),
        };
        if client.standing == Standing::Open { Ok(disk) } else { Err(Failure::Changed) }
    }

    /// How many more requests of a client are admitted.
    #[inline(always)]
    fn room(&self, client: usize) -> usize {
        let share = self.clients[client].grant().map_or(0, |grant| grant.share);
        usize::from(share).saturating_sub(self.requests.held(client))
    }

    /// Admits a transfer that was checked, and hands it over with the next batch if it may go `at_once`, because the driver is
    /// there, and nothing keeps it here.
    #[inline(always)]
    fn admit(
        &mut self,
        at_once: bool,
        client: usize,
        origin: Origin<R>,
        transfer: &nvme::Transfer,
        bytes: u64,
    ) -> Result<(), Origin<R>> {
        if at_once {
            self.requests.admit_at_once(client, origin, transfer, bytes, &mut self.batch)
        } else {
            self.requests.admit(client, origin, *transfer, bytes)
        }
    }

    /// Takes a client's only transfer in.
    #[inline(always)]
    fn take_one(&mut self, client: usize, reply: R, operation: &Plain) -> Result<(), (R, Said)> {
        let failed = |reply, failure| Err((reply, Said::Failed(failure)));
        let disk = match self.disk(client) {
            Ok(disk) => disk,
            Err(failure) => return failed(reply, failure),
        };
        let Some((transfer, bytes)) = disk.transfer(operation) else {
            let failure = disk.refusal(operation);
            return failed(reply, failure);
        };
        if self.room(client) == 0 {
            return failed(reply, Failure::Busy);
        }
        let admitted = self.admit(self.link == Link::Up, client, Origin::Call(reply), &transfer, bytes);
        self.staged = !self.batch.is_empty();
        match admitted {
            Err(Origin::Call(reply)) => failed(reply, Failure::Busy),
            _ => Ok(()),
        }
    }

    /// Takes transfers in, as many as the client's share allows.
    fn take_in(
        &mut self,
        client: usize,
        reply: R,
        transfers: Batch<'_, Transfer>,
        wait: bool,
    ) -> Result<(), (R, Said)> {
        let (mut accepted, at_once) = (0, self.link == Link::Up);
        let disk = self.disk(client).copied();
        for PlainTransfer { tag, operation } in transfers.plain().iter().take(self.room(client).min(BATCH_MAX)) {
            let origin = Origin::Tag(tag);
            let admitted = match &disk {
                Ok(disk) => match disk.transfer(&operation) {
                    Some((transfer, bytes)) => self.admit(at_once, client, origin, &transfer, bytes),
                    None => self.requests.admit_failed(client, origin, disk.refusal(&operation)),
                },
                Err(failure) => self.requests.admit_failed(client, origin, *failure),
            };
            if admitted.is_err() {
                break;
            }
            accepted += 1;
        }
        self.staged = !self.batch.is_empty();
        self.clients[client].signalled = false;
        self.hold(client, Held::Exchange { reply, accepted, now: !wait });
        Ok(())
    }

    fn load(&self, client: usize, offset: u64, bytes: u16) -> Said {
        if usize::from(bytes) > COPY_BYTES_MAX {
            return Said::Failed(Failure::Invalid);
        }
        match self.slot(client, offset, bytes.into()) {
            Ok(at) => Said::Data { at, bytes },
            Err(failure) => Said::Failed(failure),
        }
    }

    fn store(&self, client: usize, offset: u64, data: &[u8]) -> Said {
        if data.len() > COPY_BYTES_MAX {
            return Said::Failed(Failure::Invalid);
        }
        match self.slot(client, offset, data.len() as u64) {
            Ok(at) if self.memory.store(at, data) => Said::Done,
            Ok(_) => Said::Failed(Failure::Invalid),
            Err(failure) => Said::Failed(failure),
        }
    }

    /// Where a part of a client's slot lies in the server's window.
    fn slot(&self, client: usize, offset: u64, bytes: u64) -> Result<u64, Failure> {
        match self.clients[client].place {
            Some((place, true)) if offset.checked_add(bytes).is_some_and(|end| end <= place.bytes) => {
                self.memory.own(place.offset + offset).ok_or(Failure::Invalid)
            }
            Some((_, true)) => Err(Failure::Invalid),
            // It has a window of its own, or nothing.
            _ => Err(Failure::Denied),
        }
    }

    /// Notes which of these clients are to be signalled.
    fn signal(&mut self, touched: u32) {
        let mut touched = touched;
        while touched != 0 {
            let position = touched.trailing_zeros() as usize;
            touched &= touched - 1;
            let Some(client) = self.clients.get_mut(position) else { continue };
            let is_waiting = matches!(client.held, Some(Held::Exchange { .. }));
            let has_news = self.requests.has_ended(position) || client.standing == Standing::Changed;
            if has_news && !is_waiting && !client.signalled {
                client.signalled = true;
                self.signals |= 1 << position;
            }
        }
    }

    /// Takes an answer that is due.
    #[inline(always)]
    pub fn take_due(&mut self) -> Option<Due<R>> {
        if self.requests.has_answers() && self.immediate.is_none() {
            return self.take_answer();
        }
        let may_be = self.immediate.is_some() || self.holding != 0 || matches!(self.power, Power::Down(..));
        if may_be { self.find_due() } else { None }
    }

    /// Takes the answer to a client that waited for just this.
    #[inline]
    fn take_answer(&mut self) -> Option<Due<R>> {
        let (reply, outcome) = self.requests.take_answer()?;
        Some(Due { reply, said: outcome.map_or_else(Said::Failed, |()| Said::Done) })
    }

    #[inline(never)]
    fn find_due(&mut self) -> Option<Due<R>> {
        if let Some((reply, said)) = self.immediate.take() {
            return Some(Due { reply, said });
        }
        if let Some(due) = self.take_answer() {
            return Some(due);
        }
        if let Some(due) = self.power.take_due() {
            return Some(due);
        }
        let mut holding = self.holding;
        while holding != 0 {
            let position = holding.trailing_zeros() as usize;
            holding &= holding - 1;
            if let Some(due) = self.take_held(position) {
                return Some(due);
            }
        }
        None
    }

    /// Takes what a client is held for, if it can be answered now.
    fn take_held(&mut self, position: usize) -> Option<Due<R>> {
        let refused = self.lost().or_else(|| self.power.refuses());
        let is_up = self.link == Link::Up;
        let client = &mut self.clients[position];
        let is_due = match &client.held {
            None => true,
            Some(Held::Information { open, .. }) => {
                refused.is_some()
                    || is_up && client.state != State::Pending && !(*open && self.requests.under_way(position))
            }
            Some(Held::Exchange { now, .. }) => {
                *now || self.requests.has_ended(position)
                    || !self.requests.under_way(position)
                    || client.standing == Standing::Changed
            }
        };
        if !is_due {
            return None;
        }
        self.holding &= !(1 << position);
        Some(match client.held.take()? {
            Held::Information { reply, .. } => {
                let said = match (&client.state, refused) {
                    (_, Some(failure)) => Said::Failed(failure),
                    (State::Disk(_), None) => Said::Information { client: position },
                    (State::Unusable(reason), None) => Said::Failed(no_disk(reason)),
                    (State::Pending, None) => Said::Failed(Failure::Changed),
                };
                if refused.is_none() {
                    // A client whose disk is gone has learned that; it may ask again for one that comes.
                    client.standing = Standing::Open;
                }
                Due { reply, said }
            }
            Held::Exchange { reply, accepted, .. } => {
                Due { reply, said: Said::Exchanged { client: position, accepted } }
            }
        })
    }
}

/// What a client without a disk is told.
fn no_disk(reason: &Unusable) -> Failure {
    match reason {
        Unusable::NoGrant | Unusable::Overlap { .. } => Failure::Denied,
        Unusable::Lost(failure) => *failure,
        _ => Failure::NoDisk,
    }
}

#[cfg(test)]
mod tests;
