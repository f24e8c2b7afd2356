//! Can every supervisor do what it is for? It is above all that it watches over, so that none of them keeps it from the
//! processor and it calls none of them; and nobody watches over it, so nobody but the kernel ends it.

use crate::charter::values::Name;
use crate::charter::{Charter, GrantKind, Located, Task};
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, problems: &Problems) {
    for (task, grant) in charter.grants() {
        match &grant.kind {
            GrantKind::Supervise { task: name, .. } => watched(charter, task, name, problems),
            GrantKind::Kill { task: name } => killed(charter, name, problems),
            _ => {}
        }
    }
}

fn watched(charter: &Charter, supervisor: &Task, name: &Located<Name>, problems: &Problems) {
    let own = &supervisor.name.value;
    if name.value == *own {
        let message = format!("task `{own}` watches over itself");
        problems.add(
            Problem::new(Kind::SupervisedSupervisor, message, name.span, "the same task")
                .help("when a supervisor stops, the kernel resets the machine"),
        );
        return;
    }
    let Some((_, other)) = charter.task(name) else { return };
    if let Some(grant) = supervises(other) {
        let message = format!("task `{own}` watches over `{}`, which is a supervisor itself", name.value);
        problems.add(
            Problem::new(Kind::SupervisedSupervisor, message, name.span, "this task")
                .and(grant, "watches over another one here")
                .help("when a supervisor stops, the kernel resets the machine; let one watch over all of them"),
        );
    }
    let (Some(above), Some(below)) = (supervisor.priority, other.priority) else { return };
    if above.value <= below.value {
        let message = format!("task `{own}` watches over `{}`, whose priority is not lower", name.value);
        problems.add(
            Problem::new(Kind::SuperviseAgainstPriority, message, name.span, "this task")
                .and(above.span, format!("`{own}` has {}", above.get()))
                .and(below.span, format!("`{}` has {}", name.value, below.get()))
                .help("a supervisor runs before all that it watches over, or one of them could keep it from running"),
        );
    }
}

fn killed(charter: &Charter, name: &Located<Name>, problems: &Problems) {
    if let Some(grant) = charter.task(name).and_then(|(_, task)| supervises(task)) {
        let message = format!("task `{}` may not be killed: it is a supervisor", name.value);
        problems.add(
            Problem::new(Kind::KilledSupervisor, message, name.span, "this task")
                .and(grant, "watches over another one here")
                .help("its end resets the machine; what is meant may be { power = \"reboot\" }"),
        );
    }
}

/// Where a task says that it watches over another one.
fn supervises(task: &Task) -> Option<crate::charter::Span> {
    task.grants.iter().find(|grant| matches!(grant.kind, GrantKind::Supervise { .. })).map(|grant| grant.name.span)
}
