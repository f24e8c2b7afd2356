//! How many bytes everything takes, in memory and in the image, and what the charter allows.
//!
//! Sizes are named by paths (`tasks/nvme/code`), so that two lists can be held against each other.

use std::collections::BTreeMap;
use std::fmt;

use abi::handoff;
use abi::layout::PAGE_BYTES;
use abi::package::Access;

use crate::charter::Task;
use crate::check::Checked;
use crate::executable::Executable;
use crate::inspect::{EfiFile, InspectError};
use crate::{Build, efi};

/// Bytes by what takes them.
pub type Sizes = BTreeMap<String, u64>;

/// Memory of a program, in whole pages, and its stack. What the kernel itself keeps for a task is not in it.
pub fn memory(task: &Task, program: &Executable) -> u64 {
    program.segments.iter().map(|segment| segment.bytes.next_multiple_of(PAGE_BYTES)).sum::<u64>() + task.stack.bytes()
}

/// The sizes of what was built.
///
/// # Errors
/// If the EFI file cannot be read back.
pub fn sizes(checked: &Checked, build: &Build) -> Result<Sizes, InspectError> {
    let mut sizes = of_memory(checked);
    let file = EfiFile::find(&build.efi)?;
    let section = |name| file.section(name).map(<[u8]>::len);
    let (kernel, package) = (section(handoff::KERNEL_SECTION)?, section(handoff::PACKAGE_SECTION)?);
    let charter = section(efi::CHARTER_SECTION)?;
    let rest = build.efi.len() - kernel - package - charter;
    for (name, bytes) in [
        ("image/boot", rest),
        ("image/charter", charter),
        ("image/efi-file", build.efi.len()),
        ("image/kernel", kernel),
        ("image/package", package),
    ] {
        sizes.insert(name.into(), bytes as u64);
    }
    Ok(sizes)
}

fn of_memory(checked: &Checked) -> Sizes {
    let charter = checked.charter();
    let mut sizes = Sizes::new();
    let mut all = 0;
    for task in &charter.tasks {
        let Some(program) = task.program.as_ref().and_then(|name| checked.program(name)) else { continue };
        let mut add = |what: &str, bytes: u64| {
            *sizes.entry(format!("tasks/{}/{what}", task.name.value)).or_default() += bytes;
        };
        for segment in &program.segments {
            let what = match segment.access {
                Access::Read => "constants",
                Access::ReadWrite => "data",
                Access::ReadExecute => "code",
            };
            add(what, segment.bytes.next_multiple_of(PAGE_BYTES));
            add("in-image", segment.data.len() as u64);
        }
        add("stack", task.stack.bytes());
        if let Some(bytes) = program.stack_seen {
            add("stack-seen", bytes.into());
        }
        add("memory", memory(task, program));
        all += memory(task, program);
    }
    for region in &charter.regions {
        let bytes = region.size.map_or(0, |size| size.bytes());
        sizes.insert(format!("regions/{}", region.name.value), bytes);
        all += bytes;
    }
    sizes.insert("memory".into(), all);
    sizes
}

/// The paths that budgets limit, and their limits.
pub fn budgets(checked: &Checked) -> Sizes {
    let budgets = &checked.charter().budgets;
    let mut limits = Sizes::new();
    limits.extend(budgets.memory.map(|limit| ("memory".to_owned(), limit.value)));
    limits.extend(budgets.image.map(|limit| ("image/efi-file".to_owned(), limit.value)));
    limits.extend(budgets.tasks.iter().map(|(task, limit)| (format!("tasks/{}/memory", task.value), limit.value)));
    limits
}

/// Sizes as people read them.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The sizes.
    pub sizes: &'a Sizes,
    /// What they are allowed to be.
    pub budgets: &'a Sizes,
    /// What they were.
    pub before: Option<&'a Sizes>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = Sizes::new();
        let before = self.before.unwrap_or(&nothing);
        let mut names: Vec<_> = self.sizes.keys().chain(before.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let change = if self.before.is_some() { "     change" } else { "" };
        writeln!(f, "{:width$}  {:>9}{change}  {:>9}", "", "bytes", "budget")?;
        for name in names {
            let (now, then) = (self.sizes.get(name), before.get(name));
            write!(f, "{name:width$}  {:>9}", now.map_or("gone".into(), u64::to_string))?;
            if self.before.is_some() {
                let change = match (now, then) {
                    (Some(now), Some(then)) if now == then => String::new(),
                    (Some(_), None) => "new".into(),
                    (now, then) => {
                        format!("{:+}", i128::from(now.copied().unwrap_or(0)) - i128::from(then.copied().unwrap_or(0)))
                    }
                };
                write!(f, " {change:>10}")?;
            }
            match self.budgets.get(name) {
                Some(budget) => writeln!(f, "  {budget:>9}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
