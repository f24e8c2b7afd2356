//! Recorded machines, and what is said of them. What a recording is shaped from stands at its head.

use std::path::{Path, PathBuf};

use abi::evidence::Item;
use classify::recording;
use classify::report::report;
use protocol::classify::{Confidence, Generation, Provider, Shape, Verdict};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

fn recorded(name: &str) -> Vec<Item> {
    let text = std::fs::read_to_string(folder().join(name).with_extension("log")).unwrap();
    let items: Vec<_> =
        recording::items(&text).map(|(line, item)| item.unwrap_or_else(|e| panic!("{line}: {e}"))).collect();
    assert!(!items.is_empty(), "{name} holds evidence");
    items
}

/// The verdict on some evidence, and every line.
fn said(items: &[Item]) -> (Verdict, Vec<String>) {
    let mut lines = Vec::new();
    let findings = report(items, |component, line| lines.push(format!("{}: {line}", component.name())));
    (findings.verdict, lines)
}

fn with<'a>(lines: &'a [String], what: &str) -> Vec<&'a str> {
    lines.iter().map(String::as_str).filter(|line| line.contains(what)).collect()
}

const CASES: &[(&str, Provider, Generation, Confidence, &[Shape])] = &[
    ("azure-remote", Provider::Azure, Generation::Two, Confidence::High, &[Shape::AzureManagedDisk]),
    (
        "azure-local",
        Provider::Azure,
        Generation::Two,
        Confidence::High,
        &[Shape::AzureManagedDisk, Shape::AzureLocalNvme],
    ),
    ("azure-scsi", Provider::Azure, Generation::Two, Confidence::High, &[Shape::NoneVisible]),
    ("hyper-v", Provider::HyperV, Generation::Two, Confidence::High, &[Shape::NoneVisible]),
    ("aws-nitro", Provider::Aws, Generation::Nitro, Confidence::High, &[Shape::AwsEbsNvme, Shape::AwsLocalNvme]),
    ("gcp", Provider::Gcp, Generation::None, Confidence::High, &[Shape::GcpPersistentDiskNvme, Shape::GcpLocalNvme]),
    ("alibaba", Provider::Alibaba, Generation::None, Confidence::High, &[Shape::AlibabaCloudDiskNvme]),
    ("oci", Provider::Oci, Generation::None, Confidence::High, &[Shape::None]),
    ("openstack", Provider::OpenStack, Generation::None, Confidence::High, &[Shape::None]),
    ("qemu", Provider::Qemu, Generation::None, Confidence::High, &[Shape::QemuNvme]),
    ("qemu-hyperv-interface", Provider::Qemu, Generation::None, Confidence::Medium, &[Shape::None]),
    ("forged-azure-smbios", Provider::Unknown, Generation::None, Confidence::None, &[Shape::QemuNvme]),
    ("forged-azure-controller", Provider::Unknown, Generation::None, Confidence::None, &[Shape::AzureManagedDisk]),
    ("mixed-aws-gcp", Provider::Unknown, Generation::None, Confidence::None, &[Shape::None]),
    ("nobody", Provider::Unknown, Generation::None, Confidence::None, &[Shape::StandardNvme]),
];

#[test]
fn every_recording_gets_its_verdict() {
    for (name, provider, generation, confidence, storage) in CASES {
        let (verdict, lines) = said(&recorded(name));
        let told = (verdict.provider, verdict.generation, verdict.confidence, verdict.storage.as_slice());
        assert_eq!(told, (*provider, *generation, *confidence, *storage), "{name}: {lines:#?}");
        if *provider != Provider::Unknown {
            assert_eq!(verdict.candidates.as_slice(), [*provider], "{name}");
            assert!(verdict.against.is_empty() && !verdict.supporting.is_empty(), "{name}: {verdict:?}");
            assert!(with(&lines, "contradict").iter().all(|line| line.contains("contradictory=false")), "{name}");
        }
        assert_eq!(with(&lines, "cloud: verdict ").len(), 1, "{name}");
        assert!(lines.iter().all(|line| line.len() <= abi::system_call::LOG_BYTES_MAX), "{name}");
    }
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases: Vec<_> = CASES.iter().map(|(name, ..)| folder().join(name).with_extension("log")).collect();
    cases.sort();
    assert_eq!(files, cases, "every recording has its case");
}

#[test]
fn real_azure_is_confirmed_on_azure_only() {
    for (name, provider, ..) in CASES {
        let (_, lines) = said(&recorded(name));
        for line in with(&lines, "cloud shape classification") {
            let azure = *provider == Provider::Azure && line.contains("pci_vendor=0x1414");
            let aws = *provider == Provider::Aws && line.contains("pci_device_id=0x8061");
            assert_eq!(
                line.contains("real_azure_enumeration=confirmed"),
                azure && line.contains("azure_nvme"),
                "{line}"
            );
            assert_eq!(line.contains("real_aws_enumeration=confirmed"), aws && line.contains("aws_nvme"), "{line}");
        }
    }
}

/// Vendor, model and tag: with any one of them missing or changed, nothing is confirmed.
#[test]
fn each_part_of_the_confirmation_is_needed() {
    let whole = recorded("azure-remote");
    let confirmed = |items: &[Item]| !with(&said(items).1, "real_azure_enumeration=confirmed").is_empty();
    assert!(confirmed(&whole));
    let lines: Vec<String> = whole.iter().map(|item| recording::Line(item).to_string()).collect();
    for (part, other) in [
        ("pci_vendor=0x1414", "pci_vendor=0x1b36"),
        ("MSFT NVMe Accelerator v1.0", "MSFT NVMe Something v1.0"),
        ("7783-7084-3265-9085-8269-3286-77", "7783-7084-3265-9085-8269-3286-78"),
        ("field=chassis-asset-tag", "field=board-asset-tag"),
        (
            "source=identify seen_by=firmware device=15c4:00:00.0",
            "source=identify seen_by=firmware device=15c4:00:01.0",
        ),
        ("class=0x01 subclass=0x08", "class=0x01 subclass=0x06"),
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}");
        let changed: Vec<_> = lines.iter().map(|line| recording::parse(&line.replace(part, other)).unwrap()).collect();
        assert!(!confirmed(&changed), "{other}");
    }
    for index in 0..whole.len() {
        let mut less = whole.clone();
        let item = less.remove(index);
        let needed = matches!(&item, Item::Function { .. } | Item::Controller { .. })
            || matches!(&item, Item::Smbios { value, .. } if value.starts_with("7783"));
        assert_eq!(confirmed(&less), !needed, "without {item:?}");
    }
}

#[test]
fn a_forged_tag_is_reported_as_a_contradiction_with_both_sides() {
    let (verdict, lines) = said(&recorded("forged-azure-smbios"));
    assert_eq!(verdict.candidates.as_slice(), [Provider::Azure, Provider::Qemu]);
    let told = with(&lines, "cloud: contradiction ");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("candidate=azure for=smbios.azure-tag,smbios.microsoft,smbios.virtual-machine "),
        "{told:?}"
    );
    assert!(told[0].contains("against=cpuid.tcg,acpi.bochs,pci.qemu,identify.qemu"), "{told:?}");
    assert!(told[1].contains("candidate=qemu for=cpuid.tcg,"), "{told:?}");
    assert!(told[1].contains("against=smbios.azure-tag,"), "{told:?}");
    assert!(with(&lines, "confirmed").is_empty());

    let (verdict, _) = said(&recorded("forged-azure-controller"));
    assert_eq!(verdict.candidates.as_slice(), [Provider::Azure, Provider::HyperV]);
    let (verdict, _) = said(&recorded("mixed-aws-gcp"));
    assert_eq!(verdict.candidates.as_slice(), [Provider::Aws, Provider::Gcp]);
}

#[test]
fn azures_disks_have_azures_names() {
    let (_, lines) = said(&recorded("azure-local"));
    assert_eq!(
        with(&lines, "cloud: disk "),
        [
            "cloud: disk device=15c4:00:00.0 nsid=1 name=os",
            "cloud: disk device=15c4:00:00.0 nsid=2 name=lun lun=0",
            "cloud: disk device=15c4:00:00.0 nsid=12 name=lun lun=10",
            "cloud: disk device=2b1d:00:00.0 nsid=1 name=local index=1 label=\"nvme-300G-1\"",
            "cloud: disk device=2b1e:00:00.0 nsid=1 name=local",
        ]
    );
    for name in ["qemu", "forged-azure-smbios", "aws-nitro"] {
        assert!(with(&said(&recorded(name)).1, "cloud: disk ").is_empty(), "{name}");
    }
}

#[test]
fn what_only_firmware_saw_claims_no_driver() {
    let (_, lines) = said(&recorded("azure-local"));
    let classified = with(&lines, "cloud shape classification");
    assert_eq!(classified.len(), 2 * 3, "two clouds, three controllers");
    for line in classified {
        assert!(line.contains(" bound=false source=firmware ") && !line.contains("lane="), "{line}");
    }
}

#[test]
fn what_is_no_nvme_controller_is_not_classified() {
    let ahci = |item: &Item| {
        let line =
            recording::Line(item).to_string().replace("subclass=0x08 prog_if=0x02", "subclass=0x06 prog_if=0x01");
        recording::parse(&line).unwrap()
    };
    let (verdict, lines) = said(&recorded("qemu").iter().map(ahci).collect::<Vec<_>>());
    assert!(with(&lines, "cloud shape classification").is_empty());
    assert_eq!(verdict.storage.as_slice(), [Shape::None]);
}

#[test]
fn storage_that_may_be_behind_the_vmbus_is_said_to_be_possible() {
    for name in ["azure-scsi", "hyper-v"] {
        let (_, lines) = said(&recorded(name));
        let verdict = with(&lines, "cloud: verdict ")[0];
        assert!(
            verdict.contains("storage=none-visible possibilities=scsi-only-size,nvme-behind-vmbus-vpci "),
            "{verdict}"
        );
    }
    assert!(with(&said(&recorded("oci")).1, "possibilities").is_empty());
}

#[test]
fn what_the_bus_saw_goes_before_firmware() {
    let (_, lines) = said(&recorded("qemu"));
    let classified = with(&lines, "cloud shape classification");
    assert_eq!(classified.len(), 2);
    assert!(classified.iter().all(|line| line.contains(" bound=true source=bus ")));
}

/// The log that a boot writes is the recording of its machine: replayed, it says the same again.
#[test]
fn a_replay_says_what_the_recorded_log_said() {
    let text = std::fs::read_to_string(folder().join("qemu.log")).unwrap();
    let recorded_lines: Vec<_> =
        text.lines().filter(|line| line.starts_with("cloud: ") || line.contains("cloud shape")).collect();
    assert_eq!(said(&recorded("qemu")).1, recorded_lines);
}

#[test]
fn every_line_of_evidence_is_read_back_as_it_was() {
    for (name, ..) in CASES {
        for item in recorded(name) {
            let line = recording::Line(&item).to_string();
            assert_eq!(recording::parse(&line), Ok(item), "{line}");
        }
    }
}

#[test]
fn a_recording_may_have_other_text_around_its_lines() {
    let text =
        "[12:00] cloud: evidence source=acpi table=\"FACP\" oem=\"BOCHS\" oem_table=\"a \\\"b\\\\ c\"\r\nnvme: other\n";
    let items: Vec<_> = recording::items(text).collect();
    let [(1, Ok(Item::AcpiTable { oem_table, .. }))] = &items[..] else { panic!("{items:?}") };
    assert_eq!(oem_table.as_str(), "a \"b\\ c");
}

#[test]
fn a_wrong_line_is_named_and_told() {
    use recording::NotEvidence::{Form, Key, Source};
    for (line, error) in [
        ("source=tea", Source),
        ("source=cpuid leaf=0x40000000", Key("eax")),
        ("source=cpuid leaf=0x1ffffffff eax=0 ebx=0 ecx=0 edx=0", Key("leaf")),
        ("source=smbios field=shoe value=\"x\"", Key("field")),
        ("source=smbios field=system-product value=\"x", Form),
        ("source=smbios field=system-product words", Form),
        ("source=acpi table=\"FACPFACP\" oem=\"\" oem_table=\"\"", Key("table")),
        ("source=pci seen_by=nobody device=0000:00:04.0", Key("seen_by")),
        ("source=pci seen_by=bus device=0000:00:24.0", Key("device")),
    ] {
        assert_eq!(recording::parse(line), Err(error), "{line}");
    }
}

proptest::proptest! {
    /// No text panics.
    #[test]
    fn no_line_panics(line in "(source=(cpuid|smbios|acpi|pci|identify|namespace) )?[ -~]{0,120}") {
        let _ = recording::parse(&line);
    }
}
