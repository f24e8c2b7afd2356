//! Tasks that stop, in every way: who is restarted and how, who is given up, and what becomes of the rest.

use std::fs;

use nvme_spec::registers::{CAP, CC, CSTS};
use qemu::firmware::Style;
use qemu::harness::{Bench, Log, System, bare_machine, root};
use qemu::lane::Lane;
use qemu::machine::{BootBus, BootDisk};
use qemu::nvme::{Controller, Namespace};
use qemu::removal::Ones;
use qemu::serial::Event;

/// Boots a charter's text without any NVMe controller.
fn boot_without_disk(text: &str) -> System {
    let bench = Bench::from_text(text);
    let mut machine = bare_machine(Style::Any);
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    bench.boot(&machine)
}

fn charter() -> String {
    fs::read_to_string(root().join("qemu/tests/charters/supervision.toml")).unwrap()
}

/// Lines of one kind about one task.
fn about<'a>(log: &'a Log, component: &'a str, event: &'a str, task: &'a str) -> Vec<&'a Event> {
    log.all(component, event).filter(|line| line.get("task") == Some(task)).collect()
}

#[test]
fn what_fails_is_restarted_as_the_charter_says_and_the_rest_goes_on() {
    let mut system = boot_without_disk(&charter());
    for task in ["starts-never", "faults", "spins", "waits"] {
        let given_up = |line: &Event| line.is("supervisor", "gave up") && line.get("task") == Some(task);
        let line = system.expect_where(&format!("{task} is given up"), given_up);
        assert_eq!((line.get("reason"), line.get("then")), (Some("limit"), Some("degrade")), "{line}");
    }
    let log = system.end();
    for (task, cause, stopped_by, limit) in [
        ("starts-never", "fault", "stack-overflow", 3),
        ("faults", "fault", "stack-overflow", 2),
        ("spins", "no-heartbeat", "no-heartbeat", 2),
        ("waits", "no-heartbeat", "no-heartbeat", 1),
    ] {
        let restarted = about(&log, "supervisor", "restarted", task);
        let told: Vec<_> =
            restarted.iter().map(|line| (line.number("generation").unwrap(), line.get("cause"))).collect();
        let expected: Vec<_> = (2..limit + 2).map(|generation| (generation, Some(cause))).collect();
        assert_eq!(told, expected, "{task}");
        let stopped = about(&log, "kernel", "task stopped", task);
        assert!(stopped.iter().all(|line| line.get("cause") == Some(stopped_by)), "{stopped:?}");
        assert_eq!(stopped.len() as u64, limit + 1, "{task}");
        // The supervisor has read the record of the last one.
        let given_up = about(&log, "supervisor", "gave up", task);
        assert_eq!(given_up[0].get("instruction"), stopped.last().unwrap().get("instruction"), "{}", given_up[0]);
        // Each generation finds its memory as the first one did.
        let began: Vec<_> = log.all(task, "began").collect();
        assert_eq!(began.len() as u64, limit + 1, "{task}");
        assert!(began.iter().all(|line| line.get("made") == Some("true")), "{began:?}");
    }
    let waits: Vec<_> = about(&log, "supervisor", "restart delayed", "starts-never")
        .iter()
        .map(|line| line.number("delay_ms").unwrap())
        .collect();
    assert_eq!(waits, [20, 40], "the first restart is at once");
    let boot = log.one("charter", "boot incomplete");
    assert_eq!((boot.get("task"), boot.get("reason")), (Some("starts-never"), Some("could-not-start")));
    assert!(about(&log, "kernel", "task stopped", "lives").is_empty(), "who says that it is alive lives");
    assert!(log.all("equal", "spun").count() > 0, "one that spins leaves its equals their turns");
}

/// The kernel says why it resets the machine, and nothing follows.
fn ends_with_reset(text: &str, cause: &str) -> Log {
    let (status, log) = boot_without_disk(text).wait_for_end();
    assert!(status.success(), "{status}");
    let stopped = about(&log, "kernel", "task stopped", "supervisor");
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0].get("cause"), Some(cause), "{}", stopped[0]);
    let reset = log.one("charter", "power reboot");
    assert_eq!((reset.get("task"), reset.get("reason")), (Some("supervisor"), Some("supervisor-stopped")), "{reset}");
    assert!(log.lines().last().unwrap().starts_with("charter: power reboot "), "{:?}", log.lines().last());
    log
}

#[test]
fn a_supervisor_that_fails_ends_in_a_reset_that_says_why() {
    let text = charter().replacen(
        "program = \"supervisor\"",
        "program = \"mortal\"\nsettings = { end = \"fault\", after_milliseconds = \"300\" }",
        1,
    );
    ends_with_reset(&text, "stack-overflow");
}

#[test]
fn a_task_that_the_machine_cannot_be_without_ends_in_a_reset_that_says_why() {
    let text = charter().replace(
        "waits = { supervise = \"waits\", limit = 1,",
        "waits = { supervise = \"waits\", limit = 0, give_up = \"reboot\",",
    );
    let log = ends_with_reset(&text, "exit");
    let given_up = about(&log, "supervisor", "gave up", "waits");
    assert_eq!(given_up[0].get("then"), Some("reboot"));
    let stopped = about(&log, "kernel", "task stopped", "supervisor");
    assert_eq!(stopped[0].get("reason"), Some("task waits cannot be restarted"), "{}", stopped[0]);
}

/// The driver of a real controller, killed from the console: first with a controller that can be stopped, then with one
/// whose registers read as ones.
#[test]
fn a_killed_driver_comes_back_unless_its_device_does_not_stop() {
    killed_until_its_device_does_not_stop(Lane::Brokered);
}

/// Rings and registers are the driver's; what stops the controller, and says that it did not stop, is the kernel.
#[test]
fn a_killed_driver_comes_back_on_the_direct_lane_unless_its_device_does_not_stop() {
    killed_until_its_device_does_not_stop(Lane::Direct);
}

fn killed_until_its_device_does_not_stop(lane: Lane) {
    let bench = Bench::on_lane(lane, &fs::read_to_string(root().join("system.toml")).unwrap());
    let disk = bench.disk("disk.img", 16 << 20);
    let ones = Ones::new().unwrap();
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    machine.further.extend(ones.arguments());
    let mut system = bench.boot(&machine);
    system.wait_complete();

    for generation in 2..4 {
        system.type_text("kill nvme\r");
        let stopped = system.expect_next("kernel", "task stopped");
        assert_eq!((stopped.get("task"), stopped.get("cause")), (Some("nvme"), Some("killed")), "{stopped}");
        assert_eq!(stopped.get("by"), Some("console"));
        system.expect_next("charter", "device stopped");
        let restarted = system.expect_next("supervisor", "restarted");
        assert_eq!((restarted.get("task"), restarted.number("generation")), (Some("nvme"), Ok(generation)));
        // The new generation binds the controller and identifies it anew.
        system.expect_next("nvme", "controller bound");
        system.expect_next("nvme", "identify controller");
    }
    system.type_text("tasks\r");
    let line = system.expect_line("nvme among the tasks", |line| line.starts_with("> nvme "));
    let words: Vec<_> = line.split_whitespace().collect();
    assert!(words.windows(3).any(|words| words == ["well", "3", "2"]), "generation 3, restarted twice: {line}");

    let control = system.running().control().unwrap();
    ones.cover(control, &Controller::identifier(0)).unwrap();
    system.type_text("kill nvme\r");
    system.expect_next("charter", "device quarantined");
    let given_up = system.expect_next("supervisor", "gave up");
    assert_eq!(
        (given_up.get("task"), given_up.get("reason")),
        (Some("nvme"), Some("device-quarantined")),
        "{given_up}"
    );
    let log = system.end();
    assert_eq!(about(&log, "supervisor", "restarted", "nvme").len(), 2);
    lane.check(&log);
}

/// A controller that says it is ready, whatever it is told: what it still does nobody knows, so neither it nor its memory
/// is used again.
#[test]
fn a_controller_that_does_not_say_that_it_has_stopped_is_not_used_again() {
    always_ready(Lane::Brokered);
}

fn always_ready(lane: Lane) {
    let bench = Bench::on_lane(lane, &fs::read_to_string(root().join("system.toml")).unwrap());
    let disk = bench.disk("disk.img", 16 << 20);
    // It promises to have stopped within half a second, the least that there is.
    let capabilities = 1_u64 << 37 | 1 << 24 | 0x7ff;
    let stuck = Ones::new().and_then(|ones| ones.with(CAP.into(), &capabilities.to_le_bytes()));
    let stuck = stuck.and_then(|ones| ones.with(CC.into(), &0x46_0001_u32.to_le_bytes()));
    let stuck = stuck.and_then(|ones| ones.with(CSTS.into(), &1_u32.to_le_bytes())).unwrap();
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    machine.further.extend(stuck.arguments());
    let mut system = bench.boot(&machine);
    system.wait_complete();
    stuck.cover(system.running().control().unwrap(), &Controller::identifier(0)).unwrap();
    system.type_text("kill nvme\r");
    let is_end = |line: &Event| line.is("charter", "device quarantined") || line.is("charter", "device stopped");
    let end = system.expect_next_where("the device's end", is_end);
    assert!(end.is("charter", "device quarantined"), "RDY=0 was not read: {end}");
    let given_up = system.expect_next("supervisor", "gave up");
    assert_eq!(given_up.get("reason"), Some("device-quarantined"), "{given_up}");
}

/// A driver that dies again and again is given up only after everything that depends on it has begun anew with it, once:
/// the block server, which calls it, and the block server's clients.
#[test]
fn whoever_depends_on_a_task_that_fails_too_often_is_restarted_with_it_once() {
    let dying = fs::read_to_string(root().join("qemu/tests/charters/dying.toml")).unwrap();
    let supervisor = r#"
[tasks.supervisor]
program = "supervisor"
priority = 50
stack = "32 KiB"
[tasks.supervisor.grants]
nvme = { supervise = "nvme", limit = 1, back_off = "1 ms", give_up = "restart-dependants" }
block = { supervise = "block" }
one = { supervise = "one" }
log = { log = "supervisor" }
"#;
    let bench = Bench::from_text(&(dying.replace(r#"die = "never""#, r#"die = "mid-call""#) + supervisor));
    let mut system = bench.boot(&bench.machine([]));
    let given_up = |line: &Event| line.is("supervisor", "gave up") && line.get("then") == Some("degrade");
    let last = system.expect_where("the driver is given up", given_up);
    assert_eq!((last.get("task"), last.get("cause"), last.get("reason")), (Some("nvme"), Some("exit"), Some("limit")));
    let log = system.end();

    let all: Vec<_> = log.all("supervisor", "gave up").map(|line| line.get("then")).collect();
    assert_eq!(all, [Some("restart-dependants"), Some("degrade")]);
    let generations = |task| {
        let restarted = about(&log, "supervisor", "restarted", task);
        let told = restarted.iter().map(|line| (line.number("generation").unwrap(), line.get("cause").unwrap()));
        told.map(|(generation, cause)| (generation, cause.to_owned())).collect::<Vec<_>>()
    };
    let exit = |generation| (generation, "exit".to_owned());
    assert_eq!(generations("nvme"), [exit(2), exit(3)], "once alone, once with its dependants");
    for task in ["block", "one"] {
        assert_eq!(generations(task), [(2, "killed".to_owned())], "{task}");
        let stopped = about(&log, "kernel", "task stopped", task);
        assert_eq!((stopped.len(), stopped[0].get("by")), (1, Some("supervisor")), "{task}");
    }
    assert!(about(&log, "kernel", "task stopped", "two").is_empty(), "nobody watches over it");
}

/// The driver of a real controller that does not stop by itself and is of no use any more: it is noticed because it does
/// not say that it is alive, and whoever reads meanwhile sees a delay.
#[test]
fn a_driver_that_hangs_is_noticed_and_its_reader_goes_on_without_an_error() {
    for fault in ["loop", "wait-for-ever"] {
        let text = fs::read_to_string(root().join("system.toml")).unwrap();
        let text = text.replace("heartbeat = \"8 s\"", "heartbeat = \"500 ms\"").replace(
            "settings = { reads = \"first+1 first+8 middle+64 last+1 first+2048\" }",
            "settings = { reads = \"first+1 middle+64 last+1\", repeat = \"0\", pause_milliseconds = \"5\" }",
        );
        let injector = format!(
            r#"
[tasks.injector]
program = "injector"
priority = 45
settings = {{ fault = "{fault}", faults = "1", begin_milliseconds = "300" }}
[tasks.injector.grants]
victim = {{ kill = "nvme" }}
log = {{ log = "injector" }}
"#
        );
        let bench = Bench::with_test_faults(&(text + &injector));
        let disk = bench.disk("disk.img", 16 << 20);
        let mut system = bench.boot(&bench.machine([Namespace::file(2, &disk)]));
        let stopped = system.expect("kernel", "task stopped");
        assert_eq!((stopped.get("task"), stopped.get("cause")), (Some("nvme"), Some("no-heartbeat")), "{stopped}");
        let restarted = system.expect_next("supervisor", "restarted");
        assert_eq!((restarted.get("cause"), restarted.number("generation")), (Some("no-heartbeat"), Ok(2)));
        (0..6).for_each(|_| drop(system.expect_next("block", "read")));
        let log = system.end();
        log.one("kernel", "features test-faults");
        assert_eq!(log.all("injector", "fault").count(), 1, "{fault}");
        assert!(log.check_reads(&[(2, &disk)]) > 6, "{fault}: before and after");
        assert_eq!(
            log.all("block", "read failed").count() + log.all("block", "disk unavailable").count(),
            0,
            "{fault}"
        );
        assert_eq!(log.all("kernel", "task stopped").count(), 1, "{fault}");
    }
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn a_killed_driver_comes_back_behind_an_iommu_unless_its_device_does_not_stop() {
        killed_until_its_device_does_not_stop(Lane::BrokeredBehindIommu);
    }

    #[test]
    #[ignore = "by make test-lanes"]
    fn a_controller_that_does_not_say_that_it_has_stopped_is_not_used_again() {
        always_ready(Lane::BrokeredBehindIommu);
        always_ready(Lane::Direct);
    }
}
