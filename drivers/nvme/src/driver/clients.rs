//! What clients ask of the driver, and what they are told.

use protocol::nvme::{
    Answer, Batch, BatchRoom, Completion, Controller, Framed, Namespace, Notice, Operation, Request, Transfer,
};

use super::*;
use crate::check::{Whole, cut};

/// Room for what answers tell many of.
#[derive(Debug)]
pub struct AnswerRoom {
    completions: BatchRoom<Completion>,
    namespaces: BatchRoom<Namespace>,
}

impl AnswerRoom {
    /// Room.
    pub const fn new() -> Self {
        Self { completions: BatchRoom::new(), namespaces: BatchRoom::new() }
    }

    /// The answer to a client that may not transfer.
    pub fn deny(&mut self, transfers: Batch<'_, Transfer>) -> Answer<'_> {
        self.completions.clear();
        for transfer in transfers {
            // No message has more than there is room for.
            let _ = self.completions.push(&Completion { tag: transfer.tag, outcome: Err(Failure::Denied) });
        }
        let completions = self.completions.batch();
        Answer::Exchanged { accepted: completions.len() as u8, completions, namespaces: 0 }
    }
}

impl Default for AnswerRoom {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of an exchange: those of all answers that there are many of, and so small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange<'r> {
    /// [`Answer::Exchanged`].
    Done {
        /// Transfers taken.
        accepted: u8,
        /// Transfers finished.
        completions: Batch<'r, Completion>,
        /// The edition of the namespaces.
        namespaces: u32,
    },
    /// [`Answer::NotBegun`].
    NotBegun,
    /// [`Answer::NoController`].
    NoController,
}

impl<'r> From<Exchange<'r>> for Answer<'r> {
    #[inline]
    fn from(exchange: Exchange<'r>) -> Self {
        match exchange {
            Exchange::Done { accepted, completions, namespaces } => {
                Self::Exchanged { accepted, completions, namespaces }
            }
            Exchange::NotBegun => Self::NotBegun,
            Exchange::NoController => Self::NoController,
        }
    }
}

impl Driver {
    /// Answers a client. A shutdown whose outcome is yet to come is answered as stopped: [`Driver::shutdown`] is the way to
    /// wait for it.
    pub fn answer<'r>(
        &mut self,
        hardware: &mut impl Hardware,
        badge: u32,
        request: &Request<'_>,
        room: &'r mut AnswerRoom,
    ) -> Answer<'r> {
        match request {
            Request::Exchange(transfers) => self.exchange(hardware, badge, *transfers, room).into(),
            Request::Shutdown => Answer::Shutdown(self.shutdown(hardware).unwrap_or(Err(Failure::Stopped))),
            Request::Begin if self.begin(badge) => Answer::Begun { room: self.settings.room },
            Request::Begin => Answer::NotBegun,
            _ if self.state == State::Gone => Answer::NoController,
            Request::Controller => Answer::Controller(self.controller()),
            Request::Namespaces => {
                room.namespaces = self.bring_up.namespaces().iter().map(|known| known.told).collect();
                Answer::Namespaces(room.namespaces.batch())
            }
        }
    }

    /// What a client that has begun may be told along with a signal: all that has ended of its transfers. `None` if that is
    /// nothing, or more than goes along at a time, or the client has to ask because of what else it will learn. [`Driver::told`] follows if it was told.
    pub fn notice<'r>(&self, badge: u32, room: &'r mut BatchRoom<Completion>) -> Option<Framed<'r>> {
        room.clear();
        let asks = self.state != State::Running || !self.has_begun(badge);
        let all = !asks && self.io.transfers.ended.copy(badge, room);
        (all && !room.is_empty()).then(|| Notice::framed(room, self.bring_up.edition()))
    }

    /// The client was told of the last [`Driver::notice`], which had so many transfers, along with the signal that is its due.
    #[inline]
    pub fn told(&mut self, badge: u32, count: usize) {
        self.io.transfers.ended.forget(badge, count);
        (self.news, self.edition) = (false, self.bring_up.edition());
    }

    /// A client begins, or begins anew. Whether nothing of its earlier life is in flight: else it is to come again.
    pub fn begin(&mut self, badge: u32) -> bool {
        self.begun.retain(|own| *own != badge);
        // There is room for every client that the charter names.
        self.io.transfers.orphan(badge) && self.begun.push(badge).is_ok()
    }

    fn controller(&self) -> Controller {
        let identity = self.bring_up.controller();
        Controller {
            model: identity.model.clone(),
            serial: identity.serial.clone(),
            firmware: identity.firmware.clone(),
            version: self.bring_up.version().0,
            namespaces: self.bring_up.active(),
            transfer_bytes_max: self.bring_up.limits().data,
        }
    }

    /// Takes transfers, and gives what has completed.
    pub fn exchange<'r>(
        &mut self,
        hardware: &mut impl Hardware,
        badge: u32,
        transfers: Batch<'_, Transfer>,
        room: &'r mut AnswerRoom,
    ) -> Exchange<'r> {
        if !self.has_begun(badge) {
            return Exchange::NotBegun;
        }
        let completions = &mut room.completions;
        let mut accepted = 0;
        completions.clear();
        if self.state == State::Gone || self.state == State::Stopping {
            self.io.transfers.ended.take(badge, completions);
            if self.state == State::Gone {
                if completions.is_empty() {
                    return Exchange::NoController;
                }
                // The client is to come once more, and learn that nothing is taken any more.
                self.news = true;
            }
        } else {
            accepted = self.take_in(hardware, badge, transfers);
            self.io.transfers.ended.take(badge, completions);
        }
        // What ended just now went along. A signal is due for what did not fit, and for what ended of other clients: not
        // for what they have not taken yet, or one client that takes nothing would have another signalled for ever.
        let ended = self.io.transfers.take_news();
        self.news |= (ended || completions.is_full()) && !self.io.transfers.ended.is_empty();
        let completions = completions.batch();
        Exchange::Done { accepted: accepted as u8, completions, namespaces: self.bring_up.edition() }
    }

    /// Takes transfers that a client posts: as an exchange, but what has ended is left to be told with a signal. Where not
    /// all of it can be taken, nobody is told here: the client is signalled, asks, and learns why. So whoever posts keeps to
    /// the room that [`Answer::Begun`] told of.
    pub fn post(&mut self, hardware: &mut impl Hardware, badge: u32, transfers: Batch<'_, Transfer>) {
        if !self.has_begun(badge) || matches!(self.state, State::Gone | State::Stopping) {
            self.news = true;
            return;
        }
        self.take_in(hardware, badge, transfers);
        self.news |= self.io.transfers.take_news();
    }

    /// Accepts transfers, and issues what can be issued. How many there was room for, from the first.
    fn take_in(&mut self, hardware: &mut impl Hardware, badge: u32, transfers: Batch<'_, Transfer>) -> usize {
        if transfers.is_empty() {
            return 0;
        }
        let is_running = self.state == State::Running;
        if is_running && !self.draining {
            self.hold_for_event();
            self.io.begin(hardware);
        }
        if self.whole.edition != self.bring_up.edition() {
            self.whole = Whole::NONE;
        }
        let mut accepted = 0;
        for transfer in transfers {
            // Reads have code of their own: they are most.
            let is_read = transfer.operation == Operation::Read;
            if !(is_read && self.accept_whole(badge, &transfer) || self.accept(badge, transfer)) {
                break;
            }
            accepted += 1;
        }
        if is_running && let Err(trouble) = self.io.pump(hardware) {
            self.fail(hardware, trouble);
        }
        accepted
    }

    /// Whether the transfer became a command at once; else nothing has changed.
    #[inline(always)]
    fn accept_whole(&mut self, badge: u32, transfer: &Transfer) -> bool {
        self.whole.is(transfer) && self.io.issue_at_once(badge, transfer)
    }

    /// Whether there was room for the transfer, whatever it is.
    #[inline(never)]
    fn accept(&mut self, badge: u32, transfer: Transfer) -> bool {
        if self.draining {
            return self.io.transfers.accept_failed(badge, transfer, Failure::Stopped);
        }
        let (namespaces, limits) = (self.bring_up.namespaces(), self.bring_up.limits());
        let region_bytes = self.settings.region_bytes;
        if transfer.nsid != self.whole.nsid {
            self.whole = Whole::new(transfer.nsid, self.bring_up.edition(), namespaces, limits, region_bytes);
        }
        if self.accept_whole(badge, &transfer) {
            return true;
        }
        let (namespaces, limits) = (self.bring_up.namespaces(), self.bring_up.limits());
        match check(&transfer, namespaces, region_bytes) {
            Ok(known) => self.io.accept(badge, transfer, cut(transfer.operation, known, limits)),
            Err(failure) => self.io.transfers.accept_failed(badge, transfer, failure),
        }
    }

    /// Whether a client has begun.
    #[inline]
    fn has_begun(&self, badge: u32) -> bool {
        #[expect(clippy::manual_contains, reason = "there are few: `contains` looks at sixteen at a time")]
        self.begun.iter().any(|own| *own == badge)
    }
}
