//! What each task of a system may do, as a set of [`Right`]s: of a charter, or of a boot package.
//!
//! Rights are of a form that can be compared: one *covers* another one if it allows all that the other one allows. The
//! names of grants are left out, because renaming a grant gives nobody anything; the names of tasks, devices and
//! regions stay. Both sources give the same rights, so that an image can be held against the charter that is said to be
//! in it.

mod charter;
mod package;

pub use package::Inconsistent;

use std::fmt;

use abi::package::{Commands, Limit, RemappingPolicy};
use serde::Serialize;

use crate::charter::RestartPolicy;
use crate::charter::duration::Duration;
use crate::charter::values::Bytes;

/// What the tasks of a system may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// The system's name.
    pub system: String,
    /// The system's own version; 0 for none.
    pub system_version: u32,
    /// Every task, in the charter's order.
    pub tasks: Vec<Holder>,
}

/// A task and its rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The task's name.
    pub task: String,
    /// What it may do, in the charter's order.
    pub rights: Vec<Right>,
}

impl Authority {
    /// The rights of a task; none, if there is no such task.
    pub fn of(&self, task: &str) -> &[Right] {
        self.tasks.iter().find(|holder| holder.task == task).map_or(&[], |holder| &holder.rights)
    }
}

/// A range of logical blocks and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// First block.
    pub first_block: u64,
    /// How many; `None` up to the end.
    pub blocks: Option<u64>,
    /// Whether they may be written.
    pub writable: bool,
}

impl Range {
    fn covers(&self, other: &Self) -> bool {
        let reaches = match (self.blocks, other.blocks) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => {
                other.first_block.saturating_add(others) <= self.first_block.saturating_add(own)
            }
        };
        self.first_block <= other.first_block && reaches && (self.writable || !other.writable)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first_block, self.blocks) {
            (0, None) => f.write_str("all blocks")?,
            (first, None) => write!(f, "blocks from {first}")?,
            (first, Some(blocks)) => write!(f, "blocks {first} to {}", first.saturating_add(blocks - 1))?,
        }
        f.write_str(access(self.writable))
    }
}

/// The commands of a limit, if they are not all that its access allows.
fn opcodes(limit: &Limit) -> Option<Vec<&'static str>> {
    let everything = Limit { commands: Commands::ALL, ..*limit };
    let listed = || limit.allowed().iter().map(|command| command.name()).collect();
    (limit.allowed() != everything.allowed()).then(listed)
}

fn access(writable: bool) -> &'static str {
    if writable { ", read-write" } else { ", read-only" }
}

/// Something that a task may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "right", rename_all = "kebab-case")]
pub enum Right {
    /// Runs before tasks of lower priority.
    Priority {
        /// Its priority.
        priority: u8,
    },
    /// Calls a server.
    Call {
        /// The server's endpoint: its task, a point, and the name of its grant.
        endpoint: String,
    },
    /// Uses a disk at a block server.
    Disk {
        /// The server's endpoint.
        endpoint: String,
        /// Which namespace.
        namespace: u32,
        /// Which partition of it; `None` for blocks.
        #[serde(skip_serializing_if = "Option::is_none")]
        partition: Option<String>,
        /// Which blocks of it.
        #[serde(flatten)]
        range: Range,
    },
    /// Shuts its server down, and with it all storage.
    ShutDown {
        /// The server's endpoint.
        endpoint: String,
    },
    /// Is called.
    Receive {
        /// Its endpoint.
        endpoint: String,
    },
    /// Wakes a task.
    Signal {
        /// Which.
        task: String,
    },
    /// Drives a device.
    Registers {
        /// Which, and how it is selected.
        #[serde(flatten)]
        device: Device,
        /// Which base address register.
        bar: u8,
        /// What the charter says of an IOMMU; `None` if it is used where it holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        remapping: Option<&'static str>,
    },
    /// Has a device's registers and queues to itself where an IOMMU was verified: the grant is the whole device.
    Direct {
        /// The device's name.
        device: String,
    },
    /// Uses blocks of the device that it drives.
    Use {
        /// The device's name.
        device: String,
        /// Which namespace; `None` for every one.
        namespace: Option<u32>,
        /// Which blocks.
        #[serde(flatten)]
        range: Range,
        /// Which commands; `None` for all that the access allows.
        #[serde(skip_serializing_if = "Option::is_none")]
        opcodes: Option<Vec<&'static str>>,
    },
    /// Is told of an interrupt.
    Interrupt {
        /// Of which device.
        #[serde(flatten)]
        device: Device,
        /// Which entry of its MSI-X table.
        vector: u16,
    },
    /// Asks what a device is.
    Information {
        /// Which.
        #[serde(flatten)]
        device: Device,
    },
    /// Gives a device memory of a region.
    Dma {
        /// Which region.
        region: String,
    },
    /// Reads, or reads and writes, a part of a region.
    Memory {
        /// Which region.
        region: String,
        /// First byte.
        start: u64,
        /// First byte after it.
        end: u64,
        /// Whether it may be written.
        writable: bool,
    },
    /// Writes to the log.
    Log {
        /// Under which name.
        component: String,
    },
    /// Reads what the machine tells of itself.
    Evidence,
    /// Reads what is typed on the serial port and writes text there.
    Console,
    /// Asks the kernel about the system.
    Inspect {
        /// About what.
        topic: &'static str,
    },
    /// Switches the machine off or resets it.
    Power {
        /// Which of the two.
        action: &'static str,
    },
    /// Watches over a task and restarts it.
    Supervise {
        /// Which task.
        task: String,
        /// When, and how often it must be heard.
        policy: String,
    },
    /// Stops a task.
    Kill {
        /// Which task.
        task: String,
    },
}

/// A device: its name, and which function it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its name.
    #[serde(rename = "device")]
    pub name: String,
    /// What must match.
    pub selector: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.selector)
    }
}

impl Right {
    /// Whether this allows all that the other one allows.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Priority { priority: own }, Self::Priority { priority: other }) => own >= other,
            (
                Self::Disk { endpoint: own, namespace, partition, range },
                Self::Disk { endpoint: others, namespace: other, partition: part, range: narrower },
            ) => {
                // All of a namespace covers each of its partitions.
                let is_whole = partition.is_none() && (range.first_block, range.blocks) == (0, None);
                own == others && namespace == other && (partition == part || is_whole) && range.covers(narrower)
            }
            (
                Self::Use { device: own, namespace, range, opcodes },
                Self::Use { device: others, namespace: other, range: narrower, opcodes: fewer },
            ) => {
                let lists = match (opcodes, fewer) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(own), Some(others)) => others.iter().all(|opcode| own.contains(opcode)),
                };
                own == others && (namespace.is_none() || namespace == other) && range.covers(narrower) && lists
            }
            (
                Self::Memory { region: own, start, end, writable },
                Self::Memory { region: others, start: first, end: last, writable: written },
            ) => own == others && start <= first && last <= end && (*writable || !written),
            (own, other) => own == other,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Priority { priority } => write!(f, "runs at priority {priority}"),
            Self::Call { endpoint } => write!(f, "calls `{endpoint}`"),
            Self::Disk { endpoint, namespace, partition: None, range } => {
                write!(f, "disk at `{endpoint}`: namespace {namespace}, {range}")
            }
            Self::Disk { endpoint, namespace, partition: Some(partition), range } => {
                write!(f, "disk at `{endpoint}`: namespace {namespace}, {partition}{}", access(range.writable))
            }
            Self::ShutDown { endpoint } => write!(f, "shuts down `{endpoint}`, and all storage with it"),
            Self::Receive { endpoint } => write!(f, "is called as `{endpoint}`"),
            Self::Signal { task } => write!(f, "wakes task `{task}`"),
            Self::Registers { device, bar, remapping: None } => write!(f, "drives device {device}, BAR {bar}"),
            Self::Registers { device, bar, remapping: Some(policy) } => {
                write!(f, "drives device {device}, BAR {bar}, remapping {policy}")
            }
            Self::Direct { device } => {
                write!(f, "drives device `{device}` directly where an IOMMU is verified: its own queues, every command")
            }
            Self::Use { device, namespace, range, opcodes } => {
                write!(f, "device `{device}`: ")?;
                match namespace {
                    None => f.write_str("every namespace")?,
                    Some(namespace) => write!(f, "namespace {namespace}")?,
                }
                write!(f, ", {range}")?;
                match opcodes {
                    None => Ok(()),
                    Some(opcodes) => write!(f, ", nothing but {}", opcodes.join(", ")),
                }
            }
            Self::Interrupt { device, vector } => write!(f, "interrupt {vector} of device {device}"),
            Self::Information { device } => write!(f, "asks what device {device} is"),
            Self::Dma { region } => write!(f, "gives its device memory of region `{region}`"),
            Self::Memory { region, start, end, writable } => {
                write!(f, "memory of region `{region}`, {} to {}{}", Bytes(*start), Bytes(*end), access(*writable))
            }
            Self::Log { component } => write!(f, "writes to the log as `{component}`"),
            Self::Evidence => f.write_str("reads what the machine tells of itself"),
            Self::Console => f.write_str("reads what is typed on the serial port, and writes text there"),
            Self::Inspect { topic: "log" } => f.write_str("asks the kernel what the log said"),
            Self::Inspect { topic } => write!(f, "asks the kernel about all {topic}"),
            Self::Power { action: "off" } => f.write_str("switches the machine off"),
            Self::Power { .. } => f.write_str("resets the machine"),
            Self::Supervise { task, policy } => write!(f, "watches over task `{task}`: {policy}"),
            Self::Kill { task } => write!(f, "stops task `{task}`"),
        }
    }
}

/// What is said of an IOMMU, if it is not the usual.
fn remapping(policy: RemappingPolicy) -> Option<&'static str> {
    (policy != RemappingPolicy::default()).then(|| policy.name())
}

/// What a driver may do with its device, whatever it asks; also that it drives it directly, if that is all of it, in both
/// directions, and it may be behind an IOMMU.
fn uses(device: &str, policy: RemappingPolicy, limits: impl Iterator<Item = Limit> + Clone) -> Vec<Right> {
    let is_direct = limits.clone().any(|limit| limit.is_whole_device()) && policy != RemappingPolicy::Forbid;
    let direct = is_direct.then(|| Right::Direct { device: device.into() });
    let uses = limits.map(|limit| Right::Use {
        device: device.into(),
        namespace: limit.namespace,
        range: Range { first_block: limit.first_block, blocks: limit.blocks, writable: limit.writable },
        opcodes: opcodes(&limit),
    });
    direct.into_iter().chain(uses).collect()
}

/// A supervisor's policy, as text.
fn policy(restart: RestartPolicy, heartbeat: Option<Duration>) -> String {
    match heartbeat {
        Some(heartbeat) => format!("{restart}; heartbeat {heartbeat}"),
        None => restart.to_string(),
    }
}

/// How a device is selected, as text.
fn selector(
    class: Option<(u8, u8, u8)>,
    vendor: Option<u16>,
    device: Option<u16>,
    address: Option<abi::system_call::PciAddress>,
) -> String {
    let mut parts = Vec::new();
    parts.extend(address.map(|address| format!("pci {address}")));
    parts.extend(class.map(|(class, subclass, interface)| format!("class {class:02x}/{subclass:02x}/{interface:02x}")));
    parts.extend(vendor.map(|vendor| format!("vendor {vendor:#06x}")));
    parts.extend(device.map(|device| format!("device {device:#06x}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(start: u64, end: u64, writable: bool) -> Right {
        Right::Memory { region: "data".into(), start, end, writable }
    }

    #[test]
    fn a_wider_right_covers_a_narrower_one_and_not_the_other_way() {
        assert!(memory(0, 10, true).covers(&memory(2, 10, false)));
        assert!(!memory(2, 10, true).covers(&memory(0, 10, true)));
        assert!(!memory(0, 10, false).covers(&memory(0, 10, true)));
        assert!(Right::Priority { priority: 5 }.covers(&Right::Priority { priority: 4 }));
        assert!(!Right::Priority { priority: 4 }.covers(&Right::Priority { priority: 5 }));
        let range = |first_block, blocks| Range { first_block, blocks, writable: false };
        let disk = |range| Right::Disk { endpoint: "block.requests".into(), namespace: 1, partition: None, range };
        assert!(disk(range(0, None)).covers(&disk(range(5, Some(5)))));
        assert!(!disk(range(5, Some(5))).covers(&disk(range(5, None))));
        assert!(!disk(range(5, Some(5))).covers(&disk(range(5, Some(6)))));
        assert!(!Right::Log { component: "a".into() }.covers(&Right::Log { component: "b".into() }));
    }

    #[test]
    fn commands_that_are_listed_are_shown_and_are_less_than_all() {
        use abi::package::Command;
        let right = |commands: &[Command], writable| {
            let limit = Limit { commands: commands.iter().copied().collect(), writable, ..Limit::WHOLE_DEVICE };
            uses("disk", RemappingPolicy::Allow, [limit].into_iter())
        };
        let all = right(Command::ALL, true);
        let [direct, all] = &all[..] else { panic!("{all:?}") };
        assert_eq!(direct, &Right::Direct { device: "disk".into() });
        let some = right(&[Command::Flush, Command::Write, Command::Read], true);
        let [some] = &some[..] else { panic!("not the whole device: {some:?}") };
        let fewer = &right(&[Command::Read], false)[0];
        assert!(all.covers(some) && some.covers(fewer) && !fewer.covers(some) && !some.covers(all));
        let shown = "device `disk`: every namespace, all blocks, read-write";
        assert_eq!(all.to_string(), shown);
        assert_eq!(some.to_string(), format!("{shown}, nothing but flush, write, read"));
        // What a grant to read leaves out is not said twice.
        let reading = [Command::Flush, Command::Read, Command::Compare, Command::Verify];
        assert!(matches!(right(&reading, false)[0], Right::Use { opcodes: None, .. }));
    }
}
