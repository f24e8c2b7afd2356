//! A real QEMU that is controlled through its socket, without anything to boot.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use qemu::firmware::{Firmware, Style};
use qemu::machine::{Board, Machine};
use qemu::nvme::{Controller, Namespace, Place};
use qemu::process::{RunError, Running};
use serde_json::json;

/// A machine whose processors wait (`-S`), so that nothing changes by itself.
fn waiting() -> Machine {
    let firmware = Firmware::find(Style::Any).expect("OVMF is installed (make setup)");
    Machine { further: vec!["-S".into()], ..Machine::new(firmware) }
}

#[test]
fn status_memory_and_the_end_are_controlled() {
    let mut running = Running::start(&waiting(), Duration::from_secs(30)).unwrap();
    let control = running.control().unwrap();
    assert_eq!(control.status().unwrap(), "prelaunch");
    // The reset vector's page holds firmware, the first page of memory nothing yet.
    assert!(control.read_memory(0xffff_f000, 4096).unwrap().iter().any(|&byte| byte != 0));
    assert_eq!(control.read_memory(0, 4096).unwrap(), [0; 4096]);
    assert_eq!(control.read_words(0, 4).unwrap(), [0; 4]);
    // A processor starts in real mode, caches off (CR0.CD, NW, ET).
    assert_eq!(control.register("CR0").unwrap(), 0x6000_0010);
    let error = control.execute("no-such-command", json!({})).unwrap_err().to_string();
    assert!(error.contains("no-such-command"), "{error}");
    assert!(running.quit().unwrap().is_empty());
}

#[test]
fn every_device_description_is_one_that_qemu_takes() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("a,disk.img");
    qemu::disk::sparse(&disk, 1, 3 << 40, &[], 0).unwrap();
    for board in [Board::Q35, Board::Pc] {
        let mut machine = Machine { board, ..waiting() };
        for (index, place) in [Place::RootBus, Place::Slot(9), Place::RootPort].into_iter().enumerate() {
            if board == Board::Pc && place == Place::RootPort {
                continue;
            }
            let namespaces =
                vec![Namespace::file(1, &disk), Namespace::file(5, &disk).block_bytes(qemu::nvme::BlockBytes::B4096)];
            machine.controllers.push(Controller {
                place,
                max_io_queue_pairs: Some(1),
                msix_entries: Some(2),
                maximum_data_transfer_size: Some(1),
                intel_identifiers: index == 1,
                namespaces,
                ..Controller::new(format!("serial,{index}"))
            });
        }
        let mut running = Running::start(&machine, Duration::from_secs(30)).unwrap();
        assert_eq!(running.control().unwrap().status().unwrap(), "prelaunch");
        let devices = running.control().unwrap().monitor("info pci").unwrap();
        assert_eq!(devices.matches("8086:5845").count(), 1, "{devices}");
        if board == Board::Q35 {
            running.control().unwrap().unplug(&Controller::identifier(2)).unwrap();
            assert!(running.control().unwrap().unplug("nobody").is_err());
        }
        running.quit().unwrap();
    }
}

#[test]
fn a_qemu_that_ends_by_itself_says_why() {
    let mut machine = waiting();
    machine.further = vec!["-device".into(), "no-such-device".into()];
    let mut running = Running::start(&machine, Duration::from_secs(30)).unwrap();
    let error = running.wait_for("anything", |_| true).unwrap_err();
    assert!(matches!(error, RunError::Exited { .. }));
    assert!(error.to_string().contains("no-such-device"), "{error}");
}

#[test]
fn a_run_is_bounded_and_leaves_no_process() {
    let mut running = Running::start(&waiting(), Duration::from_millis(500)).unwrap();
    let identifier = running.identifier();
    let error = running.wait_for("anything", |_| true).unwrap_err();
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    drop(running);
    assert!(!Path::new("/proc").join(identifier.to_string()).exists());
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let error = Running::start_with(OsStr::new("no-such-qemu"), &waiting(), Duration::from_secs(1)).err().unwrap();
    assert!(error.to_string().contains("cannot start no-such-qemu"), "{error}");
}
