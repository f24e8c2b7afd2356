//! The rules of the admin queue, and what its completions change.

use broker::Device;
use nvme_spec::admin::{
    ABORT, ASYNCHRONOUS_EVENT_REQUEST, CREATE_COMPLETION_QUEUE, CREATE_SUBMISSION_QUEUE, DELETE_COMPLETION_QUEUE,
    DELETE_SUBMISSION_QUEUE, EVENTS_HEALTH, EVENTS_NAMESPACES, Event, GET_FEATURES, GET_LOG_PAGE, IDENTIFY,
    QueueCounts, SET_FEATURES, feature, log,
};
use nvme_spec::brokered::{ADMIN_COMMANDS, IO_QUEUES_MAX};
use nvme_spec::identify::Structure;
use nvme_spec::{BROADCAST_NSID, CompletionEntry, SubmissionEntry};

use crate::io::{Existence, check_common, check_no_data, no_operands, operands_from_12};
use crate::layout::{PAGE, admin_page};
use crate::queue::{Queue, clear_hidden, slot};
use crate::{Authored, NvmeBroker, Reason, grant};

/// What Asynchronous Event Configuration may ask for: nothing whose log page has no rule.
const EVENTS: u32 = EVENTS_HEALTH | EVENTS_NAMESPACES;

/// What an admin command's success means. Queues are named by the index of their pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Nothing,
    /// Data, and nothing to be learned.
    Data,
    /// Error Information, of which not everything is told.
    Errors,
    Controller,
    Namespace(u32),
    NumberOfQueues,
    /// Dword 0 is told, these bits of it.
    Value(u32),
    Event,
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
    /// Those whose data is Error Information.
    errors: u64,
    /// I/O queue pairs that the controller granted.
    pub pairs_granted: u16,
}

impl Admin {
    pub const fn new() -> Self {
        Self {
            queue: Queue::new(0, ADMIN_COMMANDS),
            meanings: [Meaning::Nothing; ADMIN_COMMANDS as usize],
            data: 0,
            errors: 0,
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

    /// Whether the last command with this identifier, whose slot is below [`ADMIN_COMMANDS`], left data.
    pub const fn has_data(&self, identifier: u16) -> bool {
        self.data & 1 << slot(identifier) != 0 && self.queue.slots().is_named(identifier)
    }

    /// Leaves out of a command's data what may not be told: the second half of an entry of Error Information is for what
    /// is specific to command, transport and vendor, and an address would be there.
    pub fn redact(&self, identifier: u16, data: &mut [u8]) {
        if self.errors & 1 << slot(identifier) != 0 {
            for entry in data.chunks_mut(log::ERROR_BYTES) {
                let half = entry.len() / 2;
                entry[half..].fill(0);
            }
        }
    }

    /// It has been collected, or the slot is used anew.
    pub fn drop_data(&mut self, identifier: u16) {
        self.data &= !(1 << slot(identifier));
    }
}

impl NvmeBroker {
    /// The command that the controller may see for this one; what it is about to change is noted.
    pub(crate) fn author_admin(
        &mut self,
        device: &mut impl Device,
        command: &SubmissionEntry,
    ) -> Result<Authored, Reason> {
        let identifier = command.identifier.get();
        self.admin.queue.slots().check(identifier)?;
        let (entry, meaning) = match command.opcode {
            IDENTIFY => self.author_identify(device, command)?,
            GET_LOG_PAGE => self.author_get_log_page(device, command)?,
            SET_FEATURES => self.author_set_features(command)?,
            GET_FEATURES => author_get_features(command)?,
            ASYNCHRONOUS_EVENT_REQUEST => author_event_request(command)?,
            ABORT => self.author_abort(command)?,
            CREATE_COMPLETION_QUEUE => self.author_create_completion(device, command)?,
            CREATE_SUBMISSION_QUEUE => self.author_create_submission(command)?,
            DELETE_SUBMISSION_QUEUE => self.author_delete_submission(command)?,
            DELETE_COMPLETION_QUEUE => self.author_delete_completion(command)?,
            _ => return Err(Reason::OpcodeWithoutRule),
        };
        self.admin.drop_data(identifier);
        self.admin.meanings[usize::from(slot(identifier))] = meaning;
        // Only commands that leave data name memory of the slot, which was cleared for them.
        let written = if entry.prp1.get() == 0 { 0 } else { PAGE };
        Ok(Authored { entry, written })
    }

    /// The address of the slot's page, cleared: what a controller does not write must not be believed, or told, from an
    /// earlier command.
    fn fresh_page(&self, device: &mut impl Device, identifier: u16) -> u64 {
        let page = admin_page(slot(identifier));
        clear_hidden(device, page, PAGE);
        self.ledger.hidden + u64::from(page)
    }

    fn author_identify(
        &mut self,
        device: &mut impl Device,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
        // Dword 11 selects among command sets, of which the first, 0, is the only one here.
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
            2 => (Structure::ActiveNamespaces, Meaning::Data),
            6 if nsid != 0 => return Err(Reason::NamespaceInvalid),
            6 => (Structure::ControllerNvm, Meaning::Data),
            _ => return Err(Reason::StructureWithoutRule),
        };
        let identifier = command.identifier.get();
        let address = self.fresh_page(device, identifier);
        Ok((SubmissionEntry::identify(identifier, structure, nsid).with_data(address, 0), meaning))
    }

    fn author_get_log_page(
        &mut self,
        device: &mut impl Device,
        command: &SubmissionEntry,
    ) -> Result<(SubmissionEntry, Meaning), Reason> {
        let (first, second) = (command.dword10.get(), command.dword11.get());
        let specific = first & 0x7f00;
        // In dword 11 the upper bits of the length and a specific identifier, in 12 and 13 an offset, in 14 a command set.
        check_common(command, specific | second | operands_from_12(command))?;
        check_no_data(command)?;
        if !matches!(command.nsid.get(), 0 | BROADCAST_NSID) {
            return Err(Reason::NamespaceInvalid);
        }
        let page = first as u8;
        let bytes = ((first >> 16) + 1) * 4;
        let (whole, meaning) = match page {
            log::ERRORS => (PAGE, Meaning::Errors),
            log::HEALTH | log::FIRMWARE_SLOTS => (log::HEALTH_BYTES as u32, Meaning::Data),
            log::CHANGED_NAMESPACES => (PAGE, Meaning::Data),
            _ => return Err(Reason::LogPageWithoutRule),
        };
        let is_entries = page == log::ERRORS && bytes <= PAGE && bytes.is_multiple_of(log::ERROR_BYTES as u32);
        if bytes != whole && !is_entries {
            return Err(Reason::LogPageLength);
        }
        let identifier = command.identifier.get();
        let address = self.fresh_page(device, identifier);
        let entry = SubmissionEntry {
            dword10: (first & (log::RETAIN_EVENT | 0xffff_00ff)).into(),
            ..SubmissionEntry::get_log_page(identifier, page, bytes as usize)
        };
        Ok((entry.with_data(address, 0), meaning))
    }

    fn author_set_features(&self, command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
        let feature = (command.dword10.get() & 0xff) as u8;
        let allowed = match feature {
            feature::NUMBER_OF_QUEUES => u32::MAX,
            feature::VOLATILE_WRITE_CACHE => 1,
            feature::ASYNCHRONOUS_EVENT_CONFIGURATION => EVENTS,
            _ => return Err(Reason::FeatureWithoutRule),
        };
        let saved_and_reserved = command.dword10.get() & !0xff;
        check_common(command, command.nsid.get() | saved_and_reserved | operands_from_12(command))?;
        check_no_data(command)?;
        let value = command.dword11.get();
        if value & !allowed != 0 {
            return Err(Reason::FeatureValue);
        }
        if feature != feature::NUMBER_OF_QUEUES {
            return Ok((SubmissionEntry::set_feature(command.identifier.get(), feature, value), Meaning::Nothing));
        }
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

    /// The driver names the command by its own identifier; the controller is told the one that it knows.
    fn author_abort(&mut self, command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
        check_common(command, command.nsid.get() | command.dword11.get() | operands_from_12(command))?;
        check_no_data(command)?;
        let (queue, aborted) = (command.dword10.get() as u16, (command.dword10.get() >> 16) as u16);
        let seen = self.queue_for_commands(queue)?.slots().seen(aborted).ok_or(Reason::NotInFlight)?;
        // Bit 0 of dword 0 says whether it was not aborted.
        Ok((SubmissionEntry::abort(command.identifier.get(), queue, seen), Meaning::Value(1)))
    }

    /// Namespaces may be others than they were: nothing is believed of them, and nothing that an Identify in flight
    /// returns, which may be from before.
    fn namespaces_changed(&mut self) {
        self.facts.forget_namespaces();
        for meaning in &mut self.admin.meanings {
            if let Meaning::Namespace(_) = meaning {
                *meaning = Meaning::Data;
            }
        }
    }

    /// Draws the conclusions from a completion that was just retired. Returns dword 0 as the driver is told it.
    pub(crate) fn settle(&mut self, device: &mut impl Device, identifier: u16, entry: &CompletionEntry) -> u32 {
        let slot = slot(identifier);
        let page = admin_page(slot);
        let meaning = core::mem::replace(&mut self.admin.meanings[usize::from(slot)], Meaning::Nothing);
        let success = entry.status().is_success();
        let leaves_data = [Meaning::Data, Meaning::Errors, Meaning::Controller].contains(&meaning);
        if success && (leaves_data || matches!(meaning, Meaning::Namespace(_))) {
            self.admin.data |= 1 << slot;
            self.admin.errors = self.admin.errors & !(1 << slot) | u64::from(meaning == Meaning::Errors) << slot;
        }
        let pairs = &mut self.pairs;
        match meaning {
            Meaning::Controller if success => self.facts.learn_controller(device, page),
            Meaning::Namespace(nsid) if success => self.facts.learn_namespace(device, page, nsid),
            Meaning::Namespace(nsid) => self.facts.distrust(nsid),
            Meaning::Event if success => {
                let event = Event(entry.dword0.get() & Event::MASK);
                if event.changes_namespaces() {
                    self.namespaces_changed();
                }
                return event.0;
            }
            Meaning::Value(mask) if success => return entry.dword0.get() & mask,
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
            Meaning::Nothing
            | Meaning::Data
            | Meaning::Errors
            | Meaning::Controller
            | Meaning::NumberOfQueues
            | Meaning::Value(_)
            | Meaning::Event => {}
        }
        0
    }
}

fn author_get_features(command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
    let feature = (command.dword10.get() & 0xff) as u8;
    let meaning = match feature {
        feature::NUMBER_OF_QUEUES => Meaning::Value(u32::MAX),
        feature::VOLATILE_WRITE_CACHE => Meaning::Value(1),
        feature::ASYNCHRONOUS_EVENT_CONFIGURATION => Meaning::Value(EVENTS),
        _ => return Err(Reason::FeatureWithoutRule),
    };
    // Any other than the current value, in dword 10 as well.
    let selected = command.dword10.get() & !0xff;
    check_common(command, command.nsid.get() | selected | command.dword11.get() | operands_from_12(command))?;
    check_no_data(command)?;
    Ok((SubmissionEntry::get_feature(command.identifier.get(), feature), meaning))
}

fn author_event_request(command: &SubmissionEntry) -> Result<(SubmissionEntry, Meaning), Reason> {
    check_common(command, command.nsid.get() | no_operands(command))?;
    check_no_data(command)?;
    Ok((SubmissionEntry::asynchronous_event_request(command.identifier.get()), Meaning::Event))
}
