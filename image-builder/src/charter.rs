//! The charter as a typed model: what `system.toml` says, once it is known to be well formed.
//!
//! Values are of types that cannot hold a wrong one ([`values`]); every one of them knows where it was written, so that
//! later checks can point at it. References are still names: [`mod@crate::check`] resolves them.

pub mod duration;
pub mod partition;
pub mod values;

use abi::package::{self, Commands, InspectTopic, PowerAction, RemappingPolicy};
use abi::supervision::GiveUp;
use duration::Duration;
use partition::{Partition, Share};
use values::{
    Access, Bar, Broker, Class, Name, Namespace, Offset, PciAddress, Priority, ProgramName, SettingName, Size,
    SystemVersion, Vector,
};

/// A range of bytes in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> std::ops::Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A whole charter.
#[derive(Clone, Debug)]
pub struct Charter {
    /// The system's name.
    pub name: Name,
    /// The system's own version.
    pub version: SystemVersion,
    /// PCI functions that may be granted, in the manifest's order.
    pub devices: Vec<Device>,
    /// DMA regions.
    pub regions: Vec<Region>,
    /// Tasks.
    pub tasks: Vec<Task>,
    /// What it may take.
    pub budgets: Budgets,
    /// Every name that the manifest declares, also of items that were too malformed for the model: a reference to one
    /// of those is not unknown.
    pub declared: Declared,
}

/// Most bytes that things may take; no limit where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// Programs, stacks and regions together.
    pub memory: Option<Located<u64>>,
    /// The EFI file.
    pub image: Option<Located<u64>>,
    /// Program and stack of a task.
    pub tasks: Vec<(Located<Name>, Located<u64>)>,
}

/// Names that the manifest declares.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Names of devices.
    pub devices: Vec<String>,
    /// Names of regions.
    pub regions: Vec<String>,
    /// Names of tasks.
    pub tasks: Vec<String>,
    /// Whether a grant somewhere is too malformed for the model, so that what nobody seems to hold may be held.
    pub unread_grants: bool,
}

impl Charter {
    /// The device of this name, and its place in [`Self::devices`].
    pub fn device(&self, name: &Name) -> Option<(usize, &Device)> {
        self.devices.iter().enumerate().find(|(_, device)| device.name.value == *name)
    }

    /// The region of this name.
    pub fn region(&self, name: &Name) -> Option<(usize, &Region)> {
        self.regions.iter().enumerate().find(|(_, region)| region.name.value == *name)
    }

    /// The task of this name.
    pub fn task(&self, name: &Name) -> Option<(usize, &Task)> {
        self.tasks.iter().enumerate().find(|(_, task)| task.name.value == *name)
    }

    /// Every grant of every task, with its task, in the manifest's order.
    pub fn grants(&self) -> impl Iterator<Item = (&Task, &Grant)> {
        self.tasks.iter().flat_map(|task| task.grants.iter().map(move |grant| (task, grant)))
    }

    /// The task that receives on this endpoint, and the grant that says so.
    pub fn receiver(&self, endpoint: &Name) -> Option<(&Task, &Grant)> {
        self.grants()
            .find(|(_, grant)| matches!(&grant.kind, GrantKind::Receive { endpoint: own } if own.value == *endpoint))
    }

    /// How the commands of this device reach it, and whether an IOMMU is to be there, in words.
    pub fn lane(&self, device: &Device) -> String {
        let limits = self.driver(&device.name).and_then(|(_, grant)| match &grant.kind {
            GrantKind::Registers { limits, .. } => limits.as_ref(),
            _ => None,
        });
        let is_whole = limits.is_some_and(|limits| limits.iter().any(|own| own.packed().is_whole_device()));
        let lane = match device.broker {
            None => "unchecked",
            Some(broker) if broker.value == Broker::None => "direct where an IOMMU is verified, else none",
            Some(_) if is_whole && device.remapping != RemappingPolicy::Forbid => {
                "brokered, direct where an IOMMU is verified"
            }
            Some(_) => "brokered",
        };
        match device.remapping {
            RemappingPolicy::Allow => lane.into(),
            policy => format!("{lane}, remapping {}", policy.name()),
        }
    }

    /// The task that holds this device's registers, and the grant that says so.
    pub fn driver(&self, device: &Name) -> Option<(&Task, &Grant)> {
        self.grants()
            .find(|(_, grant)| matches!(&grant.kind, GrantKind::Registers { device: own, .. } if own.value == *device))
    }
}

/// A PCI function that may be granted.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub name: Located<Name>,
    /// Class, subclass and programming interface.
    pub class: Option<Located<Class>>,
    /// Vendor identifier.
    pub vendor: Option<Located<u16>>,
    /// Device identifier.
    pub device: Option<Located<u16>>,
    /// Where the function is.
    pub address: Option<Located<PciAddress>>,
    /// Whether all that selects it was well formed.
    pub selector_is_read: bool,
    /// Which broker checks its commands.
    pub broker: Option<Located<Broker>>,
    /// Whether `broker` was written, well formed or not.
    pub broker_is_named: bool,
    /// Whether an IOMMU is to be between it and memory.
    pub remapping: RemappingPolicy,
}

impl Device {
    /// What is granted of it where its driver's grant says nothing of limits.
    pub fn unsaid(&self) -> Limit {
        match &self.broker {
            // Nobody reads its commands, so nothing less can be granted.
            Some(broker) if broker.value == Broker::None => Limit::whole(self.name.span),
            _ => Limit::unsaid(self.name.span),
        }
    }
}

impl Region {
    /// Whether it is memory of this device.
    pub fn is_of(&self, device: &Name) -> bool {
        self.device.as_ref().is_some_and(|own| own.value == *device)
    }
}

/// Memory that a device can be told to read or write.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name.
    pub name: Located<Name>,
    /// The device; `None` if it was malformed, as in the following.
    pub device: Option<Located<Name>>,
    /// Its size.
    pub size: Option<Located<Size>>,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name.
    pub name: Located<Name>,
    /// Its program's file name; `None` if it was malformed, as in the following.
    pub program: Option<Located<ProgramName>>,
    /// Its priority.
    pub priority: Option<Located<Priority>>,
    /// Size of its stack; where nothing is said of it, the place is the task's name.
    pub stack: Located<Size>,
    /// Whether `boot complete` waits for it.
    pub required: bool,
    /// Text that it finds at its start, by key.
    pub settings: Vec<(Located<SettingName>, String)>,
    /// What it may use.
    pub grants: Vec<Grant>,
    /// Names of all its grants, also of those too malformed for the model.
    pub declared_grants: Vec<String>,
    /// Whether its grants are something else than a table, so that not even their names are known.
    pub unread_grants: bool,
}

/// One grant of a task.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The name by which the task asks for it.
    pub name: Located<Name>,
    /// What is granted.
    pub kind: GrantKind,
}

/// What is granted.
#[derive(Clone, Debug)]
pub enum GrantKind {
    /// Calls an endpoint.
    Call {
        /// Which.
        endpoint: Located<Name>,
        /// The disk that it is granted there, if its server is a block server.
        disk: Option<Disk>,
        /// Whether it may shut its server down, and with it all storage.
        shutdown: bool,
    },
    /// Receives on an endpoint, which this grant makes.
    Receive {
        /// Its name.
        endpoint: Located<Name>,
    },
    /// Sets a notification bit of another task.
    Signal {
        /// Which task.
        task: Located<Name>,
    },
    /// Uses a device's registers and queues.
    Registers {
        /// Which device.
        device: Located<Name>,
        /// Which base address register.
        bar: Bar,
        /// What the device may be used for; `None` if the charter does not say.
        limits: Option<Vec<Limit>>,
    },
    /// Is told of a device's interrupt.
    Interrupt {
        /// Which device.
        device: Located<Name>,
        /// Which entry of its MSI-X table.
        vector: Located<Vector>,
    },
    /// Asks what a device is.
    Information {
        /// Which device.
        device: Located<Name>,
    },
    /// Owns a DMA region.
    Dma {
        /// Which region.
        region: Located<Name>,
    },
    /// Uses a part of a region that another task owns.
    Window {
        /// Which region.
        region: Located<Name>,
        /// Where it begins in the region.
        offset: Located<Offset>,
        /// Its size.
        size: Located<Size>,
        /// In which direction.
        access: Access,
    },
    /// Writes to the log.
    Log {
        /// Under which component name.
        component: Located<Name>,
    },
    /// Reads what the machine tells of itself.
    Evidence,
    /// Reads what is typed on the serial port and writes text there.
    Console,
    /// Asks the kernel about the system.
    Inspect {
        /// About what.
        topic: InspectTopic,
    },
    /// Switches the machine off or resets it.
    Power {
        /// Which of the two.
        action: PowerAction,
    },
    /// Watches over a task and restarts it.
    Supervise {
        /// Which task.
        task: Located<Name>,
        /// When to restart it.
        restart: RestartPolicy,
        /// How often it must say that it is alive; `None` if it need not.
        heartbeat: Option<Duration>,
    },
    /// Stops a task.
    Kill {
        /// Which task.
        task: Located<Name>,
    },
}

/// When a task is restarted; see [`abi::supervision::Restart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Most restarts within the time; 0 for never.
    pub limit: u8,
    /// The time.
    pub within: Duration,
    /// How long the second restart within the time waits.
    pub back_off: Duration,
    /// What happens when the limit is reached.
    pub give_up: GiveUp,
}

impl RestartPolicy {
    /// Where the charter says nothing else.
    pub const DEFAULT: Self = Self {
        limit: 5,
        within: Duration::milliseconds(60_000),
        back_off: Duration::milliseconds(100),
        give_up: GiveUp::Degrade,
    };
}

impl std::fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, within, back_off, give_up } = self;
        match limit {
            0 => write!(f, "never restarts, {}", give_up.name()),
            _ => write!(f, "{limit} restarts in {within}, back-off {back_off}, then {}", give_up.name()),
        }
    }
}

impl GrantKind {
    /// The kind, as a need names it.
    pub fn kind(&self) -> abi::needs::Kind {
        use abi::needs::Kind;
        match self {
            Self::Call { .. } => Kind::Call,
            Self::Receive { .. } => Kind::Receive,
            Self::Signal { .. } => Kind::Signal,
            Self::Registers { .. } => Kind::Registers,
            Self::Interrupt { .. } => Kind::Interrupt,
            Self::Information { .. } => Kind::DeviceInformation,
            Self::Dma { .. } => Kind::Dma,
            Self::Window { .. } => Kind::Window,
            Self::Log { .. } => Kind::Log,
            Self::Evidence => Kind::Evidence,
            Self::Console => Kind::Console,
            Self::Inspect { .. } => Kind::Inspect,
            Self::Power { .. } => Kind::Power,
            Self::Supervise { .. } => Kind::Supervise,
            Self::Kill { .. } => Kind::Kill,
        }
    }
}

/// A range of logical blocks and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// First logical block.
    pub first: u64,
    /// How many, `None` up to the end. First block and number together never exceed 2^64.
    pub count: Option<u64>,
    /// In which direction.
    pub access: Access,
}

impl Blocks {
    /// Every block, only to be read: what is granted where the charter does not say otherwise.
    pub const WHOLE_READ_ONLY: Self = Self { first: 0, count: None, access: Access::ReadOnly };

    /// Whether it is every block.
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.count.is_none()
    }

    /// Whether some block is one of both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |of: &Self| of.count.map_or(u64::MAX, |count| of.first.saturating_add(count));
        self.first < end(other) && other.first < end(self)
    }

    /// Whether every use that `other` allows is one that this allows.
    pub fn covers(&self, other: &Self) -> bool {
        let end_is_covered = match (self.count, other.count) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => other.first.saturating_add(others) <= self.first.saturating_add(own),
        };
        other.first >= self.first && end_is_covered && self.access >= other.access
    }
}

/// What a device may be used for.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Which namespace; `None` for every one.
    pub namespace: Option<Namespace>,
    /// Which blocks.
    pub blocks: Blocks,
    /// Which commands.
    pub opcodes: Commands,
    /// Where that is written.
    pub span: Span,
}

impl Limit {
    /// All of a device, only to be read: what is granted where the charter says nothing of limits, which is at `span`.
    pub fn unsaid(span: Span) -> Self {
        Self { namespace: None, blocks: Blocks::WHOLE_READ_ONLY, opcodes: Commands::ALL, span }
    }

    /// All of a device, whatever can be done with it.
    pub fn whole(span: Span) -> Self {
        let blocks = Blocks { access: Access::ReadWrite, ..Blocks::WHOLE_READ_ONLY };
        Self { blocks, ..Self::unsaid(span) }
    }

    /// As the kernel takes it.
    pub fn packed(&self) -> package::Limit {
        package::Limit {
            namespace: self.namespace.map(Namespace::get),
            first_block: self.blocks.first,
            blocks: self.blocks.count,
            writable: self.blocks.access.is_writable(),
            commands: self.opcodes,
        }
    }

    /// Whether every use that `other` allows is one that this allows.
    pub fn covers(&self, other: &Self) -> bool {
        let is_of_namespace = self.namespace.is_none_or(|own| Some(own) == other.namespace);
        is_of_namespace && self.blocks.covers(&other.blocks) && self.opcodes.covers(other.packed().allowed())
    }
}

/// The disk that a `call` grant gives a client at its block server.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Which namespace.
    pub namespace: Located<Namespace>,
    /// Which blocks; all of them, where it is a partition.
    pub blocks: Blocks,
    /// Which partition, if it is one.
    pub partition: Option<Located<Partition>>,
    /// The name of the client's own window grant that data passes through; `None` for a client that copies through its
    /// server.
    pub window: Option<Located<Name>>,
    /// Most requests at the server at a time.
    pub share: Share,
}

impl Disk {
    /// Whether some block is one of both, as far as the charter tells: two partitions, or a partition and a range, may
    /// overlap or not.
    pub fn surely_overlaps(&self, other: &Self) -> bool {
        let same = match (&self.partition, &other.partition) {
            (Some(own), Some(others)) => own.value == others.value,
            (Some(_), None) => other.blocks.is_whole(),
            (None, Some(_)) => self.blocks.is_whole(),
            (None, None) => self.blocks.overlaps(&other.blocks),
        };
        self.namespace.value == other.namespace.value && same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_what_is_inside_and_no_more() {
        let blocks = |first, count, access| Blocks { first, count, access };
        let limit = blocks(10, Some(100), Access::ReadOnly);
        assert!(limit.covers(&blocks(10, Some(100), Access::ReadOnly)));
        assert!(limit.covers(&blocks(109, Some(1), Access::ReadOnly)));
        assert!(!limit.covers(&blocks(109, Some(2), Access::ReadOnly)));
        assert!(!limit.covers(&blocks(9, Some(1), Access::ReadOnly)));
        assert!(!limit.covers(&blocks(10, None, Access::ReadOnly)));
        assert!(!limit.covers(&blocks(10, Some(1), Access::ReadWrite)));
        let rest = blocks(10, None, Access::ReadWrite);
        assert!(rest.covers(&blocks(u64::MAX, Some(1), Access::ReadOnly)) && rest.covers(&rest));
        assert!(!blocks(0, Some(u64::MAX), Access::ReadWrite).covers(&rest));
    }
}
