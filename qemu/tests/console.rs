//! The console: commands typed on the serial port, answered under the console's own prefix; the machine's end.

use std::path::PathBuf;

use qemu::disk;
use qemu::harness::{Bench, Log, System, root};
use qemu::machine::Machine;
use qemu::nvme::Namespace;
use qemu::serial::Event;
use serde_json::Value;

const PREFIX: &str = "> ";
const PROMPT: &str = "> $ ";

/// A machine that has booted `system.toml`, changed by `change`, up to the prompt.
fn boot(change: impl FnOnce(&mut Machine)) -> (Bench, PathBuf, System) {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    change(&mut machine);
    let mut system = bench.boot(&machine);
    system.wait_complete();
    (bench, disk, system)
}

/// Types a command and returns what is answered, without prefixes: the lines between it and the next prompt.
///
/// The prompt has no line end, so an empty command is typed after it, whose echo ends it.
fn ask(system: &mut System, command: &str) -> Vec<String> {
    system.type_text(&format!("{command}\r"));
    system.expect_line(&format!("the echo of `{command}`"), |line| line == format!("{PROMPT}{command}"));
    system.type_text("\r");
    let mut answer = Vec::new();
    loop {
        let line = system.expect_line(&format!("the answer to `{command}`"), |line| line.starts_with(PREFIX));
        if line == PROMPT {
            return answer;
        }
        answer.push(line[PREFIX.len()..].to_owned());
    }
}

/// The value of a key of an answer's line.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let start = line.find(&format!("{key}=")).unwrap_or_else(|| panic!("no {key} in `{line}`")) + key.len() + 1;
    line[start..].split(' ').next().unwrap()
}

#[test]
fn every_command_of_the_default_charter_answers() {
    let (_bench, disk, mut system) = boot(|_| {});
    let help = ask(&mut system, "help");
    for command in [
        "help",
        "tasks",
        "devices",
        "disks",
        "read",
        "verify",
        "bench",
        "log",
        "cloud",
        "record",
        "kill TASK",
        "power off",
        "reboot",
    ] {
        assert!(help.iter().any(|line| line.starts_with(command)), "no `{command}` in {help:?}");
    }

    let tasks = ask(&mut system, "tasks");
    let words: Vec<Vec<_>> = tasks.iter().map(|line| line.split_whitespace().collect()).collect();
    let names: Vec<_> = words[1..].iter().map(|words| words[0]).collect();
    assert_eq!(names, ["nvme", "block", "classify", "reader", "console", "supervisor"]);
    let own = words.iter().find(|words| words[0] == "console").unwrap();
    assert_eq!((own[1], own[2], own[3]), ("1", "ready", "well"), "{tasks:?}");
    assert!(
        words[1..].iter().all(|words| words.iter().any(|word| word.ends_with("ms") && *word != "0.000ms")),
        "{tasks:?}"
    );

    let devices = ask(&mut system, "devices");
    let granted: Vec<_> = devices.iter().filter(|line| value(line, "granted") != "no").collect();
    let [controller] = granted[..] else { panic!("{devices:?}") };
    assert!(controller.starts_with("0000:00:01.0 vendor=0x1b36 device=0x0010 class=0x01 subclass=0x08 prog_if=0x02"));
    assert!(devices.len() > 2, "the others as well: {devices:?}");

    let disks = ask(&mut system, "disks");
    assert_eq!((value(&disks[0], "nsid"), value(&disks[0], "blocks")), ("2", "32768"), "{disks:?}");

    let read = ask(&mut system, "read 2 100 8");
    assert_eq!(value(&read[0], "sha256"), disk::sha256(&disk, 100 * 512, 8 * 512).unwrap());
    let bytes = std::fs::read(&disk).unwrap();
    let shown: Vec<_> = bytes[100 * 512..][..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(read[1].starts_with(&format!("0000  {}", shown.join(" "))), "{read:?}");
    assert_eq!(read.len(), 5);
    for (command, error) in [("read 2 32768", "invalid"), ("read 2 0 0", "usage: read"), ("read 1 0", "granted nsid=2")]
    {
        assert!(ask(&mut system, command)[0].contains(error), "{command}");
    }

    let log = ask(&mut system, "log 3");
    assert_eq!(log.len(), 3);
    assert!(log[2].starts_with("charter: boot complete"), "{log:?}");
    let bench = ask(&mut system, "bench");
    for row in ["system-call", "call-and-reply", "read-1-block", "read-128-KiB"] {
        let line = bench.iter().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{bench:?}"));
        assert!(value(line, "tsc").parse::<u64>().unwrap() > 0, "{line}");
    }
    assert_eq!(ask(&mut system, "sudo reboot"), ["there is no command `sudo`; `help` shows which there are"]);
    assert_eq!(ask(&mut system, "power on"), ["usage: power off"]);

    // Nothing of all this is an event, and the log's own lines are whole.
    let log = system.end();
    assert_eq!(log.all("charter", "boot complete").count(), 1);
    assert!(log.lines().iter().filter(|line| line.starts_with(PREFIX)).all(|line| Event::parse(line).is_err()));
}

#[test]
fn verify_reads_a_range_and_gives_its_hash() {
    let (_bench, disk, mut system) = boot(|_| {});
    let answer = ask(&mut system, "verify 16 2048");
    assert!(answer[0].starts_with("verified nsid=2 lba=16 blocks=2048 "), "{answer:?}");
    assert_eq!(value(&answer[0], "sha256"), disk::sha256(&disk, 16 * 512, 2048 * 512).unwrap());
    let answer = ask(&mut system, "verify 32760 9");
    assert!(answer[0].starts_with("verify failed ") && answer[0].contains("error=invalid"), "{answer:?}");
}

#[test]
fn a_line_can_be_edited_and_what_is_typed_too_fast_is_bounded() {
    let (_bench, _disk, mut system) = boot(|_| {});
    system.type_text("taskz\x7fx\x08s\x15nonsense\x03");
    system.expect_line("the line that was given up", |line| line.starts_with(PROMPT) && line.ends_with("nonsense^C"));
    assert!(ask(&mut system, "help").len() > 5);
    // More than any buffer on the way holds: the console goes on.
    system.type_text(&"x".repeat(5000));
    system.type_text("\x15\r");
    std::thread::sleep(std::time::Duration::from_millis(500));
    system.type_text("\x15\r");
    system.expect_line("a prompt", |line| line.starts_with(PREFIX));
    system.type_text("\x15disks\r");
    system.expect_line("an answer", |line| line.starts_with("> nsid=2 "));
}

#[test]
fn power_off_flushes_and_ends_the_machine() {
    let (_bench, _disk, mut system) = boot(|_| {});
    system.type_text("power off\r");
    let (status, log) = system.wait_for_end();
    assert!(status.success(), "{status}");
    check_end(&log, "off", "acpi-s5");
    // The block server has shut storage down before.
    let place =
        |event: &str| log.events().iter().position(|line| line.component == "block" && line.event.starts_with(event));
    let (begun, ended) = (place("shutting down").expect("it begins"), place("shut down").expect("it ends"));
    assert!(begun < ended);
    assert_eq!(log.events()[begun].get("client"), Some("console"));
}

#[test]
fn power_off_without_pci_express() {
    let (_bench, _disk, mut system) = boot(|machine| machine.board = qemu::machine::Board::Pc);
    system.type_text("power off\r");
    let (status, log) = system.wait_for_end();
    assert!(status.success(), "{status}");
    check_end(&log, "off", "acpi-s5");
}

/// The kernel says what it does, and nothing follows.
fn check_end(log: &Log, action: &str, method: &str) {
    let event = format!("power {action}");
    let said = log.one("charter", &event);
    assert_eq!((said.get("task"), said.get("method")), (Some("console"), Some(method)), "{said}");
    assert!(log.lines().last().unwrap().starts_with(&format!("charter: power {action} ")), "{:?}", log.lines().last());
}

#[test]
fn a_reboot_resets_the_machine_which_boots_again() {
    let (_bench, disk, mut system) =
        boot(|machine| machine.further = ["-action", "reboot=reset"].map(Into::into).into());
    system.running().control().unwrap().take_events();
    system.type_text("reboot\r");
    let said = system.expect("charter", "power reboot");
    assert_eq!(said.get("method"), Some("acpi-reset-register"), "{said}");
    system.expect_next("charter", "starting");
    system.expect_next("charter", "boot complete");
    let control = system.running().control().unwrap();
    control.status().unwrap();
    let resets: Vec<Value> = control.take_events().into_iter().filter(|event| event["event"] == "RESET").collect();
    assert_eq!(resets.len(), 1, "{resets:?}");
    assert_eq!(resets[0]["data"]["guest"], true);
    assert_eq!(system.end().check_reads(&[(2, &disk)]), 10, "five reads in each life");
}

/// A charter without the console boots as ever, and nobody answers what is typed.
#[test]
fn without_the_grant_nobody_listens() {
    let bench = Bench::new("base");
    let disk = bench.disk("disk.img", 16 << 20);
    let mut system = bench.boot(&bench.machine([Namespace::file(2, &disk)]));
    system.wait_complete();
    system.type_text("help\rpower off\r");
    let log = system.end();
    assert!(!log.lines().iter().any(|line| line.starts_with(PREFIX)));
    assert_eq!(log.all("kernel", "console").count(), 0);
}

/// A recording that a user cuts out of the serial log says on the host what the machine said of itself.
#[test]
fn a_recording_is_replayed_to_the_same_verdict() {
    let (_bench, _disk, mut system) = boot(|_| {});
    let cloud = ask(&mut system, "cloud");
    assert_eq!(value(&cloud[0], "provider"), "qemu", "{cloud:?}");
    let evidence = cloud.iter().filter(|line| line.starts_with("evidence source=")).count();
    let recording = ask(&mut system, "record");
    assert_eq!(recording.last(), Some(&format!("recorded items={evidence}")));
    let log = system.end();

    // As it stands in the log, prefixes and all.
    let cut: Vec<_> = recording.iter().map(|line| format!("{PREFIX}{line}")).collect();
    let said = image_builder::classify::classify(&cut.join("\r\n")).expect("a recording");
    let verdict = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| line.starts_with("cloud: verdict ")).cloned().collect()
    };
    assert_eq!(verdict(&said), verdict(log.lines()));
    assert_eq!(verdict(&said).len(), 1);
}

#[test]
fn no_text_of_a_console_is_a_line_of_the_log() {
    let bench = Bench::new("forge");
    let mut machine = qemu::harness::bare_machine(qemu::firmware::Style::Any);
    let bus = qemu::machine::BootBus::Ide;
    machine.boot_disk = Some(qemu::machine::BootDisk { path: bench.image().to_owned(), bus });
    let mut system = bench.boot(&machine);
    system.expect("forger", "forged");
    let log = system.end();
    assert_eq!(log.one("charter", "boot complete").number("tasks"), Ok(1));
    let forged = log.lines().iter().filter(|line| line.contains("tasks=99"));
    let count = forged.inspect(|line| assert!(line.starts_with(PREFIX), "{line:?}")).count();
    assert_eq!(count, 9, "every forgery arrived, behind the prefix");
    assert_eq!(log.all("forger", "between").count(), 11, "and the lines between came whole");
    let since = log.lines().iter().position(|line| line.starts_with("charter: starting")).unwrap();
    for line in &log.lines()[since..] {
        let known = [PREFIX, "charter: ", "clock: ", "kernel: ", "dma: ", "crash: ", "forger: "];
        assert!(known.iter().any(|start| line.starts_with(start)), "{line:?}");
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
    }
}
