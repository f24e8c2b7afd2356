//! The two Identify commands that show whether an IOMMU holds the controller.

use broker::{Broker, Probe, ProbeFailure, Progress};
use nvme_broker::Reason;
use nvme_spec::Status;
use nvme_spec::registers::ControllerStatus;

use crate::bench::{Bench, WHOLE, ledger};

const OUTSIDE: u64 = 0x4444_4000;

fn quiesced() -> Bench {
    let mut bench = Bench::quiesced(ledger(&[WHOLE]));
    bench.device.outside = Some((OUTSIDE, false));
    bench
}

impl Bench {
    /// Asks when it says, until it has ended; meanwhile the controller does what `serve` makes it do.
    fn probe(&mut self, mut serve: impl FnMut(&mut Self)) -> Result<(), ProbeFailure> {
        for _ in 0..100_000 {
            match self.broker.probe(&mut self.device, OUTSIDE) {
                Probe::Again(at) => {
                    assert!(at > self.device.time);
                    self.device.time = at;
                }
                Probe::Ended(how) => return how,
            }
            serve(self);
        }
        panic!("it never ends");
    }

    fn serve(&mut self) {
        self.device.fetch();
        while !self.device.in_flight.is_empty() {
            self.device.finish(0, Status::SUCCESS);
        }
    }
}

#[test]
fn one_identify_goes_inside_and_one_outside_and_the_driver_begins_afresh() {
    let mut bench = quiesced();
    let mut seen = Vec::new();
    let ended = bench.probe(|bench| {
        bench.device.fetch();
        seen.extend(bench.device.in_flight.iter().map(|command| command.entry.prp1.get()));
        bench.serve();
    });
    assert_eq!(ended, Ok(()));
    let [inside, outside] = seen[..] else { panic!("{seen:x?}") };
    let hidden = bench.device.ledger.hidden;
    assert!((hidden..hidden + bench.device.hidden.len() as u64).contains(&inside));
    assert_eq!(outside, OUTSIDE);
    bench.device.outside = None;
    // The controller is stopped, and nothing of it is left: the driver's commands are taken as at first.
    while let Progress::Again(at) = bench.broker.quiesce(&mut bench.device) {
        bench.device.time = at;
    }
    assert!(!bench.device.bus_mastering);
    bench.enable();
    assert_eq!(bench.complete(0), []);
    bench.identify();
    bench.create_pair(1);
}

#[test]
fn what_does_not_arrive_inside_is_not_tried_outside() {
    let mut bench = quiesced();
    bench.device.delivers = false;
    assert_eq!(bench.probe(Bench::serve), Err(ProbeFailure::NotDelivered));
    assert!(bench.device.in_flight.is_empty());
}

#[test]
fn a_controller_that_does_not_become_ready_or_answer_ends_it() {
    let mut bench = quiesced();
    bench.device.prompt = false;
    assert_eq!(bench.probe(|_| {}), Err(ProbeFailure::Unanswered));
    let mut bench = quiesced();
    assert_eq!(bench.probe(|_| {}), Err(ProbeFailure::Unanswered), "no answer to the first");
}

#[test]
fn the_second_may_fail_or_never_end_or_be_fatal() {
    for how in 0..3 {
        let mut bench = quiesced();
        let ended = bench.probe(|bench| {
            bench.device.fetch();
            let outside = bench.device.in_flight.first().is_some_and(|command| command.entry.prp1.get() == OUTSIDE);
            match (outside, how) {
                (false, _) => bench.serve(),
                (true, 0) => bench.device.finish(0, Status::DATA_TRANSFER_ERROR),
                (true, 1) => bench.device.status |= ControllerStatus::FATAL.bits(),
                (true, _) => {}
            }
        });
        assert_eq!(ended, Ok(()), "{how}");
    }
}

#[test]
fn a_controller_that_was_not_stopped_is_not_tried() {
    let mut bench = Bench::cold(ledger(&[WHOLE]));
    assert_eq!(bench.probe(|_| {}), Err(ProbeFailure::Unanswered));
    assert_eq!(bench.write(1), Err((abi::Error::Busy, Reason::NotQuiesced)));
}
