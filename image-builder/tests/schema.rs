//! The schema, the reader and docs/charter.md know the same keys; good charters have its form.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use image_builder::problem::Problems;
use image_builder::{manifest, schema};
use serde_json::{Value, json};

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("charter.json", schema::schema()).unwrap();
        let index = compiler.compile("charter.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn accepts(&self, text: &str) -> bool {
        self.schemas.validate(&to_json(text), self.index).is_ok()
    }
}

/// TOML as JSON.
fn to_json(text: &str) -> Value {
    use toml::de::{DeTable, DeValue};
    fn value(own: &DeValue<'_>) -> Value {
        match own {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) if number < 0 => json!(number as i64),
                number => json!(number.unwrap() as u64),
            },
            DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
            DeValue::Boolean(value) => json!(value),
            DeValue::Array(items) => items.iter().map(|item| value(item.get_ref())).collect(),
            DeValue::Table(own) => table(own),
            other => panic!("no charter holds {other:?}"),
        }
    }
    fn table(own: &DeTable<'_>) -> Value {
        let entries = own.iter().map(|(key, own)| (key.get_ref().to_string(), value(own.get_ref())));
        Value::Object(entries.collect())
    }
    table(DeTable::parse(text).unwrap().get_ref())
}

#[test]
fn good_charters_have_the_form_of_the_schema() {
    let schema = Schema::new();
    assert!(schema.accepts(&common::example()));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut refused = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let problems = Problems::default();
        manifest::read(&text, &problems);
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("syntax") {
            continue;
        }
        // What the reader takes is of the right form; what must hold between parts is none of the schema's business.
        if !problems.has_errors() && !schema.accepts(&text) {
            assert!(name.starts_with("unchecked") || name.starts_with("too-many"), "{name} is read and has no form");
        }
        if !schema.accepts(&text) {
            refused.insert(name);
        }
    }
    for name in [
        "unknown-key",
        "unknown-key-top",
        "unknown-key-grant",
        "missing-key",
        "missing-tasks",
        "missing-version",
        "version",
        "wrong-type",
        "wrong-type-table",
        "bad-name",
        "bad-name-long",
        "out-of-range",
        "bad-size-unit",
        "bad-pci-address",
        "bad-selector",
        "bad-grant-nothing",
        "bad-grant-two",
        "unknown-broker",
        "bad-value",
    ] {
        assert!(refused.contains(name), "{name} is refused by the schema too");
    }
}

fn keys(table: &Value) -> BTreeSet<String> {
    table["properties"].as_object().unwrap().keys().cloned().collect()
}

/// Every table that has fixed keys: a charter in which it has one more, and its schema.
fn tables() -> Vec<(String, Value)> {
    let schema = schema::schema();
    let of = |path: &str| schema.pointer(path).unwrap().clone();
    let task = "[tasks.one]\nprogram = \"any\"\npriority = 1\n";
    let mut tables = vec![
        ("zzzzzzzz = 1\nversion = 1\n".to_owned(), schema.clone()),
        ("[system]\nname = \"a\"\nzzzzzzzz = 1".into(), of("/properties/system")),
        ("[budgets]\nzzzzzzzz = 1".into(), of("/properties/budgets")),
        ("[devices.a]\nclass = \"nvme\"\nzzzzzzzz = 1".into(), of("/properties/devices/additionalProperties")),
        ("[regions.a]\nsize = \"4 KiB\"\nzzzzzzzz = 1".into(), of("/properties/regions/additionalProperties")),
        (format!("{task}zzzzzzzz = 1"), of("/properties/tasks/additionalProperties")),
    ];
    for (key, kind) in schema::kinds() {
        tables.push((format!("{task}grants.g = {{ {key} = \"a\", zzzzzzzz = 1 }}"), kind.clone()));
        if key == "registers" {
            let limit = kind["properties"]["limits"]["items"].clone();
            tables.push((format!("{task}grants.g = {{ registers = \"a\", limits = [{{ zzzzzzzz = 1 }}] }}"), limit));
        }
    }
    tables
}

#[test]
fn the_reader_knows_the_keys_of_the_schema() {
    for (text, table) in tables() {
        let text = if text.starts_with("zzz") { text } else { format!("version = 1\n{text}") };
        let problems = Problems::default();
        manifest::read(&text, &problems);
        let help = problems
            .into_sorted()
            .into_iter()
            .find_map(|problem| problem.message.contains("`zzzzzzzz`").then_some(problem.help.unwrap_or_default()));
        let help = help.unwrap_or_else(|| panic!("{text} has an unknown key"));
        let known = help.strip_prefix("possible here: ").unwrap_or_else(|| panic!("{text}: {help}"));
        assert_eq!(known.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), keys(&table), "{text}");
    }
}

#[test]
fn every_kind_of_grant_is_in_the_schema() {
    let kinds: BTreeSet<_> = schema::kinds().into_iter().map(|(key, _)| key).collect();
    assert_eq!(kinds, abi::needs::Kind::ALL.iter().map(|kind| kind.key()).collect());
}

/// The keys that a section of docs/charter.md explains: first cells of its tables, and its heading's own.
fn explained(page: &str, heading: &str) -> BTreeSet<String> {
    let at = page.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = &page[at + 1..];
    let level = heading.split(' ').next().unwrap();
    let end = section[1..]
        .find(&format!("\n{level} "))
        .or_else(|| section[1..].find("\n## "))
        .map_or(section.len(), |end| end + 1);
    let rows = section[..end].lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_page_explains_every_key_and_no_other() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/charter.md")).unwrap();
    let schema = schema::schema();
    for (heading, path) in [
        ("## `[system]`", "/properties/system"),
        ("## `[budgets]`", "/properties/budgets"),
        ("## `[devices.NAME]`", "/properties/devices/additionalProperties"),
        ("## `[regions.NAME]`", "/properties/regions/additionalProperties"),
        ("## `[tasks.NAME]`", "/properties/tasks/additionalProperties"),
    ] {
        assert_eq!(explained(&page, heading), keys(schema.pointer(path).unwrap()), "{heading}");
    }
    for (key, kind) in schema::kinds() {
        let heading = page.lines().find(|line| line.starts_with(&format!("### `{{ {key} = "))).unwrap();
        let mut known = explained(&page, heading);
        known.extend(
            heading.split(['{', ',', '}']).skip(1).filter_map(|part| Some(part.split_once(" = ")?.0.trim().to_owned())),
        );
        let mut expected = keys(&kind);
        if let Some(limit) = kind.pointer("/properties/limits/items") {
            expected.extend(keys(limit));
        }
        assert_eq!(known, expected, "{heading}");
    }
}
