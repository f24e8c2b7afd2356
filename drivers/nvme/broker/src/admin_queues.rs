//! Creation and deletion of I/O queues: address, size, completion queue and vector are the ledger's.

use broker::Device;
use checks::{Check, holds};
use nvme_spec::SubmissionEntry;
use nvme_spec::admin::{QUEUE_CONTIGUOUS, QUEUE_INTERRUPTS};
use nvme_spec::brokered::IO_QUEUES_MAX;

use crate::admin::Meaning;
use crate::io::{Existence, Pair, check_common, check_no_data, operands_from_12};
use crate::{NvmeBroker, Reason};

impl NvmeBroker {
    pub(crate) fn author_create_completion(
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
        if !holds(Check::Vector, self.ledger.vectors.contains(&vector)) {
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

    pub(crate) fn author_create_submission(
        &mut self,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
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
        let entries = (command.dword10.get() >> 16) + 1;
        if !holds(Check::QueueSize, entries == u32::from(self.controller.io_entries())) {
            return Err(Reason::QueueSize);
        }
        Ok((queue, usize::from(queue) - 1))
    }

    pub(crate) fn author_delete_submission(
        &mut self,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
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

    pub(crate) fn author_delete_completion(
        &mut self,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
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
}
