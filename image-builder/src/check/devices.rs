//! Can every device be told from the others, and is everything that it does to memory checked?

use abi::package::RemappingPolicy;

use crate::charter::values::{Broker, Name};
use crate::charter::{Charter, Device, GrantKind, Located};
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, problems: &Problems) {
    for (position, device) in charter.devices.iter().enumerate() {
        checked(charter, device, problems);
        charter.devices[..position].iter().for_each(|earlier| distinct(earlier, device, problems));
    }
    owners_drive(charter, problems);
}

/// A device that masters the bus can write anywhere, unless its commands are checked or an IOMMU is between.
fn checked(charter: &Charter, device: &Device, problems: &Problems) {
    let name = &device.name;
    let problem = match &device.broker {
        Some(broker) if broker.value == Broker::None => {
            unlimited(charter, name, problems);
            if device.remapping == RemappingPolicy::Require {
                return;
            }
            Problem::new(
                Kind::UncheckedDevice,
                format!("device `{}` has no broker, and may be without an IOMMU", name.value),
                broker.span,
                "then nothing checks which memory it reads and writes",
            )
            .help("add `remapping = \"require\"`: without an IOMMU that holds it, the device is not used")
        }
        _ if device.broker_is_named => return,
        _ => Problem::new(
            Kind::UncheckedDevice,
            format!("device `{}` has neither a broker nor an IOMMU", name.value),
            name.span,
            "nothing checks which memory it reads and writes",
        )
        .help(
            "add `broker = \"nvme\"` to the device if it is an NVMe controller, else `broker = \"none\"` and \
             `remapping = \"require\"`",
        ),
    };
    problems.add(used(charter, name, problem));
}

/// Limits hold in a broker: where there is none, nobody holds the device to them.
fn unlimited(charter: &Charter, name: &Located<Name>, problems: &Problems) {
    let Some((_, grant)) = charter.driver(&name.value) else { return };
    if let GrantKind::Registers { limits: Some(_), .. } = &grant.kind {
        problems.add(
            Problem::new(
                Kind::BadGrant,
                format!("limits of device `{}`, which has no broker", name.value),
                grant.name.span,
                "nobody reads what the device is told",
            )
            .help("leave `limits` out: such a device is granted whole, or not at all"),
        );
    }
}

/// A problem with a device, and who is given what of it.
fn used(charter: &Charter, name: &Located<Name>, mut problem: Problem) -> Problem {
    for (task, grant) in charter.grants() {
        let span = match &grant.kind {
            GrantKind::Registers { device, .. } if device.value == name.value => device.span,
            GrantKind::Dma { region } => match charter.region(region) {
                Some((_, owned)) if owned.is_of(name) => region.span,
                _ => continue,
            },
            _ => continue,
        };
        let given = match &grant.kind {
            GrantKind::Dma { .. } => "memory for it",
            _ => "its registers",
        };
        problem = problem.and(span, format!("task `{}` is given {given}", task.name.value));
    }
    problem
}

/// Two devices with one selector would be told apart by their order alone.
fn distinct(first: &Device, second: &Device, problems: &Problems) {
    let address = |device: &Device| device.address.map(|address| address.value);
    let rest = |device: &Device| {
        (device.class.map(|class| class.value), device.vendor.map(|v| v.value), device.device.map(|d| d.value))
    };
    if !first.selector_is_read || !second.selector_is_read {
        return;
    }
    let same_address = address(first).is_some() && address(first) == address(second);
    if !same_address && (address(first), rest(first)) != (address(second), rest(second)) {
        shadowed(first, second, problems);
        return;
    }
    let span = |device: &Device| device.address.map_or(device.name.span, |address| address.span);
    let message = format!("devices `{}` and `{}` are the same function", first.name.value, second.name.value);
    problems.add(
        Problem::new(Kind::AmbiguousDevice, message, span(second), "this selects the same")
            .and(span(first), "as this")
            .help("tell them apart by `pci = \"SSSS:BB:DD.F\"`, or remove one"),
    );
}

/// One function may match both: the more particular one chooses first, and takes it.
fn shadowed(first: &Device, second: &Device, problems: &Problems) {
    fn apart<T: PartialEq>(one: &Option<Located<T>>, other: &Option<Located<T>>) -> bool {
        matches!((one, other), (Some(one), Some(other)) if one.value != other.value)
    }
    let differ = apart(&first.class, &second.class)
        || apart(&first.vendor, &second.vendor)
        || apart(&first.device, &second.device)
        || apart(&first.address, &second.address);
    // With an address on one side the charter says which is which.
    if differ || first.address.is_some() != second.address.is_some() {
        return;
    }
    let message = format!("devices `{}` and `{}` can match the same function", first.name.value, second.name.value);
    problems.add(
        Problem::new(Kind::ShadowedDevice, message, second.name.span, "this selector")
            .and(first.name.span, "and this one")
            .help("the one with more identifiers chooses first; `pci = \"SSSS:BB:DD.F\"` leaves no doubt"),
    );
}

/// A region belongs to its device's driver: only commands of that device can name memory in it.
fn owners_drive(charter: &Charter, problems: &Problems) {
    for (task, grant) in charter.grants() {
        let GrantKind::Dma { region } = &grant.kind else { continue };
        let Some((_, declared)) = charter.region(region) else { continue };
        let Some(device) = declared.device.as_ref().filter(|device| charter.device(device).is_some()) else { continue };
        let message =
            |driver: &str| format!("region `{}` belongs to device `{}`, which {driver}", region.value, device.value);
        let here = format!("owned by task `{}`", task.name.value);
        let help = "the task with a device's `registers` owns its regions; grant others a `window`";
        match charter.driver(device) {
            Some((driver, _)) if driver.name.value == task.name.value => {}
            Some((driver, registers)) => {
                let span = registers.name.span;
                let message = message(&format!("task `{}` drives", driver.name.value));
                let problem = Problem::new(Kind::ForeignRegion, message, region.span, here);
                problems.add(problem.and(span, format!("task `{}` drives it", driver.name.value)).help(help));
            }
            None if charter.declared.unread_grants => {}
            None => {
                let problem = Problem::new(Kind::ForeignRegion, message("nobody drives"), region.span, here);
                problems.add(problem.and(device.span, "no task has its registers").help(help));
            }
        }
    }
}
