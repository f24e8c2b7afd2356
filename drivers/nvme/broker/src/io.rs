//! The rules of I/O queues: which commands pass, and what the controller sees of them.
//!
//! | command | direction of the grant | memory |
//! |---|---|---|
//! | Read | read | a region |
//! | Write | write | a region |
//! | Compare | read | a region |
//! | Verify | read | none |
//! | Write Zeroes | write | none |
//! | Dataset Management | write | ranges in hidden memory: `ranges` |
//! | Flush | any of the namespace | none |

use abi::package::Command;
use abi::system_call::DEVICE_COMMAND_BYTES;
use broker::{Device, Ledger};
use checks::{Check, holds, kept};
use nvme_spec::brokered::IO_COMMANDS;
use nvme_spec::nvm::{COMPARE, DATASET_MANAGEMENT, DEALLOCATE, FLUSH, READ, VERIFY, WRITE, WRITE_ZEROES};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};

use crate::extents::{Extent, Extents, OPERANDS};
use crate::facts::{Facts, NamespaceFacts};
use crate::grant::{self, Blocks};
use crate::prp::{self, List};
use crate::queue::{Queue, Shape, slot};
use crate::ranges::Payload;
use crate::{Authored, Reason, layout};

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

/// Commands that were put into the ring.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Units of 64 bytes of the submission: they, and what belongs to them.
    pub units: usize,
    /// What authoring them cost, as [`Authored::written`].
    pub written: u32,
}

impl Accepted {
    pub fn add(&mut self, more: Self) {
        self.units += more.units;
        self.written += more.written;
    }
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

    /// Whether it takes commands and gives completions.
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        self.submission == Existence::Live && self.completion == Existence::Live
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

    /// Puts what the controller may see for these commands into the ring, up to one that is no transfer in an extent that
    /// is remembered, or is wrong, or until at least `written_max` bytes of lists were written.
    #[inline(never)]
    pub fn transfers(
        &mut self,
        device: &mut impl Device,
        ledger: &Ledger,
        extents: &Extents,
        index: usize,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
        written_max: u32,
    ) -> Accepted {
        let mut accepted = Accepted { units: 0, written: 0 };
        for command in commands {
            let command = SubmissionEntry::of_bytes(command);
            let Some(extent) = extents.find(command) else { break };
            let Ok(written) = self.transfer(device, ledger, index, command, extent) else { break };
            accepted.units += 1;
            if written > 0 {
                accepted.written += written;
                if accepted.written >= written_max {
                    break;
                }
            }
        }
        accepted
    }

    /// Likewise for a transfer in an extent: data lies in a region. Returns bytes written to its list.
    #[inline(always)]
    fn transfer(
        &mut self,
        device: &mut impl Device,
        ledger: &Ledger,
        index: usize,
        command: &SubmissionEntry,
        extent: &Extent,
    ) -> Result<u32, Reason> {
        self.queue.slots().check(command.identifier.get())?;
        // An extent has no blocks of more bytes than one transfer may have.
        let bytes = command.block_range().count << extent.block_shift;
        let address = grant::memory(ledger, command.prp2.get(), command.prp1.get(), bytes)?;
        let (second, written) = match prp::second(address, bytes) {
            Some(second) => (second, 0),
            // Eight bytes for each page of data.
            None => (self.write_list(device, ledger, index, command, address, bytes), (bytes / layout::PAGE) * 8),
        };
        // The same command anew, with nothing but what was checked.
        let [_, _, _, _, _, first, dwords12, _] = command.to_words();
        let words = [extent.head, 0, 0, address, second, first, u64::from(dwords12 as u32), 0];
        self.queue.push(device, command.identifier.get(), words);
        Ok(written)
    }

    /// Writes the PRP list of a transfer and returns its address.
    #[inline(never)]
    fn write_list(
        &mut self,
        device: &mut impl Device,
        ledger: &Ledger,
        index: usize,
        command: &SubmissionEntry,
        address: u64,
        bytes: u32,
    ) -> u64 {
        let list = self.list(ledger, index, command);
        let slot = slot(command.identifier.get());
        let mut was_used = self.lists_used & 1 << slot != 0;
        let second = prp::write_list(device, address, bytes, &list, &mut was_used);
        self.lists_used |= u64::from(was_used) << slot;
        second
    }

    /// Looks the first of these commands up, and puts what the controller may see for it into the ring. Its list is written.
    #[cold]
    #[inline(never)]
    pub fn author(
        &mut self,
        device: &mut impl Device,
        ledger: &Ledger,
        facts: &mut Facts,
        index: usize,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Result<Accepted, Reason> {
        let Some((first, following)) = commands.split_first() else { return Ok(Accepted { units: 0, written: 0 }) };
        let command = SubmissionEntry::of_bytes(first);
        let payload = Payload::of(command, following)?;
        self.queue.slots().check(command.identifier.get())?;
        let transfer = match command.opcode {
            READ => Some(Command::Read),
            WRITE => Some(Command::Write),
            COMPARE => Some(Command::Compare),
            _ => None,
        };
        if let Some(kind) = transfer {
            let extent = extent_around(ledger, facts, command, kind)?;
            facts.extents.remember(extent);
            let written = self.transfer(device, ledger, index, command, &extent)?;
            return Ok(Accepted { units: 1, written });
        }
        let authored = match command.opcode {
            FLUSH => author_flush(ledger, facts, command)?,
            VERIFY => author_without_data(ledger, facts, command, 0, Command::Verify)?,
            WRITE_ZEROES => author_without_data(ledger, facts, command, DEALLOCATE, Command::WriteZeroes)?,
            DATASET_MANAGEMENT => {
                let list = self.list(ledger, index, command);
                let authored = payload.author(device, ledger, facts, command, &list)?;
                // The list's place holds ranges now.
                self.lists_used &= !(1 << slot(command.identifier.get()));
                authored
            }
            _ if holds(Check::Opcode, false) => (*command).into(),
            _ => return Err(Reason::OpcodeWithoutRule),
        };
        self.queue.push_entry(device, &authored.entry);
        Ok(Accepted { units: 1 + payload.units(), written: authored.written })
    }

    /// The PRP list of a command's slot.
    fn list(&self, ledger: &Ledger, index: usize, command: &SubmissionEntry) -> List {
        let offset = layout::io_list(index, slot(command.identifier.get()));
        List { offset, address: ledger.hidden + u64::from(offset) }
    }
}

/// The extent around a Read, Write or Compare in which it is allowed.
fn extent_around(ledger: &Ledger, facts: &Facts, command: &SubmissionEntry, kind: Command) -> Result<Extent, Reason> {
    check_common(command, operands_of_blocks(command, 0))?;
    let (namespace, granted) = check_blocks(ledger, facts, command, kind)?;
    let block_shift = if kept(Check::BlockSize) { namespace.block_shift } else { 9 };
    let bytes = u64::from(command.block_range().count) << block_shift;
    let transfer_bytes_max = facts.controller()?.transfer_bytes_max;
    if bytes > u64::from(transfer_bytes_max) {
        return Err(Reason::TransferTooLong);
    }
    let end = granted.end.min(namespace.blocks);
    Ok(Extent::around(command, granted.first, end, block_shift, transfer_bytes_max))
}

/// Verify and Write Zeroes: blocks, and no data. `allowed` are further bits of dword 12.
fn author_without_data(
    ledger: &Ledger,
    facts: &Facts,
    command: &SubmissionEntry,
    allowed: u32,
    kind: Command,
) -> Result<Authored, Reason> {
    check_common(command, operands_of_blocks(command, allowed))?;
    check_no_data(command)?;
    check_blocks(ledger, facts, command, kind)?;
    Ok(on_blocks(command).into())
}

fn author_flush(ledger: &Ledger, facts: &Facts, command: &SubmissionEntry) -> Result<Authored, Reason> {
    check_common(command, no_operands(command))?;
    check_no_data(command)?;
    let nsid = command.nsid.get();
    if nsid == BROADCAST_NSID {
        if !grant::every_namespace(ledger) || !facts.controller()?.flush_takes_broadcast {
            return Err(Reason::BroadcastNotHarmless);
        }
        grant::command(ledger, nsid, Command::Flush)?;
    } else {
        grant::command(ledger, nsid, Command::Flush)?;
        facts.namespace(nsid)?;
    }
    Ok(SubmissionEntry::flush(command.identifier.get(), nsid).into())
}

/// The same command anew, with nothing but what was checked, and without data.
fn on_blocks(command: &SubmissionEntry) -> SubmissionEntry {
    let (identifier, nsid) = (command.identifier.get(), command.nsid.get());
    SubmissionEntry {
        dword12: command.dword12,
        ..SubmissionEntry::on_blocks(command.opcode, identifier, nsid, command.block_range())
    }
}

/// Whether the blocks that a command names in dwords 10 to 12 may be used: what is known of their namespace, and the blocks
/// around them that are granted.
fn check_blocks(
    ledger: &Ledger,
    facts: &Facts,
    command: &SubmissionEntry,
    kind: Command,
) -> Result<(NamespaceFacts, Blocks), Reason> {
    let nsid = command.nsid.get();
    if nsid == BROADCAST_NSID {
        return Err(Reason::BroadcastNotHarmless);
    }
    let range = command.block_range();
    let granted = grant::blocks(ledger, nsid, range, kind)?;
    let namespace = facts.namespace(nsid)?;
    match range.first.checked_add(u64::from(range.count)) {
        Some(end) if end <= namespace.blocks => Ok((namespace, granted)),
        _ => Err(Reason::BlocksBeyondEnd),
    }
}

/// What must be zero in dwords 12 to 15 of a command on blocks: protection information, directives, hints among it.
fn operands_of_blocks(command: &SubmissionEntry, allowed: u32) -> u32 {
    command.dword12.get() & !(OPERANDS | allowed)
        | command.dword13.get()
        | command.dword14.get()
        | command.dword15.get()
}

/// FUSE and PSDT, the metadata pointer, dwords 2 and 3, and what else of this command must be zero.
pub fn check_common(command: &SubmissionEntry, must_be_zero: u32) -> Result<(), Reason> {
    let pointer = command.metadata_pointer.get();
    let rest = u32::from(command.flags) | command.dword2.get() | command.dword3.get() | must_be_zero;
    if holds(Check::ReservedFields, pointer == 0 && rest == 0) { Ok(()) } else { Err(Reason::FieldNotZero) }
}

/// A command that names no memory.
pub fn check_no_data(command: &SubmissionEntry) -> Result<(), Reason> {
    if command.prp1.get() | command.prp2.get() != 0 { Err(Reason::FieldNotZero) } else { Ok(()) }
}

/// Dwords 10 to 15, for a command in which all of them must be zero.
pub fn no_operands(command: &SubmissionEntry) -> u32 {
    command.dword10.get() | command.dword11.get() | operands_from_12(command)
}

/// Dwords 12 to 15, likewise.
pub fn operands_from_12(command: &SubmissionEntry) -> u32 {
    command.dword12.get() | command.dword13.get() | command.dword14.get() | command.dword15.get()
}
