//! The controller: registers, resets, the fetching of commands and the posting of completions.

use std::collections::{BTreeMap, BTreeSet};

use broker::Device;
use nvme_spec::admin::{ABORT, ASYNCHRONOUS_EVENT_REQUEST};
use nvme_spec::registers::{
    ACQ, AQA, ASQ, CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus, DOORBELLS, VS,
};
use nvme_spec::{CompletionEntry, Status, SubmissionEntry};

use crate::disk::Disk;
use crate::events::Events;
use crate::faults::{Aborts, Fault, Faults, Registers};
use crate::memory::Memory;
use crate::namespace::Namespace;
use crate::queues::{CompletionQueue, SubmissionQueue};

/// Bytes of the register BAR.
pub const REGISTER_BYTES: u32 = 0x4000;
/// The MSI-X table's place in it: first byte and bytes.
pub const MSIX_TABLE: (u32, u32) = (0x2000, 0x1000);

/// What the controller says of itself, and how fast it is. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Identity {
    /// CAP.
    pub capabilities: u64,
    /// VS.
    pub version: u32,
    /// MN.
    pub model: &'static str,
    /// SN.
    pub serial: &'static str,
    /// FR.
    pub firmware: &'static str,
    /// MDTS.
    pub transfer_shift_max: u8,
    /// ONCS.
    pub optional_commands: u16,
    /// VWC.
    pub volatile_write_cache: u8,
    /// Whether it knows Identify Controller for the NVM command set, with the next two.
    pub limits_reported: bool,
    /// VSL.
    pub verify_shift_max: u8,
    /// DMRSL.
    pub range_blocks_max: u32,
    /// OAES.
    pub optional_events: u32,
    /// ACL, 0's based.
    pub abort_limit: u8,
    /// AERL, 0's based.
    pub event_request_limit: u8,
    /// RTD3E, in microseconds.
    pub shutdown_limit: u32,
    /// From CC.SHN to CSTS.SHST = 10b.
    pub shutdown_time: u64,
    /// I/O queue pairs that it has.
    pub queue_pairs: u32,
    /// Its namespaces, ascending.
    pub namespaces: Vec<Namespace>,
    /// MSI-X table entries.
    pub vectors: u16,
    /// Whether it knows active namespace lists.
    pub lists: bool,
    /// From CC.EN = 1 to CSTS.RDY = 1.
    pub start_time: u64,
    /// From CC.EN = 0 to CSTS.RDY = 0.
    pub stop_time: u64,
    /// From the doorbell to a command's completion; I/O commands take up to twice that, out of order.
    pub latency: u64,
}

impl Default for Identity {
    /// As QEMU 7.2's, with a namespace of 512-byte blocks and one of 4096-byte blocks.
    fn default() -> Self {
        Self {
            capabilities: 0x0040_0020_0f01_07ff,
            version: 0x0001_0400,
            model: "QEMU NVMe Ctrl",
            serial: "model",
            firmware: "7.2",
            transfer_shift_max: 7,
            optional_commands: u16::MAX,
            volatile_write_cache: 0b111,
            limits_reported: true,
            verify_shift_max: 7,
            range_blocks_max: 0,
            optional_events: 0x100,
            abort_limit: 3,
            event_request_limit: 3,
            shutdown_limit: 0,
            shutdown_time: 1_000_000,
            queue_pairs: 4,
            namespaces: vec![Namespace::new(1, 1 << 20, 9), Namespace::new(2, 1 << 34, 12)],
            vectors: 2,
            lists: true,
            start_time: 1_000_000,
            stop_time: 1_000_000,
            latency: 10_000,
        }
    }
}

/// What happens later. Commands are forgotten by a reset, which advances `life`.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ready(bool),
    ShutDown,
    Answer { queue: u16, command: SubmissionEntry, fault: Option<Fault> },
}

/// The model controller.
#[derive(Debug)]
pub struct Controller {
    /// What it says of itself.
    pub identity: Identity,
    /// What goes wrong.
    pub faults: Faults,
    /// The memory that it reaches.
    pub memory: Memory,
    /// What its namespaces hold.
    pub disk: Disk,
    /// What it was told that no driver may tell a controller.
    pub violations: Vec<String>,
    /// Interrupts raised so far, by vector.
    pub interrupts: BTreeMap<u16, u64>,
    /// Doorbell writes so far, by offset in the BAR.
    pub doorbells: BTreeMap<u32, u64>,
    /// Most Aborts that were under way at a time.
    pub aborts_at_once: usize,
    pub(crate) events: Events,
    /// Commands that were dropped, by queue.
    lost: Vec<(u16, SubmissionEntry)>,
    pub(crate) submission: BTreeMap<u16, SubmissionQueue>,
    pub(crate) completion: BTreeMap<u16, CompletionQueue>,
    hidden: u64,
    configuration: Configuration,
    status: ControllerStatus,
    attributes: u32,
    submission_base: u64,
    completion_base: u64,
    bus_mastering: bool,
    msix: bool,
    /// MSI-X was on when CC.EN became 1: QEMU 7.2 delivers nothing otherwise.
    msix_at_enable: bool,
    raised: BTreeSet<u16>,
    now: u64,
    agenda: Vec<(u64, u64, Event)>,
    /// Answers that wait for room in their completion queue.
    blocked: Vec<(u16, Event)>,
    life: u64,
    random: u64,
}

impl Controller {
    /// A controller that was reset, with its hidden memory at this physical address.
    pub fn new(identity: Identity, memory: Memory, hidden: u64) -> Self {
        Self {
            identity,
            faults: Faults::default(),
            memory,
            disk: Disk::default(),
            violations: Vec::new(),
            interrupts: BTreeMap::new(),
            doorbells: BTreeMap::new(),
            aborts_at_once: 0,
            events: Events::default(),
            lost: Vec::new(),
            submission: BTreeMap::new(),
            completion: BTreeMap::new(),
            hidden,
            configuration: Configuration(0),
            status: ControllerStatus::empty(),
            attributes: 0,
            submission_base: 0,
            completion_base: 0,
            bus_mastering: false,
            msix: false,
            msix_at_enable: false,
            raised: BTreeSet::new(),
            now: 0,
            agenda: Vec::new(),
            blocked: Vec::new(),
            life: 0,
            random: 1,
        }
    }

    /// As firmware leaves it: enabled, with queues of its own in memory that is now somebody else's.
    pub fn left_enabled(&mut self) {
        self.attributes = 0x001f_001f;
        (self.submission_base, self.completion_base) = (0x7000_0000, 0x7000_1000);
        self.bus_mastering = true;
        self.configuration = Configuration(0x0046_0001);
        self.status = ControllerStatus::READY;
    }

    /// CSTS.CFS is set now, and nothing more is done.
    pub fn fail_fatally(&mut self) {
        self.status |= ControllerStatus::FATAL;
        self.life += 1;
    }

    /// Whether the function may master the bus.
    pub fn is_bus_master(&self) -> bool {
        self.bus_mastering
    }

    /// Whether CC.EN is set.
    pub fn is_enabled(&self) -> bool {
        self.configuration.enable()
    }

    /// When something happens next.
    pub fn next_event(&self) -> Option<u64> {
        self.agenda.iter().map(|(time, ..)| *time).min()
    }

    /// Lets time pass.
    pub fn advance(&mut self, to: u64) {
        while let Some((index, _)) =
            self.agenda.iter().enumerate().filter(|(_, (time, ..))| *time <= to).min_by_key(|(_, (time, ..))| *time)
        {
            let (time, life, event) = self.agenda.remove(index);
            self.now = self.now.max(time);
            match event {
                Event::Ready(ready) if life == self.life => self.become_ready(ready),
                Event::ShutDown if life == self.life => {
                    self.status.remove(ControllerStatus::SHUTDOWN);
                    self.status.insert(ControllerStatus::SHUTDOWN_COMPLETE);
                }
                Event::Answer { queue, command, fault } if life == self.life => self.answer(queue, &command, fault),
                _ => {}
            }
        }
        self.now = self.now.max(to);
    }

    /// Whether any vector interrupted since they were last taken.
    pub fn has_interrupts(&self) -> bool {
        !self.raised.is_empty()
    }

    /// The vectors that interrupted since this was last asked.
    pub fn take_interrupts(&mut self) -> BTreeSet<u16> {
        std::mem::take(&mut self.raised)
    }

    fn later(&mut self, after: u64, event: Event) {
        self.agenda.push((self.now + after, self.life, event));
    }

    fn become_ready(&mut self, ready: bool) {
        if ready && self.faults.fatal_at_enable {
            self.status |= ControllerStatus::FATAL;
        } else {
            self.status.set(ControllerStatus::READY, ready);
        }
    }

    fn forget(&mut self) {
        self.life += 1;
        self.blocked.clear();
        self.lost.clear();
        self.events.requests.clear();
        self.events.configuration = 0;
        self.status.remove(ControllerStatus::SHUTDOWN);
        self.submission.clear();
        self.completion.clear();
    }

    fn configure(&mut self, value: u32) {
        let (before, after) = (self.configuration, Configuration(value));
        self.configuration = after;
        match (before.enable(), after.enable()) {
            (false, true) => {
                if self.status.contains(ControllerStatus::READY) {
                    self.violations.push("enabled before it had stopped".into());
                }
                if after.0 != 0x0046_0001 {
                    self.violations.push(format!("enabled with CC = {:#x}", after.0));
                }
                self.forget();
                let (submission, completion) = (self.attributes & 0xfff, self.attributes >> 16 & 0xfff);
                self.submission.insert(0, SubmissionQueue::new(self.submission_base, submission + 1, 0));
                self.completion.insert(0, CompletionQueue::new(self.completion_base, completion + 1, 0));
                self.msix_at_enable = self.msix;
                if !self.faults.never_ready {
                    self.later(self.identity.start_time, Event::Ready(true));
                }
            }
            (true, false) => {
                self.forget();
                self.status.remove(ControllerStatus::FATAL);
                if !self.faults.never_stops {
                    self.later(self.identity.stop_time, Event::Ready(false));
                }
            }
            (true, true) if before.shutdown() != after.shutdown() => self.shut_down(),
            _ => {}
        }
    }

    fn shut_down(&mut self) {
        let busy = self
            .agenda
            .iter()
            .any(|(_, life, event)| *life == self.life && matches!(event, Event::Answer { queue: 1.., .. }));
        if busy || self.lost.iter().any(|(queue, _)| *queue != 0) {
            self.violations.push("told to shut down with commands in flight".into());
        }
        self.status.insert(ControllerStatus::SHUTDOWN_OCCURRING);
        if !self.faults.never_shuts_down {
            self.later(self.identity.shutdown_time, Event::ShutDown);
        }
    }

    /// Whether it says that it has shut down.
    pub fn is_shut_down(&self) -> bool {
        self.status & ControllerStatus::SHUTDOWN == ControllerStatus::SHUTDOWN_COMPLETE
    }

    /// Abort (base 2.0, 5.1): dword 0 of its completion.
    pub(crate) fn abort(&mut self, command: &SubmissionEntry) -> u32 {
        let (queue, identifier) = (command.dword10.get() as u16, (command.dword10.get() >> 16) as u16);
        match self.faults.aborts {
            Aborts::Declined => return 1,
            Aborts::Forged => return 0,
            Aborts::Honoured => {}
        }
        let is_meant = |number: u16, other: &SubmissionEntry| number == queue && other.identifier.get() == identifier;
        let lost = self.lost.iter().position(|(number, other)| is_meant(*number, other));
        let waiting = self.agenda.iter().position(|(_, life, event)| match event {
            Event::Answer { queue: number, command: other, .. } => *life == self.life && is_meant(*number, other),
            _ => false,
        });
        let aborted = match (lost, waiting) {
            (Some(place), _) => self.lost.remove(place).1,
            (_, Some(place)) => match self.agenda.remove(place).2 {
                Event::Answer { command, .. } => command,
                _ => return 1,
            },
            _ => return 1,
        };
        let status = Status::ABORT_REQUESTED;
        let event = Event::Answer { queue, command: aborted, fault: Some(Fault::Status(status)) };
        self.later(1000, event);
        0
    }

    /// Ends an event request.
    pub(crate) fn answer_event(&mut self, request: &SubmissionEntry, dword0: u32) {
        let head = self.submission.get(&0).map_or(0, |queue| queue.head as u16);
        let entry = CompletionEntry {
            dword0: dword0.into(),
            submission_head: head.into(),
            identifier: request.identifier,
            ..CompletionEntry::default()
        };
        self.post(0, entry, Status::SUCCESS, true, true);
    }

    fn doorbell(&mut self, offset: u32, value: u32) {
        *self.doorbells.entry(offset).or_default() += 1;
        let stride = Capabilities(self.identity.capabilities).doorbell_stride();
        let submission = self.submission.keys().find(|queue| stride.submission_tail(**queue) == u64::from(offset));
        let completion = self.completion.keys().find(|queue| stride.completion_head(**queue) == u64::from(offset));
        match (submission.copied(), completion.copied()) {
            (Some(queue), _) => self.submitted(queue, value),
            (_, Some(queue)) => match self.completion.get_mut(&queue) {
                Some(entry) if value < entry.entries => {
                    entry.head = value;
                    for (_, event) in self.blocked.extract_if(.., |(blocked, _)| *blocked == queue).collect::<Vec<_>>()
                    {
                        self.later(1000, event);
                    }
                }
                _ => self.violations.push(format!("head {value} of completion queue {queue}")),
            },
            _ => self.violations.push(format!("doorbell of no queue at {offset:#x}")),
        }
    }

    fn submitted(&mut self, number: u16, tail: u32) {
        let Some(queue) = self.submission.get_mut(&number) else { return };
        if tail >= queue.entries {
            self.violations.push(format!("tail {tail} of submission queue {number}"));
            return;
        }
        queue.tail = tail;
        if self.status.contains(ControllerStatus::FATAL) {
            return;
        }
        if !self.bus_mastering || !self.status.contains(ControllerStatus::READY) {
            self.violations.push(format!("commands for submission queue {number} of a controller that is not ready"));
            return;
        }
        let mut order = 0;
        while let Some(queue) = self.submission.get_mut(&number)
            && queue.head != queue.tail
        {
            let address = queue.base + u64::from(queue.head) * SubmissionEntry::BYTES as u64;
            queue.head = (queue.head + 1) % queue.entries;
            let mut bytes = [0; SubmissionEntry::BYTES];
            self.memory.device_read(address, &mut bytes);
            let aborts =
                |event: &Event| matches!(event, Event::Answer { queue: 0, command, .. } if command.opcode == ABORT);
            let aborting = self.agenda.iter().filter(|(_, life, event)| *life == self.life && aborts(event)).count();
            self.aborts_at_once = self.aborts_at_once.max(aborting);
            let faults = if number == 0 { &mut self.faults.admin } else { &mut self.faults.io };
            let fault = faults.pop_front().flatten();
            let event = Event::Answer { queue: number, command: SubmissionEntry::from_bytes(bytes), fault };
            // Commands of one queue may end in any order (base 2.0, 3.3.1).
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let spread = if number == 0 { 0 } else { (self.random >> 33) % self.identity.latency.max(1) };
            order += 1;
            let delay = if let Some(Fault::Delay(delay)) = fault { delay } else { 0 };
            self.later(self.identity.latency + spread + order + delay, event);
        }
    }

    /// Executes a command and posts its completion.
    fn answer(&mut self, number: u16, command: &SubmissionEntry, fault: Option<Fault>) {
        if self.faults.registers == Registers::AllOnes {
            return;
        }
        let Some(queue) = self.submission.get(&number) else { return };
        let completion_queue = queue.completion_queue;
        if self.completion.get(&completion_queue).is_some_and(CompletionQueue::is_full) {
            self.blocked.push((completion_queue, Event::Answer { queue: number, command: *command, fault }));
            return;
        }
        if (number, command.opcode, fault) == (0, ASYNCHRONOUS_EVENT_REQUEST, None)
            && self.request_event(command).is_ok()
        {
            return;
        }
        let (dword0, status) = match fault {
            Some(Fault::Drop) => {
                self.lost.push((number, *command));
                return;
            }
            Some(Fault::Status(status)) => (0, status),
            _ => match self.execute(number, command) {
                Ok(dword0) => (dword0, nvme_spec::Status::SUCCESS),
                Err(status) => (0, status),
            },
        };
        let head = self.submission.get(&number).map_or(0, |queue| queue.head as u16);
        let mut entry = CompletionEntry {
            dword0: dword0.into(),
            submission_head: head.into(),
            submission_queue: number.into(),
            identifier: command.identifier,
            ..CompletionEntry::default()
        };
        let (mut right_phase, mut interrupt, mut second) = (true, true, None);
        match fault {
            Some(Fault::Identifier(bits)) => entry.identifier = (command.identifier.get() ^ bits).into(),
            Some(Fault::Phase) => right_phase = false,
            Some(Fault::Queue) => entry.submission_queue = (number + 1).into(),
            Some(Fault::Head) => entry.submission_head = u16::MAX.into(),
            Some(Fault::NoInterrupt) => interrupt = false,
            Some(Fault::Duplicate) => second = Some(entry),
            Some(Fault::Invented(identifier)) => {
                second = Some(CompletionEntry { identifier: identifier.into(), ..entry });
            }
            _ => {}
        }
        self.post(completion_queue, entry, status, right_phase, interrupt);
        if let Some(second) = second {
            self.post(completion_queue, second, status, true, interrupt);
        }
    }

    fn post(
        &mut self,
        number: u16,
        mut entry: CompletionEntry,
        status: nvme_spec::Status,
        right_phase: bool,
        interrupt: bool,
    ) {
        let Some(queue) = self.completion.get_mut(&number) else { return };
        entry.set_status(status, queue.phase == right_phase);
        let address = queue.base + u64::from(queue.tail) * CompletionEntry::BYTES as u64;
        queue.tail = (queue.tail + 1) % queue.entries;
        if queue.tail == 0 {
            queue.phase = !queue.phase;
        }
        let vector = queue.vector;
        self.memory.device_write(address, &entry.to_bytes());
        if interrupt && self.msix && self.msix_at_enable && self.bus_mastering {
            *self.interrupts.entry(vector).or_default() += 1;
            self.raised.insert(vector);
        }
    }
}

impl Device for Controller {
    fn read_u32(&mut self, offset: u32) -> u32 {
        if self.faults.registers == Registers::AllOnes {
            return u32::MAX;
        }
        match offset {
            VS => self.identity.version,
            CC => self.configuration.0,
            CSTS => self.status.bits(),
            AQA => self.attributes,
            _ => 0,
        }
    }

    fn read_u64(&mut self, offset: u32) -> u64 {
        if self.faults.registers == Registers::AllOnes {
            return u64::MAX;
        }
        match offset {
            CAP => self.identity.capabilities,
            ASQ => self.submission_base,
            ACQ => self.completion_base,
            _ => 0,
        }
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        if self.faults.registers == Registers::AllOnes {
            return;
        }
        let (table, table_bytes) = MSIX_TABLE;
        match offset {
            CC => self.configure(value),
            AQA if !self.configuration.enable() => self.attributes = value,
            _ if (table..table + table_bytes).contains(&offset) => {
                self.violations.push(format!("write to the MSI-X table at {offset:#x}"));
            }
            _ if offset >= DOORBELLS => self.doorbell(offset, value),
            _ => self.violations.push(format!("write to register {offset:#x}")),
        }
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        if self.faults.registers == Registers::AllOnes {
            return;
        }
        match offset {
            ASQ if !self.configuration.enable() => self.submission_base = value,
            ACQ if !self.configuration.enable() => self.completion_base = value,
            _ => self.violations.push(format!("write of 64 bits to register {offset:#x}")),
        }
    }

    fn hidden_u32(&mut self, offset: u32) -> u32 {
        let mut bytes = [0; 4];
        self.memory.read(self.hidden + u64::from(offset), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn read_hidden(&mut self, offset: u32, to: &mut [u8]) {
        self.memory.read(self.hidden + u64::from(offset), to);
    }

    fn write_hidden(&mut self, offset: u32, from: &[u8]) {
        self.memory.write(self.hidden + u64::from(offset), from);
    }

    fn set_bus_mastering(&mut self, on: bool) {
        self.bus_mastering = on;
    }

    fn set_interrupts(&mut self, on: bool) {
        self.msix = on;
    }

    fn now(&self) -> u64 {
        self.now
    }
}
