//! The default charter on different machines: it boots and reads the same.

use std::num::NonZeroU8;

use qemu::firmware::Style;
use qemu::harness::{Bench, Log, bare_machine, boot_default, root};
use qemu::machine::{Board, BootBus, BootDisk};
use qemu::nvme::{Controller, Namespace, Place};

fn with_controller(change: impl FnOnce(&mut Controller)) -> Log {
    boot_default(|machine| change(&mut machine.controllers[0]))
}

#[test]
fn the_contract_lines_show_the_devices_real_values() {
    let log = boot_default(|_| {});
    let dma = log.one("dma", "backend selection");
    assert_eq!(dma.get("backend"), Some("bounce-buffer"));
    assert_eq!(dma.get("iommu"), Some("absent"));
    assert_eq!(dma.get("host_physical_user_visible"), Some("false"));
    let bound = log.one("nvme", "controller bound");
    for (key, value) in [("pci_vendor", 0x1b36), ("pci_device_id", 0x10), ("class", 1), ("subclass", 8), ("prog_if", 2)]
    {
        assert_eq!(bound.number(key), Ok(value), "{bound}");
    }
    assert_eq!(bound.get("lane"), Some("brokered"));
    let controller = log.one("nvme", "identify controller");
    assert_eq!(controller.get("model"), Some("QEMU NVMe Ctrl"));
    assert_eq!(controller.get("serial"), Some("charter-0"));
    assert_eq!(controller.number("namespaces"), Ok(2));
    let clouds: Vec<_> = log
        .all("nvme", "cloud shape classification")
        .inspect(|line| {
            assert_eq!(line.get("pci_vendor"), Some("0x1b36"), "{line}");
            assert_eq!(line.get("local_qemu_precursor"), Some("true"), "{line}");
            assert_eq!(line.get("host_physical_user_visible"), Some("false"), "{line}");
        })
        .map(|line| line.text("cloud_shape").unwrap())
        .collect();
    assert_eq!(clouds, ["azure-managed-disk", "aws-ebs-nvme"]);
    let claims = log.all("nvme", "cloud shape classification").zip(["real_azure_enumeration", "real_aws_enumeration"]);
    assert_eq!(claims.filter(|(line, key)| line.get(key) == Some("not-claimed")).count(), 2);
    assert_eq!(log.one("block", "ready").number("block_bytes"), Ok(512));
}

#[test]
fn without_pci_express() {
    boot_default(|machine| machine.board = Board::Pc);
}

#[test]
fn four_processors() {
    boot_default(|machine| machine.cpus = NonZeroU8::new(4).unwrap());
}

#[test]
fn a_processor_without_the_newer_protections() {
    boot_default(|machine| machine.cpu_model = "qemu64".into());
}

#[test]
fn little_memory() {
    boot_default(|machine| machine.memory = "192M".parse().unwrap());
}

#[test]
fn much_memory() {
    boot_default(|machine| machine.memory = "8G".parse().unwrap());
}

#[test]
fn firmware_as_a_pair_of_flash_chips() {
    boot_default(|machine| machine.firmware = bare_machine(Style::Split).firmware);
}

#[test]
fn firmware_as_one_file() {
    boot_default(|machine| machine.firmware = bare_machine(Style::Single).firmware);
}

#[test]
fn small_transfers_only() {
    with_controller(|controller| controller.maximum_data_transfer_size = Some(1));
}

#[test]
fn another_vendor() {
    let log = with_controller(|controller| controller.intel_identifiers = true);
    let bound = log.one("nvme", "controller bound");
    assert_eq!((bound.number("pci_vendor"), bound.number("pci_device_id")), (Ok(0x8086), Ok(0x5845)));
    for line in log.all("nvme", "cloud shape classification") {
        assert_eq!(line.get("pci_vendor"), Some("0x8086"), "{line}");
    }
}

#[test]
fn behind_a_root_port() {
    with_controller(|controller| controller.place = Place::RootPort);
}

/// OVMF itself needs two queue pairs, so it boots from another disk.
#[test]
fn one_queue_pair_and_two_interrupts() {
    for bus in [BootBus::Ide, BootBus::Virtio] {
        boot_default(|machine| {
            let image = match &machine.controllers[0].namespaces.remove(0).contents {
                qemu::nvme::Contents::File { path, .. } => path.clone(),
                qemu::nvme::Contents::Drive(_) => unreachable!("the system image is a file"),
            };
            machine.boot_disk = Some(BootDisk { path: image, bus });
            machine.controllers[0].max_io_queue_pairs = Some(1);
            machine.controllers[0].msix_entries = Some(2);
        });
    }
}

#[test]
fn only_the_granted_controller_of_two_is_touched() {
    let bench = Bench::new("second");
    let (first, second) = (bench.disk("first.img", 8 << 20), bench.disk("second.img", 16 << 20));
    let mut machine = bench.machine([Namespace::file(2, &first)]);
    machine.controllers[0].place = Place::Slot(8);
    let mut other = Controller { place: Place::Slot(9), ..Controller::new("charter-1") };
    other.namespaces.push(Namespace::file(2, &second));
    machine.controllers.push(other);
    let log = bench.boot(&machine).complete();
    assert_eq!(log.check_reads(&[(2, &second)]), 3);
    assert_eq!(log.one("nvme", "identify controller").get("serial"), Some("charter-1"));
}

#[test]
fn no_nvme_device_at_all() {
    let bench = Bench::build(&root().join("system.toml"));
    let mut machine = bare_machine(Style::Any);
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    let log = bench.boot(&machine).incomplete();
    assert_eq!(log.all("nvme", "cloud shape classification").count(), 0);
    assert_eq!(log.all("block", "read").count(), 0);
    assert_eq!(log.one("charter", "device absent").get("name"), Some("disk"));
}
