//! For every need of every task: where its authority comes from, or why there is none.

use std::fmt;

use abi::needs;
use serde::Serialize;

use crate::Examined;
use crate::charter::values::Name;
use crate::charter::{Charter, Grant, GrantKind, Located, Span, Task};
use crate::executable::OwnedNeed;
use crate::problem::{Problem, Report};

/// The routes of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Routes {
    /// The task.
    pub task: String,
    /// Its program.
    pub program: String,
    /// Where the task is written, a line of the charter.
    pub line: usize,
    /// Why its needs are unknown; `None` if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// One for each need.
    pub needs: Vec<Route>,
}

/// The route of one need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The need's name.
    pub need: String,
    /// Its kind, as the charter's key.
    pub kind: &'static str,
    /// Whether the task runs without it.
    pub optional: bool,
    /// Whether it is granted, and nothing is wrong with the grant.
    pub good: bool,
    /// Where the authority comes from, the grant first.
    pub from: Vec<Source>,
    /// Why it is not good, or not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A line of the charter on which a grant rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// What is written there.
    pub what: String,
    /// Which line, from 1.
    pub line: usize,
}

/// The routes of every task, or of those of this name.
pub fn routes(examined: &Examined, only: Option<&str>) -> Vec<Routes> {
    let Some((charter, programs)) = &examined.read else { return Vec::new() };
    let report = &examined.report;
    let line = |span: Span| report.position(span).0;
    let tasks = charter.tasks.iter().filter(|task| only.is_none_or(|only| task.name.as_str() == only));
    let routes = tasks.map(|task| {
        let program = task.program.as_ref();
        let executable = program.and_then(|name| programs.get(&name.value));
        let needs = executable.map(|executable| executable.needs.as_slice());
        Routes {
            task: task.name.value.to_string(),
            program: program.map_or_else(String::new, |name| name.value.to_string()),
            line: line(task.name.span),
            unread: needs.is_none().then(|| {
                let about = program.map_or(task.name.span, |name| name.span);
                problem_at(report, about).map_or("no program", |problem| problem.message.as_str()).to_owned()
            }),
            needs: needs.unwrap_or_default().iter().flat_map(|need| routes_of(charter, task, need, report)).collect(),
        }
    });
    routes.collect()
}

/// The routes of a need. Of a kind that a program takes as many of as there are, by any name, each has its own.
fn routes_of(charter: &Charter, task: &Task, need: &OwnedNeed, report: &Report) -> Vec<Route> {
    let same_kind: Vec<&Grant> = match need.kind {
        needs::Kind::Supervise | needs::Kind::Kill => {
            task.grants.iter().filter(|grant| grant.kind.kind() == need.kind).collect()
        }
        _ => Vec::new(),
    };
    if same_kind.is_empty() {
        let grant = task.grants.iter().find(|grant| grant.name.as_str() == need.name);
        return vec![route(charter, task, need, grant, report)];
    }
    let one = |grant: &Grant| {
        let need = OwnedNeed { name: grant.name.as_str().into(), ..need.clone() };
        route(charter, task, &need, Some(grant), report)
    };
    same_kind.into_iter().map(one).collect()
}

fn route(charter: &Charter, task: &Task, need: &OwnedNeed, grant: Option<&Grant>, report: &Report) -> Route {
    let line = |span: Span| report.position(span).0;
    let (from, because) = match grant {
        Some(grant) if grant.kind.kind() != need.kind => {
            let because = format!("granted is `{}`, needed is `{}`", grant.kind.kind().key(), need.kind.key());
            (Vec::new(), Some(because))
        }
        Some(grant) => {
            let mut from = vec![Source { what: "granted".into(), line: line(grant.name.span) }];
            from.extend(
                sources(charter, task, grant).into_iter().map(|(what, span)| Source { what, line: line(span) }),
            );
            let wrong = problem_on(report, from[0].line);
            (from, wrong.map(|problem| problem.message.clone()))
        }
        None if task.declared_grants.contains(&need.name) => (Vec::new(), Some("its grant has mistakes".into())),
        None => (Vec::new(), Some(if need.optional { "not granted, runs without" } else { "not granted" }.into())),
    };
    let good = because.is_none();
    Route { need: need.name.clone(), kind: need.kind.key(), optional: need.optional, good, from, because }
}

/// The first error that has a place here.
fn problem_at(report: &Report, span: Span) -> Option<&Problem> {
    let here = |problem: &&Problem| problem.places.iter().any(|(place, _)| *place == span);
    report.problems().iter().filter(|problem| !problem.kind.is_warning()).find(here)
}

/// The first error that has a place in this line.
fn problem_on(report: &Report, line: usize) -> Option<&Problem> {
    let here = |problem: &&Problem| problem.places.iter().any(|(place, _)| report.position(*place).0 == line);
    report.problems().iter().filter(|problem| !problem.kind.is_warning()).find(here)
}

/// What a grant rests on: the items that it names, and what stands behind them.
fn sources(charter: &Charter, task: &Task, grant: &Grant) -> Vec<(String, Span)> {
    let device = |name: &Located<Name>| {
        let device = charter.device(name).map(|(_, device)| device);
        device.map(|device| (format!("device `{}`, {}", name.value, charter.lane(device)), device.name.span))
    };
    let region = |name: &Located<Name>| {
        let region = charter.region(name).map(|(_, region)| region);
        region.map(|region| (format!("region `{}`", name.value), region.name.span))
    };
    let mut sources = Vec::new();
    match &grant.kind {
        GrantKind::Call { endpoint, disk, .. } => {
            sources.extend(charter.receiver(endpoint).map(|(server, receive)| {
                (format!("endpoint `{}` of task `{}`", endpoint.value, server.name.value), receive.name.span)
            }));
            if let Some(name) = disk.as_ref().and_then(|disk| disk.window.as_ref()) {
                let window = task.grants.iter().find(|grant| grant.name.value == name.value);
                sources.extend(window.map(|window| (format!("window `{}`", name.value), window.name.span)));
            }
        }
        GrantKind::Signal { task: name } | GrantKind::Supervise { task: name, .. } | GrantKind::Kill { task: name } => {
            sources.extend(charter.task(name).map(|(_, task)| (format!("task `{}`", name.value), task.name.span)));
        }
        GrantKind::Registers { device: name, .. }
        | GrantKind::Interrupt { device: name, .. }
        | GrantKind::Information { device: name } => sources.extend(device(name)),
        GrantKind::Dma { region: name } => {
            sources.extend(region(name));
            let of = charter.region(name).and_then(|(_, region)| region.device.as_ref());
            sources.extend(of.and_then(device));
        }
        GrantKind::Window { region: name, .. } => {
            sources.extend(region(name));
            let owner = charter
                .grants()
                .find(|(_, grant)| matches!(&grant.kind, GrantKind::Dma { region } if region.value == name.value));
            sources
                .extend(owner.map(|(owner, grant)| (format!("owned by task `{}`", owner.name.value), grant.name.span)));
        }
        GrantKind::Receive { .. }
        | GrantKind::Log { .. }
        | GrantKind::Evidence
        | GrantKind::Console
        | GrantKind::Inspect { .. }
        | GrantKind::Power { .. } => {}
    }
    sources
}

/// Whether every need that is not optional is granted, and nothing is wrong with those that are.
pub fn all_good(routes: &[Routes]) -> bool {
    let good = |route: &Route| route.good || (route.optional && route.from.is_empty());
    routes.iter().all(|routes| routes.unread.is_none() && routes.needs.iter().all(good))
}

/// Routes as people read them.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The routes.
    pub routes: &'a [Routes],
    /// The charter's name.
    pub file: &'a str,
    /// Whether marks are coloured.
    pub colour: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paint = |mark: &str, code: u8| {
            if self.colour { format!("\x1b[{code}m{mark}\x1b[0m") } else { mark.to_owned() }
        };
        for routes in self.routes {
            writeln!(f, "task `{}`, program `{}`  {}:{}", routes.task, routes.program, self.file, routes.line)?;
            if let Some(why) = &routes.unread {
                writeln!(f, "  {} {why}", paint("✗", 31))?;
            }
            let width = routes.needs.iter().map(|route| route.need.len()).max().unwrap_or(0);
            for route in &routes.needs {
                let mark = match (route.good, route.optional && route.from.is_empty()) {
                    (true, _) => paint("✓", 32),
                    (false, true) => paint("–", 33),
                    (false, false) => paint("✗", 31),
                };
                write!(f, "  {mark} {:width$}  {:11}", route.need, route.kind)?;
                if let Some(why) = &route.because {
                    write!(f, "  {why}")?;
                }
                for (position, source) in route.from.iter().enumerate() {
                    let arrow = if position == 0 { "  " } else { " ← " };
                    write!(f, "{arrow}{}, line {}", source.what, source.line)?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Kinds have keys of at most so many characters.
const _: () = assert!(needs::Kind::DeviceInformation.key().len() == 11);
