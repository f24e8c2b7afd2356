//! A hostile driver on the direct lane: nobody reads its commands, and the IOMMU lets its controller reach what is its own.

use std::collections::BTreeMap;

use qemu::lane::Lane;
use qemu::machine::Trace;
use qemu::qmp::Client;

use super::boot::Hostile;

/// What is tried, and how the controller would reach there.
const ATTEMPTS: &[(&str, Reach)] = &[
    ("data-before-region", Reach::Write),
    ("data-behind-region", Reach::Write),
    ("data-far-behind-region", Reach::Write),
    ("data-across-region-end", Reach::Write),
    ("data-before-rings", Reach::Write),
    ("data-behind-rings", Reach::Write),
    ("data-at-page-0", Reach::Write),
    ("data-at-kernel", Reach::Write),
    ("data-at-top-half", Reach::Write),
    ("data-beyond-the-domain", Reach::Write),
    ("sweep-memory", Reach::Write),
    ("sweep-registers", Reach::Write),
    ("list-behind-region", Reach::Read),
    ("list-at-page-0", Reach::Read),
    ("list-at-kernel", Reach::Read),
    ("list-before-rings", Reach::Read),
    ("entry-behind-region", Reach::Write),
    ("entry-at-kernel", Reach::Write),
    ("submission-queue-behind-region", Reach::Read),
    ("submission-queue-at-kernel", Reach::Read),
    ("completion-queue-behind-region", Reach::Write),
    ("completion-queue-at-kernel", Reach::Write),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Read,
    Write,
}

/// Bus 0, device 9, function 0.
const REQUESTER: u64 = 0x48;
/// Lines in which the kernel tells of blocked requests: one for each power of two.
const LINES_MAX: usize = 20;

/// What the IOMMU blocked, as QEMU traces it: by requester and page, whether a write was among it.
fn blocked(trace: &str) -> BTreeMap<(u64, u64), Vec<Reach>> {
    let mut blocked = BTreeMap::<_, Vec<_>>::new();
    for line in trace.lines().filter(|line| line.contains("vtd_dmar_fault ")) {
        let number = |key: &str| {
            let rest = line.split(&format!("{key} 0x")).nth(1).unwrap_or_else(|| panic!("no {key} in {line}"));
            let digits = rest.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
            u64::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{key} in {line}: {error}"))
        };
        let reach = if line.trim_end().ends_with("write 1") { Reach::Write } else { Reach::Read };
        let reaches = blocked.entry((number("sid"), number("addr") & !0xfff)).or_default();
        if !reaches.contains(&reach) {
            reaches.push(reach);
        }
    }
    blocked
}

/// Where the controllers' MSI-X tables are: 2000h bytes behind their first register.
fn msix_tables(control: &mut Client) -> Vec<u64> {
    let devices = control.monitor("info pci").unwrap();
    let bars = devices.split("1b36:0010").skip(1).map(|text| {
        let place = text.split("BAR0: 64 bit memory at 0x").nth(1).and_then(|text| text.split_whitespace().next());
        u64::from_str_radix(place.expect("a BAR"), 16).expect("an address")
    });
    bars.map(|bar| bar + 0x2000).collect()
}

#[test]
fn what_a_hostile_driver_with_its_own_rings_reaches_for_the_iommu_blocks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.log");
    let mut hostile = Hostile::boot_machine(
        |text| {
            let whole = text.replace("program = \"hostile-driver\"", "program = \"hostile-direct\"");
            let (others, driver) = whole.split_once("[tasks.driver]").expect("the driver's part");
            format!("{others}[tasks.driver]{}", Lane::Direct.charter(driver))
        },
        |machine| {
            Lane::Direct.change(machine);
            machine.trace = Some(Trace { events: vec!["vtd_dmar_fault".into()], file: file.clone() });
        },
    );
    hostile.system.expect("driver", "attempts done");
    let tables = msix_tables(hostile.system.running().control().unwrap());
    let log = hostile.nobody_was_harmed(0);

    // The one has its own rings, the other's grant is limited.
    let lane = |device| log.all("dma", "lane selection").find(|line| line.get("device") == Some(device)).unwrap();
    assert_eq!((lane("prey").get("lane"), lane("disk").get("lane")), (Some("direct"), Some("brokered")));
    for line in log.all("driver", "brokered call") {
        assert_eq!(line.get("answer"), Some("denied"), "the broker's calls are not this lane's: {line}");
    }
    assert_eq!(log.all("driver", "brokered call").count(), 5);
    // What is its own, it reached, before and after.
    let own: Vec<_> = log.all("driver", "own page").map(|line| (line.get("ended"), line.get("written"))).collect();
    assert_eq!(own, [(Some("1"), Some("true")); 2]);

    // Each attempt was made, and the IOMMU recorded it, with this requester and address.
    let blocked = blocked(&std::fs::read_to_string(&file).expect("a trace"));
    let mut commands = 0;
    for (name, reach) in ATTEMPTS {
        let lines: Vec<_> =
            log.all("driver", "attempt").filter(|line| line.get("name") == Some(*name)).cloned().collect();
        assert!(!lines.is_empty(), "{name}");
        for line in lines {
            let address = line.number("address").unwrap();
            commands += line.number("commands").unwrap();
            let found = blocked.get(&(REQUESTER, address & !0xfff));
            assert!(found.is_some_and(|found| found.contains(reach)), "{line}: {found:?}");
        }
    }
    assert!(commands > 65_536, "every page of memory was tried: {commands}");
    for page in (0..256 << 20).step_by(4096) {
        assert!(blocked.contains_key(&(REQUESTER, page)), "{page:#x} was not blocked");
    }
    // The other controller's MSI-X table is among all that may be registers. To its own a controller of QEMU's does not
    // write, before any IOMMU is asked.
    let [table, _] = tables[..] else { panic!("{tables:x?}") };
    assert!(blocked.contains_key(&(REQUESTER, table)), "the table at {table:#x} was not tried");
    // Nobody else was: the provoked one of each device's probe is all of the other's.
    let others = blocked.keys().filter(|(requester, _)| *requester != REQUESTER).count();
    assert!(others <= 1, "{others} pages that others reached for");

    // The kernel told of it, with the culprit, and not too often.
    let told: Vec<_> =
        log.all("dma", "request blocked").filter(|line| line.get("device") == Some("prey")).cloned().collect();
    assert!((2..=LINES_MAX).contains(&told.len()), "{} lines", told.len());
    assert!(told.iter().all(|line| line.get("requester") == Some("0000:00:09.0")), "{told:?}");
    assert_eq!(log.all("dma", "request blocked").count(), told.len(), "nobody else is blamed");
}
