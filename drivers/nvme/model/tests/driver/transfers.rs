//! Transfers: data, splitting, depth, interrupts, refusals.

use crate::Machine;
use abi::package::Limit;
use nvme::AnswerRoom;
use nvme_model::{Fault, Identity, Namespace, flush, read};
use nvme_spec::Status;
use protocol::nvme::{Answer, Batch, BatchRoom, Failure, Request, Transfer};

const MIB: u32 = 1 << 20;

/// What the driver answers to a client of this badge. The room stays for the rest of the test.
fn ask(machine: &mut Machine, badge: u32, request: &Request<'_>) -> Answer<'static> {
    machine.driver.answer(&mut machine.kernel, badge, request, Box::leak(Box::new(AnswerRoom::new())))
}

/// What the driver answers to an exchange.
fn exchange(machine: &mut Machine, badge: u32, transfers: &[Transfer]) -> Answer<'static> {
    let room: BatchRoom<Transfer> = transfers.iter().copied().collect();
    ask(machine, badge, &Request::Exchange(room.batch()))
}

#[test]
fn data_is_that_of_the_namespace_at_first_last_and_middle_blocks() {
    for shift in 9..=12 {
        let namespace = Namespace::new(5, 1 << 21, shift);
        let mut machine = Machine::started(Identity { namespaces: vec![namespace], ..Identity::default() });
        let block_bytes = namespace.block_bytes() as usize;
        let places = [(0, 1), (0, 8), (1 << 20, 64), ((1 << 21) - 1, 1), ((1 << 21) - 300, 300)];
        for (tag, (first, blocks)) in places.into_iter().enumerate() {
            let (outcome, data) = machine.read(tag as u32, 5, first, blocks, 4096, blocks as usize * block_bytes);
            assert_eq!(outcome, Ok(()));
            assert_eq!(data, namespace.content(first, blocks.into()), "blocks of {block_bytes} at {first}");
        }
    }
}

#[test]
fn blocks_beyond_2_to_the_32_are_read() {
    let mut machine = Machine::started(Identity::default());
    let namespace = machine.kernel.device.identity.namespaces[1];
    let (outcome, data) = machine.read(1, 2, (1 << 33) + 5, 3, 0, 3 * 4096);
    assert_eq!((outcome, data), (Ok(()), namespace.content((1 << 33) + 5, 3)));
}

#[test]
fn every_offset_that_is_a_multiple_of_four_is_good() {
    let mut machine = Machine::started(Identity::default());
    let namespace = machine.kernel.device.identity.namespaces[0];
    for (tag, offset) in [4, 8, 508, 4092, 4100, 8188].into_iter().enumerate() {
        let (outcome, data) = machine.read(tag as u32, 1, 77, 40, offset, 40 * 512);
        assert_eq!(outcome, Ok(()));
        assert_eq!(data, namespace.content(77, 40), "offset {offset}");
    }
}

#[test]
fn a_transfer_longer_than_a_command_is_split_and_ends_once() {
    // MDTS of 8 KiB, 64 KiB, 512 KiB and none.
    for (shift, commands) in [(1, 384), (4, 48), (7, 6), (0, 6)] {
        let mut machine = Machine::started(Identity { transfer_shift_max: shift, ..Identity::default() });
        let namespace = machine.kernel.device.identity.namespaces[0];
        let before = machine.kernel.submissions.1;
        let (outcome, data) = machine.read(1, 1, 11, 3 * MIB / 512, 0, 3 * MIB as usize);
        assert_eq!(outcome, Ok(()));
        assert!(data == namespace.content(11, u64::from(3 * MIB) / 512), "MDTS {shift}");
        assert_eq!(machine.kernel.submissions.1 - before, commands, "MDTS {shift}");
    }
}

#[test]
fn sixty_four_commands_are_in_flight_at_once() {
    let mut machine = Machine::started(Identity { latency: 1_000_000, ..Identity::default() });
    let submissions = machine.kernel.submissions;
    let looks = machine.kernel.looks;
    let transfers: Vec<_> = (0..64).map(|tag| read(tag, 1, u64::from(tag) * 8, 8, u64::from(tag) * 4096)).collect();
    machine.submit(&transfers);
    assert_eq!(machine.in_flight.len(), 64);
    assert_eq!(machine.kernel.submissions, (submissions.0 + 2, submissions.1 + 64), "a submission a batch");
    assert_eq!(machine.kernel.looks, looks, "nothing is polled");
    machine.finish();
    assert!((0..64).all(|tag| machine.outcomes[&tag] == Ok(())));
    let namespace = machine.kernel.device.identity.namespaces[0];
    assert!(machine.kernel.region(0, 64 * 4096) == namespace.content(0, 512));
}

#[test]
fn parts_that_find_no_room_are_issued_later_in_their_order() {
    for room in [1, 3, 7] {
        let mut machine = Machine::started(Identity { transfer_shift_max: 1, ..Identity::default() });
        let namespaces = machine.kernel.device.identity.namespaces.clone();
        machine.kernel.room = room;
        machine.submit(&[read(1, 1, 0, 512, 0), read(2, 2, 9, 50, u64::from(MIB))]);
        machine.finish();
        assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Ok(()), Ok(())));
        assert!(machine.kernel.region(0, 512 * 512) == namespaces[0].content(0, 512), "room for {room}");
        assert!(machine.kernel.region(u64::from(MIB), 50 * 4096) == namespaces[1].content(9, 50), "room for {room}");
    }
}

#[test]
fn many_more_transfers_than_slots_all_end() {
    let mut machine = Machine::started(Identity::default());
    let transfers: Vec<_> = (0..1000).map(|tag| read(tag, 2, u64::from(tag), 1, u64::from(tag % 512) * 4096)).collect();
    machine.submit(&transfers);
    machine.finish();
    assert_eq!(machine.outcomes.len(), 1000);
    assert!(machine.outcomes.values().all(Result::is_ok));
}

#[test]
fn queues_of_a_few_entries_are_enough() {
    for entries in [2_u64, 3, 63, 64, 65] {
        let capabilities = (Identity::default().capabilities & !0xffff) | (entries - 1);
        let mut machine = Machine::started(Identity { capabilities, ..Identity::default() });
        let transfers: Vec<_> = (0..100).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
        machine.submit(&transfers);
        machine.finish();
        assert!(machine.outcomes.values().all(Result::is_ok), "{entries} entries");
    }
}

#[test]
fn a_short_transfer_does_not_wait_for_a_long_one() {
    let mut machine = Machine::started(Identity { transfer_shift_max: 1, ..Identity::default() });
    let before = machine.kernel.submissions.1;
    machine.submit(&[read(1, 1, 0, 3 * MIB / 512, 0), read(2, 2, 0, 1, 3 * u64::from(MIB))]);
    machine.run_until(|machine| machine.outcomes.contains_key(&2));
    assert!(machine.kernel.submissions.1 - before < 200, "most of the 384 parts are yet to come");
    machine.finish();
    assert_eq!(machine.outcomes[&1], Ok(()));
}

#[test]
fn an_interrupt_costs_one_look_and_at_most_one_signal() {
    let mut machine = Machine::started(Identity::default());
    let (looks, wakes, signals) = (machine.kernel.looks, machine.wakes, machine.signals);
    let transfers: Vec<_> = (0..32).map(|tag| read(tag, 1, u64::from(tag), 1, u64::from(tag) * 512)).collect();
    machine.submit(&transfers);
    machine.finish();
    assert_eq!(machine.kernel.looks - looks, machine.wakes - wakes);
    assert!(machine.signals - signals <= machine.wakes - wakes);
}

#[test]
fn nothing_happens_when_nothing_is_asked() {
    let mut machine = Machine::started(Identity::default());
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Ok(()));
    while machine.step() {}
    assert_eq!(machine.driver.deadline(), u64::MAX);
    assert!(machine.now() < 1_000_000_000);
}

#[test]
fn transfers_that_make_no_sense_fail_and_reach_no_device() {
    let mut machine = Machine::started(Identity::default());
    let before = machine.kernel.submissions;
    let region = 4 << 20;
    let senseless = [
        read(1, 3, 0, 1, 0),
        read(2, 0, 0, 1, 0),
        read(3, 0xffff_ffff, 0, 1, 0),
        read(4, 1, 0, 0, 0),
        read(5, 1, 1 << 20, 1, 0),
        read(6, 1, (1 << 20) - 1, 2, 0),
        read(7, 1, u64::MAX, 2, 0),
        read(8, 1, 0, 1, 2),
        read(9, 1, 0, 1, region),
        read(10, 1, 0, 2, region - 512),
        read(11, 1, 0, 1, u64::MAX - 3),
        read(12, 1, 0, u32::MAX, 0),
        flush(13, 9),
    ];
    machine.submit(&senseless);
    machine.finish();
    for transfer in &senseless {
        assert_eq!(machine.outcomes[&transfer.tag], Err(Failure::Invalid), "{transfer:?}");
    }
    assert_eq!(machine.kernel.submissions, before);
}

#[test]
fn flush_reaches_the_device() {
    let mut machine = Machine::started(Identity::default());
    machine.submit(&[flush(1, 1), flush(2, 2)]);
    machine.finish();
    assert_eq!((machine.outcomes[&1], machine.outcomes[&2]), (Ok(()), Ok(())));
}

#[test]
fn the_status_of_a_device_error_is_passed_on() {
    let mut machine = Machine::started(Identity::default());
    machine.kernel.device.faults.io.push_back(Some(Fault::Status(Status::UNRECOVERED_READ_ERROR)));
    assert_eq!(machine.read(1, 1, 0, 1, 0, 512).0, Err(Failure::Device { kind: 2, code: 0x81 }));
    assert_eq!(machine.read(2, 1, 0, 1, 0, 512).0, Ok(()));
}

#[test]
fn an_error_in_one_part_fails_the_transfer_after_all_its_parts_have_ended() {
    let mut machine = Machine::started(Identity { transfer_shift_max: 1, latency: 1000, ..Identity::default() });
    let status = Fault::Status(Status::INTERNAL_ERROR);
    machine.kernel.device.faults.io.extend([None, Some(status), Some(Fault::Delay(1_000_000))]);
    machine.submit(&[read(1, 1, 0, 64, 0)]);
    machine.run_until(|machine| machine.outcomes.contains_key(&1));
    assert_eq!(machine.outcomes[&1], Err(Failure::Device { kind: 0, code: 6 }));
    assert!(machine.now() >= 1_000_000, "it ended while a part could still move data");
}

#[test]
fn the_outcome_is_the_first_of_several_errors() {
    let mut machine = Machine::started(Identity { transfer_shift_max: 1, latency: 1000, ..Identity::default() });
    // The third part is never answered, and times out long after the first has failed.
    machine.kernel.device.faults.io.extend([Some(Fault::Status(Status::INTERNAL_ERROR)), None, Some(Fault::Drop)]);
    assert_eq!(machine.read(1, 1, 0, 48, 0, 512).0, Err(Failure::Device { kind: 0, code: 6 }));
}

#[test]
fn an_answer_holds_no_more_than_a_batch_and_the_client_is_signalled_for_the_rest() {
    let mut machine = Machine::started(Identity::default());
    let all: Vec<_> = (0..32).map(|tag| read(tag, 9, 0, 1, 0)).collect();
    for badge in [1, 2] {
        assert!(machine.driver.begin(badge));
    }
    for badge in [1, 1, 2] {
        let answer = exchange(&mut machine, badge, &all);
        let Answer::Exchanged { accepted, completions, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((accepted, completions.len()), (32, 32));
    }
}

#[test]
fn a_client_gets_its_own_completions_only() {
    let mut machine = Machine::started(Identity::default());
    let one = [read(1, 1, 0, 1, 0)];
    for badge in [100, 200] {
        assert_eq!(exchange(&mut machine, badge, &one), Answer::NotBegun);
        assert_eq!(ask(&mut machine, badge, &Request::Begin), Answer::Begun { room: 128 });
    }
    exchange(&mut machine, 100, &one);
    while machine.step() {}
    let answer = exchange(&mut machine, 200, &[]);
    assert_eq!(answer, Answer::Exchanged { accepted: 0, completions: Batch::EMPTY, namespaces: 1 });
    let answer = exchange(&mut machine, 100, &[]);
    let Answer::Exchanged { completions, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(completions.iter().map(|own| (own.tag, own.outcome)).collect::<Vec<_>>(), [(1, Ok(()))]);
}

#[test]
fn when_there_is_no_room_fewer_are_accepted_and_none_is_lost() {
    let mut machine = Machine::with(Identity::default(), &[0, 1], &[Limit::WHOLE_DEVICE]);
    machine.start();
    let mut accepted_in_all = 0;
    for round in 0..6 {
        let batch: BatchRoom<_> = (0..32).map(|tag| read(round * 32 + tag, 1, 0, 1, 0)).collect();
        let answer = machine.ask(&Request::Exchange(batch.batch()));
        let Answer::Exchanged { accepted, .. } = answer else { panic!("{answer:?}") };
        accepted_in_all += usize::from(accepted);
        machine.in_flight.extend((0..u32::from(accepted)).map(|tag| round * 32 + tag));
    }
    assert_eq!(accepted_in_all, nvme::transfers::TRANSFERS_MAX);
    machine.finish();
    assert_eq!(machine.outcomes.len(), accepted_in_all);
}

#[test]
fn a_client_that_begins_anew_hears_nothing_of_its_earlier_life_and_waits_for_its_end() {
    let mut machine = Machine::started(Identity { latency: 1000, ..Identity::default() });
    ask(&mut machine, 100, &Request::Begin);
    ask(&mut machine, 200, &Request::Begin);
    // More than the device takes at a time, and one that has ended already.
    let all: Vec<_> = (0..32).map(|tag| read(tag, 1, 0, 2000, 0)).collect();
    exchange(&mut machine, 100, &all);
    exchange(&mut machine, 100, &[read(77, 9, 0, 1, 0)]);
    exchange(&mut machine, 200, &[read(5, 1, 0, 1, 0)]);
    assert_eq!(ask(&mut machine, 100, &Request::Begin), Answer::NotBegun, "the device has some of them");
    assert_eq!(exchange(&mut machine, 100, &[]), Answer::NotBegun);
    let mut steps = 0;
    while ask(&mut machine, 100, &Request::Begin) == Answer::NotBegun {
        assert!(machine.step(), "they never end");
        steps += 1;
    }
    assert!(steps > 0);
    let told = |machine: &mut Machine, badge| match exchange(machine, badge, &[]) {
        Answer::Exchanged { completions, .. } => completions.iter().map(|own| own.tag).collect::<Vec<_>>(),
        answer => panic!("{answer:?}"),
    };
    assert_eq!(told(&mut machine, 100), []);
    while machine.step() {}
    assert_eq!(told(&mut machine, 100), []);
    assert_eq!(told(&mut machine, 200), [5], "another client's are its own");
    // There is as much room as before.
    let batch: Vec<_> = (0..32).map(|tag| read(tag, 1, 0, 1, 0)).collect();
    for _ in 0..nvme::transfers::TRANSFERS_MAX / 32 {
        let answer = exchange(&mut machine, 100, &batch);
        assert!(matches!(answer, Answer::Exchanged { accepted: 32, .. }), "{answer:?}");
    }
}
