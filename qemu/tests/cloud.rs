//! What machine this is: evidence collected in a real boot, its verdict, and who may read it.

use abi::evidence::EVIDENCE_BYTES;
use abi::layout::{EVIDENCE, START_INFO};
use abi::start::StartInfo;
use qemu::firmware::Style;
use qemu::guest::GuestMemory;
use qemu::harness::{Bench, Log, bare_machine, boot_default};
use qemu::machine::{BootBus, BootDisk};
use qemu::nvme::{Controller, Namespace, Place};
use qemu::serial::Event;

fn evidence<'a>(log: &'a Log, source: &'a str) -> impl Iterator<Item = &'a Event> {
    log.all("cloud", "evidence").filter(move |line| line.get("source") == Some(source))
}

fn smbios<'a>(log: &'a Log, field: &str) -> Option<&'a str> {
    evidence(log, "smbios").find(|line| line.get("field") == Some(field)).and_then(|line| line.get("value"))
}

/// Every classification line's claim about its own cloud.
fn claims(log: &Log) -> Vec<&str> {
    let claim = |line: &'_ Event| line.get("real_azure_enumeration").is_some();
    log.all("nvme", "cloud shape classification")
        .map(|line| line.text(if claim(line) { "real_azure_enumeration" } else { "real_aws_enumeration" }).unwrap())
        .collect()
}

/// What the log says of its machine, the host says of the log.
fn check_replay(log: &Log) {
    let replayed = image_builder::classify::classify(&log.lines().join("\n")).expect("a recording");
    let is_said = |line: &&String| line.starts_with("cloud: ") || line.starts_with("nvme: cloud shape classification");
    let said: Vec<_> = log.lines().iter().filter(is_said).cloned().collect();
    assert_eq!(replayed, said);
}

#[test]
fn qemu_is_qemu_and_its_controller_is_labelled() {
    let log = boot_default(|_| {});
    let verdict = log.one("cloud", "verdict");
    assert_eq!(verdict.get("provider"), Some("qemu"), "{verdict}");
    assert_eq!(verdict.get("storage"), Some("qemu-nvme"), "{verdict}");
    assert_eq!((verdict.get("confidence"), verdict.get("contradictory")), (Some("high"), Some("false")), "{verdict}");
    assert_eq!((verdict.get("against"), verdict.get("attested")), (Some("none"), Some("false")), "{verdict}");
    assert_eq!(claims(&log), ["not-claimed", "not-claimed"]);
    for line in log.all("nvme", "cloud shape classification") {
        assert_eq!((line.get("bound"), line.get("source")), (Some("true"), Some("bus")), "{line}");
        assert_eq!(line.get("local_qemu_precursor"), Some("true"), "{line}");
    }

    assert_eq!(smbios(&log, "system-manufacturer"), Some("QEMU"));
    let hypervisor = evidence(&log, "cpuid").find(|line| line.number("leaf") == Ok(0x4000_0000)).expect("a leaf");
    assert_eq!(hypervisor.get("name"), Some("TCGTCGTCGTCG"));
    let tables: Vec<_> = evidence(&log, "acpi").map(|line| line.text("table").unwrap()).collect();
    for table in ["FACP", "DSDT", "APIC", "MCFG"] {
        assert!(tables.contains(&table), "{tables:?}");
    }
    assert_eq!(evidence(&log, "acpi").filter(|line| line.get("hardware_id").is_some()).count(), 0, "no VMBus");
    // Firmware and the driver, each with its own way to the controller, tell the same of it.
    for source in ["identify", "namespace"] {
        let told = |who: &str| -> Vec<_> {
            let by = |line: &&Event| line.get("seen_by") == Some(who);
            let strip = |line: &Event| line.to_string().replace(&format!("seen_by={who}"), "");
            evidence(&log, source).filter(by).map(strip).collect()
        };
        assert!(!told("firmware").is_empty());
        assert_eq!(told("firmware"), told("bus"));
    }
    check_replay(&log);
}

#[test]
fn azures_smbios_values_on_qemu_are_a_contradiction_and_nothing_is_claimed() {
    let log = boot_default(|machine| {
        machine.smbios = [
            "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine,uuid=5ad3c9e4-1b1f-4c3f-9a51-7d9c0e6f2b10",
            "type=3,manufacturer=Microsoft Corporation,asset=7783-7084-3265-9085-8269-3286-77",
        ]
        .map(Into::into)
        .into();
    });
    assert_eq!(smbios(&log, "chassis-asset-tag"), Some("7783-7084-3265-9085-8269-3286-77"));
    assert_eq!(smbios(&log, "system-uuid"), Some("5ad3c9e4-1b1f-4c3f-9a51-7d9c0e6f2b10"));
    let verdict = log.one("cloud", "verdict");
    assert_eq!((verdict.get("provider"), verdict.get("confidence")), (Some("unknown"), Some("none")), "{verdict}");
    assert_eq!(
        (verdict.get("contradictory"), verdict.get("candidates")),
        (Some("true"), Some("azure,qemu")),
        "{verdict}"
    );
    let sides: Vec<_> = log
        .all("cloud", "contradiction")
        .map(|line| ["candidate", "for", "against"].map(|key| line.text(key).unwrap()))
        .collect();
    let [azure, qemu] = sides[..] else { panic!("{sides:?}") };
    assert!(azure[0] == "azure" && azure[1].contains("smbios.azure-tag") && azure[2].contains("pci.qemu"), "{azure:?}");
    assert!(qemu[0] == "qemu" && qemu[1].contains("pci.qemu") && qemu[2].contains("smbios.azure-tag"), "{qemu:?}");
    assert_eq!(claims(&log), ["not-claimed", "not-claimed"]);
    assert_eq!(log.all("cloud", "disk").count(), 0, "no disk gets one of Azure's names");
    check_replay(&log);
}

#[test]
fn another_clouds_smbios_values_on_qemu_are_a_contradiction_too() {
    let log = boot_default(|machine| machine.smbios = vec!["type=1,manufacturer=Amazon EC2,product=m5.large".into()]);
    let verdict = log.one("cloud", "verdict");
    assert_eq!((verdict.get("provider"), verdict.get("candidates")), (Some("unknown"), Some("aws,qemu")), "{verdict}");
    assert_eq!(claims(&log), ["not-claimed", "not-claimed"]);
}

/// A value with quotes, line ends and another component's name stays one value on one line.
#[test]
fn a_value_cannot_forge_a_line() {
    let forged = "x\" provider=azure\ncloud: verdict provider=azure";
    let log = boot_default(|machine| machine.smbios = vec![format!("type=1,product={forged}")]);
    assert_eq!(smbios(&log, "system-product"), Some("x\" provider=azure?cloud: verdict provider=azure"));
    assert_eq!(log.one("cloud", "verdict").get("provider"), Some("qemu"));
    check_replay(&log);
}

/// Where the controllers of [`boot_with_two_controllers`] are.
const TWO_CONTROLLERS: (&str, &str) = ("0000:00:08.0", "0000:00:09.0");

/// The system's controller, and another one with a disk of its own behind it.
fn boot_with_two_controllers(bench: &Bench) -> Log {
    let disk = bench.disk("second.img", 16 << 20);
    let mut machine = bench.machine([]);
    machine.controllers[0].place = Place::Slot(8);
    let mut other = Controller { place: Place::Slot(9), ..Controller::new("charter-1") };
    other.namespaces.push(Namespace::file(2, &disk));
    machine.controllers.push(other);
    bench.boot(&machine).complete()
}

/// What the classification lines say: device, cloud, whether it is bound, and who saw it.
fn classifications(log: &Log) -> Vec<[&str; 4]> {
    log.all("nvme", "cloud shape classification")
        .map(|line| ["device", "cloud_shape", "bound", "source"].map(|key| line.text(key).unwrap()))
        .collect()
}

#[test]
fn a_controller_that_is_not_granted_is_known_from_firmware_only_and_others_can_ask() {
    let bench = Bench::new("cloud");
    let log = boot_with_two_controllers(&bench);

    let lines = classifications(&log);
    let (first, second) = TWO_CONTROLLERS;
    for cloud in ["azure-managed-disk", "aws-ebs-nvme"] {
        assert!(lines.contains(&[first, cloud, "false", "firmware"]), "{lines:?}");
        assert!(lines.contains(&[second, cloud, "true", "bus"]), "{lines:?}");
    }
    assert_eq!(lines.len(), 4);
    // Nothing else is claimed of the first one: no lane, no I/O.
    let bound: Vec<_> = log.all("nvme", "controller bound").map(|line| line.text("device").unwrap()).collect();
    assert_eq!(bound, [second]);
    assert!(
        log.events().iter().filter(|line| line.get("device") == Some(first)).all(|line| line.get("lane").is_none())
    );
    let models = evidence(&log, "identify").filter(|line| line.get("device") == Some(first));
    assert_eq!(models.map(|line| line.text("model").unwrap()).collect::<Vec<_>>(), ["QEMU NVMe Ctrl"]);

    // The same by messages.
    let told: Vec<_> = log.all("asker", "told").collect();
    assert_eq!((told[0].get("provider"), told[0].get("against")), (Some("qemu"), Some("0")), "{}", told[0]);
    let controllers: Vec<_> = told[1..told.len() - 1]
        .iter()
        .map(|line| ["device", "shape", "bound", "only_firmware"].map(|key| line.text(key).unwrap()))
        .collect();
    assert_eq!(controllers, [[first, "qemu-nvme", "false", "true"], [second, "qemu-nvme", "true", "false"]]);
    let last = told.last().unwrap();
    assert_eq!(last.number("items"), Ok(log.all("cloud", "evidence").count() as u64), "{last}");
    assert_eq!((last.get("malformed"), last.get("goes_on")), (Some("true"), Some("true")), "{last}");
    check_replay(&log);
}

#[test]
fn each_granted_controller_has_its_lines() {
    let bench = Bench::new("cloud-two");
    let log = boot_with_two_controllers(&bench);
    let lines = classifications(&log);
    let (first, second) = TWO_CONTROLLERS;
    let clouds = ["azure-managed-disk", "aws-ebs-nvme"];
    let expected: Vec<_> =
        [first, second].iter().flat_map(|device| clouds.map(|cloud| [*device, cloud, "true", "bus"])).collect();
    assert_eq!(lines, expected);
    assert_eq!(log.one("nvme", "cloud shape none").get("grant"), Some("controller3"));
    let told = |device| -> Vec<_> {
        let by_bus = |line: &&Event| line.get("seen_by") == Some("bus") && line.get("device") == Some(device);
        evidence(&log, "identify").filter(by_bus).map(|line| line.text("serial").unwrap()).collect()
    };
    assert_eq!((told(first), told(second)), (vec!["charter-0"], vec!["charter-1"]));
    assert_eq!(log.one("cloud", "verdict").get("provider"), Some("qemu"));
    check_replay(&log);
}

#[test]
fn without_any_nvme_controller_there_is_a_verdict_and_no_label() {
    let bench = Bench::new("cloud-nothing");
    let mut machine = bare_machine(Style::Any);
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    let log = bench.boot(&machine).complete();
    let verdict = log.one("cloud", "verdict");
    assert_eq!((verdict.get("provider"), verdict.get("storage")), (Some("qemu"), Some("none")), "{verdict}");
    assert_eq!(log.all("nvme", "cloud shape classification").count(), 0);
    assert!(log.all("nvme", "cloud shape none").all(|line| line.get("reason") == Some("not-granted")));

    // Without the grant there is no evidence, and that is said.
    let verdict = log.one("blind", "verdict");
    assert_eq!((verdict.get("provider"), verdict.get("candidates")), (Some("unknown"), Some("none")), "{verdict}");
    let all_are_missing = |line: &Event| line.get("not_available") == Some("the charter does not grant evidence");
    assert!(log.all("blind", "evidence").count() > 0 && log.all("blind", "evidence").all(all_are_missing));
}

#[test]
fn evidence_is_mapped_read_only_where_it_is_granted_and_nowhere_else() {
    const LOW_BYTES: u64 = 64 << 20;
    let bench = Bench::new("cloud-nothing");
    let mut machine = bare_machine(Style::Any);
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    let mut system = bench.boot(&machine);
    system.wait_complete();
    let control = system.running().control().unwrap();
    control.pause().unwrap();
    let page_table = control.register("CR3").unwrap();
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let mut seen = Vec::new();
    for space in memory.address_spaces(page_table).unwrap() {
        let mappings = memory.mappings(space).unwrap();
        let Some(information) = mappings.iter().find_map(|mapping| mapping.translate(START_INFO)) else { continue };
        let page = memory.page(information).unwrap().to_vec();
        let task = postcard::take_from_bytes::<StartInfo<'_>>(&page).unwrap().0.task.to_owned();
        let pages = (EVIDENCE..EVIDENCE + EVIDENCE_BYTES as u64).step_by(4096);
        let mapped: Vec<_> = pages.map(|page| mappings.iter().find(|m| m.translate(page).is_some())).collect();
        if task == "classify" {
            for mapping in &mapped {
                let rights = mapping.expect("each page is mapped").rights;
                assert!(rights.user && !rights.writable && !rights.executable, "{mapping:x?}");
            }
            let start = mappings.iter().find_map(|mapping| mapping.translate(EVIDENCE)).unwrap();
            assert!(memory.page(start).unwrap().starts_with(&abi::evidence::MAGIC));
        } else {
            assert!(mapped.iter().all(Option::is_none), "{task} maps evidence");
        }
        seen.push(task);
    }
    seen.sort();
    assert_eq!(seen, ["blind", "classify"]);
}
