use super::super::confinement::Vouch;
use super::super::hardware::Parts;
use super::*;
use crate::platform::clock::{Clock, Frequency, Source};
use crate::platform::pci::fake::FakeFunction;
use crate::platform::registers::tests::memory;
use crate::platform::vtd::Reason as Why;
use abi::Error;
use broker::{Device, Ledger, Probe, ProbeFailure, Reason, Refusal as BrokerRefusal};
use heapless::Vec;
use nvme_broker::Reason as NvmeReason;

/// A broker that answers what a test wants and counts what reaches it.
#[derive(Debug)]
struct Scripted {
    quiesce: Progress,
    probe: Probe,
    /// Where it was told to have the device write.
    outside: u64,
    calls: u32,
    enabled: bool,
    /// The ledger that it was made with.
    hidden: u64,
    /// What a driver needs that drives the device directly.
    needed: Option<u32>,
    on: bool,
}

impl Broker for Scripted {
    type Reason = NvmeReason;
    const HIDDEN_BYTES: u32 = 4096;

    fn new(ledger: Ledger) -> Self {
        let hidden = ledger.hidden;
        let (quiesce, probe) = (Progress::Done, Probe::Again(7));
        Self { quiesce, probe, outside: 0, calls: 0, enabled: true, hidden, needed: Some(0x1018), on: false }
    }

    fn probe(&mut self, _: &mut impl Device, outside: u64) -> Probe {
        self.outside = outside;
        self.probe
    }

    fn direct_registers(&self, _: &mut impl Device) -> Option<u32> {
        self.needed
    }

    fn is_on(&self, _: &mut impl Device) -> bool {
        self.on
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

fn ledger(hidden: u64) -> Ledger {
    Ledger {
        regions: Vec::new(),
        vectors: Vec::new(),
        limits: Vec::new(),
        hidden,
        register_bytes: 64,
        reserved: Vec::new(),
    }
}

/// An IOMMU that answers what a test wants.
struct FakeHolder {
    free: bool,
    holds: Result<(), Why>,
    released: Option<bool>,
    ended: u32,
    forgets: u32,
    /// Whether it forgets when it is told to.
    forgetful: bool,
    vouch: Vouch,
}

impl FakeHolder {
    const fn new(holds: Result<(), Why>) -> Self {
        Self { free: true, holds, released: None, ended: 0, forgets: 0, forgetful: true, vouch: Vouch::Refused }
    }
}

impl Holder for FakeHolder {
    fn begin(&mut self) -> Option<u64> {
        self.free.then_some(0x7777_7000)
    }

    fn end(&mut self) -> Result<(), Why> {
        self.ended += 1;
        self.holds
    }

    fn release(&mut self) {
        self.released = Some(false);
    }

    fn forget(&mut self) {
        self.forgets += 1;
    }

    fn vouch(&self) -> Vouch {
        self.vouch
    }

    fn is_settled(&self) -> bool {
        self.released.unwrap_or(self.forgetful && self.forgets > 0)
    }
}

/// The IOMMU of a machine without one: nobody asks it.
fn nobody() -> FakeHolder {
    FakeHolder::new(Err(Why::NoTable))
}

/// A device of which nothing speaks against the direct lane.
fn whole() -> LaneChoice {
    LaneChoice::new(Vec::from_slice(&[Limit::WHOLE_DEVICE]).expect("room"), 0x2000)
}

/// One of which only a part is granted.
fn limited() -> LaneChoice {
    LaneChoice::new(Vec::new(), 0x2000)
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
    let broker = Scripted { quiesce: Progress::Again(100), ..Scripted::new(ledger(0)) };
    (
        Unit::new(broker, parts, Confinement::known(Why::NoTable), false, whole()),
        FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]),
    )
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
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 10), Some(100));
    for error in errors(&mut unit, &mut function) {
        let error = error.expect("refused");
        assert_eq!((error.error, error.because), (Error::Busy, Because::State(State::Starting)));
    }
    assert_eq!(unit.broker.calls, 0);
    assert!(!unit.is_enabled(&mut function));

    unit.broker.quiesce = Progress::Done;
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 100), None);
    assert_eq!(unit.state(), State::Running);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_none));
    assert_eq!(unit.broker.calls, 5);
    assert!(unit.is_enabled(&mut function));
}

#[test]
fn a_device_that_does_not_stop_is_put_under_quarantine_for_ever() {
    let (mut unit, mut function) = unit();
    function.set_byte(4, 0b110);
    unit.broker.quiesce = Progress::Failed;
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 0), None);
    assert_eq!(unit.state(), State::Quarantined);
    assert_eq!(function.command(), 0b010, "bus mastering is off");
    unit.stop();
    unit.broker.quiesce = Progress::Done;
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 1), None);
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
    unit.service("disk", &mut function, &mut nobody(), 0);
    unit.stop();
    assert_eq!(unit.state(), State::Stopping);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_some));
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 0), None);
    assert_eq!(unit.state(), State::Stopped);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_some));
    assert_eq!(unit.broker.calls, 0);
}

#[test]
fn a_driver_that_dies_early_does_not_cut_short_what_was_begun() {
    let (mut unit, mut function) = unit();
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 0), Some(100));
    unit.stop();
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 0), Some(100));
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, &mut nobody(), 100);
    assert_eq!(unit.state(), State::Stopped);
}

#[test]
fn a_device_is_used_again_only_after_it_was_seen_to_stop() {
    let (mut unit, mut function) = unit();
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, &mut nobody(), 0);
    unit.stop();
    unit.restart();
    assert_eq!(unit.state(), State::Stopping, "too early");
    unit.service("disk", &mut function, &mut nobody(), 0);
    unit.restart();
    assert_eq!(unit.state(), State::Running);
    assert!(errors(&mut unit, &mut function).iter().all(Option::is_none));
    unit.stop();
    unit.broker.quiesce = Progress::Failed;
    unit.service("disk", &mut function, &mut nobody(), 1);
    unit.restart();
    assert_eq!(unit.state(), State::Quarantined, "never again");
}

#[test]
fn a_time_that_has_passed_is_put_off() {
    let (mut unit, mut function) = unit();
    assert_eq!(unit.service("disk", &mut function, &mut nobody(), 500), Some(501));
}

#[test]
fn arguments_that_no_device_has_are_invalid_and_reach_no_broker() {
    let (mut unit, mut function) = unit();
    unit.broker.quiesce = Progress::Done;
    unit.service("disk", &mut function, &mut nobody(), 0);
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
        State::Unconfined,
    ];
    let mut codes: Vec<u16, 9> = states.iter().map(|state| Because::State(*state).code()).collect();
    codes.push(Because::Argument.code()).expect("room");
    for (position, code) in codes.iter().enumerate() {
        assert!(*code != 0 && !codes[..position].contains(code));
    }
    let _: fn(NvmeReason) -> u16 = Reason::code;
}

/// A device that is to be tried, and has stopped.
fn to_be_tried(must_be_held: bool) -> (Unit<Scripted>, FakeFunction) {
    let (unit, function) = unit();
    let Unit { parts, .. } = unit;
    let mut unit =
        Unit::new(Scripted::new(ledger(1)), parts, Confinement::to_be_tried(ledger(2)), must_be_held, limited());
    unit.broker.quiesce = Progress::Done;
    (unit, function)
}

#[test]
fn a_device_that_is_held_is_its_drivers_after_it_was_tried_and_stopped_again() {
    let (mut unit, mut function) = to_be_tried(true);
    let mut holder = FakeHolder::new(Ok(()));
    assert_eq!(unit.service("disk", &mut function, &mut holder, 1), Some(2), "it is to be tried");
    assert_eq!(unit.service("disk", &mut function, &mut holder, 2), Some(7), "it is being tried");
    assert_eq!((unit.broker.outside, unit.verdict()), (0x7777_7000, None));
    for error in errors(&mut unit, &mut function) {
        assert_eq!(error.expect("refused").because, Because::State(State::Starting));
    }
    unit.broker.probe = Probe::Ended(Ok(()));
    assert_eq!(unit.service("disk", &mut function, &mut holder, 7), Some(8));
    assert_eq!((unit.state(), unit.verdict()), (State::Starting, None), "it has not stopped yet");
    unit.broker.quiesce = Progress::Again(20);
    assert_eq!(unit.service("disk", &mut function, &mut holder, 8), Some(20));
    unit.broker.quiesce = Progress::Done;
    assert_eq!(unit.service("disk", &mut function, &mut holder, 20), Some(21));
    assert_eq!((unit.state(), unit.verdict()), (State::Starting, Some(Why::ProbePassed)));
    assert_eq!(unit.service("disk", &mut function, &mut holder, 21), None);
    assert_eq!(unit.state(), State::Running);
    assert_eq!((unit.broker.hidden, holder.released), (1, None));
}

#[test]
fn a_device_that_is_not_held_gets_memory_where_it_is_and_a_broker_that_knows_no_other() {
    for (ended, holds, why) in [
        (Ok(()), Err(Why::CanaryWritten), Why::CanaryWritten),
        (Ok(()), Err(Why::FaultNotRecorded), Why::FaultNotRecorded),
        (Err(ProbeFailure::Unanswered), Err(Why::FaultNotRecorded), Why::ProbeUnanswered),
        (Err(ProbeFailure::Unanswered), Err(Why::CanaryWritten), Why::CanaryWritten),
        (Err(ProbeFailure::Unsupported), Ok(()), Why::ProbeUnsupported),
        (Err(ProbeFailure::NotDelivered), Ok(()), Why::ProbeNotDelivered),
    ] {
        for must_be_held in [false, true] {
            let (mut unit, mut function) = to_be_tried(must_be_held);
            let mut holder = FakeHolder::new(holds);
            unit.broker.probe = Probe::Ended(ended);
            for now in 1..4 {
                assert_eq!(unit.service("disk", &mut function, &mut holder, now), Some(now + 1));
            }
            assert_eq!((holder.released, unit.verdict(), unit.broker.hidden), (Some(false), None, 1));
            let again = unit.service("disk", &mut function, &mut holder, 4).expect("the IOMMU has not done it");
            holder.released = Some(true);
            assert_eq!(unit.service("disk", &mut function, &mut holder, again), Some(again + 1));
            assert_eq!((unit.verdict(), unit.broker.hidden, unit.state()), (Some(why), 2, State::Starting));
            assert_eq!(unit.service("disk", &mut function, &mut holder, again + 1), None);
            assert_eq!(unit.state(), if must_be_held { State::Unconfined } else { State::Running });
        }
    }
}

#[test]
fn a_device_that_cannot_be_released_is_not_used() {
    let (mut unit, mut function) = to_be_tried(false);
    let mut holder = FakeHolder::new(Err(Why::CanaryWritten));
    unit.broker.probe = Probe::Ended(Ok(()));
    let mut now = 1;
    while let Some(again) = unit.service("disk", &mut function, &mut holder, now) {
        assert!(again > now && again < 3_000_000_000);
        now = again;
    }
    assert_eq!((unit.state(), unit.verdict()), (State::Unusable, Some(Why::UnitTimedOut)));
}

#[test]
fn a_device_waits_for_another_that_is_tried_and_gives_way_when_its_driver_dies() {
    let (mut unit, mut function) = to_be_tried(false);
    let mut holder = FakeHolder::new(Ok(()));
    holder.free = false;
    let again = unit.service("disk", &mut function, &mut holder, 1).expect("it waits");
    assert!(again > 2);
    holder.free = true;
    assert_eq!(unit.service("disk", &mut function, &mut holder, again), Some(again + 1));
    unit.service("disk", &mut function, &mut holder, again + 1);
    unit.stop();
    assert_eq!(unit.service("disk", &mut function, &mut holder, again + 2), None);
    assert_eq!((unit.state(), unit.verdict(), holder.ended), (State::Stopped, None, 1));
    unit.restart();
    assert_eq!(unit.state(), State::Starting, "it is tried anew");
    unit.broker.probe = Probe::Ended(Ok(()));
    serve(&mut unit, &mut function, &mut holder, 10);
    assert_eq!((unit.state(), unit.verdict()), (State::Running, Some(Why::ProbePassed)));
}

/// A device that is held, has been tried and is to be handed over; and its IOMMU.
fn to_be_handed_over(lane: LaneChoice) -> (Unit<Scripted>, FakeFunction, FakeHolder) {
    let (unit, function) = unit();
    let parts = Parts { hidden: memory(4096), ..unit.parts };
    let mut unit = Unit::new(Scripted::new(ledger(1)), parts, Confinement::to_be_tried(ledger(2)), false, lane);
    let mut holder = FakeHolder::new(Ok(()));
    let mut function = function;
    unit.broker.probe = Probe::Ended(Ok(()));
    for now in 1..3 {
        assert_eq!(unit.service("disk", &mut function, &mut holder, now), Some(now + 1));
    }
    assert_eq!(unit.lane(), None, "nothing is chosen before it is known whether the device is held");
    (unit, function, holder)
}

/// Serves the device until it waits for nothing.
fn serve(unit: &mut Unit<Scripted>, function: &mut FakeFunction, holder: &mut FakeHolder, mut now: u64) {
    while let Some(again) = unit.service("disk", function, holder, now) {
        assert!(again > now && again < 3_000_000_000);
        now = again;
    }
}

const BUS_MASTERING: u32 = 0b100;

#[test]
fn a_whole_device_that_is_held_is_handed_over_with_rings_that_are_zero() {
    let (mut unit, mut function, mut holder) = to_be_handed_over(whole());
    unit.parts.hidden.write_u64(4088, 7);
    assert_eq!(function.command() & BUS_MASTERING, 0);
    serve(&mut unit, &mut function, &mut holder, 3);
    assert_eq!((unit.state(), unit.lane()), (State::Running, Some(Ok(0x2000))));
    assert_eq!((holder.forgets, unit.parts.hidden.read_u64(4088)), (1, 0));
    assert_eq!(function.command() & BUS_MASTERING, BUS_MASTERING);
    for error in errors(&mut unit, &mut function) {
        let error = error.expect("the broker has no part in it");
        assert_eq!((error.error, error.because), (Error::Denied, Because::Direct));
    }
    assert_eq!(unit.broker.calls, 0);
    assert!(!unit.is_enabled(&mut function));
    unit.broker.on = true;
    assert!(unit.is_enabled(&mut function));
}

#[test]
fn a_driver_that_runs_again_has_the_same_lane_handed_over_anew() {
    let (mut unit, mut function, mut holder) = to_be_handed_over(whole());
    serve(&mut unit, &mut function, &mut holder, 3);
    unit.stop();
    unit.parts.hidden.write_u64(0, 7);
    unit.broker.quiesce = Progress::Again(50);
    assert_eq!(unit.service("disk", &mut function, &mut holder, 40), Some(50));
    unit.restart();
    assert_eq!(unit.state(), State::Stopping, "not before the device was seen to stop");
    unit.broker.quiesce = Progress::Done;
    serve(&mut unit, &mut function, &mut holder, 50);
    assert_eq!((unit.state(), unit.parts.hidden.read_u64(0)), (State::Stopped, 7));
    function.set_bus_mastering(false);
    unit.restart();
    assert_eq!(unit.state(), State::Starting);
    // While it is handed over its driver is told that it is busy.
    assert_eq!(errors(&mut unit, &mut function)[0].expect("refused").error, Error::Busy);
    holder.forgets = 0;
    serve(&mut unit, &mut function, &mut holder, 60);
    assert_eq!((unit.state(), unit.lane(), holder.forgets), (State::Running, Some(Ok(0x2000)), 1));
    assert_eq!((unit.parts.hidden.read_u64(0), function.command() & BUS_MASTERING), (0, BUS_MASTERING));
    assert_eq!(unit.broker.hidden, 1, "its addresses are those of the domain still");
}

#[test]
fn a_part_of_a_device_that_is_held_stays_brokered() {
    for (lane, needed, why) in [
        (limited(), Some(0x1018), lane::Reason::GrantLimited),
        (whole(), None, lane::Reason::NoDirectDriver),
        (whole(), Some(0x2001), lane::Reason::RegisterPageShared),
    ] {
        let (mut unit, mut function, mut holder) = to_be_handed_over(lane);
        unit.broker.needed = needed;
        serve(&mut unit, &mut function, &mut holder, 3);
        assert_eq!((unit.state(), unit.lane(), holder.forgets), (State::Running, Some(Err(why)), 0));
        assert_eq!(function.command() & BUS_MASTERING, 0, "its broker's to switch on");
        assert!(errors(&mut unit, &mut function).iter().all(Option::is_none));
    }
}

#[test]
fn an_iommu_that_does_not_forget_ends_the_use_of_the_device() {
    let (mut unit, mut function, mut holder) = to_be_handed_over(whole());
    holder.forgetful = false;
    serve(&mut unit, &mut function, &mut holder, 3);
    assert_eq!((unit.state(), function.command() & BUS_MASTERING), (State::Quarantined, 0));
    unit.restart();
    assert_eq!(unit.state(), State::Quarantined);
}

#[test]
fn a_driver_that_dies_while_its_device_is_handed_over_leaves_it_stopped() {
    let (mut unit, mut function, mut holder) = to_be_handed_over(whole());
    for now in 3..5 {
        assert!(unit.service("disk", &mut function, &mut holder, now).is_some());
    }
    assert_eq!(holder.forgets, 1, "it has begun");
    unit.stop();
    serve(&mut unit, &mut function, &mut holder, 4);
    assert_eq!((unit.state(), function.command() & BUS_MASTERING), (State::Stopped, 0));
    unit.restart();
    serve(&mut unit, &mut function, &mut holder, 5);
    assert_eq!((unit.state(), holder.forgets), (State::Running, 2));
}

mod no_broker;
