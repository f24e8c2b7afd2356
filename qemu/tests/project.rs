//! A project of the user's own, outside this repository: made, built and booted as its README says.

use std::path::Path;
use std::process::{Command, Output};

use qemu::harness::{Log, root, take_slot};

fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

fn make(project: &Path, target: &str) -> (Output, String) {
    // A make that runs these tests passes its own options on.
    output(Command::new("make").arg(target).current_dir(project).env_remove("MAKEFLAGS").env_remove("MAKELEVEL"))
}

#[test]
fn a_new_project_builds_and_boots_and_its_task_does_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = root().join("Cargo.toml");
    let new =
        ["run", "-q", "-p", "image-builder", "--manifest-path", manifest.to_str().unwrap(), "--", "new", "my-task"];
    let (made, said) = output(Command::new("cargo").args(new).current_dir(folder.path()));
    assert!(made.status.success(), "{said}");
    let project = folder.path().join("my-task");
    assert!(!project.starts_with(root()));

    let slot = take_slot();
    let (ran, said) = make(&project, "run");
    drop(slot);
    assert!(ran.status.success(), "{said}");
    let log = Log::new(said.lines().map(str::to_owned).collect());
    assert_eq!(log.one("charter", "starting").get("system"), Some("my-task"));
    assert_eq!(log.one("charter", "boot complete").number("tasks"), Ok(3));

    // What the task says of the disk that it was started from is what lies there.
    let image = std::fs::File::open(project.join("build/charter.img")).unwrap();
    let table = gpt::GptConfig::new().writable(false).open_from_device(image).unwrap();
    let (_, expected) = table.partitions().first_key_value().unwrap();
    let partition = log.one("my-task", "partition");
    assert_eq!(partition.number("number"), Ok(1));
    assert_eq!(partition.number("first_block"), Ok(expected.first_lba));
    assert_eq!(partition.number("last_block"), Ok(expected.last_lba));
    assert_eq!(partition.get("name"), Some(&*expected.name));
    assert_eq!(log.one("my-task", "ready").number("partitions"), Ok(1));

    // Without one of its grants the charter is refused, at the task's line; nothing was compiled for that.
    let charter = std::fs::read_to_string(project.join("system.toml")).unwrap();
    let line = charter.lines().position(|line| line == "[tasks.my-task]").unwrap() + 1;
    let without: String =
        charter.lines().filter(|line| !line.starts_with("data = { window")).map(|line| format!("{line}\n")).collect();
    std::fs::write(project.join("system.toml"), without).unwrap();
    let (refused, said) = make(&project, "check");
    assert!(!refused.status.success(), "{said}");
    for part in [&format!("system.toml:{line}:"), "task `my-task` is not granted `data` (window)"] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert!(!said.contains("Compiling"), "{said}");
}
