use super::super::fake::{FakeBus, FakeFunction};
use super::*;
use proptest::prelude::*;

extern crate std;
use std::vec::Vec as StdVec;

const NVME: [u8; 3] = [1, 8, 2];

fn nvme() -> FakeFunction {
    let mut function = FakeFunction::endpoint(0x1b36, 0x0010, NVME);
    function.set_byte(4, 0b110);
    function
}

fn scanned(bus: &mut FakeBus) -> Inventory {
    let mut inventory = Inventory::new();
    scan(bus, 0, 0, 255, &mut inventory);
    inventory
}

fn addresses(inventory: &Inventory) -> StdVec<(u8, u8, u8)> {
    let place = |found: &Found| (found.address.bus, found.address.device, found.address.function);
    inventory.functions().iter().map(place).collect()
}

#[test]
fn bus_mastering_goes_off_on_every_function_but_bridges() {
    let mut bus = FakeBus::default();
    let mut bridge = FakeFunction::bridge(1);
    bridge.set_byte(4, 0b111);
    bus.put(0, 1, 0, bridge);
    bus.put(0, 3, 0, nvme());
    bus.put(1, 0, 0, nvme());
    bus.put(0x80, 4, 0, nvme());
    let inventory = scanned(&mut bus);
    assert_eq!(addresses(&inventory), [(0, 3, 0), (1, 0, 0), (0x80, 4, 0)]);
    assert_eq!(inventory.masters(), 3);
    for (address, function) in &bus.functions {
        let command = function.clone().command();
        if address.device == 1 {
            assert_eq!(command, 0b111, "bridge");
        } else {
            assert_eq!(command, 1 << 10 | 0b010, "{address}");
        }
    }
}

#[test]
fn further_functions_are_looked_at_only_where_the_first_says_so() {
    let mut bus = FakeBus::default();
    let mut many = nvme();
    many.set_byte(0x0e, 0x80);
    bus.put(0, 3, 0, many);
    bus.put(0, 3, 5, nvme());
    bus.put(0, 4, 0, nvme());
    // An echo of function 0, as devices with incomplete address decoding have.
    bus.put(0, 4, 5, nvme());
    assert_eq!(addresses(&scanned(&mut bus)), [(0, 3, 0), (0, 3, 5), (0, 4, 0)]);
}

#[test]
fn the_status_register_is_not_cleared() {
    let mut bus = FakeBus::default();
    let address = bus.put(0, 3, 0, nvme());
    let mut written = FakeFunction::endpoint(1, 1, NVME);
    written.set_byte(7, 0xf9);
    bus.functions.insert(address, written);
    scanned(&mut bus);
    assert_eq!(bus.functions[&address].bytes()[7], 0xf9);
}

#[test]
fn bridges_in_circles_end() {
    let mut bus = FakeBus::default();
    let first = bus.put(0, 1, 0, FakeFunction::bridge(1));
    bus.put(1, 0, 0, FakeFunction::bridge(2));
    bus.put(2, 0, 0, FakeFunction::bridge(1));
    bus.put(2, 1, 0, FakeFunction::bridge(2));
    let leaf = bus.put(2, 2, 0, nvme());
    let inventory = scanned(&mut bus);
    assert_eq!(addresses(&inventory), [(2, 2, 0)]);
    assert_eq!(inventory.bridges().len(), 4);
    let path: StdVec<_> = inventory.path(leaf).collect();
    assert!(path.len() <= 4 && path.contains(&first), "{path:?}");
}

#[test]
fn a_path_names_every_bridge_up_to_the_root() {
    let mut bus = FakeBus::default();
    let port = bus.put(0, 1, 0, FakeFunction::bridge(1));
    let switch = bus.put(1, 0, 0, FakeFunction::bridge(7));
    bus.put(0, 2, 0, FakeFunction::bridge(9));
    let leaf = bus.put(7, 0, 0, nvme());
    let inventory = scanned(&mut bus);
    assert_eq!(inventory.path(leaf).collect::<StdVec<_>>(), [switch, port]);
    assert_eq!(inventory.path(port).count(), 0);
}

#[test]
fn the_lowest_address_that_matches_and_is_free_is_selected() {
    let mut bus = FakeBus::default();
    let first = bus.put(0, 3, 0, nvme());
    let second = bus.put(0, 9, 0, FakeFunction::endpoint(0x1414, 0x00a9, NVME));
    bus.put(0, 1, 0, FakeFunction::endpoint(0x8086, 0x100e, [2, 0, 0]));
    let inventory = scanned(&mut bus);
    let any = Selector { class: Some((1, 8, 2)), vendor: None, device: None, address: None };
    let select = |selector, taken: &[PciAddress]| {
        inventory.select(&selector, |address| taken.contains(&address)).map(|found| found.address)
    };
    assert_eq!(select(any, &[]), Some(first));
    assert_eq!(select(any, &[first]), Some(second));
    assert_eq!(select(any, &[first, second]), None);
    assert_eq!(select(Selector { vendor: Some(0x1414), ..any }, &[]), Some(second));
    assert_eq!(select(Selector { device: Some(0x0010), ..any }, &[]), Some(first));
    assert_eq!(select(Selector { address: Some(second), ..any }, &[]), Some(second));
    assert_eq!(select(Selector { vendor: Some(0x1414), address: Some(first), ..any }, &[]), None);
    assert_eq!(select(Selector { class: Some((1, 8, 3)), ..any }, &[]), None);
}

#[test]
fn functions_beyond_the_room_lose_bus_mastering_too() {
    let mut bus = FakeBus::default();
    for number in 0..10 {
        for device in 0..32 {
            bus.put(number, device, 0, nvme());
        }
    }
    let inventory = scanned(&mut bus);
    assert_eq!((inventory.functions().len(), inventory.unlisted()), (FUNCTIONS_MAX, 320 - FUNCTIONS_MAX as u32));
    assert!(bus.functions.values_mut().all(|function| function.command() & BUS_MASTERING == 0));
}

proptest! {
    #[test]
    fn any_bytes_in_any_function_end_in_bounded_reads(
        functions in prop::collection::btree_map((any::<u8>(), 0u8..32, 0u8..8), prop::collection::vec(any::<u8>(), 64), 0..40),
    ) {
        let mut bus = FakeBus::default();
        for ((number, device, function), bytes) in &functions {
            bus.put(*number, *device, *function, FakeFunction::raw(bytes));
        }
        let inventory = scanned(&mut bus);
        prop_assert!(bus.reads <= 256 * 32 + 40 * 8 * 5);
        for found in inventory.functions() {
            prop_assert!(inventory.path(found.address).count() <= inventory.bridges().len());
        }
    }
}
