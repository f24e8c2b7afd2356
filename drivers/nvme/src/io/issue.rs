//! Parts of transfers become commands, as many at a time as a queue takes.

use abi::Error;
use nvme_spec::brokered;
use protocol::nvme::{Failure, Transfer};

use super::{Begun, Flight, Io, LOOK, REFUSALS_LOGGED, RETRY, Share, alive};
use crate::hardware::Hardware;
use crate::part::{Cut, Part};
use crate::trouble::Trouble;

impl Io {
    /// Begins a batch, if one may be issued now: [`Io::issue_at_once`] adds to it, and [`Io::pump`], which must follow,
    /// issues it.
    pub fn begin(&mut self, hardware: &mut impl Hardware) {
        if self.held || self.has_waiting() {
            return;
        }
        let Some(queue) = self.roomiest(0) else { return };
        let limit = self.queues[queue].free().min(brokered::COMMANDS_AT_ONCE);
        let deadline = self.deadline(hardware.now());
        self.begun = Begun { queue, limit, deadline };
    }

    /// When commands that are issued now are overdue. It becomes no earlier from one to the next.
    fn deadline(&mut self, now: u64) -> u64 {
        let deadline = now.saturating_add(self.timeout);
        if self.in_flight() == 0 {
            (self.look, self.calm_until) = (now.saturating_add(LOOK), deadline);
        }
        deadline
    }

    /// Accepts a transfer that has been checked and that one command carries out, and adds that to the batch that was begun.
    /// Returns whether that was possible: else nothing has changed, and it may be accepted as any other.
    #[inline]
    pub fn issue_at_once(&mut self, badge: u32, transfer: &Transfer) -> bool {
        // Each command in it is one unit.
        if self.batch.units().len() >= self.begun.limit {
            return false;
        }
        let Some(number) = self.transfers.accept_whole(badge, transfer) else { return false };
        let flight = Flight { share: Share::Whole(number), aborting: false };
        // There is room.
        if let Some(identifier) = self.queues[self.begun.queue].take(flight, self.begun.deadline) {
            self.batch.push(identifier, &Part::whole(number, transfer), self.region);
        }
        true
    }

    /// Accepts a transfer that has been checked. It waits for its turn, and those after it do. Returns whether there was
    /// room.
    pub fn accept(&mut self, badge: u32, transfer: Transfer, cut: Cut) -> bool {
        self.begun.limit = 0;
        self.transfers.accept(badge, transfer, cut)
    }

    /// Issues as many parts as the queues take.
    ///
    /// # Errors
    /// If the kernel no longer knows the device.
    #[inline]
    pub fn pump(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        let mut full = 0_u32;
        let begun = core::mem::replace(&mut self.begun, Begun::NONE);
        if !self.batch.is_empty() && !self.issue(hardware, begun.queue)? {
            full |= 1 << begun.queue;
        }
        if self.has_waiting() { self.pump_waiting(hardware, full) } else { Ok(()) }
    }

    /// Issues those that wait for their turn, on queues that are not `full`.
    #[inline(never)]
    fn pump_waiting(&mut self, hardware: &mut impl Hardware, mut full: u32) -> Result<(), Trouble> {
        let mut now = None;
        while !self.held && self.has_waiting() {
            let Some(index) = self.roomiest(full) else { return Ok(()) };
            let room = self.queues[index].free().min(brokered::COMMANDS_AT_ONCE);
            while self.batch.len() < room {
                let Some(part) = self.next_part() else { break };
                if !self.batch.fits(&part) {
                    self.postpone(&part);
                    break;
                }
                let deadline = self.deadline(*now.get_or_insert_with(|| hardware.now()));
                let flight = Flight { share: Share::Part(part), aborting: false };
                let Some(identifier) = self.queues[index].take(flight, deadline) else {
                    self.postpone(&part);
                    break;
                };
                self.batch.push(identifier, &part, self.region);
            }
            if self.batch.is_empty() {
                return Ok(());
            }
            if !self.issue(hardware, index)? {
                full |= 1 << index;
            }
        }
        Ok(())
    }

    /// Submits the batch, of which nothing is left then. Whether there may be room for another one.
    #[inline]
    fn issue(&mut self, hardware: &mut impl Hardware, index: usize) -> Result<bool, Trouble> {
        let issued = self.submit(hardware, index);
        self.batch.clear();
        issued
    }

    #[inline]
    fn submit(&mut self, hardware: &mut impl Hardware, index: usize) -> Result<bool, Trouble> {
        let submission = hardware.submit(index as u16 + 1, self.batch.units());
        let accepted = self.batch.taken(submission.accepted);
        if accepted > 0 {
            self.stuck = None;
            self.turn = (index + 1) % self.open;
        }
        if accepted == self.batch.len() {
            Ok(true)
        } else {
            self.postpone_rest(hardware, index, accepted, submission.refused)
        }
    }

    /// The commands of the batch after those that were accepted wait for another turn, or the first of them was refused.
    /// Whether there may be room for another batch.
    #[cold]
    fn postpone_rest(
        &mut self,
        hardware: &mut impl Hardware,
        index: usize,
        accepted: usize,
        refused: Option<(Error, u16)>,
    ) -> Result<bool, Trouble> {
        // From the last backwards: so each transfer's next turn begins with its first part that was not taken.
        while self.batch.len() > accepted + 1 {
            let Some(part) = self.take_back(index) else { break };
            self.postpone(&part);
        }
        let Some(part) = self.take_back(index) else { return Ok(true) };
        match refused {
            None | Some((Error::Busy, _)) => {
                self.postpone(&part);
                if self.in_flight() == 0 {
                    let now = hardware.now();
                    self.retry = Some(now.saturating_add(RETRY));
                    self.stuck.get_or_insert(now.saturating_add(LOOK));
                }
                // Taken in parts is not full.
                Ok(accepted > 0)
            }
            Some((error, reason)) => {
                if error != Error::Denied
                    && let Err(trouble) = alive(hardware)
                {
                    self.postpone(&part);
                    return Err(trouble);
                }
                self.refuse(hardware, &part, error, reason);
                Ok(true)
            }
        }
    }

    /// The part of the batch's last command, which was not taken.
    fn take_back(&mut self, index: usize) -> Option<Part> {
        let identifier = self.batch.pop()?;
        let share = self.queues[index].retire(identifier)?.share;
        self.part(share)
    }

    pub(super) fn part(&mut self, share: Share) -> Option<Part> {
        match share {
            Share::Whole(number) => self.transfers.whole(number),
            Share::Part(part) => Some(part),
        }
    }

    fn refuse(&mut self, hardware: &mut impl Hardware, part: &Part, error: Error, reason: u16) {
        let failure = if error == Error::Denied { Failure::Denied } else { Failure::Invalid };
        self.transfers.part_ended(part.transfer, Err(failure));
        if self.refusals < REFUSALS_LOGGED {
            self.refusals += 1;
            hardware.log(format_args!(
                "command refused nsid={} lba={} blocks={} error=\"{error}\" broker_reason={reason}",
                part.nsid, part.first_block, part.blocks
            ));
        }
    }

    /// The part to issue next.
    fn next_part(&mut self) -> Option<Part> {
        while let Some(part) = self.again.pop_front() {
            if self.transfers.goes_on(&part) {
                return Some(part);
            }
            // Another part of its transfer has failed meanwhile.
            self.transfers.part_ended(part.transfer, Err(Failure::Aborted));
        }
        self.transfers.next_part()
    }

    /// A part cannot be issued now.
    fn postpone(&mut self, part: &Part) {
        if part.again {
            // It has just left the queue.
            let _ = self.again.push_front(*part);
        } else {
            self.transfers.part_postponed(part);
        }
    }

    /// The queue with the most room, of those that are not `full`; ties go round.
    #[inline]
    fn roomiest(&self, full: u32) -> Option<usize> {
        if self.open == 1 {
            return (full == 0 && self.queues[0].free() > 0).then_some(0);
        }
        self.roomiest_of_many(full)
    }

    #[inline(never)]
    fn roomiest_of_many(&self, full: u32) -> Option<usize> {
        let (turn, open) = (self.turn, self.open);
        let candidates = (0..open).map(|step| (turn + step) % open).filter(|index| full & 1 << index == 0);
        // The last of equals is taken, so they are given backwards.
        let index = candidates.rev().max_by_key(|index| self.queues[*index].free())?;
        (self.queues[index].free() > 0).then_some(index)
    }
}
