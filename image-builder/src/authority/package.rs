//! The rights that a boot package gives: what the kernel will enforce.

use abi::package::{Capability, Package, Task};
use abi::start::{Granted, StartInfo};
use protocol::block::{ClientGrant, Extent};

use crate::charter::RestartPolicy;
use crate::charter::duration::Duration;
use crate::charter::partition::Partition;

use super::{Authority, Device, Holder, Range, Right, policy, remapping, selector, uses};

/// A task's part of the package is inconsistent: it was not made by this image builder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` of the boot package: {what}")]
pub struct Inconsistent {
    task: String,
    what: &'static str,
}

/// A task and what it is told at its start.
type Started<'a> = (Task<'a>, StartInfo<'a>);

impl TryFrom<&Package<'_>> for Authority {
    type Error = Inconsistent;

    fn try_from(package: &Package<'_>) -> Result<Self, Inconsistent> {
        let started = package.tasks().map(|task| match postcard::from_bytes(task.start_info) {
            Ok(start) => Ok((task, start)),
            Err(_) => Err(Inconsistent { task: task.name.into(), what: "its start information" }),
        });
        let tasks: Vec<Started<'_>> = started.collect::<Result<_, _>>()?;
        let holder = |(task, start): &Started<'_>| {
            let mut rights = vec![Right::Priority { priority: task.priority }];
            for grant in &start.grants {
                let inconsistent = || Inconsistent { task: task.name.into(), what: "a grant without a capability" };
                add(package, &tasks, (task, grant.name, &grant.granted), &mut rights).ok_or_else(inconsistent)?;
            }
            // What the kernel lets it do and its start information does not name would be hidden authority.
            let named = handles(start);
            if task.capabilities.len() > named || task.windows.len() > start.grants.len() - named {
                return Err(Inconsistent { task: task.name.into(), what: "more than its grants" });
            }
            Ok(Holder { task: task.name.into(), rights })
        };
        let holders = tasks.iter().map(holder).collect::<Result<_, _>>()?;
        let contents = package.contents();
        Ok(Self { system: contents.name.into(), system_version: contents.system_version, tasks: holders })
    }
}

/// Grants that stand for a capability; the others are memory.
fn handles(start: &StartInfo<'_>) -> usize {
    let is_memory = |granted: &Granted| matches!(granted, Granted::Dma { .. } | Granted::Window { .. });
    start.grants.iter().filter(|grant| !is_memory(&grant.granted)).count()
}

/// Adds what one grant allows. `None` if the task's capabilities do not have it.
fn add(
    package: &Package<'_>,
    tasks: &[Started<'_>],
    (task, name, granted): (&Task<'_>, &str, &Granted),
    rights: &mut Vec<Right>,
) -> Option<()> {
    let capability = |handle: &u32| task.capabilities.get(usize::try_from(*handle).ok()?.checked_sub(1)?);
    match granted {
        Granted::Call { handle, .. } => {
            let Capability::Call { endpoint: number, badge } = capability(handle)? else { return None };
            let (endpoint, server) = endpoint(tasks, *number)?;
            let client = server.clients.iter().find(|client| client.badge == *badge)?;
            if !client.parameters.is_empty() {
                let grant: ClientGrant<'_> = postcard::from_bytes(client.parameters).ok()?;
                if let Some(disk) = grant.disk {
                    let (first_block, blocks, partition) = match disk.extent {
                        Extent::Blocks { first_block, blocks } => (first_block, blocks, None),
                        Extent::Partition(partition) => (0, None, Some(Partition::from(partition).to_string())),
                    };
                    let range = Range { first_block, blocks, writable: disk.writable };
                    rights.push(Right::Disk { endpoint: endpoint.clone(), namespace: disk.nsid, partition, range });
                }
                if grant.shutdown {
                    rights.push(Right::ShutDown { endpoint: endpoint.clone() });
                }
            }
            rights.push(Right::Call { endpoint });
        }
        Granted::Receive { handle } => {
            let Capability::Receive { .. } = capability(handle)? else { return None };
            rights.push(Right::Receive { endpoint: format!("{}.{name}", task.name) });
        }
        Granted::Signal { handle, .. } => {
            let Capability::Signal { task: target, .. } = capability(handle)? else { return None };
            rights.push(Right::Signal { task: tasks.get(usize::from(*target))?.0.name.into() });
        }
        Granted::Registers { handle } => {
            let Capability::Registers { device: number } = capability(handle)? else { return None };
            let own = package.devices().nth((*number).into())?;
            let remapping = remapping(own.remapping);
            rights.push(Right::Registers { device: device(package, *number)?, bar: own.bar, remapping });
            rights.extend(uses(own.name, own.remapping, own.limits.iter().copied()));
        }
        Granted::Interrupt { vector, bits } => {
            let own = task.capabilities.iter().find_map(|capability| match capability {
                Capability::Interrupt { device, vector: own, bits: told } if own == vector && told == bits => {
                    Some(*device)
                }
                _ => None,
            });
            rights.push(Right::Interrupt { device: device(package, own?)?, vector: *vector });
        }
        Granted::DeviceInformation { handle } => {
            let Capability::DeviceInformation { device: number } = capability(handle)? else { return None };
            rights.push(Right::Information { device: device(package, *number)? });
        }
        Granted::Dma { address, .. } => {
            let (region, memory) = memory(package, task, *address)?;
            rights.extend([Right::Dma { region }, memory]);
        }
        Granted::Window { address, .. } => rights.push(memory(package, task, *address)?.1),
        Granted::Evidence { .. } => {
            rights.push(task.capabilities.contains(&Capability::Evidence).then_some(Right::Evidence)?);
        }
        Granted::Console { handle, .. } => {
            rights.push(matches!(capability(handle)?, Capability::Console { .. }).then_some(Right::Console)?);
        }
        Granted::Inspect { handle } => {
            let Capability::Inspect { topic } = capability(handle)? else { return None };
            rights.push(Right::Inspect { topic: topic.name() });
        }
        Granted::Power { handle } => {
            let Capability::Power { action } = capability(handle)? else { return None };
            rights.push(Right::Power { action: action.name() });
        }
        Granted::Supervise { handle, task: told, restart, .. } => {
            let Capability::Supervise { task: watched, heartbeat, .. } = capability(handle)? else { return None };
            let heartbeat = (*heartbeat != 0).then_some(Duration::milliseconds(*heartbeat));
            let restart = RestartPolicy {
                limit: restart.limit,
                within: Duration::milliseconds(restart.within),
                back_off: Duration::milliseconds(restart.back_off),
                give_up: restart.give_up,
            };
            // It would watch over another one than it believes to.
            let watched = (told == watched).then(|| tasks.get(usize::from(*watched)))??;
            rights.push(Right::Supervise { task: watched.0.name.into(), policy: policy(restart, heartbeat) });
        }
        Granted::Kill { handle } => {
            let Capability::Kill { task: target } = capability(handle)? else { return None };
            rights.push(Right::Kill { task: tasks.get(usize::from(*target))?.0.name.into() });
        }
        Granted::Log { handle } => {
            let Capability::Log { name } = capability(handle)? else { return None };
            rights.push(Right::Log { component: (*task.log_names.get(usize::from(*name))?).into() });
        }
    }
    Some(())
}

/// An endpoint's name, and what its server is told at its start.
fn endpoint<'a>(tasks: &'a [Started<'a>], number: u16) -> Option<(String, &'a StartInfo<'a>)> {
    tasks.iter().find_map(|(task, start)| {
        let receives = |handle: u32| {
            let capability = task.capabilities.get((handle as usize).checked_sub(1)?)?;
            (*capability == Capability::Receive { endpoint: number }).then_some(())
        };
        let grant = start.grants.iter().find(|grant| match grant.granted {
            Granted::Receive { handle } => receives(handle).is_some(),
            _ => false,
        })?;
        Some((format!("{}.{}", task.name, grant.name), start))
    })
}

fn device(package: &Package<'_>, number: u16) -> Option<Device> {
    let device = package.devices().nth(number.into())?;
    let own = device.selector;
    Some(Device { name: device.name.into(), selector: selector(own.class, own.vendor, own.device, own.address) })
}

/// The region that is mapped at an address, and the right to what is mapped of it.
fn memory(package: &Package<'_>, task: &Task<'_>, address: u64) -> Option<(String, Right)> {
    let window = task.windows.iter().find(|window| window.address == address)?;
    let region = String::from(package.regions().nth(window.region.into())?.name);
    let (start, end) = (window.offset, window.offset + window.bytes);
    Some((region.clone(), Right::Memory { region, start, end, writable: window.writable }))
}
