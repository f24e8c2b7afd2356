//! Do calls go only towards higher priority? Then no circle of tasks can wait for each other.

use crate::charter::{Charter, GrantKind};
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
            call(format!("task `{caller}` calls itself"))
        } else {
            call(format!("task `{caller}` calls task `{callee}`, whose priority is not higher"))
                .and(own.span, format!("`{caller}` has {}", own.get()))
                .and(servers.span, format!("`{callee}` has {}", servers.get()))
        };
        problems.add(problem.help("calls go to strictly higher priority; the other way, grant a `signal`"));
    }
}
