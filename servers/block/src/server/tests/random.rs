//! Random lives of a server: requests of every kind, clients that give up or begin anew, a driver that takes little,
//! reorders, forges and repeats completions, that stops and comes back, namespaces that change, a device that goes.
//!
//! What must hold, whatever happens: every question is answered at most once, and once unless its client has gone on to
//! another one; every transfer that was taken completes exactly once; nothing outside a client's range and direction
//! ever reaches the driver; once everything has ended, no request is left.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use protocol::block::{Failure, Operation, Request, Transfer, VERSION};
use protocol::nvme::{self, Completion};

use super::bench::*;

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Ask(u32, Op),
    Exchange(u32, Vec<Op>, bool),
    /// The driver has room for so many more.
    Room(usize),
    /// So many transfers end, those at these places, well or badly.
    Finish(usize, usize, bool),
    /// A completion that is nobody's, or of something in flight but with another count.
    Forge(u32),
    /// The last completion comes again.
    Repeat,
    /// Namespace 1 has so many blocks now.
    Resize(u64),
    Gone,
    /// The driver stops, with all that it has.
    Die,
    /// The next one has started.
    Come,
    /// Nobody waits for a driver any longer.
    GiveUpDriver,
    /// The client stops waiting.
    GiveUp(u32),
}

#[derive(Clone, Debug)]
struct Op {
    kind: u8,
    first_block: u64,
    blocks: u32,
    offset: u64,
}

impl Op {
    fn operation(&self) -> Operation {
        let &Self { kind, first_block, blocks, offset } = self;
        match kind {
            0 => Operation::Read { first_block, blocks, offset },
            1 => Operation::Write { first_block, blocks, offset, durable: false },
            2 => Operation::Flush,
            3 => Operation::Discard { first_block, blocks },
            4 => Operation::WriteZeroes { first_block, blocks },
            5 => Operation::Compare { first_block, blocks, offset },
            _ => Operation::Verify { first_block, blocks },
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let first = prop_oneof![0..600_u64, Just(u64::MAX)];
    let offset = prop_oneof![(0..1100_u64).prop_map(|kib| kib << 10), Just(u64::MAX - 3), 0..64_u64];
    (0..7_u8, first, 0..64_u32, offset).prop_map(|(kind, first_block, blocks, offset)| Op {
        kind,
        first_block,
        blocks,
        offset,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let client = 1..5_u32;
    prop_oneof![
        2 => client.clone().prop_map(Step::Open),
        6 => (client.clone(), op()).prop_map(|(client, op)| Step::Ask(client, op)),
        6 => (client.clone(), proptest::collection::vec(op(), 0..40), any::<bool>())
            .prop_map(|(client, ops, wait)| Step::Exchange(client, ops, wait)),
        4 => (0..40_usize).prop_map(Step::Room),
        8 => (0..40_usize, 0..40_usize, any::<bool>()).prop_map(|(at, count, well)| Step::Finish(at, count, well)),
        2 => any::<u32>().prop_map(Step::Forge),
        2 => Just(Step::Repeat),
        1 => (1..1200_u64).prop_map(Step::Resize),
        1 => client.prop_map(Step::GiveUp),
        2 => Just(Step::Die),
        3 => Just(Step::Come),
        1 => proptest::bool::weighted(0.1).prop_map(|yes| if yes { Step::GiveUpDriver } else { Step::Come }),
    ]
}

/// What the test knows of what it asked.
#[derive(Default)]
struct Books {
    /// Each client's question that it waits for.
    waiting: BTreeMap<u32, Question>,
    answered: BTreeSet<Question>,
    /// Transfers that were handed over with an exchange that is not answered yet, by question.
    offered: BTreeMap<Question, Vec<u32>>,
    /// Tags that were taken and have not completed, by client.
    open: BTreeMap<u32, BTreeSet<u32>>,
    next_tag: u32,
}

impl Books {
    fn take(&mut self, bench: &mut Bench) {
        let waiting: BTreeMap<Question, u32> = self.waiting.iter().map(|(client, own)| (*own, *client)).collect();
        for (question, told) in bench.answers_if(|question| waiting.contains_key(&question)) {
            let client = waiting[&question];
            assert!(self.answered.insert(question), "question {question} is answered twice");
            self.waiting.remove(&client);
            let open = self.open.entry(client).or_default();
            match told {
                Told::Exchanged { accepted, completions, .. } => {
                    let offered = self.offered.remove(&question).expect("it was an exchange");
                    for tag in &offered[..accepted.into()] {
                        assert!(open.insert(*tag));
                    }
                    for completion in completions {
                        assert!(
                            open.remove(&completion.tag),
                            "transfer {} completed twice or never was",
                            completion.tag
                        );
                    }
                }
                Told::Failed(_) => {
                    self.offered.remove(&question);
                }
                _ => {}
            }
        }
    }

    /// A client asks something: it no longer waits for what it asked before.
    fn ask(&mut self, client: u32) {
        if let Some(old) = self.waiting.remove(&client)
            && self.offered.remove(&old).is_some()
        {
            // It does not know what was taken, and begins anew, as the documentation says.
            self.open.remove(&client);
        }
    }
}

/// Whether everything that the driver was ever given lies where some client's grant says.
fn check_history(bench: &Bench, from: usize) {
    for transfer in &bench.model.borrow().history[from..] {
        let range = |first: u64, blocks: u64| {
            transfer.first_block >= first && transfer.first_block + u64::from(transfer.blocks) <= first + blocks
        };
        let data = transfer.operation.has_data();
        let bytes = if data { u64::from(transfer.blocks) * 512 } else { 0 };
        let window = |at: u64| !data || transfer.offset >= at && transfer.offset + bytes <= at + (1 << 20);
        let changes = transfer.operation.changes_blocks();
        let is_somebodys = transfer.operation == nvme::Operation::Flush
            || transfer.nsid == 1 && range(100, 200) && window(0)
            || transfer.nsid == 1 && range(300, 300) && window(1 << 20) && !changes
            || transfer.nsid == 2 && range(0, 500) && window(2 << 20);
        assert!(is_somebodys, "{transfer:?} is nobody's");
    }
}

fn live(steps: Vec<Step>) {
    let mut reads = blocks(1, 300, Some(300), 1);
    reads.writable = false;
    let clients = std::vec![
        named(1, "one", of(blocks(1, 100, Some(200), 0))),
        named(2, "two", of(reads)),
        named(3, "three", of(blocks(2, 0, None, 2))),
        named(4, "four", None),
    ];
    let namespaces = std::vec![namespace(1, 1000, 512), namespace(2, 500, 512)];
    let mut bench = Bench::new(Model { namespaces, ..Model::default() }, 0, clients);
    let mut books = Books::default();
    let mut last = None;
    for step in steps {
        let checked = bench.model.borrow().history.len();
        match step {
            Step::Open(client) => {
                books.ask(client);
                books.open.remove(&client);
                let question = bench.ask(client, Request::Open { version: VERSION });
                books.waiting.insert(client, question);
            }
            Step::Ask(client, op) if !books.waiting.contains_key(&client) => {
                let question = bench.transfer(client, op.operation());
                books.waiting.insert(client, question);
            }
            Step::Exchange(client, ops, wait) if !books.waiting.contains_key(&client) => {
                let transfers: Vec<_> = ops
                    .iter()
                    .take(32)
                    .map(|op| {
                        books.next_tag += 1;
                        Transfer { tag: books.next_tag, operation: op.operation() }
                    })
                    .collect();
                let question = bench.exchange(client, &transfers, wait);
                books.waiting.insert(client, question);
                books.offered.insert(question, transfers.iter().map(|own| own.tag).collect());
            }
            Step::Ask(..) | Step::Exchange(..) => {}
            Step::Room(room) => bench.model.borrow_mut().room = room,
            Step::Finish(at, count, well) => {
                {
                    let mut model = bench.model.borrow_mut();
                    for _ in 0..count.min(model.taken.len()) {
                        let place = at % model.taken.len();
                        let tag = model.taken.remove(place).tag;
                        let outcome = if well { Ok(()) } else { Err(nvme::Failure::TimedOut) };
                        last = Some(Completion { tag, outcome });
                        model.completions.push(Completion { tag, outcome });
                    }
                }
                bench.server.exchange();
            }
            Step::Forge(tag) => {
                let in_flight: BTreeSet<_> = bench.model.borrow().taken.iter().map(|own| own.tag).collect();
                if !in_flight.contains(&tag) {
                    bench.model.borrow_mut().completions.push(Completion { tag, outcome: Ok(()) });
                }
                // Nearly right: another use of an entry that is in flight.
                for tag in in_flight {
                    bench.model.borrow_mut().completions.push(Completion { tag: tag ^ 0x100, outcome: Ok(()) });
                }
                bench.server.exchange();
            }
            Step::Repeat => {
                bench.model.borrow_mut().completions.extend(last);
                bench.server.exchange();
            }
            Step::Resize(blocks) => {
                {
                    let mut model = bench.model.borrow_mut();
                    model.namespaces[0] = namespace(1, blocks, 512);
                    model.number += 1;
                }
                bench.server.exchange();
            }
            Step::Gone => bench.server.lose(Failure::Gone),
            Step::Die => {
                bench.model.borrow_mut().die();
                last = None;
                bench.server.exchange();
            }
            Step::Come => {
                bench.model.borrow_mut().dead = None;
                bench.server.exchange();
            }
            Step::GiveUpDriver => bench.server.give_up(),
            Step::GiveUp(client) => {
                if let Some(old) = books.waiting.get(&client).copied()
                    && !books.offered.contains_key(&old)
                {
                    books.waiting.remove(&client);
                }
            }
        }
        books.take(&mut bench);
        check_history(&bench, checked);
    }

    bench.model.borrow_mut().dead = None;
    // The driver ends what it has; everybody takes what is theirs.
    for _ in 0..40 {
        bench.model.borrow_mut().room = usize::MAX;
        bench.finish(Ok(()));
        books.take(&mut bench);
    }
    let lost = bench.server.lost().is_some();
    for client in 1..=3 {
        assert!(!books.waiting.contains_key(&client), "client {client} waits for ever");
        if lost {
            continue;
        }
        for _ in 0..8 {
            let question = bench.exchange(client, &[], true);
            books.waiting.insert(client, question);
            books.offered.insert(question, Vec::new());
            books.take(&mut bench);
        }
        assert!(books.open.get(&client).is_none_or(BTreeSet::is_empty), "transfers that never completed");
    }
    assert!(!bench.server.is_waiting(), "something is left");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_exactly_once(
        steps in proptest::collection::vec(step(), 1..150),
        gone in proptest::option::weighted(0.2, 0..150_usize),
    ) {
        let mut steps = steps;
        steps.splice(0..0, [Step::Open(1), Step::Open(2), Step::Open(3), Step::Room(1000)]);
        if let Some(at) = gone {
            let at = at.min(steps.len());
            steps.insert(at, Step::Gone);
        }
        live(steps);
    }
}
