//! The keys of one table of the charter, as a table for people: what `docs/charter.md` shows.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{CLASS, DURATION, GUID, NAME, PCI_ADDRESS, PROGRAM, SIZE};

/// The keys of a table's schema in Markdown: those that are required first.
pub fn keys(schema: &Value) -> String {
    let mut text = String::from("| key | type | default | meaning |\n|---|---|---|---|\n");
    let nothing = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&nothing);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_required = |key: &str| required.contains(&key);
    let order = required.iter().copied().chain(properties.keys().map(String::as_str).filter(|key| !is_required(key)));
    for key in order {
        let property = &schema["properties"][key];
        let default = match property.get("default") {
            _ if is_required(key) => "required".into(),
            Some(Value::Object(table)) if table.is_empty() => "empty".into(),
            Some(default) => format!("`{default}`"),
            None => String::new(),
        };
        let meaning = property["description"].as_str().unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "| `{key}` | {} | {default} | {meaning} |", kind(property));
    }
    text.replace("  |", " |")
}

/// What a value looks like.
fn kind(schema: &Value) -> String {
    if let Some(only) = schema.get("const") {
        return format!("`{only}`");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    match schema["type"].as_str() {
        Some("boolean") => "`true`, `false`".into(),
        Some("integer") => format!("number{}", range(schema, "minimum", "maximum")),
        Some("array") => {
            let (items, of) = (&schema["items"], range(schema, "minItems", "maxItems"));
            let what =
                if items["enum"].is_array() { format!("list of {}", kind(items)) } else { "list of tables".into() };
            what + &of
        }
        Some("object") => match &schema["additionalProperties"] {
            Value::Object(item) if item.contains_key("type") || item.contains_key("oneOf") => {
                format!("table of {}s, at most {}", kind(&schema["additionalProperties"]), schema["maxProperties"])
            }
            _ => "table".into(),
        },
        Some("string") => match schema["pattern"].as_str() {
            Some(NAME) => "name",
            Some(SIZE) => "size",
            Some(DURATION) => "time",
            Some(PCI_ADDRESS) => "PCI address",
            Some(CLASS) => "`\"nvme\"`, or `\"CC/SS/PP\"` in hexadecimal",
            Some(PROGRAM) => "file name of 1 to 64 characters `a-z`, `0-9`, `-`, `_`",
            Some(GUID) => "GUID",
            _ if schema.get("maxLength").is_some() => {
                return format!("{} to {} characters", schema["minLength"], schema["maxLength"]);
            }
            _ => "text",
        }
        .into(),
        _ => "grant".into(),
    }
}

fn range(schema: &Value, least: &str, most: &str) -> String {
    let shown = |number: u64| if number > 0xfff { format!("{number:#x}") } else { number.to_string() };
    match (schema[least].as_u64().map(shown), schema[most].as_u64().map(shown)) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) if least != "0" => format!(", at least {least}"),
        _ => String::new(),
    }
}
