//! The steps that are admin commands: which command each one is, and what follows from its outcome.

use nvme_spec::Status;
use protocol::nvme::Namespace;

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
                    self.namespace_at(place + 1)
                }
                Step::CreateCompletionQueue { vector } if vector != 0 => {
                    hardware.log(format_args!("vector not usable vector={vector} {refused}"));
                    Step::CreateCompletionQueue { vector: 0 }
                }
                _ => return Err(refused),
            };
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
            Step::CreateCompletionQueue { vector } => {
                SubmissionEntry::create_completion_queue(0, io::QUEUE, entries, vector)
            }
            Step::CreateSubmissionQueue => SubmissionEntry::create_submission_queue(0, io::QUEUE, entries, io::QUEUE),
            // The steps without a command of their own do not come here.
            _ => SubmissionEntry::set_number_of_queues(0, QueueCounts { submission: 1, completion: 1 }),
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
            (Step::NumberOfQueues, Ok(_)) => {
                self.listed.clear();
                self.found.clear();
                self.active = 0;
                if self.version < LISTS_SINCE {
                    self.list_all(hardware)
                } else {
                    Ok(Step::ActiveNamespaces { above: 0, list: 1 })
                }
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
                Ok(self.namespace_at(place + 1))
            }
            (Step::CreateCompletionQueue { vector }, Ok(_)) => {
                self.vector = vector;
                Ok(Step::CreateSubmissionQueue)
            }
            (Step::CreateCompletionQueue { vector }, Err(status)) if vector != 0 => {
                hardware.log(format_args!(
                    "vector not offered vector={vector} status_type={} status_code={:#04x}",
                    status.kind(),
                    status.code()
                ));
                Ok(Step::CreateCompletionQueue { vector: 0 })
            }
            (Step::CreateSubmissionQueue, Ok(_)) => Ok(Step::Over),
            (step, Err(status)) => Err(Trouble::AdminStatus { opcode: self.entry(step).opcode, status }),
            (_, Ok(_)) => Err(Trouble::Malformed("step")),
        }
    }

    /// A controller without active namespace lists: every identifier up to NN is looked at.
    fn list_all(&mut self, hardware: &mut impl Hardware) -> Result<Step, Trouble> {
        self.active = self.controller.namespaces_max;
        for nsid in 1..=self.active.min(NAMESPACES_MAX as u32) {
            let _ = self.listed.push(nsid);
        }
        Ok(self.listed_all(hardware))
    }

    fn read_list(
        &mut self,
        hardware: &mut impl Hardware,
        above: u32,
        list: u32,
        page: &[u8; PAGE_BYTES],
    ) -> Result<Step, Trouble> {
        let entries = NamespaceList::ref_from_bytes(page).map_err(|_| Trouble::Malformed("namespace-list"))?;
        let mut last = above;
        for nsid in entries.iter() {
            if nsid <= last || nsid == nvme_spec::BROADCAST_NSID {
                return Err(Trouble::Malformed("namespace-list-order"));
            }
            last = nsid;
            self.active += 1;
            // Those without room are counted.
            let _ = self.listed.push(nsid);
        }
        let full = entries.0.iter().all(|nsid| nsid.get() != 0);
        if full && list < LISTS_MAX {
            return Ok(Step::ActiveNamespaces { above: last, list: list + 1 });
        }
        Ok(self.listed_all(hardware))
    }

    /// All lists are read: the controller can be told of.
    fn listed_all(&mut self, hardware: &mut impl Hardware) -> Step {
        let Controller { model, serial, firmware, .. } = &self.controller;
        hardware.log(format_args!(
            "identify controller model=\"{model}\" serial=\"{serial}\" firmware=\"{firmware}\" namespaces={}",
            self.active
        ));
        let left_out = self.active as usize - self.listed.len();
        if left_out > 0 {
            hardware.log(format_args!("namespaces left out count={left_out} most={NAMESPACES_MAX}"));
        }
        self.namespace_at(0)
    }

    /// The step for a place of the list, or what comes after the last.
    fn namespace_at(&self, place: usize) -> Step {
        if place < self.listed.len() {
            Step::IdentifyNamespace(place)
        } else {
            Step::CreateCompletionQueue { vector: self.wished_vector }
        }
    }

    fn add_namespace(&mut self, hardware: &mut impl Hardware, (mut known, why): (Known, Option<Unusable>)) {
        known.told.supports = identify::supports(&known, &self.controller, self.writable);
        known.told.volatile_cache = self.controller.volatile_cache;
        let Namespace { nsid, blocks, block_bytes, .. } = known.told;
        match why {
            None => hardware.log(format_args!("namespace nsid={nsid} blocks={blocks} block_bytes={block_bytes}")),
            Some(why) => {
                hardware.log(format_args!("namespace unusable nsid={nsid} blocks={blocks} {why}"));
            }
        }
        // The list is as long as this one at most.
        let _ = self.found.push(known);
    }
}
