//! `new`: a project of the user's own. That one builds and boots is tested in `qemu/tests/project.rs`.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use abi::needs::Kind::{Call, Log, Window};

const TOOL: &str = env!("CARGO_BIN_EXE_image-builder");

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(TOOL).args(arguments).current_dir(folder).env_remove("BARE_TARGET_DIR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A project `hello` with a program where a build of it would put one, and a Charter with tiny programs of its own.
fn project() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let charter = folder.path().join("made-up-charter");
    let bare = charter.join("target/bare");
    let programs = bare.join("x86_64-unknown-none/release");
    std::fs::create_dir_all(&programs).unwrap();
    std::fs::create_dir_all(bare.join("x86_64-unknown-uefi/release")).unwrap();
    common::write_inputs(&programs);
    std::fs::rename(programs.join("boot.efi"), bare.join("x86_64-unknown-uefi/release/boot.efi")).unwrap();
    std::fs::write(charter.join("toolchain.sh"), "#!/bin/sh\n").unwrap();
    std::fs::copy(checkout().join("Cargo.lock"), charter.join("Cargo.lock")).unwrap();

    let made = run(folder.path(), &["new", "work/hello", "--charter", "made-up-charter"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("next: cd work/hello && make run"), "{}", text(&made.stdout));
    let hello = folder.path().join("work/hello");
    let programs = hello.join("target/bare/x86_64-unknown-none/release");
    std::fs::create_dir_all(&programs).unwrap();
    let program =
        common::program(&[common::need("disk", Call), common::need("data", Window), common::need("log", Log)]);
    std::fs::write(programs.join("hello"), program).unwrap();
    (folder, hello)
}

#[test]
fn a_new_projects_charter_is_good_and_its_image_has_programs_of_both() {
    let (_folder, hello) = project();
    assert_eq!(std::fs::read_link(hello.join("charter")).unwrap(), Path::new("../../made-up-charter"));
    let checked = run(&hello, &["check"]);
    let said = text(&checked.stdout) + &text(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    assert_eq!(said, "system.toml: good: 3 tasks, 13 grants, 1 device\n", "no warnings");
    // From another folder the project is found around the charter.
    let built =
        run(Path::new("/"), &["build", hello.join("system.toml").to_str().unwrap(), "--out", hello.to_str().unwrap()]);
    assert!(built.status.success(), "{}", text(&built.stderr));
    let inspected = text(&run(&hello, &["inspect", "charter.img"]).stdout);
    for task in ["task `nvme`", "task `block`", "task `hello`", "system `hello`"] {
        assert!(inspected.contains(task), "{inspected}");
    }
}

#[test]
fn another_place_for_charters_own_programs_is_honoured() {
    let (folder, hello) = project();
    std::fs::rename(folder.path().join("made-up-charter/target/bare"), folder.path().join("elsewhere")).unwrap();
    let check = |place: &Path| {
        Command::new(TOOL).arg("check").current_dir(&hello).env("BARE_TARGET_DIR", place).output().unwrap()
    };
    let found = check(&folder.path().join("elsewhere"));
    assert!(found.status.success(), "{}", text(&found.stderr));
    // The project's own program is where it was; relative places are Charter's.
    let not_found = text(&check(Path::new("elsewhere")).stderr);
    assert!(not_found.contains("there is no program `nvme`") && !not_found.contains("`hello`"), "{not_found}");
    let charter = folder.path().join("made-up-charter");
    std::fs::rename(folder.path().join("elsewhere"), charter.join("elsewhere")).unwrap();
    assert!(check(Path::new("elsewhere")).status.success());
}

#[test]
fn a_mistake_in_its_charter_is_told_at_its_line() {
    let (_folder, hello) = project();
    let path = hello.join("system.toml");
    let charter = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, charter.replace("namespace = 1, blocks = 34", "namespace = 1, block = 34")).unwrap();
    let line = charter.lines().position(|line| line.contains("blocks = 34")).unwrap() + 1;
    let column = charter.lines().nth(line - 1).unwrap().find("blocks").unwrap() + 1;
    let checked = run(&hello, &["check"]);
    let said = text(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("system.toml:{line}:{column}")) && said.contains("did you mean `blocks`?"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_a_project_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let charter = checkout();
    std::fs::create_dir(folder.path().join("there")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    let inside = charter.join("hello");
    for (arguments, expected) in [
        (&["new", "there"][..], "there is there already, and is left as it is"),
        (&["new", "dangling"], "dangling is there already"),
        (&["new", "Hello"], "`Hello` cannot be a project's name: 'H' is not allowed in a name"),
        (&["new", "block"], "`block` cannot be a project's name: something else has it already"),
        (&["new", "hello", "--charter", "there"], "there is no checkout of Charter: it has no toolchain.sh"),
        (&["new", "hello", "--charter", "nowhere"], "cannot read nowhere"),
        (&["new", inside.to_str().unwrap()], "for example in ../hello"),
    ] {
        let refused = run(folder.path(), arguments);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(!inside.exists());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Else the lock file that the project begins with would not fit, and its first build would need the network.
#[test]
fn a_project_depends_on_the_versions_that_charter_does() {
    let dependency = |manifest: &str, heading: &str| -> Vec<String> {
        let section = manifest.split_once(heading).unwrap().1.split("\n[").next().unwrap();
        section.lines().filter(|line| line.contains("version")).map(str::to_owned).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &["new", "hello"]).status.success());
    let own = std::fs::read_to_string(folder.path().join("hello/Cargo.toml")).unwrap();
    let charters = std::fs::read_to_string(checkout().join("Cargo.toml")).unwrap();
    let version = |line: &str| {
        let (name, rest) = line.split_once(" = ").unwrap();
        (name.to_owned(), rest.split('"').nth(1).unwrap().to_owned())
    };
    let of_charter: Vec<_> =
        dependency(&charters, "[workspace.dependencies]").iter().map(|line| version(line)).collect();
    let of_project = dependency(&own, "[dependencies]");
    assert_eq!(of_project.len(), 2, "{own}");
    for line in of_project {
        assert!(of_charter.contains(&version(&line)), "{line} is not in {of_charter:?}");
    }
    let profile = |manifest: &str| -> Vec<String> {
        let rest = manifest.split_once("[profile.release]\n").unwrap().1;
        rest.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(profile(&own), profile(&charters));
}
