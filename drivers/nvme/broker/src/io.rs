//! The rules of I/O queues: Read and Flush.

use broker::{Device, Ledger};
use nvme_spec::brokered::IO_COMMANDS;
use nvme_spec::nvm::{BLOCKS_MASK, FLUSH, FORCE_UNIT_ACCESS, LIMITED_RETRY, READ};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};

use crate::facts::Facts;
use crate::prp::{self, List};
use crate::queue::{Queue, Shape};
use crate::{Reason, grant, layout};

/// Whether the controller knows a queue; changes to [`Live`](Self::Live) and [`Absent`](Self::Absent) only when
/// success was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It does not.
    Absent,
    /// It was asked to create it.
    Creating,
    /// It does.
    Live,
    /// It was asked to delete it.
    Deleting,
}

/// An I/O submission queue and its completion queue.
#[derive(Debug)]
pub struct Pair {
    /// Rings and slots.
    pub queue: Queue,
    /// Of the submission queue.
    pub submission: Existence,
    /// Of the completion queue.
    pub completion: Existence,
    /// PRP lists that hold nothing but addresses in regions, one bit each.
    lists_used: u64,
}

impl Pair {
    pub const fn new(number: u16) -> Self {
        Self {
            queue: Queue::new(number, IO_COMMANDS),
            submission: Existence::Absent,
            completion: Existence::Absent,
            lists_used: 0,
        }
    }

    /// The controller was reset. The lists keep: regions are the device's as long as its ledger.
    pub fn forget(&mut self) {
        self.queue.forget();
        self.submission = Existence::Absent;
        self.completion = Existence::Absent;
    }

    /// The rings' places, for a pair of this index from 0.
    pub fn shape(index: usize, entries: u16, (tail_doorbell, head_doorbell): (u32, u32)) -> Shape {
        Shape {
            submission: layout::io_submission(index),
            completion: layout::io_completion(index),
            tail_doorbell,
            head_doorbell,
            entries,
        }
    }

    pub fn for_commands(&mut self) -> Result<&mut Queue, Reason> {
        match self.submission {
            Existence::Live => Ok(&mut self.queue),
            Existence::Absent => Err(Reason::NoSuchQueue),
            Existence::Creating | Existence::Deleting => Err(Reason::QueueBusy),
        }
    }

    pub fn for_completions(&mut self) -> Result<Option<&mut Queue>, Reason> {
        match self.completion {
            Existence::Live => Ok(Some(&mut self.queue)),
            Existence::Absent => Err(Reason::NoSuchQueue),
            Existence::Creating | Existence::Deleting => Ok(None),
        }
    }

    /// The command that the controller may see for this one. Its list is written.
    pub fn author(
        &mut self,
        device: &mut impl Device,
        ledger: &Ledger,
        facts: &Facts,
        index: usize,
        command: &SubmissionEntry,
    ) -> Result<SubmissionEntry, Reason> {
        self.queue.slots().check(command.identifier.get())?;
        match command.opcode {
            READ => self.author_read(device, ledger, facts, index, command),
            FLUSH => author_flush(ledger, facts, command),
            _ => Err(Reason::OpcodeWithoutRule),
        }
    }

    fn author_read(
        &mut self,
        device: &mut impl Device,
        ledger: &Ledger,
        facts: &Facts,
        index: usize,
        command: &SubmissionEntry,
    ) -> Result<SubmissionEntry, Reason> {
        let allowed = BLOCKS_MASK | LIMITED_RETRY | FORCE_UNIT_ACCESS;
        let must_be_zero =
            command.dword12.get() & !allowed | command.dword13.get() | command.dword14.get() | command.dword15.get();
        check_common(command, must_be_zero)?;

        let nsid = command.nsid.get();
        if nsid == BROADCAST_NSID {
            return Err(Reason::BroadcastNotHarmless);
        }
        let range = command.block_range();
        grant::read(ledger, nsid, range)?;
        let namespace = facts.namespace(nsid)?;
        match range.first.checked_add(u64::from(range.count)) {
            Some(end) if end <= namespace.blocks => {}
            _ => return Err(Reason::BlocksBeyondEnd),
        }
        let bytes = u64::from(range.count) << namespace.block_shift;
        if bytes > u64::from(facts.controller()?.transfer_bytes_max) {
            return Err(Reason::TransferTooLong);
        }
        let bytes = bytes as u32;
        let address = grant::memory(ledger, command.prp2.get(), command.prp1.get(), bytes)?;

        let identifier = command.identifier.get();
        let offset = layout::io_list(index, identifier);
        let list = List { offset, address: ledger.hidden + u64::from(offset) };
        let mut was_used = self.lists_used & 1 << identifier != 0;
        let (prp1, prp2) = prp::describe(device, address, bytes, &list, &mut was_used);
        self.lists_used |= u64::from(was_used) << identifier;
        Ok(SubmissionEntry { dword12: command.dword12, ..SubmissionEntry::read(identifier, nsid, range) }
            .with_data(prp1, prp2))
    }
}

fn author_flush(ledger: &Ledger, facts: &Facts, command: &SubmissionEntry) -> Result<SubmissionEntry, Reason> {
    check_common(command, no_operands(command))?;
    check_no_data(command)?;
    let nsid = command.nsid.get();
    if nsid == BROADCAST_NSID {
        if !grant::every_namespace(ledger) || !facts.controller()?.flush_takes_broadcast {
            return Err(Reason::BroadcastNotHarmless);
        }
    } else {
        grant::namespace(ledger, nsid)?;
        facts.namespace(nsid)?;
    }
    Ok(SubmissionEntry::flush(command.identifier.get(), nsid))
}

/// FUSE and PSDT, the metadata pointer, dwords 2 and 3, and what else of this command must be zero.
pub fn check_common(command: &SubmissionEntry, must_be_zero: u32) -> Result<(), Reason> {
    let pointer = command.metadata_pointer.get();
    let rest = u32::from(command.flags) | command.dword2.get() | command.dword3.get() | must_be_zero;
    if pointer != 0 || rest != 0 { Err(Reason::FieldNotZero) } else { Ok(()) }
}

/// A command that names no memory.
pub fn check_no_data(command: &SubmissionEntry) -> Result<(), Reason> {
    if command.prp1.get() | command.prp2.get() != 0 { Err(Reason::FieldNotZero) } else { Ok(()) }
}

/// Dwords 10 to 15, for a command in which all of them must be zero.
fn no_operands(command: &SubmissionEntry) -> u32 {
    command.dword10.get() | command.dword11.get() | operands_from_12(command)
}

/// Dwords 12 to 15, likewise.
pub fn operands_from_12(command: &SubmissionEntry) -> u32 {
    command.dword12.get() | command.dword13.get() | command.dword14.get() | command.dword15.get()
}
