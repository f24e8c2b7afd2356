//! Events, several queues, and an orderly end.

use crate::Machine;
use abi::package::Limit;
use nvme::State;
use nvme_model::{Fault, Identity, Namespace, Registers, read, transfer, write};
use nvme_spec::Status;
use nvme_spec::admin::Event;
use protocol::nvme::{Answer, Failure, Operation, Request};

const SECOND: u64 = 1_000_000_000;

#[track_caller]
fn assert_line(machine: &Machine, part: &str) {
    let found = machine.kernel.log.iter().any(|line| line.contains(part));
    assert!(found, "no line with {part:?}:\n{}", machine.kernel.log.join("\n"));
}

fn namespaces(machine: &mut Machine) -> Vec<(u32, u64)> {
    match machine.ask(&Request::Namespaces) {
        Answer::Namespaces(namespaces) => {
            namespaces.iter().map(|namespace| (namespace.nsid, namespace.blocks)).collect()
        }
        answer => panic!("{answer:?}"),
    }
}

/// Lets everything happen that is going to.
fn settle(machine: &mut Machine) {
    while machine.step() {}
}

#[test]
fn a_namespace_that_is_attached_while_it_runs_appears_and_can_be_used() {
    let mut machine = Machine::started(Identity::default());
    assert_eq!(machine.read(1, 7, 0, 1, 0, 512).0, Err(Failure::Invalid));
    machine.kernel.device.attach(Namespace::new(7, 5000, 12));
    settle(&mut machine);
    assert_eq!(namespaces(&mut machine), [(1, 1 << 20), (2, 1 << 34), (7, 5000)]);
    assert_eq!(machine.editions, [1, 2], "the client was signalled, and told");
    let expected = Namespace::new(7, 5000, 12).content(4999, 1);
    assert_eq!(machine.read(2, 7, 4999, 1, 0, 4096), (Ok(()), expected));
    assert_line(&machine, "event type=2 information=0x00 log_page=0x04");
    assert_line(&machine, "namespace nsid=7 blocks=5000 block_bytes=4096");
    let told = machine.kernel.log.iter().filter(|line| line.starts_with("namespace nsid=1 ")).count();
    assert_eq!(told, 1, "what has not changed is not told again");
}

#[test]
fn a_namespace_that_grows_shrinks_or_goes_is_believed_at_once() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.attach(Namespace::new(1, 1 << 21, 9));
    settle(&mut machine);
    assert_eq!(machine.read(1, 1, (1 << 21) - 1, 1, 0, 512).0, Ok(()));
    machine.kernel.device.attach(Namespace::new(1, 100, 9));
    settle(&mut machine);
    assert_eq!(machine.read(2, 1, 100, 1, 0, 512).0, Err(Failure::Invalid));
    assert_eq!(machine.read(3, 1, 99, 1, 0, 512).0, Ok(()));
    machine.kernel.device.detach(1);
    settle(&mut machine);
    assert_eq!(machine.read(4, 1, 0, 1, 0, 512).0, Err(Failure::Invalid));
    assert_eq!(machine.read(5, 2, 0, 1, 0, 4096).0, Ok(()));
    assert_line(&machine, "namespace gone nsid=1");
    assert_eq!(machine.editions, [1, 2, 3, 4]);
}

#[test]
fn transfers_wait_while_namespaces_are_looked_at_and_go_on_if_they_still_make_sense() {
    let mut machine = Machine::started(Identity { latency: SECOND, ..Identity::default() });
    machine.kernel.device.attach(Namespace::new(1, 100, 9));
    // The event is there; namespaces are not identified yet.
    machine.step();
    machine.submit(&[read(1, 1, 99, 1, 0), read(2, 1, 100, 1, 512), read(3, 2, 5, 1, 4096)]);
    machine.finish();
    let outcomes = [1, 2, 3].map(|tag| machine.outcomes[&tag]);
    assert_eq!(outcomes, [Ok(()), Err(Failure::Invalid), Ok(())]);
    assert!(machine.kernel.log.iter().all(|line| !line.contains("refused")), "{:?}", machine.kernel.log);
}

#[test]
fn a_change_right_after_a_rescan_denies_nothing_that_waits() {
    for later in 0..24 {
        let default = Identity::default();
        // Queues of two entries and a command for each block, so that most of them wait.
        let mut machine = Machine::started(Identity {
            capabilities: default.capabilities & !0xffff | 1,
            namespaces: vec![Namespace { boundary: 1, ..Namespace::new(1, 1500, 9) }],
            ..default
        });
        machine.submit(&[read(1, 1, 0, 100, 0)]);
        machine.kernel.device.attach(Namespace::new(4, 1200, 9));
        for _ in 0..later {
            machine.step();
        }
        machine.kernel.device.detach(4);
        machine.finish();
        assert_eq!(machine.outcomes[&1], Ok(()), "second change after {later} steps");
    }
}

#[test]
fn changes_during_a_rescan_are_seen_as_well() {
    let mut machine = Machine::started(Identity { latency: SECOND, ..Identity::default() });
    machine.kernel.device.attach(Namespace::new(3, 300, 9));
    for nsid in 4..10 {
        machine.step();
        machine.step();
        machine.kernel.device.attach(Namespace::new(nsid, 400, 9));
    }
    settle(&mut machine);
    assert_eq!(namespaces(&mut machine).len(), 2 + 7);
    machine.submit(&[read(1, 9, 0, 1, 0)]);
    machine.finish();
    assert_eq!(machine.outcomes[&1], Ok(()));
}

#[test]
fn an_event_during_the_bring_up_is_not_lost() {
    let mut machine = Machine::new(Identity { latency: SECOND, ..Identity::default() });
    machine.driver.start(&mut machine.kernel, machine.settings.clone());
    machine.run_until(|machine| machine.kernel.log.iter().any(|line| line.starts_with("identify controller")));
    machine.kernel.device.attach(Namespace::new(3, 300, 9));
    machine.run_until(|machine| machine.driver.state() == State::Running);
    settle(&mut machine);
    assert_eq!(namespaces(&mut machine).len(), 3);
}

#[test]
fn a_health_warning_is_a_line_in_the_log() {
    let mut machine = Machine::started(Identity::default());
    for _ in 0..2 {
        machine.kernel.device.warn_of_health();
        settle(&mut machine);
    }
    let line = "health critical_warning=0x01 temperature_kelvin=298 available_spare_percent=80 used_percent=7";
    assert_eq!(machine.kernel.log.iter().filter(|logged| *logged == line).count(), 2);
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()), "it goes on");
    assert_eq!(machine.editions, [1]);
}

#[test]
fn events_without_a_rule_do_no_harm_and_no_flood_fills_the_log() {
    let mut machine = Machine::started(Identity::default());
    for event in [Event::new(7, 0xff, 0xc0), Event::new(6, 1, 0x81), Event::new(2, 1, 3), Event::new(0, 0, 1)] {
        machine.kernel.device.report(event);
        settle(&mut machine);
    }
    for _ in 0..100 {
        machine.kernel.device.report(Event::new(0, 3, 1));
        settle(&mut machine);
    }
    assert!(machine.kernel.log.iter().filter(|line| line.starts_with("event ")).count() <= 32);
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
}

#[test]
fn a_controller_without_events_or_log_pages_is_used_without_them() {
    // Set Features fails; the request fails; the log page fails.
    for place in [3, 4] {
        let mut machine = Machine::new(Identity::default());
        machine.kernel.device.faults.admin.extend(vec![None; place]);
        machine.kernel.device.faults.admin.push_back(Some(Fault::Status(Status::INVALID_FIELD)));
        machine.start();
        assert_eq!(machine.driver.state(), State::Running);
        assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
    }
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.admin.push_back(Some(Fault::Status(Status::INTERNAL_ERROR)));
    machine.kernel.device.attach(Namespace::new(7, 5000, 12));
    settle(&mut machine);
    assert_eq!(namespaces(&mut machine).len(), 3);
    let mut machine = Machine::started(Identity { optional_events: 0, ..Identity::default() });
    machine.kernel.device.attach(Namespace::new(7, 5000, 12));
    settle(&mut machine);
    assert_eq!(namespaces(&mut machine).len(), 2, "nobody was told");
}

#[test]
fn a_rescan_that_is_not_answered_is_followed_by_a_reset() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.admin.push_back(Some(Fault::Drop));
    machine.kernel.device.attach(Namespace::new(7, 5000, 12));
    machine.run_until(|machine| machine.driver.state() == State::Resetting);
    machine.run_until(|machine| machine.driver.state() == State::Running);
    settle(&mut machine);
    assert_line(&machine, "controller failed reason=timeout opcode=0x02");
    assert_eq!(namespaces(&mut machine).len(), 3);
    assert_eq!(machine.read(1, 7, 0, 1, 0, 4096).0, Ok(()));
}

fn two_queues(identity: Identity, vectors: &[u16], queues: &[u16]) -> Machine {
    let mut machine = Machine::with_queues(identity, vectors, &[Limit::WHOLE_DEVICE], queues);
    machine.start();
    machine
}

#[test]
fn two_queues_share_the_work_and_interrupt_on_their_own_vectors() {
    let identity = Identity { vectors: 3, latency: SECOND, ..Identity::default() };
    let mut machine = two_queues(identity, &[0, 1, 2], &[1, 2]);
    assert_eq!(machine.driver.queues(), 2);
    let transfers: Vec<_> = (0..128).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
    machine.submit(&transfers);
    let doorbells = &machine.kernel.device.doorbells;
    assert_eq!((doorbells[&0x1008], doorbells[&0x1010]), (2, 2), "128 in flight, one doorbell a batch");
    machine.finish();
    assert!(machine.outcomes.values().all(Result::is_ok));
    let interrupts = &machine.kernel.device.interrupts;
    assert!(interrupts[&1] > 0 && interrupts[&2] > 0, "{interrupts:?}");
    let namespace = machine.kernel.device.identity.namespaces[0];
    assert!(machine.kernel.region(0, 128 * 512) == namespace.content(0, 128));
}

#[test]
fn batches_go_to_the_queues_in_turn() {
    let mut machine = two_queues(Identity { vectors: 3, ..Identity::default() }, &[0, 1, 2], &[1, 2]);
    for tag in 0..10 {
        assert_eq!(machine.read(tag, 1, 0, 8, 0, 4096).0, Ok(()));
    }
    let doorbells = &machine.kernel.device.doorbells;
    assert_eq!((doorbells[&0x1008], doorbells[&0x1010]), (5, 5));
}

#[test]
fn queues_share_a_vector_where_there_is_only_one_and_are_as_many_as_the_controller_has() {
    for (vectors, granted, queues) in [(2, &[0, 1][..], &[1, 1][..]), (1, &[0, 1], &[1, 1]), (2, &[0, 1], &[1, 2])] {
        let mut machine = two_queues(Identity { vectors, ..Identity::default() }, granted, queues);
        assert_eq!(machine.driver.queues(), 2, "{vectors} {queues:?}");
        let transfers: Vec<_> = (0..200).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
        machine.submit(&transfers);
        let begin = machine.now();
        machine.finish();
        assert!(machine.outcomes.values().all(Result::is_ok));
        assert!(machine.now() - begin < SECOND / 2, "every interrupt was heard");
    }
    let mut machine = two_queues(Identity { queue_pairs: 1, ..Identity::default() }, &[0, 1], &[1, 1]);
    assert_eq!(machine.driver.queues(), 1);
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
}

#[test]
fn a_second_queue_that_cannot_be_made_is_done_without() {
    let mut machine = Machine::with_queues(Identity::default(), &[0, 1], &[Limit::WHOLE_DEVICE], &[1, 1]);
    // Identify twice, queues, events, request, list, two namespaces, two creations; then the second queue.
    machine.kernel.device.faults.admin.extend([None; 10]);
    machine.kernel.device.faults.admin.extend([Some(Fault::Status(Status::INTERNAL_ERROR)); 2]);
    machine.start();
    assert_eq!((machine.driver.state(), machine.driver.queues()), (State::Running, 1));
    assert_line(&machine, "queue not offered queue=2");
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
}

#[test]
fn a_shutdown_waits_for_what_is_under_way_and_takes_nothing_more() {
    let mut machine = Machine::started(Identity { latency: SECOND, ..Identity::default() });
    machine.kernel.put_region(0, &[9; 512]);
    machine.submit(&[write(1, 1, 5, 1, 0)]);
    machine.ask_shutdown();
    assert_eq!(machine.shut, None);
    machine.submit(&[read(2, 1, 0, 1, 512)]);
    machine.run_until(|machine| machine.shut.is_some());
    // The model takes it amiss if anything was in flight.
    assert_eq!(machine.shut, Some(Ok(())));
    assert!(machine.kernel.device.is_shut_down());
    machine.finish();
    assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Ok(()), Err(Failure::Stopped)));
    assert_eq!(machine.done(read(3, 1, 0, 1, 0)), Err(Failure::Stopped));
    assert_eq!((machine.driver.state(), machine.driver.deadline()), (State::ShutDown, u64::MAX));
    assert_line(&machine, "controller shut down");
    assert!(matches!(machine.ask(&Request::Controller), Answer::Controller(_)), "others are still answered");
    assert_eq!(machine.ask(&Request::Shutdown), Answer::Shutdown(Ok(())));
}

#[test]
fn a_shutdown_that_does_not_end_is_given_up_in_its_time() {
    // What it reports, within reason; nothing reported.
    for (reported, seconds) in [(20_000_000, 20), (0, 5), (u32::MAX, 60)] {
        let mut machine = Machine::started(Identity { shutdown_limit: reported, ..Identity::default() });
        let begin = machine.now();
        machine.kernel.device.faults.never_shuts_down = true;
        machine.ask_shutdown();
        machine.run_until(|machine| machine.shut.is_some());
        assert_eq!(machine.shut, Some(Err(Failure::TimedOut)));
        assert_eq!((machine.now() - begin) / SECOND, seconds);
        assert_line(&machine, "controller failed reason=does-not-shut-down");
        assert_eq!(machine.done(read(1, 1, 0, 1, 0)), Err(Failure::Stopped));
    }
}

#[test]
fn a_shutdown_goes_on_after_a_reset_and_ends_with_the_device() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.aborts = nvme_model::Aborts::Declined;
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[transfer(Operation::Flush, 1, 1, 0, 0, 0)]);
    machine.ask_shutdown();
    machine.run_until(|machine| machine.shut.is_some());
    assert_eq!((machine.shut, machine.outcomes[&1]), (Some(Ok(())), Err(Failure::TimedOut)));

    let mut machine = Machine::started(Identity { shutdown_time: 3 * SECOND, ..Identity::default() });
    machine.ask_shutdown();
    machine.kernel.device.faults.registers = Registers::AllOnes;
    machine.run_until(|machine| machine.shut.is_some());
    assert_eq!(machine.shut, Some(Err(Failure::Gone)));
    assert_eq!(machine.ask(&Request::Shutdown), Answer::Shutdown(Err(Failure::Gone)));
}
