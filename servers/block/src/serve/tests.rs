//! The loop against a kernel under the test's control, with the driver's and the clients' messages as bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec as StdVec;

use protocol::block::{
    Answer, ClientGrant, Completion as Ended, DiskGrant, Extent, Failure, Operation, Place, Request, Transfer, VERSION,
};
use protocol::nvme::{self, Completion, Namespace};
use task::abi::start::{Client, Grant, Granted, StartInfo};
use task::abi::system_call::{Number, PEER_STOPPED};
use task::{Environment, Frame, host};

use super::*;
use crate::driver::NvmeDriver;

/// What a receive brings, or what happens to the driver.
enum Next {
    Request {
        badge: u64,
        reply: u64,
        request: StdVec<u8>,
    },
    Malformed {
        badge: u64,
        reply: u64,
    },
    Signal(u64),
    /// All that the driver has completes, and somebody with these bits tells of it along with a signal.
    Told {
        bits: u64,
        malformed: bool,
    },
    /// Nothing, until the deadline.
    TimedOut,
    DriverDies,
    /// It is so late.
    Clock(u64),
    /// Another driver has started, and signals.
    DriverComes,
}

/// Tasks around the block server, as the kernel shows them.
#[derive(Default)]
struct World {
    next: VecDeque<Next>,
    driver_dead: bool,
    /// The server may have it stopped, and so often it did.
    reportable: bool,
    reports: usize,
    /// Requests that it forgets.
    forgets: usize,
    /// Transfers that may be posted to it, and how many were.
    room: u8,
    posted: usize,
    /// What the kernel says to whoever posts something the next time.
    refuses: Option<abi::Error>,
    /// Whether the server has begun with this driver.
    begun: bool,
    /// Nanoseconds.
    clock: u64,
    in_flight: StdVec<u32>,
    answers: StdVec<(u64, Told)>,
    signals: StdVec<u64>,
    gone: StdVec<u64>,
    lines: StdVec<String>,
    ready: StdVec<u64>,
    deadlines: StdVec<u64>,
    /// How often the driver was asked to exchange.
    exchanges: usize,
}

/// A message as the kernel takes it from, or gives it to, words or the IPC buffer.
fn take(frame: &Frame, buffer: &[u8]) -> StdVec<u8> {
    let length = frame.arguments[1] as usize;
    let words: StdVec<u8> = frame.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if length <= words.len() { words[..length].to_vec() } else { buffer[..length].to_vec() }
}

fn give(frame: &mut Frame, buffer: &mut [u8], bytes: &[u8]) {
    frame.words = [0; 6];
    frame.arguments[1] = bytes.len() as u64;
    if bytes.len() > 48 {
        buffer[..bytes.len()].copy_from_slice(bytes);
    } else {
        for (index, byte) in bytes.iter().enumerate() {
            frame.words[index / 8] |= u64::from(*byte) << (index % 8 * 8);
        }
    }
}

fn encode(message: &impl serde::Serialize) -> StdVec<u8> {
    let mut room = [0; 4096];
    postcard::to_slice(message, &mut room).unwrap().to_vec()
}

impl World {
    /// The bytes of what the driver answers.
    fn driver(&mut self, request: nvme::Request<'_>) -> StdVec<u8> {
        match request {
            nvme::Request::Namespaces => {
                let namespaces: nvme::BatchRoom<_> =
                    [namespace(1, 1000, 512), namespace(2, 50, 0)].into_iter().collect();
                encode(&nvme::Answer::Namespaces(namespaces.batch()))
            }
            nvme::Request::Exchange(_) if !self.begun => encode(&nvme::Answer::NotBegun),
            nvme::Request::Exchange(transfers) => {
                self.exchanges += 1;
                let mut completions = nvme::BatchRoom::new();
                if transfers.is_empty() {
                    for tag in self.in_flight.drain(..) {
                        completions.push(&Completion { tag, outcome: Ok(()) }).unwrap();
                    }
                }
                self.in_flight.extend(transfers.iter().map(|transfer| transfer.tag));
                let forgotten = self.forgets.min(self.in_flight.len());
                self.in_flight.drain(..forgotten);
                self.forgets -= forgotten;
                let accepted = transfers.len() as u8;
                encode(&nvme::Answer::Exchanged { accepted, completions: completions.batch(), namespaces: 0 })
            }
            nvme::Request::Begin => {
                self.begun = true;
                encode(&nvme::Answer::Begun { room: self.room })
            }
            nvme::Request::Controller => encode(&nvme::Answer::Controller(nvme::Controller {
                model: heapless::String::new(),
                serial: heapless::String::new(),
                firmware: heapless::String::new(),
                version: 0,
                namespaces: 2,
                transfer_bytes_max: 4096,
            })),
            nvme::Request::Shutdown => encode(&nvme::Answer::NoController),
        }
    }

    fn answer(&mut self, frame: &Frame, buffer: &[u8]) -> bool {
        let reply = frame.arguments[0];
        let bytes = take(frame, buffer);
        let answer = postcard::from_bytes(&bytes).expect("an answer is an answer");
        let good = !self.gone.contains(&reply);
        match answer {
            _ if !good => {}
            Answer::Information(_) => {}
            Answer::Exchanged { completions, .. } => {
                self.answers.push((reply, Told::Exchanged(completions.iter().collect())))
            }
            Answer::Done => self.answers.push((reply, Told::Done)),
            Answer::Failed(failure) => self.answers.push((reply, Told::Failed(failure))),
            other => panic!("{other:?}"),
        }
        good
    }

    fn system_call(&mut self, frame: &mut Frame, buffer: &mut [u8]) {
        match Number::new(frame.code).expect("a call that exists") {
            Number::Call if self.driver_dead => host::fail(frame, abi::Error::DeadPeer),
            Number::Call => {
                assert_ne!(frame.arguments[2], u64::MAX, "the driver is asked with a deadline");
                let bytes = take(frame, buffer);
                let answer = self.driver(postcard::from_bytes(&bytes).expect("a request is a request"));
                give(frame, buffer, &answer);
            }
            Number::Reply => {
                if !self.answer(frame, buffer) {
                    host::fail(frame, abi::Error::Invalid);
                }
            }
            Number::ReplyReceive => {
                if frame.arguments[0] != 0 && !self.answer(frame, buffer) {
                    return host::fail(frame, abi::Error::Invalid);
                }
                self.deadlines.push(frame.arguments[2]);
                self.receive(frame, buffer);
            }
            Number::PostReceive => {
                assert_eq!((frame.arguments[0], frame.arguments[3]), (2, 1), "to the driver, and waits for clients");
                if let Some(error) = self.refuses.take() {
                    self.driver_dead |= error == abi::Error::DeadPeer;
                    self.begun &= !self.driver_dead;
                    return host::fail(frame, error);
                }
                let bytes = take(frame, buffer);
                let Ok(nvme::Request::Exchange(transfers)) = postcard::from_bytes(&bytes) else { panic!("{bytes:?}") };
                self.in_flight.extend(transfers.iter().map(|transfer| transfer.tag));
                self.posted += transfers.len();
                assert!(self.in_flight.len() <= self.room.into(), "no more than there is room for");
                self.deadlines.push(frame.arguments[2]);
                self.receive(frame, buffer);
            }
            Number::Log => {
                let text = buffer[..frame.arguments[1] as usize].to_vec();
                self.lines.push(String::from_utf8(text).unwrap());
            }
            Number::Signal => self.signals.push(frame.arguments[0]),
            Number::Ready => self.ready.push(frame.arguments[0]),
            Number::Kill => {
                assert_eq!(frame.arguments[..2], [5, task::abi::supervision::Ending::Report as u64]);
                self.reports += 1;
                (self.driver_dead, self.begun) = (true, false);
                self.in_flight.clear();
            }
            Number::Clock => frame.arguments[0] = self.clock,
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, frame: &mut Frame, buffer: &mut [u8]) {
        let (badge, reply, bytes) = match self.next.pop_front() {
            Some(Next::Request { badge, reply, request }) => (badge, reply, request),
            Some(Next::Malformed { badge, reply }) => (badge, reply, std::vec![0xff; 60]),
            Some(Next::Signal(bits)) => {
                frame.arguments = [0, 0, bits, 0];
                return;
            }
            Some(Next::Told { bits, malformed }) => {
                let mut completions = nvme::BatchRoom::new();
                if bits == DRIVER {
                    for tag in self.in_flight.drain(..) {
                        completions.push(&Completion { tag, outcome: Ok(()) }).unwrap();
                    }
                } else {
                    // Somebody else would have all of them failed.
                    for tag in &self.in_flight {
                        completions.push(&Completion { tag: *tag, outcome: Err(nvme::Failure::Gone) }).unwrap();
                    }
                }
                let notice = encode(&nvme::Notice { completions: completions.batch(), namespaces: 0 });
                let bytes = if malformed { std::vec![0xff; 50] } else { notice };
                give(frame, buffer, &bytes);
                frame.arguments = [0, bytes.len() as u64, bits, 0];
                return;
            }
            Some(Next::TimedOut) => {
                assert_ne!(frame.arguments[2], u64::MAX, "it waits for ever");
                self.clock = self.clock.max(frame.arguments[2]);
                return host::fail(frame, abi::Error::TimedOut);
            }
            Some(Next::Clock(now)) => {
                self.clock = now;
                return self.receive(frame, buffer);
            }
            Some(Next::DriverComes) => {
                self.driver_dead = false;
                frame.arguments = [0, 0, 1, 0];
                return;
            }
            Some(Next::DriverDies) => {
                (self.driver_dead, self.begun) = (true, false);
                self.in_flight.clear();
                frame.arguments = [0, 0, PEER_STOPPED, 0];
                return;
            }
            // The end of the test: the loop goes on for ever otherwise.
            None => return host::fail(frame, abi::Error::Denied),
        };
        give(frame, buffer, &bytes);
        frame.arguments = [reply, bytes.len() as u64, badge, 0];
    }
}

/// Runs the loop until what comes `next` is used up.
fn run(world: World) -> World {
    let disk = |nsid, signal| {
        let extent = Extent::Blocks { first_block: 0, blocks: None };
        let window = Some(Place { offset: 0, bytes: 1 << 20 });
        let disk = DiskGrant { nsid, extent, writable: false, window, share: 4 };
        encode(&ClientGrant { disk: Some(disk), shutdown: false, signal }).leak()
    };
    let (told, grant, missing) = (&*disk(1, Some("tell-one")), &*disk(1, None), &*disk(2, None));
    let mut start = StartInfo { task: "block", grants: Vec::new(), clients: Vec::new(), settings: Vec::new() };
    for (name, granted) in [
        ("requests", Granted::Receive { handle: 1 }),
        ("driver", Granted::Call { handle: 2, bits: DRIVER }),
        ("log", Granted::Log { handle: 3 }),
        ("tell-one", Granted::Signal { handle: 4, badge: 1 }),
    ] {
        start.grants.push(Grant { name, granted }).unwrap();
    }
    if world.reportable {
        start.grants.push(Grant { name: "stop", granted: Granted::Kill { handle: 5 } }).unwrap();
    }
    for (badge, task, parameters) in [(1, "one", told), (2, "two", grant), (3, "three", &[]), (4, "four", missing)] {
        start.clients.push(Client { badge, task, parameters }).unwrap();
    }
    let environment = Environment::new(start);
    let world = Rc::new(RefCell::new(world));
    let kernel = world.clone();
    host::with(
        move |frame: &mut Frame, buffer: &mut [u8]| kernel.borrow_mut().system_call(frame, buffer),
        || {
            let driver = NvmeDriver::new(environment.grant("driver").unwrap(), environment.optional("stop"));
            let requests = environment.grant("requests").unwrap();
            let means = Means {
                requests,
                driver: environment.grant("driver").unwrap(),
                window: None,
                log: environment.optional("log"),
            };
            serve(driver, &means, &environment).unwrap_err();
        },
    );
    Rc::into_inner(world).unwrap().into_inner()
}

/// Bits of the driver's signal.
const DRIVER: u64 = 8;
const READ: Operation = Operation::Read { first_block: 0, blocks: 8, offset: 0 };

fn read(badge: u64, reply: u64) -> Next {
    Next::Request { badge, reply, request: encode(&Request::Transfer(READ.into())) }
}

fn exchange(badge: u64, reply: u64, tags: &[u32], wait: bool) -> Next {
    let mut room = protocol::block::BatchRoom::new();
    tags.iter().for_each(|tag| room.push(&Transfer { tag: *tag, operation: READ }).unwrap());
    Next::Request { badge, reply, request: encode(&Request::Exchange { transfers: room.batch(), wait }) }
}

/// Both clients open their disks.
fn open() -> [Next; 2] {
    [1, 2].map(|badge| Next::Request { badge, reply: 60 + badge, request: encode(&Request::Open { version: VERSION }) })
}

/// An answer, owned, but for those to [`open`].
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Done,
    Failed(Failure),
    Exchanged(StdVec<Ended>),
}

fn after(next: impl IntoIterator<Item = Next>) -> World {
    run(World { next: open().into_iter().chain(next).collect(), ..World::default() })
}

#[test]
fn it_says_what_it_serves_and_what_is_wrong_with_the_rest() {
    let world = after([]);
    assert_eq!(
        world.lines,
        [
            "grant without a disk client=three",
            "namespace format not usable nsid=2 client=four",
            "ready nsid=1 blocks=1000 block_bytes=512",
        ]
    );
    assert_eq!(world.ready, [0]);
    assert!(world.deadlines.iter().all(|deadline| *deadline == u64::MAX));
}

#[test]
fn two_clients_wait_and_are_answered_together() {
    let world = after([read(1, 71), read(2, 72), Next::Signal(1)]);
    let mut answers = world.answers;
    answers.sort_by_key(|(reply, _)| *reply);
    assert_eq!(answers, [(71, Told::Done), (72, Told::Done)]);
}

#[test]
fn what_the_driver_tells_with_its_signal_need_not_be_asked_for() {
    let tags = [5, 6, 7, 8];
    for (ask, tags) in [(exchange(1, 71, &tags[..1], true), &tags[..1]), (exchange(1, 71, &tags, true), &tags)] {
        let world = after([ask, Next::Told { bits: DRIVER, malformed: false }]);
        let ended = tags.iter().map(|tag| Ended { tag: *tag, outcome: Ok(()) }).collect();
        assert_eq!((world.answers, world.exchanges), (std::vec![(71, Told::Exchanged(ended))], 2));
    }
}

#[test]
fn what_there_is_room_for_is_posted_and_not_asked() {
    let told = || Next::Told { bits: DRIVER, malformed: false };
    let next = [exchange(1, 71, &[5, 6, 7, 8], true), read(2, 72), told(), told()];
    let next = open().into_iter().chain(next).collect();
    let world = run(World { next, room: 4, ..World::default() });
    let ended = [5, 6, 7, 8].map(|tag| Ended { tag, outcome: Ok(()) }).to_vec();
    // The first exchange is the server's own, when it begins. The fifth transfer is more than there is room for.
    assert_eq!((world.posted, world.exchanges), (4, 2));
    assert_eq!(world.answers, [(72, Told::Done), (71, Told::Exchanged(ended))]);
}

#[test]
fn a_driver_that_does_not_wait_to_be_given_something_is_asked() {
    let next = open().into_iter().chain([read(1, 71), Next::Signal(1)]).collect();
    let world = run(World { next, room: 64, refuses: Some(abi::Error::Busy), ..World::default() });
    assert_eq!((world.answers, world.posted), (std::vec![(71, Told::Done)], 0));
}

#[test]
fn what_a_driver_was_to_be_given_when_it_stopped_is_given_to_the_next() {
    let told = Next::Told { bits: DRIVER, malformed: false };
    let next = open().into_iter().chain([read(1, 71), Next::DriverComes, told]).collect();
    let world = run(World { next, room: 64, refuses: Some(abi::Error::DeadPeer), ..World::default() });
    assert_eq!((world.answers, world.posted), (std::vec![(71, Told::Done)], 0));
    assert_eq!(world.lines[3..], ["driver away reason=dead-peer requests=1", "driver back requests=1"]);
}

#[test]
fn what_somebody_else_tells_is_a_signal_like_any_other() {
    let world = after([read(1, 71), Next::Told { bits: 4, malformed: false }]);
    assert_eq!((world.answers, world.exchanges), (std::vec![(71, Told::Done)], 3), "the driver was asked");
}

#[test]
fn a_driver_that_tells_nonsense_is_begun_with_anew() {
    let world = after([read(1, 71), Next::Told { bits: DRIVER, malformed: true }, Next::Signal(DRIVER)]);
    assert_eq!(world.answers, [(71, Told::Done)]);
    assert_eq!(world.lines[3..], ["driver away reason=dead-peer requests=1", "driver back requests=1"]);
}

#[test]
fn a_lost_signal_costs_time_only() {
    let world = after([read(1, 71), Next::TimedOut]);
    assert_eq!(world.answers, [(71, Told::Done)]);
    assert_eq!(world.deadlines[2..], [u64::MAX, 0, u64::MAX], "it looks again only while somebody waits");
}

#[test]
fn a_client_that_is_gone_does_not_hurt_others() {
    let next = [read(1, 71), read(2, 72), Next::Signal(1), read(1, 73), Next::Signal(1)];
    let next = open().into_iter().chain(next).collect();
    let world = run(World { next, gone: std::vec![71], ..World::default() });
    assert_eq!(world.answers, [(72, Told::Done), (73, Told::Done)]);
}

#[test]
fn completions_that_nobody_waited_for_are_kept() {
    let next = [exchange(1, 71, &[5, 6], true), Next::Signal(1), exchange(1, 72, &[], false)];
    let next = open().into_iter().chain(next).collect();
    let world = run(World { next, gone: std::vec![71], ..World::default() });
    let ended = [5, 6].map(|tag| Ended { tag, outcome: Ok(()) }).to_vec();
    assert_eq!(world.answers, [(72, Told::Exchanged(ended))]);
}

#[test]
fn a_client_is_signalled_through_the_grant_that_names_it() {
    let world = after([exchange(1, 71, &[5], false), exchange(2, 72, &[5], false), Next::Signal(1)]);
    assert_eq!(world.signals, [4], "the first has a signal, the second has not");
}

#[test]
fn a_malformed_request_is_answered_and_forgotten() {
    let world = after([Next::Malformed { badge: 1, reply: 71 }, read(1, 72), Next::Signal(1)]);
    assert_eq!(world.answers, [(71, Told::Failed(Failure::Invalid)), (72, Told::Done)]);
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn when_the_driver_dies_requests_wait_for_the_next_one() {
    let next = [read(1, 71), Next::DriverDies, read(2, 72), Next::TimedOut, Next::DriverComes, Next::Signal(1)];
    let world = after(next);
    assert_eq!(world.answers, [(71, Told::Done), (72, Told::Done)]);
    assert_eq!(world.lines[3..], ["driver away reason=dead-peer requests=1", "driver back requests=1"]);
    assert_eq!(world.deadlines.last(), Some(&u64::MAX), "then it does not look any more");
}

#[test]
fn a_driver_that_restarts_between_two_calls_is_noticed() {
    let next = [read(1, 71), Next::DriverDies, Next::DriverComes, Next::Signal(1)];
    assert_eq!(after(next).answers, [(71, Told::Done)]);
}

/// The times at which it looks for a driver, until it gives up.
fn gives_up() -> impl Iterator<Item = Next> {
    std::iter::repeat_with(|| Next::TimedOut).take(31)
}

#[test]
fn when_no_driver_comes_in_time_all_are_told_and_so_is_the_log() {
    let world = after([read(1, 71), Next::DriverDies, read(2, 72)].into_iter().chain(gives_up()).chain([read(2, 73)]));
    let dead = Told::Failed(Failure::DeadPeer);
    assert_eq!(world.answers, [(71, dead.clone()), (72, dead.clone()), (73, dead)]);
    assert_eq!(world.lines.last().unwrap(), "driver lost reason=dead-peer");
    assert_eq!(world.clock, 30 * SECOND);
}

#[test]
fn a_driver_that_comes_after_all_is_used() {
    let lost = [read(1, 71), Next::DriverDies].into_iter().chain(gives_up());
    let world = after(lost.chain([Next::DriverComes, read(2, 72), Next::Signal(1)]));
    assert_eq!(world.answers, [(71, Told::Failed(Failure::DeadPeer)), (72, Told::Done)]);
}

#[test]
fn a_driver_that_is_dead_from_the_start_is_no_reason_not_to_serve() {
    let next = open().into_iter().take(1).chain([Next::TimedOut, Next::DriverComes, read(1, 71), Next::Signal(1)]);
    let world = run(World { next: next.collect(), driver_dead: true, ..World::default() });
    assert_eq!(world.answers, [(71, Told::Done)], "its client has waited");
    assert_eq!(world.lines[0], "driver away reason=dead-peer requests=0");
    assert_eq!(
        (world.lines.last().unwrap().as_str(), world.ready),
        ("ready nsid=1 blocks=1000 block_bytes=512", std::vec![0])
    );
}

#[test]
fn a_request_that_the_driver_forgets_is_given_to_the_next_one_when_it_is_overdue() {
    let waits = std::iter::repeat_with(|| Next::TimedOut).take(REQUEST_SECONDS as usize + 2);
    let next = open().into_iter().chain([read(1, 71)]).chain(waits).chain([Next::DriverComes, Next::Signal(1)]);
    let world = run(World { next: next.collect(), reportable: true, forgets: 1, ..World::default() });
    assert_eq!((world.answers, world.reports), (std::vec![(71, Told::Done)], 1));
    let overdue = u64::from(REQUEST_SECONDS) * SECOND;
    assert!((overdue..overdue + 3 * SECOND).contains(&world.clock), "{}", world.clock);
    assert_eq!(world.lines[3], "driver failed reason=request-overdue requests=1");
}

#[test]
fn a_request_is_overdue_in_time_though_others_keep_the_server_from_waiting() {
    const TURNS: u64 = 300;
    let other = |turn: u64| {
        let clock = Next::Clock(turn / TURNS * SECOND);
        [clock, read(2, 1000 + turn), Next::Signal(1)]
    };
    let others = (0..TURNS * (u64::from(REQUEST_SECONDS) + 3)).flat_map(other);
    let next = open().into_iter().chain([read(1, 71)]).chain(others);
    let world = run(World { next: next.collect(), reportable: true, forgets: 1, ..World::default() });
    assert_eq!(world.reports, 1);
}

/// A namespace that can be read and flushed.
const fn namespace(nsid: u32, blocks: u64, block_bytes: u32) -> Namespace {
    let supports =
        nvme::Operations { write: false, discard: false, write_zeroes: false, compare: false, verify: false };
    Namespace { nsid, blocks, block_bytes, supports, volatile_cache: false }
}
