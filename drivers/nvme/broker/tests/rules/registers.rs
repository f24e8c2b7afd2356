//! Registers, enabling and resets: points 3, 4 and 6.

use abi::Error;
use broker::Broker;
use nvme_broker::Reason;
use nvme_spec::brokered;
use nvme_spec::nvm::BlockRange;
use nvme_spec::registers::{ACQ, AQA, ASQ, CAP, CC, CSTS, Configuration, ControllerStatus, NSSR, VS};
use nvme_spec::{PAGE_BYTES, Status, SubmissionEntry};
use proptest::prelude::*;

use crate::bench::{Bench, HIDDEN, READY, WHOLE, ledger};
use crate::device::{Event, with_stride};

fn read() -> SubmissionEntry {
    SubmissionEntry::read(5, 1, BlockRange { first: 0, count: 8 })
}

#[test]
fn only_listed_registers_can_be_read() {
    let mut bench = Bench::running();
    for offset in (0..0x2000).chain([u32::MAX, u32::MAX - 3]) {
        for bytes in 0..=16 {
            let listed = matches!((offset, bytes), (CAP, 8) | (VS | CC | CSTS, 4));
            let answer = bench.broker.read(&mut bench.device, offset, bytes);
            assert_eq!(answer.is_ok(), listed, "{offset:#x} {bytes}");
        }
    }
    for offset in [ASQ, ACQ, AQA] {
        let refusal = bench.broker.read(&mut bench.device, offset, 8).unwrap_err();
        assert_eq!((refusal.error, refusal.because), (Error::Denied, Reason::RegisterNotListed));
    }
}

#[test]
fn only_cc_can_be_written() {
    let mut bench = Bench::running();
    bench.device.events.clear();
    for offset in (0..0x4000).filter(|offset| *offset != CC) {
        for bytes in [4, 8] {
            let refusal = bench.broker.write(&mut bench.device, offset, bytes, 0x4e56_4d65).unwrap_err();
            assert_eq!((refusal.error, refusal.because), (Error::Denied, Reason::RegisterNotListed));
        }
    }
    assert_eq!(bench.broker.write(&mut bench.device, CC, 8, 1).unwrap_err().because, Reason::RegisterWidth);
    assert_eq!(bench.broker.write(&mut bench.device, CC, 4, 1 << 32).unwrap_err().because, Reason::RegisterWidth);
    assert!(bench.broker.write(&mut bench.device, NSSR, 4, 0x4e56_4d65).is_err());
    assert_eq!(bench.device.events, []);
}

proptest! {
    #[test]
    fn cc_is_authored_whole_whatever_the_driver_writes(value: u32) {
        let mut bench = Bench::quiesced(ledger(&[WHOLE]));
        let asked = Configuration(value);
        let outcome = bench.write(value);
        if asked.shutdown() == Some(nvme_spec::registers::ShutdownNotification::None) {
            prop_assert_eq!(outcome, Ok(()));
            let expected = if asked.enable() { 0x0046_0001 } else { 0 };
            prop_assert_eq!(bench.device.configuration, expected);
        } else {
            prop_assert_eq!(outcome, Err((Error::Invalid, Reason::ReservedShutdown)));
        }
    }
}

#[test]
fn enabling_is_one_transaction_in_this_order() {
    let mut bench = Bench::quiesced(ledger(&[WHOLE]));
    bench.device.events.clear();
    bench.enable();
    assert_eq!(
        bench.device.events,
        [
            Event::Register(AQA, 0x001f_001f),
            Event::Register(ASQ, HIDDEN),
            Event::Register(ACQ, HIDDEN + PAGE_BYTES as u64),
            Event::Interrupts(true),
            Event::Register(CC, 0x0046_0001),
            Event::BusMastering(true),
        ]
    );
    assert!(bench.broker.is_enabled());
}

#[test]
fn enabling_again_changes_nothing() {
    let mut bench = Bench::running();
    bench.device.events.clear();
    assert_eq!(bench.write(1), Ok(()));
    assert_eq!(bench.device.events, []);
}

#[test]
fn enabling_is_busy_until_rdy_0_was_read() {
    let mut bench = Bench::running();
    bench.device.prompt = false;
    assert_eq!(bench.write(0), Ok(()));
    bench.device.events.clear();
    assert_eq!(bench.write(1), Err((Error::Busy, Reason::Resetting)));
    assert_eq!(bench.device.events, []);
    bench.device.follow();
    assert_eq!(bench.write(1), Ok(()));
}

#[test]
fn enabling_is_busy_if_a_disabled_controller_is_ready() {
    let mut bench = Bench::quiesced(ledger(&[WHOLE]));
    bench.device.status = READY;
    assert_eq!(bench.write(1), Err((Error::Busy, Reason::Resetting)));
}

#[test]
fn nothing_is_submitted_before_the_controller_is_ready() {
    let mut bench = Bench::quiesced(ledger(&[WHOLE]));
    let identify = SubmissionEntry::identify(0, nvme_spec::identify::Structure::Controller, 0);
    assert_eq!(bench.submit(0, identify), Err((Error::Invalid, Reason::NotEnabled)));
    bench.device.prompt = false;
    assert_eq!(bench.write(1), Ok(()));
    assert_eq!(bench.submit(0, identify), Err((Error::Busy, Reason::NotReady)));
    bench.device.follow();
    assert_eq!(bench.submit(0, identify), Ok(()));
}

#[test]
fn a_reset_forgets_queues_and_facts() {
    let mut bench = Bench::running();
    assert_eq!(bench.write(0), Ok(()));
    bench.enable();
    assert_eq!(bench.refused(1, read()), Reason::NoSuchQueue);
    let refusal = bench.broker.complete(&mut bench.device, 1, &mut []).unwrap_err();
    assert_eq!((refusal.error, refusal.because), (Error::Invalid, Reason::NoSuchQueue));
    let create = SubmissionEntry::create_completion_queue(0, 1, 128, 1);
    assert_eq!(bench.refused(0, create), Reason::QueueNotGranted);
    bench.create_pair(1);
    assert_eq!(bench.refused(1, read()), Reason::NamespaceNotLearned);
    bench.identify();
    assert_eq!(bench.submit(1, read()), Ok(()));
}

#[test]
fn a_namespace_that_changed_at_a_reset_is_not_believed() {
    let mut bench = Bench::running();
    bench.write(0).unwrap();
    bench.device.namespaces.get_mut(&1).unwrap().block_shift = 12;
    bench.enable();
    bench.create_pair(1);
    assert_eq!(bench.refused(1, read()), Reason::NamespaceNotLearned);
    bench.identify();
    // 8 blocks are 32 KiB now: two pages short of the region's end are too few.
    let end = 0x10_0000 - 8192;
    assert_eq!(bench.refused(1, read().with_data(end, 0)), Reason::BeyondRegion);
}

#[test]
fn a_reset_keeps_commands_pinned_until_rdy_0_was_read() {
    let mut bench = Bench::running();
    bench.submit(1, read()).unwrap();
    bench.device.prompt = false;
    bench.write(0).unwrap();
    assert!(bench.broker.is_enabled());
    assert_eq!(bench.submit(1, read()), Err((Error::Busy, Reason::Resetting)));
    assert!(bench.device.bus_mastering);
    bench.device.follow();
    assert_eq!(bench.status(), 0);
    assert!(!bench.broker.is_enabled() && !bench.device.bus_mastering && !bench.device.interrupts);
    bench.device.prompt = true;
    bench.enable();
    bench.identify();
    bench.create_pair(1);
    assert_eq!(bench.submit(1, read()), Ok(()));
    assert_eq!(bench.broker.anomalies(), 0);
}

#[test]
fn completions_of_an_earlier_life_are_not_seen_after_a_reset() {
    let mut bench = Bench::running();
    for _ in 0..100 {
        bench.submit(1, read()).unwrap();
        assert_eq!(bench.run(1).len(), 1);
    }
    bench.write(0).unwrap();
    bench.enable();
    assert_eq!(bench.complete(0), []);
    bench.create_pair(1);
    assert_eq!(bench.complete(1), []);
    assert_eq!(bench.broker.anomalies(), 0);
}

#[test]
fn a_fatal_status_stops_submissions_until_a_reset() {
    let mut bench = Bench::running();
    bench.submit(1, read()).unwrap();
    bench.device.status |= ControllerStatus::FATAL.bits();
    bench.status();
    let mut another = read();
    another.identifier = 6.into();
    assert_eq!(bench.submit(1, another), Err((Error::Invalid, Reason::DeviceFailed)));
    // What it had completed before is still good.
    assert_eq!(bench.run(1).len(), 1);
    bench.write(0).unwrap();
    bench.enable();
    bench.identify();
    bench.create_pair(1);
    assert_eq!(bench.submit(1, another), Ok(()));
}

#[test]
fn a_controller_that_was_reset_by_others_wants_a_reset_of_ours() {
    let mut bench = Bench::running();
    bench.device.status = 0;
    assert_eq!(bench.status(), 0);
    assert_eq!(bench.submit(1, read()), Err((Error::Invalid, Reason::DeviceFailed)));
}

#[test]
fn a_device_that_is_gone_gets_nothing_and_retires_nothing() {
    let mut bench = Bench::running();
    bench.submit(1, read()).unwrap();
    bench.device.gone = true;
    assert_eq!(bench.status(), u32::MAX);
    assert_eq!(bench.submit(1, read()), Err((Error::Invalid, Reason::DeviceGone)));
    assert_eq!(bench.write(0), Err((Error::Invalid, Reason::DeviceGone)));
    assert_eq!(bench.write(1), Err((Error::Invalid, Reason::DeviceGone)));
    assert_eq!(bench.complete(1), []);
    assert!(bench.broker.is_enabled(), "in flight as long as nobody saw it stop");
}

#[test]
fn shutting_down_ends_submissions() {
    let mut bench = Bench::running();
    bench.submit(1, read()).unwrap();
    assert_eq!(bench.write(1 | 1 << 14), Ok(()));
    assert_eq!(bench.device.configuration, 0x0046_4001);
    assert_eq!(bench.submit(1, read()), Err((Error::Invalid, Reason::ShuttingDown)));
    assert_eq!(bench.run(1).len(), 1);
    assert_eq!(bench.write(1 | 3 << 14), Err((Error::Invalid, Reason::ReservedShutdown)));
    bench.write(0).unwrap();
    bench.enable();
    bench.identify();
}

#[test]
fn a_controller_without_4_kib_pages_or_the_nvm_command_set_is_refused() {
    for capabilities in [0x07ff | 1 << 37 | 1 << 48, 0x07ff] {
        let mut bench = Bench::quiesced(ledger(&[WHOLE]));
        bench.device.capabilities = capabilities;
        assert_eq!(bench.write(1), Err((Error::Denied, Reason::UnsupportedController)));
        assert!(!bench.device.bus_mastering);
    }
}

#[test]
fn admin_doorbells_must_lie_in_the_bar_and_off_the_msi_x_table() {
    let mut short = ledger(&[WHOLE]);
    short.register_bytes = 0x1004;
    assert_eq!(Bench::quiesced(short).write(1), Err((Error::Denied, Reason::DoorbellOutside)));
    let mut covered = ledger(&[WHOLE]);
    covered.reserved[0] = (0x1006, 1);
    assert_eq!(Bench::quiesced(covered).write(1), Err((Error::Denied, Reason::DoorbellOutside)));
}

#[test]
fn no_queue_is_created_whose_doorbell_lies_outside_or_in_the_msi_x_table() {
    // Queue 1's doorbells are at 0x1000 + 2 and 3 strides.
    for (stride, outcome) in
        [(0, Ok(())), (7, Ok(())), (9, Err(Reason::DoorbellOutside)), (12, Err(Reason::DoorbellOutside))]
    {
        let mut limits = ledger(&[WHOLE]);
        limits.register_bytes = if stride == 12 { 0x9000 } else { 0x4000 };
        limits.reserved = [(0x2000, 0x410)].into_iter().collect();
        let mut bench = Bench::quiesced(limits);
        bench.device.capabilities = with_stride(bench.device.capabilities, stride);
        bench.enable();
        let counts = nvme_spec::admin::QueueCounts { submission: 1, completion: 1 };
        bench.admin(SubmissionEntry::set_number_of_queues(0, counts));
        let entries = brokered::io_queue_entries(nvme_spec::registers::Capabilities(bench.device.capabilities));
        let create = SubmissionEntry::create_completion_queue(0, 1, entries, 1);
        assert_eq!(bench.submit(0, create).map_err(|(_, reason)| reason), outcome, "stride {stride}");
    }
}

#[test]
fn before_quiescing_is_done_nothing_is_answered() {
    let mut bench = Bench::cold(ledger(&[WHOLE]));
    let identify = SubmissionEntry::identify(0, nvme_spec::identify::Structure::Controller, 0);
    assert_eq!(bench.write(1), Err((Error::Busy, Reason::NotQuiesced)));
    assert_eq!(bench.submit(0, identify), Err((Error::Busy, Reason::NotQuiesced)));
    assert!(bench.broker.read(&mut bench.device, CSTS, 4).is_err());
    assert!(bench.broker.complete(&mut bench.device, 0, &mut []).is_err());
    assert_eq!(bench.device.reads_of_registers, 0);
    assert_eq!(bench.device.events, []);
}

#[test]
fn a_bar_whose_first_registers_are_not_ours_is_never_touched() {
    let mut covered = ledger(&[WHOLE]);
    covered.reserved[0] = (0x14, 4);
    let mut bench = Bench::cold(covered);
    assert_eq!(bench.broker.quiesce(&mut bench.device), broker::Progress::Failed);
    assert_eq!(bench.write(1), Err((Error::Invalid, Reason::Quarantined)));
    assert_eq!(bench.device.events, []);
}

#[test]
fn a_command_in_flight_across_a_failed_reset_is_not_completed_falsely() {
    let mut bench = Bench::running();
    bench.submit(1, read()).unwrap();
    bench.device.fetch();
    bench.device.prompt = false;
    bench.write(0).unwrap();
    bench.device.finish(0, Status::SUCCESS);
    let refusal = bench.broker.complete(&mut bench.device, 1, &mut [[0; 16]]).unwrap_err();
    assert_eq!((refusal.error, refusal.because), (Error::Busy, Reason::Resetting));
}
