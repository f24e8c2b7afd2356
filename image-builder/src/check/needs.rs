//! Is every program granted what it asks for, and nothing else?

use std::collections::BTreeMap;

use abi::needs;

use crate::charter::values::ProgramName;
use crate::charter::{Charter, Grant, GrantKind, Task};
use crate::executable::{Executable, OwnedNeed};
use crate::problem::{Kind, Problem, Problems, closest};

pub fn check(charter: &Charter, programs: &BTreeMap<ProgramName, Executable>, problems: &Problems) {
    for task in &charter.tasks {
        let program = task.program.as_ref().and_then(|name| programs.get(&name.value));
        if let Some(program) = program.filter(|_| !task.unread_grants) {
            granted(task, program, problems);
            needed(charter, task, program, problems);
        }
    }
}

fn granted(task: &Task, program: &Executable, problems: &Problems) {
    for need in &program.needs {
        match task.grants.iter().find(|grant| grant.name.as_str() == need.name) {
            Some(grant) if grant.kind.kind() == need.kind => {}
            Some(grant) => another_kind(task, grant, need, problems),
            None if need.optional || task.declared_grants.contains(&need.name) => {}
            None => not_granted(task, program, need, problems),
        }
    }
}

fn not_granted(task: &Task, program: &Executable, need: &OwnedNeed, problems: &Problems) {
    let (name, key) = (&need.name, need.kind.key());
    let message = format!("task `{}` is not granted `{name}` ({key})", task.name.value);
    let here = format!("its program needs `{name} = {{ {key} = … }}`");
    let is_spare = |grant: &&Grant| !program.needs.iter().any(|need| need.name == grant.name.as_str());
    let spare = task.grants.iter().filter(is_spare).map(|grant| grant.name.as_str());
    let problem = Problem::new(Kind::NeedNotGranted, message, task.name.span, here);
    problems.add(match closest(name, spare) {
        Some(near) => problem.help(format!("it has a grant `{near}` that it does not need; did you mean `{name}`?")),
        None => problem.help(format!("add to [tasks.{}.grants]: {}", task.name.value, example(need))),
    });
}

/// A line that would grant it.
fn example(need: &OwnedNeed) -> String {
    let target = match need.kind {
        needs::Kind::Call | needs::Kind::Receive => "\"ENDPOINT\"",
        needs::Kind::Signal => "\"TASK\"",
        needs::Kind::Registers | needs::Kind::DeviceInformation => "\"DEVICE\"",
        needs::Kind::Interrupt => "\"DEVICE\", vector = 0",
        needs::Kind::Dma => "\"REGION\"",
        needs::Kind::Window => "\"REGION\", size = \"64 KiB\"",
        needs::Kind::Log => "\"COMPONENT\"",
        needs::Kind::Evidence => "\"firmware\"",
        needs::Kind::Console => "\"serial\"",
        needs::Kind::Inspect => "\"TOPIC\"",
        needs::Kind::Power => "\"ACTION\"",
        needs::Kind::Supervise | needs::Kind::Kill => "\"TASK\"",
    };
    format!("{} = {{ {} = {target} }}", need.name, need.kind.key())
}

fn another_kind(task: &Task, grant: &Grant, need: &OwnedNeed, problems: &Problems) {
    let (granted, needed) = (grant.kind.kind().key(), need.kind.key());
    let message = format!("grant `{}` of task `{}` is of another kind than needed", need.name, task.name.value);
    problems.add(
        Problem::new(Kind::GrantOfAnotherKind, message, grant.name.span, format!("grants `{granted}`"))
            .help(format!("its program needs `{needed}`: {}", example(need))),
    );
}

fn needed(charter: &Charter, task: &Task, program: &Executable, problems: &Problems) {
    let is_carrier = |grant: &Grant| {
        // A window may be there for a disk alone: the server uses it, the task may find it by the disk.
        task.grants.iter().any(|other| {
            matches!(&other.kind, GrantKind::Call { disk: Some(disk), .. }
                if disk.window.as_ref().is_some_and(|window| window.value == grant.name.value))
        })
    };
    // A block server finds the signals to its clients through them.
    let tells_a_client = |grant: &Grant| {
        let GrantKind::Signal { task: woken } = &grant.kind else { return false };
        charter.grants().any(|(client, call)| {
            let GrantKind::Call { endpoint, disk: Some(_), .. } = &call.kind else { return false };
            let server = charter.receiver(endpoint).map(|(server, _)| &server.name.value);
            client.name.value == woken.value && server == Some(&task.name.value)
        })
    };
    // A program that watches over tasks, or stops them, takes as many as there are, by any name.
    let is_one_of_many = |grant: &Grant| {
        let kind = grant.kind.kind();
        matches!(kind, needs::Kind::Supervise | needs::Kind::Kill) && program.needs.iter().any(|need| need.kind == kind)
    };
    for grant in &task.grants {
        let is_needed = program.needs.iter().any(|need| need.name == grant.name.as_str());
        if !is_needed && !is_carrier(grant) && !tells_a_client(grant) && !is_one_of_many(grant) {
            let message =
                format!("task `{}` is granted `{}`, which it does not need", task.name.value, grant.name.value);
            let here = "its program does not ask for it";
            let problem = Problem::new(Kind::GrantNotNeeded, message, grant.name.span, here);
            let missing = program.needs.iter().filter(|need| !task.declared_grants.contains(&need.name));
            // A slip of a need that is not granted is told of there.
            if closest(grant.name.as_str(), missing.map(|need| need.name.as_str())).is_none() {
                problems.add(problem.help("remove the grant: what is not granted cannot be misused"));
            }
        }
    }
}
