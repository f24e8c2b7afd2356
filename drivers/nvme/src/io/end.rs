//! Commands end: with a completion, or with the controller.

use nvme_spec::{CompletionEntry, Status};
use protocol::nvme::{Failure, Transfer};

use super::{After, COMPLETIONS_MAX, Io, Share};
use crate::hardware::Hardware;
use crate::part::Part;
use crate::trouble::Trouble;

impl Io {
    /// Takes the completions that are there on a queue, by its index. Returns how many.
    ///
    /// # Errors
    /// If the kernel no longer knows the queue.
    pub fn drain(&mut self, hardware: &mut impl Hardware, index: usize) -> Result<usize, Trouble> {
        let mut drained = 0;
        if index >= self.open {
            return Ok(0);
        }
        let number = index as u16 + 1;
        loop {
            let count = hardware.complete(number, &mut self.completions).map_err(|_| Trouble::Gone)?;
            let taken = &self.completions[..count.min(COMPLETIONS_MAX)];
            for entry in taken {
                let Some(flight) = self.queues[index].retire(entry.identifier.get()) else {
                    self.stale += 1;
                    log_stale(hardware, number, entry, self.stale);
                    continue;
                };
                let status = entry.status();
                match flight.share {
                    Share::Whole(transfer) if status.is_success() => self.transfers.whole_ended(transfer),
                    Share::Whole(transfer) | Share::Part(Part { transfer, .. }) => {
                        self.transfers.part_ended(transfer, outcome(status, flight.aborting));
                    }
                }
            }
            drained += taken.len();
            if taken.len() < COMPLETIONS_MAX {
                return Ok(drained);
            }
        }
    }

    /// Takes the completions of all queues.
    ///
    /// # Errors
    /// If the kernel no longer knows one of them.
    pub fn drain_all(&mut self, hardware: &mut impl Hardware) -> Result<usize, Trouble> {
        let mut drained = 0;
        for index in 0..self.open {
            drained += self.drain(hardware, index)?;
        }
        Ok(drained)
    }

    /// Ends what is in flight, after the controller has stopped: what was overdue at this time has timed out; what may
    /// be repeated after a reset waits for the controller's return, and so do transfers with nothing in flight.
    pub fn end_in_flight(&mut self, overdue: u64, after: After) {
        // The oldest first, over all queues.
        while let Some(index) = (0..self.open)
            .filter(|index| self.queues[*index].in_flight() > 0)
            .min_by_key(|index| self.queues[*index].deadline())
        {
            let Some((flight, deadline)) = self.queues[index].retire_oldest() else { break };
            let Some(part) = self.part(flight.share) else { continue };
            let failure = match after {
                _ if deadline <= overdue => Failure::TimedOut,
                After::Gone => Failure::Gone,
                After::Reset if self.transfers.may_repeat(&part) => {
                    // There is room for all that were in flight, and what waits here is not in flight.
                    if self.again.push_back(Part { again: true, ..part }).is_ok() {
                        continue;
                    }
                    Failure::Aborted
                }
                After::Reset => Failure::Aborted,
            };
            self.transfers.part_ended(part.transfer, Err(failure));
        }
        self.close();
        // Those that failed leave the queue of those with parts left.
        self.fail_waiting(|_| Ok(()));
        if after == After::Gone {
            self.fail_waiting(|_| Err(Failure::Gone));
        }
    }

    /// Fails transfers with parts left, or parts to be repeated, that `check` refuses.
    pub fn fail_waiting(&mut self, check: impl Fn(&Transfer) -> Result<(), Failure>) {
        for _ in 0..self.again.len() {
            let Some(part) = self.again.pop_front() else { break };
            match check(&part.as_transfer()) {
                Ok(()) if self.transfers.goes_on(&part) => {
                    let _ = self.again.push_back(part);
                }
                Ok(()) => self.transfers.part_ended(part.transfer, Err(Failure::Aborted)),
                Err(failure) => self.transfers.part_ended(part.transfer, Err(failure)),
            }
        }
        self.transfers.fail_waiting(check);
    }
}

/// Says that a completion came for no command in flight.
#[cold]
fn log_stale(hardware: &mut impl Hardware, queue: u16, entry: &CompletionEntry, count: u64) {
    let identifier = entry.identifier.get();
    hardware.log(format_args!("completion unexpected queue={queue} identifier={identifier} count={count}"));
}

/// What a client is told of a command that ended with this status, and was to be aborted or not.
fn outcome(status: Status, aborting: bool) -> Result<(), Failure> {
    if status.is_success() {
        Ok(())
    } else if aborting && status.is(Status::ABORT_REQUESTED) {
        // Only what was overdue is aborted.
        Err(Failure::TimedOut)
    } else if status.is(Status::COMPARE_FAILURE) {
        Err(Failure::Different)
    } else {
        Err(Failure::Device { kind: status.kind(), code: status.code() })
    }
}
