//! Machines without what PCs have had since 1981: timers, interrupt controllers, keyboard, serial port.

use std::thread;
use std::time::{Duration, Instant};

use qemu::harness::{Bench, Log, boot_default, root};
use qemu::machine::Board;
use qemu::nvme::Namespace;
use qemu::serial::Event;
use serde_json::json;

/// Everything that QEMU 7.2 can leave out of its boards.
const LEGACY: &str = "hpet=off,pit=off,pic=off,i8042=off,vmport=off,smbus=off";

/// The clock's line: every frequency and where it comes from.
fn check_clock(log: &Log) -> &Event {
    let clock = log.one("clock", "started");
    assert_eq!(
        (clock.get("source"), clock.get("apic_source")),
        (Some("acpi-pm-timer"), Some("acpi-pm-timer")),
        "{clock}"
    );
    for key in ["hz", "apic_hz"] {
        assert!((50_000_000..20_000_000_000).contains(&clock.number(key).unwrap()), "{clock}");
    }
    clock
}

#[test]
fn q35_without_timers_interrupt_controllers_and_keyboard() {
    let log = boot_default(|machine| machine.further = vec!["-machine".into(), format!("{LEGACY},sata=off")]);
    let clock = check_clock(&log);
    assert_eq!((clock.get("apic"), clock.get("timer")), (Some("xapic"), Some("one-shot")), "TCG has no other: {clock}");
    assert_eq!(log.one("kernel", "console").get("input"), Some("interrupt"));
}

#[test]
fn pc_without_timers_interrupt_controllers_and_keyboard() {
    let log = boot_default(|machine| {
        machine.board = Board::Pc;
        machine.further = vec!["-machine".into(), LEGACY.into()];
    });
    check_clock(&log);
}

/// Without firmware's tables nobody says where the I/O APIC is, how fast anything runs, or how to switch off.
#[test]
fn without_acpi_tables_the_console_still_listens() {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    machine.further = ["-machine", "acpi=off"].map(Into::into).into();
    let mut system = bench.boot(&machine);
    system.wait_complete();
    let clock = system.expect("clock", "started");
    assert_eq!((clock.get("source"), clock.get("apic_source")), (Some("assumed"), Some("assumed")), "{clock}");
    assert_eq!(system.expect("kernel", "console").get("input"), Some("polling"));
    assert_eq!(system.expect("charter", "pci scanned").get("access"), Some("ports"));
    system.type_text("power off\r");
    system.expect_line("the answer", |line| line == "> this machine names no way to do it");
    assert_eq!(system.end().check_reads(&[(2, &disk)]), 5);
}

/// Nobody sees a line: the disk's own count of reads tells that the reader ran, and the log in memory that the boot
/// ended well.
#[test]
fn without_a_serial_port_the_boot_goes_on() {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    machine.serial_port = false;
    let mut system = bench.boot(&machine);
    let control = system.running().control().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let reads = loop {
        let stats = control.execute("query-blockstats", json!({})).unwrap();
        let reads = stats.as_array().unwrap().iter().find(|drive| drive["device"] == "nvme0-ns2");
        let reads = reads.unwrap_or_else(|| panic!("{stats}"))["stats"]["rd_bytes"].as_u64().unwrap();
        // The largest of the reader's reads is the last one: 2048 blocks.
        if reads >= 2048 * 512 || Instant::now() > end {
            break reads;
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert!(reads >= 2048 * 512, "{reads} bytes read of the data disk");
    thread::sleep(Duration::from_millis(500));
    control.pause().unwrap();
    let memory = control.read_memory(0, 256 << 20).unwrap();
    let holds = |text: &[u8]| memory.windows(text.len()).any(|bytes| bytes == text);
    assert!(holds(b"\nkernel: console input=nothing\n"), "the console has no port");
    assert!(holds(b"\ncharter: boot complete tasks=6\n"), "the log in memory ends well");
}

#[test]
fn what_collecting_evidence_takes_is_told() {
    let log = boot_default(|_| {});
    let left = log.one("charter", "firmware left");
    let (all, evidence) = (left.number("application_us").unwrap(), left.number("evidence_us").unwrap());
    assert!(evidence > 0 && evidence < all, "{left}");
    assert!((12..=16384).contains(&left.number("evidence_bytes").unwrap()), "{left}");
}
