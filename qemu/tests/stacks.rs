//! How deep the stacks of tasks go: what a program says of itself (`task::stack!`) is what is measured here, from outside.
//!
//! After a change of programs: `UPDATE_STACKS=1 cargo test -p qemu --test stacks` writes what was measured into them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use image_builder::executable::{self, Room};
use qemu::guest::GuestMemory;
use qemu::harness::{Bench, System, bare_directory, root};
use qemu::nvme::Namespace;

/// Where address spaces are looked for: the kernel takes frames from the lowest memory.
const LOW_BYTES: u64 = 64 << 20;

/// The bytes of its stack that each task of a system has used, which is up and has nothing more to do.
fn measured(mut system: System) -> BTreeMap<String, u64> {
    system.wait_complete();
    system.running().settle(Duration::from_millis(300), |_| {});
    let tasks = system.expect("charter", "boot complete").number("tasks").unwrap();
    let control = system.running().control().unwrap();
    control.pause().unwrap();
    let page_table = control.register("CR3").unwrap();
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let spaces = memory.tasks(page_table).unwrap();
    assert_eq!(spaces.len() as u64, tasks, "an address space for each task");
    let used = spaces.iter().map(|space| (space.task.clone(), memory.stack_used(space).unwrap()));
    used.collect()
}

#[test]
fn what_programs_say_of_their_stacks_is_what_they_use() {
    let charter = fs::read_to_string(root().join("system.toml")).unwrap();
    let charter: toml::Table = charter.parse().unwrap();
    let program = |task: &str| charter["tasks"][task]["program"].as_str().unwrap().to_owned();
    let is_update = std::env::var_os("UPDATE_STACKS").is_some();
    if is_update {
        // What is too much by now would keep the charter from being built.
        charter["tasks"].as_table().unwrap().keys().for_each(|task| says(&program(task), None));
    }
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let machine = bench.machine([Namespace::file(2, &disk)]);
    let mut wrong = Vec::new();
    for (task, used) in measured(bench.boot(&machine)) {
        let name = program(&task);
        if is_update {
            says(&name, Some(used));
            continue;
        }
        let file = fs::read(bare_directory().join("x86_64-unknown-none/release").join(&name)).unwrap();
        let said = executable::read(&file, Room::Task).unwrap().stack_seen.map(u64::from);
        eprintln!("{name} used {used} bytes of its stack and says {said:?}");
        // A quarter either way: the builder adds as much, and another compiler's code differs.
        if said.is_none_or(|said| 4 * used > 5 * said || 4 * said > 5 * used) {
            wrong.push(format!("{name} should say task::stack!({used}), and says {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nUPDATE_STACKS=1 writes it into the programs");
}

/// Lets a program say this of its stack, behind its entry point, or nothing.
fn says(program: &str, used: Option<u64>) {
    const MAIN: &str = "task::main!(run);\n";
    let places = ["drivers", "servers"].map(|room| root().join(room).join(program).join("src/main.rs"));
    let path: &PathBuf = places.iter().find(|path| path.is_file()).expect("a program of the workspace");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.split_inclusive('\n').filter(|line| !line.starts_with("task::stack!("));
    let said = used.map(|used| format!("task::stack!({});\n", grouped(used))).unwrap_or_default();
    fs::write(path, lines.collect::<String>().replacen(MAIN, &format!("{MAIN}{said}"), 1)).unwrap();
}

/// A number with `_` between thousands.
fn grouped(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{}_{:03}", grouped(number / 1000), number % 1000),
    }
}

#[test]
fn what_is_measured_is_what_was_used() {
    let bench = Bench::new("stacks");
    let used = measured(bench.boot(&bench.machine([])));
    let (less, more, zeros) = (used["less"], used["more"], used["zeros"]);
    assert!((24_000..48_000).contains(&less), "{used:?}");
    assert!((more - less).abs_diff(32_000) < 64, "{used:?}");
    // Zeros are noticed too, to the page at least.
    assert!(zeros >= more - 4096 && zeros <= more + 4096, "{used:?}");
}
