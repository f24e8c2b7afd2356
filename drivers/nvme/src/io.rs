//! The I/O queue: parts of transfers become commands, completions end them.
//!
//! One submission a batch, one look at the completion queue an interrupt. A command's identifier is its slot.

use core::time::Duration;

use abi::Error;
use abi::layout::IPC_BUFFER_BYTES;
use abi::system_call::{DEVICE_COMMANDS_MAX, DEVICE_COMPLETION_BYTES};
use heapless::Vec;
use nvme_spec::nvm::{self, BlockRange, DatasetRange};
use nvme_spec::registers::{CSTS, ControllerStatus};
use nvme_spec::{CompletionEntry, Status, SubmissionEntry, brokered};
use protocol::nvme::{Failure, Operation};
use zerocopy::IntoBytes;

use crate::hardware::Hardware;
use crate::slots::Slots;
use crate::transfers::{Part, Transfers};
use crate::trouble::Trouble;

/// The I/O queue's number.
pub const QUEUE: u16 = 1;

/// Most commands in flight.
const SLOTS: usize = brokered::IO_COMMANDS as usize;
/// Most completions at a time: all that the IPC buffer holds.
const COMPLETIONS_MAX: usize = IPC_BUFFER_BYTES / DEVICE_COMPLETION_BYTES;
/// When to try again if the queue had no room although nothing is in flight.
const RETRY: u64 = Duration::from_millis(1).as_nanos() as u64;
/// How often to look whether the controller still lives while it has commands.
const LOOK: u64 = Duration::from_secs(1).as_nanos() as u64;
/// Most refusals written to the log: a client could make any number.
const REFUSALS_LOGGED: u32 = 8;

/// The I/O queue and what it works on.
#[derive(Debug)]
pub struct Io {
    /// The clients' transfers.
    pub transfers: Transfers,
    slots: Slots<u16, SLOTS>,
    completions: [CompletionEntry; COMPLETIONS_MAX],
    /// The region that transfers lie in.
    region: u16,
    /// Nanoseconds that a command may take.
    timeout: u64,
    /// When to look whether the controller still lives.
    look: u64,
    retry: Option<u64>,
    /// Until when the queue, with nothing in flight, must have room again.
    stuck: Option<u64>,
    refusals: u32,
}

impl Io {
    /// A queue that takes no commands before [`Io::open`].
    pub fn new(region: u16, timeout: u64) -> Self {
        Self {
            transfers: Transfers::default(),
            slots: Slots::new(0),
            completions: [CompletionEntry::default(); COMPLETIONS_MAX],
            region,
            timeout,
            look: 0,
            retry: None,
            stuck: None,
            refusals: 0,
        }
    }

    /// The queue exists, with so many commands in flight at most.
    pub fn open(&mut self, depth: usize) {
        self.slots = Slots::new(depth);
        (self.retry, self.stuck) = (None, None);
    }

    /// Commands in flight.
    pub fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// When the controller is to be looked at, or a command is overdue, in nanoseconds; never if nothing is under way.
    pub fn wake(&self) -> u64 {
        let in_flight = self.slots.deadline().map_or(u64::MAX, |deadline| deadline.min(self.look));
        in_flight.min(self.retry.unwrap_or(u64::MAX))
    }

    /// Whether a command is overdue, or the queue has long been full although nothing is in flight: the controller then
    /// did not tell how far it has fetched.
    pub fn is_overdue(&self, now: u64) -> bool {
        [self.slots.deadline(), self.stuck].into_iter().flatten().any(|deadline| deadline <= now)
    }

    /// The controller was seen alive at this time.
    pub fn seen(&mut self, now: u64) {
        self.look = now.saturating_add(LOOK);
        self.retry = None;
    }

    /// Issues as many parts as the queue takes.
    ///
    /// # Errors
    /// If the kernel no longer knows the device.
    pub fn pump(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        let mut now = None;
        loop {
            let room = self.slots.free().min(DEVICE_COMMANDS_MAX);
            let mut batch = Batch::new();
            while batch.parts.len() < room {
                let Some(part) = self.transfers.next_part() else { break };
                if batch.commands.len() + units(&part) > DEVICE_COMMANDS_MAX {
                    self.transfers.part_postponed(&part);
                    break;
                }
                let now = *now.get_or_insert_with(|| hardware.now());
                if self.slots.in_flight() == 0 {
                    self.look = now.saturating_add(LOOK);
                }
                let deadline = now.saturating_add(self.timeout);
                let Some(identifier) = self.slots.take(part.transfer, deadline) else {
                    self.transfers.part_postponed(&part);
                    break;
                };
                batch.push(identifier, part, self.region);
            }
            if batch.commands.is_empty() {
                return Ok(());
            }
            if !self.issue(hardware, &batch)? {
                return Ok(());
            }
        }
    }

    /// Submits a batch. Whether there may be room for another one.
    fn issue(&mut self, hardware: &mut impl Hardware, batch: &Batch) -> Result<bool, Trouble> {
        let submission = hardware.submit(QUEUE, &batch.commands);
        let accepted = batch.taken(submission.accepted);
        let rest = &batch.parts[accepted..];
        if accepted > 0 {
            self.stuck = None;
        }
        // From the last backwards: so each transfer's next turn begins with its first part that was not taken.
        for (identifier, part) in rest.iter().skip(1).rev() {
            self.slots.retire(*identifier);
            self.transfers.part_postponed(part);
        }
        let Some((identifier, part)) = rest.first() else { return Ok(true) };
        self.slots.retire(*identifier);
        match submission.refused {
            None | Some((Error::Busy, _)) => {
                self.transfers.part_postponed(part);
                if self.slots.in_flight() == 0 {
                    let now = hardware.now();
                    self.retry = Some(now.saturating_add(RETRY));
                    self.stuck.get_or_insert(now.saturating_add(LOOK));
                }
                Ok(false)
            }
            Some((error, reason)) => {
                if error != Error::Denied
                    && let Err(trouble) = alive(hardware)
                {
                    self.transfers.part_postponed(part);
                    return Err(trouble);
                }
                self.refuse(hardware, part, error, reason);
                Ok(true)
            }
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

    /// Takes the completions that are there. Returns how many.
    ///
    /// # Errors
    /// If the kernel no longer knows the queue.
    pub fn drain(&mut self, hardware: &mut impl Hardware) -> Result<usize, Trouble> {
        let mut drained = 0;
        loop {
            let count = hardware.complete(QUEUE, &mut self.completions).map_err(|_| Trouble::Gone)?;
            let taken = &self.completions[..count.min(COMPLETIONS_MAX)];
            for entry in taken {
                let Some(transfer) = self.slots.retire(entry.identifier.get()) else {
                    hardware
                        .log(format_args!("completion unexpected queue={QUEUE} identifier={}", entry.identifier.get()));
                    continue;
                };
                let status = entry.status();
                self.transfers.part_ended(transfer, outcome(status));
            }
            drained += taken.len();
            if taken.len() < COMPLETIONS_MAX {
                return Ok(drained);
            }
        }
    }

    /// Fails what is in flight, after the controller has stopped: what was overdue at this time has timed out, the
    /// rest was aborted. Transfers with nothing in flight wait for the controller's return.
    pub fn abort_in_flight(&mut self, overdue: u64) {
        while let Some((transfer, deadline)) = self.slots.retire_oldest() {
            let failure = if deadline <= overdue { Failure::TimedOut } else { Failure::Aborted };
            self.transfers.part_ended(transfer, Err(failure));
        }
        self.slots = Slots::new(0);
        (self.retry, self.stuck) = (None, None);
        // Those that failed leave the queue of those with parts left.
        self.transfers.fail_waiting(|_| Ok(()));
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

/// What a client is told of a command that ended with this status.
fn outcome(status: Status) -> Result<(), Failure> {
    if status.is_success() {
        Ok(())
    } else if status.is(Status::COMPARE_FAILURE) {
        Err(Failure::Different)
    } else {
        Err(Failure::Device { kind: status.kind(), code: status.code() })
    }
}

/// Units that a part's command takes in a submission.
fn units(part: &Part) -> usize {
    if part.operation == Operation::Discard { 1 + brokered::range_units(1) } else { 1 }
}

/// Commands for one submission, and the slots and parts that they stand for.
struct Batch {
    /// Commands, each followed by its payload if it has one.
    commands: Vec<SubmissionEntry, DEVICE_COMMANDS_MAX>,
    parts: Vec<(u16, Part), DEVICE_COMMANDS_MAX>,
}

impl Batch {
    fn new() -> Self {
        Self { commands: Vec::new(), parts: Vec::new() }
    }

    /// Adds a part's command: PRP entry 1 is the byte offset in the region, PRP entry 2 the region's number.
    fn push(&mut self, identifier: u16, part: Part, region: u16) {
        let range = BlockRange { first: part.first_block, count: part.blocks };
        let on_blocks = |opcode| SubmissionEntry::on_blocks(opcode, identifier, part.nsid, range);
        let with_data = |opcode| on_blocks(opcode).with_data(part.offset, u64::from(region));
        let command = match part.operation {
            Operation::Read => with_data(nvm::READ),
            Operation::Write { durable: false } => with_data(nvm::WRITE),
            Operation::Write { durable: true } => with_data(nvm::WRITE).with_dword12(nvm::FORCE_UNIT_ACCESS),
            Operation::Compare => with_data(nvm::COMPARE),
            Operation::WriteZeroes => on_blocks(nvm::WRITE_ZEROES),
            Operation::Verify => on_blocks(nvm::VERIFY),
            Operation::Discard => SubmissionEntry::deallocate(identifier, part.nsid, 1),
            Operation::Flush => SubmissionEntry::flush(identifier, part.nsid),
        };
        // The caller adds no more than there is room for.
        let _ = self.commands.push(command);
        if part.operation == Operation::Discard {
            let mut payload = [0; SubmissionEntry::BYTES];
            let range = DatasetRange::new(part.first_block, part.blocks);
            payload[..DatasetRange::BYTES].copy_from_slice(range.as_bytes());
            let _ = self.commands.push(SubmissionEntry::from_bytes(payload));
        }
        let _ = self.parts.push((identifier, part));
    }

    /// How many parts were taken, if so many units were.
    fn taken(&self, accepted: usize) -> usize {
        let mut end = 0;
        let fits = |(_, part): &&(u16, Part)| {
            end += units(part);
            end <= accepted
        };
        self.parts.iter().take_while(fits).count()
    }
}
