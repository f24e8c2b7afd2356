//! What changed between two systems, for those who review it: which rights every task lost and gained.

use std::fmt;

use serde::Serialize;

use crate::authority::{Authority, Right};
use crate::version::{self, VersionChange};

/// What changed, by task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whether any task may now do what it could not do before.
    pub gained: bool,
    /// What happened to the system's own version.
    pub version: VersionChange,
    /// Tasks whose rights changed: those of the old system in its order, then new ones.
    pub tasks: Vec<Change>,
}

/// What changed for one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The task's name.
    pub task: String,
    /// Whether the task is new or gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existence: Option<Existence>,
    /// What it may do now and could not do before.
    pub added: Vec<Right>,
    /// What it may no longer do.
    pub removed: Vec<Right>,
}

/// That a task is in one of the systems only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existence {
    /// Only in the new one.
    New,
    /// Only in the old one.
    Gone,
}

/// Compares two systems. A right that is covered by one of the other system's same task is no change there: a disk that
/// became smaller is a loss alone.
pub fn between(old: &Authority, new: &Authority) -> Difference {
    let is_in = |authority: &Authority, task: &str| authority.tasks.iter().any(|holder| holder.task == task);
    let names = old.tasks.iter().chain(new.tasks.iter().filter(|holder| !is_in(old, &holder.task)));
    let changes = names.map(|holder| {
        let task = holder.task.clone();
        let existence = match (is_in(old, &task), is_in(new, &task)) {
            (false, _) => Some(Existence::New),
            (_, false) => Some(Existence::Gone),
            _ => None,
        };
        let (before, after) = (old.of(&task), new.of(&task));
        Change { existence, added: beyond(after, before), removed: beyond(before, after), task }
    });
    let is_change =
        |change: &Change| change.existence.is_some() || !(change.added.is_empty() && change.removed.is_empty());
    let tasks: Vec<_> = changes.filter(is_change).collect();
    Difference {
        gained: tasks.iter().any(|change| !change.added.is_empty()),
        version: version::change(old, new),
        tasks,
    }
}

/// Those rights that none of `others` covers.
fn beyond(rights: &[Right], others: &[Right]) -> Vec<Right> {
    rights.iter().filter(|right| !others.iter().any(|other| other.covers(right))).cloned().collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (self.version.old, self.version.new) != (0, 0) {
            writeln!(f, "{}", self.version)?;
        }
        for change in &self.tasks {
            let existence = match change.existence {
                Some(Existence::New) => ", new",
                Some(Existence::Gone) => ", gone",
                None => "",
            };
            writeln!(f, "task `{}`{existence}", change.task)?;
            change.added.iter().try_for_each(|right| writeln!(f, "  + {right}"))?;
            change.removed.iter().try_for_each(|right| writeln!(f, "  - {right}"))?;
        }
        let gaining: Vec<_> =
            self.tasks.iter().filter(|change| !change.added.is_empty()).map(|change| change.task.as_str()).collect();
        match (&self.tasks[..], &gaining[..]) {
            ([], _) => f.write_str("the same authority"),
            (_, []) => f.write_str("no task gained authority"),
            (_, gaining) => write!(f, "authority gained by: {}", gaining.join(", ")),
        }
    }
}
