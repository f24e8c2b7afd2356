//! The admin queue: points 1, 5 and 8.

use nvme_broker::Reason;
use nvme_spec::admin::{QueueCounts, feature};
use nvme_spec::brokered::ADMIN_COMMANDS;
use nvme_spec::identify::Structure;
use nvme_spec::nvm::BlockRange;
use nvme_spec::{BROADCAST_NSID, Status, SubmissionEntry};

use abi::package::Limit;
use broker::Broker;

use crate::bench::{Bench, WHOLE, ledger};

fn identify(structure: Structure, nsid: u32) -> SubmissionEntry {
    SubmissionEntry::identify(3, structure, nsid)
}

fn set_queues(submission: u32, completion: u32) -> SubmissionEntry {
    SubmissionEntry::set_number_of_queues(0, QueueCounts { submission, completion })
}

fn create_completion() -> SubmissionEntry {
    SubmissionEntry::create_completion_queue(0, 1, 128, 1)
}

fn create_submission() -> SubmissionEntry {
    SubmissionEntry::create_submission_queue(1, 1, 128, 1)
}

fn read() -> SubmissionEntry {
    SubmissionEntry::read(5, 1, BlockRange { first: 0, count: 1 })
}

#[test]
fn identify_lands_in_hidden_memory_and_is_collected_once() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    let mut page = [0; 4096];
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap_err().because, Reason::NoData);
    bench.submit(0, identify(Structure::Namespace, 1)).unwrap();
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap_err().because, Reason::NoData);
    bench.run(0);
    let short = bench.broker.collect(&mut bench.device, 0, 3, &mut page[1..]);
    assert_eq!(short.unwrap_err().because, Reason::BufferTooShort);
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page), Ok(4096));
    assert_eq!((&page[..8], &page[384..388]), (&(1u64 << 40).to_le_bytes()[..], &b"type"[..]));
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap_err().because, Reason::NoData);
    assert_eq!(bench.broker.collect(&mut bench.device, 1, 3, &mut page).unwrap_err().because, Reason::NoData);
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 64, &mut page).unwrap_err().because, Reason::NoData);
}

#[test]
fn the_list_of_namespaces_is_collected() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.admin(identify(Structure::ActiveNamespaces, 2));
    let mut page = [0; 4096];
    bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap();
    assert_eq!(page[..8], [3, 0, 0, 0, 4, 0, 0, 0]);
}

#[test]
fn a_failed_identify_leaves_no_data_and_teaches_nothing() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.create_pair(1);
    bench.admin(identify(Structure::Controller, 0));
    bench.submit(0, identify(Structure::Namespace, 1)).unwrap();
    bench.device.fetch();
    bench.device.finish(0, Status::INVALID_NAMESPACE);
    assert_eq!(bench.complete(0)[0].status(), Status::INVALID_NAMESPACE);
    let mut page = [0; 4096];
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap_err().because, Reason::NoData);
    assert_eq!(bench.refused(1, read()), Reason::NamespaceNotLearned);
}

#[test]
fn a_namespace_that_is_no_longer_identified_is_no_longer_believed() {
    let mut bench = Bench::running();
    bench.submit(0, identify(Structure::Namespace, 1)).unwrap();
    bench.device.fetch();
    bench.device.finish(0, Status::INVALID_NAMESPACE);
    bench.complete(0);
    assert_eq!(bench.refused(1, read()), Reason::NamespaceUnusable);
}

#[test]
fn a_namespace_is_learned_only_when_success_was_read() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.create_pair(1);
    bench.admin(identify(Structure::Controller, 0));
    bench.submit(0, identify(Structure::Namespace, 1)).unwrap();
    assert_eq!(bench.refused(1, read()), Reason::NamespaceNotLearned);
    bench.device.fetch();
    bench.device.finish(0, Status::SUCCESS);
    assert_eq!(bench.refused(1, read()), Reason::NamespaceNotLearned);
    bench.complete(0);
    assert_eq!(bench.submit(1, read()), Ok(()));
}

#[test]
fn data_that_the_controller_did_not_write_is_not_believed_from_an_earlier_command() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.create_pair(1);
    bench.admin(identify(Structure::Controller, 0));
    bench.admin(identify(Structure::Namespace, 1));
    // A controller that claims success and writes nothing.
    bench.submit(0, identify(Structure::Namespace, 2)).unwrap();
    let entry = bench.seen();
    let mut success = nvme_spec::CompletionEntry { identifier: entry.identifier, ..Default::default() };
    success.set_status(Status::SUCCESS, false);
    bench.device.post(0, success);
    bench.complete(0);
    let mut page = [1; 4096];
    bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap();
    assert_eq!(page, [0; 4096]);
    let read = SubmissionEntry::read(5, 2, BlockRange { first: 0, count: 1 });
    assert_eq!(bench.refused(1, read), Reason::NamespaceUnusable);
}

#[test]
fn identify_takes_only_the_listed_structures_and_their_namespaces() {
    let mut bench = Bench::ready(ledger(&[Limit { namespace: Some(2), ..WHOLE }]));
    for structure in (3..=u8::MAX).filter(|structure| *structure != 6) {
        let mut entry = identify(Structure::Controller, 0);
        entry.dword10 = u32::from(structure).into();
        assert_eq!(bench.refused(0, entry), Reason::StructureWithoutRule);
    }
    assert_eq!(bench.refused(0, identify(Structure::Namespace, BROADCAST_NSID)), Reason::BroadcastNotHarmless);
    assert_eq!(bench.refused(0, identify(Structure::Namespace, 0)), Reason::NamespaceInvalid);
    assert_eq!(bench.refused(0, identify(Structure::Namespace, 1)), Reason::NamespaceNotGranted);
    assert_eq!(bench.refused(0, identify(Structure::Controller, 1)), Reason::NamespaceInvalid);
    assert_eq!(bench.refused(0, identify(Structure::ActiveNamespaces, 0xffff_fffe)), Reason::NamespaceInvalid);
    assert_eq!(bench.submit(0, identify(Structure::Namespace, 2)), Ok(()));
}

#[test]
fn opcodes_without_a_rule_are_denied() {
    let mut bench = Bench::running();
    let rules = [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c];
    for opcode in (0..=u8::MAX).filter(|opcode| !rules.contains(opcode)) {
        assert_eq!(bench.refused(0, SubmissionEntry::new(opcode, 0, 0)), Reason::OpcodeWithoutRule);
    }
    let rules = [0x00, 0x01, 0x02, 0x05, 0x08, 0x09, 0x0c];
    for opcode in (0..=u8::MAX).filter(|opcode| !rules.contains(opcode)) {
        assert_eq!(bench.refused(1, SubmissionEntry::new(opcode, 0, 1)), Reason::OpcodeWithoutRule);
    }
}

#[test]
fn features_without_a_rule_are_denied() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    let rules = [feature::NUMBER_OF_QUEUES, feature::VOLATILE_WRITE_CACHE, feature::ASYNCHRONOUS_EVENT_CONFIGURATION];
    for feature in (0..=u8::MAX).filter(|feature| !rules.contains(feature)) {
        assert_eq!(bench.refused(0, SubmissionEntry::set_feature(0, feature, 0)), Reason::FeatureWithoutRule);
        assert_eq!(bench.refused(0, SubmissionEntry::get_feature(0, feature)), Reason::FeatureWithoutRule);
    }
}

/// Sets each field that must be zero in turn.
fn refuses_each_field(bench: &mut Bench, queue: u16, good: SubmissionEntry, operands: &[(usize, u32)]) {
    let mut bytes = vec![(1, 0x01), (1, 0x40), (1, 0x80)];
    bytes.extend((8..24).map(|byte| (byte, 0x80)));
    for (dword, mask) in operands {
        bytes.extend((0..32).filter(|bit| mask & 1 << bit != 0).map(|bit| (dword * 4 + bit / 8, 1 << (bit % 8))));
    }
    for (byte, bits) in bytes {
        let mut command = good.to_bytes();
        command[byte] |= bits;
        let refused = bench.submit(queue, SubmissionEntry::from_bytes(command)).expect_err("it was accepted");
        assert_eq!(refused, (abi::Error::Denied, Reason::FieldNotZero), "byte {byte} bits {bits:#x}");
    }
    assert_eq!(bench.submit(queue, good), Ok(()));
    bench.run(queue);
}

const ALL: u32 = u32::MAX;
/// Dwords 12 to 15, and the PRP entries.
const REST: [(usize, u32); 8] = [(6, ALL), (7, ALL), (8, ALL), (9, ALL), (12, ALL), (13, ALL), (14, ALL), (15, ALL)];

#[test]
fn every_field_without_a_meaning_must_be_zero() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    let with = |more: &[(usize, u32)]| [&REST[..], more].concat();
    refuses_each_field(&mut bench, 0, identify(Structure::Namespace, 1), &with(&[(11, ALL)]));
    refuses_each_field(&mut bench, 0, identify(Structure::Controller, 0), &with(&[(11, ALL)]));
    refuses_each_field(&mut bench, 0, identify(Structure::ActiveNamespaces, 0), &with(&[(11, ALL)]));
    refuses_each_field(&mut bench, 0, set_queues(1, 1), &with(&[(1, ALL), (10, 0xffff_ff00)]));
    refuses_each_field(&mut bench, 0, create_completion(), &with(&[(1, ALL)]));
    refuses_each_field(&mut bench, 0, create_submission(), &with(&[(1, ALL)]));
    refuses_each_field(
        &mut bench,
        1,
        SubmissionEntry::read(0, 1, BlockRange { first: 0, count: 1 }),
        &[(12, 0x3fff_0000), (13, ALL), (14, ALL), (15, ALL)],
    );
}

#[test]
fn every_field_of_flush_and_deletion_without_a_meaning_must_be_zero() {
    let mut bench = Bench::running();
    let with = |more: &[(usize, u32)]| [&REST[..], more].concat();
    refuses_each_field(&mut bench, 1, SubmissionEntry::flush(0, 1), &with(&[(10, ALL), (11, ALL)]));
    let delete = with(&[(1, ALL), (10, 0xffff_0000), (11, ALL)]);
    refuses_each_field(&mut bench, 0, SubmissionEntry::delete_submission_queue(0, 1), &delete);
    refuses_each_field(&mut bench, 0, SubmissionEntry::delete_completion_queue(0, 1), &delete);
}

#[test]
fn the_number_of_queues_is_bounded_by_the_broker_and_by_the_controller() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    assert_eq!(bench.refused(0, set_queues(3, 1)), Reason::QueueCount);
    assert_eq!(bench.refused(0, set_queues(1, 3)), Reason::QueueCount);
    assert_eq!(bench.refused(0, set_queues(0, 0)), Reason::QueueCount);
    assert_eq!(bench.refused(0, create_completion()), Reason::QueueNotGranted);
    bench.device.queues_granted = 1;
    assert_eq!(bench.admin(set_queues(2, 2)).dword0.get(), 0);
    let second = SubmissionEntry::create_completion_queue(0, 2, 128, 1);
    assert_eq!(bench.refused(0, second), Reason::QueueNotGranted);
    bench.device.queues_granted = 64;
    assert_eq!(bench.admin(set_queues(2, 2)).dword0.get(), 0x0001_0001);
    bench.admin(create_completion());
    assert_eq!(bench.refused(0, set_queues(1, 1)), Reason::QueuesExist);
}

#[test]
fn queues_are_created_only_as_the_ledger_has_them() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.admin(set_queues(2, 2));
    let completion = |queue, entries, vector| SubmissionEntry::create_completion_queue(0, queue, entries, vector);
    assert_eq!(bench.refused(0, completion(0, 128, 1)), Reason::QueueNotGranted);
    assert_eq!(bench.refused(0, completion(3, 128, 1)), Reason::QueueNotGranted);
    assert_eq!(bench.refused(0, completion(512, 128, 1)), Reason::QueueNotGranted);
    for entries in [1, 2, 64, 127, 129, 256, 65_536] {
        assert_eq!(bench.refused(0, completion(1, entries, 1)), Reason::QueueSize);
    }
    for vector in [2, 3, 0xffff] {
        assert_eq!(bench.refused(0, completion(1, 128, vector)), Reason::VectorNotGranted);
    }
    for attributes in [0, 1, 2, 7, 0x8003] {
        let mut entry = completion(1, 128, 1);
        entry.dword11 = (attributes | 1 << 16).into();
        assert_eq!(bench.refused(0, entry), Reason::QueueAttributes);
    }
    assert_eq!(bench.refused(0, create_submission()), Reason::NoSuchQueue);
    bench.admin(create_completion());
    assert_eq!(bench.refused(0, create_completion()), Reason::QueueExists);
    let submission = |entries, to| SubmissionEntry::create_submission_queue(0, 1, entries, to);
    assert_eq!(bench.refused(0, submission(64, 1)), Reason::QueueSize);
    assert_eq!(bench.refused(0, submission(128, 2)), Reason::QueueAttributes);
    let mut urgent = create_submission();
    urgent.dword11 = (urgent.dword11.get() | 0b110).into();
    assert_eq!(bench.refused(0, urgent), Reason::QueueAttributes);
    bench.admin(create_submission());
    assert_eq!(bench.refused(0, create_submission()), Reason::QueueExists);
}

#[test]
fn a_controller_with_small_queues_gets_small_queues() {
    let mut bench = Bench::quiesced(ledger(&[WHOLE]));
    bench.device.capabilities = bench.device.capabilities & !0xffff | 3;
    bench.enable();
    bench.identify();
    bench.admin(set_queues(1, 1));
    assert_eq!(bench.refused(0, create_completion()), Reason::QueueSize);
    bench.admin(SubmissionEntry::create_completion_queue(0, 1, 4, 1));
    bench.admin(SubmissionEntry::create_submission_queue(0, 1, 4, 1));
    for round in 0..10 {
        let reads =
            [0, 1, 2, 3].map(|slot| SubmissionEntry::read(slot, 1, BlockRange { first: 0, count: 1 }).to_bytes());
        let submitted = bench.broker.submit(&mut bench.device, 1, &reads);
        assert_eq!((submitted.accepted, submitted.refused), (3, None), "round {round}");
        bench.device.fetch();
        // Fetched is not completed: its completion has no room yet.
        let submitted = bench.broker.submit(&mut bench.device, 1, &reads[3..]);
        assert_eq!((submitted.accepted, submitted.refused), (0, None));
        assert_eq!(bench.run(1).len(), 3);
    }
}

#[test]
fn queue_state_changes_only_when_success_was_read() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.identify();
    bench.admin(set_queues(1, 1));

    bench.submit(0, create_completion()).unwrap();
    assert_eq!(bench.refused(0, create_submission()), Reason::QueueBusy);
    bench.device.fetch();
    bench.device.finish(0, Status::INTERNAL_ERROR);
    assert_eq!(bench.refused(0, create_submission()), Reason::QueueBusy);
    bench.complete(0);
    assert_eq!(bench.refused(0, create_submission()), Reason::NoSuchQueue);

    bench.admin(create_completion());
    bench.submit(0, create_submission()).unwrap();
    assert_eq!(bench.refused(1, read()), Reason::QueueBusy);
    bench.device.fetch();
    bench.device.finish(0, Status::INTERNAL_ERROR);
    bench.complete(0);
    assert_eq!(bench.refused(1, read()), Reason::NoSuchQueue);
    bench.admin(create_submission());
    assert_eq!(bench.submit(1, read()), Ok(()));
}

#[test]
fn queues_are_deleted_in_order_and_only_when_nothing_is_in_flight() {
    let mut bench = Bench::running();
    let (submission, completion) =
        (SubmissionEntry::delete_submission_queue(0, 1), SubmissionEntry::delete_completion_queue(0, 1));
    assert_eq!(bench.refused(0, SubmissionEntry::delete_submission_queue(0, 2)), Reason::NoSuchQueue);
    assert_eq!(bench.refused(0, SubmissionEntry::delete_submission_queue(0, 0)), Reason::NoSuchQueue);
    assert_eq!(bench.refused(0, SubmissionEntry::delete_completion_queue(0, 3)), Reason::NoSuchQueue);
    assert_eq!(bench.refused(0, completion), Reason::QueueInUse);
    bench.submit(1, read()).unwrap();
    assert_eq!(bench.submit(0, submission), Err((abi::Error::Busy, Reason::CommandsInFlight)));
    bench.run(1);

    bench.submit(0, submission).unwrap();
    assert_eq!(bench.refused(1, read()), Reason::QueueBusy);
    bench.device.fetch();
    bench.device.finish(0, Status::INTERNAL_ERROR);
    bench.complete(0);
    bench.submit(1, read()).unwrap();
    bench.run(1);

    bench.admin(submission);
    assert_eq!(bench.refused(1, read()), Reason::NoSuchQueue);
    assert_eq!(bench.refused(0, submission), Reason::NoSuchQueue);
    bench.admin(completion);
    assert_eq!(bench.refused(0, completion), Reason::NoSuchQueue);
    bench.admin(create_completion());
    bench.admin(create_submission());
    assert_eq!(bench.submit(1, read()), Ok(()));
}

#[test]
fn admin_commands_have_their_own_identifiers() {
    let mut bench = Bench::running();
    for identifier in 0..ADMIN_COMMANDS {
        bench.submit(0, SubmissionEntry::identify(identifier, Structure::Controller, 0)).unwrap();
    }
    assert_eq!(bench.refused(0, identify(Structure::Controller, 0)), Reason::IdentifierInFlight);
    let beyond = SubmissionEntry::identify(ADMIN_COMMANDS, Structure::Controller, 0);
    assert_eq!(bench.refused(0, beyond), Reason::IdentifierOutOfRange);
    let (page_of, mut pages) = (|entry: &SubmissionEntry| entry.prp1.get(), Vec::new());
    bench.device.fetch();
    for command in &bench.device.in_flight {
        assert!(!pages.contains(&page_of(&command.entry)));
        pages.push(page_of(&command.entry));
    }
    assert_eq!(bench.run(0).len(), usize::from(ADMIN_COMMANDS));
}
