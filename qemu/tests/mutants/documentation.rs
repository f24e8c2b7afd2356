//! docs/testing.md has the table.

use std::fmt::Write;
use std::fs;

use qemu::harness::root;

use super::table::MUTANTS;

const START: &str = "<!-- mutants -->\n";
const END: &str = "<!-- end of mutants -->\n";

fn table() -> String {
    let mut text = String::from("| switched off | what it holds | noticed by |\n|---|---|---|\n");
    for mutant in MUTANTS {
        let (file, test) = mutant.test;
        let test = test.rsplit("::").next().unwrap_or(test);
        writeln!(text, "| `{}` | {} | `{file}::{test}` |", mutant.check.name(), mutant.check.meaning()).unwrap();
    }
    text
}

#[test]
fn the_page_has_the_table() {
    let page = root().join("docs/testing.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(START).expect("the table's start");
    let (written, after) = rest.split_once(END).expect("its end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(page, format!("{before}{START}{}{END}{after}", table())).unwrap();
    }
    assert!(written == table(), "docs/testing.md is out of date: UPDATE_DOCS=1 cargo test -p qemu --test mutants");
}
