//! One request at a time, and many.

use protocol::block::{Completion, Failure, Operation, Request, Transfer, VERSION};
use protocol::nvme;

use super::bench::*;
use crate::driver::Trouble;
use crate::server::hand_over::ROUNDS;

#[test]
fn a_client_begins_with_its_version() {
    let mut bench = Bench::ready();
    for request in [Request::Information, Request::Transfer(read(0).into()), Request::Load { offset: 0, bytes: 1 }] {
        let early = bench.ask(1, request);
        assert_eq!(bench.answers(), [(early, failed(Failure::NotOpen))]);
    }
    for version in [0, 1, VERSION + 1, u16::MAX] {
        let other = bench.ask(1, Request::Open { version });
        assert_eq!(bench.answers(), [(other, Told::Version(VERSION))]);
    }
    let refused = bench.transfer(1, read(0));
    assert_eq!(bench.answers(), [(refused, failed(Failure::NotOpen))], "an unknown version opens nothing");
    let Told::Information(information) = bench.open(1) else { panic!("it has a disk") };
    assert_eq!((information.version, information.nsid, information.blocks), (VERSION, 1, 1000));
}

#[test]
fn a_client_sees_its_own_range_and_direction() {
    let mut bench = Bench::ready();
    let Told::Information(information) = bench.open(2) else { panic!("it has a disk") };
    assert_eq!((information.first_block, information.blocks, information.share), (500, 100, 8));
    assert!(!information.supports.write && !information.supports.discard && information.supports.compare);
    let write = Operation::Write { first_block: 0, blocks: 1, offset: 0, durable: false };
    for operation in
        [write, Operation::Discard { first_block: 0, blocks: 1 }, Operation::WriteZeroes { first_block: 0, blocks: 1 }]
    {
        let denied = bench.transfer(2, operation);
        assert_eq!(bench.answers(), [(denied, failed(Failure::Denied))]);
    }
    let beyond = bench.transfer(2, read(93));
    assert_eq!(bench.answers(), [(beyond, failed(Failure::Invalid))]);
    assert_eq!(bench.taken(), 0, "none of it reaches the driver");
}

#[test]
fn a_read_is_answered_when_it_has_ended() {
    let mut bench = Bench::opened();
    let question = bench.transfer(2, read(10));
    assert!(bench.answers().is_empty() && bench.server.is_waiting());
    let transfer = bench.model.borrow().taken[0];
    assert_eq!((transfer.nsid, transfer.first_block, transfer.blocks, transfer.offset), (1, 510, 8, 1 << 20));
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(question, Told::Done)]);
    assert!(!bench.server.is_waiting());
}

#[test]
fn each_failure_of_the_device_reaches_its_client_and_no_other() {
    for (own, expected) in [
        (nvme::Failure::Invalid, Failure::Invalid),
        (nvme::Failure::Denied, Failure::Denied),
        (nvme::Failure::Unsupported, Failure::Unsupported),
        (nvme::Failure::Stopped, Failure::Stopped),
        (nvme::Failure::Different, Failure::Different),
        (nvme::Failure::Device { kind: 2, code: 0x81 }, Failure::Device { kind: 2, code: 0x81 }),
        (nvme::Failure::Aborted, Failure::Interrupted),
        (nvme::Failure::TimedOut, Failure::TimedOut),
        (nvme::Failure::Gone, Failure::Gone),
    ] {
        let mut bench = Bench::opened();
        let bad = bench.transfer(1, read(0));
        bench.model.borrow_mut().finish(Err(own));
        let good = bench.transfer(2, read(0));
        bench.finish(Ok(()));
        assert_eq!(bench.answers(), [(bad, failed(expected)), (good, Told::Done)]);
    }
}

#[test]
fn a_completion_that_is_nobodys_answers_nobody() {
    let mut bench = Bench::opened();
    bench.transfer(1, read(0));
    let old = bench.model.borrow().taken[0].tag;
    bench.finish(Ok(()));
    bench.answers();
    let question = bench.transfer(1, read(8));
    for tag in [old, 0, u32::MAX, 7, 255, 131] {
        bench.model.borrow_mut().completions.push(nvme::Completion { tag, outcome: Ok(()) });
    }
    bench.server.exchange();
    assert!(bench.answers().is_empty());
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(question, Told::Done)]);
}

#[test]
fn what_the_driver_has_no_room_for_is_handed_over_later_and_in_order() {
    let mut bench = Bench::opened();
    bench.model.borrow_mut().room = 1;
    let transfers: std::vec::Vec<_> = (0..4).map(|tag| Transfer { tag, operation: read(u64::from(tag) * 8) }).collect();
    bench.exchange(1, &transfers, true);
    assert_eq!(bench.taken(), 1);
    bench.model.borrow_mut().room = 2;
    bench.server.exchange();
    bench.model.borrow_mut().room = 5;
    bench.server.exchange();
    let firsts: std::vec::Vec<_> = bench.model.borrow().taken.iter().map(|own| own.first_block).collect();
    assert_eq!(firsts, [0, 8, 16, 24]);
}

#[test]
fn a_batch_waits_for_its_first_completion_and_tells_all() {
    let mut bench = Bench::opened();
    let transfers = [7, 1000].map(|tag| Transfer { tag, operation: read(0) });
    let question = bench.exchange(1, &transfers, true);
    assert!(bench.answers().is_empty());
    bench.finish(Ok(()));
    let completions = [7, 1000].map(|tag| Completion { tag, outcome: Ok(()) }).to_vec();
    assert_eq!(bench.answers(), [(question, Told::Exchanged { accepted: 2, changed: false, completions })]);
    assert_eq!(bench.signals, 0, "who waits is not signalled");
    let nothing = bench.exchange(1, &[], true);
    let empty = Told::Exchanged { accepted: 0, changed: false, completions: std::vec![] };
    assert_eq!(bench.answers(), [(nothing, empty)], "nothing is under way");
}

#[test]
fn a_client_that_does_not_wait_is_signalled_once() {
    let mut bench = Bench::opened();
    let transfers: std::vec::Vec<_> = (0..4).map(|tag| Transfer { tag, operation: read(0) }).collect();
    bench.exchange(2, &transfers, false);
    assert!(
        matches!(&bench.answers()[..], [(_, Told::Exchanged { accepted: 4, completions, .. })] if completions.is_empty())
    );
    bench.finish(Ok(()));
    assert_eq!(core::mem::take(&mut bench.signals), 1 << 1);
    bench.finish(Ok(()));
    assert_eq!(bench.signals, 0, "it knows");
    bench.exchange(2, &[], false);
    assert!(matches!(&bench.answers()[..], [(_, Told::Exchanged { completions, .. })] if completions.len() == 4));
}

#[test]
fn no_more_are_taken_than_the_share_and_what_is_wrong_completes_as_failed() {
    let mut bench = Bench::opened();
    let transfers: std::vec::Vec<_> =
        (0..32).map(|tag| Transfer { tag, operation: if tag == 1 { read(5000) } else { read(0) } }).collect();
    let question = bench.exchange(1, &transfers, false);
    let completions = std::vec![Completion { tag: 1, outcome: Err(Failure::Invalid) }];
    assert_eq!(bench.answers(), [(question, Told::Exchanged { accepted: 8, changed: false, completions })]);
    let busy = bench.exchange(1, &transfers[..2], false);
    assert!(matches!(&bench.answers()[..], [(to, Told::Exchanged { accepted: 1, .. })] if *to == busy));
    let busy = bench.transfer(1, read(0));
    assert_eq!(bench.answers(), [(busy, failed(Failure::Busy))]);
    let other = bench.transfer(2, read(0));
    bench.finish(Ok(()));
    assert!(bench.answers().contains(&(other, Told::Done)), "another client's share is its own");
}

#[test]
fn completions_that_did_not_arrive_are_told_again() {
    let mut bench = Bench::opened();
    let late = bench.exchange(1, &[Transfer { tag: 5, operation: read(0) }], true);
    bench.finish(Ok(()));
    assert!(bench.answers_if(|question| question != late).is_empty());
    let again = bench.exchange(1, &[], true);
    let completions = std::vec![Completion { tag: 5, outcome: Ok(()) }];
    assert_eq!(bench.answers(), [(again, Told::Exchanged { accepted: 0, changed: false, completions })]);
}

#[test]
fn a_client_that_begins_anew_waits_for_its_earlier_life_and_hears_nothing_of_it() {
    let mut bench = Bench::opened();
    bench.exchange(1, &[Transfer { tag: 5, operation: read(0) }], false);
    bench.answers();
    let open = bench.ask(1, Request::Open { version: VERSION });
    assert!(bench.answers().is_empty(), "the device may still write into the window");
    bench.finish(Ok(()));
    assert!(matches!(bench.answers()[..], [(to, Told::Information(_))] if to == open));
    let nothing = bench.exchange(1, &[], false);
    let empty = Told::Exchanged { accepted: 0, changed: false, completions: std::vec![] };
    assert_eq!(bench.answers(), [(nothing, empty)]);
}

#[test]
fn when_the_driver_is_lost_everyone_is_told_now_and_later() {
    let mut bench = Bench::opened();
    let (first, second) =
        (bench.transfer(1, read(0)), bench.exchange(2, &[Transfer { tag: 3, operation: read(0) }], true));
    bench.server.lose(Failure::DeadPeer);
    let dead = failed(Failure::DeadPeer);
    let completions = std::vec![Completion { tag: 3, outcome: Err(Failure::DeadPeer) }];
    let exchanged = Told::Exchanged { accepted: 1, changed: false, completions };
    assert_eq!(bench.answers(), [(first, dead.clone()), (second, exchanged)]);
    let exchanges = bench.model.borrow().exchanges;
    let later = bench.transfer(1, read(0));
    assert_eq!(bench.answers(), [(later, dead.clone())]);
    let information = bench.ask(2, Request::Information);
    assert_eq!(bench.answers(), [(information, dead.clone())]);
    let more = bench.exchange(2, &[Transfer { tag: 4, operation: read(0) }], true);
    assert_eq!(bench.answers(), [(more, dead)], "else it would offer its transfers for ever");
    assert_eq!(bench.model.borrow().exchanges, exchanges, "a dead driver is not asked");
}

#[test]
fn a_device_that_is_gone_is_lost_likewise() {
    let mut bench = Bench::opened();
    let first = bench.transfer(1, read(0));
    bench.model.borrow_mut().dead = Some(Trouble::Lost(Failure::Gone));
    let second = bench.transfer(2, read(0));
    assert_eq!(bench.answers(), [(first, failed(Failure::Gone)), (second, failed(Failure::Gone))]);
    assert!(!bench.server.is_waiting());
    assert_eq!(bench.lines().last().unwrap(), "driver lost reason=gone");
}

#[test]
fn without_a_controller_there_is_no_disk() {
    let model = Model { no_namespaces: Some(Trouble::Lost(Failure::Gone)), ..Model::default() };
    let mut bench = Bench::new(model, 0, Bench::clients());
    assert_eq!(bench.open(1), failed(Failure::NoDisk));
    assert_eq!(bench.lines(), ["no disk reason=no-disk"]);
    assert_eq!(bench.model.borrow().exchanges, 0);
}

#[test]
fn a_client_without_a_disk_and_a_stranger_are_told_so() {
    let mut bench = Bench::ready();
    for (badge, failure) in [(3, Failure::Denied), (4, Failure::NoDisk), (5, Failure::NoDisk), (77, Failure::Denied)] {
        assert_eq!(bench.open(badge), failed(failure), "badge {badge}");
    }
    bench.server.request(1, 99, None);
    assert_eq!(bench.answers(), [(99, failed(Failure::Invalid))], "malformed");
    assert_eq!(
        bench.lines(),
        [
            "grant without a disk client=three",
            "namespace not found nsid=9 client=four",
            "namespace format not usable nsid=2 client=five",
            "ready nsid=1 blocks=1000 block_bytes=512",
        ]
    );
}

#[test]
fn a_driver_that_never_stops_talking_does_not_hold_the_server() {
    let mut bench = Bench::opened();
    let before = bench.model.borrow().exchanges;
    bench.model.borrow_mut().completions = std::vec![nvme::Completion { tag: 3, outcome: Ok(()) }; 100_000];
    bench.server.exchange();
    assert_eq!(bench.model.borrow().exchanges, before + ROUNDS);
}

#[test]
fn azures_disks_are_named_in_the_log() {
    let namespaces = std::vec![namespace(1, 10, 512), namespace(2, 10, 512), namespace(7, 10, 4096)];
    let model = Model { namespaces, is_azure: true, room: usize::MAX, ..Model::default() };
    let clients = [1, 2, 7].map(|nsid| named(nsid, "any", of(blocks(nsid, 0, None, u64::from(nsid))))).to_vec();
    assert_eq!(
        Bench::new(model, 0, clients).lines(),
        [
            "ready nsid=1 blocks=10 block_bytes=512 disk=os",
            "ready nsid=2 blocks=10 block_bytes=512 lun=0",
            "ready nsid=7 blocks=10 block_bytes=4096 lun=5",
        ]
    );
}

#[test]
fn a_disk_that_changes_is_not_used_before_its_client_knows() {
    let mut bench = Bench::opened();
    bench.exchange(1, &[Transfer { tag: 1, operation: read(0) }], false);
    bench.answers();
    {
        let mut model = bench.model.borrow_mut();
        model.namespaces[0] = namespace(1, 550, 512);
        model.number += 1;
    }
    bench.server.exchange();
    bench.answers();
    assert_eq!(bench.signals, 0b11, "both are told: one's disk is smaller, the other's is gone");
    let refused = bench.transfer(1, read(0));
    assert_eq!(bench.answers(), [(refused, failed(Failure::Changed))]);
    bench.finish(Ok(()));
    let question = bench.exchange(1, &[], false);
    let completions = std::vec![Completion { tag: 1, outcome: Ok(()) }];
    assert_eq!(
        bench.answers(),
        [(question, Told::Exchanged { accepted: 0, changed: true, completions })],
        "what was under way still completes"
    );
    let question = bench.ask(1, Request::Information);
    assert!(matches!(bench.answers()[..], [(to, Told::Information(own))] if to == question && own.blocks == 550));
    let good = bench.transfer(1, read(0));
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(good, Told::Done)]);
    assert_eq!(bench.open(2), failed(Failure::NoDisk), "500 + 100 is beyond 550");

    // A namespace that appears.
    {
        let mut model = bench.model.borrow_mut();
        model.namespaces.push(namespace(9, 64, 512));
        model.number += 1;
    }
    bench.server.exchange();
    assert!(matches!(bench.open(4), Told::Information(own) if own.blocks == 64));
}

#[test]
fn two_tasks_do_not_write_the_same_blocks() {
    let namespaces = std::vec![namespace(1, 1000, 512)];
    let clients = std::vec![
        named(1, "one", of(blocks(1, 0, Some(100), 0))),
        named(2, "two", of(blocks(1, 99, Some(10), 1))),
        named(3, "one", of(blocks(1, 50, Some(10), 2))),
    ];
    let mut bench = Bench::new(Model { namespaces, room: 9, ..Model::default() }, 0, clients);
    assert!(matches!(bench.open(1), Told::Information(_)));
    assert_eq!(bench.open(2), failed(Failure::Denied));
    assert!(matches!(bench.open(3), Told::Information(_)), "one task may see its own blocks twice");
    assert!(bench.lines().contains(&"no disk nsid=1 reason=written-by-another-task client=two".into()));
}
