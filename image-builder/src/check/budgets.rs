//! Does everything stay within what the charter allows it to take?

use crate::charter::values::Bytes;
use crate::charter::{Charter, Located, Span};
use crate::problem::{Kind, Problem, Problems};
use crate::sizes;

use super::{Executables, did_you_mean};

pub fn check(charter: &Charter, programs: &Executables, problems: &Problems) {
    let mut all: u64 = charter.regions.iter().filter_map(|region| region.size).map(|size| size.bytes()).sum();
    let mut all_is_known = true;
    for task in &charter.tasks {
        let Some(program) = task.program.as_ref().and_then(|name| programs.get(&name.value)) else {
            all_is_known = false;
            continue;
        };
        let memory = sizes::memory(task, program);
        all += memory;
        if let Some((_, limit)) = charter.budgets.tasks.iter().find(|(name, _)| name.value == task.name.value) {
            let what = format!("task `{}` takes {} of memory", task.name.value, Bytes(memory));
            let place = Some((task.name.span, "program and stack".to_owned()));
            within(&what, memory, limit, place, problems);
        }
    }
    if let Some(limit) = charter.budgets.memory.filter(|_| all_is_known) {
        within(&format!("tasks and regions take {} of memory", Bytes(all)), all, &limit, None, problems);
    }
    for (name, _) in &charter.budgets.tasks {
        let known = &charter.declared.tasks;
        if !known.iter().any(|known| known == name.as_str()) {
            let help = did_you_mean(name.as_str(), known.iter().map(String::as_str), "tasks");
            let message = format!("there is no task `{}`", name.value);
            problems.add(Problem::new(Kind::UnknownTask, message, name.span, "a budget for nobody").help(help));
        }
    }
}

/// Reports what takes more than its budget.
pub(crate) fn within(what: &str, bytes: u64, limit: &Located<u64>, place: Option<(Span, String)>, problems: &Problems) {
    if bytes <= limit.value {
        return;
    }
    let message = format!("{what}, its budget is {}", Bytes(limit.value));
    let problem =
        Problem::new(Kind::OverBudget, message, limit.span, format!("{} too little", Bytes(bytes - limit.value)));
    let problem = place.into_iter().fold(problem, |problem, (span, here)| problem.and(span, here));
    problems
        .add(problem.help("make it smaller, or its budget larger; `image-builder sizes` shows what takes how much"));
}
