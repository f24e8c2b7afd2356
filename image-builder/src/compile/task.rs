//! One task of the package: its capabilities, its windows, and what it finds at its start.

use abi::evidence::EVIDENCE_BYTES;
use abi::layout::{EVIDENCE, WINDOW_START, WINDOW_STRIDE};
use abi::package::{Capability, LOG_NAMES_MAX, Segment, Task, WINDOWS_MAX, Window};
use abi::start::{Client, Grant, Granted, StartInfo};
use abi::supervision::Restart;
use heapless::Vec as Bounded;

use super::disk::parameters;
use super::{CompileError, Numbers, bounded, written};
use crate::charter::values::Name;
use crate::charter::{self, GrantKind};
use crate::executable::Executable;

/// The task as the kernel takes it.
pub fn task<'a>(
    numbers: &Numbers<'a>,
    task: &'a charter::Task,
    program: &'a Executable,
    start_info: &'a [u8],
) -> Result<Task<'a>, CompileError> {
    let capabilities = task.grants.iter().filter_map(|grant| capability(numbers, task, grant).transpose());
    let segments = program.segments.iter().map(|segment| {
        Ok(Segment { address: segment.address, bytes: segment.bytes, access: segment.access, data: &segment.data })
    });
    Ok(Task {
        name: task.name.as_str(),
        priority: written(task.priority)?.get(),
        required: task.required,
        entry: program.entry,
        stack_bytes: task.stack.bytes(),
        log_names: log_names(task)?,
        segments: bounded(segments, "too many segments")?,
        windows: windows(numbers, task)?,
        capabilities: bounded(capabilities, "too many grants")?,
        start_info,
    })
}

/// The task's start information, as postcard.
pub fn start_info(numbers: &Numbers<'_>, task: &charter::Task) -> Result<Vec<u8>, CompileError> {
    let windows = windows(numbers, task)?;
    let (mut handles, mut mapped) = (1.., windows.iter());
    let mut grants = Bounded::new();
    for grant in &task.grants {
        let mut handle = || handles.next().ok_or(CompileError::Unchecked("too many grants"));
        let mut window = || mapped.next().ok_or(CompileError::Unchecked("too many windows"));
        let granted = match &grant.kind {
            GrantKind::Call { endpoint, .. } => {
                Granted::Call { handle: handle()?, bits: signals_of_server(numbers, endpoint, &task.name.value)? }
            }
            GrantKind::Receive { .. } => Granted::Receive { handle: handle()? },
            GrantKind::Signal { task: target } => {
                Granted::Signal { handle: handle()?, badge: badge_of_target(numbers, &task.name.value, target) }
            }
            GrantKind::Registers { .. } => Granted::Registers { handle: handle()? },
            GrantKind::Information { .. } => Granted::DeviceInformation { handle: handle()? },
            GrantKind::Log { .. } => Granted::Log { handle: handle()? },
            GrantKind::Evidence => {
                // Mapped at its own place; the capability takes a handle all the same.
                handle()?;
                Granted::Evidence { address: EVIDENCE, bytes: EVIDENCE_BYTES as u64 }
            }
            GrantKind::Console => Granted::Console { handle: handle()?, bits: notification_bits(task, grant)? },
            GrantKind::Inspect { .. } => Granted::Inspect { handle: handle()? },
            GrantKind::Power { .. } => Granted::Power { handle: handle()? },
            GrantKind::Supervise { task: watched, restart, .. } => Granted::Supervise {
                handle: handle()?,
                task: numbers.task(watched)?,
                restart: Restart {
                    limit: restart.limit,
                    within: restart.within.get(),
                    back_off: restart.back_off.get(),
                    give_up: restart.give_up,
                },
                dependants: dependants(numbers, task, watched)?,
            },
            GrantKind::Kill { .. } => Granted::Kill { handle: handle()? },
            GrantKind::Interrupt { vector, .. } => {
                // The kernel sets the bits; the capability takes a handle all the same.
                handle()?;
                Granted::Interrupt { vector: vector.get(), bits: notification_bits(task, grant)? }
            }
            GrantKind::Dma { region } => {
                let Window { region: number, address, bytes, .. } = *window()?;
                let device = numbers.region(region)?.1.device.as_ref();
                let order = device.and_then(|device| numbers.device_regions(device).position(|own| own == number));
                let region = order.ok_or(CompileError::Unchecked("a region of no device"))? as u16;
                Granted::Dma { region, address, bytes }
            }
            GrantKind::Window { .. } => {
                let Window { address, bytes, writable, offset, .. } = *window()?;
                Granted::Window { address, bytes, writable, offset }
            }
        };
        let grant = Grant { name: grant.name.as_str(), granted };
        grants.push(grant).map_err(|_| CompileError::Unchecked("too many grants"))?;
    }
    let calls: Vec<_> =
        calls(numbers, &task.name.value).map(|(client, grant)| (client, parameters(numbers, client, grant))).collect();
    let mut clients = Bounded::new();
    for (position, (client, parameters)) in calls.iter().enumerate() {
        let parameters = match parameters {
            Ok(parameters) => parameters.as_slice(),
            Err(_) => return Err(CompileError::Unchecked("a disk without a window")),
        };
        let client = Client { badge: badge(position), task: client.name.as_str(), parameters };
        clients.push(client).map_err(|_| CompileError::Unchecked("too many clients"))?;
    }
    let settings = task.settings.iter().map(|(key, value)| Ok((key.as_str(), value.as_str())));
    let settings = bounded(settings, "too many settings")?;
    Ok(postcard::to_stdvec(&StartInfo { task: task.name.as_str(), grants, clients, settings })?)
}

fn capability(
    numbers: &Numbers<'_>,
    task: &charter::Task,
    grant: &charter::Grant,
) -> Result<Option<Capability>, CompileError> {
    Ok(Some(match &grant.kind {
        GrantKind::Call { endpoint, .. } => {
            Capability::Call { endpoint: numbers.endpoint(endpoint)?, badge: badge_of(numbers, endpoint, grant)? }
        }
        GrantKind::Receive { endpoint } => Capability::Receive { endpoint: numbers.endpoint(endpoint)? },
        GrantKind::Signal { task: target } => {
            Capability::Signal { task: numbers.task(target)?, bits: signal_bits(numbers, target, grant)? }
        }
        GrantKind::Registers { device, .. } => Capability::Registers { device: numbers.device(device)? },
        GrantKind::Interrupt { device, vector } => Capability::Interrupt {
            device: numbers.device(device)?,
            vector: vector.get(),
            bits: notification_bits(task, grant)?,
        },
        GrantKind::Information { device } => Capability::DeviceInformation { device: numbers.device(device)? },
        GrantKind::Evidence => Capability::Evidence,
        GrantKind::Console => Capability::Console { bits: notification_bits(task, grant)? },
        GrantKind::Inspect { topic } => Capability::Inspect { topic: *topic },
        GrantKind::Power { action } => Capability::Power { action: *action },
        GrantKind::Supervise { task: watched, heartbeat, .. } => Capability::Supervise {
            task: numbers.task(watched)?,
            bits: notification_bits(task, grant)?,
            heartbeat: heartbeat.map_or(0, |heartbeat| heartbeat.get()),
        },
        GrantKind::Kill { task } => Capability::Kill { task: numbers.task(task)? },
        GrantKind::Log { component } => {
            let name = log_names(task)?.iter().position(|name| *name == component.as_str());
            Capability::Log { name: name.ok_or(CompileError::Unchecked("too many log names"))? as u8 }
        }
        GrantKind::Dma { .. } | GrantKind::Window { .. } => return Ok(None),
    }))
}

/// The `call` grants to one server's endpoints.
fn calls<'a>(
    numbers: &Numbers<'a>,
    server: &'a Name,
) -> impl Iterator<Item = (&'a charter::Task, &'a charter::Grant)> + use<'a> {
    let charter = numbers.charter;
    charter.grants().filter(move |(_, grant)| match &grant.kind {
        GrantKind::Call { endpoint, .. } => {
            charter.receiver(endpoint).is_some_and(|(task, _)| task.name.value == *server)
        }
        _ => false,
    })
}

/// The badge of a server's client at this position among its `call` grants.
fn badge(position: usize) -> u32 {
    position as u32 + 1
}

fn badge_of(numbers: &Numbers<'_>, endpoint: &Name, grant: &charter::Grant) -> Result<u32, CompileError> {
    let server = numbers.charter.receiver(endpoint).ok_or(CompileError::Unchecked("a call to nobody"))?.0;
    let position = calls(numbers, &server.name.value).position(|(_, own)| std::ptr::eq(own, grant));
    position.map(badge).ok_or(CompileError::Unchecked("a call without a client"))
}

/// The bits by which the task that receives on an endpoint signals another; none if it does not.
fn signals_of_server(numbers: &Numbers<'_>, endpoint: &Name, client: &Name) -> Result<u64, CompileError> {
    let (server, _) = numbers.charter.receiver(endpoint).ok_or(CompileError::Unchecked("a call to nobody"))?;
    let signals =
        server.grants.iter().filter(|grant| matches!(&grant.kind, GrantKind::Signal { task } if task.value == *client));
    signals.map(|grant| signal_bits(numbers, client, grant)).try_fold(0, |bits, more| Ok(bits | more?))
}

/// The badge with which a task's calls arrive at a server; 0 if there is not just one.
fn badge_of_target(numbers: &Numbers<'_>, server: &Name, target: &Name) -> u32 {
    let mut own = calls(numbers, server).enumerate().filter(|(_, (client, _))| client.name.value == *target);
    match (own.next(), own.next()) {
        (Some((position, _)), None) => badge(position),
        _ => 0,
    }
}

/// The tasks that one supervisor watches over and that call a task, directly or through others, a bit each.
fn dependants(numbers: &Numbers<'_>, supervisor: &charter::Task, of: &Name) -> Result<u32, CompileError> {
    let mut called = vec![of];
    let mut position = 0;
    while let Some(server) = called.get(position).copied() {
        let server = numbers.charter.task(server).map(|(_, task)| &task.name.value);
        for (client, _) in server.into_iter().flat_map(|server| calls(numbers, server)) {
            if !called.contains(&&client.name.value) {
                called.push(&client.name.value);
            }
        }
        position += 1;
    }
    let mut bits = 0;
    for grant in &supervisor.grants {
        if let GrantKind::Supervise { task, .. } = &grant.kind
            && called[1..].contains(&&task.value)
        {
            bits |= 1 << numbers.task(task)?;
        }
    }
    Ok(bits)
}

/// Whether the kernel sets notification bits for it.
fn notifies(grant: &charter::Grant) -> bool {
    matches!(grant.kind, GrantKind::Interrupt { .. } | GrantKind::Console | GrantKind::Supervise { .. })
}

fn notification_bits(task: &charter::Task, grant: &charter::Grant) -> Result<u64, CompileError> {
    bit(task.grants.iter().filter(|own| notifies(own)).position(|own| std::ptr::eq(own, grant)))
}

fn signal_bits(numbers: &Numbers<'_>, target: &Name, grant: &charter::Grant) -> Result<u64, CompileError> {
    let (_, task) = numbers.charter.task(target).ok_or(CompileError::Unchecked("a signal to nobody"))?;
    let own = task.grants.iter().filter(|own| notifies(own)).count();
    let to_target =
        |grant: &&charter::Grant| matches!(&grant.kind, GrantKind::Signal { task } if task.value == *target);
    let mut signals = numbers.charter.grants().map(|(_, grant)| grant).filter(to_target);
    bit(signals.position(|own| std::ptr::eq(own, grant)).map(|position| own + position))
}

/// Bit 63 is the kernel's own: a peer has stopped.
fn bit(position: Option<usize>) -> Result<u64, CompileError> {
    match position {
        Some(position @ 0..63) => Ok(1 << position),
        _ => Err(CompileError::Unchecked("too many notifications")),
    }
}

fn log_names(task: &charter::Task) -> Result<Bounded<&str, LOG_NAMES_MAX>, CompileError> {
    let mut names: Bounded<&str, LOG_NAMES_MAX> = Bounded::new();
    for grant in &task.grants {
        if let GrantKind::Log { component } = &grant.kind
            && !names.contains(&component.as_str())
        {
            names.push(component.as_str()).map_err(|_| CompileError::Unchecked("too many log names"))?;
        }
    }
    Ok(names)
}

/// Every mapping of DMA memory into the task: whole regions that it owns, parts of those that it does not.
fn windows(numbers: &Numbers<'_>, task: &charter::Task) -> Result<Bounded<Window, WINDOWS_MAX>, CompileError> {
    let mut windows = Bounded::new();
    for grant in &task.grants {
        let (region, offset, bytes, writable) = match &grant.kind {
            GrantKind::Dma { region } => (region, 0, written(numbers.region(region)?.1.size)?.bytes(), true),
            GrantKind::Window { region, offset, size, access } => {
                (region, offset.bytes(), size.bytes(), access.is_writable())
            }
            _ => continue,
        };
        let address = WINDOW_START + windows.len() as u64 * WINDOW_STRIDE;
        let window = Window { region: numbers.region(region)?.0, offset, bytes, address, writable };
        windows.push(window).map_err(|_| CompileError::Unchecked("too many windows"))?;
    }
    Ok(windows)
}
