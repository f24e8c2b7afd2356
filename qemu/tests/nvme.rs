//! What the NVMe driver has a real (emulated) controller do, seen from outside: the file behind the disk, QEMU's trace,
//! and what happens when the controller warns, or goes.

use std::fs;
use std::path::PathBuf;

use qemu::harness::{Bench, Log, System};
use qemu::lane::Lane;
use qemu::machine::{BootBus, BootDisk, Machine, Trace};
use qemu::nvme::{BlockBytes, Contents, Namespace, Place};
use qemu::removal::{self, Ones};
use serde_json::json;

const MEBIBYTE: u64 = 1 << 20;
/// Blocks of each of the trial's transfers.
const BLOCKS: usize = 16;

/// What the trial writes.
fn pattern(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place as u8).wrapping_mul(7) ^ (place >> 8) as u8 ^ seed).collect()
}

/// A namespace whose file is written.
fn writable(nsid: u32, path: &PathBuf, block_bytes: BlockBytes) -> Namespace {
    let contents = Contents::File { path: path.clone(), write: true };
    Namespace { contents, ..Namespace::file(nsid, path).block_bytes(block_bytes) }
}

/// The machine of a trial, with both namespaces, and the files behind them.
fn trial(bench: &Bench) -> (Machine, PathBuf, PathBuf) {
    let (small, large) = (bench.disk("small.img", 8 * MEBIBYTE), bench.disk("large.img", 8 * MEBIBYTE));
    let machine = bench.machine([writable(2, &small, BlockBytes::B512), writable(3, &large, BlockBytes::B4096)]);
    (machine, small, large)
}

/// Waits until the trial is over.
fn finish(mut system: System, component: &str) -> Log {
    system.expect_where("the end of the trial", |line| {
        line.is(component, "ended") && line.get("name") == Some("read-after-shutdown")
    });
    system.end()
}

/// Whether everything ended as it should, and the file holds what it should.
fn check(log: &Log, component: &str, before: &[u8], path: &PathBuf, block_bytes: usize) {
    let outcomes: Vec<_> = log
        .all(component, "ended")
        .map(|line| (line.text("name").unwrap().to_owned(), line.text("outcome").unwrap().to_owned()))
        .collect();
    let expected = [
        ("write", "ok"),
        ("write-durable", "ok"),
        ("write-zeroes", "ok"),
        ("discard", "ok"),
        ("flush", "ok"),
        // QEMU 7.2 has the command, but does not say so in ONCS.
        ("verify", "unsupported"),
        ("compare-same", "ok"),
        ("compare-different", "different"),
        ("read", "ok"),
        ("write-beyond", "invalid"),
        ("write-nowhere", "invalid"),
        ("read-after-shutdown", "stopped"),
    ];
    assert_eq!(outcomes, expected.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())));
    assert_eq!(log.one(component, "read back").number("wrong_bytes"), Ok(0));
    assert_eq!(log.one(component, "shutdown").text("outcome"), Ok("Ok(())"));
    log.one("nvme", "controller shut down");

    let after = fs::read(path).unwrap();
    let bytes = BLOCKS * block_bytes;
    assert!(after[..bytes] == pattern(1, bytes), "what was written");
    assert!(after[bytes..2 * bytes] == pattern(2, bytes), "what was written durably");
    assert!(after[2 * bytes..3 * bytes].iter().all(|byte| *byte == 0), "zeroes");
    let discarded = &after[3 * bytes..4 * bytes];
    assert!(discarded == &before[3 * bytes..4 * bytes] || discarded.iter().all(|byte| *byte == 0), "discarded");
    assert!(after[4 * bytes..] == before[4 * bytes..], "the rest is as it was");
}

/// Both queues take commands and interrupt; the controller is told to shut down; and a warning of its health comes to
/// the log while it runs.
#[test]
fn one_of_everything_in_512_byte_blocks_over_two_queues() {
    one_of_everything(Lane::Brokered);
}

#[test]
fn one_of_everything_over_two_queues_behind_an_iommu() {
    one_of_everything(Lane::BrokeredBehindIommu);
}

#[test]
fn one_of_everything_over_two_queues_of_the_drivers_own() {
    one_of_everything(Lane::Direct);
}

fn one_of_everything(lane: Lane) {
    let bench = Bench::named_on_lane(lane, "commands");
    let (mut machine, small, large) = trial(&bench);
    let trace = bench.path("trace.log");
    let events = ["pci_nvme_create_sq", "pci_nvme_irq_msix", "pci_nvme_mmio_start_success", "pci_nvme_mmio_shutdown_*"];
    machine.trace = Some(Trace { events: events.map(Into::into).into(), file: trace.clone() });
    let before = fs::read(&small).unwrap();
    let other = fs::read(&large).unwrap();
    let mut system = bench.boot(&machine);
    system.expect_where("the trial's last command", |line| {
        line.is("small", "ended") && line.get("name") == Some("write-nowhere")
    });
    let warning = json!({ "path": "/machine/peripheral/nvme0", "property": "smart_critical_warning", "value": 4 });
    system.running().control().unwrap().execute("qom-set", warning).unwrap();
    let log = finish(system, "small");
    lane.check(&log);
    check(&log, "small", &before, &small, 512);
    assert!(fs::read(&large).unwrap() == other, "the other namespace is as it was");

    assert_eq!(log.one("nvme", "event").text("log_page"), Ok("0x02"));
    assert_eq!(log.one("nvme", "health").text("critical_warning"), Ok("0x04"));
    let supports = log.one("small", "namespace");
    for key in ["write", "discard", "write_zeroes", "compare", "volatile_cache"] {
        assert_eq!(supports.text(key), Ok("true"), "{key}");
    }
    assert_eq!(supports.text("verify"), Ok("false"));
    let text = fs::read_to_string(&trace).unwrap();
    let enabled = text.rfind("pci_nvme_mmio_start_success").expect("the controller was enabled");
    let since = &text[enabled..];
    assert_eq!(since.matches("pci_nvme_create_sq").count(), 2, "two queues:\n{since}");
    for vector in ["vector 1", "vector 2"] {
        assert!(since.lines().any(|line| line.starts_with("pci_nvme_irq_msix") && line.contains(vector)), "{vector}");
    }
    assert!(since.contains("pci_nvme_mmio_shutdown_set"), "{since}");
}

#[test]
fn one_of_everything_in_4096_byte_blocks() {
    one_of_everything_in_large_blocks(Lane::Brokered);
}

fn one_of_everything_in_large_blocks(lane: Lane) {
    let bench = Bench::named_on_lane(lane, "commands-4096");
    let (machine, _, large) = trial(&bench);
    let before = fs::read(&large).unwrap();
    let log = finish(bench.boot(&machine), "large");
    lane.check(&log);
    check(&log, "large", &before, &large, 4096);
}

/// A machine whose disk, behind a root port, can be taken away; it boots from another.
fn removable(bench: &Bench) -> Machine {
    let disk = bench.disk("disk.img", 64 * MEBIBYTE);
    let mut machine = bench.machine([writable(2, &disk, BlockBytes::B512)]);
    machine.controllers[0].namespaces.remove(0);
    machine.controllers[0].place = Place::RootPort;
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    machine.further.extend(removal::arguments());
    machine
}

/// Whoever waits is told, and whoever asks later.
fn gone(mut system: System) -> Log {
    system.expect("nvme", "device gone");
    system.expect("block", "driver lost");
    system.expect_where("a request that ends", |line| {
        line.is("load", "request failed") && line.get("error") == Some("gone")
    });
    system.end()
}

#[test]
fn a_disk_that_is_pulled_out_under_load_is_gone() {
    let bench = Bench::new("unplug");
    let mut system = bench.boot(&removable(&bench));
    system.expect("load", "flushed");
    removal::pull(system.running().control().unwrap(), "port0").unwrap();
    gone(system);
}

#[test]
fn a_disk_whose_registers_read_all_ones_under_load_is_gone() {
    let bench = Bench::new("unplug");
    let ones = Ones::new().unwrap();
    let mut machine = removable(&bench);
    machine.further.extend(ones.arguments());
    let mut system = bench.boot(&machine);
    system.expect("load", "flushed");
    ones.cover(system.running().control().unwrap(), "nvme0").unwrap();
    let log = gone(system);
    assert_eq!(log.one("nvme", "controller failed").text("reason"), Ok("device-gone"));
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn one_of_everything_in_4096_byte_blocks() {
        for lane in [Lane::BrokeredBehindIommu, Lane::Direct] {
            one_of_everything_in_large_blocks(lane);
        }
    }
}
