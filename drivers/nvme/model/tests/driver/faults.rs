//! A controller that misbehaves while it has transfers.

use crate::Machine;
use nvme::State;
use nvme_model::{Aborts, Fault, Identity, Registers, read, write};
use protocol::nvme::{Answer, Failure, Request, Transfer};

const SECOND: u64 = 1_000_000_000;

#[track_caller]
fn assert_line(machine: &Machine, part: &str) {
    let found = machine.kernel.log.iter().any(|line| line.contains(part));
    assert!(found, "no line with {part:?}:\n{}", machine.kernel.log.join("\n"));
}

/// A controller that aborts nothing: what is overdue ends with a reset only.
fn unabortable(identity: Identity) -> Machine {
    let mut machine = Machine::started(identity);
    machine.kernel.device.faults.aborts = Aborts::Declined;
    machine
}

#[test]
fn a_command_that_is_never_answered_is_aborted_and_nothing_else_happens() {
    let mut machine = Machine::started(Identity::default());
    let begin = machine.now();
    machine.kernel.device.faults.io.extend([Some(Fault::Drop), Some(Fault::Delay(60 * SECOND))]);
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    while machine.now() < begin + 15 * SECOND {
        machine.step();
    }
    machine.submit(&[read(2, 1, 0, 1, 512)]);
    machine.run_until(|machine| machine.outcomes.contains_key(&1));
    assert!((30..33).contains(&((machine.now() - begin) / SECOND)), "as soon as it was aborted");
    assert_eq!(machine.outcomes[&1], Err(Failure::TimedOut));
    machine.finish();
    assert_eq!(machine.outcomes[&2], Err(Failure::TimedOut), "in its own time");
    assert!((45..48).contains(&((machine.now() - begin) / SECOND)));
    assert!(machine.kernel.log.iter().all(|line| !line.contains("reset")), "{:?}", machine.kernel.log);
}

#[test]
fn an_overdue_command_that_ends_by_itself_before_it_is_aborted_ends_well() {
    let mut machine = unabortable(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Delay(33 * SECOND)));
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
    assert_eq!(machine.driver.state(), State::Running);
    assert!(machine.kernel.log.iter().all(|line| !line.contains("reset")), "{:?}", machine.kernel.log);
}

#[test]
fn no_more_aborts_are_under_way_than_the_controller_takes() {
    for (limit, most) in [(0, 1), (1, 2), (3, 4), (255, 4)] {
        let mut machine = Machine::started(Identity { abort_limit: limit, ..Identity::default() });
        machine.kernel.device.faults.io.extend([Some(Fault::Drop); 20]);
        let transfers: Vec<_> = (0..20).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
        machine.submit(&transfers);
        machine.finish();
        assert!(machine.kernel.device.aborts_at_once <= most, "{}", machine.kernel.device.aborts_at_once);
        assert!(machine.outcomes.values().all(|outcome| *outcome == Err(Failure::TimedOut)));
    }
}

#[test]
fn an_abort_that_is_declined_forged_or_lost_is_followed_by_a_reset() {
    for aborts in [Aborts::Declined, Aborts::Forged, Aborts::Honoured] {
        let mut machine = Machine::started(Identity::default());
        let begin = machine.now();
        machine.kernel.device.faults.aborts = aborts;
        if aborts == Aborts::Honoured {
            machine.kernel.device.faults.admin.push_back(Some(Fault::Drop));
        }
        machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
        assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Err(Failure::TimedOut), "{aborts:?}");
        assert!((37..41).contains(&((machine.now() - begin) / SECOND)), "{aborts:?}");
        assert_line(&machine, "controller reset reason=timeout in_flight=1");
        assert_eq!(machine.read(2, 1, 0, 1, 0, 512).0, Ok(()));
    }
}

#[test]
fn what_was_in_flight_with_an_overdue_command_is_done_once_more_after_the_reset() {
    let mut machine = unabortable(Identity { stop_time: SECOND, ..Identity::default() });
    let begin = machine.now();
    machine.kernel.device.faults.io.extend([Some(Fault::Drop), Some(Fault::Delay(100 * SECOND)), Some(Fault::Drop)]);
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    while machine.now() < begin + 20 * SECOND {
        machine.step();
    }
    machine.kernel.put_region(1024, &[7; 512]);
    machine.submit(&[read(2, 1, 0, 1, 512), write(3, 1, 9, 1, 1024), read(4, 1, 0, 1, 1536)]);
    machine.run_until(|machine| machine.outcomes.contains_key(&1));
    assert!(machine.now() >= begin + 38 * SECOND, "outcomes come after the reset was seen");
    machine.finish();
    assert_eq!(machine.outcomes[&1], Err(Failure::TimedOut));
    assert!([2, 3, 4].iter().all(|tag| machine.outcomes[tag] == Ok(())), "{:?}", machine.outcomes);
    assert_line(&machine, "controller reset reason=timeout in_flight=3");
    assert_line(&machine, "controller ready after reset");
    let namespace = machine.kernel.device.identity.namespaces[0];
    assert_eq!(machine.kernel.region(512, 512), namespace.content(0, 1));
    assert!(machine.kernel.device.disk.read(&namespace, 9, 1) == [7; 512]);
}

#[test]
fn a_write_that_another_may_have_overtaken_is_not_done_once_more() {
    let mut machine = unabortable(Identity::default());
    let begin = machine.now();
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    while machine.now() < begin + 20 * SECOND {
        machine.step();
    }
    machine.kernel.put_region(512, &[[1_u8; 1024], [2; 1024]].concat());
    // The first is lost; the second, later and on one of its blocks, is done. So is the third, on another block.
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[write(2, 1, 10, 2, 512)]);
    machine.kernel.device.faults.io.push_back(None);
    machine.submit(&[write(3, 1, 11, 2, 1536)]);
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[write(4, 1, 13, 2, 512)]);
    machine.finish();
    let outcomes = [1, 2, 3, 4].map(|tag| machine.outcomes[&tag]);
    assert_eq!(outcomes, [Err(Failure::TimedOut), Err(Failure::Aborted), Ok(()), Ok(())]);
    let namespace = machine.kernel.device.identity.namespaces[0];
    assert!(machine.kernel.device.disk.read(&namespace, 11, 2) == [2; 1024]);
    assert!(machine.kernel.device.disk.read(&namespace, 13, 2) == [1; 1024]);
}

#[test]
fn nothing_is_done_a_third_time() {
    let mut machine = unabortable(Identity::default());
    let begin = machine.now();
    let submit_before_reset = |machine: &mut Machine, from: u64, transfers: &[Transfer]| {
        while machine.now() < from + 20 * SECOND {
            machine.step();
        }
        machine.kernel.device.faults.io.extend([Some(Fault::Drop)]);
        machine.submit(transfers);
    };
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    submit_before_reset(&mut machine, begin, &[read(2, 1, 0, 1, 512)]);
    // It is lost again, together with one that is overdue earlier.
    machine.kernel.device.faults.io.extend([Some(Fault::Drop)]);
    machine.run_until(|machine| machine.outcomes.contains_key(&1));
    machine.finish();
    assert_eq!(machine.outcomes[&2], Err(Failure::TimedOut));
}

#[test]
fn transfers_that_wait_for_a_slot_survive_a_reset() {
    let mut machine = unabortable(Identity::default());
    machine.kernel.device.faults.io.extend([Some(Fault::Drop); 64]);
    let transfers: Vec<_> = (0..100).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
    machine.submit(&transfers);
    machine.finish();
    for tag in 0..64 {
        assert_eq!(machine.outcomes[&tag], Err(Failure::TimedOut));
    }
    for tag in 64..100 {
        assert_eq!(machine.outcomes[&tag], Ok(()));
    }
}

#[test]
fn transfers_are_accepted_during_a_reset_and_done_after_it() {
    let mut machine = unabortable(Identity { start_time: SECOND, ..Identity::default() });
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    machine.run_until(|machine| machine.driver.state() == State::Resetting);
    machine.submit(&[read(2, 1, 0, 1, 0)]);
    machine.run_until(|machine| machine.driver.state() == State::Running);
    machine.finish();
    assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Err(Failure::TimedOut), Ok(())));
}

#[test]
fn a_namespace_that_shrank_in_a_reset_is_believed() {
    let mut machine = unabortable(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    machine.run_until(|machine| machine.driver.state() == State::Resetting);
    machine.kernel.device.identity.namespaces[0].blocks = 10;
    machine.submit(&[read(2, 1, 9, 1, 0), read(3, 1, 9, 2, 512)]);
    machine.finish();
    assert_eq!((machine.outcomes[&2], machine.outcomes[&3]), (Ok(()), Err(Failure::Invalid)));
}

#[test]
fn a_late_command_is_waited_for() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Delay(29 * SECOND)));
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
    assert!(machine.wakes < 100, "{} wakes in 29 s", machine.wakes);
}

#[test]
fn a_completion_that_comes_twice_or_for_nobody_ends_no_transfer() {
    for fault in [Fault::Duplicate, Fault::Invented(0), Fault::Invented(63), Fault::Invented(0xffff)] {
        let mut machine = Machine::started(Identity::default());
        machine.kernel.device.faults.io.extend([Some(fault); 40]);
        let transfers: Vec<_> = (0..200).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
        machine.submit(&transfers);
        machine.finish();
        assert!(machine.outcomes.values().all(Result::is_ok), "{fault:?}");
        let namespace = machine.kernel.device.identity.namespaces[0];
        assert!(machine.kernel.region(0, 200 * 512) == namespace.content(0, 200), "{fault:?}");
    }
}

#[test]
fn a_completion_that_cannot_be_told_apart_costs_a_timeout_not_a_wrong_outcome() {
    for fault in [Fault::Identifier(0x100), Fault::Identifier(0x40), Fault::Phase, Fault::Queue] {
        let mut machine = Machine::started(Identity::default());
        machine.kernel.device.faults.io.push_back(Some(fault));
        assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Err(Failure::TimedOut), "{fault:?}");
        assert_eq!(machine.read(2, 1, 0, 1, 0, 512).0, Ok(()), "{fault:?}");
    }
}

#[test]
fn a_completion_without_interrupt_is_found_within_a_second_and_told() {
    let mut machine = Machine::started(Identity::default());
    let begin = machine.now();
    machine.kernel.device.faults.io.push_back(Some(Fault::NoInterrupt));
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
    assert!(machine.now() <= begin + 2 * SECOND);
    assert_line(&machine, "completions without interrupt count=1");
}

#[test]
fn a_device_that_is_removed_fails_everything_at_once_and_is_gone() {
    let mut machine = Machine::started(Identity::default());
    let begin = machine.now();
    machine.kernel.device.faults.io.extend([Some(Fault::Drop); 10]);
    let transfers: Vec<_> = (0..100).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
    machine.submit(&transfers);
    machine.kernel.device.faults.registers = Registers::AllOnes;
    machine.finish();
    assert!(machine.now() <= begin + 2 * SECOND);
    assert_eq!(machine.driver.state(), State::Gone);
    assert!(machine.outcomes.values().any(|outcome| *outcome == Err(Failure::Gone)));
    assert_eq!(machine.outcomes.len(), 100);
    assert_line(&machine, "controller failed reason=device-gone");
    let answer = machine.ask(&Request::Controller);
    assert_eq!(answer, Answer::NoController);
    assert_eq!(machine.driver.deadline(), u64::MAX);
}

#[test]
fn a_device_that_is_removed_while_idle_is_found_gone_at_the_next_transfer() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.registers = Registers::AllOnes;
    let (outcome, _) = machine.read(1, 1, 0, 1, 0, 512);
    assert_eq!(outcome, Err(Failure::Gone));
    assert_eq!(machine.driver.state(), State::Gone);
    assert_eq!(machine.read(2, 1, 0, 1, 0, 512).0, Err(Failure::Gone));
}

#[test]
fn a_fatal_status_is_found_within_a_second_and_the_controller_is_stopped_first() {
    let mut machine = Machine::started(Identity::default());
    let begin = machine.now();
    machine.submit(&[read(1, 1, 0, 1, 0), read(2, 1, 0, 1, 512)]);
    machine.kernel.device.fail_fatally();
    machine.finish();
    assert!(machine.now() <= begin + 2 * SECOND);
    assert_eq!(machine.outcomes[&1], Err(Failure::Gone));
    assert_line(&machine, "controller failed reason=controller-fatal-status");
    assert_eq!(machine.driver.state(), State::Gone);
    assert!(machine.is_off());
}

#[test]
fn a_fatal_status_while_idle_is_found_at_the_next_transfer() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.fail_fatally();
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Err(Failure::Gone));
    assert_eq!(machine.driver.state(), State::Gone);
}

#[test]
fn a_controller_that_answers_nothing_after_resets_is_given_up() {
    let mut machine = unabortable(Identity::default());
    machine.kernel.device.faults.io.extend([Some(Fault::Drop); 100]);
    for tag in 0..3 {
        assert_eq!(machine.read(tag, 1, 0, 1, 0, 512).0, Err(Failure::TimedOut));
    }
    assert!(machine.read(3, 1, 0, 1, 0, 512).0.is_err());
    machine.run_until(|machine| machine.driver.state() == State::Gone);
    assert_line(&machine, "reason=too-many-resets");
    assert!(machine.is_off());
}

#[test]
fn a_controller_that_does_not_stop_for_its_reset_is_given_up() {
    let mut machine = unabortable(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.kernel.device.faults.never_stops = true;
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    machine.finish();
    assert_eq!(machine.outcomes[&1], Err(Failure::TimedOut));
    machine.run_until(|machine| machine.driver.state() == State::Gone);
    assert_line(&machine, "controller failed reason=does-not-stop");
}

#[test]
fn a_controller_that_does_not_come_back_from_its_reset_is_given_up() {
    let mut machine = unabortable(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.kernel.device.faults.never_ready = true;
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    machine.run_until(|machine| machine.driver.state() == State::Resetting);
    machine.submit(&[read(2, 1, 0, 1, 0)]);
    machine.finish();
    assert_eq!(machine.outcomes[&1], Err(Failure::TimedOut));
    assert_eq!(machine.outcomes[&2], Err(Failure::Gone));
    assert_line(&machine, "controller failed reason=not-ready");
}

#[test]
fn a_queue_that_stays_full_with_nothing_in_flight_is_reset() {
    let capabilities = Identity::default().capabilities & !0xffff | 1;
    let mut machine = Machine::started(Identity { capabilities, ..Identity::default() });
    let begin = machine.now();
    machine.kernel.device.faults.io.push_back(Some(Fault::Head));
    machine.submit(&[read(1, 1, 0, 1, 0), read(2, 1, 0, 1, 512)]);
    machine.finish();
    assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Ok(()), Ok(())));
    assert!(machine.now() < begin + 3 * SECOND);
    assert_line(&machine, "controller reset reason=queue-full in_flight=0");
}

#[test]
fn a_client_that_is_refused_at_the_end_learns_that_the_controller_is_gone() {
    let mut machine = Machine::started(Identity::default());
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    machine.kernel.device.faults.never_stops = true;
    machine.kernel.device.fail_fatally();
    machine.run_until(|machine| machine.driver.state() == State::Stopping);
    machine.submit(&[read(2, 1, 0, 1, 0)]);
    machine.finish();
    assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Err(Failure::Gone), Err(Failure::Gone)));
}

#[test]
fn resets_that_help_are_not_counted_together() {
    let mut machine = unabortable(Identity::default());
    for round in 0..10 {
        machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
        assert_eq!(machine.read(2 * round, 1, 0, 1, 0, 512).0, Err(Failure::TimedOut));
        assert_eq!(machine.read(2 * round + 1, 1, 0, 1, 0, 512).0, Ok(()));
    }
    assert_eq!(machine.driver.state(), State::Running);
}

#[test]
#[should_panic(expected = "led outside its memory")]
fn an_access_outside_is_noticed_by_every_test() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.memory.device_write(0x1000, &[1]);
}
