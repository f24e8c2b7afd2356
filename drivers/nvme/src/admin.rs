//! The admin queue: one command in flight at a time, its completion awaited by interrupt.

use nvme_spec::{CompletionEntry, SubmissionEntry, brokered};

use crate::hardware::Hardware;
use crate::trouble::Trouble;

/// The admin queue's number.
pub const QUEUE: u16 = 0;
/// Identifiers, taken in turn, so that a late completion is not taken for that of the next command.
const IDENTIFIERS: u16 = brokered::ADMIN_COMMANDS;

#[derive(Clone, Copy, Debug)]
struct Pending {
    identifier: u16,
    opcode: u8,
    /// In nanoseconds of the monotonic clock.
    deadline: u64,
}

/// The admin queue.
#[derive(Debug, Default)]
pub struct Admin {
    next: u16,
    pending: Option<Pending>,
}

impl Admin {
    /// Whether a command is in flight.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// When the command in flight is overdue.
    pub fn deadline(&self) -> Option<u64> {
        self.pending.map(|pending| pending.deadline)
    }

    /// Forgets the command in flight: the controller was reset.
    pub fn forget(&mut self) {
        self.pending = None;
    }

    /// Submits a command, with an identifier of its own.
    ///
    /// # Errors
    /// If the broker refuses it.
    pub fn submit(
        &mut self,
        hardware: &mut impl Hardware,
        timeout: u64,
        mut command: SubmissionEntry,
    ) -> Result<(), Trouble> {
        let identifier = self.next;
        self.next = (self.next + 1) % IDENTIFIERS;
        command.identifier = identifier.into();
        let submission = hardware.submit(QUEUE, &[command]);
        if submission.accepted == 0 {
            let (error, reason) = submission.refused.unwrap_or((abi::Error::Busy, 0));
            return Err(Trouble::Refused { opcode: command.opcode, error, reason });
        }
        let deadline = hardware.now().saturating_add(timeout);
        self.pending = Some(Pending { identifier, opcode: command.opcode, deadline });
        Ok(())
    }

    /// Takes the completion of the command in flight, if it is there.
    ///
    /// # Errors
    /// If the command is overdue, or the queue is gone.
    pub fn complete(&mut self, hardware: &mut impl Hardware) -> Result<Option<CompletionEntry>, Trouble> {
        let mut entries = [CompletionEntry::default(); IDENTIFIERS as usize];
        let count = hardware.complete(QUEUE, &mut entries).map_err(|_| Trouble::Gone)?;
        let mut completion = None;
        for entry in entries.iter().take(count) {
            match self.pending {
                Some(pending) if pending.identifier == entry.identifier.get() => {
                    self.pending = None;
                    completion = Some(*entry);
                }
                _ => hardware
                    .log(format_args!("completion unexpected queue={QUEUE} identifier={}", entry.identifier.get())),
            }
        }
        match self.pending {
            Some(pending) if hardware.now() >= pending.deadline => {
                self.pending = None;
                Err(Trouble::AdminTimeout { opcode: pending.opcode })
            }
            _ => Ok(completion),
        }
    }
}
