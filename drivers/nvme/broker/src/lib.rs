//! The trusted half of the NVMe driver: decides what an NVMe controller may be told, and tells it.
//!
//! A controller without an IOMMU before it reads and writes wherever a command says. So no command of the driver
//! reaches it: the driver says what it wants, with memory named by region and offset ([`nvme_spec::brokered`]), and the
//! broker authors the command that the controller sees, in rings that are mapped into no task. What it does not know
//! by a rule it refuses, with a [`Reason`].
//!
//! - `controller`: register lists, the reset and enable transactions, quiescing.
//! - `admin`: the rules of the admin queue; what its completions change. `admin_queues`: those of I/O queues' creation
//!   and deletion.
//! - `io`, `ranges`: the rules of I/O queues.
//! - `queue`: rings, slots, doorbells.
//! - `facts`: what was learned of controller and namespaces.
//! - `grant`: what the ledger allows.
//! - `prp`: addresses of data.
//! - `probe`: whether an IOMMU holds the controller.
//! - [`layout`]: where things lie in hidden memory.
//!
//! What each of the design's nine rules for brokers means here, and which tests hold it, is in `tests/README.md`.
#![no_std]
#![forbid(unsafe_code)]

mod admin;
mod admin_queues;
mod controller;
mod facts;
mod grant;
mod io;
pub mod layout;
mod probe;
mod prp;
mod queue;
mod ranges;
mod reason;

use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use broker::{Broker, Device, Ledger, Probe, Progress, Refusal, Submitted};
use checks::{Check, kept};
use nvme_spec::brokered::{ADMIN_COMMANDS, COMMANDS_AT_ONCE, IO_QUEUES_MAX};
use nvme_spec::{CompletionEntry, SubmissionEntry};

use crate::admin::Admin;
use crate::controller::Controller;
use crate::facts::Facts;
use crate::io::Pair;
use crate::layout::PAGE;
use crate::queue::{Queue, slot};
use crate::ranges::Payload;
pub use crate::reason::Reason;

/// Bytes of hidden memory beside the ring after which a submission takes no further command: the kernel's entries are
/// bounded, and the driver submits the rest again.
const WRITTEN_AT_ONCE: u32 = 4096;

/// What the controller may see.
#[derive(Clone, Copy, Debug)]
struct Authored {
    /// The command, with the driver's identifier.
    entry: SubmissionEntry,
    /// What authoring it cost, in bytes written to hidden memory beside the ring, at most.
    written: u32,
}

impl From<SubmissionEntry> for Authored {
    /// A command for which nothing was written.
    fn from(entry: SubmissionEntry) -> Self {
        Self { entry, written: 0 }
    }
}

/// The broker of one NVMe controller.
#[derive(Debug)]
pub struct NvmeBroker {
    ledger: Ledger,
    controller: Controller,
    admin: Admin,
    pairs: [Pair; IO_QUEUES_MAX as usize],
    facts: Facts,
    probe: probe::Step,
    anomalies: u64,
}

impl NvmeBroker {
    /// After an observed reset: nothing is in flight, no I/O queue exists, nothing is known.
    fn forget(&mut self) {
        self.admin.forget();
        if kept(Check::OldQueues) {
            self.pairs.iter_mut().for_each(Pair::forget);
        }
        if kept(Check::OldFacts) {
            self.facts.forget();
        }
    }

    fn pair(&mut self, queue: u16) -> Result<&mut Pair, Reason> {
        let index = queue.checked_sub(1).ok_or(Reason::NoSuchQueue)?;
        self.pairs.get_mut(usize::from(index)).ok_or(Reason::NoSuchQueue)
    }

    /// The queue, if it takes commands.
    fn queue_for_commands(&mut self, queue: u16) -> Result<&mut Queue, Reason> {
        if queue == 0 { Ok(&mut self.admin.queue) } else { self.pair(queue)?.for_commands() }
    }

    /// Authors commands of the admin queue, which takes them, and rings for them.
    fn submit_admin(&mut self, device: &mut impl Device, commands: &[[u8; DEVICE_COMMAND_BYTES]]) -> Submitted<Reason> {
        let mut submitted = Submitted { accepted: 0, refused: None };
        let mut written = 0;
        for command in commands {
            if written >= WRITTEN_AT_ONCE || !self.admin.queue.has_room() {
                break;
            }
            match self.author_admin(device, &SubmissionEntry::from_bytes(*command)) {
                Ok(mut authored) => {
                    written += authored.written;
                    self.admin.queue.push(device, &mut authored.entry);
                    submitted.accepted += 1;
                }
                Err(reason) => {
                    submitted.refused = Some(reason.into());
                    break;
                }
            }
        }
        if submitted.accepted > 0 {
            self.admin.queue.ring_tail(device);
        }
        submitted
    }

    /// Likewise for an I/O queue.
    fn submit_io(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Reason> {
        let mut submitted = Submitted { accepted: 0, refused: None };
        let index = usize::from(queue) - 1;
        let Some(pair) = self.pairs.get_mut(index) else { return submitted };
        let (mut written, mut rest) = (0, commands);
        while let Some((first, following)) = rest.split_first() {
            let is_enough = written >= WRITTEN_AT_ONCE || submitted.accepted >= COMMANDS_AT_ONCE;
            if is_enough || !pair.queue.has_room() {
                break;
            }
            let command = SubmissionEntry::of_bytes(first);
            let payload = match Payload::of(command, following) {
                Ok(payload) => payload,
                Err(reason) => {
                    submitted.refused = Some(reason.into());
                    break;
                }
            };
            // It stays where it is made: to move it would cost as much as a check.
            match &mut pair.author(device, &self.ledger, &self.facts, index, command, payload) {
                Ok(authored) => {
                    written += authored.written;
                    pair.queue.push(device, &mut authored.entry);
                    submitted.accepted += 1 + payload.units();
                    rest = following.get(payload.units()..).unwrap_or_default();
                }
                Err(reason) => {
                    submitted.refused = Some((*reason).into());
                    break;
                }
            }
        }
        if submitted.accepted > 0 {
            pair.queue.ring_tail(device);
        }
        submitted
    }
}

/// What the driver is told of a command that has ended.
fn told(queue: u16, identifier: u16, dword0: u32, entry: &CompletionEntry) -> [u8; DEVICE_COMPLETION_BYTES] {
    let mut told = CompletionEntry {
        dword0: dword0.into(),
        submission_queue: queue.into(),
        identifier: identifier.into(),
        ..CompletionEntry::ZERO
    };
    told.set_status(entry.status(), false);
    told.to_bytes()
}

// In both, a controller that writes faster than we read must not keep us: no more are taken than the ring has entries.
impl NvmeBroker {
    /// Takes completions of the admin queue, and what they teach. Returns how many the driver is told of.
    fn complete_admin(&mut self, device: &mut impl Device, completions: &mut [[u8; DEVICE_COMPLETION_BYTES]]) -> usize {
        let (mut given, mut taken) = (0, 0);
        while taken < self.admin.queue.shape().entries
            && let Some(room) = completions.get_mut(given)
            && let Some(arrival) = self.admin.queue.take(device)
        {
            taken += 1;
            self.anomalies += arrival.anomalies();
            if let Some((identifier, entry)) = arrival.retired {
                let dword0 = self.settle(device, identifier, &entry);
                *room = told(0, identifier, dword0, &entry);
                given += 1;
            }
        }
        if taken > 0 {
            self.admin.queue.ring_head(device);
        }
        given
    }

    /// Takes completions of an I/O queue; none while the controller is asked to create or delete it.
    fn complete_io(
        &mut self,
        device: &mut impl Device,
        number: u16,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Reason> {
        let Some(queue) = self.pair(number)?.for_completions()? else { return Ok(0) };
        let (mut given, mut taken, mut anomalies) = (0, 0, 0);
        while taken < queue.shape().entries
            && let Some(room) = completions.get_mut(given)
            && let Some(arrival) = queue.take(device)
        {
            taken += 1;
            anomalies += arrival.anomalies();
            if let Some((identifier, entry)) = arrival.retired {
                *room = told(number, identifier, 0, &entry);
                given += 1;
            }
        }
        if taken > 0 {
            queue.ring_head(device);
        }
        self.anomalies += anomalies;
        Ok(given)
    }
}

impl Broker for NvmeBroker {
    type Reason = Reason;

    const HIDDEN_BYTES: u32 = layout::BYTES;

    fn new(ledger: Ledger) -> Self {
        let controller = Controller::new(&ledger);
        Self {
            ledger,
            controller,
            admin: Admin::new(),
            pairs: core::array::from_fn(|index| Pair::new(index as u16 + 1)),
            facts: Facts::new(),
            probe: probe::Step::Begin,
            anomalies: 0,
        }
    }

    fn is_enabled(&self) -> bool {
        self.controller.is_enabled()
    }

    fn anomalies(&self) -> u64 {
        self.anomalies
    }

    fn direct_registers(&self, device: &mut impl Device) -> Option<u32> {
        controller::direct_registers(device)
    }

    fn is_on(&self, device: &mut impl Device) -> bool {
        controller::is_on(device)
    }

    fn read(&mut self, device: &mut impl Device, offset: u32, bytes: u8) -> Result<u64, Refusal<Reason>> {
        Ok(self.read_register(device, offset, bytes)?)
    }

    fn write(&mut self, device: &mut impl Device, offset: u32, bytes: u8, value: u64) -> Result<(), Refusal<Reason>> {
        Ok(self.write_register(device, offset, bytes, value)?)
    }

    fn submit(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Reason> {
        let ready = self.takes_commands(device).and_then(|()| self.queue_for_commands(queue).map(|_| ()));
        if let Err(reason) = ready {
            return Submitted { accepted: 0, refused: (!commands.is_empty()).then(|| reason.into()) };
        }
        if queue == 0 { self.submit_admin(device, commands) } else { self.submit_io(device, queue, commands) }
    }

    fn complete(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Refusal<Reason>> {
        self.gives_completions(device)?;
        let given = if queue == 0 {
            self.complete_admin(device, completions)
        } else {
            self.complete_io(device, queue, completions)?
        };
        Ok(given)
    }

    fn collect(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        identifier: u16,
        data: &mut [u8],
    ) -> Result<usize, Refusal<Reason>> {
        if queue != 0 || slot(identifier) >= ADMIN_COMMANDS || !self.admin.has_data(identifier) {
            return Err(Reason::NoData.into());
        }
        let data = data.get_mut(..PAGE as usize).ok_or(Reason::BufferTooShort)?;
        device.read_hidden(layout::admin_page(slot(identifier)), data);
        self.admin.redact(identifier, data);
        self.admin.drop_data(identifier);
        Ok(data.len())
    }

    fn quiesce(&mut self, device: &mut impl Device) -> Progress {
        self.quiesce_step(device)
    }

    fn probe(&mut self, device: &mut impl Device, outside: u64) -> Probe {
        self.probe_step(device, outside)
    }
}
