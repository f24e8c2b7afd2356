//! What is kept of tasks that stop, in memory that outlives a reset: told by the next boot, read by the supervisor and
//! from outside, and what it is good for when a supervisor fails at every boot.

use std::fs;

use abi::crash::memory::{BYTES, PLACES, RECORDS};
use image_builder::explain::{Explained, explain, log_of};
use qemu::firmware::Style;
use qemu::harness::{Bench, Log, System, bare_machine, root};
use qemu::machine::{Board, BootBus, BootDisk};
use qemu::serial::Event;
use serde_json::json;

/// Boots a charter's text without any NVMe controller, on a machine that may be reset.
fn boot(bench: &Bench, board: Board, firmware: Style) -> System {
    let mut machine = bare_machine(firmware);
    machine.board = board;
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    machine.further = ["-action", "reboot=reset"].map(Into::into).into();
    bench.boot(&machine)
}

/// A log cut at each first line of a boot.
fn boots(log: &Log) -> Vec<Log> {
    let mut boots: Vec<Vec<String>> = Vec::new();
    for line in log.lines() {
        if line.starts_with("charter: starting ") {
            boots.push(Vec::new());
        }
        if let Some(boot) = boots.last_mut() {
            boot.push(line.clone());
        }
    }
    boots.into_iter().map(Log::new).collect()
}

/// What was told of a task that stopped, without what only the record of it tells.
fn told(line: &Event) -> Vec<&(String, String)> {
    let of_the_record = ["record", "boot", "package", "time_us"];
    line.fields.iter().filter(|(key, _)| !of_the_record.contains(&key.as_str())).collect()
}

/// Each boot tells of the crashes of the one before, as that one told them, and of no other; the machine is reset three
/// times and then switched off, because it would go on like this for ever.
#[test]
fn a_supervisor_that_fails_at_every_boot_is_told_of_at_the_next_and_ends_with_the_machine_switched_off() {
    let charter = fs::read_to_string(root().join("qemu/tests/charters/supervision.toml")).unwrap().replacen(
        "program = \"supervisor\"",
        "program = \"mortal\"\nsettings = { end = \"fault\", after_milliseconds = \"300\" }",
        1,
    );
    let mut system = boot(&Bench::from_text(&charter), Board::Q35, Style::Any);
    let last = system.expect("charter", "power off");
    assert_eq!(
        (last.get("task"), last.get("reason"), last.number("resets")),
        (Some("supervisor"), Some("supervisor-stops-at-every-boot"), Ok(3)),
        "{last}"
    );
    let (status, log) = system.wait_for_end();
    assert!(status.success(), "{status}");

    let boots = boots(&log);
    assert_eq!(boots.len(), 4);
    for (index, boot) in boots.iter().enumerate() {
        let memory = boot.one("crash", "memory");
        let number = index as u64 + 1;
        assert_eq!((memory.number("boot"), memory.number("resets")), (Ok(number), Ok(number - 1)), "{memory}");
        let again: Vec<_> = boot.all("crash", "previous boot").collect();
        let Some(before) = index.checked_sub(1).map(|index| &boots[index]) else {
            assert!(again.is_empty(), "what power-on left is believed: {again:?}");
            continue;
        };
        let stopped: Vec<_> = before.all("kernel", "task stopped").collect();
        assert!(stopped.last().is_some_and(|line| line.get("task") == Some("supervisor")), "{stopped:?}");
        assert_eq!(again.len(), stopped.len().min(RECORDS));
        let package = before.one("charter", "starting").get("package");
        for (again, stopped) in again.iter().zip(&stopped[stopped.len() - again.len()..]) {
            assert_eq!((again.number("boot"), again.get("package")), (Ok(number - 1), package), "{again}");
            assert_eq!(told(again), told(stopped));
        }
        let records: Vec<_> = again.iter().map(|line| line.number("record").unwrap()).collect();
        assert!(records.windows(2).all(|two| two[0] + 1 == two[1]), "{records:?}");
        assert_eq!(boot.all("crash", "registers").count(), again.len());
        let reset = before.one("charter", "power reboot");
        assert_eq!((reset.number("resets"), reset.number("limit")), (Ok(number - 1), Ok(3)), "{reset}");
    }
}

const ONE_FAULT: &str = r#"
version = 1
[system]
name = "records"
[tasks.supervisor]
program = "supervisor"
priority = 40
stack = "32 KiB"
[tasks.supervisor.grants]
faults = { supervise = "faults", limit = 0 }
log = { log = "supervisor" }
[tasks.faults]
program = "mortal"
priority = 10
settings = { end = "fault" }
[tasks.faults.grants]
log = { log = "faults" }
"#;

/// The functions that the newest crash was in.
fn functions(explained: &[Explained]) -> Vec<&str> {
    let places = explained.iter().flat_map(|crash| &crash.frames).flat_map(|frame| &frame.places);
    places.filter_map(|place| place.function.as_deref()).collect()
}

/// A reset from outside, on another board, with firmware in flash: the next boot tells of the crash, the one after that
/// does not. The log of that boot alone explains it, and so does the machine's memory.
#[test]
fn a_crash_outlives_a_reset_from_outside_is_told_once_and_explained_from_the_next_boot_or_from_memory() {
    let bench = Bench::from_text(ONE_FAULT);
    let image = fs::read(bench.image()).unwrap();
    let mut system = boot(&bench, Board::Pc, Style::Split);
    let given_up = system.expect("supervisor", "gave up");
    let memory = system.running().control().unwrap().read_memory(PLACES[0] - 8, BYTES as u64 + 16).unwrap();
    let reset = |system: &mut System| {
        system.running().control().unwrap().execute("system_reset", json!({})).unwrap();
        system.expect_next("supervisor", "gave up")
    };
    for _ in 0..2 {
        reset(&mut system);
    }
    let log = system.end();
    let [first, second, third] = &boots(&log)[..] else { log.fail("three boots") };
    let stopped = first.one("kernel", "task stopped");
    assert_eq!(given_up.number("record"), Ok(1));
    assert_eq!(given_up.get("instruction"), stopped.get("instruction"));
    for (boot, before, number) in [(second, first, 2), (third, second, 3)] {
        let found = boot.one("crash", "memory");
        let numbers = ["boot", "resets", "records"].map(|key| found.number(key).unwrap());
        assert_eq!(numbers, [number, 0, number - 1], "{found}");
        let again = boot.one("crash", "previous boot");
        assert_eq!((again.number("boot"), again.number("record")), (Ok(number - 1), Ok(number - 1)), "{again}");
        assert_eq!(told(again), told(before.one("kernel", "task stopped")));
    }

    let told_again = second.lines().iter().filter(|line| line.starts_with("crash: "));
    let told_again: String = told_again.map(|line| line.clone() + "\n").collect();
    let from_log = explain(&told_again, &image).unwrap();
    let from_memory = explain(&log_of(&memory), &image).unwrap();
    assert!(functions(&from_log).iter().any(|function| function.contains("overflow")), "{from_log:?}");
    assert_eq!(from_memory, from_log);
    assert!(from_log[0].is_of_this_image);
}
