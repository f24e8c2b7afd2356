//! Tasks that die, do not answer or never wait: everyone else goes on, and every wait ends.

use std::fs;

use image_builder::explain::{Explained, Place, explain};
use qemu::firmware::Style;
use qemu::harness::{Bench, Log, System, bare_machine, root};
use qemu::machine::{BootBus, BootDisk};
use qemu::serial::Event;

/// A system without NVMe, booted from another disk.
fn boot_without_disk(bench: &Bench) -> System {
    let mut machine = bare_machine(Style::Any);
    machine.boot_disk = Some(BootDisk { path: bench.image().to_owned(), bus: BootBus::Ide });
    bench.boot(&machine)
}

/// Boots with a driver that dies in this way, and waits until its clients were told, twice each: nobody hangs, and
/// nobody else stops.
fn with_death(die: &str, by: &str) -> (Log, Vec<Explained>) {
    let text = fs::read_to_string(root().join("qemu/tests/charters/dying.toml")).unwrap();
    let bench =
        Bench::from_text(&text.replace("die = \"never\", by = \"exit\"", &format!("die = \"{die}\", by = \"{by}\"")));
    let mut system = bench.boot(&bench.machine([]));
    let stopped = system.expect("kernel", "task stopped");
    assert_eq!(stopped.get("task"), Some("nvme"));
    for _ in 0..2 {
        for reader in ["one", "two"] {
            let told = |event: &Event| event.component == reader && event.get("error") == Some("dead-peer");
            let line = system.expect_next_where(&format!("`dead-peer` told to {reader}"), told);
            assert_eq!(line.get("by"), Some("server"), "the block server lives: {line}");
        }
    }
    let log = system.end();
    assert_eq!(log.all("kernel", "task stopped").count(), 1);
    assert_eq!(log.all("charter", "boot incomplete").count(), 0);
    let explained = explain(&log.lines().join("\n"), &fs::read(bench.image()).unwrap());
    (log, explained.unwrap_or_else(|error| panic!("{error}")))
}

/// The line of this text in a file of the repository.
fn line_of(file: &str, text: &str) -> u32 {
    let source = fs::read_to_string(root().join(file)).unwrap();
    source.lines().position(|line| line.contains(text)).unwrap() as u32 + 1
}

#[test]
fn a_driver_that_dies_idle_leaves_its_clients_an_answer() {
    let (log, _) = with_death("idle", "exit");
    let stopped = log.one("kernel", "task stopped");
    assert_eq!((stopped.get("cause"), stopped.get("last_call")), (Some("exit"), Some("exit")));
}

#[test]
fn a_driver_that_dies_with_requests_queued_leaves_its_clients_an_answer() {
    let (_, explained) = with_death("queued", "panic");
    a_panic_is_explained(&explained);
}

/// From the log and the image alone: who panicked, in which line, and who had called that.
fn a_panic_is_explained(explained: &[Explained]) {
    const FILE: &str = "servers/task/trials/src/bin/dying-driver.rs";
    let [crash] = explained else { panic!("one crash: {explained:?}") };
    assert_eq!((crash.crash.task.as_str(), crash.program.as_str()), ("nvme", "dying-driver"));
    assert!(crash.is_of_this_image);
    let frames = crash.frames.iter().filter(|frame| frame.is_certain);
    let places: Vec<_> = frames.flat_map(|frame| &frame.places).collect();
    let named =
        |place: &Place, function: &str| place.function.iter().any(|name| name.split("::").any(|p| p == function));
    let end = places.iter().position(|place| named(place, "end")).unwrap_or_else(|| panic!("no `end`: {crash}"));
    assert_eq!(places[end].file.as_deref(), Some(FILE), "{crash}");
    assert_eq!(places[end].line, Some(line_of(FILE, "panic!(\"as the charter says\")")), "{crash}");
    // Which of its two calls it was, the compiler's code does not tell.
    assert!(places[end..].iter().any(|place| named(place, "run")), "`run` called `end`: {crash}");
}

#[test]
fn a_driver_that_dies_within_a_call_leaves_its_clients_an_answer() {
    with_death("mid-call", "exit");
}

/// It says that it is alive all the time; only the block server can know that a request should have ended.
#[test]
fn a_request_that_a_driver_forgets_is_done_by_the_next_one() {
    let text = fs::read_to_string(root().join("qemu/tests/charters/dying.toml")).unwrap();
    let changes = [
        ("die = \"never\"", "die = \"forget\""),
        ("driver_wait_seconds = \"0\"", "request_seconds = \"2\""),
        ("driver = { call = \"nvme\" }", "driver = { call = \"nvme\" }\nstop = { kill = \"nvme\" }"),
    ];
    let text = changes.iter().fold(text, |text, (old, new)| text.replace(old, new));
    let supervisor = "
[tasks.supervisor]
program = \"supervisor\"
priority = 40
stack = \"32 KiB\"
[tasks.supervisor.grants]
nvme = { supervise = \"nvme\", heartbeat = \"2 s\" }
log = { log = \"supervisor\" }
";
    let bench = Bench::from_text(&(text + supervisor));
    let mut system = bench.boot(&bench.machine([]));
    let failed = system.expect("block", "driver failed");
    assert_eq!(failed.get("reason"), Some("request-overdue"), "{failed}");
    system.expect("block", "driver back");
    for reader in ["one", "two"] {
        system.expect_next(reader, "read");
    }
    let log = system.end();
    let stopped = log.one("kernel", "task stopped");
    let told = ["task", "cause", "by"].map(|key| stopped.get(key));
    assert_eq!(told, [Some("nvme"), Some("reported"), Some("block")], "{stopped}");
    assert_eq!(log.one("supervisor", "restarted").get("cause"), Some("fault"));
    let errors = log.events().iter().filter(|event| event.get("error").is_some());
    assert_eq!(errors.count(), 0, "clients saw a delay and no error");
}

#[test]
fn every_call_ends_however_the_server_behaves() {
    let log = boot_without_disk(&Bench::new("manners")).complete();
    let count = |component: &str, event: &str| log.all(component, event).count();

    assert_eq!(count("silent-client", "timed out"), 3);
    for line in log.all("silent-client", "timed out") {
        let milliseconds = line.number("milliseconds").unwrap();
        assert!((100..1100).contains(&milliseconds), "a deadline of 100 ms: {line}");
    }
    assert_eq!(count("late-client", "timed out"), 3);
    assert!(log.all("late", "late reply").all(|line| line.get("error") == Some("invalid")));
    assert_eq!(count("late", "late reply"), 3);

    for (server, client) in [("twice", "twice-client"), ("forged", "forged-client")] {
        let values: Vec<_> = log.all(client, "answered").map(|line| line.number("value").unwrap()).collect();
        assert_eq!(values, [0, 1, 2], "{server}");
    }
    assert!(log.all("twice", "second reply").all(|line| line.get("error") == Some("invalid")));
    assert_eq!(count("twice", "second reply"), 3);
    assert!(log.all("forged", "forged replies").all(|line| line.get("arrived") == Some("0")));
    assert_eq!(count("forged", "forged replies"), 3);

    assert_eq!(count("die-client", "dead peer"), 3);
    assert_eq!(log.one("kernel", "task stopped").get("task"), Some("die"));

    for client in ["hold-first", "hold-second"] {
        assert_eq!(log.one(client, "answered").number("value"), Ok(0));
    }
}

#[test]
fn tasks_that_never_wait_share_the_processor_and_delay_nobody_above_them() {
    let mut system = boot_without_disk(&Bench::new("spinners"));
    system.wait_complete();
    let mut turns = ["left", "right"].map(|spinner| {
        let last = |event: &Event| event.is(spinner, "spun");
        system.expect_where(&format!("{spinner}'s report"), last);
        0
    });
    system.running().settle(std::time::Duration::from_secs(4), |_| {});
    let log = system.end();
    for (turns, spinner) in turns.iter_mut().zip(["left", "right"]) {
        let reports: Vec<_> = log.all(spinner, "spun").map(|line| line.number("turns").unwrap()).collect();
        assert_eq!(reports.len(), 4, "{spinner}: {reports:?}");
        *turns = reports[3];
    }
    let [left, right] = turns;
    assert!(left < 2 * right && right < 2 * left, "{left} and {right} turns in the same time");
    assert_eq!(log.all("starved", "spinning").count(), 0, "a lower priority runs only when nobody else can");
    let late: Vec<_> = log.all("prompt", "timed out").map(|line| line.number("milliseconds").unwrap()).collect();
    assert_eq!(late.len(), 10);
    assert!(late.iter().all(|milliseconds| (50..550).contains(milliseconds)), "{late:?}");
}
