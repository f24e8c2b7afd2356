//! Do calls go only towards higher priority? Then no circle of tasks can wait for each other.

use crate::charter::values::Name;
use crate::charter::{Charter, GrantKind, Located, Task};
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, problems: &Problems) {
    for (task, grant) in charter.grants() {
        let GrantKind::Call { endpoint, .. } = &grant.kind else { continue };
        let Some((server, _)) = charter.receiver(endpoint) else { continue };
        let (Some(own), Some(servers)) = (task.priority, server.priority) else { continue };
        if own.value < servers.value {
            continue;
        }
        let (caller, callee) = (&task.name.value, &server.name.value);
        let call = |message| Problem::new(Kind::CallAgainstPriority, message, endpoint.span, "this call");
        let problem = if caller == callee {
            Problem { kind: Kind::CallToItself, ..call(format!("task `{caller}` calls itself")) }
        } else if let Some(circle) = circle(charter, server, task) {
            let names: Vec<_> = circle.iter().map(|(task, _)| format!("`{}`", task.name.value)).collect();
            let message = format!("tasks call each other in a circle: `{caller}`, {}", names.join(", "));
            let back = circle.iter().filter_map(|(_, call)| call.as_ref());
            back.fold(Problem { kind: Kind::CallCycle, ..call(message) }, |problem, call| {
                problem.and(call.span, format!("which leads back to `{caller}`"))
            })
        } else {
            call(format!("task `{caller}` calls task `{callee}`, whose priority is not higher"))
                .and(own.span, format!("`{caller}` has {}", own.get()))
                .and(servers.span, format!("`{callee}` has {}", servers.get()))
        };
        problems.add(problem.help("calls go to strictly higher priority; the other way, grant a `signal`"));
    }
}

/// A task and its call onwards.
type Step<'a> = (&'a Task, Option<&'a Located<Name>>);

/// The tasks from one to another one by calls, each with its call onwards; `None` if calls do not lead there.
fn circle<'a>(charter: &'a Charter, from: &'a Task, to: &Task) -> Option<Vec<Step<'a>>> {
    let mut paths: Vec<Vec<Step<'_>>> = vec![vec![(from, None)]];
    let mut position = 0;
    while let Some(path) = paths.get(position).cloned() {
        let (last, _) = *path.last()?;
        for grant in &last.grants {
            let GrantKind::Call { endpoint, .. } = &grant.kind else { continue };
            let Some((next, _)) = charter.receiver(endpoint) else { continue };
            let mut longer = path.clone();
            longer.last_mut()?.1 = Some(endpoint);
            if next.name.value == to.name.value {
                return Some(longer);
            }
            // One path to each task is enough.
            if !paths.iter().flatten().any(|(seen, _)| seen.name.value == next.name.value) {
                longer.push((next, None));
                paths.push(longer);
            }
        }
        position += 1;
    }
    None
}
