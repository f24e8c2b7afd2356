//! Does the kernel have room for everything? It allocates nothing after boot, so every table has an end.

use abi::layout::START_INFO_BYTES_MAX;
use abi::package::{
    CAPABILITIES_MAX, DEVICE_REGIONS_MAX, DEVICE_VECTORS_MAX, DEVICES_MAX, ENDPOINTS_MAX, LIMITS_MAX, LOG_NAMES_MAX,
    REGIONS_MAX, TASKS_MAX, WINDOWS_MAX,
};
use abi::start::{CLIENTS_MAX, GRANTS_MAX, SETTINGS_MAX};

use crate::charter::{Charter, Grant, GrantKind, Span, Task};
use crate::problem::{Kind, Problem, Problems};

/// Notification bits of a task; the last one is the kernel's.
const NOTIFICATION_BITS: usize = 63;
/// Bytes for the settings of a task: the rest of its start information fits into the other half, however long its names.
const SETTINGS_BYTES_MAX: usize = START_INFO_BYTES_MAX as usize / 2;

pub fn check(charter: &Charter, problems: &Problems) {
    let count = |spans: Vec<Span>, most, what: &str| at_most(&spans, most, what, problems);
    count(charter.devices.iter().map(|device| device.name.span).collect(), DEVICES_MAX, "devices");
    count(charter.regions.iter().map(|region| region.name.span).collect(), REGIONS_MAX, "regions");
    count(charter.tasks.iter().map(|task| task.name.span).collect(), TASKS_MAX, "tasks");
    let grants = |of: &dyn Fn(&Task, &Grant) -> bool| {
        charter.grants().filter(|(task, grant)| of(task, grant)).map(|(_, grant)| grant.name.span).collect()
    };
    count(grants(&|_, grant| matches!(grant.kind, GrantKind::Receive { .. })), ENDPOINTS_MAX, "endpoints");
    for device in &charter.devices {
        let name = &device.name.value;
        let vectors =
            grants(&|_, grant| matches!(&grant.kind, GrantKind::Interrupt { device, .. } if device.value == *name));
        count(vectors, DEVICE_VECTORS_MAX, &format!("interrupts of device `{name}`"));
        let regions = grants(&|_, grant| {
            let GrantKind::Dma { region } = &grant.kind else { return false };
            charter.region(region).is_some_and(|(_, region)| region.is_of(name))
        });
        count(regions, DEVICE_REGIONS_MAX, &format!("regions of device `{name}`"));
    }
    charter.tasks.iter().for_each(|task| of_task(charter, task, problems));
}

fn of_task(charter: &Charter, task: &Task, problems: &Problems) {
    let name = &task.name.value;
    let count = |spans: Vec<Span>, most, what: &str| {
        at_most(&spans, most, &format!("{what} task `{name}`"), problems);
    };
    let own = |of: &dyn Fn(&GrantKind) -> bool| -> Vec<Span> {
        task.grants.iter().filter(|grant| of(&grant.kind)).map(|grant| grant.name.span).collect()
    };
    count(own(&|_| true), GRANTS_MAX.min(CAPABILITIES_MAX), "grants of");
    count(own(&|kind| matches!(kind, GrantKind::Dma { .. } | GrantKind::Window { .. })), WINDOWS_MAX, "windows of");
    count(task.settings.iter().map(|(key, _)| key.span).collect(), SETTINGS_MAX, "settings of");
    for grant in &task.grants {
        if let GrantKind::Registers { limits: Some(limits), .. } = &grant.kind {
            count(limits.iter().map(|limit| limit.span).collect(), LIMITS_MAX, "limits of one device of");
        }
    }
    let mut components: Vec<(&str, Span)> = Vec::new();
    for grant in &task.grants {
        if let GrantKind::Log { component } = &grant.kind
            && !components.iter().any(|(name, _)| *name == component.as_str())
        {
            components.push((component.as_str(), component.span));
        }
    }
    count(components.into_iter().map(|(_, span)| span).collect(), LOG_NAMES_MAX, "log components of");
    let calls = |grant: &Grant| match &grant.kind {
        GrantKind::Call { endpoint, .. } => {
            charter.receiver(endpoint).is_some_and(|(server, _)| server.name.value == *name)
        }
        _ => false,
    };
    let clients = charter.grants().filter(|(_, grant)| calls(grant)).map(|(_, grant)| grant.name.span);
    count(clients.collect(), CLIENTS_MAX, "clients of");
    let mut bits =
        own(&|kind| matches!(kind, GrantKind::Interrupt { .. } | GrantKind::Console | GrantKind::Supervise { .. }));
    let signals = |grant: &Grant| matches!(&grant.kind, GrantKind::Signal { task } if task.value == *name);
    bits.extend(charter.grants().filter(|(_, grant)| signals(grant)).map(|(_, grant)| grant.name.span));
    count(bits, NOTIFICATION_BITS, "interrupts and signals to");
    let settings: usize = task.settings.iter().map(|(key, value)| key.as_str().len() + value.len() + 16).sum();
    if settings > SETTINGS_BYTES_MAX {
        let here = format!("{settings} bytes, at most {SETTINGS_BYTES_MAX} fit");
        let message = format!("the settings of task `{name}` are too long");
        problems.add(Problem::new(Kind::TooMany, message, task.name.span, here));
    }
}

fn at_most(spans: &[Span], most: usize, what: &str, problems: &Problems) {
    if let Some(span) = spans.get(most) {
        let message = format!("there are {} {what}, at most {most} fit", spans.len());
        problems.add(Problem::new(Kind::TooMany, message, *span, "the first one too many"));
    }
}
