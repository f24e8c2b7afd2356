//! Devices without a broker: they are used where their unit has held another device, and by their drivers' own hands.

use super::*;
use crate::devices::no_broker::{NoBroker, Nobody};

type Engine = Unit<NoBroker>;

fn engine(register_bytes: u32, reserved: &[(u32, u32)]) -> (Engine, FakeFunction, FakeHolder) {
    let (unit, function) = unit();
    let parts = Parts { hidden: memory(4096), ..unit.parts };
    let reserved = Vec::from_slice(reserved).expect("room");
    let broker = NoBroker::new(Ledger { register_bytes, reserved, ..ledger(0) });
    let lane = LaneChoice::new(Vec::from_slice(&[Limit::WHOLE_DEVICE]).expect("room"), register_bytes);
    let engine = Unit::new(broker, parts, Confinement::to_be_vouched_for(), true, lane);
    (engine, function, FakeHolder::new(Err(Why::NoUnit)))
}

/// Serves it until it waits for nothing, or a second has passed.
fn serve(unit: &mut Engine, function: &mut FakeFunction, holder: &mut FakeHolder, start: u64) -> Option<u64> {
    let mut now = start;
    while let Some(again) = unit.service("engine", function, holder, now) {
        assert!(again > now);
        if again > start + 1_000_000_000 {
            return Some(again);
        }
        now = again;
    }
    None
}

fn running() -> (Engine, FakeFunction, FakeHolder) {
    let (mut unit, mut function, mut holder) = engine(0x2000, &[]);
    holder.vouch = Vouch::Given;
    assert_eq!(serve(&mut unit, &mut function, &mut holder, 1), None);
    (unit, function, holder)
}

#[test]
fn it_is_handed_over_once_its_unit_has_held_another_device() {
    let (mut unit, mut function, mut holder) = engine(0x10_0000, &[]);
    holder.vouch = Vouch::Pending;
    let again = serve(&mut unit, &mut function, &mut holder, 1).expect("it waits");
    assert_eq!((unit.state(), unit.verdict(), function.command() & BUS_MASTERING), (State::Starting, None, 0));
    holder.vouch = Vouch::Given;
    assert_eq!(serve(&mut unit, &mut function, &mut holder, again), None);
    assert_eq!((unit.state(), unit.verdict()), (State::Running, Some(Why::UnitProbed)));
    // Of a large BAR as much as a driver has room for.
    assert_eq!((unit.lane(), holder.forgets), (Some(Ok(0x1_0000)), 1));
    assert_eq!(function.command() & BUS_MASTERING, BUS_MASTERING);
}

#[test]
fn without_that_its_bus_mastering_stays_off() {
    let (mut unit, mut function, mut holder) = engine(0x2000, &[]);
    assert_eq!(serve(&mut unit, &mut function, &mut holder, 1), None);
    assert_eq!((unit.state(), unit.verdict()), (State::Unconfined, Some(Why::UnitNotProbed)));
    assert_eq!((unit.lane(), function.command() & BUS_MASTERING), (None, 0));
    // Nor where there is no unit at all.
    let (tried, mut function, mut holder) = engine(0x2000, &[]);
    let lane = LaneChoice::new(Vec::from_slice(&[Limit::WHOLE_DEVICE]).expect("room"), 0x2000);
    let mut unit = Unit::new(tried.broker, tried.parts, Confinement::known(Why::NoTable), true, lane);
    holder.vouch = Vouch::Given;
    assert_eq!(serve(&mut unit, &mut function, &mut holder, 1), None);
    assert_eq!((unit.state(), function.command() & BUS_MASTERING), (State::Unconfined, 0));
}

#[test]
fn nobody_answers_for_it() {
    let (mut unit, mut function, _) = running();
    let errors = [
        unit.read(&mut function, 0, 4).err(),
        unit.write(&mut function, 0, 4, 1).err(),
        unit.submit(&mut function, 0, &[[0; 64]]).refused,
        unit.complete("engine", &mut function, 0, &mut [[0; 16]]).err(),
        unit.collect(&mut function, 0, 0, &mut [0; 16]).err(),
    ];
    assert!(errors.iter().all(|error| error.is_some_and(|error| error.error == Error::Denied)), "{errors:?}");
    let mut device = Hardware::new(&mut function, &mut unit.parts);
    let refusal = unit.broker.read(&mut device, 0, 4).expect_err("no broker").because;
    assert_eq!((refusal, Because::from(Wrapped(Nobody)).code()), (Nobody, 1));
}

#[test]
fn registers_that_hold_the_interrupt_table_are_not_its_drivers() {
    for (reserved, lane) in [((0x1800, 0x10), Ok(0x1000)), ((0x2000, 0x10), Ok(0x2000))] {
        let (mut unit, mut function, mut holder) = engine(0x3000, &[reserved]);
        holder.vouch = Vouch::Given;
        assert_eq!(serve(&mut unit, &mut function, &mut holder, 1), None);
        assert_eq!((unit.state(), unit.lane()), (State::Running, Some(lane)), "{reserved:?}");
    }
    // Where none are left it is not used at all.
    let (mut unit, mut function, mut holder) = engine(0x3000, &[(0x800, 0x10)]);
    (holder.vouch, unit.lane.own_pages) = (Vouch::Given, 0);
    assert_eq!(serve(&mut unit, &mut function, &mut holder, 1), None);
    assert_eq!((unit.state(), function.command() & BUS_MASTERING), (State::Unusable, 0));
}

#[test]
fn it_has_stopped_when_what_it_had_on_its_way_is_drained() {
    let (mut unit, mut function, mut holder) = running();
    (holder.forgetful, holder.forgets) = (false, 0);
    unit.stop();
    let again = unit.service("engine", &mut function, &mut holder, 10).expect("it waits");
    assert_eq!((unit.state(), holder.forgets, function.command() & BUS_MASTERING), (State::Stopping, 1, 0));
    holder.forgetful = true;
    assert_eq!(serve(&mut unit, &mut function, &mut holder, again), None);
    assert_eq!((unit.state(), holder.forgets), (State::Stopped, 1));
    unit.restart();
    assert_eq!(serve(&mut unit, &mut function, &mut holder, again), None);
    assert_eq!((unit.state(), holder.forgets), (State::Running, 2));

    // An IOMMU that never answers leaves it under quarantine.
    (holder.forgetful, holder.forgets) = (false, 0);
    unit.stop();
    let late = serve(&mut unit, &mut function, &mut holder, 20).expect("it is patient");
    assert_eq!(unit.service("engine", &mut function, &mut holder, late), None);
    assert_eq!((unit.state(), function.command() & BUS_MASTERING), (State::Quarantined, 0));
}
