//! The command as a user calls it: what it says, what it writes, what it returns.

mod common;

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_image-builder")).args(arguments).output().unwrap()
}

/// Builds in a folder that has inputs and a charter.
fn build(folder: &Path, charter: &str) -> Output {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(folder.join("system.toml"), charter).unwrap();
    let (manifest, out, kernel, boot) = (path("system.toml"), path("build"), path("kernel"), path("boot.efi"));
    let programs = folder.to_str().unwrap();
    run(&["build", &manifest, "--out", &out, "--kernel", &kernel, "--boot", &boot, "--programs", programs])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_charter_is_built_once() {
    let folder = tempfile::tempdir().unwrap();
    common::write_inputs(folder.path());
    let first = build(folder.path(), &common::example());
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("charter.img: written"));
    let image = folder.path().join("build/charter.img");
    let changed = || std::fs::metadata(&image).unwrap().modified().unwrap();
    let time = changed();
    let second = build(folder.path(), &common::example());
    assert_eq!(second.status.code(), Some(0));
    assert!(text(&second.stdout).contains("charter.img: unchanged"));
    assert_eq!(changed(), time);
    let names: Vec<_> =
        std::fs::read_dir(folder.path().join("build")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing but the results is left: {names:?}");
    let third = build(folder.path(), &common::example().replace("priority = 5", "priority = 6"));
    assert!(text(&third.stdout).contains("charter.img: written"));
}

#[test]
fn a_wrong_charter_is_told_of_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    common::write_inputs(folder.path());
    let output = build(folder.path(), &common::example().replace("priority = 5", "priority = 500"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("system.toml:") && said.contains("out-of-range") && said.contains("1 error, 0 warnings"));
    assert!(!said.contains('\x1b'), "no colour where there is no terminal");
    assert!(!folder.path().join("build").exists());
}

#[test]
fn a_charter_can_be_checked_alone() {
    let folder = tempfile::tempdir().unwrap();
    common::write_inputs(folder.path());
    let manifest = folder.path().join("system.toml");
    std::fs::write(&manifest, common::example()).unwrap();
    let arguments = ["check", manifest.to_str().unwrap(), "--programs", folder.path().to_str().unwrap()];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("6 tasks"));
    std::fs::write(&manifest, "version = 3").unwrap();
    assert_eq!(run(&arguments).status.code(), Some(1));
}

#[test]
fn files_and_arguments_at_fault_are_another_error() {
    let output = run(&["build", "/nowhere/system.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("image-builder: cannot read /nowhere/system.toml: "));
    assert_eq!(run(&["build"]).status.code(), Some(2));
    let folder = tempfile::tempdir().unwrap();
    common::write_inputs(folder.path());
    std::fs::remove_file(folder.path().join("kernel")).unwrap();
    let output = build(folder.path(), &common::example());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read"));
}
