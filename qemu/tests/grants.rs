//! The default charter without one of the driver's grants: the builder refuses it, at that task's line.

use std::fs;

use qemu::harness::{build_image, root};

/// Builds `system.toml` without the line that begins so; returns the line number of the driver's `grants` table and
/// what the builder says.
fn without(line_start: &str) -> (usize, String) {
    let text = fs::read_to_string(root().join("system.toml")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let found: Vec<_> = lines.iter().filter(|line| line.starts_with(line_start)).collect();
    assert_eq!(found.len(), 1, "system.toml has one line `{line_start}`");
    let changed: Vec<_> = lines.iter().copied().filter(|line| !line.starts_with(line_start)).collect();
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("system.toml");
    fs::write(&manifest, changed.join("\n")).unwrap();
    let message = build_image(&manifest, &directory.path().join("charter.img")).unwrap_err();
    let table = changed.iter().position(|line| *line == "[tasks.nvme]").unwrap() + 1;
    (table, message)
}

fn is_refused_at_the_task(grant: &str, kind: &str) {
    let (table, message) = without(&format!("{grant} = {{ {kind}"));
    let place = message.split("system.toml:").nth(1).and_then(|rest| rest.split(':').next()).map(str::parse);
    let Some(Ok(line)) = place else { panic!("no place in: {message}") };
    // The table of the task, or that of its grants a few lines below.
    let within = table..table + 12;
    assert!(within.contains(&line), "line {line}, not one of the task's ({within:?}): {message}");
    assert!(message.contains("nvme") && message.contains(grant), "{message}");
}

#[test]
fn a_driver_without_its_registers_is_refused() {
    is_refused_at_the_task("registers", "registers");
}

#[test]
fn a_driver_without_its_interrupt_is_refused() {
    is_refused_at_the_task("completion", "interrupt");
}

#[test]
fn a_driver_without_its_dma_memory_is_refused() {
    is_refused_at_the_task("data", "dma");
}

#[test]
fn every_charter_here_builds() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root().join("qemu/tests/charters")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            build_image(&path, &directory.path().join("charter.img")).unwrap_or_else(|error| panic!("{error}"));
            count += 1;
        }
    }
    assert!(count > 5, "{count} charters");
}
