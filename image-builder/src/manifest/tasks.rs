//! `[tasks.NAME]`: a task, its settings, and its grants.

use abi::layout;

use super::grants;
use super::reader::Table;
use crate::charter::values::{Name, Priority, ProgramName, SettingName, Size, ValueError};
use crate::charter::{Located, Task};
use crate::problem::Kind;

/// Reads a task.
pub fn task(name: Located<Name>, table: &mut Table<'_>) -> Option<Task> {
    let example = format!("program = \"{}\"", name.value);
    let program = table.required("program", &example, |value| value.text(ProgramName::new));
    let priority = table.required("priority", "priority = 10", |value| value.number(Priority::new));
    let stack = table.optional("stack", |value| value.text(|text| Size::new(text, layout::STACK_BYTES_MAX)));
    let required = table.optional("required", |value| value.boolean());
    let settings = table.optional_table("settings", |table| settings(&table)).unwrap_or_default();
    let mut declared_grants = Vec::new();
    let grants = table.named_tables("grants", "grant", &mut declared_grants, |grant, table| {
        table.set_subject(format!("grant `{}` of task `{}`", grant.value, name.value));
        grants::grant(grant, table)
    });
    let unread_grants = table.has("grants") && !table.is_table("grants");
    Some(Task {
        program,
        priority,
        stack: stack.unwrap_or(Located { value: Size::STACK_DEFAULT, span: name.span }),
        required: required.unwrap_or(true),
        settings,
        grants,
        declared_grants,
        unread_grants,
        name,
    })
}

fn settings(table: &Table<'_>) -> Vec<(Located<SettingName>, String)> {
    let entries = table.entries().filter_map(|(key, value)| {
        let key = table.keep(super::key_of(&key, &format!("a key in {}", table.subject()), SettingName::new));
        let value = table.keep(value.text(setting));
        Some((key?, value?.value))
    });
    entries.collect()
}

/// A setting's text. A task may log it, so it holds nothing that a terminal would act on.
fn setting(text: &str) -> Result<String, ValueError> {
    if text.chars().any(char::is_control) {
        let help = "a setting is text in one line";
        return Err(ValueError {
            kind: Kind::BadValue,
            message: "a control character".into(),
            help: Some(help.into()),
        });
    }
    Ok(text.to_owned())
}
