//! What each command does.

use nvme_spec::admin::{
    ABORT, ASYNCHRONOUS_EVENT_REQUEST, CREATE_COMPLETION_QUEUE, CREATE_SUBMISSION_QUEUE, DELETE_COMPLETION_QUEUE,
    DELETE_SUBMISSION_QUEUE, EVENTS_HEALTH, GET_LOG_PAGE, IDENTIFY, QUEUE_CONTIGUOUS, QueueCounts, SET_FEATURES,
    feature,
};
use nvme_spec::identify::{self, NAMESPACE_LIST_ENTRIES, Structure};
use nvme_spec::{Status, SubmissionEntry};
use zerocopy::{FromZeros, IntoBytes};

use crate::controller::Controller;
use crate::namespace::Namespace;
use crate::queues::{CompletionQueue, SubmissionQueue};

const PAGE: u64 = 4096;

impl Controller {
    /// Executes a command; dword 0 of its completion, or its status.
    pub(crate) fn execute(&mut self, queue: u16, command: &SubmissionEntry) -> Result<u32, Status> {
        match (queue, command.opcode) {
            (0, IDENTIFY) => self.identify(command),
            (0, SET_FEATURES) if command.dword10.get() as u8 == feature::NUMBER_OF_QUEUES => {
                let pairs = self.identity.queue_pairs;
                Ok(QueueCounts { submission: pairs, completion: pairs }.to_dword())
            }
            (0, SET_FEATURES) if command.dword10.get() as u8 == feature::ASYNCHRONOUS_EVENT_CONFIGURATION => {
                let unknown = command.dword11.get() & !(EVENTS_HEALTH | self.identity.optional_events);
                if unknown != 0 {
                    return Err(Status::INVALID_FIELD);
                }
                self.events.configuration = command.dword11.get();
                Ok(0)
            }
            (0, GET_LOG_PAGE) => self.get_log_page(command).map(|()| 0),
            (0, ABORT) => Ok(self.abort(command)),
            // Those that could be put by do not come here.
            (0, ASYNCHRONOUS_EVENT_REQUEST) => Err(Status::EVENT_LIMIT_EXCEEDED),
            (0, CREATE_COMPLETION_QUEUE) => self.create_completion_queue(command),
            (0, CREATE_SUBMISSION_QUEUE) => self.create_submission_queue(command),
            (0, DELETE_SUBMISSION_QUEUE) => {
                let queue = command.dword10.get() as u16;
                self.submission.remove(&queue).map(|_| 0).ok_or(Status::QUEUE_IDENTIFIER_INVALID)
            }
            (0, DELETE_COMPLETION_QUEUE) => {
                let queue = command.dword10.get() as u16;
                self.completion.remove(&queue).map(|_| 0).ok_or(Status::QUEUE_IDENTIFIER_INVALID)
            }
            (1.., _) => self.execute_io(command).map(|()| 0),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    pub(crate) fn namespace(&self, nsid: u32) -> Result<Namespace, Status> {
        let found = self.identity.namespaces.iter().find(|namespace| namespace.nsid == nsid);
        found.copied().ok_or(Status::INVALID_NAMESPACE)
    }

    fn identify(&mut self, command: &SubmissionEntry) -> Result<u32, Status> {
        let nsid = command.nsid.get();
        let structure = command.dword10.get() as u8;
        let page = if structure == Structure::Controller as u8 {
            self.identify_controller()
        } else if structure == Structure::Namespace as u8 {
            self.identify_namespace(nsid)
        } else if structure == Structure::ActiveNamespaces as u8 && self.identity.lists {
            let mut list = identify::NamespaceList::new_zeroed();
            let above = self.identity.namespaces.iter().map(|namespace| namespace.nsid).filter(|other| *other > nsid);
            for (place, nsid) in list.0.iter_mut().zip(above.take(NAMESPACE_LIST_ENTRIES)) {
                *place = nsid.into();
            }
            list.as_bytes().to_vec()
        } else if structure == Structure::ControllerNvm as u8 && self.identity.limits_reported {
            let mut limits = identify::ControllerNvm::new_zeroed();
            limits.verify_shift_max = self.identity.verify_shift_max;
            limits.range_blocks_max = self.identity.range_blocks_max.into();
            limits.as_bytes().to_vec()
        } else {
            return Err(Status::INVALID_FIELD);
        };
        self.scatter(command, &page)?;
        Ok(0)
    }

    fn identify_controller(&self) -> Vec<u8> {
        let mut page = identify::Controller::new_zeroed();
        page.serial = padded(self.identity.serial);
        page.model = padded(self.identity.model);
        page.firmware = padded(self.identity.firmware);
        page.transfer_shift_max = self.identity.transfer_shift_max;
        page.optional_commands = self.identity.optional_commands.into();
        page.volatile_write_cache = self.identity.volatile_write_cache;
        page.optional_events = self.identity.optional_events.into();
        page.abort_limit = self.identity.abort_limit;
        page.event_request_limit = self.identity.event_request_limit;
        page.shutdown_time = self.identity.shutdown_limit.into();
        page.submission_entry_sizes = 0x66;
        page.completion_entry_sizes = 0x44;
        page.namespaces = self.identity.namespaces.last().map_or(0, |last| last.nsid).into();
        page.as_bytes().to_vec()
    }

    /// All zero for a namespace that is not active (base 2.0, 5.17.2.1).
    fn identify_namespace(&self, nsid: u32) -> Vec<u8> {
        let mut page = identify::Namespace::new_zeroed();
        if let Ok(namespace) = self.namespace(nsid) {
            page.size = namespace.blocks.into();
            page.capacity = namespace.blocks.into();
            page.boundary = namespace.boundary.into();
            page.attributes = namespace.protected.into();
            page.lba_formats = 1;
            // The format in use is the second one, so that nobody gets away with reading the first.
            page.formatted_size = 1;
            page.formats[0].block_shift = if namespace.block_shift == 9 { 12 } else { 9 };
            page.formats[1].block_shift = namespace.block_shift;
            page.formats[1].metadata_bytes = namespace.metadata_bytes.into();
        }
        page.as_bytes().to_vec()
    }

    fn create_completion_queue(&mut self, command: &SubmissionEntry) -> Result<u32, Status> {
        let (queue, entries) =
            self.new_queue(command, |controller, queue| controller.completion.contains_key(&queue))?;
        let vector = (command.dword11.get() >> 16) as u16;
        if vector >= self.identity.vectors {
            return Err(Status::INTERRUPT_VECTOR_INVALID);
        }
        self.completion.insert(queue, CompletionQueue::new(command.prp1.get(), entries, vector));
        Ok(0)
    }

    fn create_submission_queue(&mut self, command: &SubmissionEntry) -> Result<u32, Status> {
        let (queue, entries) =
            self.new_queue(command, |controller, queue| controller.submission.contains_key(&queue))?;
        let completion = (command.dword11.get() >> 16) as u16;
        if !self.completion.contains_key(&completion) {
            return Err(Status::COMPLETION_QUEUE_INVALID);
        }
        self.submission.insert(queue, SubmissionQueue::new(command.prp1.get(), entries, completion));
        Ok(0)
    }

    /// Number and entries of a queue to be made.
    fn new_queue(&self, command: &SubmissionEntry, exists: impl Fn(&Self, u16) -> bool) -> Result<(u16, u32), Status> {
        let (queue, entries) = (command.dword10.get() as u16, (command.dword10.get() >> 16) + 1);
        let most = nvme_spec::registers::Capabilities(self.identity.capabilities).queue_entries_max();
        if queue == 0 || u32::from(queue) > self.identity.queue_pairs || exists(self, queue) {
            return Err(Status::QUEUE_IDENTIFIER_INVALID);
        }
        if entries < 2 || entries > most {
            return Err(Status::QUEUE_SIZE_INVALID);
        }
        if command.dword11.get() & QUEUE_CONTIGUOUS == 0 || !command.prp1.get().is_multiple_of(PAGE) {
            return Err(Status::INVALID_FIELD);
        }
        Ok((queue, entries))
    }
}

/// Text padded with spaces.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let length = text.len().min(N);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}
