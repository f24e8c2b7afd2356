//! A controller that misbehaves while it has transfers.

use nvme::State;
use nvme_model::{Fault, Identity, Machine, Registers, read};
use protocol::nvme::{Answer, Failure, Request};

const SECOND: u64 = 1_000_000_000;

#[track_caller]
fn assert_line(machine: &Machine, part: &str) {
    let found = machine.kernel.log.iter().any(|line| line.contains(part));
    assert!(found, "no line with {part:?}:\n{}", machine.kernel.log.join("\n"));
}

#[test]
fn a_command_that_is_never_answered_times_out_and_the_others_are_aborted_after_the_reset() {
    let mut machine = Machine::started(Identity { stop_time: SECOND, ..Identity::default() });
    let begin = machine.now();
    machine.kernel.device.faults.io.extend([Some(Fault::Drop), Some(Fault::Delay(100 * SECOND))]);
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    while machine.now() < begin + SECOND {
        machine.step();
    }
    machine.submit(&[read(2, 1, 0, 1, 512), read(3, 1, 0, 1, 1024)]);
    machine.run_until(|machine| machine.outcomes.contains_key(&1));
    assert!(machine.now() >= begin + 31 * SECOND, "outcomes come after the reset was seen");
    machine.finish();
    assert_eq!(machine.outcomes[&1], Err(Failure::TimedOut));
    assert_eq!(machine.outcomes[&2], Err(Failure::Aborted));
    assert_eq!(machine.outcomes[&3], Ok(()));
    assert_line(&machine, "controller reset reason=timeout in_flight=2");
    machine.run_until(|machine| machine.driver.state() == State::Running);
    assert_line(&machine, "controller ready after reset");
    let namespace = machine.kernel.device.identity.namespaces[0];
    assert_eq!(machine.read(4, 1, 5, 9, 0, 9 * 512), (Ok(()), namespace.content(5, 9)));
}

#[test]
fn transfers_that_wait_for_a_slot_survive_a_reset() {
    let mut machine = Machine::started(Identity::default());
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
    let mut machine = Machine::started(Identity { start_time: SECOND, ..Identity::default() });
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
    let mut machine = Machine::started(Identity::default());
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
    assert!(machine.outcomes.values().any(|outcome| *outcome == Err(Failure::Aborted)));
    assert_eq!(machine.outcomes.len(), 100);
    assert_line(&machine, "controller failed reason=device-gone");
    let answer = machine.driver.answer(&mut machine.kernel, 7, &Request::Controller);
    assert_eq!(answer, Answer::NoController);
    assert_eq!(machine.driver.deadline(), u64::MAX);
}

#[test]
fn a_device_that_is_removed_while_idle_is_found_gone_at_the_next_transfer() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.registers = Registers::AllOnes;
    let (outcome, _) = machine.read(1, 1, 0, 1, 0, 512);
    assert_eq!(outcome, Err(Failure::Aborted));
    assert_eq!(machine.driver.state(), State::Gone);
    assert_eq!(machine.read(2, 1, 0, 1, 0, 512).0, Err(Failure::Aborted));
}

#[test]
fn a_fatal_status_is_found_within_a_second_and_the_controller_is_stopped_first() {
    let mut machine = Machine::started(Identity::default());
    let begin = machine.now();
    machine.submit(&[read(1, 1, 0, 1, 0), read(2, 1, 0, 1, 512)]);
    machine.kernel.device.fail_fatally();
    machine.finish();
    assert!(machine.now() <= begin + 2 * SECOND);
    assert_eq!(machine.outcomes[&1], Err(Failure::Aborted));
    assert_line(&machine, "controller failed reason=controller-fatal-status");
    assert_eq!(machine.driver.state(), State::Gone);
    assert!(!machine.kernel.device.is_bus_master());
}

#[test]
fn a_fatal_status_while_idle_is_found_at_the_next_transfer() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.fail_fatally();
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Err(Failure::Aborted));
    assert_eq!(machine.driver.state(), State::Gone);
}

#[test]
fn a_controller_that_answers_nothing_after_resets_is_given_up() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.io.extend([Some(Fault::Drop); 100]);
    for tag in 0..3 {
        assert_eq!(machine.read(tag, 1, 0, 1, 0, 512).0, Err(Failure::TimedOut));
    }
    assert!(machine.read(3, 1, 0, 1, 0, 512).0.is_err());
    machine.run_until(|machine| machine.driver.state() == State::Gone);
    assert_line(&machine, "reason=too-many-resets");
    assert!(!machine.kernel.device.is_bus_master());
}

#[test]
fn a_controller_that_does_not_stop_for_its_reset_is_given_up() {
    let mut machine = Machine::started(Identity::default());
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
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Drop));
    machine.kernel.device.faults.never_ready = true;
    machine.submit(&[read(1, 1, 0, 1, 0)]);
    machine.run_until(|machine| machine.driver.state() == State::Resetting);
    machine.submit(&[read(2, 1, 0, 1, 0)]);
    machine.finish();
    assert_eq!(machine.outcomes[&1], Err(Failure::TimedOut));
    assert_eq!(machine.outcomes[&2], Err(Failure::Aborted));
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
    assert_line(&machine, "controller reset reason=timeout in_flight=0");
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
    assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Err(Failure::Aborted), Err(Failure::Aborted)));
}

#[test]
fn resets_that_help_are_not_counted_together() {
    let mut machine = Machine::started(Identity::default());
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
