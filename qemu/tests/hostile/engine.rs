//! A DMA engine without a broker: QEMU's `edu` device. Behind an IOMMU that held another device in this boot its driver has it
//! reach for memory and interrupts that are not its own; without one it is not used.

use std::fs;
use std::path::Path;

use qemu::harness::Log;
use qemu::lane::Lane;
use qemu::machine::{Machine, Trace};
use qemu::qmp::Client;

use super::boot::Hostile;
use super::trace::{self, Blocked};

/// In the place of the hostile NVMe driver and its controller.
const ENGINE: &str = r#"
[devices.engine]
vendor = 0x1234
device = 0x11e8
broker = "none"
remapping = "require"

[regions.engine-data]
device = "engine"
size = "64 KiB"

[tasks.engine]
program = "hostile-engine"
priority = 10
stack = "64 KiB"
[tasks.engine.grants]
registers = { registers = "engine", bar = 0 }
data = { dma = "engine-data" }
log = { log = "engine" }
"#;

/// Bus 0, device 10, function 0: as a requester, and its configuration space through port 0xCF8.
const REQUESTER: u64 = 0x50;
const CONFIGURATION: u64 = 0x8000_5000;
/// What is tried of memory: written, and read.
const MEMORY: usize = 12;
/// In interrupt messages: an entry of the table is named, and which.
const REMAPPABLE: u64 = 1 << 4;
const ENTRY_SHIFT: u32 = 5;

/// The charter with an engine and its driver, and without the hostile NVMe driver and client.
fn charter(text: String) -> String {
    let kept = text.split("\n[").filter(|part| {
        !["devices.prey]", "regions.prey", "tasks.driver", "tasks.client"].iter().any(|own| part.starts_with(own))
    });
    kept.collect::<Vec<_>>().join("\n[") + ENGINE
}

fn with_engine(machine: &mut Machine) {
    machine.further.extend(["-device", "edu,addr=0a.0,dma_mask=0xffffffffffffffff"].map(Into::into));
}

/// What the IOMMU blocked of the engine: page and whether it was a write.
fn blocked(trace: &str) -> Vec<(u64, bool)> {
    let own = |blocked: &Blocked| blocked.requester == REQUESTER;
    trace::blocked(trace).filter(own).map(|blocked| (blocked.page, blocked.write)).collect()
}

/// The interrupt messages that named an entry of the table, by their addresses, and whether they were passed on.
fn messages(trace: &str) -> Vec<(u64, bool)> {
    let lines: Vec<_> = trace.lines().filter(|line| line.contains("vtd_ir_remap_msi")).collect();
    let requests = lines.iter().enumerate().filter(|(_, line)| line.contains("vtd_ir_remap_msi_req"));
    // What became of the last one may not have been written yet.
    let message = |(at, line): (usize, &&str)| {
        let passed = !lines.get(at + 1)?.contains("vtd_ir_remap_msi_req");
        Some((trace::number(line, "addr").expect("an address"), passed))
    };
    requests.filter_map(message).filter(|(address, _)| address & REMAPPABLE != 0).collect()
}

/// Writes to the engine's configuration space from outside, as a device may that does what it likes.
fn configure(control: &mut Client, offset: u64, value: u64) {
    control.monitor(&format!("o /w 0xcf8 {:#x}", CONFIGURATION | offset)).unwrap();
    control.monitor(&format!("o /w 0xcfc {value:#x}")).unwrap();
}

fn configuration(control: &mut Client, offset: u64) -> u64 {
    control.monitor(&format!("o /w 0xcf8 {:#x}", CONFIGURATION | offset)).unwrap();
    let answer = control.monitor("i /w 0xcfc").unwrap();
    trace::number(&answer, "=").unwrap_or_else(|| panic!("{answer}"))
}

/// Has the engine send interrupts with this address and data, by its MSI capability, which the kernel leaves off.
fn send(control: &mut Client, address: u64, data: u64) {
    let capability = configuration(control, 0x34) & 0xff;
    let header = configuration(control, capability);
    assert_eq!((header & 0xff, header >> 16 & 1), (0x05, 0), "MSI, off: {header:#x}");
    configure(control, capability + 4, address);
    configure(control, capability + 8, 0);
    configure(control, capability + 12, data);
    configure(control, capability, header | 1 << 16);
}

/// How often the kernel counted this vector that nobody expects, at least.
fn strays(log: &Log, vector: u64) -> u64 {
    let own = |line: &&qemu::serial::Event| line.number("vector") == Ok(vector);
    log.all("kernel", "stray interrupt").filter(own).map(|line| line.number("count").unwrap()).max().unwrap_or(0)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a trace")
}

#[test]
fn an_engine_without_a_broker_reaches_its_own_memory_and_what_it_sends_harms_no_task() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.log");
    let mut hostile = Hostile::boot(charter, |machine| {
        Lane::BrokeredBehindIommu.change(machine);
        with_engine(machine);
        let events = ["vtd_dmar_fault", "vtd_ir_remap_msi", "vtd_ir_remap_msi_req"].map(Into::into).into();
        machine.trace = Some(Trace { events, file: file.clone() });
    });
    hostile.system.expect("engine", "attempts done");
    let before = read(&file);
    // From now on it sends what it likes under its own name: to an entry that is another's.
    let named = messages(&before);
    let (others, _) = *named.iter().rfind(|(_, passed)| *passed).expect("others' interrupts are remapped");
    let control = hostile.system.running().control().unwrap();
    send(control, others, 0);
    for _ in 0..3 {
        hostile.system.expect_next("engine", "interrupt raised");
    }
    let after = read(&file);
    let log = hostile.nobody_was_harmed(0);

    // Its unit held the disk, so it holds the engine; else nobody could have tried.
    let backend = log.all("dma", "backend selection").find(|line| line.get("device") == Some("engine")).unwrap();
    assert_eq!((backend.get("iommu"), backend.get("reason")), (Some("verified"), Some("unit-probed")));
    let lane = log.all("dma", "lane selection").find(|line| line.get("device") == Some("engine")).unwrap();
    assert_eq!(lane.get("lane"), Some("direct"));
    assert_eq!(log.one("engine", "brokered call").get("answer"), Some("denied"));
    // What is its own, it reached, before and after.
    let own: Vec<_> = log.all("engine", "own memory").map(|line| line.number("wrong").unwrap()).collect();
    assert_eq!(own, [0; 3]);

    // Memory: each attempt was blocked, and recorded with requester and address; nothing came of any.
    let blocked = blocked(&before);
    let attempts: Vec<_> = log.all("engine", "attempt").collect();
    for access in ["write", "read"] {
        let own: Vec<_> = attempts.iter().filter(|line| line.get("access") == Some(access)).collect();
        assert_eq!(own.len(), MEMORY, "{own:?}");
        for line in own {
            let mut page = line.number("address").unwrap() & !0xfff;
            if line.get("name") == Some("across-region-end") {
                page += 0x1000;
            }
            assert!(blocked.contains(&(page, access == "write")), "{line}: {blocked:x?}");
            assert!(access == "write" || line.number("leaked") == Ok(0), "{line}");
        }
    }
    let told: Vec<_> = log.all("dma", "request blocked").collect();
    assert!(told.iter().all(|line| line.get("device") == Some("engine")), "{told:?}");
    assert!(told.iter().all(|line| line.get("requester") == Some("0000:00:0a.0")), "{told:?}");
    assert!((3..=10).contains(&told.len()), "once for each power of two: {told:?}");

    // Messages that name no entry (compatibility format): QEMU passes them on. No task stopped, those of exceptions'
    // vectors included, and the kernel counted them.
    for vector in 3..32 {
        assert!(strays(&log, vector) >= 1, "vector {vector}");
    }
    for vector in [0x21, 0x7f, 0xee, 0xff] {
        assert_eq!(strays(&log, vector), 1, "vector {vector:#x}");
    }
    // An entry that nobody has takes none.
    let absent = 0xfee0_0000 | REMAPPABLE | 200 << ENTRY_SHIFT;
    assert!(named.contains(&(absent, false)) && !named.contains(&(absent, true)), "{named:x?}");
    // Another's entry takes none that comes under the engine's name.
    let sent: Vec<_> = messages(&after).into_iter().skip(named.len()).filter(|(to, _)| *to == others).collect();
    let refused = sent.iter().filter(|(_, passed)| !passed).count();
    assert!(refused >= 2, "the engine's were refused: {sent:x?}");
    assert!(!named.contains(&(others, false)), "its owner's were not: {named:x?}");
}

#[test]
fn an_engine_without_a_broker_is_not_used_without_an_iommu() {
    let mut hostile = Hostile::boot(charter, with_engine);
    let refused = hostile.system.expect("charter", "task refused");
    assert_eq!((refused.get("name"), refused.get("device")), (Some("engine"), Some("engine")));
    assert_eq!(refused.get("because"), Some("remapping is required and not in force"));
    let control = hostile.system.running().control().unwrap();
    let command = configuration(control, 4);
    assert_eq!(command & 0b100, 0, "bus mastering is off: {command:#x}");
    for _ in 0..2 {
        hostile.system.expect_next("block", "read");
    }
    let log = hostile.system.end();
    assert_eq!(log.all("engine", "engine ready").count(), 0);
    assert_eq!(log.one("charter", "boot incomplete").get("task"), Some("engine"));
}
