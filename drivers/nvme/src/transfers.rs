//! The clients' transfers, from their acceptance until the client takes the outcome.
//!
//! A transfer is cut into parts, one device command each. Transfers with parts left to issue take turns, a part at a
//! time, so that a short one does not wait behind a long one. A transfer has ended when none of its parts is in
//! flight and none is left; its outcome is the first failure among its parts. It ends exactly once: where it gives up its
//! place, `Transfers::end`, how it ended is listed.

use heapless::Deque;
use protocol::nvme::{Failure, Operation, Transfer};

use crate::part::{Cut, Part};
use crate::place::Place;
use ended::Ended;

mod ended;

/// Most transfers accepted and not yet taken back, over all clients.
pub const TRANSFERS_MAX: usize = 128;

/// A transfer that has not ended.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Who asked.
    badge: u32,
    /// What was asked, as in [`Transfer`]; `first_block` and `offset` advance as parts are issued.
    tag: u32,
    operation: Operation,
    nsid: u32,
    blocks: u32,
    first_block: u64,
    offset: u64,
    /// What is left to issue: blocks, or 1 or 0 for a flush.
    left: u32,
    /// Another transfer that changes some of its blocks was accepted after it.
    overlapped: bool,
    /// Parts in flight.
    in_flight: u16,
    /// Whether it stands in the queue of transfers with parts left.
    queued: bool,
    /// Its client has begun anew: nobody takes the outcome.
    orphaned: bool,
    outcome: Result<(), Failure>,
}

/// How far a transfer is when it is given its place.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// All of it is in flight.
    InFlight,
    /// It waits for its turn.
    Waits,
}

/// All transfers.
#[derive(Debug)]
pub struct Transfers {
    entries: [Place<Entry>; TRANSFERS_MAX],
    /// How each is cut that is.
    cuts: [Cut; TRANSFERS_MAX],
    /// The blocks of each that changes some, first and end, all of them.
    ranges: [(u64, u64); TRANSFERS_MAX],
    /// The order in which places are taken, the first [`Transfers::open`] of which are: each number by how it differs from
    /// its index, so that at first all are zero.
    order: [u8; TRANSFERS_MAX],
    /// Those with parts left to issue, in the order of their turns. Each stands here at most once.
    waiting: Deque<u16, TRANSFERS_MAX>,
    /// How those ended of which clients have yet to be told.
    pub ended: Ended,
    /// Those that change blocks and have not ended, one bit each.
    changing: u128,
    /// How many have not ended.
    open: usize,
    /// Whether one has ended since [`Transfers::take_news`].
    news: bool,
}

const _: () = assert!(TRANSFERS_MAX <= u128::BITS as usize && TRANSFERS_MAX <= u8::MAX as usize);

impl Default for Transfers {
    fn default() -> Self {
        Self::new()
    }
}

impl Transfers {
    /// None.
    pub const fn new() -> Self {
        Self {
            entries: [const { Place::Free }; TRANSFERS_MAX],
            cuts: [Cut::NONE; TRANSFERS_MAX],
            ranges: [(0, 0); TRANSFERS_MAX],
            order: [0; TRANSFERS_MAX],
            waiting: Deque::new(),
            ended: Ended::new(),
            changing: 0,
            open: 0,
            news: false,
        }
    }

    /// How many more can be accepted.
    #[inline]
    pub fn free(&self) -> usize {
        TRANSFERS_MAX - self.open - self.ended.len()
    }

    /// Whether some have parts left, or are to be settled.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all have ended.
    pub fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// Whether a part that was in flight at a reset may be issued once more.
    ///
    /// What changes nothing may. What changes blocks may as long as nothing that changes one of them was accepted after
    /// it: that could have ended already, and been read, and would be undone. A transfer that has failed is not
    /// continued, and nothing is issued three times.
    pub fn may_repeat(&self, part: &Part) -> bool {
        let entry = self.entries.get(usize::from(part.transfer)).and_then(Place::as_ref);
        entry.is_some_and(|entry| {
            !part.again && entry.outcome.is_ok() && !(part.operation.changes_blocks() && entry.overlapped)
        })
    }

    /// Whether the part's transfer still goes on.
    pub fn goes_on(&self, part: &Part) -> bool {
        let entry = self.entries.get(usize::from(part.transfer)).and_then(Place::as_ref);
        entry.is_some_and(|entry| entry.outcome.is_ok())
    }

    /// Whether one has ended since this was last asked.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    /// Accepts a transfer that has been checked. Returns whether there was room.
    pub fn accept(&mut self, badge: u32, transfer: Transfer, cut: Cut) -> bool {
        let Some(number) = self.insert(badge, &transfer, Progress::Waits) else { return false };
        self.cuts[usize::from(number)] = cut;
        let _ = self.waiting.push_back(number);
        true
    }

    /// Accepts a transfer that has been checked and that one command carries out, which is in flight from now on. Its
    /// number, if there is room.
    #[inline]
    pub fn accept_whole(&mut self, badge: u32, transfer: &Transfer) -> Option<u16> {
        self.insert(badge, transfer, Progress::InFlight)
    }

    /// Accepts a transfer that has failed already. Returns whether there was room.
    pub fn accept_failed(&mut self, badge: u32, transfer: Transfer, failure: Failure) -> bool {
        let has_room = self.free() > 0;
        if has_room {
            self.ended.push(badge, transfer.tag, Err(failure));
            self.news = true;
        }
        has_room
    }

    /// Gives a transfer a place.
    #[inline(always)]
    fn insert(&mut self, badge: u32, transfer: &Transfer, progress: Progress) -> Option<u16> {
        if self.open + self.ended.len() >= TRANSFERS_MAX {
            return None;
        }
        let number = u16::from(*self.order.get(self.open)? ^ self.open as u8);
        let place = self.entries.get_mut(usize::from(number))?;
        let Transfer { tag, operation, nsid, first_block, blocks, offset } = *transfer;
        let (left, in_flight, queued) = match progress {
            Progress::InFlight => (0, 1, false),
            Progress::Waits if operation == Operation::Flush => (1, 0, true),
            Progress::Waits => (blocks, 0, true),
        };
        *place = Place::Taken(Entry {
            badge,
            tag,
            operation,
            nsid,
            blocks,
            first_block,
            offset,
            left,
            overlapped: false,
            in_flight,
            queued,
            orphaned: false,
            outcome: Ok(()),
        });
        self.open += 1;
        if operation.changes_blocks() {
            self.will_change(number, transfer);
        }
        Some(number)
    }

    /// A transfer that changes blocks is accepted: it overlaps those before it that change some of the same.
    #[inline(never)]
    fn will_change(&mut self, number: u16, transfer: &Transfer) {
        let (first, end) = (transfer.first_block, transfer.first_block.saturating_add(transfer.blocks.into()));
        let mut left = self.changing;
        while left != 0 {
            let other = left.trailing_zeros() as usize;
            left &= left - 1;
            let range = self.ranges[other];
            if let Place::Taken(entry) = &mut self.entries[other] {
                entry.overlapped |= entry.nsid == transfer.nsid && range.0 < end && first < range.1;
            }
        }
        self.ranges[usize::from(number)] = (first, end);
        self.changing |= 1 << number;
    }

    /// The next part to issue, which is in flight from now on; [`Transfers::part_ended`] or
    /// [`Transfers::part_postponed`] must follow.
    pub fn next_part(&mut self) -> Option<Part> {
        loop {
            let number = self.waiting.pop_front()?;
            let cut = *self.cuts.get(usize::from(number))?;
            let Some(entry) = self.entry(number) else { continue };
            if entry.left == 0 {
                // It failed while it waited for its turn.
                entry.queued = false;
                self.settle(number);
                continue;
            }
            let part = entry.cut(number, cut);
            entry.queued = entry.left > 0;
            if entry.queued {
                let _ = self.waiting.push_back(number);
            }
            return Some(part);
        }
    }

    /// What was accepted by [`Transfers::accept_whole`] has ended well.
    #[inline]
    pub fn whole_ended(&mut self, number: u16) {
        match self.entries.get(usize::from(number)) {
            Some(&Place::Taken(Entry { badge, tag, outcome: Ok(()), .. })) => {
                self.end(number);
                self.ended.push(badge, tag, Ok(()));
            }
            // Its client has begun anew meanwhile.
            _ => self.part_ended(number, Ok(())),
        }
    }

    /// What was accepted by [`Transfers::accept_whole`], as a part: it may be postponed or repeated as any other.
    pub fn whole(&mut self, number: u16) -> Option<Part> {
        let index = usize::from(number);
        let entry = self.entries.get(index)?.as_ref()?;
        self.cuts[index] = Cut::WHOLE;
        Some(Part::whole(number, &entry.rest(entry.blocks)))
    }

    /// A part has ended. A failure keeps the transfer's further parts from being issued.
    pub fn part_ended(&mut self, transfer: u16, outcome: Result<(), Failure>) {
        let Some(entry) = self.entry(transfer) else { return };
        let Some(in_flight) = entry.in_flight.checked_sub(1) else { return };
        entry.in_flight = in_flight;
        if let Err(failure) = outcome {
            self.fail(transfer, failure);
        }
        self.settle(transfer);
    }

    /// A part could not be issued now: its transfer's next turn begins with it. Only for the last part that
    /// [`Transfers::next_part`] gave of that transfer, or several from the last backwards.
    pub fn part_postponed(&mut self, part: &Part) {
        let Some(entry) = self.entry(part.transfer) else { return };
        let Some(in_flight) = entry.in_flight.checked_sub(1) else { return };
        entry.in_flight = in_flight;
        if entry.outcome.is_ok() {
            entry.left += part.blocks.max(1);
            entry.first_block = part.first_block;
            entry.offset = part.offset;
        }
        if entry.left > 0 && !entry.queued {
            entry.queued = true;
            let _ = self.waiting.push_front(part.transfer);
        }
        self.settle(part.transfer);
    }

    /// Fails those with parts left that `check` refuses; it is given what is left of each.
    pub fn fail_waiting(&mut self, check: impl Fn(&Transfer) -> Result<(), Failure>) {
        for _ in 0..self.waiting.len() {
            let Some(number) = self.waiting.pop_front() else { return };
            let Some(entry) = self.entry(number) else { continue };
            let rest = entry.rest(entry.left);
            if entry.left > 0
                && let Err(failure) = check(&rest)
            {
                self.fail(number, failure);
            }
            let Some(entry) = self.entry(number) else { continue };
            if entry.left > 0 {
                let _ = self.waiting.push_back(number);
            } else {
                entry.queued = false;
                self.settle(number);
            }
        }
    }

    /// A client begins anew: it is told of nothing that it gave before, and of that nothing more is issued. Whether
    /// nothing of it is in flight.
    pub fn orphan(&mut self, badge: u32) -> bool {
        for _ in 0..self.waiting.len() {
            let Some(number) = self.waiting.pop_front() else { break };
            match self.entry(number) {
                Some(entry) if entry.badge == badge => entry.queued = false,
                _ => drop(self.waiting.push_back(number)),
            }
        }
        self.ended.forget_all(badge);
        for number in 0..TRANSFERS_MAX as u16 {
            if let Some(entry) = self.entry(number)
                && entry.badge == badge
            {
                entry.orphaned = true;
                // A part that was in flight at a reset is not issued again either.
                self.fail(number, Failure::Aborted);
                self.settle(number);
            }
        }
        !self.entries.iter().filter_map(Place::as_ref).any(|entry| entry.badge == badge)
    }

    fn entry(&mut self, number: u16) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(number))?.as_mut()
    }

    fn fail(&mut self, number: u16, failure: Failure) {
        if let Some(entry) = self.entry(number) {
            entry.left = 0;
            entry.outcome = entry.outcome.and(Err(failure));
        }
    }

    /// Ends a transfer that has nothing left and nothing in flight.
    fn settle(&mut self, number: u16) {
        let Some(entry) = self.entry(number) else { return };
        if entry.left == 0 && entry.in_flight == 0 && !entry.queued {
            let Entry { badge, tag, orphaned, outcome, .. } = *entry;
            self.end(number);
            if !orphaned {
                self.ended.push(badge, tag, outcome);
            }
        }
    }

    /// A transfer has ended: its place is free again.
    #[inline]
    fn end(&mut self, number: u16) {
        self.entries[usize::from(number)] = Place::Free;
        self.open -= 1;
        // The next one to be taken.
        self.order[self.open] = number as u8 ^ self.open as u8;
        if self.changing != 0 {
            self.changing &= !(1 << number);
        }
        self.news = true;
    }
}

impl Entry {
    /// So many blocks of it, from the first that has not been issued, as a transfer.
    fn rest(&self, blocks: u32) -> Transfer {
        let Self { tag, operation, nsid, first_block, offset, .. } = *self;
        Transfer { tag, operation, nsid, first_block, blocks, offset }
    }

    /// Cuts the next part off what is left.
    fn cut(&mut self, number: u16, cut: Cut) -> Part {
        let blocks = self.left.min(cut.most(self.first_block));
        let part = Part {
            transfer: number,
            operation: self.operation,
            nsid: self.nsid,
            first_block: self.first_block,
            blocks: if self.operation == Operation::Flush { 0 } else { blocks },
            offset: self.offset,
            again: false,
        };
        self.left -= blocks;
        self.in_flight += 1;
        self.first_block = self.first_block.wrapping_add(u64::from(blocks));
        self.offset = self.offset.wrapping_add(u64::from(blocks) * u64::from(cut.block_bytes));
        part
    }
}

#[cfg(test)]
mod tests;
