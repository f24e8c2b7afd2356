//! What operations cost in guest instructions, against the budgets in `qemu/bench/budgets.toml`.
//!
//! Under `-icount` an instruction is a fixed number of time-stamp ticks, so the counts are the same on any machine and
//! a budget is no timing. The bench tasks measure from inside; a plugin counts from outside ([`counter`]), and both must
//! agree. `make bench` shows the table, and writes it as JSON.

mod budgets;
mod counter;
mod peer;
mod profile;
mod report;
mod scale;

use std::fs;

use qemu::harness::{self, Bench, Log, root};
use qemu::lane::Lane;
use qemu::machine::{InstructionCount, Machine};
use qemu::nvme::{Contents, Namespace};
use qemu::serial::Event;

use counter::{Counted, Counter};
use report::{Report, Row};

#[test]
fn messages_keep_to_their_budgets() {
    let bench = bench("messages");
    let machine = bench.machine([]);
    measure("messages", &bench, machine, true);
}

#[test]
fn reads_keep_to_their_budgets() {
    let bench = bench("reads");
    let machine = bench.machine([nothing()]);
    measure("reads", &bench, machine, false);
}

/// The same reads behind an IOMMU: what it costs the broker, and what is left without one.
#[test]
fn reads_behind_an_iommu_keep_to_their_budgets() {
    let text = fs::read_to_string(root().join("qemu/bench/reads.toml")).expect("the charter is read");
    for (name, lane) in [("reads-behind-iommu", Lane::BrokeredBehindIommu), ("reads-direct", Lane::Direct)] {
        let bench = Bench::on_lane(lane, &text);
        measure(name, &bench, bench.machine([nothing()]), false);
    }
}

/// With a task that never rests, the device's interrupts strike it, and the driver runs instead.
#[test]
fn interrupts_keep_to_their_budget() {
    let text = fs::read_to_string(root().join("qemu/bench/reads.toml")).expect("the charter is read");
    let spinner = "\n[tasks.spinner]\nprogram = \"spinner\"\npriority = 1\ngrants.log = { log = \"spinner\" }\n";
    let bench = Bench::from_text(&(text + spinner));
    let (counted, log) = run(&bench, bench.machine([nothing()]));
    let devices = counted.interrupts.iter().filter(|row| row.is_device());
    let most = devices.map(|row| row.most).max().unwrap_or_else(|| log.fail("no interrupt struck a task"));
    let mut report = Report::new("interrupts", budgets::read("interrupts"));
    report.add(Row::single("interrupt-to-task", most as f64));
    report.finish();
}

/// The driver is killed again and again: until a read that is asked for at once has completed.
#[test]
fn recovery_keeps_to_its_budget() {
    let bench = bench("recovery");
    let (counted, log) = run(&bench, bench.machine([nothing()]));
    let recovered = log.one("bench", "recovered");
    let number = |key| recovered.number(key).expect("a row tells its numbers") as f64;
    let mut report = Report::new("recovery", budgets::read("recovery"));
    report.add(Row::single("recovery-median", number("median")));
    report.add(Row::single("recovery-worst", number("most")));
    report.add(Row::single("recovery-median-us", number("median_us")));
    report.add(Row::single("recovery-worst-us", number("most_us")));
    report.add(Row::single("longest-kernel-entry", counted.longest_entry as f64));
    report.finish();
}

/// The same with two queues and 64 reads in flight: what an entry of the kernel takes at the longest.
#[test]
fn stopping_a_driver_with_commands_in_flight_keeps_to_its_budget() {
    let text = fs::read_to_string(root().join("qemu/bench/recovery.toml")).expect("the charter is read");
    let changes = [
        ("completion = {", "completion2 = { interrupt = \"disk\", vector = 2 }\ncompletion = {"),
        ("window = \"data\" }", "window = \"data\", queue_share = 64 }"),
        ("program = \"bench-recovery\"", "program = \"bench-recovery\"\nsettings = { load = \"64\" }"),
    ];
    let text = changes.iter().fold(text, |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text.replace(old, new)
    });
    let bench = Bench::from_text(&text);
    let (counted, log) = run(&bench, bench.machine([nothing()]));
    assert_eq!(log.one("bench", "recovered").number("in_flight"), Ok(64));
    let mut report = Report::new("stop-under-load", budgets::read("stop-under-load"));
    report.add(Row::single("longest-kernel-entry", counted.longest_entry as f64));
    report.finish();
}

/// The EFI file of driver, block server, classification and one client.
#[test]
fn a_minimal_image_is_small() {
    let build = harness::build(&root().join("qemu/bench/minimal.toml")).unwrap_or_else(|error| panic!("{error}"));
    let mut report = Report::new("minimal", budgets::read("minimal"));
    report.add(Row::single("efi-bytes", build.efi.len() as f64));
    report.add(Row::single("package-bytes", build.package.len() as f64));
    report.finish();
}

/// The same reads in Linux, in the same QEMU.
#[test]
#[ignore = "downloads a Linux kernel; make bench PEER=linux"]
fn against_linux() {
    let bench = bench("reads");
    let (counted, log) = run(&bench, bench.machine([nothing()]));
    let rows: Vec<_> = log.all("bench", "row").collect();
    let each = counted.rows.len() / rows.len();
    let charter = rows.iter().zip(counted.rows.chunks_exact(each)).map(|(row, group)| {
        let row = Row::new(row, group).unwrap_or_else(|error| log.fail(&error.to_string()));
        let cost = peer::Cost { instructions: row.cost, mmio_writes: row.mmio_writes() };
        (row.name, cost)
    });
    let linux = peer::linux(DEVICE, &bench.path(""));
    peer::show(&charter.collect(), &peer::charter_rates(), &linux);
}

/// Draws what grows and what does not.
#[test]
#[ignore = "writes docs/scale.svg; make scale"]
fn scale() {
    let text = fs::read_to_string(root().join("qemu/bench/reads.toml")).expect("the charter is read");
    let text = text.replace("[tasks.bench]\n", "[tasks.bench]\nsettings = { measure = \"scale\" }\n");
    let bench = Bench::from_text(&text.replace("queue_share = 32", "queue_share = 64"));
    let (_, log) = run(&bench, bench.machine([nothing()]));
    let rows: Vec<_> = log.all("bench", "row").collect();
    let cost = |row: &Event| row.get("instructions").and_then(|cost| cost.parse().ok()).expect("a row has a cost");
    let series = |title, prefix: &str| scale::Series {
        title,
        points: rows
            .iter()
            .filter_map(|row| Some((row.get("name")?.strip_prefix(prefix)?.parse().ok()?, cost(row))))
            .collect(),
    };
    let tasks = [4, 8, 16, 32, 64].map(|tasks| {
        let mut text = fs::read_to_string(root().join("qemu/bench/messages.toml")).expect("the charter is read");
        for number in 3..tasks {
            text += &format!(
                "\n[tasks.other{number}]\nprogram = \"spinner\"\npriority = 1\ngrants.log = {{ log = \"other{number}\" }}\n"
            );
        }
        let bench = Bench::from_text(&text);
        let (_, log) = run(&bench, bench.machine([]));
        let call = log.all("bench", "row").find(|row| row.get("name") == Some("call-reply-0")).map(cost);
        (f64::from(tasks), call.expect("calls were measured"))
    });
    let clients = [1, 2, 4, 8].map(|clients| {
        let bench = with_clients(clients);
        let (_, log) = run(&bench, bench.machine([nothing()]));
        (f64::from(clients), cost(log.one("bench", "row")))
    });
    scale::draw(&[
        series("4 KiB reads under way at a time", "depth-"),
        series("Bytes in a read, one at a time", "bytes-"),
        scale::Series { title: "Clients with a 4 KiB read under way each", points: clients.to_vec() },
        scale::Series { title: "Tasks in the system, a call and its answer", points: tasks.to_vec() },
    ]);
}

/// So many tasks that read, each one block after the other; one of them is measured.
fn with_clients(clients: u32) -> Bench {
    let text = fs::read_to_string(root().join("qemu/bench/reads.toml")).expect("the charter is read");
    let settings = format!("[tasks.bench]\nsettings = {{ measure = \"clients\", clients = \"{clients}\" }}\n");
    let mut text = text.replace("[tasks.bench]\n", &settings).replace("queue_share = 32", "queue_share = 8");
    for number in 1..clients {
        let offset = 1024 + 64 * number;
        text += &format!(
            "\n[tasks.load{number}]\nprogram = \"bench-reads\"\npriority = 5\nstack = \"32 KiB\"\n\
             settings = {{ measure = \"load\" }}\n[tasks.load{number}.grants]\n\
             disk = {{ call = \"block\", namespace = 2, access = \"read-only\", window = \"data\", queue_share = 8 }}\n\
             data = {{ window = \"disk-data\", offset = \"{offset} KiB\", size = \"64 KiB\", access = \"read-write\" }}\n\
             log = {{ log = \"load{number}\" }}\n"
        );
    }
    Bench::from_text(&text)
}

/// Shows which functions a read's instructions are spent in.
#[test]
#[ignore = "shows a profile, for people"]
fn profile_of_reads() {
    let bench = bench("reads");
    let (counter, mut machine) = counted(&bench, bench.machine([nothing()]));
    machine.further.last_mut().expect("the plugin's arguments").push_str(",profile=on");
    let log = bench.boot(&machine).complete();
    let counted = counter.counted();
    let rows: Vec<_> = log.all("bench", "row").collect();
    let number = |row: &Event, key| row.number(key).expect("a row is complete") as usize;
    let names = rows.iter().map(|row| row.get("name").expect("a row has a name"));
    // The last repetition of each.
    let last = |(index, row): (usize, &&Event)| &counted.profiles[(index + 1) * number(row, "repetitions") - 1][..];
    let profiles = rows.iter().enumerate().map(last);
    let iterations = rows.iter().map(|row| number(row, "iterations") as f64);
    let rows: Vec<_> =
        names.zip(iterations).zip(profiles).map(|((name, each), profile)| (name, each, profile)).collect();
    profile::show(&["kernel", "nvme", "block", "bench-reads"], &rows);
}

/// A namespace that moves no data, and answers so late that the processor is halted by then: so it does not depend on
/// this computer's speed what a read finds.
fn nothing() -> Namespace {
    Namespace { contents: Contents::Drive(DEVICE.into()), ..Namespace::file(2, "") }
}

const DEVICE: &str = "driver=null-co,size=1G,latency-ns=2000000";

/// The charter `qemu/bench/NAME.toml`.
fn bench(name: &str) -> Bench {
    Bench::build(&root().join("qemu/bench").join(name).with_extension("toml"))
}

/// Boots a charter of this bench and compares its rows with the budgets of that name. Repetitions of a row
/// cost exactly the same, if `exact`.
fn measure(name: &str, bench: &Bench, machine: Machine, exact: bool) {
    let (counted, log) = run(bench, machine);
    let mut report = Report::new(name, budgets::read(name));
    let rows: Vec<_> = log.all("bench", "row").collect();
    let repetitions = rows.first().map_or(1, |row| row.number("repetitions").expect("a row tells its repetitions"));
    let groups: Vec<_> = counted.rows.chunks_exact(repetitions as usize).collect();
    assert_eq!(groups.len(), rows.len(), "every row has its marks");
    for (row, group) in rows.iter().zip(groups) {
        let row = Row::new(row, group).and_then(|row| row.check(exact).map(|()| row));
        report.add(row.unwrap_or_else(|error| log.fail(&error.to_string())));
    }
    add_whole_run(&mut report, &counted, &log);
    report.finish();
}

/// A machine whose instructions are counted.
fn counted(bench: &Bench, mut machine: Machine) -> (Counter, Machine) {
    let counter = Counter::build(bench.path("count"));
    machine.instruction_count = Some(InstructionCount { shift: 6, sleep: true });
    machine.further.extend(counter.arguments());
    (counter, machine)
}

/// Boots a charter and counts.
fn run(bench: &Bench, machine: Machine) -> (Counted, Log) {
    let (counter, machine) = counted(bench, machine);
    let log = bench.boot(&machine).complete();
    (counter.counted(), log)
}

/// What is a property of the whole run and not of one row.
fn add_whole_run(report: &mut Report, counted: &Counted, log: &Log) {
    report.add(Row::single("longest-kernel-entry", counted.longest_entry as f64));
    let memory = |key| log.one("kernel", "memory").number(key).expect("the kernel tells its memory");
    let used = memory("used_bytes") - memory("dma_bytes") + memory("loader_bytes");
    report.add(Row::single("memory-bytes", used as f64));
    if let Some(boot) = &counted.boot {
        report.add(Row::single("boot-to-first-read", boot.own as f64));
        report.add(Row::single("boot-firmware-calls", boot.firmware as f64));
        report.add(Row::single("boot-calibration", boot.calibration as f64));
    }
}
