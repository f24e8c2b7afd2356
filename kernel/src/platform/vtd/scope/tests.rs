use super::*;
use crate::platform::acpi::dmar::{Reserved, UnitDescription};
use crate::platform::pci::fake::{FakeBus, FakeFunction};
use crate::platform::pci::scan::scan;

fn at(bus: u8, device: u8, function: u8) -> PciAddress {
    PciAddress { segment: 0, bus, device, function }
}

/// 00:01.0 alone; 00:02.0 and .1 in one device; 00:1c.0 and .1 root ports with 01:00.0, and with 02:00.0 and .1 behind
/// them; 00:1e.0 a root port with a bridge 03:00.0 behind it and 04:01.0 behind that.
fn inventory() -> Inventory {
    let mut bus = FakeBus::default();
    let endpoint = || FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
    let many = |mut function: FakeFunction| {
        let bytes = function.bytes();
        function.set_byte(0x0e, bytes[0x0e] | 0x80);
        function
    };
    bus.put(0, 1, 0, endpoint());
    bus.put(0, 2, 0, many(endpoint()));
    bus.put(0, 2, 1, endpoint());
    bus.put(0, 0x1c, 0, many(FakeFunction::bridge(1)));
    bus.put(0, 0x1c, 1, FakeFunction::bridge(2));
    bus.put(0, 0x1e, 0, FakeFunction::bridge(3));
    bus.put(0, 0x1f, 0, FakeFunction::bridge(5));
    bus.put(1, 0, 0, endpoint());
    bus.put(2, 0, 0, many(endpoint()));
    bus.put(2, 0, 1, endpoint());
    bus.put(3, 0, 0, FakeFunction::bridge(4));
    bus.put(4, 1, 0, endpoint());
    bus.put(5, 0, 0, endpoint());
    let mut inventory = Inventory::new();
    scan(&mut bus, 0, 0, 8, &mut inventory);
    inventory
}

fn way(inventory: &Inventory, address: PciAddress, passage: Passage) -> Way {
    inventory.path(address).map(|bridge| (bridge, passage)).collect()
}

fn scope(kind: ScopeKind, bus: u8, path: &[(u8, u8)]) -> Scope {
    Scope { kind, number: 0, bus, path: path.iter().copied().collect() }
}

fn unit_of(every_other: bool, scopes: &[Scope]) -> UnitDescription {
    UnitDescription { address: 0x1000, segment: 0, every_other, scopes: scopes.iter().cloned().collect() }
}

fn dmar(units: &[UnitDescription]) -> Dmar {
    Dmar { interrupt_remapping: true, units: units.iter().cloned().collect(), reserved: Vec::new() }
}

#[test]
fn a_function_alone_in_its_device_and_behind_its_port_is_held() {
    let (inventory, dmar) = (inventory(), dmar(&[unit_of(true, &[])]));
    let refused = |address| refuse(&dmar, &inventory, address, &way(&inventory, address, Passage::Transparent));
    assert_eq!(refused(at(0, 1, 0)), None);
    assert_eq!(refused(at(5, 0, 0)), None);
    assert_eq!(refused(at(4, 1, 0)), None, "two bridges of PCI Express, nobody else behind them");
    assert_eq!(refused(at(0, 2, 0)), Some(Reason::IsolationGroup), "another function of the device");
    assert_eq!(refused(at(2, 0, 1)), Some(Reason::IsolationGroup));
    assert_eq!(refused(at(1, 0, 0)), Some(Reason::IsolationGroup), "functions behind a port of the same device");
}

#[test]
fn a_bridge_that_passes_for_its_functions_is_not_covered() {
    let (inventory, dmar) = (inventory(), dmar(&[unit_of(true, &[])]));
    let address = at(4, 1, 0);
    let mut way = way(&inventory, address, Passage::Transparent);
    way[0].1 = Passage::Opaque;
    assert_eq!(refuse(&dmar, &inventory, address, &way), Some(Reason::BridgePath));
    let seen = seen(address, &way);
    assert_eq!(seen.requesters[..], [0x0408, 0x0400, 0x0300], "itself, function 0 of its bus, the bridge");
    assert_eq!(seen.sender, Sender::Bus(4));
}

#[test]
fn a_function_is_seen_as_itself() {
    let inventory = inventory();
    let address = at(4, 1, 0);
    let seen = seen(address, &way(&inventory, address, Passage::Transparent));
    assert_eq!((&seen.requesters[..], seen.sender), (&[0x0408][..], Sender::Requester(0x0408)));
    assert_eq!(super::address(0x0408), address);
}

#[test]
fn the_unit_that_names_a_function_goes_before_the_one_for_the_rest() {
    let inventory = inventory();
    let dmar = dmar(&[
        unit_of(true, &[scope(ScopeKind::Endpoint, 0, &[(1, 0)])]),
        unit_of(false, &[scope(ScopeKind::Endpoint, 0, &[(2, 1)])]),
        unit_of(false, &[scope(ScopeKind::Bridge, 0, &[(0x1e, 0)])]),
        unit_of(false, &[scope(ScopeKind::Endpoint, 0, &[(0x1f, 0), (0, 0)])]),
    ]);
    let of = |address| unit(&dmar, &inventory, address);
    assert_eq!(of(at(0, 1, 0)), Some(0));
    assert_eq!((of(at(0, 2, 0)), of(at(0, 2, 1))), (Some(0), Some(1)));
    assert_eq!((of(at(3, 0, 0)), of(at(4, 1, 0))), (Some(2), Some(2)), "everything behind a bridge");
    assert_eq!(of(at(5, 0, 0)), Some(3), "by the way to it");
    assert_eq!(of(PciAddress { segment: 1, ..at(0, 1, 0) }), None);
}

#[test]
fn without_a_unit_for_the_rest_a_function_may_have_none() {
    let inventory = inventory();
    let dmar = dmar(&[unit_of(false, &[scope(ScopeKind::Endpoint, 0, &[(9, 0), (0, 0)])])]);
    assert_eq!(unit(&dmar, &inventory, at(0, 1, 0)), None);
}

#[test]
fn firmwares_memory_is_said() {
    let inventory = inventory();
    let mut dmar = dmar(&[unit_of(true, &[])]);
    let scopes = [scope(ScopeKind::Endpoint, 0, &[(1, 0)])].into_iter().collect();
    dmar.reserved.push(Reserved { segment: 0, scopes }).unwrap();
    assert_eq!(refuse(&dmar, &inventory, at(0, 1, 0), &Way::new()), Some(Reason::ReservedMemory));
    let other = at(5, 0, 0);
    assert_eq!(refuse(&dmar, &inventory, other, &way(&inventory, other, Passage::Transparent)), None);
}
