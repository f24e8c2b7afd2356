use super::super::hardware::Parts;
use super::*;
use crate::platform::clock::{Clock, Frequency, Source};
use crate::platform::pci::fake::FakeFunction;
use crate::platform::registers::tests::memory;
use abi::Error;
use broker::{Device, Ledger, Reason, Refusal as BrokerRefusal};
use heapless::Vec;
use nvme_broker::Reason as NvmeReason;

/// A broker that answers what a test wants and counts what reaches it.
#[derive(Debug)]
struct Scripted {
    quiesce: Progress,
    calls: u32,
    enabled: bool,
}

impl Broker for Scripted {
    type Reason = NvmeReason;
    const HIDDEN_BYTES: u32 = 4096;

    fn new(_: Ledger) -> Self {
        Self { quiesce: Progress::Done, calls: 0, enabled: true }
    }

    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn read(&mut self, device: &mut impl Device, offset: u32, _: u8) -> Result<u64, BrokerRefusal<NvmeReason>> {
        self.calls += 1;
        Ok(device.read_u32(offset).into())
    }

    fn write(
        &mut self,
        device: &mut impl Device,
        offset: u32,
        _: u8,
        value: u64,
    ) -> Result<(), BrokerRefusal<NvmeReason>> {
        self.calls += 1;
        device.write_u32(offset, value as u32);
        Ok(())
    }

    fn submit(&mut self, _: &mut impl Device, _: u16, commands: &[[u8; 64]]) -> Submitted<NvmeReason> {
        self.calls += 1;
        Submitted { accepted: commands.len(), refused: None }
    }

    fn complete(
        &mut self,
        _: &mut impl Device,
        _: u16,
        completions: &mut [[u8; 16]],
    ) -> Result<usize, BrokerRefusal<NvmeReason>> {
        self.calls += 1;
        Ok(completions.len())
    }

    fn collect(
        &mut self,
        _: &mut impl Device,
        _: u16,
        _: u16,
        data: &mut [u8],
    ) -> Result<usize, BrokerRefusal<NvmeReason>> {
        self.calls += 1;
        Ok(data.len())
    }

    fn quiesce(&mut self, _: &mut impl Device) -> Progress {
        self.quiesce
    }
}

fn unit() -> (Unit<Scripted>, FakeFunction) {
    let frequency = Frequency { hertz: 1_000_000_000, source: Source::Assumed };
    let parts = Parts {
        registers: memory(64),
        hidden: memory(64),
        msix: None,
        messages: Vec::new(),
        clock: Clock::new(0, frequency, frequency),
    };
    let broker = Scripted { quiesce: Progress::Again(100), calls: 0, enabled: true };
    (Unit::new(broker, parts), FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]))
}

/// Every call that a driver can make, and what its answers are.
fn errors(unit: &mut Unit<Scripted>, function: &mut FakeFunction) -> [Option<Refusal>; 5] {
    [
        unit.read(function, 0, 4).err(),
        unit.write(function, 0, 4, 1).err(),
        unit.submit(function, 0, &[[0; 64]]).refused,
        unit.complete("disk", function, 0, &mut [[0; 16]]).err(),
        unit.collect(function, 0, 0, &mut [0; 16]).err(),
    ]
}

#[test]
fn nothing_reaches_the_broker_until_the_device_has_stopped() {
    let (mut unit, mut function) = unit();
    assert_eq!(unit.service("disk", &mut function, 10), Some(100));
    for error in errors(&mut unit, &mut function) {
        let error = error.expect("refused");
        assert_eq!((error.error, error.because), (Error::Busy, Because::State(State::Starting)));
    }
    assert_eq!(unit.broker.calls, 0);
    assert!(!unit.is_enabled());

    unit.broker.quiesce = Progress::Done;
    assert_eq!(unit.service("disk", &mut function, 100), None);
    assert_eq!(unit.state(), State::Running);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_none));
    assert_eq!(unit.broker.calls, 5);
    assert!(unit.is_enabled());
}

#[test]
fn a_device_that_does_not_stop_is_put_under_quarantine_for_ever() {
    let (mut unit, mut function) = unit();
    function.set_byte(4, 0b110);
    unit.broker.quiesce = Progress::Failed;
    assert_eq!(unit.service("disk", &mut function, 0), None);
    assert_eq!(unit.state(), State::Quarantined);
    assert_eq!(function.command(), 0b010, "bus mastering is off");
    unit.stop();
    unit.broker.quiesce = Progress::Done;
    assert_eq!(unit.service("disk", &mut function, 1), None);
    assert_eq!(unit.state(), State::Quarantined);
    for error in errors(&mut unit, &mut function) {
        assert_eq!(error.expect("refused").error, Error::Invalid);
    }
    assert_eq!(unit.broker.calls, 0);
}

#[test]
fn a_device_whose_driver_died_is_stopped_and_answers_nobody() {
    let (mut unit, mut function) = unit();
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, 0);
    unit.stop();
    assert_eq!(unit.state(), State::Stopping);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_some));
    assert_eq!(unit.service("disk", &mut function, 0), None);
    assert_eq!(unit.state(), State::Stopped);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_some));
    assert_eq!(unit.broker.calls, 0);
}

#[test]
fn a_driver_that_dies_early_does_not_cut_short_what_was_begun() {
    let (mut unit, mut function) = unit();
    assert_eq!(unit.service("disk", &mut function, 0), Some(100));
    unit.stop();
    assert_eq!(unit.service("disk", &mut function, 0), Some(100));
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, 100);
    assert_eq!(unit.state(), State::Stopped);
}

#[test]
fn a_device_is_used_again_only_after_it_was_seen_to_stop() {
    let (mut unit, mut function) = unit();
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, 0);
    unit.stop();
    unit.restart();
    assert_eq!(unit.state(), State::Stopping, "too early");
    unit.service("disk", &mut function, 0);
    unit.restart();
    assert_eq!(unit.state(), State::Running);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_none));
    unit.stop();
    unit.broker.quiesce = Progress::Failed;
    unit.service("disk", &mut function, 1);
    unit.restart();
    assert_eq!(unit.state(), State::Quarantined, "never again");
}

#[test]
fn a_time_that_has_passed_is_put_off() {
    let (mut unit, mut function) = unit();
    assert_eq!(unit.service("disk", &mut function, 500), Some(501));
}

#[test]
fn arguments_that_no_device_has_are_invalid_and_reach_no_broker() {
    let (mut unit, mut function) = unit();
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, 0);
    let argument = |refusal: Option<Refusal>| {
        let refusal = refusal.expect("refused");
        assert_eq!((refusal.error, refusal.because), (Error::Invalid, Because::Argument));
    };
    argument(unit.read(&mut function, 1 << 32, 4).err());
    argument(unit.read(&mut function, 0, 256).err());
    argument(unit.write(&mut function, u64::MAX, 4, 0).err());
    argument(unit.submit(&mut function, 1 << 16, &[]).refused);
    argument(unit.complete("disk", &mut function, 1 << 16, &mut []).err());
    argument(unit.collect(&mut function, 0, 1 << 16, &mut []).err());
    assert_eq!(unit.broker.calls, 0);
}

#[test]
fn reason_codes_are_never_zero_and_differ() {
    let states = [
        State::Absent,
        State::Unusable,
        State::Starting,
        State::Running,
        State::Stopping,
        State::Stopped,
        State::Quarantined,
    ];
    let mut codes: Vec<u16, 8> = states.iter().map(|state| Because::State(*state).code()).collect();
    codes.push(Because::Argument.code()).expect("room");
    for (position, code) in codes.iter().enumerate() {
        assert!(*code != 0 && !codes[..position].contains(code));
    }
    let _: fn(NvmeReason) -> u16 = Reason::code;
}
