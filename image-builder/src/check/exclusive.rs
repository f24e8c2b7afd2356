//! Is everything that only one may hold granted once?

use std::collections::HashMap;

use crate::charter::values::Name;
use crate::charter::{Charter, Grant, GrantKind, Span, Task};
use crate::problem::{Kind, Problem, Problems};

/// Something that only one grant of a charter may give.
#[derive(PartialEq, Eq, Hash)]
enum Exclusive<'a> {
    Registers(&'a Name),
    Interrupt(&'a Name, u16),
    Receive(&'a Name),
    Dma(&'a Name),
    Console,
    Supervise(&'a Name),
}

impl<'a> Exclusive<'a> {
    fn of(grant: &'a Grant) -> Option<(Self, Span)> {
        Some(match &grant.kind {
            GrantKind::Registers { device, .. } => (Self::Registers(&device.value), device.span),
            GrantKind::Interrupt { device, vector } => (Self::Interrupt(&device.value, vector.get()), vector.span),
            GrantKind::Receive { endpoint } => (Self::Receive(&endpoint.value), endpoint.span),
            GrantKind::Dma { region } => (Self::Dma(&region.value), region.span),
            GrantKind::Console => (Self::Console, grant.name.span),
            GrantKind::Supervise { task, .. } => (Self::Supervise(&task.value), task.span),
            _ => return None,
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Registers(_) => Kind::DuplicateRegisters,
            Self::Interrupt(..) => Kind::DuplicateInterrupt,
            Self::Receive(_) => Kind::DuplicateReceiver,
            Self::Dma(_) => Kind::DuplicateOwner,
            Self::Console => Kind::DuplicateConsole,
            Self::Supervise(_) => Kind::DuplicateSupervisor,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Registers(device) => format!("the registers of device `{device}` are granted twice"),
            Self::Interrupt(device, vector) => format!("interrupt {vector} of device `{device}` is granted twice"),
            Self::Receive(endpoint) => format!("endpoint `{endpoint}` is received on twice"),
            Self::Dma(region) => format!("region `{region}` is owned twice"),
            Self::Console => "the console is granted twice".into(),
            Self::Supervise(task) => format!("task `{task}` is watched over twice"),
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Self::Registers(_) => "a device has one driver; others ask it, over an endpoint",
            Self::Interrupt(..) => {
                "an interrupt goes to one task, by one grant; each queue can have a vector of its own"
            }
            Self::Receive(_) => "a call has one receiver; give each server an endpoint of its own",
            Self::Supervise(_) => "a task has one supervisor, which alone decides when to restart it",
            Self::Console => "what is typed goes to one task, by one grant; others have the log",
            Self::Dma(_) => "a region has one owner, the driver; grant others a `window` of it",
        }
    }
}

pub fn check(charter: &Charter, problems: &Problems) {
    let mut held: HashMap<Exclusive<'_>, (&Task, Span)> = HashMap::new();
    for (task, grant) in charter.grants() {
        let Some((exclusive, span)) = Exclusive::of(grant) else { continue };
        if let Some((holder, first)) = held.get(&exclusive) {
            let problem = Problem::new(
                exclusive.kind(),
                exclusive.message(),
                span,
                format!("again here, to task `{}`", task.name.value),
            );
            problems.add(
                problem.and(*first, format!("first here, to task `{}`", holder.name.value)).help(exclusive.help()),
            );
        } else {
            held.insert(exclusive, (task, span));
        }
    }
}
