//! Packages that are good, and what is refused.

use super::*;
extern crate std;
use std::vec::Vec as StdVec;

fn task(name: &str) -> Task<'_> {
    Task {
        name,
        priority: 3,
        required: true,
        entry: 0x40_0010,
        stack_bytes: 0x4000,
        log_names: Vec::from_slice(&[name]).unwrap(),
        segments: Vec::from_slice(&[Segment {
            address: 0x40_0000,
            bytes: 0x1800,
            access: Access::ReadExecute,
            data: &[0x90; 100],
        }])
        .unwrap(),
        windows: Vec::from_slice(&[Window {
            region: 0,
            offset: 0x1000,
            bytes: 0x3000,
            address: layout::WINDOW_START,
            writable: true,
        }])
        .unwrap(),
        capabilities: Vec::from_slice(&[Capability::Receive { endpoint: 0 }, Capability::Log { name: 0 }]).unwrap(),
        start_info: &[1],
    }
}

fn device() -> Device<'static> {
    Device {
        name: "disk",
        selector: Selector { class: Some((1, 8, 2)), vendor: None, device: None, address: None },
        bar: 0,
        broker: BrokerKind::Nvme,
        remapping: RemappingPolicy::Require,
        vectors: Vec::from_slice(&[0, 1]).unwrap(),
        regions: Vec::from_slice(&[0]).unwrap(),
        limits: Vec::from_slice(&[Limit { writable: false, ..Limit::WHOLE_DEVICE }]).unwrap(),
    }
}

fn build(devices: &[Device<'_>], regions: &[Region<'_>], tasks: &[Task<'_>]) -> StdVec<u8> {
    let contents = Contents {
        name: "test",
        system_version: 3,
        endpoints: 1,
        devices: devices.len() as u16,
        regions: regions.len() as u16,
        tasks: tasks.len() as u16,
        symbols: [7; 32],
    };
    let mut buffer = std::vec![0; 1 << 16];
    let mut stream = StdVec::new();
    stream.extend_from_slice(postcard::to_slice(&contents, &mut buffer).unwrap());
    devices.iter().for_each(|item| stream.extend_from_slice(postcard::to_slice(item, &mut buffer).unwrap()));
    regions.iter().for_each(|item| stream.extend_from_slice(postcard::to_slice(item, &mut buffer).unwrap()));
    tasks.iter().for_each(|item| stream.extend_from_slice(postcard::to_slice(item, &mut buffer).unwrap()));
    let mut bytes = header(&stream).to_vec();
    bytes.extend_from_slice(&stream);
    bytes
}

const REGION: Region<'static> = Region { name: "data", bytes: 0x4000 };

#[test]
fn what_was_packed_is_read_back() {
    let tasks = [task("a")];
    let mut bytes = build(&[device()], &[REGION], &tasks);
    bytes.extend_from_slice(&[0; 77]);
    let package = Package::open(&bytes).unwrap();
    assert_eq!(package.contents().name, "test");
    assert!(package.devices().eq([device()]));
    assert!(package.regions().eq([REGION]));
    assert!(package.tasks().eq(tasks));
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = build(&[device()], &[REGION], &[task("a")]);
    for index in (0..20).chain(HEADER_BYTES..bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x10;
        assert!(Package::open(&damaged).is_err(), "byte {index}");
    }
    for length in 0..bytes.len() {
        assert!(Package::open(&bytes[..length]).is_err(), "length {length}");
    }
}

fn refused(devices: &[Device<'_>], tasks: &[Task<'_>], expected: &str) {
    let error = Package::open(&build(devices, &[REGION], tasks)).unwrap_err();
    assert!(std::format!("{error}").contains(expected), "{error} is not about {expected}");
}

#[test]
fn references_to_nothing_are_refused() {
    let with = |capability| {
        let mut task = task("a");
        task.capabilities.push(capability).unwrap();
        task
    };
    refused(&[], &[with(Capability::Call { endpoint: 1, badge: 0 })], "call to an unknown endpoint");
    refused(&[], &[with(Capability::Signal { task: 1, bits: 1 })], "signal");
    refused(&[], &[with(Capability::Signal { task: 0, bits: 1 << 63 })], "signal");
    refused(&[], &[with(Capability::Registers { device: 0 })], "unknown device");
    refused(&[device()], &[with(Capability::Interrupt { device: 0, vector: 5, bits: 1 })], "does not grant");
    refused(&[], &[with(Capability::Log { name: 1 })], "log name");
    refused(&[], &[with(Capability::Receive { endpoint: 0 })], "received on by two");
    refused(&[device(), device()], &[task("a")], "region of another device");
    let whole = Vec::from_slice(&[Limit::WHOLE_DEVICE]).unwrap();
    let alone = Device { broker: BrokerKind::None, limits: whole, ..device() };
    assert!(Package::open(&build(core::slice::from_ref(&alone), &[REGION], &[task("a")])).is_ok());
    refused(&[Device { limits: device().limits, ..alone.clone() }], &[task("a")], "limits and no broker");
    for remapping in [RemappingPolicy::Allow, RemappingPolicy::Forbid] {
        refused(&[Device { remapping, ..alone.clone() }], &[task("a")], "nor remapping required");
    }
}

#[test]
fn mappings_outside_their_place_are_refused() {
    let change = |change: fn(&mut Task<'_>)| {
        let mut task = task("a");
        change(&mut task);
        task
    };
    refused(&[], &[change(|task| task.windows[0].offset = 0x2000)], "beyond its region");
    refused(&[], &[change(|task| task.windows[0].offset = u64::MAX - 0xfff)], "window");
    refused(&[], &[change(|task| task.windows[0].address += 0x1000)], "window's place");
    refused(&[], &[change(|task| task.segments[0].address = 0x1000)], "segment's place");
    refused(&[], &[change(|task| task.segments[0].bytes = u64::MAX)], "segment");
    refused(&[], &[change(|task| task.segments[0].bytes = 10)], "segment's size");
    refused(&[], &[change(|task| task.segments[0].access = Access::ReadWrite)], "entry is not in code");
    refused(&[], &[change(|task| task.stack_bytes = 0x20_0000)], "stack");
    refused(&[], &[change(|task| task.priority = 64)], "priority");
    refused(&[], &[change(|task| task.name = "A b")], "name");
}

proptest::proptest! {
    /// Any bytes behind a good header are refused or read whole, and nothing panics.
    #[test]
    fn no_stream_panics(stream in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let mut bytes = header(&stream).to_vec();
        bytes.extend_from_slice(&stream);
        if let Ok(package) = Package::open(&bytes) {
            proptest::prop_assert_eq!(package.tasks().count(), usize::from(package.contents().tasks));
        }
    }

    /// A good package with changed bytes and a fresh checksum is refused or read whole.
    #[test]
    fn no_forged_package_panics(at in 0usize..400, value: u8, at_too in 0usize..400, value_too: u8) {
        let good = build(&[device()], &[REGION], &[task("a"), {
            let mut task = task("b");
            task.capabilities.clear();
            task
        }]);
        let mut stream = good[HEADER_BYTES..].to_vec();
        let length = stream.len();
        stream[at % length] = value;
        stream[at_too % length] = value_too;
        let mut bytes = header(&stream).to_vec();
        bytes.extend_from_slice(&stream);
        if let Ok(package) = Package::open(&bytes) {
            for task in package.tasks() {
                for window in &task.windows {
                    let region = package.regions().nth(window.region.into()).unwrap();
                    proptest::prop_assert!(window.offset + window.bytes <= region.bytes);
                }
            }
        }
    }
}
