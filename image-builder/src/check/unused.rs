//! Is there anything that nobody uses? Only worth saying where nothing is wrong otherwise.

use crate::charter::values::Name;
use crate::charter::{Charter, Grant, GrantKind, Limit, Located, Task};
use crate::check::Executables;
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, programs: &Executables, problems: &Problems) {
    let granted = |uses: &dyn Fn(&GrantKind) -> bool| charter.grants().any(|(_, grant)| uses(&grant.kind));
    for device in &charter.devices {
        let name = &device.name.value;
        let uses = |kind: &GrantKind| match kind {
            GrantKind::Registers { device, .. }
            | GrantKind::Interrupt { device, .. }
            | GrantKind::Information { device } => device.value == *name,
            _ => false,
        };
        if !granted(&uses) {
            let message = format!("device `{name}` is granted to nobody");
            problems.add(
                Problem::new(Kind::UnusedDevice, message, device.name.span, "no task uses it")
                    .help("remove it, or grant a task its `registers` or `information`"),
            );
        }
    }
    for region in &charter.regions {
        let name = &region.name.value;
        if !granted(&|kind| matches!(kind, GrantKind::Dma { region } if region.value == *name)) {
            let message = format!("region `{name}` has no owner");
            problems.add(
                Problem::new(Kind::UnusedRegion, message, region.name.span, "no device is given addresses in it")
                    .help("grant it to the driver with `dma`, or remove it"),
            );
        }
    }
    for (task, grant) in charter.grants() {
        match &grant.kind {
            GrantKind::Receive { endpoint } => {
                let calls = |kind: &GrantKind| matches!(kind, GrantKind::Call { endpoint: own, .. } if own.value == endpoint.value);
                if !granted(&calls) && can_do_without(task, grant, programs) {
                    let message = format!("nobody calls endpoint `{}` of task `{}`", endpoint.value, task.name.value);
                    problems.add(
                        Problem::new(Kind::UnusedEndpoint, message, endpoint.span, "no task has a `call` to it")
                            .help("grant a client its `call`, or remove the grant, which its program can do without"),
                    );
                }
            }
            GrantKind::Signal { task: woken } if woken.value == task.name.value => {
                let message = format!("task `{}` may wake itself", task.name.value);
                problems.add(
                    Problem::new(Kind::SignalToItself, message, woken.span, "the same task")
                        .help("a task that runs needs no waking; name the task that is to be told"),
                );
            }
            GrantKind::Registers { device, limits: Some(limits), .. } => redundant(device.as_str(), limits, problems),
            GrantKind::Log { component } => clash(charter, task, component, problems),
            _ => {}
        }
    }
    charter.tasks.iter().for_each(|task| repeated(task, problems));
}

/// Whether the task's program also runs without the grant.
fn can_do_without(task: &Task, grant: &Grant, programs: &Executables) -> bool {
    let program = task.program.as_ref().and_then(|name| programs.get(&name.value));
    let needs = program.map_or(&[][..], |program| &program.needs);
    !needs.iter().any(|need| need.name == grant.name.as_str() && !need.optional)
}

/// A limit that another one covers says nothing, or hides that a wider one was meant to go.
fn redundant(device: &str, limits: &[Limit], problems: &Problems) {
    for (position, limit) in limits.iter().enumerate() {
        let covers = |(other, wider): &(usize, &Limit)| {
            // Of two that are the same, the second one.
            *other != position && wider.covers(limit) && (!limit.covers(wider) || *other < position)
        };
        if let Some((_, wider)) = limits.iter().enumerate().find(covers) {
            let message = format!("a limit of device `{device}` is covered by another one");
            problems.add(
                Problem::new(Kind::RedundantLimit, message, limit.span, "this allows nothing more")
                    .and(wider.span, "than this")
                    .help("remove the narrower one, or the wider one if it was not meant"),
            );
        }
    }
}

/// Lines of a task that others would take for another task's.
fn clash(charter: &Charter, task: &Task, component: &Located<Name>, problems: &Problems) {
    let Some((_, other)) = charter.task(component).filter(|(_, other)| other.name.value != task.name.value) else {
        return;
    };
    let own = |grant: &Grant| matches!(&grant.kind, GrantKind::Log { component: own } if own.value == component.value);
    if other.grants.iter().any(own) {
        return;
    }
    let message = format!("task `{}` logs under the name of task `{}`", task.name.value, component.value);
    problems.add(
        Problem::new(Kind::NameClash, message, component.span, "readers of the log take it for the other task")
            .and(other.name.span, "which does not write under its own name")
            .help(format!("log as `{}`, or let both write under the name", task.name.value)),
    );
}

/// The same thing under two names.
fn repeated(task: &Task, problems: &Problems) {
    for (position, grant) in task.grants.iter().enumerate() {
        let same = |other: &&Grant| match (&grant.kind, &other.kind) {
            (GrantKind::Signal { task: own }, GrantKind::Signal { task: other })
            | (GrantKind::Kill { task: own }, GrantKind::Kill { task: other })
            | (GrantKind::Log { component: own }, GrantKind::Log { component: other })
            | (GrantKind::Information { device: own }, GrantKind::Information { device: other })
            | (
                GrantKind::Call { endpoint: own, disk: None, shutdown: false },
                GrantKind::Call { endpoint: other, disk: None, shutdown: false },
            ) => own.value == other.value,
            (GrantKind::Inspect { topic: own }, GrantKind::Inspect { topic: other }) => own == other,
            (GrantKind::Power { action: own }, GrantKind::Power { action: other }) => own == other,
            _ => false,
        };
        if let Some(first) = task.grants[..position].iter().find(same) {
            let message = format!("task `{}` is granted the same thing twice", task.name.value);
            problems.add(
                Problem::new(Kind::RepeatedGrant, message, grant.name.span, "again here")
                    .and(first.name.span, "first here")
                    .help("if its program asks for both by name, this is fine; otherwise remove one"),
            );
        }
    }
}
