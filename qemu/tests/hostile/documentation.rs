//! docs/security.md has the table, and names tests that exist.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use qemu::harness::root;

use super::table::{Attempt, BROKERED, CLIENT, DIRECT, NOT_MAPPED, OnDirect, on_direct};

const START: &str = "<!-- attempts -->\n";
const END: &str = "<!-- end of attempts -->\n";

fn page() -> PathBuf {
    root().join("docs/security.md")
}

fn table() -> String {
    brokered_driver() + &direct_driver() + &client()
}

fn brokered_driver() -> String {
    let mut text = "\n### The hostile driver\n\n\
        | attempt | what | answered by | brokered | brokered, behind an IOMMU | direct |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for Attempt { name, what, expected } in BROKERED {
        let direct = match on_direct(name) {
            OnDirect::Same => "the same".to_owned(),
            OnDirect::Alike => format!("as `{name}` below"),
            OnDirect::Instead(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("as {} below", names.join(", "))
            }
            OnDirect::Meaningless(because) => format!("– {because}"),
        };
        writeln!(text, "| `{name}` | {what} | {expected} | the same | {direct} |").unwrap();
    }
    text
}

fn direct_driver() -> String {
    let mut text = "\n### The hostile driver on the direct lane\n\n\
        | attempt | what | answered by | answer |\n|---|---|---|---|\n"
        .to_owned();
    for Attempt { name, what, expected } in DIRECT {
        writeln!(text, "| `{name}` | {what} | {expected} |").unwrap();
    }
    for (name, what) in NOT_MAPPED {
        writeln!(text, "| `{name}` | {what} | processor | not mapped |").unwrap();
    }
    text
}

fn client() -> String {
    let mut text = "\n### The hostile client of the block server\n\n\
        | attempt | what | answered by | brokered | brokered, behind an IOMMU | direct |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for Attempt { name, what, expected } in CLIENT {
        writeln!(text, "| `{name}` | {what} | {expected} | the same | the same |").unwrap();
    }
    text + "\n"
}

#[test]
fn the_page_has_the_table() {
    let text = fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(START).expect("the table's start");
    let (written, after) = rest.split_once(END).expect("its end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(page(), format!("{before}{START}{}{END}{after}", table())).unwrap();
    }
    assert!(written == table(), "docs/security.md is out of date: UPDATE_DOCS=1 cargo test -p qemu --test hostile");
}

#[test]
fn no_attempt_is_there_twice() {
    for attempts in [BROKERED, CLIENT, DIRECT] {
        let names: BTreeSet<_> = attempts.iter().map(|attempt| attempt.name).collect();
        assert_eq!(names.len(), attempts.len());
    }
}

/// What the page refers to on the direct lane is tried there.
#[test]
fn every_attempt_is_made_on_the_direct_lane_or_has_no_meaning_there() {
    let names: BTreeSet<_> =
        DIRECT.iter().map(|attempt| attempt.name).chain(NOT_MAPPED.iter().map(|(name, _)| *name)).collect();
    for attempt in BROKERED {
        match on_direct(attempt.name) {
            OnDirect::Alike => assert!(names.contains(attempt.name), "{}", attempt.name),
            OnDirect::Instead(instead) => {
                assert!(instead.iter().all(|name| names.contains(name)), "{}: {instead:?}", attempt.name);
            }
            OnDirect::Same | OnDirect::Meaningless(_) => {}
        }
    }
}

/// Every name between backquotes that looks like one of a test, `module::name` or `module::*`, is one.
#[test]
fn every_test_that_the_page_names_exists() {
    let mut sources = String::new();
    for folder in ["qemu/tests", "kernel", "drivers", "servers", "image-builder/tests"] {
        collect(&root().join(folder), &mut sources);
    }
    let text = fs::read_to_string(page()).unwrap();
    let mut names = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((_, name)) = quoted.rsplit_once("::") else { continue };
        if name == "*"
            || name == "tests"
            || !name.starts_with(|first: char| first.is_ascii_lowercase())
            || !quoted.is_ascii()
        {
            continue;
        }
        let prefix = name.strip_suffix('*').unwrap_or(name);
        let is_there = if prefix == name {
            sources.contains(&format!("fn {name}("))
        } else {
            sources.contains(&format!("fn {prefix}"))
        };
        assert!(is_there, "docs/security.md names `{quoted}`, and there is no such function");
        names += 1;
    }
    assert!(names > 20, "only {names} names");
}

fn collect(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
