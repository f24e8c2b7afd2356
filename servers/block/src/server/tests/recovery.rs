//! Drivers that stop, and others that come.

use protocol::block::{Completion, Failure, Operation, Request, Transfer, VERSION};
use protocol::nvme;

use super::bench::*;
use crate::driver::Trouble;

const DEAD: Trouble = Trouble::Away(Failure::DeadPeer);

fn write(first_block: u64) -> Operation {
    Operation::Write { first_block, blocks: 8, offset: 0, durable: false }
}

/// Two clients that may write all of namespace 1 and a part of it, the same task.
fn writers() -> Bench {
    let namespaces = std::vec![namespace(1, 1000, 512)];
    let clients =
        std::vec![named(1, "one", of(blocks(1, 0, None, 0))), named(2, "one", of(blocks(1, 500, Some(100), 1)))];
    let mut bench = Bench::new(Model { namespaces, room: usize::MAX, ..Model::default() }, 0, clients);
    bench.open(1);
    bench.open(2);
    bench
}

impl Bench {
    fn die(&mut self) {
        self.model.borrow_mut().die();
        self.server.exchange();
    }

    fn come_back(&mut self) {
        self.model.borrow_mut().dead = None;
        self.server.exchange();
    }

    /// First blocks of what the driver has.
    fn has(&self) -> std::vec::Vec<u64> {
        self.model.borrow().taken.iter().map(|own| own.first_block).collect()
    }
}

#[test]
fn what_the_driver_had_is_given_to_the_next_one_in_each_clients_order_and_clients_see_nothing() {
    let mut bench = writers();
    let transfers: std::vec::Vec<_> =
        (0..4).map(|tag| Transfer { tag, operation: write(u64::from(tag) * 8) }).collect();
    bench.exchange(1, &transfers, true);
    let one = bench.transfer(2, read(0));
    let mut old = bench.model.borrow().taken.clone();
    // Clients take turns.
    old.sort_by_key(|own| own.tag);
    old[1..].rotate_right(1);
    bench.die();
    assert!(bench.server.is_away() && bench.answers().is_empty());
    let late = bench.ask(2, Request::Information);
    assert!(bench.answers().is_empty(), "it waits as well");
    bench.come_back();
    assert_eq!(bench.model.borrow().taken, old);
    bench.finish(Ok(()));
    let answers = bench.answers();
    // A client that asks again has stopped waiting; its transfer is done all the same.
    assert!(answers.contains(&(one, Told::Done)), "{answers:?}");
    assert!(answers.iter().any(|(to, told)| *to == late && matches!(told, Told::Information(_))));
    let completions = (0..4).map(|tag| Completion { tag, outcome: Ok(()) }).collect();
    assert!(answers.iter().any(|(_, told)| *told
        == Told::Exchanged { accepted: 4, changed: false, completions: std::vec::Vec::clone(&completions) }));
}

#[test]
fn nothing_that_overlaps_an_undecided_change_goes_before_its_end() {
    let mut bench = writers();
    bench.exchange(1, &[Transfer { tag: 1, operation: write(500) }], false);
    bench.answers();
    bench.die();
    let overlapping = bench.transfer(2, read(4));
    bench.exchange(1, &[Transfer { tag: 2, operation: read(0) }], false);
    bench.answers();
    bench.come_back();
    assert_eq!(bench.has(), [500, 0], "what does not overlap need not wait");
    bench.model.borrow_mut().taken.retain(|own| own.first_block != 0);
    bench.finish(Ok(()));
    assert_eq!(bench.has(), [504]);
    bench.finish(Ok(()));
    assert!(bench.answers().contains(&(overlapping, Told::Done)));
}

#[test]
fn a_driver_without_room_for_an_undecided_change_is_not_given_what_overlaps_it() {
    let mut bench = writers();
    bench.exchange(1, &[Transfer { tag: 1, operation: write(500) }], false);
    bench.answers();
    bench.die();
    bench.model.borrow_mut().room = 0;
    bench.come_back();
    bench.transfer(2, read(4));
    bench.model.borrow_mut().room = 9;
    bench.server.exchange();
    assert_eq!(bench.has(), [500]);
}

#[test]
fn a_driver_never_has_two_changes_that_overlap() {
    let mut bench = writers();
    let transfers = [write(0), write(8), write(4), read(0)].map(|operation| Transfer { tag: 0, operation });
    bench.exchange(1, &transfers, false);
    assert_eq!(bench.has(), [0, 8], "the third waits, and the fourth behind it");
    bench.finish(Ok(()));
    assert_eq!(bench.has(), [4, 0], "a read does not wait");
}

#[test]
fn a_compare_is_interrupted() {
    let mut bench = writers();
    let compare = bench.transfer(2, Operation::Compare { first_block: 0, blocks: 1, offset: 0 });
    bench.die();
    assert_eq!(bench.answers(), [(compare, failed(Failure::Interrupted))]);
    bench.come_back();
    assert_eq!(bench.taken(), 0);
}

#[test]
fn a_client_that_has_begun_anew_does_not_have_its_earlier_life_repeated() {
    let mut bench = writers();
    bench.exchange(1, &[write(0), write(8)].map(|operation| Transfer { tag: 0, operation }), false);
    bench.answers();
    bench.ask(1, Request::Open { version: VERSION });
    bench.die();
    assert!(bench.answers().is_empty(), "the device may not have stopped yet");
    bench.come_back();
    assert!(matches!(bench.answers()[..], [(_, Told::Information(_))]));
    assert_eq!(bench.taken(), 0);

    // Likewise if it begins anew while there is no driver.
    bench.exchange(1, &[Transfer { tag: 0, operation: write(0) }], false);
    bench.answers();
    bench.die();
    bench.ask(1, Request::Open { version: VERSION });
    assert!(bench.answers().is_empty());
    bench.come_back();
    assert!(matches!(bench.answers()[..], [(_, Told::Information(_))]));
    assert_eq!(bench.taken(), 0);
    let other = bench.transfer(2, write(0));
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(other, Told::Done)], "nothing is held up by what was forgotten");
}

#[test]
fn another_disk_in_its_place_is_not_written() {
    for other in 0..3 {
        let mut bench = writers();
        bench.exchange(1, &[Transfer { tag: 1, operation: write(0) }], false);
        bench.answers();
        bench.die();
        bench.exchange(1, &[Transfer { tag: 2, operation: write(8) }], false);
        bench.answers();
        {
            let mut model = bench.model.borrow_mut();
            match other {
                0 => model.serial = "another",
                1 => model.namespaces = std::vec![namespace(1, 999, 512)],
                _ => model.namespaces = std::vec![namespace(1, 1000, 4096)],
            }
        }
        bench.come_back();
        assert_eq!(bench.taken(), 0);
        let question = bench.exchange(1, &[], false);
        let completions = [(1, Failure::Interrupted), (2, Failure::Changed)];
        let completions = completions.map(|(tag, failure)| Completion { tag, outcome: Err(failure) }).to_vec();
        assert_eq!(bench.answers(), [(question, Told::Exchanged { accepted: 0, changed: true, completions })]);
        let refused = bench.transfer(1, read(0));
        assert_eq!(bench.answers(), [(refused, failed(Failure::Changed))]);
        assert!(matches!(bench.open(1), Told::Information(_)));
    }
}

#[test]
fn when_it_is_given_up_everyone_is_told_once_and_a_driver_that_comes_serves_again() {
    let mut bench = writers();
    let (one, two) = (bench.transfer(1, write(0)), bench.transfer(2, read(0)));
    bench.die();
    bench.server.give_up();
    assert_eq!(bench.answers(), [(one, failed(Failure::DeadPeer)), (two, failed(Failure::DeadPeer))]);
    let later = bench.transfer(1, read(0));
    assert_eq!(bench.answers(), [(later, failed(Failure::DeadPeer))]);
    bench.come_back();
    assert_eq!(bench.taken(), 0, "what was told is told");
    let good = bench.transfer(1, write(0));
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(good, Told::Done)], "and nothing is held up by it");
    assert_eq!(
        bench.lines()[1..],
        ["driver away reason=dead-peer requests=2", "driver lost reason=dead-peer", "driver back requests=0"]
    );
}

#[test]
fn a_flush_that_was_under_way_is_done_again() {
    let mut bench = writers();
    let flush = bench.transfer(1, Operation::Flush);
    bench.die();
    bench.come_back();
    assert!(bench.answers().is_empty());
    assert_eq!(bench.model.borrow().taken[0].operation, nvme::Operation::Flush);
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(flush, Told::Done)]);
}

#[test]
fn storage_is_shut_down_with_the_next_driver() {
    let mut grant = of(blocks(1, 0, None, 0)).unwrap();
    grant.shutdown = true;
    let namespaces = std::vec![namespace(1, 1000, 512)];
    let model = Model { namespaces, room: usize::MAX, ..Model::default() };
    let mut bench = Bench::new(model, 0, std::vec![named(1, "console", Some(grant))]);
    bench.open(1);
    bench.exchange(1, &[Transfer { tag: 1, operation: write(0) }], false);
    bench.answers();
    let end = bench.ask(1, Request::Shutdown);
    bench.die();
    bench.come_back();
    bench.finish(Ok(()));
    assert_eq!(bench.model.borrow().taken[0].operation, nvme::Operation::Flush);
    bench.model.borrow_mut().finish(Ok(()));
    // It dies while it is asked to shut down, after it has told of the flush.
    bench.model.borrow_mut().dies_at_shutdown = true;
    bench.server.exchange();
    assert!(bench.answers().is_empty() && bench.server.is_away());
    bench.come_back();
    assert_eq!(bench.answers(), [(end, Told::Done)]);
    assert_eq!(bench.model.borrow().shutdowns, 2);
}

#[test]
fn without_a_driver_at_first_clients_wait_until_it_comes() {
    let namespaces = std::vec![namespace(1, 1000, 512)];
    let model = Model { namespaces, room: usize::MAX, dead: Some(DEAD), ..Model::default() };
    let mut bench = Bench::new(model, 0, std::vec![named(1, "one", of(blocks(1, 0, None, 0)))]);
    let question = bench.ask(1, Request::Open { version: VERSION });
    assert!(bench.answers().is_empty());
    bench.come_back();
    assert!(matches!(bench.answers()[..], [(to, Told::Information(_))] if to == question));
    assert_eq!(bench.lines(), ["driver away reason=dead-peer requests=0", "ready nsid=1 blocks=1000 block_bytes=512"]);
}
