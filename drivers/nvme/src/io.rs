//! The I/O queues: parts of transfers become commands, completions end them.
//!
//! One submission a batch, one look at a completion queue an interrupt. Each batch goes to the queue with the most room.

use core::time::Duration;

use abi::Error;
use heapless::Deque;
use nvme_spec::registers::{CSTS, ControllerStatus};
use nvme_spec::{CompletionEntry, Status, brokered};
use protocol::nvme::{Failure, Operation, Transfer};

use crate::batch::Batch;
use crate::hardware::Hardware;
use crate::slots::Slots;
use crate::transfers::{Cut, Part, Transfers};
use crate::trouble::Trouble;

/// Most I/O queues. They are numbered from 1.
pub const QUEUES_MAX: usize = brokered::IO_QUEUES_MAX as usize;

/// Most commands in flight on a queue.
const SLOTS: usize = brokered::IO_COMMANDS as usize;
/// Most completions at a time: as many as can be in flight.
const COMPLETIONS_MAX: usize = SLOTS;
/// When to try again if no queue had room although nothing is in flight.
const RETRY: u64 = Duration::from_millis(1).as_nanos() as u64;
/// How often to look whether the controller still lives while it has commands.
const LOOK: u64 = Duration::from_secs(1).as_nanos() as u64;
/// Most refusals written to the log: a client could make any number.
const REFUSALS_LOGGED: u32 = 8;

/// A command in flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    part: Part,
    /// The controller was asked to abort it.
    aborting: bool,
}

/// A batch that transfers are added to as they are accepted.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// The index of the queue that it is for.
    queue: usize,
    /// Most commands.
    room: usize,
    /// When those are overdue.
    deadline: u64,
}

/// The I/O queues and what they work on.
#[derive(Debug)]
pub struct Io {
    /// The clients' transfers.
    pub transfers: Transfers,
    queues: [Slots<Flight, SLOTS>; QUEUES_MAX],
    completions: [CompletionEntry; COMPLETIONS_MAX],
    /// What is being submitted.
    batch: Batch,
    /// For which queue that is, and how many commands it may become, while transfers are accepted.
    begun: Option<Begun>,
    /// Commands in flight on all queues.
    in_flight: usize,
    /// None of them is overdue before this: mostly somewhat before the first is.
    calm_until: u64,
    /// How many queues there are.
    open: usize,
    /// Where to look for room first.
    turn: usize,
    /// Parts that were in flight at a reset, to be issued once more.
    again: Deque<Part, { SLOTS * QUEUES_MAX }>,
    /// Nothing is issued: namespaces are identified anew.
    held: bool,
    /// The region that transfers lie in.
    region: u16,
    /// Nanoseconds that a command may take.
    timeout: u64,
    /// When to look whether the controller still lives.
    look: u64,
    retry: Option<u64>,
    /// Until when the queues, with nothing in flight, must have room again.
    stuck: Option<u64>,
    refusals: u32,
    /// Completions for no command in flight.
    stale: u64,
}

/// What becomes of the commands in flight when the controller has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is started again: what may be repeated is.
    Reset,
    /// It is given up.
    Gone,
}

impl Io {
    /// Queues that take no commands before [`Io::open`].
    pub const fn new() -> Self {
        Self {
            transfers: Transfers::new(),
            queues: [const { Slots::new() }; QUEUES_MAX],
            completions: [const { CompletionEntry::ZERO }; COMPLETIONS_MAX],
            batch: Batch::new(),
            begun: None,
            in_flight: 0,
            calm_until: 0,
            open: 0,
            turn: 0,
            again: Deque::new(),
            held: false,
            region: 0,
            timeout: 0,
            look: 0,
            retry: None,
            stuck: None,
            refusals: 0,
            stale: 0,
        }
    }

    /// Transfers lie in this region, and commands may take so many nanoseconds.
    pub fn configure(&mut self, region: u16, timeout: u64) {
        (self.region, self.timeout) = (region, timeout);
    }

    /// So many queues exist, with so many commands in flight at most on each.
    pub fn open(&mut self, queues: usize, depth: usize) {
        self.close();
        self.open = queues.min(QUEUES_MAX);
        for queue in &mut self.queues[..self.open] {
            queue.reset(depth);
        }
    }

    fn close(&mut self) {
        for queue in &mut self.queues {
            queue.reset(0);
        }
        self.in_flight = 0;
        (self.open, self.retry, self.stuck, self.held) = (0, None, None, false);
    }

    /// Issues nothing until [`Io::open`], or until this is taken back.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Commands in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Puts a part in flight on a queue; its identifier, if the queue has room.
    #[inline]
    fn put(&mut self, index: usize, part: Part, deadline: u64) -> Option<u16> {
        let identifier = self.queues[index].take(Flight { part, aborting: false }, deadline)?;
        if self.in_flight == 0 {
            self.calm_until = deadline;
        }
        self.in_flight += 1;
        Some(identifier)
    }

    /// Completions so far that were for no command in flight.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// When the controller is to be looked at, or a command is overdue, in nanoseconds; never if nothing is under way.
    pub fn wake(&self) -> u64 {
        let in_flight = if self.in_flight > 0 { self.calm_until.min(self.look) } else { u64::MAX };
        in_flight.min(self.retry.unwrap_or(u64::MAX))
    }

    /// When the controller is to be looked at, if it has commands.
    pub fn look(&self) -> u64 {
        if self.in_flight() > 0 { self.look } else { u64::MAX }
    }

    /// Whether a command is overdue. From now on [`Io::wake`] tells when the oldest is.
    pub fn is_overdue(&mut self, now: u64) -> bool {
        let Some(oldest) = self.queues[..self.open].iter().filter_map(Slots::deadline).min() else { return false };
        self.calm_until = oldest;
        oldest <= now
    }

    /// Whether the queues have long been full although nothing is in flight: the controller then did not tell how far it
    /// has fetched.
    pub fn is_stuck(&self, now: u64) -> bool {
        self.stuck.is_some_and(|deadline| deadline <= now)
    }

    /// An overdue command that the controller was not asked to abort yet: queue and identifier. It counts as asked now.
    pub fn next_to_abort(&mut self, now: u64) -> Option<(u16, u16)> {
        let fresh = |flight: &mut Flight| !core::mem::replace(&mut flight.aborting, true);
        self.queues
            .iter_mut()
            .zip(1..)
            .find_map(|(queue, number)| queue.find_overdue(now, fresh).map(|identifier| (number, identifier)))
    }

    /// The controller was seen alive at this time.
    pub fn seen(&mut self, now: u64) {
        self.look = now.saturating_add(LOOK);
        self.retry = None;
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
    fn roomiest(&self, full: u32) -> Option<usize> {
        if self.open == 1 {
            return (full == 0 && self.queues[0].free() > 0).then_some(0);
        }
        let (turn, open) = (self.turn, self.open);
        let candidates = (0..open).map(|step| (turn + step) % open).filter(|index| full & 1 << index == 0);
        // The last of equals is taken, so they are given backwards.
        let index = candidates.rev().max_by_key(|index| self.queues[*index].free())?;
        (self.queues[index].free() > 0).then_some(index)
    }

    /// Whether parts wait to be issued.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        self.transfers.has_waiting() || !self.again.is_empty()
    }

    /// Begins a batch, if one may be issued now: [`Io::issue_at_once`] adds to it, and [`Io::pump`], which must follow,
    /// issues it.
    pub fn begin(&mut self, hardware: &mut impl Hardware) {
        self.batch.clear();
        self.begun = None;
        if self.held || self.has_waiting() {
            return;
        }
        let Some(queue) = self.roomiest(0) else { return };
        let room = self.queues[queue].free().min(brokered::COMMANDS_AT_ONCE);
        let now = hardware.now();
        if self.in_flight() == 0 {
            self.look = now.saturating_add(LOOK);
        }
        self.begun = Some(Begun { queue, room, deadline: now.saturating_add(self.timeout) });
    }

    /// Accepts a transfer that has been checked, and adds its command to the batch that was begun. Returns whether that was
    /// possible: else nothing has changed, and it may be accepted as any other.
    #[inline]
    pub fn issue_at_once(&mut self, badge: u32, transfer: &Transfer, cut: Cut) -> bool {
        let Some(Begun { queue, room, deadline }) = self.begun else { return false };
        // A discard is two units, and rare.
        if self.batch.identifiers.len() >= room || transfer.operation == Operation::Discard {
            return false;
        }
        let Some(part) = self.transfers.accept_whole(badge, transfer, cut) else { return false };
        match self.put(queue, part, deadline) {
            Some(identifier) => self.batch.push(identifier, &part, self.region),
            // There was room.
            None => self.postpone(&part),
        }
        true
    }

    /// Issues as many parts as the queues take.
    ///
    /// # Errors
    /// If the kernel no longer knows the device.
    pub fn pump(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        let (mut now, mut full) = (None, 0_u32);
        if let Some(Begun { queue, .. }) = self.begun.take()
            && !self.batch.identifiers.is_empty()
            && !self.issue(hardware, queue)?
        {
            full |= 1 << queue;
        }
        while !self.held && self.has_waiting() {
            let Some(index) = self.roomiest(full) else { return Ok(()) };
            let room = self.queues[index].free().min(brokered::COMMANDS_AT_ONCE);
            let mut idle = self.in_flight() == 0;
            self.batch.clear();
            while self.batch.identifiers.len() < room {
                let Some(part) = self.next_part() else { break };
                if !self.batch.fits(&part) {
                    self.postpone(&part);
                    break;
                }
                let now = *now.get_or_insert_with(|| hardware.now());
                if core::mem::take(&mut idle) {
                    self.look = now.saturating_add(LOOK);
                }
                let Some(identifier) = self.put(index, part, now.saturating_add(self.timeout)) else {
                    self.postpone(&part);
                    break;
                };
                self.batch.push(identifier, &part, self.region);
            }
            if self.batch.identifiers.is_empty() {
                return Ok(());
            }
            if !self.issue(hardware, index)? {
                full |= 1 << index;
            }
        }
        Ok(())
    }

    /// Submits the batch. Whether there may be room for another one.
    fn issue(&mut self, hardware: &mut impl Hardware, index: usize) -> Result<bool, Trouble> {
        let submission = hardware.submit(index as u16 + 1, &self.batch.commands);
        let accepted = self.batch.taken(submission.accepted);
        if accepted > 0 {
            self.stuck = None;
            self.turn = (index + 1) % self.open;
        }
        if accepted == self.batch.identifiers.len() {
            return Ok(true);
        }
        // From the last backwards: so each transfer's next turn begins with its first part that was not taken.
        while self.batch.identifiers.len() > accepted + 1 {
            let Some(part) = self.take_back(index) else { break };
            self.postpone(&part);
        }
        let Some(part) = self.take_back(index) else { return Ok(true) };
        match submission.refused {
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
        let identifier = self.batch.identifiers.pop()?;
        let part = self.queues[index].retire(identifier)?.part;
        self.in_flight -= 1;
        Some(part)
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
                let Some(&flight) = self.queues[index].retire(entry.identifier.get()) else {
                    self.stale += 1;
                    hardware.log(format_args!(
                        "completion unexpected queue={number} identifier={} count={}",
                        entry.identifier.get(),
                        self.stale
                    ));
                    continue;
                };
                self.in_flight -= 1;
                self.transfers.part_ended(flight.part.transfer, outcome(entry.status(), &flight));
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
            let part = flight.part;
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
    pub fn fail_waiting(&mut self, check: impl Fn(&protocol::nvme::Transfer) -> Result<(), Failure>) {
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

impl Default for Io {
    fn default() -> Self {
        Self::new()
    }
}

/// What a client is told of a command that ended with this status.
fn outcome(status: Status, flight: &Flight) -> Result<(), Failure> {
    if status.is_success() {
        Ok(())
    } else if flight.aborting && status.is(Status::ABORT_REQUESTED) {
        // Only what was overdue is aborted.
        Err(Failure::TimedOut)
    } else if status.is(Status::COMPARE_FAILURE) {
        Err(Failure::Different)
    } else {
        Err(Failure::Device { kind: status.kind(), code: status.code() })
    }
}

/// Whether the controller still works, by its own account.
///
/// # Errors
/// If it is gone, or has failed (CSTS.CFS), or was reset by somebody else.
pub fn alive(hardware: &mut impl Hardware) -> Result<(), Trouble> {
    let status = ControllerStatus::from_bits_retain(hardware.read_u32(CSTS).map_err(|_| Trouble::Gone)?);
    if status.is_gone() {
        return Err(Trouble::Gone);
    }
    if status.contains(ControllerStatus::FATAL) || !status.contains(ControllerStatus::READY) {
        return Err(Trouble::Fatal);
    }
    Ok(())
}
