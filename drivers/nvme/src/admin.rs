//! The admin queue: one command that somebody waits for, one Asynchronous Event Request, and a few Aborts.
//!
//! Each has slots of its own in the identifiers; a sequence number above tells a late completion from the next one.

use nvme_spec::admin::Event;
use nvme_spec::{CompletionEntry, SubmissionEntry, brokered};

use crate::hardware::Hardware;
use crate::trouble::Trouble;

/// The admin queue's number.
pub const QUEUE: u16 = 0;

/// Slots: the command, the event request, and then the Aborts.
const COMMAND: u16 = 0;
const EVENT: u16 = 1;
const ABORTS: u16 = 2;
/// Most Aborts at a time, if the controller takes as many (ACL).
const ABORTS_MAX: usize = 4;
const SLOT_BITS: u32 = 6;

const _: () = assert!(ABORTS as usize + ABORTS_MAX <= brokered::ADMIN_COMMANDS as usize);

#[derive(Clone, Copy, Debug)]
struct Pending {
    identifier: u16,
    opcode: u8,
    /// In nanoseconds of the monotonic clock.
    deadline: u64,
}

/// The admin queue.
#[derive(Debug)]
pub struct Admin {
    sequence: u16,
    command: Option<Pending>,
    /// The command's completion, until it is taken.
    completed: Option<CompletionEntry>,
    /// The identifier of the event request that waits.
    request: Option<u16>,
    /// The event that came, until it is taken.
    event: Option<Event>,
    aborts: [Option<u16>; ABORTS_MAX],
    /// Completions for no command in flight.
    stale: u64,
}

impl Admin {
    /// Nothing is in flight.
    pub const fn new() -> Self {
        Self {
            sequence: 0,
            command: None,
            completed: None,
            request: None,
            event: None,
            aborts: [None; ABORTS_MAX],
            stale: 0,
        }
    }

    /// Whether a command is in flight, or its completion has not been taken.
    pub fn is_pending(&self) -> bool {
        self.command.is_some() || self.completed.is_some()
    }

    /// When the command in flight is overdue.
    pub fn deadline(&self) -> Option<u64> {
        self.command.map(|pending| pending.deadline)
    }

    /// Forgets everything in flight: the controller was reset.
    pub fn forget(&mut self) {
        *self = Self { sequence: self.sequence, stale: self.stale, ..Self::new() };
    }

    fn identifier(&mut self, slot: u16) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        slot | self.sequence << SLOT_BITS
    }

    fn send(hardware: &mut impl Hardware, command: SubmissionEntry) -> Result<(), Trouble> {
        let submission = hardware.submit(QUEUE, &[command]);
        if submission.accepted > 0 {
            return Ok(());
        }
        let (error, reason) = submission.refused.unwrap_or((abi::Error::Busy, 0));
        Err(Trouble::Refused { opcode: command.opcode, error, reason })
    }

    /// Submits a command, with an identifier of its own. There must be none pending.
    ///
    /// # Errors
    /// If the broker refuses it.
    pub fn submit(
        &mut self,
        hardware: &mut impl Hardware,
        timeout: u64,
        mut command: SubmissionEntry,
    ) -> Result<(), Trouble> {
        let identifier = self.identifier(COMMAND);
        command.identifier = identifier.into();
        Self::send(hardware, command)?;
        let deadline = hardware.now().saturating_add(timeout);
        self.command = Some(Pending { identifier, opcode: command.opcode, deadline });
        Ok(())
    }

    /// Asks to be told of the next event, if it is not asked already.
    ///
    /// # Errors
    /// If the broker refuses it.
    pub fn request_event(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        if self.request.is_none() {
            let identifier = self.identifier(EVENT);
            Self::send(hardware, SubmissionEntry::asynchronous_event_request(identifier))?;
            self.request = Some(identifier);
        }
        Ok(())
    }

    /// Whether the controller takes one more Abort, if it takes so many at a time.
    pub fn may_abort(&self, most: u16) -> bool {
        let under_way = self.aborts.iter().flatten().count();
        under_way < ABORTS_MAX.min(most.into())
    }

    /// Asks the controller to abort a command. What becomes of it shows its own completion.
    ///
    /// # Errors
    /// If the broker refuses it.
    pub fn abort(&mut self, hardware: &mut impl Hardware, queue: u16, aborted: u16) -> Result<(), Trouble> {
        let Some(place) = self.aborts.iter().position(Option::is_none) else { return Ok(()) };
        let identifier = self.identifier(ABORTS + place as u16);
        Self::send(hardware, SubmissionEntry::abort(identifier, queue, aborted))?;
        self.aborts[place] = Some(identifier);
        Ok(())
    }

    /// Takes the completions that are there.
    ///
    /// # Errors
    /// If the queue is gone.
    pub fn drain(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        let mut entries = [CompletionEntry::default(); brokered::ADMIN_COMMANDS as usize];
        loop {
            let count = hardware.complete(QUEUE, &mut entries).map_err(|_| Trouble::Gone)?;
            for entry in entries.iter().take(count) {
                self.arrived(hardware, entry);
            }
            if count < entries.len() {
                return Ok(());
            }
        }
    }

    fn arrived(&mut self, hardware: &mut impl Hardware, entry: &CompletionEntry) {
        let identifier = entry.identifier.get();
        if self.command.is_some_and(|pending| pending.identifier == identifier) {
            self.command = None;
            self.completed = Some(*entry);
        } else if self.request == Some(identifier) {
            self.request = None;
            // A request that fails is not made again: the controller takes none.
            if entry.status().is_success() {
                self.event = Some(Event(entry.dword0.get()));
            }
        } else if let Some(place) = self.aborts.iter().position(|abort| *abort == Some(identifier)) {
            self.aborts[place] = None;
        } else {
            self.stale += 1;
            hardware
                .log(format_args!("completion unexpected queue={QUEUE} identifier={identifier} count={}", self.stale));
        }
    }

    /// The event that came and has not been taken.
    pub fn event(&self) -> Option<Event> {
        self.event
    }

    /// Takes the event that came.
    pub fn take_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Takes the completion of the command in flight, if it is there.
    ///
    /// # Errors
    /// If the command is overdue, or the queue is gone.
    pub fn complete(&mut self, hardware: &mut impl Hardware) -> Result<Option<CompletionEntry>, Trouble> {
        if self.completed.is_none() {
            self.drain(hardware)?;
        }
        if let Some(completed) = self.completed.take() {
            return Ok(Some(completed));
        }
        match self.command {
            Some(pending) if hardware.now() >= pending.deadline => {
                self.command = None;
                Err(Trouble::AdminTimeout { opcode: pending.opcode })
            }
            _ => Ok(None),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}
