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
//! - `facts`: what was learned of controller and namespaces. `extents`: what was found from it for the last commands.
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
mod extents;
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
use crate::io::{Accepted, Pair};
use crate::layout::PAGE;
use crate::queue::{Queue, slot};
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

    #[inline(always)]
    fn pair(&mut self, queue: u16) -> Result<&mut Pair, Reason> {
        let index = queue.checked_sub(1).ok_or(Reason::NoSuchQueue)?;
        self.pairs.get_mut(usize::from(index)).ok_or(Reason::NoSuchQueue)
    }

    /// The queue, if it takes commands.
    #[cold]
    #[inline(never)]
    fn queue_for_commands(&mut self, queue: u16) -> Result<&mut Queue, Reason> {
        if queue == 0 { Ok(&mut self.admin.queue) } else { self.pair(queue)?.for_commands() }
    }

    /// Authors commands of the admin queue, which takes them, and rings for them.
    #[inline(never)]
    fn submit_admin(&mut self, device: &mut impl Device, commands: &[[u8; DEVICE_COMMAND_BYTES]]) -> Submitted<Reason> {
        let mut submitted = Submitted { accepted: 0, refused: None };
        let mut written = 0;
        for command in commands {
            if written >= WRITTEN_AT_ONCE || self.admin.queue.room() == 0 {
                break;
            }
            match self.author_admin(device, &SubmissionEntry::from_bytes(*command)) {
                Ok(authored) => {
                    written += authored.written;
                    self.admin.queue.push_entry(device, &authored.entry);
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

    /// Likewise for an I/O queue: nearly always, all of them are transfers of the usual kind.
    #[inline(always)]
    fn submit_io(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Reason> {
        let index = usize::from(queue) - 1;
        let Self { pairs, ledger, facts, .. } = self;
        let Some(pair) = pairs.get_mut(index) else { return Submitted { accepted: 0, refused: None } };
        let most = usize::from(pair.queue.room()).min(COMMANDS_AT_ONCE).min(commands.len());
        let Accepted { units, written } =
            pair.transfers(device, ledger, &facts.extents, index, &commands[..most], WRITTEN_AT_ONCE);
        let mut submitted = Submitted { accepted: units, refused: None };
        if units < most && written < WRITTEN_AT_ONCE {
            submitted = self.submit_others(device, index, commands, Accepted { units, written });
        }
        if submitted.accepted > 0
            && let Some(pair) = self.pairs.get(index)
        {
            pair.queue.ring_tail(device);
        }
        submitted
    }

    /// Goes on after so many of these commands, of which the next one is none of the usual kind, or is wrong.
    #[cold]
    #[inline(never)]
    fn submit_others(
        &mut self,
        device: &mut impl Device,
        index: usize,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
        mut accepted: Accepted,
    ) -> Submitted<Reason> {
        let Self { pairs, ledger, facts, .. } = self;
        while let Some(pair) = pairs.get_mut(index)
            && accepted.units < COMMANDS_AT_ONCE
            && accepted.written < WRITTEN_AT_ONCE
            && pair.queue.room() > 0
            && let Some(rest @ [_, ..]) = commands.get(accepted.units..)
        {
            match pair.author(device, ledger, facts, index, rest) {
                Ok(more) => accepted.add(more),
                Err(reason) => return Submitted { accepted: accepted.units, refused: Some(reason.into()) },
            }
            let rest = commands.get(accepted.units..).unwrap_or_default();
            let room = usize::from(pair.queue.room()).min(COMMANDS_AT_ONCE.saturating_sub(accepted.units));
            let ordinary = &rest[..room.min(rest.len())];
            let written_max = WRITTEN_AT_ONCE.saturating_sub(accepted.written);
            accepted.add(pair.transfers(device, ledger, &facts.extents, index, ordinary, written_max));
        }
        Submitted { accepted: accepted.units, refused: None }
    }
}

/// What the driver is told of a command that has ended.
#[inline(always)]
fn told(queue: u16, identifier: u16, dword0: u32, second_half: u64) -> [u8; DEVICE_COMPLETION_BYTES] {
    const STATUS: u64 = 0xfffe << 48;
    let second_half = u64::from(queue) << 16 | u64::from(identifier) << 32 | second_half & STATUS;
    zerocopy::transmute!([u64::from(dword0).to_le_bytes(), second_half.to_le_bytes()])
}

// In both, a controller that writes faster than we read must not keep us: no more are taken than the ring has entries.
impl NvmeBroker {
    /// Takes completions of the admin queue, and what they teach. Returns how many the driver is told of.
    #[inline(never)]
    fn complete_admin(&mut self, device: &mut impl Device, completions: &mut [[u8; DEVICE_COMPLETION_BYTES]]) -> usize {
        let (mut given, mut taken) = (0, 0);
        while taken < self.admin.queue.shape().entries
            && let Some(room) = completions.get_mut(given)
            && let Some(arrival) = self.admin.queue.take(device)
        {
            taken += 1;
            self.anomalies += arrival.anomalies();
            if let Some(identifier) = arrival.retired {
                let dword0 = device.hidden_u32(arrival.first_half).into();
                let entry = CompletionEntry { dword0, ..CompletionEntry::from_second_half(arrival.second_half) };
                let dword0 = self.settle(device, identifier, &entry);
                *room = told(0, identifier, dword0, arrival.second_half);
                given += 1;
            }
        }
        if taken > 0 {
            self.admin.queue.ring_head(device);
        }
        given
    }

    /// Takes completions of an I/O queue, which have no result but their status; none while the controller is asked to
    /// create or delete it.
    #[inline(always)]
    fn complete_io(
        &mut self,
        device: &mut impl Device,
        number: u16,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Reason> {
        let pair = self.pair(number)?;
        if !pair.is_live() && pair.for_completions()?.is_none() {
            return Ok(0);
        }
        let (given, anomalies) = complete(device, number, &mut pair.queue, completions);
        self.anomalies += anomalies;
        Ok(given)
    }
}

/// Takes completions of an I/O queue; returns how many, and how much nobody had asked for.
#[inline(never)]
fn complete(
    device: &mut impl Device,
    number: u16,
    queue: &mut Queue,
    completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
) -> (usize, u64) {
    let (mut given, mut taken, mut anomalies) = (0, 0, 0);
    while taken < queue.shape().entries
        && let Some(room) = completions.get_mut(given)
        && let Some(arrival) = queue.take(device)
    {
        taken += 1;
        anomalies += arrival.anomalies();
        if let Some(identifier) = arrival.retired {
            *room = told(number, identifier, 0, arrival.second_half);
            given += 1;
        }
    }
    if taken > 0 {
        queue.ring_head(device);
    }
    (given, anomalies)
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

    #[inline(always)]
    fn submit(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Reason> {
        let ready = self.takes_commands(device).and_then(|()| match self.pair(queue) {
            Ok(pair) if pair.is_live() => Ok(()),
            _ => self.queue_for_commands(queue).map(|_| ()),
        });
        if let Err(reason) = ready {
            return Submitted { accepted: 0, refused: (!commands.is_empty()).then(|| reason.into()) };
        }
        if queue == 0 { self.submit_admin(device, commands) } else { self.submit_io(device, queue, commands) }
    }

    #[inline(always)]
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
