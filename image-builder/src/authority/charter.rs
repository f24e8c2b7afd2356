//! The rights that a charter gives.

use super::{Authority, Device, Holder, Range, Right, policy, remapping, selector, uses};
use crate::charter::values::Name;
use crate::charter::{Blocks, Charter, Grant, GrantKind, Limit, Task};

impl From<&Charter> for Authority {
    fn from(charter: &Charter) -> Self {
        let holder = |task: &Task| {
            let mut rights = Vec::new();
            rights.extend(task.priority.map(|priority| Right::Priority { priority: priority.get() }));
            task.grants.iter().for_each(|grant| add(charter, task, grant, &mut rights));
            Holder { task: task.name.value.to_string(), rights }
        };
        Self {
            system: charter.name.to_string(),
            system_version: charter.version.get(),
            tasks: charter.tasks.iter().map(holder).collect(),
        }
    }
}

fn add(charter: &Charter, task: &Task, grant: &Grant, rights: &mut Vec<Right>) {
    match &grant.kind {
        GrantKind::Call { endpoint: name, disk, shutdown } => {
            let endpoint = match charter.receiver(name) {
                Some((server, receive)) => endpoint(&server.name.value, &receive.name.value),
                None => name.value.to_string(),
            };
            if let Some(disk) = disk {
                let (namespace, range) = (disk.namespace.get(), range(&disk.blocks));
                let partition = disk.partition.as_ref().map(|partition| partition.value.to_string());
                rights.push(Right::Disk { endpoint: endpoint.clone(), namespace, partition, range });
            }
            if *shutdown {
                rights.push(Right::ShutDown { endpoint: endpoint.clone() });
            }
            rights.push(Right::Call { endpoint });
        }
        GrantKind::Receive { .. } => {
            rights.push(Right::Receive { endpoint: endpoint(&task.name.value, &grant.name.value) });
        }
        GrantKind::Signal { task } => rights.push(Right::Signal { task: task.value.to_string() }),
        GrantKind::Registers { device: name, bar, limits } => {
            let own = charter.device(name).map(|(_, device)| device);
            let policy = own.map(|device| device.remapping).unwrap_or_default();
            let remapping = remapping(policy);
            rights.push(Right::Registers { device: device(charter, name), bar: bar.get(), remapping });
            let unsaid = [own.map_or_else(|| Limit::unsaid(name.span), crate::charter::Device::unsaid)];
            let limits = limits.as_deref().unwrap_or(&unsaid);
            rights.extend(uses(name.value.as_str(), policy, limits.iter().map(Limit::packed)));
        }
        GrantKind::Interrupt { device: name, vector } => {
            rights.push(Right::Interrupt { device: device(charter, name), vector: vector.get() });
        }
        GrantKind::Information { device: name } => rights.push(Right::Information { device: device(charter, name) }),
        GrantKind::Dma { region } => {
            let end = charter.region(region).and_then(|(_, region)| region.size).map_or(0, |size| size.bytes());
            rights.push(Right::Dma { region: region.value.to_string() });
            rights.push(Right::Memory { region: region.value.to_string(), start: 0, end, writable: true });
        }
        GrantKind::Window { region, offset, size, access } => rights.push(Right::Memory {
            region: region.value.to_string(),
            start: offset.bytes(),
            end: offset.bytes() + size.bytes(),
            writable: access.is_writable(),
        }),
        GrantKind::Evidence => rights.push(Right::Evidence),
        GrantKind::Console => rights.push(Right::Console),
        GrantKind::Inspect { topic } => rights.push(Right::Inspect { topic: topic.name() }),
        GrantKind::Power { action } => rights.push(Right::Power { action: action.name() }),
        GrantKind::Supervise { task, restart, heartbeat } => {
            rights.push(Right::Supervise { task: task.value.to_string(), policy: policy(*restart, *heartbeat) });
        }
        GrantKind::Kill { task } => rights.push(Right::Kill { task: task.value.to_string() }),
        GrantKind::Log { component } => rights.push(Right::Log { component: component.value.to_string() }),
    }
}

fn endpoint(server: &Name, receive: &Name) -> String {
    format!("{server}.{receive}")
}

fn range(blocks: &Blocks) -> Range {
    Range { first_block: blocks.first, blocks: blocks.count, writable: blocks.access.is_writable() }
}

fn device(charter: &Charter, name: &Name) -> Device {
    let selector = charter.device(name).map_or_else(String::new, |(_, device)| {
        selector(
            device.class.map(|class| (class.value.0, class.value.1, class.value.2)),
            device.vendor.map(|vendor| vendor.value),
            device.device.map(|device| device.value),
            device.address.map(|address| address.value.get()),
        )
    });
    Device { name: name.to_string(), selector }
}
