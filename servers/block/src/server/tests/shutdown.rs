//! The end.

use protocol::block::{ClientGrant, Failure, Request, Transfer};
use protocol::nvme::{self, Operation};

use super::bench::*;

fn bench() -> Bench {
    let clients = std::vec![
        named(1, "one", of(blocks(1, 0, None, 0))),
        named(2, "two", of(blocks(2, 0, None, 1))),
        named(3, "console", Some(ClientGrant { disk: None, shutdown: true, signal: None })),
    ];
    let mut quiet = namespace(2, 1000, 512);
    quiet.volatile_cache = false;
    let namespaces = std::vec![namespace(1, 1000, 512), quiet];
    let mut bench = Bench::new(Model { namespaces, room: 99, ..Model::default() }, 0, clients);
    bench.open(1);
    bench.open(2);
    bench
}

#[test]
fn what_is_under_way_ends_then_all_is_flushed_then_the_device_is_shut_down() {
    let mut bench = bench();
    let under_way = bench.transfer(1, read(0));
    let end = bench.ask(3, Request::Shutdown);
    assert!(bench.answers().is_empty());
    let late = bench.transfer(2, read(0));
    assert_eq!(bench.answers(), [(late, failed(Failure::Stopped))]);
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(under_way, Told::Done)]);
    let flushes = bench.model.borrow().taken.clone();
    assert_eq!(
        flushes.iter().map(|own| (own.operation, own.nsid)).collect::<std::vec::Vec<_>>(),
        [(Operation::Flush, 1)]
    );
    assert_eq!(bench.model.borrow().shutdowns, 0, "not before the flush has ended");
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(end, Told::Done)]);
    assert_eq!(bench.model.borrow().shutdowns, 1);
    let again = bench.ask(3, Request::Shutdown);
    assert_eq!(bench.answers(), [(again, Told::Done)]);
    assert_eq!(bench.model.borrow().shutdowns, 1);
    assert_eq!(bench.open(1), failed(Failure::Stopped));
    assert_eq!(bench.lines()[2..], ["shutting down client=console", "shut down"]);
}

#[test]
fn only_who_is_granted_it_may_ask() {
    let mut bench = bench();
    let refused = bench.ask(1, Request::Shutdown);
    assert_eq!(bench.answers(), [(refused, failed(Failure::Denied))]);
    let good = bench.transfer(1, read(0));
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(good, Told::Done)], "everything goes on");
}

#[test]
fn a_flush_that_fails_is_told_and_the_device_is_shut_down_all_the_same() {
    let mut bench = bench();
    let end = bench.ask(3, Request::Shutdown);
    bench.finish(Err(nvme::Failure::Device { kind: 0, code: 6 }));
    assert_eq!(bench.answers(), [(end, failed(Failure::Device { kind: 0, code: 6 }))]);
    assert_eq!(bench.model.borrow().shutdowns, 1);
}

#[test]
fn completions_can_still_be_taken() {
    let mut bench = bench();
    bench.exchange(1, &[Transfer { tag: 4, operation: read(0) }], false);
    bench.answers();
    bench.ask(3, Request::Shutdown);
    bench.finish(Ok(()));
    bench.finish(Ok(()));
    bench.answers();
    let question = bench.exchange(1, &[Transfer { tag: 5, operation: read(0) }], false);
    let answers = bench.answers();
    assert!(
        matches!(&answers[..], [(to, Told::Exchanged { accepted: 0, completions, .. })]
        if *to == question && completions.len() == 1),
        "{answers:?}"
    );
}

#[test]
fn a_driver_that_is_lost_on_the_way_ends_it() {
    let mut bench = bench();
    let under_way = bench.transfer(1, read(0));
    let end = bench.ask(3, Request::Shutdown);
    bench.server.lose(Failure::DeadPeer);
    assert_eq!(bench.answers(), [(under_way, failed(Failure::DeadPeer)), (end, failed(Failure::DeadPeer))]);
}
