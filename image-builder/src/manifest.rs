//! Reads `system.toml` into the typed model, and points at everything in it that is malformed.
//!
//! Only one thing at a time is looked at here; what must hold between the parts is for [`mod@crate::check`]. A malformed
//! part is left out of the model and reading goes on, so that one run tells of every mistake.

mod budgets;
mod devices;
mod disks;
mod grants;
mod reader;
mod supervision;
mod syntax;
mod tasks;

use reader::ROOT;
pub(crate) use reader::Table;
use toml::Spanned;
use toml::de::DeTable;

use crate::charter::values::{Name, SystemVersion, ValueError};
use crate::charter::{Charter, Declared, Located, Span, Task};
use crate::problem::{Kind, Problem, Problems};

/// The version of the charter's form that this builder reads.
pub const VERSION: u64 = 1;

/// Reads a manifest's text. `None` if there is nothing that further checks could look at; the reason is in `problems`
/// then.
pub fn read(text: &str, problems: &Problems) -> Option<Charter> {
    let root = parse(text, problems)?;
    let start = Span { start: 0, end: text.lines().next().map_or(0, str::len) };
    let mut root = Table::new(ROOT.into(), start, root.get_ref(), problems);
    version(&mut root)?;
    let mut declared = Declared::default();
    let system = root.optional_table("system", |mut system| {
        let name = system.required("name", "name = \"charter\"", |value| value.text(Name::new));
        let version = system.optional("version", |value| value.number(SystemVersion::new));
        system.finish();
        (name, version)
    });
    let budgets = root.optional_table("budgets", budgets::budgets).unwrap_or_default();
    let devices = root.named_tables("devices", "device", &mut declared.devices, devices::device);
    let regions = root.named_tables("regions", "region", &mut declared.regions, devices::region);
    let tasks = root.named_tables("tasks", "task", &mut declared.tasks, tasks::task);
    let is_unread = |task: &Task| task.unread_grants || task.grants.len() < task.declared_grants.len();
    declared.unread_grants = tasks.len() < declared.tasks.len() || tasks.iter().any(is_unread);
    // What is no table at all was reported as that.
    if declared.tasks.is_empty() && (!root.has("tasks") || root.is_table("tasks")) {
        let problem =
            Problem::new(Kind::NoTasks, "the charter has no tasks", start, "there is no [tasks.…] in this file");
        problems.add(problem.help("every system has at least one task: add [tasks.NAME]"));
    }
    root.finish();
    let (name, system_version) = system.unwrap_or_default();
    let name = match name {
        Some(name) => name.value,
        None => Name::new("charter").ok()?,
    };
    let version = system_version.map(|version| version.value).unwrap_or_default();
    Some(Charter { name, version, devices, regions, tasks, budgets, declared })
}

/// Reads TOML. `None` if it is not.
pub(crate) fn parse<'t>(text: &'t str, problems: &Problems) -> Option<Spanned<DeTable<'t>>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(root);
    }
    syntax::report(text, errors, problems);
    None
}

/// Reads the version before anything else: in another version, other keys may mean other things.
fn version(root: &mut Table<'_>) -> Option<()> {
    let version = root.required("version", "version = 1", |value| value.number(Ok))?;
    if version.value == VERSION {
        return Some(());
    }
    let message = format!("version {} of the charter is not supported", version.value);
    root.problem(
        Problem::new(Kind::Version, message, version.span, "written for another image builder")
            .help(format!("this image builder reads `version = {VERSION}`")),
    );
    None
}

/// A table key as a name.
fn name_of(key: &Located<String>, subject: &str) -> Result<Located<Name>, Problem> {
    key_of(key, &format!("the name of {subject}"), Name::new)
}

/// A table key as what `make` takes.
fn key_of<T>(
    key: &Located<String>,
    subject: &str,
    make: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<Located<T>, Problem> {
    match make(&key.value) {
        Ok(value) => Ok(Located { value, span: key.span }),
        Err(error) => Err(Problem::value(subject, key.span, error)),
    }
}
