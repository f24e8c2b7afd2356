//! The rules of the admin queue, and what its completions change.

use broker::Device;
use nvme_spec::admin::{
    CREATE_COMPLETION_QUEUE, CREATE_SUBMISSION_QUEUE, DELETE_COMPLETION_QUEUE, DELETE_SUBMISSION_QUEUE, IDENTIFY,
    QUEUE_CONTIGUOUS, QUEUE_INTERRUPTS, QueueCounts, SET_FEATURES, feature,
};
use nvme_spec::brokered::{ADMIN_COMMANDS, IO_QUEUES_MAX};
use nvme_spec::identify::Structure;
use nvme_spec::{BROADCAST_NSID, CompletionEntry, SubmissionEntry};

use crate::io::{Existence, Pair, check_common, check_no_data, operands_from_12};
use crate::layout::{PAGE, admin_page};
use crate::queue::{Queue, clear_hidden};
use crate::{NvmeBroker, Reason, grant};

/// What an admin command's success means. Queues are named by the index of their pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Controller,
    Namespace(u32),
    NamespaceList,
    NumberOfQueues,
    CreateCompletion(usize),
    CreateSubmission(usize),
    DeleteSubmission(usize),
    DeleteCompletion(usize),
}

/// The admin queue.
#[derive(Debug)]
pub struct Admin {
    pub queue: Queue,
    meanings: [Meaning; ADMIN_COMMANDS as usize],
    /// Slots whose page holds data that was not collected, one bit each.
    data: u64,
    /// I/O queue pairs that the controller granted.
    pairs_granted: u16,
}

impl Admin {
    pub const fn new() -> Self {
        Self {
            queue: Queue::new(0, ADMIN_COMMANDS),
            meanings: [Meaning::Nothing; ADMIN_COMMANDS as usize],
            data: 0,
            pairs_granted: 0,
        }
    }

    /// The controller was reset.
    pub fn forget(&mut self) {
        self.queue.forget();
        self.meanings = [Meaning::Nothing; ADMIN_COMMANDS as usize];
        self.data = 0;
        self.pairs_granted = 0;
    }

    /// Whether a command with this identifier, below [`ADMIN_COMMANDS`], left data.
    pub const fn has_data(&self, identifier: u16) -> bool {
        self.data & 1 << identifier != 0
    }

    /// It has been collected, or the slot is used anew.
    pub fn drop_data(&mut self, identifier: u16) {
        self.data &= !(1 << identifier);
    }
}

impl NvmeBroker {
    /// The command that the controller may see for this one; what it is about to change is noted.
    pub(crate) fn author_admin(
        &mut self,
        device: &mut impl Device,
        command: &SubmissionEntry,
    ) -> Result<SubmissionEntry, Reason> {
        let identifier = command.identifier.get();
        self.admin.queue.slots().check(identifier)?;
        let (entry, meaning) = match command.opcode {
            IDENTIFY => self.author_identify(device, command)?,
            SET_FEATURES => self.author_set_features(command)?,
            CREATE_COMPLETION_QUEUE => self.author_create_completion(device, command)?,
            CREATE_SUBMISSION_QUEUE => self.author_create_submission(command)?,
            DELETE_SUBMISSION_QUEUE => self.author_delete_submission(command)?,
            DELETE_COMPLETION_QUEUE => self.author_delete_completion(command)?,
            _ => return Err(Reason::OpcodeWithoutRule),
        };
        self.admin.drop_data(identifier);
        self.admin.meanings[usize::from(identifier)] = meaning;
        Ok(entry)
    }

    fn author_identify(
        &mut self,
        device: &mut impl Device,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
        check_common(command, command.dword11.get() | operands_from_12(command))?;
        check_no_data(command)?;
        let nsid = command.nsid.get();
        let (structure, meaning) = match command.dword10.get() {
            0 if nsid == BROADCAST_NSID => return Err(Reason::BroadcastNotHarmless),
            0 if nsid == 0 => return Err(Reason::NamespaceInvalid),
            0 => {
                grant::namespace(&self.ledger, nsid)?;
                (Structure::Namespace, Meaning::Namespace(nsid))
            }
            1 if nsid != 0 => return Err(Reason::NamespaceInvalid),
            1 => (Structure::Controller, Meaning::Controller),
            2 if nsid >= BROADCAST_NSID - 1 => return Err(Reason::NamespaceInvalid),
            2 => (Structure::ActiveNamespaces, Meaning::NamespaceList),
            _ => return Err(Reason::StructureWithoutRule),
        };
        let identifier = command.identifier.get();
        let page = admin_page(identifier);
        // What a controller does not write must not be believed from an earlier command.
        clear_hidden(device, page, PAGE);
        let address = self.ledger.hidden + u64::from(page);
        Ok((SubmissionEntry::identify(identifier, structure, nsid).with_data(address, 0), meaning))
    }

    fn author_set_features(&self, command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
        if command.dword10.get() & 0xff != u32::from(feature::NUMBER_OF_QUEUES) {
            return Err(Reason::FeatureWithoutRule);
        }
        let saved_and_reserved = command.dword10.get() & !0xff;
        check_common(command, command.nsid.get() | saved_and_reserved | operands_from_12(command))?;
        check_no_data(command)?;
        let counts = QueueCounts::from_dword(command.dword11.get());
        let most = u32::from(IO_QUEUES_MAX);
        if counts.submission > most || counts.completion > most {
            return Err(Reason::QueueCount);
        }
        if self.pairs.iter().any(|pair| pair.completion != Existence::Absent) {
            return Err(Reason::QueuesExist);
        }
        let entry = SubmissionEntry::set_number_of_queues(command.identifier.get(), counts);
        Ok((entry, Meaning::NumberOfQueues))
    }

    fn author_create_completion(
        &mut self,
        device: &mut impl Device,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
        let (queue, index) = self.check_create(command)?;
        let attributes = command.dword11.get();
        if attributes & 0xffff != QUEUE_CONTIGUOUS | QUEUE_INTERRUPTS {
            return Err(Reason::QueueAttributes);
        }
        let vector = (attributes >> 16) as u16;
        if !self.ledger.vectors.contains(&vector) {
            return Err(Reason::VectorNotGranted);
        }
        let entries = self.controller.io_entries();
        let doorbells = self.controller.doorbells(&self.ledger, queue)?;
        let pair = &mut self.pairs[index];
        if pair.completion != Existence::Absent {
            return Err(Reason::QueueExists);
        }
        let shape = Pair::shape(index, entries, doorbells);
        pair.queue.begin(device, shape);
        pair.completion = Existence::Creating;
        let entry =
            SubmissionEntry::create_completion_queue(command.identifier.get(), queue, u32::from(entries), vector);
        let address = self.ledger.hidden + u64::from(shape.completion);
        Ok((entry.with_data(address, 0), Meaning::CreateCompletion(index)))
    }

    fn author_create_submission(&mut self, command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
        let (queue, index) = self.check_create(command)?;
        if command.dword11.get() != QUEUE_CONTIGUOUS | u32::from(queue) << 16 {
            return Err(Reason::QueueAttributes);
        }
        let pair = &mut self.pairs[index];
        if pair.submission != Existence::Absent {
            return Err(Reason::QueueExists);
        }
        match pair.completion {
            Existence::Live => {}
            Existence::Absent => return Err(Reason::NoSuchQueue),
            Existence::Creating | Existence::Deleting => return Err(Reason::QueueBusy),
        }
        pair.queue.begin_submission();
        pair.submission = Existence::Creating;
        let entries = u32::from(pair.queue.shape().entries);
        let entry = SubmissionEntry::create_submission_queue(command.identifier.get(), queue, entries, queue);
        let address = self.ledger.hidden + u64::from(pair.queue.shape().submission);
        Ok((entry.with_data(address, 0), Meaning::CreateSubmission(index)))
    }

    /// What both creations must keep to: the queue's number and the index of its pair.
    fn check_create(&self, command: &SubmissionEntry) -> Result<(u16, usize), Reason> {
        check_common(command, command.nsid.get() | operands_from_12(command))?;
        check_no_data(command)?;
        let queue = command.dword10.get() as u16;
        if queue == 0 || queue > self.admin.pairs_granted {
            return Err(Reason::QueueNotGranted);
        }
        if (command.dword10.get() >> 16) + 1 != u32::from(self.controller.io_entries()) {
            return Err(Reason::QueueSize);
        }
        Ok((queue, usize::from(queue) - 1))
    }

    fn author_delete_submission(&mut self, command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
        let (queue, index) = self.check_delete(command)?;
        let pair = &mut self.pairs[index];
        // A controller need not say how commands ended whose queue is deleted; so none may be left.
        if !pair.for_commands()?.slots().is_empty() {
            return Err(Reason::CommandsInFlight);
        }
        pair.submission = Existence::Deleting;
        let entry = SubmissionEntry::delete_submission_queue(command.identifier.get(), queue);
        Ok((entry, Meaning::DeleteSubmission(index)))
    }

    fn author_delete_completion(&mut self, command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
        let (queue, index) = self.check_delete(command)?;
        let pair = &mut self.pairs[index];
        if pair.for_completions()?.is_none() {
            return Err(Reason::QueueBusy);
        }
        if pair.submission != Existence::Absent {
            return Err(Reason::QueueInUse);
        }
        pair.completion = Existence::Deleting;
        let entry = SubmissionEntry::delete_completion_queue(command.identifier.get(), queue);
        Ok((entry, Meaning::DeleteCompletion(index)))
    }

    fn check_delete(&self, command: &SubmissionEntry) -> Result<(u16, usize), Reason> {
        let reserved = command.dword10.get() & !0xffff;
        check_common(command, command.nsid.get() | reserved | command.dword11.get() | operands_from_12(command))?;
        check_no_data(command)?;
        let queue = command.dword10.get() as u16;
        if queue == 0 || queue > IO_QUEUES_MAX {
            return Err(Reason::NoSuchQueue);
        }
        Ok((queue, usize::from(queue) - 1))
    }

    /// Draws the conclusions from a completion that was just retired. Returns dword 0 as the driver is told it.
    pub(crate) fn settle(&mut self, device: &mut impl Device, identifier: u16, entry: &CompletionEntry) -> u32 {
        let slot = usize::from(identifier);
        let meaning = core::mem::replace(&mut self.admin.meanings[slot], Meaning::Nothing);
        let success = entry.status().is_success();
        if success && matches!(meaning, Meaning::Controller | Meaning::Namespace(_) | Meaning::NamespaceList) {
            self.admin.data |= 1 << identifier;
        }
        let pairs = &mut self.pairs;
        match meaning {
            Meaning::Controller if success => self.facts.learn_controller(device, admin_page(identifier)),
            Meaning::Namespace(nsid) if success => self.facts.learn_namespace(device, admin_page(identifier), nsid),
            Meaning::Namespace(nsid) => self.facts.distrust(nsid),
            Meaning::NumberOfQueues if success => {
                let counts = QueueCounts::from_dword(entry.dword0.get());
                let granted = counts.submission.min(counts.completion).min(u32::from(IO_QUEUES_MAX));
                self.admin.pairs_granted = granted as u16;
                return QueueCounts { submission: granted, completion: granted }.to_dword();
            }
            Meaning::CreateCompletion(index) => {
                pairs[index].completion = if success { Existence::Live } else { Existence::Absent };
            }
            Meaning::CreateSubmission(index) => {
                pairs[index].submission = if success { Existence::Live } else { Existence::Absent };
            }
            Meaning::DeleteSubmission(index) => {
                pairs[index].submission = if success { Existence::Absent } else { Existence::Live };
            }
            Meaning::DeleteCompletion(index) => {
                pairs[index].completion = if success { Existence::Absent } else { Existence::Live };
            }
            Meaning::Nothing | Meaning::Controller | Meaning::NamespaceList | Meaning::NumberOfQueues => {}
        }
        0
    }
}
