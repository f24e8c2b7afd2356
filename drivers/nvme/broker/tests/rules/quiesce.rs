//! Teardown: point 9.

use abi::Error;
use broker::{Broker, Progress};
use nvme_broker::Reason;
use nvme_spec::SubmissionEntry;
use nvme_spec::nvm::BlockRange;
use nvme_spec::registers::ControllerStatus;

use crate::bench::{Bench, READY, WHOLE, ledger};
use crate::device::Event;

/// As firmware may leave it: MPS and entry sizes of its own, its own queues.
const FIRMWARE: u32 = 0x0046_0081;

fn firmware_left_it(ready: bool) -> Bench {
    let mut bench = Bench::cold(ledger(&[WHOLE]));
    bench.device.configuration = FIRMWARE;
    bench.device.status = if ready { READY } else { 0 };
    bench.device.bus_mastering = true;
    bench.device.prompt = false;
    (bench.device.asq, bench.device.acq) = (0xdead_b000, 0xdead_c000);
    bench
}

impl Bench {
    fn quiesce(&mut self) -> Progress {
        self.broker.quiesce(&mut self.device)
    }

    /// Asks when it says, until it does not.
    fn quiesce_until_over(&mut self) -> Progress {
        for _ in 0..100_000 {
            match self.quiesce() {
                Progress::Again(at) => {
                    assert!(at > self.device.time);
                    self.device.time = at;
                }
                over => return over,
            }
        }
        panic!("it never ends");
    }
}

#[test]
fn a_disabled_controller_is_quiesced_at_once() {
    let mut bench = Bench::cold(ledger(&[WHOLE]));
    assert_eq!(bench.quiesce(), Progress::Done);
    assert!(bench.device.events.starts_with(&[Event::BusMastering(false), Event::Interrupts(false)]));
    assert_eq!(bench.write(1), Ok(()));
}

#[test]
fn a_controller_that_firmware_left_enabled_is_done_only_when_rdy_0_was_read() {
    let mut bench = firmware_left_it(true);
    assert!(matches!(bench.quiesce(), Progress::Again(_)));
    assert_eq!(bench.device.events[0], Event::BusMastering(false));
    assert_eq!(bench.device.configuration, FIRMWARE & !1);
    assert!(matches!(bench.quiesce(), Progress::Again(_)));
    assert_eq!(bench.write(1), Err((Error::Busy, Reason::NotQuiesced)));
    bench.device.follow();
    assert_eq!(bench.quiesce(), Progress::Done);
    assert!(!bench.device.bus_mastering);
    assert_eq!((bench.device.asq, bench.device.acq), (0, 0), "firmware's addresses are forgotten");
    bench.device.prompt = true;
    bench.enable();
    bench.identify();
}

#[test]
fn a_controller_that_is_being_enabled_is_waited_for_first() {
    let mut bench = firmware_left_it(false);
    assert!(matches!(bench.quiesce(), Progress::Again(_)));
    assert_eq!(bench.device.configuration, FIRMWARE);
    bench.device.follow();
    assert!(matches!(bench.quiesce(), Progress::Again(_)));
    assert_eq!(bench.device.configuration, FIRMWARE & !1);
    bench.device.follow();
    assert_eq!(bench.quiesce(), Progress::Done);
}

#[test]
fn a_controller_that_never_becomes_ready_is_disabled_all_the_same() {
    let mut bench = firmware_left_it(false);
    assert_eq!(bench.quiesce_until_over(), Progress::Done);
    assert_eq!(bench.device.configuration, FIRMWARE & !1);
    assert!(bench.device.time >= 2_000_000_000);
}

#[test]
fn a_fatal_controller_is_disabled_at_once() {
    let mut bench = firmware_left_it(false);
    bench.device.status = ControllerStatus::FATAL.bits();
    bench.quiesce();
    assert_eq!(bench.device.configuration, FIRMWARE & !1);
}

#[test]
fn a_controller_that_does_not_stop_in_its_time_is_quarantined() {
    let mut bench = firmware_left_it(true);
    assert_eq!(bench.quiesce_until_over(), Progress::Failed);
    // CAP.TO is 4 units of 500 ms.
    assert!((2_000_000_000..2_100_000_000).contains(&bench.device.time));
    // Even if it stops later.
    bench.device.follow();
    assert_eq!(bench.quiesce(), Progress::Failed);
    bench.device.events.clear();
    assert_eq!(bench.write(1), Err((Error::Invalid, Reason::Quarantined)));
    assert_eq!(bench.refused(0, SubmissionEntry::flush(0, 1)), Reason::Quarantined);
    assert_eq!(bench.device.events, []);
}

#[test]
fn a_device_that_is_gone_has_not_stopped() {
    let mut bench = Bench::running();
    bench.device.gone = true;
    assert_eq!(bench.quiesce(), Progress::Failed);
    assert!(!bench.device.bus_mastering);
    let mut bench = firmware_left_it(true);
    bench.quiesce();
    bench.device.gone = true;
    assert_eq!(bench.quiesce(), Progress::Failed);
}

#[test]
fn a_working_controller_stops_with_everything_in_flight_retired_only_then() {
    let mut bench = Bench::running();
    let read = SubmissionEntry::read(5, 1, BlockRange { first: 0, count: 8 });
    bench.submit(1, read).unwrap();
    bench.device.fetch();
    bench.device.prompt = false;
    bench.device.events.clear();
    assert!(matches!(bench.quiesce(), Progress::Again(_)));
    assert_eq!(bench.device.events[..2], [Event::BusMastering(false), Event::Interrupts(false)]);
    assert!(!bench.broker.is_enabled());
    assert_eq!(bench.submit(1, read), Err((Error::Busy, Reason::NotQuiesced)));
    bench.device.follow();
    assert_eq!(bench.quiesce(), Progress::Done);
    bench.device.prompt = true;
    bench.enable();
    assert_eq!(bench.refused(1, read), Reason::NoSuchQueue);
    bench.create_pair(1);
    assert_eq!(bench.refused(1, read), Reason::NamespaceNotLearned);
    bench.identify();
    assert_eq!(bench.submit(1, read), Ok(()));
}

#[test]
fn quiescing_during_a_reset_of_the_drivers_waits_for_it() {
    let mut bench = Bench::running();
    bench.device.prompt = false;
    bench.write(0).unwrap();
    assert!(matches!(bench.quiesce(), Progress::Again(_)));
    bench.device.follow();
    assert_eq!(bench.quiesce(), Progress::Done);
    assert_eq!(bench.quiesce(), Progress::Done);
}
