//! The steps that are admin commands: which command each one is, and what follows from its outcome.

use nvme_spec::Status;
use nvme_spec::admin::feature;

use super::*;

impl BringUp {
    /// Submits the step's command. A namespace that may not be identified is left aside.
    pub(super) fn submit(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        loop {
            let step = self.step;
            let command = self.entry(step);
            let refused = match self.admin.submit(hardware, self.timeout, command) {
                Ok(()) => return Ok(()),
                Err(refused @ Trouble::Refused { error: Error::Denied | Error::Invalid, .. }) => refused,
                Err(trouble) => return Err(trouble),
            };
            self.step = match step {
                Step::IdentifyNamespace(place) => {
                    self.add_namespace(hardware, identify::unusable(self.listed[place], 0, Unusable::NotIdentified));
                    self.namespace_at(hardware, place + 1)
                }
                Step::CreateCompletionQueue { queue, vector } if vector != 0 => {
                    hardware.log(format_args!("vector not usable vector={vector} {refused}"));
                    Step::CreateCompletionQueue { queue, vector: 0 }
                }
                _ => return Err(refused),
            };
            if self.step == Step::Over {
                return Ok(());
            }
        }
    }

    /// The step's command; its identifier is yet to be set.
    fn entry(&self, step: Step) -> SubmissionEntry {
        let entries = self.queue_entries();
        match step {
            Step::IdentifyController => SubmissionEntry::identify(0, Structure::Controller, 0),
            Step::IdentifyControllerNvm => SubmissionEntry::identify_nvm(0),
            Step::ActiveNamespaces { above, .. } => SubmissionEntry::identify(0, Structure::ActiveNamespaces, above),
            Step::IdentifyNamespace(place) => SubmissionEntry::identify(0, Structure::Namespace, self.listed[place]),
            Step::ConfigureEvents => {
                let optional = self.controller.optional_events & EVENTS_NAMESPACES;
                SubmissionEntry::set_feature(0, feature::ASYNCHRONOUS_EVENT_CONFIGURATION, EVENTS_HEALTH | optional)
            }
            Step::ReadLog(page @ log::ERRORS) => SubmissionEntry::get_log_page(0, page, log::ERROR_BYTES),
            Step::ReadLog(page @ log::CHANGED_NAMESPACES) => SubmissionEntry::get_log_page(0, page, PAGE_BYTES),
            Step::ReadLog(page) => SubmissionEntry::get_log_page(0, page, log::HEALTH_BYTES),
            Step::CreateCompletionQueue { queue, vector } => {
                SubmissionEntry::create_completion_queue(0, queue, entries, vector)
            }
            Step::CreateSubmissionQueue { queue } => SubmissionEntry::create_submission_queue(0, queue, entries, queue),
            // The steps without a command of their own do not come here.
            _ => {
                let wished = self.wished.len() as u32;
                SubmissionEntry::set_number_of_queues(0, QueueCounts { submission: wished, completion: wished })
            }
        }
    }

    /// Entries of both I/O queues; at least 2, which is checked at the start.
    pub(super) fn queue_entries(&self) -> u32 {
        self.capabilities.map_or(2, brokered::io_queue_entries).max(2)
    }

    /// What follows from the outcome of the step's command: its dword 0, or its status.
    pub(super) fn next(
        &mut self,
        hardware: &mut impl Hardware,
        outcome: Result<u32, Status>,
        page: &[u8; PAGE_BYTES],
    ) -> Result<Step, Trouble> {
        match (self.step, outcome) {
            (Step::IdentifyController, Ok(_)) => {
                self.controller = identify::controller(page).ok_or(Trouble::Malformed("identify-controller"))?;
                self.limits = Limits::new(self.controller.transfer_shift_max);
                let next = if self.version < LIMITS_SINCE { Step::NumberOfQueues } else { Step::IdentifyControllerNvm };
                Ok(next)
            }
            (Step::IdentifyControllerNvm, outcome) => {
                // Many controllers do not know it.
                if outcome.is_ok() {
                    self.limits = self.limits.with_reported(page);
                }
                Ok(Step::NumberOfQueues)
            }
            (Step::NumberOfQueues, Ok(granted)) => {
                let granted = QueueCounts::from_dword(granted);
                let queues = granted.submission.min(granted.completion) as usize;
                self.vectors = self.wished.iter().copied().take(queues).collect();
                Ok(Step::ConfigureEvents)
            }
            (Step::ConfigureEvents, outcome) => {
                if outcome.is_ok() {
                    self.request_event(hardware);
                }
                self.begin_list(hardware)
            }
            (Step::ReadLog(log_page), outcome) => {
                if outcome.is_ok() {
                    read_log(hardware, log_page, page);
                }
                // Before namespaces are looked at: what changes meanwhile is told of.
                self.request_event(hardware);
                if self.rescan { self.begin_list(hardware) } else { Ok(Step::Over) }
            }
            (Step::ActiveNamespaces { above, list }, Ok(_)) => self.read_list(hardware, above, list, page),
            (Step::ActiveNamespaces { list: 1, .. }, Err(status)) => {
                hardware.log(format_args!(
                    "active namespace list not offered status_type={} status_code={:#04x}",
                    status.kind(),
                    status.code()
                ));
                self.list_all(hardware)
            }
            (Step::IdentifyNamespace(place), outcome) => {
                let nsid = self.listed[place];
                let found = match outcome {
                    Ok(_) => identify::namespace(nsid, page),
                    Err(_) => identify::unusable(nsid, 0, Unusable::NotIdentified),
                };
                self.add_namespace(hardware, found);
                Ok(self.namespace_at(hardware, place + 1))
            }
            (Step::CreateCompletionQueue { queue, vector }, Ok(_)) => {
                if let Some(place) = self.vectors.get_mut(usize::from(queue) - 1) {
                    *place = vector;
                }
                Ok(Step::CreateSubmissionQueue { queue })
            }
            (Step::CreateCompletionQueue { queue, vector }, Err(status)) if vector != 0 => {
                hardware.log(format_args!(
                    "vector not offered vector={vector} status_type={} status_code={:#04x}",
                    status.kind(),
                    status.code()
                ));
                Ok(Step::CreateCompletionQueue { queue, vector: 0 })
            }
            (Step::CreateCompletionQueue { queue: queue @ 2.., .. }, Err(status)) => {
                // One less will do.
                hardware.log(format_args!(
                    "queue not offered queue={queue} status_type={} status_code={:#04x}",
                    status.kind(),
                    status.code()
                ));
                self.vectors.truncate(usize::from(queue) - 1);
                Ok(Step::Over)
            }
            (Step::CreateSubmissionQueue { queue }, Ok(_)) => match self.vectors.get(usize::from(queue)) {
                Some(vector) => Ok(Step::CreateCompletionQueue { queue: queue + 1, vector: *vector }),
                None => Ok(Step::Over),
            },
            (step, Err(status)) => Err(Trouble::AdminStatus { opcode: self.entry(step).opcode, status }),
            (_, Ok(_)) => Err(Trouble::Malformed("step")),
        }
    }

    fn begin_list(&mut self, hardware: &mut impl Hardware) -> Result<Step, Trouble> {
        self.listed.clear();
        self.found.clear();
        self.active = 0;
        if self.version < LISTS_SINCE {
            self.list_all(hardware)
        } else {
            Ok(Step::ActiveNamespaces { above: 0, list: 1 })
        }
    }
}

/// Tells what a log page says that somebody should know.
fn read_log(hardware: &mut impl Hardware, log_page: u8, page: &[u8; PAGE_BYTES]) {
    if log_page == log::HEALTH {
        // Critical warning, composite temperature in kelvin, available spare and percentage used (base 2.0, figure 207).
        let [warning, low, high, spare, _, used, ..] = *page;
        hardware.log(format_args!(
            "health critical_warning={warning:#04x} temperature_kelvin={} available_spare_percent={spare} \
             used_percent={used}",
            u16::from_le_bytes([low, high])
        ));
    }
}
