//! The clients' transfers, from their acceptance until the client takes the outcome.
//!
//! A transfer is cut into parts, one device command each. Transfers with parts left to issue take turns, a part at a
//! time, so that a short one does not wait behind a long one. A transfer has ended when none of its parts is in
//! flight and none is left; its outcome is the first failure among its parts. It ends exactly once: it leaves
//! [`State::Open`] in one place, [`Transfers::settle`].

use heapless::{Deque, Vec};
use protocol::nvme::{BatchRoom, Completion, Failure, Operation, Transfer};

use crate::place::Place;

/// Most transfers accepted and not yet taken back, over all clients.
pub const TRANSFERS_MAX: usize = 128;

/// One device command's share of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which transfer, for [`Transfers::part_ended`].
    pub transfer: u16,
    /// What to do.
    pub operation: Operation,
    /// Which namespace.
    pub nsid: u32,
    /// First logical block.
    pub first_block: u64,
    /// Number of logical blocks; 0 for a flush.
    pub blocks: u32,
    /// Where the data lies: byte offset in the region.
    pub offset: u64,
    /// It was in flight when the controller was reset, and is issued once more.
    pub again: bool,
}

/// How a transfer is cut into parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Bytes in a block.
    pub block_bytes: u32,
    /// Most blocks in one part; 0 counts as 1.
    pub blocks: u32,
    /// Blocks between boundaries that no part crosses; 0 if there are none.
    pub boundary: u32,
}

impl Cut {
    /// Most blocks of a part that begins here.
    fn most(self, first_block: u64) -> u32 {
        let most = self.blocks.max(1);
        if self.boundary == 0 {
            return most;
        }
        // A remainder by 32 bits has 32 bits.
        let beyond = (first_block % u64::from(self.boundary)) as u32;
        most.min(self.boundary - beyond)
    }
}

impl Part {
    /// The part as a transfer of its own, to be checked like one.
    pub fn as_transfer(&self) -> Transfer {
        let Self { operation, nsid, first_block, blocks, offset, .. } = *self;
        Transfer { tag: 0, operation, nsid, first_block, blocks, offset }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Parts are left or in flight.
    Open,
    /// Over; the client has not taken the outcome yet.
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    /// Who asked.
    badge: u32,
    /// What was asked; `first_block` and `offset` advance as parts are issued.
    transfer: Transfer,
    /// What is left to issue: blocks, or 1 or 0 for a flush.
    left: u32,
    cut: Cut,
    /// Its blocks, first and end, all of them.
    range: (u64, u64),
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

/// All transfers.
#[derive(Debug)]
pub struct Transfers {
    entries: [Place<Entry>; TRANSFERS_MAX],
    /// Those that were used and are free again.
    free: Vec<u8, TRANSFERS_MAX>,
    /// The first that was never used.
    unused: u16,
    /// Those with parts left to issue, in the order of their turns. Each stands here at most once.
    waiting: Deque<u16, TRANSFERS_MAX>,
    /// Those that have ended, in the order in which they did.
    ended: Vec<u8, TRANSFERS_MAX>,
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
            free: Vec::new(),
            unused: 0,
            waiting: Deque::new(),
            ended: Vec::new(),
            changing: 0,
            open: 0,
            news: false,
        }
    }

    /// How many more can be accepted.
    pub fn free(&self) -> usize {
        self.free.len() + TRANSFERS_MAX - usize::from(self.unused)
    }

    /// Whether outcomes wait to be taken.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
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
        let left = match transfer.operation {
            Operation::Flush => 1,
            _ => transfer.blocks,
        };
        let Some(number) = self.insert(badge, transfer, left, cut, true) else { return false };
        let _ = self.waiting.push_back(number);
        true
    }

    /// Accepts a transfer that has been checked and that one command carries out, and gives that, which is in flight from
    /// now on, as [`Transfers::next_part`] does. `None` if it takes several, others wait for their turn, or there is no
    /// room: nothing has changed then.
    #[inline]
    pub fn accept_whole(&mut self, badge: u32, transfer: &Transfer, cut: Cut) -> Option<Part> {
        let Transfer { operation, nsid, first_block, blocks, offset, .. } = *transfer;
        if self.has_waiting() || operation == Operation::Flush || blocks > cut.most(first_block) {
            return None;
        }
        let number = self.insert(badge, *transfer, blocks, cut, false)?;
        let entry = self.entry(number)?;
        (entry.left, entry.in_flight) = (0, 1);
        Some(Part { transfer: number, operation, nsid, first_block, blocks, offset, again: false })
    }

    /// Accepts a transfer that has failed already. Returns whether there was room.
    pub fn accept_failed(&mut self, badge: u32, transfer: Transfer, failure: Failure) -> bool {
        let Some(number) = self.insert(badge, transfer, 0, Cut::default(), false) else { return false };
        self.fail(number, failure);
        self.settle(number);
        true
    }

    #[inline]
    fn insert(&mut self, badge: u32, transfer: Transfer, left: u32, cut: Cut, queued: bool) -> Option<u16> {
        let number = self.take_free()?;
        let range = match transfer.operation {
            Operation::Flush => (0, 0),
            _ => (transfer.first_block, transfer.first_block.saturating_add(transfer.blocks.into())),
        };
        if left > 0 && transfer.operation.changes_blocks() {
            self.overlap(transfer.nsid, range);
            self.changing |= 1 << number;
        }
        self.open += 1;
        let entry = Entry {
            state: State::Open,
            badge,
            transfer,
            left,
            cut,
            range,
            overlapped: false,
            in_flight: 0,
            queued,
            orphaned: false,
            outcome: Ok(()),
        };
        self.entries[usize::from(number)] = Place::Taken(entry);
        Some(number)
    }

    fn take_free(&mut self) -> Option<u16> {
        if usize::from(self.unused) == TRANSFERS_MAX {
            return self.free.pop().map(u16::from);
        }
        self.unused += 1;
        Some(self.unused - 1)
    }

    /// Marks those that change one of these blocks.
    fn overlap(&mut self, nsid: u32, (first, end): (u64, u64)) {
        let mut left = self.changing;
        while left != 0 {
            let number = left.trailing_zeros();
            left &= left - 1;
            if let Place::Taken(entry) = &mut self.entries[number as usize] {
                entry.overlapped |= entry.transfer.nsid == nsid && entry.range.0 < end && first < entry.range.1;
            }
        }
    }

    /// The next part to issue, which is in flight from now on; [`Transfers::part_ended`] or
    /// [`Transfers::part_postponed`] must follow.
    pub fn next_part(&mut self) -> Option<Part> {
        loop {
            let number = self.waiting.pop_front()?;
            let Some(entry) = self.entry(number) else { continue };
            if entry.left == 0 {
                // It failed while it waited for its turn.
                entry.queued = false;
                self.settle(number);
                continue;
            }
            let part = entry.cut(number);
            entry.queued = entry.left > 0;
            if entry.queued {
                let _ = self.waiting.push_back(number);
            }
            return Some(part);
        }
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
            entry.transfer.first_block = part.first_block;
            entry.transfer.offset = part.offset;
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
            let rest = Transfer { blocks: entry.left, ..entry.transfer };
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

    /// Moves outcomes of this client's transfers into `completions`, as many as there is room for.
    pub fn take_ended(&mut self, badge: u32, completions: &mut BatchRoom<Completion>) {
        let all = core::mem::take(&mut self.ended);
        for number in all {
            match self.ended_of(badge, number) {
                Some(completion) if completions.push(&completion).is_ok() => self.release(number.into()),
                // There is room for all that were there.
                _ => drop(self.ended.push(number)),
            }
        }
    }

    /// Adds the outcomes of this client's transfers to `completions` and leaves them here. Returns whether there was room
    /// for all.
    pub fn copy_ended(&self, badge: u32, completions: &mut BatchRoom<Completion>) -> bool {
        let mut own = self.ended.iter().filter_map(|number| self.ended_of(badge, *number));
        own.all(|completion| completions.push(&completion).is_ok())
    }

    /// The client was told of all that [`Transfers::copy_ended`] gave.
    pub fn forget_ended(&mut self, badge: u32) {
        let mut kept = 0;
        for place in 0..self.ended.len() {
            let number = self.ended[place];
            if self.ended_of(badge, number).is_some() {
                self.release(number.into());
            } else {
                self.ended[kept] = number;
                kept += 1;
            }
        }
        self.ended.truncate(kept);
    }

    /// What the client of a transfer that has ended is told, if it is this one.
    #[inline]
    fn ended_of(&self, badge: u32, number: u8) -> Option<Completion> {
        let entry = self.entries.get(usize::from(number)).and_then(Place::as_ref)?;
        (entry.badge == badge).then_some(Completion { tag: entry.transfer.tag, outcome: entry.outcome })
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
        self.forget_ended(badge);
        for number in 0..self.unused {
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

    #[inline]
    fn release(&mut self, number: u16) {
        self.entries[usize::from(number)] = Place::Free;
        // Numbers have seven bits, and there is room for all.
        let _ = self.free.push(number as u8);
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
        if entry.state == State::Open && entry.left == 0 && entry.in_flight == 0 && !entry.queued {
            entry.state = State::Ended;
            let orphaned = entry.orphaned;
            if self.changing != 0 {
                self.changing &= !(1 << number);
            }
            self.open = self.open.saturating_sub(1);
            self.news = true;
            if orphaned {
                self.release(number);
            } else {
                let _ = self.ended.push(number as u8);
            }
        }
    }
}

impl Entry {
    /// Cuts the next part off what is left.
    fn cut(&mut self, number: u16) -> Part {
        let blocks = self.left.min(self.cut.most(self.transfer.first_block));
        let part = Part {
            transfer: number,
            operation: self.transfer.operation,
            nsid: self.transfer.nsid,
            first_block: self.transfer.first_block,
            blocks: if self.transfer.operation == Operation::Flush { 0 } else { blocks },
            offset: self.transfer.offset,
            again: false,
        };
        self.left -= blocks;
        self.in_flight += 1;
        self.transfer.first_block = self.transfer.first_block.wrapping_add(u64::from(blocks));
        self.transfer.offset = self.transfer.offset.wrapping_add(u64::from(blocks) * u64::from(self.cut.block_bytes));
        part
    }
}

#[cfg(test)]
mod tests;
