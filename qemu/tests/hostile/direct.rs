//! A hostile driver on the direct lane: nobody reads its commands, and the IOMMU lets its controller reach what is its own.
//! Beside it, the hostile client of a block server whose driver has its own rings as well.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use abi::layout::{DIRECT_START, STACK_BYTES_MAX, STACK_TOP};

use hostile::pattern;
use qemu::guest::{GuestMemory, Mapping, Space};
use qemu::lane::Lane;
use qemu::machine::Trace;
use qemu::qmp::Client;
use qemu::serial::Event;

use super::boot::{Hostile, LOW_BYTES, check, check_told_of_calls};
use super::table::{CLIENT, DIRECT, Expected, NOT_MAPPED, Reach, in_common};
use super::trace::{self, Blocked};

/// Bus 0, device 9, function 0.
const REQUESTER: u64 = 0x48;
/// Lines in which the kernel tells of blocked requests: one for each power of two.
const LINES_MAX: usize = 20;

/// What the IOMMU blocked, as QEMU traces it: by requester and page, whether a write was among it.
fn blocked(trace: &str) -> BTreeMap<(u64, u64), Vec<Reach>> {
    let mut blocked = BTreeMap::<_, Vec<_>>::new();
    for Blocked { requester, page, write } in trace::blocked(trace) {
        let reach = if write { Reach::Write } else { Reach::Read };
        let reaches = blocked.entry((requester, page)).or_default();
        if !reaches.contains(&reach) {
            reaches.push(reach);
        }
    }
    blocked
}

/// Bytes of a controller's BAR, and where in it its MSI-X table is, as QEMU has it.
const BAR_BYTES: u64 = 0x4000;
const MSIX_TABLE: u64 = 0x2000;
/// Where `q35` has what no task maps: configuration space, the I/O APIC, the IOMMU and the local APIC.
const CONFIGURATION: Range<u64> = 0xb000_0000..0xc000_0000;
const IO_APIC: Range<u64> = 0xfec0_0000..0xfec0_1000;
const IOMMU: Range<u64> = 0xfed9_0000..0xfed9_1000;
const LOCAL_APIC: Range<u64> = 0xfee0_0000..0xfef0_0000;
/// What the driver fills its region with, and writes to the other namespace.
const SALT: u64 = 0xbad_d41e4;

/// Has the driver restarted that is to die with commands in flight.
const SUPERVISOR: &str = "
[tasks.supervisor]
program = \"supervisor\"
priority = 40
stack = \"32 KiB\"
[tasks.supervisor.grants]
driver = { supervise = \"driver\", limit = 3, back_off = \"10 ms\" }
log = { log = \"supervisor\" }
";

/// Where the controllers' registers are.
fn registers(control: &mut Client) -> [u64; 2] {
    let devices = control.monitor("info pci").unwrap();
    let bars: Vec<_> = devices
        .split("1b36:0010")
        .skip(1)
        .map(|text| {
            let place = text.split("BAR0: 64 bit memory at 0x").nth(1).and_then(|text| text.split_whitespace().next());
            u64::from_str_radix(place.expect("a BAR"), 16).expect("an address")
        })
        .collect();
    bars.try_into().expect("two controllers")
}

/// What the charter's other tasks and devices have is not mapped into the driver, by name of the attempt.
fn check_not_mapped(control: &mut Client, [other, own]: [u64; 2]) {
    let page_table = control.register("CR3").unwrap();
    let spaces = GuestMemory::new(control, LOW_BYTES).unwrap().tasks(page_table).unwrap();
    let space = |name: &str| spaces.iter().find(|space| space.task == name).unwrap_or_else(|| panic!("no {name}"));
    let mapped: Vec<_> = space("driver").user().collect();
    let direct = |space: &Space| {
        let part = DIRECT_START..STACK_TOP - STACK_BYTES_MAX;
        let found: Vec<_> = space.user().filter(|mapping| part.contains(&mapping.address)).cloned().collect();
        found.try_into().unwrap_or_else(|found| panic!("{}: rings and registers: {found:x?}", space.task))
    };
    let [_, registers]: [Mapping; 2] = direct(space("driver"));
    assert_eq!(registers.physical_range(), own..own + MSIX_TABLE, "its registers up to the MSI-X table");
    let [others_rings, _] = direct(space("nvme"));
    let windows = |name: &str| space(name).windows().map(Mapping::physical_range).collect::<Vec<_>>();
    let bar = |registers: u64| registers..registers + BAR_BYTES;
    for (name, _) in NOT_MAPPED {
        let kept = match *name {
            "msix-tables" => vec![own + MSIX_TABLE..own + BAR_BYTES, other + MSIX_TABLE..other + BAR_BYTES],
            "other-controller" => vec![bar(other)],
            "configuration-space" => vec![CONFIGURATION],
            "iommu" => vec![IOMMU],
            "interrupt-controllers" => vec![IO_APIC, LOCAL_APIC],
            "others-windows" => [windows("canary"), windows("heart"), windows("client"), windows("nvme")].concat(),
            "others-rings" => vec![others_rings.physical_range()],
            other => panic!("{other}: nothing says what that is"),
        };
        assert!(!kept.is_empty());
        for range in kept {
            let found = mapped.iter().find(|mapping| {
                let physical = mapping.physical_range();
                physical.start < range.end && range.start < physical.end
            });
            assert!(found.is_none(), "{name}: {found:x?} is in {range:x?}");
        }
    }
}

/// Both drivers have rings of their own; one of them is hostile.
fn boot(trace: &Path) -> Hostile {
    Hostile::boot(
        |text| {
            let text = text.replace("program = \"hostile-driver\"", "program = \"hostile-direct\"");
            Lane::Direct.charter(&text) + SUPERVISOR
        },
        |machine| {
            Lane::Direct.change(machine);
            machine.trace = Some(Trace { events: vec!["vtd_dmar_fault".into()], file: trace.to_owned() });
        },
    )
}

/// What its controller reached for the IOMMU recorded, with this requester and address, and for nobody else.
fn check_blocked(said: &[Event], blocked: &BTreeMap<(u64, u64), Vec<Reach>>) {
    let mut commands = 0;
    let mut wrong = Vec::new();
    for attempt in DIRECT {
        let Expected::Blocked(reach) = attempt.expected else { continue };
        let lines: Vec<_> = said.iter().filter(|line| line.get("name") == Some(attempt.name)).collect();
        if lines.is_empty() {
            wrong.push(format!("not made: {}", attempt.name));
        }
        for line in lines {
            let address = line.number("address").unwrap();
            commands += line.number("commands").unwrap();
            let found = blocked.get(&(REQUESTER, address & !0xfff));
            if found.is_none_or(|found| !found.contains(&reach)) {
                wrong.push(format!("not blocked: {}: {line}: {found:?}", attempt.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut reaches = said.iter().filter(|line| line.get("address").is_some());
    let is_known = |line: &Event| {
        DIRECT.iter().any(|attempt| Some(attempt.name) == line.get("name") && is_blocked(attempt.expected))
    };
    assert!(reaches.all(is_known), "attempts that have no line in the table");
    assert!(commands > 65_536, "every page of memory was tried: {commands}");
    for page in (0..256 << 20).step_by(4096) {
        assert!(blocked.contains_key(&(REQUESTER, page)), "{page:#x} was not blocked");
    }
    // The provoked one of the other device's probe is all of the other's.
    let others = blocked.keys().filter(|(requester, _)| *requester != REQUESTER).count();
    assert!(others <= 1, "{others} pages that others reached for");
}

#[test]
fn everything_that_a_hostile_driver_with_its_own_rings_and_a_client_try_is_answered_as_the_table_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.log");
    let mut hostile = boot(&file);
    hostile.system.expect_from("client", "attempts done");
    hostile.system.expect_from("driver", "reading until the disk stands still");
    let control = hostile.system.running().control().unwrap();
    let [other, own] = registers(control);
    control.pause().unwrap();
    check_not_mapped(control, [other, own]);
    let said: Vec<_> = hostile.system.running().events().filter(|line| line.is("driver", "attempt")).collect();
    let blocked = blocked(&std::fs::read_to_string(&file).expect("a trace"));
    check_blocked(&said, &blocked);
    // The other controller's MSI-X table is among all that may be registers. To its own a controller of QEMU's does not
    // write, before any IOMMU is asked.
    let table = other + MSIX_TABLE;
    assert!(blocked.contains_key(&(REQUESTER, table)), "the table at {table:#x} was not tried");
    let control = hostile.system.running().control().unwrap();
    // At one byte a second, what is submitted from now on stays in flight.
    control.throttle("nvme1-ns2", Some(1)).unwrap();
    control.resume().unwrap();
    let stopped = hostile.system.expect("kernel", "task stopped");
    assert_eq!(stopped.get("task"), Some("driver"));
    hostile.system.expect("driver", "attempts done");
    hostile.system.running().control().unwrap().throttle("nvme1-ns2", None).unwrap();
    let (log, [_, foreign]) = hostile.others_were_not_harmed();

    // Each driver has its own rings; one task stopped, once, as agreed, and was restarted.
    for device in ["prey", "disk"] {
        let lane = log.all("dma", "lane selection").find(|line| line.get("device") == Some(device)).unwrap();
        assert_eq!(lane.get("lane"), Some("direct"), "{lane}");
    }
    log.one("kernel", "task stopped");
    log.one("supervisor", "restarted");
    check(&log, "driver", DIRECT.iter().filter(|attempt| !is_blocked(attempt.expected)).chain(in_common()));
    check(&log, "client", CLIENT);
    check_told_of_calls(&log);
    let refused = log.all("dma", "command refused").filter(|line| line.get("device") == Some("prey"));
    let because: Vec<_> = refused.map(|line| (line.number("times").unwrap(), line.text("because").unwrap())).collect();
    assert_eq!(because, [(1, "the lane is direct")], "the broker's calls are told of");
    assert_eq!(pattern::wrong_in(&foreign[..512], SALT), 0, "the whole device is its own");

    // The kernel told of it, with the culprit, and not too often.
    let told: Vec<_> =
        log.all("dma", "request blocked").filter(|line| line.get("device") == Some("prey")).cloned().collect();
    assert!((2..=LINES_MAX).contains(&told.len()), "{} lines", told.len());
    assert!(told.iter().all(|line| line.get("requester") == Some("0000:00:09.0")), "{told:?}");
    assert_eq!(log.all("dma", "request blocked").count(), told.len(), "nobody else is blamed");
}

fn is_blocked(expected: Expected) -> bool {
    matches!(expected, Expected::Blocked(_))
}
