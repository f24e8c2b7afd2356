//! Drivers that are killed at any point, over a disk in memory: what its clients see is what a disk that never failed
//! could have shown them.
//!
//! Each block is a register, and each write of it has a value of its own. Whether all reads and writes of a register
//! could have happened one after the other, each somewhere between its begin and its end, is decided by the zones of its
//! values (Gibbons and Korach, "Testing Shared Memories", 1997): a value's zone lies between the first end and the last
//! begin of all that wrote or read it.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::vec::Vec;

use proptest::prelude::*;
use protocol::block::{Answer, BatchRoom, Failure, Operation, Request, Transfer, VERSION};
use protocol::nvme;

use super::bench::{blocks, named, namespace, of};
use crate::driver::{Completions, Driver, Exchanged, Hello, Identity, Namespaces, Trouble};
use crate::memory::Memory;
use crate::server::{AnswerRoom, Server};

const BLOCKS: u64 = 6;
const BLOCK_BYTES: u64 = 512;
/// Most blocks of an operation, and the room in the window that each has.
const SLOT_BLOCKS: u64 = 4;
const SHARE: u32 = 8;

/// Which write: 0 for what was there at first.
type Value = u32;

/// A disk that works, and a driver that may not.
#[derive(Default)]
struct Device {
    alive: bool,
    begun: bool,
    medium: [Value; BLOCKS as usize],
    /// What a power failure would leave.
    durable: [Value; BLOCKS as usize],
    /// The region, by block.
    memory: HashMap<u64, Value>,
    taken: Vec<nvme::Transfer>,
    completions: Vec<nvme::Completion>,
}

impl Device {
    /// Does the first blocks of a transfer.
    fn perform(&mut self, transfer: &nvme::Transfer, blocks: u32) {
        for index in 0..u64::from(blocks.min(transfer.blocks)) {
            let (block, place) = ((transfer.first_block + index) as usize, transfer.offset / BLOCK_BYTES + index);
            match transfer.operation {
                nvme::Operation::Read => drop(self.memory.insert(place, self.medium[block])),
                nvme::Operation::Write | nvme::Operation::DurableWrite => {
                    self.medium[block] = self.memory[&place];
                    if transfer.operation == nvme::Operation::DurableWrite {
                        self.durable[block] = self.medium[block];
                    }
                }
                nvme::Operation::Flush => self.durable = self.medium,
                nvme::Operation::Compare => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn end(&mut self, place: usize) {
        let place = place % self.taken.len();
        let transfer = self.taken.remove(place);
        self.perform(&transfer, u32::MAX);
        self.completions.push(nvme::Completion { tag: transfer.tag, outcome: Ok(()) });
    }
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Device>>);

const DEAD: Trouble = Trouble::Away(Failure::DeadPeer);

impl Driver for Shared {
    fn begin(&mut self, _: Duration) -> Result<Hello, Trouble> {
        let mut device = self.0.borrow_mut();
        if !device.alive {
            return Err(DEAD);
        }
        device.begun = true;
        let namespaces = [namespace(1, BLOCKS, BLOCK_BYTES as u32)].into_iter().collect();
        Ok(Hello { controller: Identity::default(), namespaces, room: 0 })
    }

    fn namespaces(&mut self) -> Result<Namespaces, Trouble> {
        panic!("they never change")
    }

    fn exchange(
        &mut self,
        transfers: nvme::Batch<'_, nvme::Transfer>,
        completions: &mut Completions,
    ) -> Result<Exchanged, Trouble> {
        let transfers: Vec<_> = transfers.iter().collect();
        let mut device = self.0.borrow_mut();
        if !device.alive || !device.begun {
            return Err(DEAD);
        }
        device.taken.extend_from_slice(&transfers);
        let told = device.completions.len().min(nvme::BATCH_MAX);
        completions.extend(device.completions.drain(..told));
        Ok(Exchanged { accepted: transfers.len(), namespaces: 0 })
    }

    fn shutdown(&mut self) -> Result<Result<(), Failure>, Trouble> {
        Ok(Ok(()))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        client: u32,
        kind: u8,
        first_block: u64,
        blocks: u32,
    },
    /// The device ends one.
    End(usize),
    /// The device has done all or a part of one, and tells nobody yet.
    Perform(usize, u32),
    /// The driver tells what has ended.
    Tell,
    /// The driver is killed; it has told, or not.
    Kill(bool),
    /// The next driver has started.
    Come,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..3_u32, 0..10_u8, 0..BLOCKS, 1..=SLOT_BLOCKS as u32).prop_map(|(client, kind, first_block, blocks)| {
            let blocks = blocks.min((BLOCKS - first_block) as u32);
            Step::Ask { client, kind, first_block, blocks }
        }),
        6 => (0..16_usize).prop_map(Step::End),
        3 => (0..16_usize, 1..5_u32).prop_map(|(place, blocks)| Step::Perform(place, blocks)),
        5 => Just(Step::Tell),
        1 => any::<bool>().prop_map(Step::Kill),
        3 => Just(Step::Come),
    ]
}

/// A write or a read of a block, from asking to being told.
#[derive(Clone, Copy, Debug)]
struct Seen {
    block: u64,
    value: Value,
    is_write: bool,
    begin: u64,
    end: u64,
}

/// What a client has under way.
struct UnderWay {
    operation: Operation,
    begin: u64,
    value: Value,
    /// How often a driver had been killed.
    kills: u32,
}

struct World {
    device: Rc<RefCell<Device>>,
    server: Server<'static, Shared, u32>,
    room: AnswerRoom,
    clock: u64,
    kills: u32,
    value: Value,
    under_way: BTreeMap<(u32, u32), UnderWay>,
    seen: Vec<Seen>,
}

/// Where a client's slot lies in its window.
fn slot(tag: u32) -> u64 {
    u64::from(tag) * SLOT_BLOCKS * BLOCK_BYTES
}

impl World {
    fn new() -> Self {
        let device = Rc::new(RefCell::new(Device { alive: true, ..Device::default() }));
        let clients = [1, 2].map(|badge| named(badge, "same", of(blocks(1, 0, None, u64::from(badge)))));
        let mut server = Server::new(Shared(device.clone()), Memory::new(None, 0), clients);
        server.begin();
        let first = |block| Seen { block, value: 0, is_write: true, begin: 0, end: 0 };
        let mut world = Self {
            device,
            server,
            room: AnswerRoom::default(),
            clock: 1,
            kills: 0,
            value: 0,
            under_way: BTreeMap::new(),
            seen: (0..BLOCKS).map(first).collect(),
        };
        for badge in [1, 2] {
            world.server.request(badge, badge, Some(Request::Open { version: VERSION }));
            assert!(world.server.take_due().is_some());
        }
        world
    }

    /// The region's block where this block of a client's operation lies.
    fn place(client: u32, tag: u32, index: u64) -> u64 {
        ((u64::from(client) << 20) + slot(tag)) / BLOCK_BYTES + index
    }

    fn ask(&mut self, client: u32, kind: u8, first_block: u64, blocks: u32) {
        let Some(tag) = (0..SHARE).find(|tag| !self.under_way.contains_key(&(client, *tag))) else { return };
        let offset = slot(tag);
        let operation = match kind {
            0..4 => Operation::Read { first_block, blocks, offset },
            4..7 => Operation::Write { first_block, blocks, offset, durable: false },
            7 => Operation::Write { first_block, blocks, offset, durable: true },
            8 => Operation::Flush,
            _ => Operation::Compare { first_block, blocks, offset },
        };
        self.value += 1;
        for index in 0..SLOT_BLOCKS {
            self.device.borrow_mut().memory.insert(Self::place(client, tag, index), self.value);
        }
        let own = UnderWay { operation, begin: self.clock, value: self.value, kills: self.kills };
        self.under_way.insert((client, tag), own);
        self.exchange(client, &[Transfer { tag, operation }], 1);
    }

    fn exchange(&mut self, client: u32, transfers: &[Transfer], expected: u8) {
        let mut batch = BatchRoom::new();
        transfers.iter().for_each(|transfer| batch.push(transfer).unwrap());
        self.server.request(client, client, Some(Request::Exchange { transfers: batch.batch(), wait: false }));
        let mut told = Vec::new();
        while let Some(due) = self.server.take_due() {
            match self.server.answer(&due.said, &mut self.room) {
                Answer::Exchanged { accepted, completions, .. } => {
                    assert_eq!(accepted, expected);
                    told.extend(completions.iter());
                }
                other => panic!("{other:?}"),
            }
            self.server.delivered(&due.said, &self.room);
        }
        for completion in told {
            self.clock += 1;
            self.ended(client, completion.tag, completion.outcome);
        }
        self.clock += 1;
    }

    fn ended(&mut self, client: u32, tag: u32, outcome: Result<(), Failure>) {
        let own = self.under_way.remove(&(client, tag)).expect("it ends once");
        let (begin, end) = (own.begin, self.clock);
        let mut see = |first_block: u64, blocks: u32, is_write: bool| {
            for index in 0..u64::from(blocks) {
                let value = self.device.borrow().memory[&Self::place(client, tag, index)];
                assert!(!is_write || value == own.value, "the window of a write is the client's");
                self.seen.push(Seen { block: first_block + index, value, is_write, begin, end });
            }
        };
        match own.operation {
            Operation::Compare { .. } if outcome == Err(Failure::Interrupted) => assert!(own.kills < self.kills),
            _ => assert_eq!(outcome, Ok(()), "{:?}", own.operation),
        }
        match own.operation {
            Operation::Read { first_block, blocks, .. } => see(first_block, blocks, false),
            Operation::Write { first_block, blocks, durable, .. } => {
                see(first_block, blocks, true);
                if durable {
                    self.check_durable(self.clock, first_block..first_block + u64::from(blocks));
                }
            }
            Operation::Flush => self.check_durable(begin, 0..BLOCKS),
            _ => {}
        }
    }

    /// A power failure now would leave nothing older than what had been written by then.
    fn check_durable(&self, by: u64, range: core::ops::Range<u64>) {
        let writes = |block| self.seen.iter().filter(move |own| own.is_write && own.block == block);
        for block in range {
            let durable = self.device.borrow().durable[block as usize];
            // One that has not been told of yet is no older.
            let Some(left) = writes(block).find(|own| own.value == durable) else { continue };
            let lost = writes(block).find(|own| own.end <= by && left.end < own.begin);
            assert!(lost.is_none(), "block {block}: {left:?} is durable, and {lost:?} is not");
        }
    }

    /// The server is told that its driver has stopped, or has something to say; its clients take what there is.
    fn look(&mut self) {
        self.server.exchange();
        let _ = self.server.take_signals();
        while self.server.take_note().is_some() {}
        for client in [1, 2] {
            self.exchange(client, &[], 0);
        }
    }

    fn kill(&mut self, has_told: bool) {
        if has_told {
            self.look();
        }
        self.kills += 1;
        {
            let mut device = self.device.borrow_mut();
            (device.alive, device.begun) = (false, false);
            device.taken.clear();
            device.completions.clear();
        }
        self.look();
    }

    fn step(&mut self, step: Step) {
        self.clock += 1;
        match step {
            Step::Ask { client, kind, first_block, blocks } => self.ask(client, kind, first_block, blocks),
            Step::End(place) => {
                let mut device = self.device.borrow_mut();
                if !device.taken.is_empty() {
                    device.end(place);
                }
            }
            Step::Perform(place, blocks) => {
                let mut device = self.device.borrow_mut();
                if !device.taken.is_empty() {
                    let transfer = device.taken[place % device.taken.len()];
                    device.perform(&transfer, blocks);
                }
            }
            Step::Tell => self.look(),
            Step::Kill(has_told) => self.kill(has_told),
            Step::Come => {
                self.device.borrow_mut().alive = true;
                self.look();
            }
        }
    }

    /// Lets everything end, and checks what was seen.
    fn finish(mut self) {
        self.device.borrow_mut().alive = true;
        for _ in 0..100 {
            self.look();
            let mut device = self.device.borrow_mut();
            while !device.taken.is_empty() {
                device.end(0);
            }
        }
        assert!(self.under_way.is_empty(), "some never end");
        let (medium, end) = (self.device.borrow().medium, u64::MAX);
        for (block, value) in (0..).zip(medium) {
            self.seen.push(Seen { block, value, is_write: false, begin: end - 1, end });
        }
        for block in 0..BLOCKS {
            let seen: Vec<_> = self.seen.iter().filter(|own| own.block == block).copied().collect();
            if let Err(why) = register(&seen) {
                panic!("block {block} is no register: {why}\n{seen:#?}");
            }
        }
    }
}

/// Whether all this could have happened to a register.
fn register(seen: &[Seen]) -> Result<(), &'static str> {
    let mut zones = BTreeMap::<Value, (u64, u64)>::new();
    for own in seen {
        let written = seen.iter().find(|write| write.is_write && write.value == own.value);
        if written.ok_or("a value that nobody wrote")?.begin > own.end {
            return Err("a value from the future");
        }
        let (first_end, last_begin) = zones.entry(own.value).or_insert((u64::MAX, 0));
        (*first_end, *last_begin) = (own.end.min(*first_end), own.begin.max(*last_begin));
    }
    let is_forward = |zone: &(u64, u64)| zone.0 < zone.1;
    let forward: Vec<_> = zones.values().copied().filter(is_forward).collect();
    let backward: Vec<_> = zones.values().copied().filter(|zone| !is_forward(zone)).collect();
    for (index, one) in forward.iter().enumerate() {
        if forward[..index].iter().any(|other| one.0 < other.1 && other.0 < one.1) {
            return Err("two values, each seen before and after the other");
        }
        if backward.iter().any(|other| one.0 < other.1 && other.0 < one.1) {
            return Err("a value written and gone while another one stood");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_disk_whose_driver_is_killed_is_a_disk(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    }
}

#[test]
fn the_judge_knows_a_register() {
    let seen = |value, is_write, begin, end| Seen { block: 0, value, is_write, begin, end };
    let (first, one, two) = (seen(0, true, 0, 0), seen(1, true, 1, 4), seen(2, true, 2, 6));
    assert_eq!(register(&[first, one, two, seen(1, false, 7, 8)]), Ok(()), "both were under way together");
    assert_eq!(register(&[first, one, two, seen(2, false, 3, 4), seen(1, false, 7, 8)]), Ok(()));
    let back = [first, one, two, seen(1, false, 2, 3), seen(2, false, 4, 5), seen(1, false, 7, 8)];
    assert!(register(&back).is_err(), "one, then two, then one again");
    assert!(register(&[first, one, seen(2, true, 5, 6), seen(1, false, 7, 8)]).is_err(), "stale");
    assert!(register(&[first, one, seen(3, false, 7, 8)]).is_err());
}
