//! A crash, from a log and an image: `tests/crash` has a log, and the program that it is of.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image_builder::explain::{ExplainError, Explained, explain};
use image_builder::{Build, Inputs, Manifest, image};

const CHARTER: &str =
    "version = 1\n[system]\nname = \"crash\"\n[tasks.victim]\nprogram = \"crash\"\npriority = 10\nrequired = false\n";

fn material(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash").join(name)
}

fn build(charter: &str, program: &[u8]) -> Build {
    let folder = tempfile::tempdir().unwrap();
    let inputs: Inputs = common::write_inputs(folder.path());
    fs::write(folder.path().join("crash"), program).unwrap();
    image_builder::build(Manifest { name: "system.toml", text: charter }, &inputs)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn good() -> Build {
    build(CHARTER, &fs::read(material("crash.elf")).unwrap())
}

/// The log as it would be of this image.
fn log(of: &Build) -> String {
    let package = format!("{:#010x}", abi::package::identity(&of.package).unwrap());
    fs::read_to_string(material("serial.log")).unwrap().replace("PACKAGE", &package)
}

fn run(log: &str, image: &[u8], more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let (log_path, image_path) = (folder.path().join("serial.log"), folder.path().join("charter.img"));
    fs::write(&log_path, log).unwrap();
    fs::write(&image_path, image).unwrap();
    let command = &mut Command::new(env!("CARGO_BIN_EXE_image-builder"));
    command.arg("explain-crash").args([&log_path, &image_path]).args(more).output().unwrap()
}

/// Function, file and line of each frame.
fn told(explained: &Explained) -> Vec<String> {
    let places = explained.frames.iter().flat_map(|frame| &frame.places);
    let known = |place: &image_builder::explain::Place| {
        let (function, file) = (place.function.clone().unwrap_or_default(), place.file.clone().unwrap_or_default());
        format!("{function} {file}:{}", place.line.unwrap_or(0))
    };
    places.map(known).collect()
}

/// The line of the source that has this text.
fn line(text: &str) -> usize {
    fs::read_to_string(material("crash.c")).unwrap().lines().position(|line| line.contains(text)).unwrap() + 1
}

fn expected() -> Vec<String> {
    vec![
        format!("innermost example/crash.c:{}", line("return *nowhere")),
        format!("middle example/crash.c:{}", line("= innermost")),
        format!("_start example/crash.c:{}", line("middle(0)")),
    ]
}

#[test]
fn functions_files_and_lines_are_told_and_old_words_on_the_stack_are_not() {
    let build = good();
    for image in [build.image.clone(), build.vhd().unwrap()] {
        let explained = explain(&log(&build), &image).unwrap();
        assert_eq!(explained.len(), 1);
        assert_eq!(told(&explained[0]), expected());
        assert!(explained[0].frames.iter().all(|frame| frame.is_certain) && explained[0].is_of_this_image);
        let addresses: Vec<_> = explained[0].frames.iter().map(|frame| frame.address).collect();
        assert_eq!(addresses, [0x40_000f, 0x40_002f, 0x40_004f]);
    }
}

#[test]
fn the_command_says_it_to_people_and_programs() {
    let build = good();
    let output = run(&log(&build), &build.image, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        said.starts_with("task `victim`, program `crash` stopped: page-fault, access read, address 0x10\n"),
        "{said}"
    );
    assert!(
        said.contains(&format!(" 1 0x40002f middle\n          at example/crash.c:{}\n", line("= innermost"))),
        "{said}"
    );
    assert!(!said.contains("perhaps") && !said.contains("piece of a log"), "{said}");
    let output = run(&log(&build), &build.image, &["--format", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value[0]["frames"][0]["places"][0]["function"], "innermost");
    assert_eq!((&value[0]["task"], &value[0]["cause"]), (&"victim".into(), &"page-fault".into()));
}

#[test]
fn who_is_at_fault_is_said() {
    let build = good();
    let message = |log: &str, image: &[u8]| explain(log, image).unwrap_err().to_string();

    let output = run("charter: boot complete tasks=1\n", &build.image, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("serial.log: no crash in this log"));

    let other = other_image();
    let output = run(&log(&build), &other.image, &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("image-builder: the log is of another image: it says package=0x"), "{said}");

    assert!(message(&log(&build), &build.efi).starts_with("no symbols in this image"));
    let swapped = image::image(&build.efi, &other_symbols()).unwrap();
    assert!(message(&log(&build), &swapped).contains("CHARTER.SYM is of another image"));
    let without = image::image(&build.efi, &[]).unwrap();
    assert!(message(&log(&build), &without).starts_with("no symbols in this image"));

    let stranger = log(&build).replace("task=victim", "task=stranger");
    assert_eq!(message(&stranger, &build.image), "the image has no task `stranger`");
    let torn = log(&build).replace(" backtrace=", " back");
    assert!(message(&torn, &build.image).starts_with("line 4 of the log: no backtrace"));
    assert!(matches!(explain(&log(&build), b"no image"), Err(ExplainError::Image(_))));
}

/// Another image of the same programs.
fn other_image() -> Build {
    build(&CHARTER.replace("priority = 10", "priority = 11"), &fs::read(material("crash.elf")).unwrap())
}

/// Symbols of another image.
fn other_symbols() -> Vec<u8> {
    build(CHARTER, &common::program(&[])).symbols
}

#[test]
fn a_piece_of_a_log_is_explained_with_a_warning() {
    let build = good();
    let piece = log(&build).lines().last().unwrap().to_owned();
    let explained = explain(&piece, &build.image).unwrap();
    assert_eq!(told(&explained[0]), expected());
    assert!(!explained[0].is_of_this_image);
    assert!(explained[0].to_string().contains("does not say of which image it is"));
}

#[test]
fn without_debug_information_addresses_are_left() {
    let build = build(CHARTER, &common::program(&[]));
    let explained = explain(&log(&build), &build.image).unwrap();
    assert_eq!(explained[0].frames[0].address, 0x40_000f);
    assert_eq!(explained[0].frames[0].places[0].function, None);
}

#[test]
fn the_same_programs_give_the_same_symbols() {
    assert_eq!(good().symbols, good().symbols);
    assert_eq!(good().image, good().image);
}
