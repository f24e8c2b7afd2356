//! A controller that follows the specification, believes every address, and checks what it is told against the ledger.
//!
//! It panics at whatever must never happen; so every test and every property that runs over it holds the rules.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use abi::package::Command;
use broker::Ledger;
use nvme_broker::layout;
use nvme_spec::admin::{self, QueueCounts};
use nvme_spec::registers::{Capabilities, Configuration, ControllerStatus};
use nvme_spec::{CompletionEntry, Status, SubmissionEntry, nvm};

use crate::walk::{self, Range};

mod registers;

/// What the broker made the kernel do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Register(u32, u64),
    Interrupts(bool),
    BusMastering(bool),
}

#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    pub blocks: u64,
    pub block_shift: u8,
    pub metadata_bytes: u16,
    pub inline: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ring {
    address: u64,
    entries: u16,
    head: u16,
    tail: u16,
    phase: bool,
}

impl Ring {
    fn new(address: u64, entries: u16) -> Self {
        Self { address, entries, head: 0, tail: 0, phase: true }
    }

    fn range(&self, entry_bytes: u64) -> Range {
        (self.address, u64::from(self.entries) * entry_bytes)
    }
}

/// A command that the controller fetched, and what it will touch.
#[derive(Clone, Debug)]
pub struct InFlight {
    pub queue: u16,
    pub entry: SubmissionEntry,
    data: Vec<Range>,
    /// The list's ranges, with what they held when it was fetched.
    lists: Vec<(Range, u64)>,
}

/// The controller.
pub struct FakeDevice {
    pub ledger: Ledger,
    pub capabilities: u64,
    pub configuration: u32,
    pub status: u32,
    pub hidden: Vec<u8>,
    pub events: Vec<Event>,
    pub time: u64,
    pub bus_mastering: bool,
    pub interrupts: bool,
    pub gone: bool,
    /// CSTS.RDY follows CC.EN at once; else [`Self::follow`] makes it.
    pub prompt: bool,
    pub namespaces: BTreeMap<u32, Namespace>,
    pub transfer_shift_max: u8,
    pub volatile_write_cache: u8,
    pub queues_granted: u32,
    /// A page that no domain holds: Identify may name it, and does not reach it unless this says so.
    pub outside: Option<(u64, bool)>,
    /// Whether Identify reached that page.
    pub reached_outside: bool,
    /// Whether what it was told to write arrives at all.
    pub delivers: bool,
    /// Dword 0 of events, features and Abort.
    pub value: u32,
    /// Aborts of commands that were not in flight.
    pub aborts_unknown: Cell<usize>,
    pub in_flight: Vec<InFlight>,
    pub reads_of_registers: usize,
    /// For each completion posted and not yet taken: the driver's identifier if it was a true one.
    pub posted: BTreeMap<u16, VecDeque<Option<u16>>>,
    aqa: u32,
    pub asq: u64,
    pub acq: u64,
    submission: BTreeMap<u16, Ring>,
    completion: BTreeMap<u16, Ring>,
}

impl FakeDevice {
    pub fn new(ledger: Ledger, hidden_bytes: u32) -> Self {
        Self {
            ledger,
            // 2048 entries, contiguous queues, 2 s, the NVM command set, pages up to 64 KiB.
            capabilities: 0x07ff | 1 << 16 | 4 << 24 | 1 << 37 | 4 << 52,
            configuration: 0,
            status: 0,
            hidden: vec![0; hidden_bytes as usize],
            events: Vec::new(),
            time: 0,
            bus_mastering: false,
            interrupts: false,
            gone: false,
            prompt: true,
            namespaces: BTreeMap::new(),
            transfer_shift_max: 0,
            volatile_write_cache: 0,
            queues_granted: 64,
            outside: None,
            reached_outside: false,
            delivers: true,
            value: 0,
            aborts_unknown: Cell::new(0),
            in_flight: Vec::new(),
            reads_of_registers: 0,
            posted: BTreeMap::new(),
            aqa: 0,
            asq: 0,
            acq: 0,
            submission: BTreeMap::new(),
            completion: BTreeMap::new(),
        }
    }

    /// CSTS.RDY becomes what CC.EN asks for; a fall of it is a reset.
    pub fn follow(&mut self) {
        let enabled = Configuration(self.configuration).enable();
        let ready = ControllerStatus::READY.bits();
        if enabled {
            self.status |= ready;
        } else {
            self.status = 0;
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.in_flight.clear();
        self.submission.clear();
        self.completion.clear();
        self.posted.clear();
    }

    fn is_ready(&self) -> bool {
        self.status & ControllerStatus::READY.bits() != 0
    }

    pub fn regions(&self) -> Vec<Range> {
        self.ledger.regions.iter().map(|region| (region.base, region.bytes)).collect()
    }

    fn hidden_range(&self) -> Range {
        (self.ledger.hidden, self.hidden.len() as u64)
    }

    /// Memory that must not be given for anything else: rings that are live.
    fn rings(&self) -> Vec<Range> {
        let submission = self.submission.values().map(|ring| ring.range(64));
        submission.chain(self.completion.values().map(|ring| ring.range(16))).collect()
    }

    fn hidden_at(&mut self, (address, bytes): Range) -> &mut [u8] {
        assert!(walk::lies_in((address, bytes), &[self.hidden_range()]), "{address:#x} is not in hidden memory");
        let start = (address - self.ledger.hidden) as usize;
        &mut self.hidden[start..start + bytes as usize]
    }

    fn quadword(&mut self, address: u64) -> u64 {
        u64::from_le_bytes(self.hidden_at((address, 8)).try_into().unwrap())
    }

    fn add_ring(&mut self, queue: u16, is_submission: bool, address: u64, entries: u16) {
        let ring = Ring::new(address, entries);
        let range = ring.range(if is_submission { 64 } else { 16 });
        assert_eq!(address % 4096, 0, "ring is not on a page");
        assert!(walk::lies_in(range, &[self.hidden_range()]), "ring {range:x?} is not in hidden memory");
        assert!(!self.rings().iter().any(|other| walk::overlap(*other, range)), "ring {range:x?} lies on another");
        let rings = if is_submission { &mut self.submission } else { &mut self.completion };
        assert!(rings.insert(queue, ring).is_none(), "queue {queue} exists");
    }

    /// Fetches every submitted command. Returns how many.
    pub fn fetch(&mut self) -> usize {
        let mut fetched = 0;
        for queue in self.submission.keys().copied().collect::<Vec<_>>() {
            loop {
                let ring = self.submission.get_mut(&queue).unwrap();
                if ring.head == ring.tail {
                    break;
                }
                let at = ring.address + u64::from(ring.head) * 64;
                ring.head = (ring.head + 1) % ring.entries;
                let bytes: [u8; 64] = self.hidden_at((at, 64)).try_into().unwrap();
                let entry = SubmissionEntry::from_bytes(bytes);
                self.accept(queue, entry);
                fetched += 1;
            }
        }
        fetched
    }

    fn accept(&mut self, queue: u16, entry: SubmissionEntry) {
        assert_eq!((entry.flags, entry.metadata_pointer.get()), (0, 0), "FUSE, PSDT or MPTR");
        assert_ne!(entry.identifier.get(), 0xffff);
        let slot = |entry: &SubmissionEntry| entry.identifier.get() & 0xff;
        for other in self.in_flight.iter().filter(|other| other.queue == queue) {
            assert_ne!(slot(&other.entry), slot(&entry), "slot used while its command is in flight");
        }
        let bytes = self.data_bytes(queue, &entry);
        let (mut data, mut lists) = (Vec::new(), Vec::new());
        if bytes != 0 {
            let (prp1, prp2) = (entry.prp1.get(), entry.prp2.get());
            let read;
            (data, read) = walk::prp(prp1, prp2, bytes, |at| self.quadword(at));
            lists = read.into_iter().map(|range| (range, self.quadword(range.0))).collect();
            if let Some(((first, _), _)) = lists.first() {
                // What the transfer does not need of its list is in the regions as well.
                for index in lists.len() as u64..128 {
                    let unused = self.quadword(first + index * 8);
                    assert!(walk::lies_in((unused, 4096), &self.regions()), "unused list entry {unused:#x}");
                }
            }
        } else if !matches!(entry.opcode, admin::CREATE_COMPLETION_QUEUE | admin::CREATE_SUBMISSION_QUEUE) {
            assert_eq!((entry.prp1.get(), entry.prp2.get()), (0, 0), "an address where no data goes");
        }
        let ranges = queue != 0 && entry.opcode == nvm::DATASET_MANAGEMENT;
        let allowed = match (queue, ranges) {
            (0, _) => {
                let outside = self.outside.filter(|_| entry.opcode == admin::IDENTIFY).map(|(page, _)| (page, 4096));
                outside.into_iter().chain([self.hidden_range()]).collect()
            }
            (_, true) => {
                let list = layout::io_list(usize::from(queue) - 1, slot(&entry));
                vec![(self.ledger.hidden + u64::from(list), layout::LIST_BYTES.into())]
            }
            _ => self.regions(),
        };
        for range in &data {
            assert!(walk::lies_in(*range, &allowed), "{range:x?} is outside {allowed:x?}");
            assert!(!self.rings().iter().any(|ring| walk::overlap(*ring, *range)), "data on a ring");
            if queue == 0 {
                let others = self.in_flight.iter().flat_map(|other| &other.data);
                assert!(!others.into_iter().any(|other| walk::overlap(*other, *range)), "hidden page shared");
            }
        }
        for (range, _) in &lists {
            assert!(!self.rings().iter().any(|ring| walk::overlap(*ring, *range)), "list on a ring");
        }
        if ranges {
            // What the controller would do with them now, it may do until the command ends: none may change.
            let (at, bytes) = data[0];
            lists = (0..bytes / 8).map(|word| ((at + word * 8, 8), self.quadword(at + word * 8))).collect();
            for range in lists.chunks(2) {
                assert_eq!(range[0].1 as u32, 0, "context attributes");
                self.check_blocks(entry.nsid.get(), range[1].1, range[0].1 >> 32, Command::DatasetManagement);
            }
        }
        self.in_flight.push(InFlight { queue, entry, data, lists });
    }

    /// How many bytes the controller will move: from what it is, not from what the broker thinks.
    fn data_bytes(&self, queue: u16, entry: &SubmissionEntry) -> u64 {
        let nsid = entry.nsid.get();
        if queue == 0 {
            return match entry.opcode {
                admin::IDENTIFY => 4096,
                admin::GET_LOG_PAGE => {
                    assert!(matches!(entry.dword10.get() & 0xff, 1..=4), "log page {:#x}", entry.dword10.get());
                    assert_eq!((entry.dword11.get(), entry.dword12.get(), entry.dword13.get()), (0, 0, 0));
                    (u64::from(entry.dword10.get() >> 16) + 1) * 4
                }
                admin::SET_FEATURES | admin::GET_FEATURES => {
                    assert!(matches!(entry.dword10.get(), 6 | 7 | 0xb), "feature {:#x}", entry.dword10.get());
                    0
                }
                admin::ASYNCHRONOUS_EVENT_REQUEST => 0,
                admin::ABORT => {
                    let (queue, aborted) = (entry.dword10.get() as u16, (entry.dword10.get() >> 16) as u16);
                    let is_known = |other: &InFlight| other.queue == queue && other.entry.identifier == aborted;
                    self.aborts_unknown
                        .set(self.aborts_unknown.get() + usize::from(!self.in_flight.iter().any(is_known)));
                    0
                }
                admin::CREATE_COMPLETION_QUEUE
                | admin::CREATE_SUBMISSION_QUEUE
                | admin::DELETE_COMPLETION_QUEUE
                | admin::DELETE_SUBMISSION_QUEUE => 0,
                other => panic!("admin opcode {other:#x} came through"),
            };
        }
        match entry.opcode {
            nvm::FLUSH => {
                let flushes = self.ledger.limits.iter().filter(|limit| limit.commands.contains(Command::Flush));
                assert!(flushes.map(|limit| limit.namespace).any(|own| own.is_none_or(|own| own == nsid)));
                if nsid != u32::MAX {
                    assert_eq!(self.namespaces[&nsid].metadata_bytes, 0, "flush of a namespace with metadata");
                }
                0
            }
            nvm::DATASET_MANAGEMENT => {
                assert_eq!((entry.dword10.get() & !0xff, entry.dword11.get()), (0, 4), "anything but deallocation");
                assert_eq!(entry.prp1.get() & 3, 0);
                (u64::from(entry.dword10.get()) + 1) * 16
            }
            nvm::READ | nvm::WRITE | nvm::COMPARE | nvm::VERIFY | nvm::WRITE_ZEROES => {
                let allowed = 0xc000_ffff | if entry.opcode == nvm::WRITE_ZEROES { 1 << 25 } else { 0 };
                assert_eq!(entry.dword12.get() & !allowed, 0, "protection information, or a directive");
                assert_eq!((entry.dword13.get(), entry.dword14.get(), entry.dword15.get()), (0, 0, 0));
                let first = u64::from(entry.dword11.get()) << 32 | u64::from(entry.dword10.get());
                let count = u64::from(entry.dword12.get() as u16) + 1;
                let command = match entry.opcode {
                    nvm::READ => Command::Read,
                    nvm::WRITE => Command::Write,
                    nvm::COMPARE => Command::Compare,
                    nvm::VERIFY => Command::Verify,
                    _ => Command::WriteZeroes,
                };
                let bytes = count << self.check_blocks(nsid, first, count, command);
                if matches!(entry.opcode, nvm::VERIFY | nvm::WRITE_ZEROES) {
                    return 0;
                }
                let most = if self.transfer_shift_max == 0 { u64::MAX } else { 4096 << self.transfer_shift_max };
                assert!(bytes <= most, "longer than MDTS");
                bytes
            }
            other => panic!("I/O opcode {other:#x} came through"),
        }
    }

    /// Whether blocks are there and granted, by the ledger's own words. Returns their namespace's block shift.
    fn check_blocks(&self, nsid: u32, first: u64, count: u64, command: Command) -> u8 {
        let namespace = self.namespaces.get(&nsid).unwrap_or_else(|| panic!("there is no namespace {nsid}"));
        assert_eq!(namespace.metadata_bytes, 0, "the namespace has metadata");
        assert_ne!(count, 0, "a range without blocks");
        assert!(first.checked_add(count).is_some_and(|end| end <= namespace.blocks), "blocks beyond the end");
        let granted = self.ledger.limits.iter().any(|limit| {
            let end = u128::from(limit.first_block) + limit.blocks.map_or(u128::MAX >> 1, u128::from);
            limit.namespace.is_none_or(|granted| granted == nsid)
                && first >= limit.first_block
                && u128::from(first + count) <= end
                && (limit.writable || matches!(command, Command::Read | Command::Compare | Command::Verify))
                && limit.commands.contains(command)
        });
        assert!(granted, "blocks {first}+{count} of {nsid} are not granted for {command:?}");
        namespace.block_shift
    }

    /// Ends a command in flight: does what it says if `status` is success, and posts its completion.
    pub fn finish(&mut self, index: usize, status: Status) {
        let Some(command) = self.in_flight.get(index) else { return };
        let head = self.submission.get(&command.queue).map_or(0, |ring| ring.head);
        self.finish_with_head(index, status, head);
    }

    /// Likewise, and says that it fetched up to `head`.
    pub fn finish_with_head(&mut self, index: usize, status: Status, head: u16) {
        let Some(command) = self.in_flight.get(index).cloned() else { return };
        if !self.has_room(command.queue) {
            return;
        }
        for (range, held) in &command.lists {
            assert_eq!(self.quadword(range.0), *held, "the list of a command in flight changed");
        }
        let dword0 = if status.is_success() && command.queue == 0 { self.perform(&command) } else { 0 };
        let mut entry = CompletionEntry {
            dword0: dword0.into(),
            submission_head: head.into(),
            submission_queue: command.queue.into(),
            identifier: command.entry.identifier,
            ..CompletionEntry::default()
        };
        entry.set_status(status, false);
        self.post(command.queue, entry);
    }

    fn has_room(&self, queue: u16) -> bool {
        self.completion.get(&queue).is_some_and(|ring| (ring.tail + 1) % ring.entries != ring.head)
    }

    /// The command in flight that this completion would end.
    pub fn ended_by(&self, queue: u16, entry: &CompletionEntry) -> Option<usize> {
        self.in_flight.iter().position(|command| {
            command.queue == queue
                && entry.submission_queue.get() == queue
                && command.entry.identifier == entry.identifier
        })
    }

    /// Writes a completion, true or not, into a ring. `None` if the ring has no room, or there is none.
    pub fn post(&mut self, queue: u16, mut entry: CompletionEntry) -> Option<()> {
        if !self.has_room(queue) {
            return None;
        }
        let ring = self.completion.get_mut(&queue)?;
        let at = ring.address + u64::from(ring.tail) * 16;
        entry.set_status(entry.status(), ring.phase);
        ring.tail += 1;
        if ring.tail == ring.entries {
            ring.tail = 0;
            ring.phase = !ring.phase;
        }
        self.hidden_at((at, 16)).copy_from_slice(&entry.to_bytes());
        let ended = self.ended_by(queue, &entry);
        let identifier = ended.map(|index| self.in_flight.remove(index).entry.identifier.get() & 0xff);
        self.posted.entry(queue).or_default().push_back(identifier);
        Some(())
    }

    fn perform(&mut self, command: &InFlight) -> u32 {
        let entry = &command.entry;
        let queue = entry.dword10.get() as u16;
        let size = ((entry.dword10.get() >> 16) + 1) as u16;
        match entry.opcode {
            admin::IDENTIFY if self.outside.is_some_and(|(page, _)| page == entry.prp1.get()) => {
                self.reached_outside = self.outside.is_some_and(|(_, open)| open);
                0
            }
            admin::IDENTIFY if !self.delivers => 0,
            admin::IDENTIFY => {
                let page = self.identify(entry.dword10.get(), entry.nsid.get());
                let mut from = 0;
                for range in &command.data {
                    let bytes = range.1 as usize;
                    self.hidden_at(*range).copy_from_slice(&page[from..from + bytes]);
                    from += bytes;
                }
                0
            }
            admin::SET_FEATURES | admin::GET_FEATURES if entry.dword10.get() & 0xff != 7 => self.value,
            admin::ASYNCHRONOUS_EVENT_REQUEST | admin::ABORT => self.value,
            admin::GET_LOG_PAGE => {
                for range in &command.data {
                    self.hidden_at(*range).fill(0xee);
                }
                0
            }
            admin::SET_FEATURES | admin::GET_FEATURES => {
                QueueCounts { submission: self.queues_granted, completion: self.queues_granted }.to_dword()
            }
            admin::CREATE_COMPLETION_QUEUE => {
                assert_eq!(entry.dword11.get() & 0xffff, 0b11, "contiguous, with interrupts");
                let vector = (entry.dword11.get() >> 16) as u16;
                assert!(self.ledger.vectors.contains(&vector), "vector {vector} is not granted");
                self.add_ring(queue, false, entry.prp1.get(), size);
                0
            }
            admin::CREATE_SUBMISSION_QUEUE => {
                assert!(self.completion.contains_key(&((entry.dword11.get() >> 16) as u16)), "no completion queue");
                self.add_ring(queue, true, entry.prp1.get(), size);
                0
            }
            admin::DELETE_SUBMISSION_QUEUE => {
                assert!(!self.in_flight.iter().any(|other| other.queue == queue), "queue deleted under its commands");
                assert!(self.submission.remove(&queue).is_some());
                0
            }
            admin::DELETE_COMPLETION_QUEUE => {
                assert!(!self.submission.contains_key(&queue), "completion queue deleted under its submission queue");
                assert!(self.completion.remove(&queue).is_some());
                self.posted.remove(&queue);
                0
            }
            _ => 0,
        }
    }

    fn identify(&self, structure: u32, nsid: u32) -> Vec<u8> {
        let mut page = vec![0; 4096];
        match structure {
            0 => {
                if let Some(namespace) = self.namespaces.get(&nsid) {
                    page[..8].copy_from_slice(&namespace.blocks.to_le_bytes());
                    page[25] = 3;
                    page[26] = 2 | u8::from(namespace.inline) << 4;
                    // The format in use is the third; the others would mislead who reads the wrong one.
                    page[128..132].copy_from_slice(&[0, 0, 9, 0]);
                    page[136..138].copy_from_slice(&namespace.metadata_bytes.to_le_bytes());
                    page[138] = namespace.block_shift;
                    page[384..388].copy_from_slice(b"type");
                }
            }
            1 => {
                page[24..34].copy_from_slice(b"Fake Model");
                page[77] = self.transfer_shift_max;
                page[525] = self.volatile_write_cache;
            }
            6 => page[4..8].copy_from_slice(&[1, 2, 3, 4]),
            2 => {
                for (index, nsid) in self.namespaces.keys().filter(|other| **other > nsid).enumerate() {
                    page[index * 4..index * 4 + 4].copy_from_slice(&nsid.to_le_bytes());
                }
            }
            other => panic!("Identify structure {other:#x} came through"),
        }
        page
    }
}

/// The doorbell stride that a controller reports.
pub fn with_stride(capabilities: u64, stride: u64) -> u64 {
    let changed = capabilities & !(0xf << 32) | stride << 32;
    assert_eq!(Capabilities(changed).queue_entries_max(), Capabilities(capabilities).queue_entries_max());
    changed
}
