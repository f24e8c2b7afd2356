//! Log pages, features, Abort and asynchronous events: points 1, 2, 4 and 8.

use abi::Error;
use broker::Broker;
use nvme_broker::Reason;
use nvme_spec::admin::{EVENTS_HEALTH, EVENTS_NAMESPACES, Event, feature, log};
use nvme_spec::brokered::ADMIN_COMMANDS;
use nvme_spec::identify::Structure;
use nvme_spec::nvm::BlockRange;
use nvme_spec::{Status, SubmissionEntry};

use crate::bench::{Bench, WHOLE, ledger};

fn read(identifier: u16) -> SubmissionEntry {
    SubmissionEntry::read(identifier, 1, BlockRange { first: 0, count: 1 })
}

/// Has the controller report an event to the request that waits.
fn report(bench: &mut Bench, event: Event) -> u32 {
    bench.device.fetch();
    let place = bench.device.in_flight.iter().position(|command| command.entry.opcode == 0x0c).unwrap();
    bench.device.value = event.0;
    bench.device.finish(place, Status::SUCCESS);
    bench.complete(0).last().unwrap().dword0.get()
}

fn request(bench: &mut Bench) {
    bench.submit(0, SubmissionEntry::asynchronous_event_request(1)).unwrap();
}

#[test]
fn namespaces_are_not_believed_after_they_changed() {
    let mut bench = Bench::running();
    bench.submit(1, read(5)).unwrap();
    bench.run(1);
    request(&mut bench);
    let event = Event::NAMESPACE_ATTRIBUTE_CHANGED;
    assert_eq!(report(&mut bench, event), event.0);
    assert_eq!(bench.submit(1, read(5)), Err((Error::Denied, Reason::NamespaceNotLearned)));
    assert_eq!(bench.refused(1, SubmissionEntry::flush(5, 2)), Reason::NamespaceNotLearned);
    bench.admin(SubmissionEntry::identify(0, Structure::Namespace, 1));
    assert_eq!(bench.submit(1, read(5)), Ok(()));
    assert_eq!(bench.refused(1, SubmissionEntry::flush(6, 2)), Reason::NamespaceNotLearned);
}

#[test]
fn an_identify_from_before_the_change_teaches_nothing() {
    let mut bench = Bench::running();
    request(&mut bench);
    bench.device.fetch();
    bench.submit(0, SubmissionEntry::identify(3, Structure::Namespace, 1)).unwrap();
    report(&mut bench, Event::NAMESPACE_ATTRIBUTE_CHANGED);
    assert!(bench.run(0).iter().all(|completion| completion.status().is_success()));
    let mut page = [0; 4096];
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page), Ok(4096), "it may be looked at");
    assert_eq!(bench.refused(1, read(5)), Reason::NamespaceNotLearned);
}

#[test]
fn other_events_change_nothing_that_is_known() {
    let mut bench = Bench::running();
    for event in [Event::new(1, 0, log::HEALTH), Event::new(0, 3, log::ERRORS), Event::new(2, 1, log::FIRMWARE_SLOTS)] {
        request(&mut bench);
        assert_eq!(report(&mut bench, event), event.0);
        assert_eq!(bench.submit(1, read(5)), Ok(()));
        bench.run(1);
    }
    // Of dword 0 only what has a meaning is told.
    request(&mut bench);
    assert_eq!(report(&mut bench, Event(u32::MAX)), Event::MASK);
}

#[test]
fn a_failed_event_request_is_no_event() {
    let mut bench = Bench::running();
    request(&mut bench);
    bench.device.fetch();
    bench.device.value = Event::NAMESPACE_ATTRIBUTE_CHANGED.0;
    bench.device.finish(0, Status::EVENT_LIMIT_EXCEEDED);
    assert_eq!(bench.complete(0)[0].dword0.get(), 0);
    assert_eq!(bench.submit(1, read(5)), Ok(()));
}

#[test]
fn an_abort_names_the_command_that_the_controller_knows() {
    let mut bench = Bench::running();
    bench.submit(1, read(0x0145)).unwrap();
    let seen = bench.seen().identifier.get();
    assert_ne!(seen, 0x0145);
    for (queue, identifier, reason) in [
        (1, 5, Reason::NotInFlight),
        (1, 0x0185, Reason::NotInFlight),
        (1, seen, Reason::NotInFlight),
        (1, 0x0146, Reason::NotInFlight),
        (0, 0x0145, Reason::NotInFlight),
        (2, 0x0145, Reason::NoSuchQueue),
        (0xffff, 0x0145, Reason::NoSuchQueue),
    ] {
        let outcome = bench.submit(0, SubmissionEntry::abort(0, queue, identifier));
        assert_eq!(outcome, Err((Error::Invalid, reason)), "{queue} {identifier:#x}");
    }
    bench.submit(0, SubmissionEntry::abort(2, 1, 0x0145)).unwrap();
    assert_eq!(bench.seen().dword10.get(), 1 | u32::from(seen) << 16);
    // Aborted is not retired: that takes its completion.
    assert_eq!(bench.refused(1, read(5)), Reason::IdentifierInFlight);
    bench.device.value = 0xffff_fffe;
    bench.device.finish(1, Status::SUCCESS);
    assert_eq!(bench.complete(0)[0].dword0.get(), 0, "one bit of the result has a meaning");
    assert_eq!(bench.refused(1, read(5)), Reason::IdentifierInFlight);
    bench.device.finish(0, Status::ABORT_REQUESTED);
    assert_eq!(bench.complete(1)[0].status(), Status::ABORT_REQUESTED);
    assert_eq!(bench.submit(1, read(5)), Ok(()));
    assert_eq!(bench.device.aborts_unknown.get(), 0);
}

#[test]
fn log_pages_are_read_by_list_and_in_their_length() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    for page in (0..=u8::MAX).filter(|page| !(1..=4).contains(page)) {
        let entry = SubmissionEntry::get_log_page(0, page, 512);
        assert_eq!(bench.submit(0, entry), Err((Error::Denied, Reason::LogPageWithoutRule)), "{page}");
    }
    let lengths = |page, good: &[usize], bench: &mut Bench| {
        for bytes in [4, 60, 64, 128, 512, 516, 1024, 4092, 4096, 4100, 8192, 262_144] {
            let outcome = bench.submit(0, SubmissionEntry::get_log_page(0, page, bytes));
            let expected = if good.contains(&bytes) { Ok(()) } else { Err((Error::Denied, Reason::LogPageLength)) };
            assert_eq!(outcome, expected, "page {page}, {bytes} bytes");
            bench.run(0);
        }
    };
    lengths(log::ERRORS, &[64, 128, 512, 1024, 4096], &mut bench);
    lengths(log::HEALTH, &[512], &mut bench);
    lengths(log::FIRMWARE_SLOTS, &[512], &mut bench);
    lengths(log::CHANGED_NAMESPACES, &[4096], &mut bench);
    let good = SubmissionEntry::get_log_page(0, log::HEALTH, 512);
    for nsid in [1, 2, 0xffff_fffe] {
        let one = SubmissionEntry { nsid: nsid.into(), ..good };
        assert_eq!(bench.refused(0, one), Reason::NamespaceInvalid);
    }
    let retained = SubmissionEntry { dword10: (good.dword10.get() | log::RETAIN_EVENT).into(), ..good };
    bench.submit(0, retained).unwrap();
    assert_eq!(bench.seen().dword10.get(), retained.dword10.get());
}

#[test]
fn what_a_log_page_holds_is_collected_without_what_could_be_an_address() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    let mut page = [0; 4096];
    bench.admin(SubmissionEntry::get_log_page(3, log::HEALTH, 512));
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 3, &mut page), Ok(4096));
    assert!(page[..512].iter().all(|byte| *byte == 0xee) && page[512..].iter().all(|byte| *byte == 0));
    bench.admin(SubmissionEntry::get_log_page(3, log::ERRORS, 4096));
    bench.broker.collect(&mut bench.device, 0, 3, &mut page).unwrap();
    for entry in page.chunks(64) {
        assert!(entry[..32].iter().all(|byte| *byte == 0xee) && entry[32..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn data_is_collected_under_the_identifier_that_asked_for_it() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.admin(SubmissionEntry::get_log_page(0x0103, log::HEALTH, 512));
    let mut page = [0; 4096];
    for identifier in [3, 0x0143, 0x0203] {
        let refusal = bench.broker.collect(&mut bench.device, 0, identifier, &mut page).unwrap_err();
        assert_eq!(refusal.because, Reason::NoData);
    }
    assert_eq!(bench.broker.collect(&mut bench.device, 0, 0x0103, &mut page), Ok(4096));
}

#[test]
fn features_take_the_values_that_have_a_rule() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    for (feature, allowed) in [
        (feature::VOLATILE_WRITE_CACHE, 1),
        (feature::ASYNCHRONOUS_EVENT_CONFIGURATION, EVENTS_HEALTH | EVENTS_NAMESPACES),
    ] {
        for bit in 0..32 {
            let outcome = bench.submit(0, SubmissionEntry::set_feature(0, feature, 1 << bit));
            let good = allowed & 1 << bit != 0;
            assert_eq!(outcome, if good { Ok(()) } else { Err((Error::Denied, Reason::FeatureValue)) });
            bench.run(0);
        }
        bench.submit(0, SubmissionEntry::set_feature(0, feature, allowed)).unwrap();
        assert_eq!(bench.seen().dword11.get(), allowed);
        bench.device.value = u32::MAX;
        assert_eq!(bench.run(0)[0].dword0.get(), 0, "what was set is not told");
        // Neither saved, nor any value but the current one.
        for bit in 8..32 {
            let set = SubmissionEntry::set_feature(0, feature, 0);
            let set = SubmissionEntry { dword10: (u32::from(feature) | 1 << bit).into(), ..set };
            assert_eq!(bench.refused(0, set), Reason::FieldNotZero);
            let get = SubmissionEntry { dword10: set.dword10, ..SubmissionEntry::get_feature(0, feature) };
            assert_eq!(bench.refused(0, get), Reason::FieldNotZero);
        }
        assert_eq!(bench.admin(SubmissionEntry::get_feature(0, feature)).dword0.get(), allowed);
    }
}

#[test]
fn every_field_without_a_meaning_must_be_zero() {
    let mut bench = Bench::running();
    bench.submit(1, read(5)).unwrap();
    let commands = [
        (SubmissionEntry::asynchronous_event_request(1), 4..64),
        (SubmissionEntry::abort(1, 1, 5), 44..64),
        (SubmissionEntry::get_feature(1, feature::VOLATILE_WRITE_CACHE), 44..64),
        (SubmissionEntry::set_feature(1, feature::VOLATILE_WRITE_CACHE, 0), 48..64),
        (SubmissionEntry::get_log_page(1, log::HEALTH, 512), 44..64),
        (SubmissionEntry::identify_nvm(1), 44..64),
    ];
    for (good, rest) in commands {
        for byte in [1].into_iter().chain(8..40).chain(rest) {
            let mut command = good.to_bytes();
            command[byte] |= 0x40;
            assert_eq!(bench.refused(0, SubmissionEntry::from_bytes(command)), Reason::FieldNotZero, "byte {byte}");
        }
        assert_eq!(bench.submit(0, good), Ok(()), "{good:?}");
        bench.device.fetch();
        let place = bench.device.in_flight.iter().position(|command| command.queue == 0).unwrap();
        bench.device.finish(place, Status::SUCCESS);
        bench.complete(0);
    }
}

#[test]
fn event_requests_take_slots_like_any_command() {
    let mut bench = Bench::running();
    for slot in 0..ADMIN_COMMANDS {
        bench.submit(0, SubmissionEntry::asynchronous_event_request(slot)).unwrap();
    }
    let one_more = SubmissionEntry::asynchronous_event_request(ADMIN_COMMANDS - 1);
    assert_eq!(bench.refused(0, one_more), Reason::IdentifierInFlight);
    let beyond = SubmissionEntry::asynchronous_event_request(ADMIN_COMMANDS);
    assert_eq!(bench.refused(0, beyond), Reason::IdentifierOutOfRange);
    // A reset ends them without an answer.
    bench.write(0).unwrap();
    bench.status();
    bench.enable();
    assert_eq!(bench.submit(0, one_more), Ok(()));
}
