//! Machines with an IOMMU: it is used where it holds, and each lesser case says why it is not.

use qemu::firmware::Style;
use qemu::harness::{Bench, Log, bare_machine, boot_default, root};
use qemu::machine::{BootBus, BootDisk, Iommu, Machine, Trace};
use qemu::nvme::{Contents, Namespace, Place};

/// Boots the default charter behind an IOMMU and returns what was chosen, and why.
fn chosen(change: impl FnOnce(&mut Machine)) -> (Log, [String; 3]) {
    let log = boot_default(|machine| {
        machine.iommu = Some(Iommu::default());
        change(machine);
    });
    let line = log.one("dma", "backend selection");
    let words = ["backend", "iommu", "reason"].map(|key| line.get(key).expect("the line has it").to_owned());
    assert_eq!(line.get("host_physical_user_visible"), Some("false"));
    assert_eq!(line.get("device"), Some("disk"));
    assert_eq!(log.all("dma", "request blocked").count(), 0, "only what was provoked is blocked");
    // The default charter grants less than the whole device: whatever the IOMMU does, commands are checked.
    assert_eq!(log.one("nvme", "controller bound").get("lane"), Some("brokered"));
    let lane = log.all("dma", "lane selection").map(|line| line.get("reason")).collect::<Vec<_>>();
    let is_verified = words[1] == "verified";
    assert_eq!(lane, if is_verified { vec![Some("grant-limited")] } else { vec![] }, "told where there is a choice");
    (log, words)
}

fn words(words: [&str; 3]) -> [String; 3] {
    words.map(Into::into)
}

const VERIFIED: [&str; 3] = ["direct-remapping", "verified", "probe-passed"];

#[test]
fn behind_an_iommu_memory_is_remapped_and_read_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.log");
    let (_, chosen) = chosen(|machine| {
        let events = ["vtd_dmar_fault", "vtd_dmar_translate", "vtd_ir_remap_msi"].map(Into::into).into();
        machine.trace = Some(Trace { events, file: file.clone() });
    });
    assert_eq!(chosen, words(VERIFIED));
    // QEMU's own view: one request was blocked, the provoked one; others went through, at addresses that are none of
    // memory (256 MiB), and interrupts were remapped.
    let trace = std::fs::read_to_string(&file).expect("a trace");
    let count = |event: &str| trace.lines().filter(|line| line.contains(event)).count();
    assert!(count("vtd_ir_remap_msi") > 0, "no interrupt was remapped");
    let translated: Vec<u64> = trace
        .lines()
        .filter_map(|line| line.split("vtd_dmar_translate").nth(1)?.split("iova 0x").nth(1))
        .filter_map(|rest| u64::from_str_radix(rest.split([' ', ',']).next()?, 16).ok())
        .collect();
    assert!(!translated.is_empty(), "nothing was translated");
    assert!(translated.iter().all(|address| *address >= 1 << 38), "a physical address was used: {translated:x?}");
}

#[test]
fn caching_mode_and_four_levels() {
    let iommu = Iommu { caching_mode: true, address_bits: 48, ..Iommu::default() };
    let (_, chosen) = chosen(|machine| {
        machine.iommu = Some(iommu);
        machine.controllers[0].place = Place::RootPort;
    });
    assert_eq!(chosen, words(VERIFIED));
}

#[test]
fn without_interrupt_remapping_there_is_none_of_it() {
    let (log, chosen) =
        chosen(|machine| machine.iommu = Some(Iommu { interrupt_remapping: false, ..Iommu::default() }));
    assert_eq!(chosen, words(["bounce-buffer", "unusable", "interrupt-remapping-off"]));
    assert_eq!(log.one("dma", "remapping unit off").get("reason"), Some("interrupt-remapping-off"));
}

/// Moves the system image off the controller, so that firmware need not boot from there.
fn boot_from_elsewhere(machine: &mut Machine) {
    let image = match &machine.controllers[0].namespaces.remove(0).contents {
        Contents::File { path, .. } => path.clone(),
        Contents::Drive(_) => unreachable!("the system image is a file"),
    };
    machine.boot_disk = Some(BootDisk { path: image, bus: BootBus::Ide });
}

#[test]
fn behind_a_bridge_that_passes_for_its_devices_it_is_not_believed() {
    let (_, chosen) = chosen(|machine| {
        boot_from_elsewhere(machine);
        machine.controllers[0].place = Place::Bridge;
    });
    assert_eq!(chosen, words(["bounce-buffer", "unusable", "bridge-path-not-covered"]));
}

#[test]
fn a_function_that_shares_its_device_is_not_believed() {
    let (_, chosen) = chosen(|machine| {
        machine.controllers[0].place = Place::SharedSlot(8);
        machine.further.extend(["-device", "edu,addr=08.1"].map(Into::into));
    });
    assert_eq!(chosen, words(["bounce-buffer", "unusable", "isolation-group-shared"]));
}

/// The default charter with a word on remapping.
fn bench(policy: &str) -> Bench {
    let text = std::fs::read_to_string(root().join("system.toml")).expect("the default charter");
    let changed = text.replace("broker = \"nvme\"\n", &format!("broker = \"nvme\"\nremapping = \"{policy}\"\n"));
    assert_ne!(text, changed);
    Bench::from_text(&changed)
}

#[test]
fn the_charter_may_forbid_it() {
    let bench = bench("forbid");
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    machine.iommu = Some(Iommu::default());
    let log = bench.boot(&machine).complete();
    assert_eq!(log.check_reads(&[(2, &disk)]), 5);
    let line = log.one("dma", "backend selection");
    assert_eq!((line.get("backend"), line.get("reason")), (Some("bounce-buffer"), Some("charter-forbids")));
}

#[test]
fn the_charter_may_require_it() {
    let bench = bench("require");
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    machine.iommu = Some(Iommu::default());
    let log = bench.boot(&machine).complete();
    assert_eq!(log.check_reads(&[(2, &disk)]), 5);
    assert_eq!(log.one("dma", "backend selection").get("iommu"), Some("verified"));

    machine.iommu = None;
    let log = bench.boot(&machine).incomplete();
    let refused = log.one("charter", "task refused");
    assert_eq!((refused.get("name"), refused.get("device")), (Some("nvme"), Some("disk")));
    assert_eq!(log.all("nvme", "controller bound").count(), 0);
    assert_eq!(log.all("block", "read").count(), 0);
}

#[test]
fn without_a_device_there_is_nothing_to_remap() {
    let bench = Bench::build(&root().join("system.toml"));
    let mut machine = bare_machine(Style::Any);
    machine.iommu = Some(Iommu::default());
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    let log = bench.boot(&machine).incomplete();
    assert_eq!(log.one("dma", "backend selection").get("reason"), Some("no-device-granted"));
}
