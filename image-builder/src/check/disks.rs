//! Can every disk that a `call` grants be served: does its data pass through memory that the driver's device reaches,
//! and does the device's own grant allow it?

mod shares;

use abi::package::{Command, Commands};

use super::did_you_mean;
use crate::charter::values::{Access, Name};
use crate::charter::{Charter, Disk, Grant, GrantKind, Limit, Located, Span, Task};
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, problems: &Problems) {
    for (task, grant) in charter.grants() {
        let GrantKind::Call { endpoint, disk: Some(disk), .. } = &grant.kind else { continue };
        let own = match &disk.window {
            Some(name) => match window(task, name, problems) {
                Some(region) => Some((region, name.span)),
                None => continue,
            },
            None => None,
        };
        let Some((server, _)) = charter.receiver(endpoint) else { continue };
        if charter.declared.unread_grants {
            continue;
        }
        let servers = server_window(server);
        if (own.is_none() || disk.partition.is_some()) && servers.is_none() {
            no_server_window(server, grant, disk, problems);
        }
        // If not, that is what has to be told, not what follows from it.
        let Some(drivers) = drivers(charter, server) else { continue };
        for (region, span) in own.into_iter().chain(servers) {
            data_passes(charter, (region, span), server, &drivers, problems);
        }
        let Some((region, _)) = own.or(servers) else { continue };
        if let Some(driver) = owner(charter, &region.value).filter(|owner| is_among(owner, &drivers)) {
            allowed(charter, (grant, disk), &region.value, driver, problems);
        }
    }
    shares::check(charter, problems);
}

/// The region of the server's own window, and where that is written.
fn server_window(server: &Task) -> Option<(&Located<Name>, Span)> {
    server.grants.iter().find_map(|grant| match &grant.kind {
        GrantKind::Window { region, access: Access::ReadWrite, .. } => Some((region, grant.name.span)),
        _ => None,
    })
}

fn no_server_window(server: &Task, grant: &Grant, disk: &Disk, problems: &Problems) {
    let name = &server.name.value;
    let message = format!("task `{name}` has no window of its own, which this disk needs");
    let here = match disk.window {
        None => "without a `window`, its data passes through one of the server's",
        Some(_) => "the partition table is read into one of the server's",
    };
    problems
        .add(Problem::new(Kind::NoServerWindow, message, grant.name.span, here).and(server.name.span, "has none").help(
        format!(
            "add to [tasks.{name}.grants]: data = {{ window = \"REGION\", size = \"64 KiB\", access = \"read-write\" }}"
        ),
    ));
}

fn is_among(task: &Task, tasks: &[&Task]) -> bool {
    tasks.iter().any(|other| other.name.value == task.name.value)
}

/// The region of the window that the disk names.
fn window<'a>(task: &'a Task, named: &Located<Name>, problems: &Problems) -> Option<&'a Located<Name>> {
    let windows = || {
        task.grants.iter().filter_map(|grant| match &grant.kind {
            GrantKind::Window { region, .. } => Some((&grant.name.value, region)),
            _ => None,
        })
    };
    let found = windows().find(|(name, _)| **name == named.value);
    if found.is_none() && !task.declared_grants.iter().any(|name| name == named.as_str() && !is_read(task, name)) {
        let message = format!("task `{}` has no window `{}`", task.name.value, named.value);
        let help = did_you_mean(named.as_str(), windows().map(|(name, _)| name.as_str()), "windows of this task");
        let here = "the disk's data would go nowhere";
        problems.add(Problem::new(Kind::UnknownWindow, message, named.span, here).help(help));
    }
    found.map(|(_, region)| region)
}

fn is_read(task: &Task, name: &str) -> bool {
    task.grants.iter().any(|grant| grant.name.as_str() == name)
}

/// The server, and every task that it reaches by calls, as far as they drive a device; `None` if a call leads nowhere.
fn drivers<'a>(charter: &'a Charter, server: &'a Task) -> Option<Vec<&'a Task>> {
    let mut reached = vec![server];
    let mut position = 0;
    while let Some(task) = reached.get(position).copied() {
        for grant in &task.grants {
            let GrantKind::Call { endpoint, .. } = &grant.kind else { continue };
            let (next, _) = charter.receiver(endpoint)?;
            if !is_among(next, &reached) {
                reached.push(next);
            }
        }
        position += 1;
    }
    reached.retain(|task| task.grants.iter().any(|grant| matches!(grant.kind, GrantKind::Registers { .. })));
    Some(reached)
}

fn owner<'a>(charter: &'a Charter, region: &Name) -> Option<&'a Task> {
    charter
        .grants()
        .find(|(_, grant)| matches!(&grant.kind, GrantKind::Dma { region: own } if own.value == *region))
        .map(|(task, _)| task)
}

fn regions(task: &Task) -> impl Iterator<Item = &Located<Name>> {
    task.grants.iter().filter_map(|grant| match &grant.kind {
        GrantKind::Dma { region } => Some(region),
        _ => None,
    })
}

/// The driver's messages name memory by an offset in *the* region of the driver: the window must be in that one.
fn data_passes(
    charter: &Charter,
    (region, window): (&Located<Name>, Span),
    server: &Task,
    drivers: &[&Task],
    problems: &Problems,
) {
    let served = owner(charter, &region.value).filter(|owner| is_among(owner, drivers));
    let Some(driver) = served else {
        let message = format!("the disk's window is in region `{}`, which its driver does not own", region.value);
        let names: Vec<_> = drivers.iter().copied().flat_map(regions).map(|region| region.value.to_string()).collect();
        let help = match &names[..] {
            [] => format!("task `{}` reaches no driver that owns a region", server.name.value),
            names => format!("the driver behind task `{}` owns: {}", server.name.value, names.join(", ")),
        };
        let problem = Problem::new(Kind::DiskWindow, message, window, "this window");
        problems.add(problem.and(region.span, "is in this region").help(help));
        return;
    };
    if let Some(second) = regions(driver).nth(1) {
        let name = &driver.name.value;
        let message = format!("driver `{name}` owns several regions, so an offset does not name the disk's memory");
        problems.add(
            Problem::new(Kind::SeveralRegions, message, window, "this window")
                .and(second.span, "a second region of its driver")
                .help("a driver with disks owns one region"),
        );
    }
}

/// What the kernel will not let the driver do, no server can grant.
fn allowed(charter: &Charter, (grant, disk): (&Grant, &Disk), region: &Name, driver: &Task, problems: &Problems) {
    let Some((_, region)) = charter.region(region) else { return };
    let registers = driver.grants.iter().find_map(|grant| match &grant.kind {
        GrantKind::Registers { device, limits, .. } if region.is_of(device) => Some((device, limits)),
        _ => None,
    });
    let Some((device, limits)) = registers else { return };
    let default = [Limit::unsaid(device.span)];
    let limits = limits.as_deref().unwrap_or(&default);
    let covers = |limit: &Limit| {
        // Where a partition lies is not known before it is found; the kernel holds it to the limit then.
        let covered = match disk.partition {
            Some(_) => limit.blocks.access >= disk.blocks.access,
            None => limit.blocks.covers(&disk.blocks),
        };
        let mut needed = Commands::NONE.with(Command::Read);
        if disk.blocks.access.is_writable() {
            needed = needed.with(Command::Write);
        }
        let is_of_namespace = limit.namespace.is_none_or(|namespace| namespace == disk.namespace.value);
        is_of_namespace && covered && limit.opcodes.covers(needed)
    };
    if limits.is_empty() || limits.iter().any(covers) {
        return;
    }
    let message = format!("the disk is more than the charter lets device `{}` do", device.value);
    let problem = Problem::new(Kind::DiskBeyondLimits, message, grant.name.span, "this disk");
    let problem = match limits {
        [limit] if limit.span == device.span => problem.and(device.span, "no `limits`: all of it, but read-only"),
        limits => limits.iter().fold(problem, |problem, limit| problem.and(limit.span, "does not cover it")),
    };
    problems.add(problem.help(
        "one limit must cover the disk's namespace, its blocks, its access, and reading and writing as that says",
    ));
}
