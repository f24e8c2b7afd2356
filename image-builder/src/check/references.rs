//! Does everything that is named exist?

use super::did_you_mean;
use crate::charter::values::Name;
use crate::charter::{Charter, GrantKind, Located};
use crate::problem::{Kind, Problem, Problems};

/// Component names under which only the kernel writes to the log.
const KERNEL_COMPONENTS: [&str; 5] = ["charter", "clock", "crash", "dma", "kernel"];

pub fn check(charter: &Charter, problems: &Problems) {
    for region in &charter.regions {
        region.device.iter().for_each(|name| device(charter, name, problems));
    }
    for (_, grant) in charter.grants() {
        match &grant.kind {
            GrantKind::Registers { device: name, .. }
            | GrantKind::Interrupt { device: name, .. }
            | GrantKind::Information { device: name } => device(charter, name, problems),
            GrantKind::Dma { region: name } | GrantKind::Window { region: name, .. } => {
                let known = &charter.declared.regions;
                known_or(Kind::UnknownRegion, "region", "regions", name, known, problems);
            }
            GrantKind::Signal { task: name }
            | GrantKind::Supervise { task: name, .. }
            | GrantKind::Kill { task: name } => {
                known_or(Kind::UnknownTask, "task", "tasks", name, &charter.declared.tasks, problems);
            }
            GrantKind::Call { endpoint, .. } => self::endpoint(charter, endpoint, problems),
            GrantKind::Log { component } => self::component(component, problems),
            GrantKind::Receive { .. }
            | GrantKind::Evidence
            | GrantKind::Console
            | GrantKind::Inspect { .. }
            | GrantKind::Power { .. } => {}
        }
    }
}

fn device(charter: &Charter, name: &Located<Name>, problems: &Problems) {
    known_or(Kind::UnknownDevice, "device", "devices", name, &charter.declared.devices, problems);
}

fn known_or(kind: Kind, what: &str, all: &str, name: &Located<Name>, known: &[String], problems: &Problems) {
    if !known.iter().any(|known| known == name.as_str()) {
        let message = format!("there is no {what} `{}`", name.value);
        let help = did_you_mean(name.as_str(), known.iter().map(String::as_str), all);
        problems.add(Problem::new(kind, message, name.span, format!("no [{all}.{}]", name.value)).help(help));
    }
}

/// An endpoint exists where a task receives on it.
fn endpoint(charter: &Charter, name: &Located<Name>, problems: &Problems) {
    if charter.receiver(name).is_some() || charter.declared.unread_grants {
        return;
    }
    let known = charter.grants().filter_map(|(_, grant)| match &grant.kind {
        GrantKind::Receive { endpoint } => Some(endpoint.as_str()),
        _ => None,
    });
    let message = format!("nobody receives on endpoint `{}`", name.value);
    let help = did_you_mean(name.as_str(), known, "endpoints");
    problems.add(Problem::new(Kind::UnknownEndpoint, message, name.span, "a call here would never end").help(help));
}

fn component(name: &Located<Name>, problems: &Problems) {
    if KERNEL_COMPONENTS.contains(&name.as_str()) {
        let message = format!("log lines of `{}` are the kernel's own", name.value);
        problems.add(
            Problem::new(Kind::ReservedName, message, name.span, "no task may write under this name")
                .help("a log component is a name of its own, for example the task's"),
        );
    }
}
