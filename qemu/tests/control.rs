//! A real QEMU that is controlled through its socket, without anything to boot.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use qemu::faults::{FaultyDisk, InjectedError, Request};
use qemu::firmware::{Firmware, Style};
use qemu::machine::{Board, Machine};
use qemu::nvme::{Controller, Namespace, Place};
use qemu::power_loss::{Loss, Replay};
use qemu::process::{RunError, Running};
use qemu::qmp::Client;
use qemu::random::Random;
use qemu::removal;
use qemu::write_log::{Operation, WriteLog};
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

#[test]
fn a_device_is_pulled_out_without_asking_the_machine() {
    let mut machine = waiting();
    machine.controllers.push(Controller { place: Place::RootPort, ..Controller::new("charter") });
    machine.further.extend(removal::arguments());
    let mut running = Running::start(&machine, Duration::from_secs(30)).unwrap();
    let control = running.control().unwrap();
    let present = |control: &mut Client| control.monitor("info qtree").unwrap().contains("id \"nvme0\"");
    assert!(present(control));
    assert!(removal::pull(control, "port1").is_err());
    removal::pull(control, "port0").unwrap();
    assert!(!present(control));
    running.quit().unwrap();
}

/// What a guest would do is done by QEMU's own I/O commands; then the log holds what the disk was told, and no more.
#[test]
fn a_recorded_disk_tells_what_it_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let [disk, log] = ["disk", "log"].map(|name| directory.path().join(name));
    qemu::disk::random(&disk, 1, 1 << 20).unwrap();
    let before = std::fs::read(&disk).unwrap();
    let faulty = FaultyDisk::new(&disk)
        .recorded(&log)
        .failing([InjectedError::always(Request::Write).at(100).once(), InjectedError::always(Request::Read).at(200)]);
    let namespace = Namespace { contents: faulty.contents(), ..Namespace::file(2, &disk) };
    let mut machine = waiting();
    machine.controllers.push(Controller::new("charter").with(namespace));
    machine.further.extend(FaultyDisk::arguments());
    let mut running = Running::start(&machine, Duration::from_secs(30)).unwrap();
    let control = running.control().unwrap();
    for command in ["write -P 17 4k 4k", "flush", "write -P 18 48k 4k", "write -P 18 48k 4k", "discard 8k 4k"] {
        control.monitor(&format!("qemu-io nvme0-ns2 \"{command}\"")).unwrap();
    }
    for command in ["read 100k 512", "read 100k 512", "read 99k 512"] {
        control.monitor(&format!("qemu-io nvme0-ns2 \"{command}\"")).unwrap();
    }
    // The commands' answers come on standard output.
    let lines = running.quit().unwrap();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("write failed: Input/output error"), count("read failed: Input/output error")), (1, 2));

    let log = WriteLog::read(&log).unwrap();
    let mut replay = Replay::new(&log, before.clone(), 512);
    // QEMU itself flushes at its end.
    assert_eq!(log.entries().last().map(|entry| &entry.operation), Some(&Operation::Flush));
    replay.advance(log.entries().len() - 1);
    assert_eq!(replay.pending(), 2, "{:?}", log.entries());
    let mut expected = before;
    expected[4 << 10..][..4 << 10].fill(17);
    let mut random = Random::new(1);
    assert!(replay.disk(Loss::Everything, &mut random) == expected);
    expected[48 << 10..][..4 << 10].fill(18);
    expected[8 << 10..][..4 << 10].fill(0);
    assert!(replay.disk(Loss::Nothing, &mut random) == expected);
    assert!(std::fs::read(&disk).unwrap() == expected, "the disk itself lost nothing");
}
