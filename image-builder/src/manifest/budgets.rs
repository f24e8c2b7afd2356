//! `[budgets]`: how many bytes things may take.

use super::reader::Table;
use crate::charter::Budgets;
use crate::charter::values::bytes;

/// Reads budgets.
pub fn budgets(mut table: Table<'_>) -> Budgets {
    let memory = table.optional("memory", |value| value.text(bytes));
    let image = table.optional("image", |value| value.text(bytes));
    let tasks = table.optional_table("tasks", |table| {
        let entries = table.entries().filter_map(|(key, value)| {
            let name = table.keep(super::name_of(&key, &format!("a task in {}", table.subject())));
            let limit = table.keep(value.text(bytes));
            Some((name?, limit?))
        });
        entries.collect()
    });
    table.finish();
    Budgets { memory, image, tasks: tasks.unwrap_or_default() }
}
