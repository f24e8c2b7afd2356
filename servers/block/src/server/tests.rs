//! The server against a driver under the test's control.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec as StdVec;

use heapless::Vec;
use protocol::block::Information;
use protocol::nvme::{self, NAMESPACES_MAX, Namespace, Operation};

use super::*;
use crate::driver::Exchanged;

/// What the test and its driver share.
#[derive(Default)]
struct Model {
    namespaces: StdVec<Namespace>,
    /// Answers instead of namespaces.
    no_namespaces: Option<Failure>,
    /// Answers to every exchange.
    dead: Option<Failure>,
    /// Transfers that it still takes.
    room: usize,
    /// Transfers that it has.
    taken: StdVec<Transfer>,
    /// What it has to say.
    completions: StdVec<Completion>,
    exchanges: usize,
}

impl Model {
    /// Finishes every transfer that was taken.
    fn finish(&mut self, outcome: Result<(), nvme::Failure>) {
        for transfer in self.taken.drain(..) {
            self.completions.push(Completion { tag: transfer.tag, outcome });
        }
    }
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Model>>);

impl Driver for Shared {
    fn namespaces(&mut self) -> Result<Vec<Namespace, NAMESPACES_MAX>, Failure> {
        let model = self.0.borrow();
        model.no_namespaces.map_or_else(|| Ok(Vec::from_slice(&model.namespaces).unwrap()), Err)
    }

    fn exchange(&mut self, transfers: Vec<Transfer, BATCH_MAX>) -> Result<Exchanged, Failure> {
        let mut model = self.0.borrow_mut();
        model.exchanges += 1;
        if let Some(failure) = model.dead {
            return Err(failure);
        }
        let accepted = transfers.len().min(model.room);
        model.room -= accepted;
        model.taken.extend_from_slice(&transfers[..accepted]);
        let told = model.completions.len().min(BATCH_MAX);
        let completions = model.completions.drain(..told).collect();
        Ok(Exchanged { accepted, completions })
    }
}

/// A reply handle: the number of the question.
type Question = u32;

struct Bench {
    model: Rc<RefCell<Model>>,
    server: Server<Shared, Question>,
    asked: Question,
}

fn grant(nsid: u32, first_block: u64, blocks: Option<u64>) -> Option<DiskGrant> {
    Some(DiskGrant { nsid, first_block, blocks, writable: false, window_offset: 4096, window_bytes: 1 << 20 })
}

impl Bench {
    /// Clients 1 to 3: all of namespace 1, a part of it, and a grant that is none. Clients 4 and 5: a namespace that
    /// does not exist, and one of no use.
    fn new(model: Model) -> Self {
        let model = Rc::new(RefCell::new(model));
        let clients = [
            (1, grant(1, 0, None)),
            (2, grant(1, 500, Some(100))),
            (3, None),
            (4, grant(9, 0, None)),
            (5, grant(2, 0, None)),
        ];
        let server = Server::new(Shared(model.clone()), clients);
        Self { model, server, asked: 0 }
    }

    fn ready() -> Self {
        let namespaces = std::vec![namespace(1, 1000, 512), namespace(2, 1000, 0),];
        Self::new(Model { namespaces, room: usize::MAX, ..Model::default() })
    }

    fn ask(&mut self, badge: u32, request: Request) -> Question {
        self.asked += 1;
        self.server.request(badge, self.asked, Some(request));
        self.asked
    }

    fn answers(&mut self) -> StdVec<(Question, Answer)> {
        let mut answers: StdVec<_> = core::iter::from_fn(|| self.server.take_due()).collect();
        answers.sort_by_key(|(question, _)| *question);
        answers
    }

    fn finish(&mut self, outcome: Result<(), nvme::Failure>) {
        self.model.borrow_mut().finish(outcome);
        self.server.exchange();
    }
}

fn read(first_block: u64) -> Request {
    Request::Read { first_block, blocks: 8, offset: 0 }
}

const fn failed(failure: Failure) -> Answer {
    Answer::Failed(failure)
}

#[test]
fn a_read_is_answered_when_the_device_is_done_and_not_before() {
    let mut bench = Bench::ready();
    let question = bench.ask(1, read(16));
    assert!(bench.answers().is_empty() && bench.server.is_waiting());
    bench.server.exchange();
    assert!(bench.answers().is_empty());
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(question, Answer::Done)]);
    assert!(!bench.server.is_waiting());
}

#[test]
fn each_client_sees_its_own_range() {
    let mut bench = Bench::ready();
    let question = bench.ask(2, Request::Information);
    let information = Information { nsid: 1, first_block: 500, blocks: 100, block_bytes: 512, writable: false };
    assert_eq!(bench.answers(), [(question, Answer::Information(information))]);
    let beyond = bench.ask(2, read(93));
    assert_eq!(bench.answers(), [(beyond, failed(Failure::Invalid))]);
    bench.ask(2, read(92));
    bench.ask(1, Request::Flush);
    let model = bench.model.borrow();
    let [first, second] = model.taken[..] else { panic!("{:?}", model.taken) };
    assert_eq!((first.first_block, first.blocks, first.offset, first.nsid), (592, 8, 4096, 1));
    assert_eq!(second.operation, Operation::Flush);
}

#[test]
fn clients_are_answered_in_whatever_order_the_device_finishes() {
    let mut bench = Bench::ready();
    let first = bench.ask(1, read(0));
    let second = bench.ask(2, read(0));
    let tag = bench.model.borrow().taken[1].tag;
    bench.model.borrow_mut().completions.push(Completion { tag, outcome: Ok(()) });
    bench.server.exchange();
    assert_eq!(bench.answers(), [(second, Answer::Done)]);
    bench.model.borrow_mut().taken.pop();
    bench.finish(Err(nvme::Failure::Device { kind: 2, code: 0x81 }));
    assert_eq!(bench.answers(), [(first, failed(Failure::Device { kind: 2, code: 0x81 }))]);
}

#[test]
fn a_completion_that_comes_twice_or_from_nowhere_answers_nobody() {
    let mut bench = Bench::ready();
    bench.ask(1, read(0));
    let old = bench.model.borrow().taken[0].tag;
    bench.finish(Ok(()));
    bench.answers();
    let question = bench.ask(1, read(8));
    for tag in [old, 0, u32::MAX, 7] {
        bench.model.borrow_mut().completions.push(Completion { tag, outcome: Ok(()) });
    }
    bench.server.exchange();
    assert!(bench.answers().is_empty());
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(question, Answer::Done)]);
}

#[test]
fn a_completion_of_what_the_driver_never_took_answers_nobody() {
    let mut bench = Bench::ready();
    bench.model.borrow_mut().room = 0;
    bench.ask(1, read(0));
    // The first tag that the server gives.
    bench.model.borrow_mut().completions.push(Completion { tag: 1 << 4, outcome: Ok(()) });
    bench.server.exchange();
    assert!(bench.answers().is_empty() && bench.server.is_waiting());
}

#[test]
fn what_the_driver_has_no_room_for_is_handed_over_later() {
    let mut bench = Bench::ready();
    bench.model.borrow_mut().room = 1;
    let first = bench.ask(1, read(0));
    let second = bench.ask(2, read(0));
    assert_eq!(bench.model.borrow().taken.len(), 1);
    bench.model.borrow_mut().room = 5;
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(first, Answer::Done)]);
    assert_eq!(bench.model.borrow().taken.len(), 1, "the second one, once");
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(second, Answer::Done)]);
}

#[test]
fn a_client_that_asks_again_while_its_transfer_is_under_way_is_told_busy() {
    let mut bench = Bench::ready();
    let first = bench.ask(1, read(0));
    let again = bench.ask(1, read(8));
    assert_eq!(bench.answers(), [(again, failed(Failure::Busy))]);
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(first, Answer::Done)]);
    bench.ask(1, read(8));
    assert_eq!(bench.model.borrow().taken.len(), 1);
}

#[test]
fn when_the_driver_stops_everyone_is_told_now_and_later() {
    let mut bench = Bench::ready();
    let (first, second) = (bench.ask(1, read(0)), bench.ask(2, read(0)));
    bench.server.lose(Failure::DeadPeer);
    let dead = failed(Failure::DeadPeer);
    assert_eq!(bench.answers(), [(first, dead), (second, dead)]);
    let exchanges = bench.model.borrow().exchanges;
    let later = bench.ask(1, read(0));
    let information = bench.ask(2, Request::Information);
    assert_eq!(bench.answers(), [(later, dead), (information, dead)]);
    assert_eq!(bench.model.borrow().exchanges, exchanges, "a dead driver is not asked");
    assert_eq!(bench.server.lost(), Some(Failure::DeadPeer));
}

#[test]
fn a_driver_that_dies_in_the_middle_of_a_call_is_lost_likewise() {
    let mut bench = Bench::ready();
    let first = bench.ask(1, read(0));
    bench.model.borrow_mut().dead = Some(Failure::DeadPeer);
    let second = bench.ask(2, read(0));
    let dead = failed(Failure::DeadPeer);
    assert_eq!(bench.answers(), [(first, dead), (second, dead)]);
    assert!(!bench.server.is_waiting());
}

#[test]
fn without_a_controller_there_is_no_disk() {
    let mut bench = Bench::new(Model { no_namespaces: Some(Failure::NoDisk), ..Model::default() });
    let questions = [bench.ask(1, read(0)), bench.ask(2, Request::Information)];
    assert_eq!(bench.answers(), questions.map(|question| (question, failed(Failure::NoDisk))));
    assert_eq!(bench.model.borrow().exchanges, 0);
}

#[test]
fn a_client_without_a_disk_and_a_stranger_are_told_so() {
    let mut bench = Bench::ready();
    for (badge, failure) in [(3, Failure::Denied), (4, Failure::NoDisk), (5, Failure::NoDisk), (77, Failure::Denied)] {
        let question = bench.ask(badge, read(0));
        assert_eq!(bench.answers(), [(question, failed(failure))], "badge {badge}");
    }
    bench.server.request(1, 99, None);
    assert_eq!(bench.answers(), [(99, failed(Failure::Invalid))], "malformed");
    assert_eq!(bench.model.borrow().exchanges, 0);
}

#[test]
fn a_driver_that_never_stops_talking_does_not_hold_the_server() {
    let mut bench = Bench::ready();
    bench.model.borrow_mut().completions = std::vec![Completion { tag: 3, outcome: Ok(()) }; 100_000];
    bench.server.exchange();
    assert_eq!(bench.model.borrow().exchanges, ROUNDS);
}

#[test]
fn every_request_is_answered_exactly_once_through_a_long_life() {
    let mut bench = Bench::ready();
    let mut answered = std::collections::BTreeMap::new();
    for step in 0..5000_u32 {
        // A fixed mixture of everything, so that a failure can be had again.
        let dice = step.wrapping_mul(2_654_435_761) >> 16;
        bench.model.borrow_mut().room = (dice as usize >> 4) % 3;
        match dice % 5 {
            0 => drop(bench.ask(1, read(u64::from(dice % 1100)))),
            1 => drop(bench.ask(2, read(u64::from(dice % 110)))),
            2 => drop(bench.ask(1 + dice % 4, Request::Flush)),
            3 => bench.finish(Ok(())),
            _ => bench.finish(Err(nvme::Failure::TimedOut)),
        }
        for (question, _) in bench.answers() {
            *answered.entry(question).or_insert(0) += 1;
        }
    }
    bench.server.lose(Failure::DeadPeer);
    for (question, _) in bench.answers() {
        *answered.entry(question).or_insert(0) += 1;
    }
    assert_eq!(answered.len(), bench.asked as usize);
    assert!(answered.values().all(|times| *times == 1));
}

/// A namespace that can be read and flushed.
const fn namespace(nsid: u32, blocks: u64, block_bytes: u32) -> Namespace {
    let supports =
        nvme::Operations { write: false, discard: false, write_zeroes: false, compare: false, verify: false };
    Namespace { nsid, blocks, block_bytes, supports, volatile_cache: false }
}
