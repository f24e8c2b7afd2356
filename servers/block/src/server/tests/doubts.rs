//! Drivers that go on and cannot be right.

use std::string::String;
use std::vec::Vec;

use protocol::block::{Failure, Operation, Transfer};
use protocol::nvme;

use super::bench::*;
use crate::driver::Trouble;

/// Ticks for which the driver may have a request.
const PATIENCE: u32 = 5;

/// Clients 1 and 2 may do everything with a half of namespace 1 each.
fn two() -> Bench {
    let namespaces = std::vec![namespace(1, 1000, 512)];
    let clients =
        std::vec![named(1, "one", of(blocks(1, 0, Some(500), 0))), named(2, "two", of(blocks(1, 500, None, 1)))];
    let model = Model { namespaces, room: usize::MAX, reportable: true, ..Model::default() };
    let mut bench = Bench::new(model, 0, clients);
    bench.server.expect_within(PATIENCE);
    bench.open(1);
    bench.open(2);
    bench.notes.clear();
    bench
}

impl Bench {
    fn reports(&self) -> usize {
        self.model.borrow().reports
    }

    /// Another driver has started, and signals.
    fn next_driver(&mut self) {
        self.model.borrow_mut().dead = None;
        self.server.exchange();
    }

    /// The driver says this of everything that it has.
    fn says(&mut self, failure: nvme::Failure) {
        self.finish(Err(failure));
    }

    fn ticks(&mut self, count: u32) {
        (0..count).for_each(|_| self.server.tick());
    }

    /// Reasons for which drivers were stopped.
    fn reasons(&mut self) -> Vec<String> {
        self.ask(9, protocol::block::Request::Information);
        self.answers();
        self.lines().into_iter().filter(|line| line.starts_with("driver failed")).collect()
    }
}

const SAID: [nvme::Failure; 8] = [
    nvme::Failure::Invalid,
    nvme::Failure::Denied,
    nvme::Failure::Unsupported,
    nvme::Failure::Stopped,
    nvme::Failure::Different,
    nvme::Failure::Gone,
    nvme::Failure::Device { kind: 0, code: 0x02 },
    nvme::Failure::TimedOut,
];

#[test]
fn a_request_that_the_driver_forgets_is_done_by_the_next_one() {
    let mut bench = two();
    let forgotten = bench.transfer(1, read(0));
    bench.model.borrow_mut().taken.clear();
    // Others are served meanwhile.
    for _ in 0..PATIENCE {
        let other = bench.transfer(2, read(0));
        bench.finish(Ok(()));
        assert_eq!(bench.answers(), [(other, Told::Done)]);
        bench.ticks(1);
    }
    assert_eq!(bench.reports(), 0, "it may be as late as that");
    bench.ticks(1);
    assert_eq!(bench.reports(), 1);
    bench.next_driver();
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(forgotten, Told::Done)]);
    assert_eq!(bench.reasons(), ["driver failed reason=request-overdue requests=1"]);
}

#[test]
fn a_request_that_every_driver_forgets_fails_once_none_has_it_any_more() {
    let mut bench = two();
    let forgotten = bench.transfer(1, read(0));
    let other = bench.transfer(2, read(0));
    for report in 1..=3 {
        bench.model.borrow_mut().taken.retain(|own| own.first_block != 0);
        bench.finish(Ok(()));
        bench.ticks(PATIENCE + 1);
        assert_eq!(bench.reports(), report);
        assert!(bench.answers().iter().all(|(to, _)| *to == other), "its device may still be at it");
        bench.next_driver();
    }
    assert_eq!(bench.answers(), [(forgotten, failed(Failure::TimedOut))]);
    assert_eq!(bench.taken(), 0);
    let again = bench.transfer(1, read(0));
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(again, Told::Done)], "the disk is there");
}

#[test]
fn a_driver_that_takes_nothing_is_stopped() {
    let mut bench = two();
    bench.model.borrow_mut().room = 0;
    let waiting = bench.transfer(1, read(0));
    bench.ticks(PATIENCE);
    assert_eq!(bench.reports(), 0);
    bench.ticks(1);
    assert_eq!(bench.reports(), 1);
    bench.model.borrow_mut().room = 9;
    bench.next_driver();
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(waiting, Told::Done)]);
    bench.ticks(10 * PATIENCE);
    assert_eq!(bench.reports(), 1, "there is nothing to take");
}

#[test]
fn what_no_driver_that_works_says_is_not_told_to_clients_if_the_next_one_does_not_say_it() {
    for said in SAID {
        let mut bench = two();
        let one = bench.transfer(1, read(0));
        let two = bench.transfer(2, Operation::Write { first_block: 0, blocks: 1, offset: 0, durable: false });
        bench.says(said);
        assert_eq!(bench.reports(), 1, "{said:?}");
        assert_eq!(bench.answers(), []);
        bench.next_driver();
        assert_eq!(bench.taken(), 2);
        bench.finish(Ok(()));
        assert_eq!(bench.answers(), [(one, Told::Done), (two, Told::Done)], "{said:?}");
    }
}

#[test]
fn what_three_drivers_say_is_believed_and_the_next_time_one() {
    let mut bench = two();
    let denied = bench.transfer(1, read(0));
    for report in 1..=2 {
        bench.says(nvme::Failure::Denied);
        assert_eq!(bench.reports(), report);
        bench.next_driver();
    }
    bench.says(nvme::Failure::Denied);
    assert_eq!(bench.answers(), [(denied, failed(Failure::Denied))]);
    let again = bench.transfer(1, read(8));
    bench.says(nvme::Failure::Denied);
    assert_eq!(bench.answers(), [(again, failed(Failure::Denied))]);
    assert_eq!(bench.reports(), 2);
    bench.transfer(2, read(0));
    bench.says(nvme::Failure::Denied);
    assert_eq!(bench.reports(), 3, "that was the other client's affair");
}

#[test]
fn what_a_device_says_of_itself_is_believed_and_so_is_what_a_compare_finds() {
    let mut bench = two();
    let compare = Operation::Compare { first_block: 0, blocks: 1, offset: 0 };
    let media = nvme::Failure::Device { kind: 2, code: 0x81 };
    for (operation, said, told) in [
        (read(0), media, Failure::Device { kind: 2, code: 0x81 }),
        (compare, nvme::Failure::Different, Failure::Different),
    ] {
        let asked = bench.transfer(1, operation);
        bench.says(said);
        assert_eq!(bench.answers(), [(asked, failed(told))]);
    }
    let asked = bench.transfer(1, read(0));
    bench.model.borrow_mut().number += 1;
    bench.says(nvme::Failure::Invalid);
    assert_eq!(bench.answers(), [(asked, failed(Failure::Invalid))], "the namespaces have changed");
    assert_eq!(bench.reports(), 0);
    // But nothing that becomes of a namespace makes a client's request one that is not granted.
    bench.transfer(1, read(0));
    bench.model.borrow_mut().number = 0;
    bench.says(nvme::Failure::Denied);
    assert_eq!((bench.reports(), bench.answers().len()), (1, 0));
}

#[test]
fn completions_of_nothing_and_answers_that_cannot_be_stop_the_driver_and_nothing_is_lost() {
    type Spoil = fn(&mut Model);
    let cases: [(Spoil, &str); 4] = [
        (|model| model.completions.push(nvme::Completion { tag: 0xbad, outcome: Ok(()) }), "unknown-completion"),
        (
            |model| {
                let tag = model.taken[0].tag;
                model.completions.extend([nvme::Completion { tag, outcome: Ok(()) }; 2]);
            },
            "unknown-completion",
        ),
        (|model| model.boasts = 1, "malformed-answer"),
        (|model| model.dead = Some(Trouble::Nonsense), "malformed-answer"),
    ];
    for (spoil, reason) in cases {
        let mut bench = two();
        let transfers = [0, 1].map(|tag| Transfer { tag, operation: read(u64::from(tag) * 8) });
        bench.exchange(1, &transfers, false);
        bench.answers();
        spoil(&mut bench.model.borrow_mut());
        bench.server.exchange();
        assert_eq!(bench.reports(), 1, "{reason}");
        bench.next_driver();
        bench.finish(Ok(()));
        bench.exchange(1, &[], false);
        let answers = bench.answers();
        let [(_, Told::Exchanged { completions, .. })] = &answers[..] else { panic!("{answers:?}") };
        let mut tags: Vec<_> = completions.iter().map(|ended| (ended.tag, ended.outcome)).collect();
        tags.sort_by_key(|(tag, _)| *tag);
        assert_eq!(tags, [(0, Ok(())), (1, Ok(()))], "{reason}");
        assert!(bench.reasons()[0].starts_with(&std::format!("driver failed reason={reason} ")));
    }
}

#[test]
fn a_driver_that_does_twice_what_it_says_it_did_not_take_is_found_out_before_anything_that_overlaps() {
    let mut bench = two();
    bench.model.borrow_mut().hides = 1;
    let write = Operation::Write { first_block: 0, blocks: 8, offset: 0, durable: false };
    let first = bench.transfer(1, write);
    bench.exchange(2, &[], false);
    bench.answers();
    bench.finish(Ok(()));
    assert_eq!((bench.reports(), bench.answers().len()), (1, 0));
    bench.next_driver();
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(first, Told::Done)]);
}

#[test]
fn that_the_device_is_gone_is_believed_when_two_drivers_say_so() {
    let mut bench = two();
    let waiting = bench.transfer(1, read(0));
    let gone = Some(Trouble::Lost(Failure::Gone));
    bench.model.borrow_mut().dead = gone;
    bench.server.exchange();
    assert_eq!((bench.reports(), bench.answers().len()), (1, 0));
    bench.model.borrow_mut().dead = gone;
    bench.server.exchange();
    assert_eq!(bench.reports(), 1);
    assert_eq!(bench.answers(), [(waiting, failed(Failure::Gone))]);
}

#[test]
fn that_the_device_is_gone_is_believed_when_no_driver_comes_after_one_that_said_so() {
    let mut bench = two();
    let waiting = bench.transfer(1, read(0));
    bench.says(nvme::Failure::Gone);
    assert_eq!((bench.reports(), bench.answers().len()), (1, 0));
    bench.server.give_up();
    assert_eq!(bench.answers(), [(waiting, failed(Failure::Gone))]);
}

#[test]
fn other_disks_are_believed_when_two_drivers_tell_of_them() {
    for is_true in [false, true] {
        let mut bench = two();
        let waiting = bench.transfer(1, read(0));
        bench.model.borrow_mut().die();
        bench.server.exchange();
        bench.model.borrow_mut().serial = "other";
        bench.next_driver();
        assert_eq!((bench.reports(), bench.answers().len()), (1, 0));
        bench.model.borrow_mut().serial = if is_true { "other" } else { "" };
        bench.next_driver();
        bench.finish(Ok(()));
        let told = if is_true { failed(Failure::Interrupted) } else { Told::Done };
        assert_eq!(bench.answers(), [(waiting, told)]);
        assert_eq!(bench.reports(), 1);
    }
}

#[test]
fn a_driver_that_does_not_let_the_server_begin_is_stopped_once_and_then_given_up() {
    let mut bench = two();
    let waiting = bench.transfer(1, read(0));
    bench.model.borrow_mut().die();
    bench.server.exchange();
    let busy = Some(Trouble::Away(Failure::Busy));
    bench.model.borrow_mut().dead = None;
    bench.model.borrow_mut().no_namespaces = busy;
    bench.server.exchange();
    bench.server.give_up();
    assert_eq!((bench.reports(), bench.answers().len()), (1, 0));
    bench.server.give_up();
    assert_eq!(bench.answers(), [(waiting, failed(Failure::DeadPeer))]);
}

#[test]
fn where_nobody_grants_it_no_driver_is_stopped() {
    let mut bench = two();
    bench.model.borrow_mut().reportable = false;
    for said in SAID {
        let asked = bench.transfer(1, read(0));
        bench.ticks(10 * PATIENCE);
        bench.says(said);
        let answers = bench.answers();
        assert!(matches!(&answers[..], [(to, Told::Failed(_))] if *to == asked), "{answers:?}");
    }
    assert_eq!(bench.reports(), 0);
}
