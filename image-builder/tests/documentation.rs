//! docs/image-builder.md shows commands and what they say; it says what they really say.
//!
//! Each block marked `console` is run, from the first to the last in one folder, which holds the default charter and
//! this test's tiny programs. After a change on purpose: `UPDATE_DOCS=1 cargo test -p image-builder --test
//! documentation`, then read what changed.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use image_builder::Inputs;

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/image-builder.md")
}

/// A folder as after `make`, with the default charter.
fn prepare(folder: &Path) {
    let (bare, uefi) = (
        folder.join("target/bare/x86_64-unknown-none/release"),
        folder.join("target/bare/x86_64-unknown-uefi/release"),
    );
    std::fs::create_dir_all(&bare).unwrap();
    std::fs::create_dir_all(&uefi).unwrap();
    common::write_inputs(&bare);
    std::fs::rename(bare.join("boot.efi"), uefi.join("boot.efi")).unwrap();
    std::fs::write(folder.join("system.toml"), common::example()).unwrap();
    // What `new` takes for a checkout of Charter.
    std::fs::create_dir_all(folder.join("src/charter")).unwrap();
    std::fs::write(folder.join("src/charter/toolchain.sh"), "").unwrap();
    std::fs::write(folder.join("src/charter/Cargo.lock"), "").unwrap();
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../servers/classify/tests/recordings");
    std::fs::copy(recordings.join("azure-local.log"), folder.join("serial.log")).unwrap();
    prepare_crash(&folder.join("crash"));
}

/// A charter of one task that crashed, its program, and the log.
fn prepare_crash(folder: &Path) {
    let material = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(material.join("crash.elf"), folder.join("crash")).unwrap();
    let charter = "version = 1\n[system]\nname = \"crash\"\n[tasks.victim]\nprogram = \"crash\"\npriority = 10\n";
    std::fs::write(folder.join("system.toml"), charter).unwrap();
    // Whatever BARE_TARGET_DIR of the environment says.
    let built = folder.parent().unwrap().join("target/bare");
    let inputs = Inputs {
        kernel: built.join("x86_64-unknown-none/release/kernel"),
        boot: built.join("x86_64-unknown-uefi/release/boot.efi"),
        programs: vec![folder.to_owned()],
        test_image: false,
    };
    let build =
        image_builder::build_file(&folder.join("system.toml"), &inputs).unwrap_or_else(|error| panic!("{error}"));
    let package = format!("{:#010x}", abi::package::identity(&build.package).unwrap());
    let log = std::fs::read_to_string(material.join("serial.log")).unwrap();
    std::fs::write(folder.join("serial.log"), log.replace("PACKAGE", &package)).unwrap();
}

/// What a command says on both streams, and its exit code if that is not 0.
fn run(folder: &Path, command: &str) -> String {
    let tool = Path::new(env!("CARGO_BIN_EXE_image-builder")).parent().unwrap();
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("UPDATE_DOCS")
        .env_remove("BARE_TARGET_DIR")
        .output()
        .unwrap();
    let mut said = String::from_utf8(output.stdout).unwrap();
    if let Some(code @ 1..) = output.status.code() {
        said += &format!("[exit code {code}]\n");
    }
    without_times(&said)
}

/// Times differ from run to run.
fn without_times(said: &str) -> String {
    let line = |line: &str| match line.strip_prefix("built in ").and_then(|rest| rest.split_once(" ms")) {
        Some((_, rest)) => format!("built in 20 ms{rest}\n"),
        None => format!("{}\n", line.trim_end()),
    };
    said.lines().map(line).collect()
}

/// The page with what the commands in it say now.
fn regenerated(folder: &Path, page: &str) -> String {
    let mut new = String::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) if !line.starts_with("$ ") => continue,
            _ => {}
        }
        new += line;
        new.push('\n');
        if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            new += &run(folder, command);
        }
    }
    new
}

#[test]
fn every_command_says_what_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let old = std::fs::read_to_string(page()).unwrap();
    let new = regenerated(folder.path(), &old);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(), &new).unwrap();
        return;
    }
    for (position, (old, new)) in old.lines().zip(new.lines()).enumerate() {
        assert_eq!(old, new, "line {} of docs/image-builder.md, old left, new right; UPDATE_DOCS=1", position + 1);
    }
    assert_eq!(old.lines().count(), new.lines().count());
}

#[test]
fn the_authority_graph_is_the_default_charters() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/authority.md");
    let old = std::fs::read_to_string(&page).unwrap();
    let charter = image_builder::manifest::read(&common::example(), &Default::default()).unwrap();
    let graph = image_builder::graph::Graph::from(&charter);
    let (before, rest) = old.split_once("```mermaid\n").unwrap();
    let (_, after) = rest.split_once("```").unwrap();
    let new = format!("{before}```mermaid\n{}```{after}", graph.to_mermaid());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, &new).unwrap();
        return;
    }
    assert_eq!(old, new, "docs/authority.md is not of this charter: UPDATE_DOCS=1");
    assert_eq!(graph.to_svg().matches("<rect").count(), graph.nodes.len() + 1);
    assert_eq!(graph.to_dot().matches(" -> ").count(), graph.edges.len());
}

/// The schema of every table that docs/charter.md has a list of keys for, by the name in the list's mark.
fn tables() -> Vec<(String, serde_json::Value)> {
    let schema = image_builder::schema::schema();
    let table = |path: &str| schema.pointer(path).unwrap().clone();
    let mut tables =
        vec![("system".to_owned(), table("/properties/system")), ("budgets".to_owned(), table("/properties/budgets"))];
    for name in ["devices", "regions", "tasks"] {
        tables.push((name.to_owned(), table(&format!("/properties/{name}/additionalProperties"))));
    }
    for (kind, schema) in image_builder::schema::kinds() {
        if kind == "registers" {
            tables.push(("limit".to_owned(), schema.pointer("/properties/limits/items").unwrap().clone()));
        }
        // What a kind's own key is, its heading says.
        if schema["properties"].as_object().unwrap().len() > 1 {
            tables.push((kind.to_owned(), schema));
        }
    }
    tables
}

#[test]
fn the_reference_of_keys_is_the_schemas() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/charter.md");
    let old = std::fs::read_to_string(&page).unwrap();
    let mut new = old.clone();
    for (name, schema) in tables() {
        let (mark, end) = (format!("<!-- keys: {name} -->\n"), "<!-- end of keys -->\n");
        let (before, rest) = new.split_once(&mark).unwrap_or_else(|| panic!("docs/charter.md has no {mark}"));
        let (_, after) = rest.split_once(end).unwrap();
        new = format!("{before}{mark}{}{end}{after}", image_builder::schema::reference::keys(&schema));
    }
    assert_eq!(old.matches("<!-- keys:").count(), tables().len(), "a mark for nothing");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, &new).unwrap();
        return;
    }
    assert!(old == new, "docs/charter.md has other keys than the schema: UPDATE_DOCS=1");
}

#[test]
fn every_command_is_on_the_page() {
    let page = std::fs::read_to_string(page()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_image-builder")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 5, "{help}");
    for command in commands {
        assert!(page.contains(&format!("image-builder {command}")), "docs/image-builder.md does not show `{command}`");
    }
}
