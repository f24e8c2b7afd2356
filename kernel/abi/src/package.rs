//! The boot package: the checked charter as the kernel reads it.
//!
//! A [`Header`] of fixed size, then a postcard stream: one [`Contents`], then its devices, regions and tasks one after
//! the other, so that a reader without a heap holds one at a time. [`Package::open`] checks the whole package once;
//! what it hands out afterwards refers to nothing that does not exist.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::layout;
use crate::named::named;
use crate::system_call::PciAddress;
pub use commands::{Command, Commands};

/// First bytes of a boot package.
pub const MAGIC: [u8; 8] = *b"CHARTER\0";
/// Version of the package's form.
pub const VERSION: u32 = 5;
/// Bytes before the postcard stream: magic, version (u32), length of the stream (u32), CRC-32 of the stream (u32), all
/// little-endian, and four zeroes.
pub const HEADER_BYTES: usize = 24;

/// Most tasks.
pub const TASKS_MAX: usize = 64;
/// Most endpoints.
pub const ENDPOINTS_MAX: usize = 64;
/// Most devices.
pub const DEVICES_MAX: usize = 8;
/// Most DMA regions.
pub const REGIONS_MAX: usize = 16;
/// Most DMA regions that one device may be given addresses in.
pub const DEVICE_REGIONS_MAX: usize = 4;
/// Most MSI-X vectors granted of one device.
pub const DEVICE_VECTORS_MAX: usize = 8;
/// Most limits of one device grant.
pub const LIMITS_MAX: usize = 8;
/// Most capabilities of one task; handles are 1 to this.
pub const CAPABILITIES_MAX: usize = 32;
/// Most loadable segments of one program.
pub const SEGMENTS_MAX: usize = 8;
/// Most windows mapped into one task.
pub const WINDOWS_MAX: usize = 8;
/// Most component names under which one task may write to the log.
pub const LOG_NAMES_MAX: usize = 4;
/// Highest priority; 0 is the lowest.
pub const PRIORITY_MAX: u8 = 63;
/// Longest name of a task, device, region or log component, in bytes.
pub const NAME_BYTES_MAX: usize = 28;

/// How many of each the package holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents<'a> {
    /// The system's name in the charter.
    pub name: &'a str,
    /// The system's own version in the charter: a later one is larger. 0, if none was given.
    pub system_version: u32,
    /// Number of endpoints.
    pub endpoints: u16,
    /// Number of [`Device`]s.
    pub devices: u16,
    /// Number of [`Region`]s.
    pub regions: u16,
    /// Number of [`Task`]s.
    pub tasks: u16,
    /// SHA-256 of the file of symbols that the image builder made with the package. The kernel has no use for it.
    pub symbols: [u8; 32],
}

/// Which PCI function a device is: every part that is given must match. The lowest address that matches and that no
/// earlier device of the package took is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Class, subclass, programming interface.
    pub class: Option<(u8, u8, u8)>,
    /// Vendor identifier.
    pub vendor: Option<u16>,
    /// Device identifier.
    pub device: Option<u16>,
    /// Where it is.
    pub address: Option<PciAddress>,
}

/// Which broker checks a device's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerKind {
    /// `drivers/nvme/broker`.
    Nvme,
    /// None: the device is used behind an IOMMU only, and its driver has its registers.
    None,
}

/// A range of a namespace that a device grant allows, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Namespace identifier; `None` for every namespace.
    pub namespace: Option<u32>,
    /// First logical block.
    pub first_block: u64,
    /// Number of logical blocks; `None` up to the end.
    pub blocks: Option<u64>,
    /// Whether the range may also be written.
    pub writable: bool,
    /// Which commands are allowed on it, never none; of those that change blocks also `writable` must be said.
    pub commands: Commands,
}

impl Limit {
    /// No limit: every namespace, from the first block to the last, in both directions, with every command.
    pub const WHOLE_DEVICE: Self =
        Self { namespace: None, first_block: 0, blocks: None, writable: true, commands: Commands::ALL };

    /// Whether it is no limit.
    pub const fn is_whole_device(&self) -> bool {
        self.namespace.is_none()
            && self.first_block == 0
            && self.blocks.is_none()
            && self.writable
            && self.commands.covers(Commands::ALL)
    }
}

/// What the charter says of remapping: an IOMMU between a device and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemappingPolicy {
    /// It is used where it holds.
    #[default]
    Allow,
    /// It is not used.
    Forbid,
    /// Without it the device is not used, and its driver does not start.
    Require,
}

named! { RemappingPolicy:
    Allow "allow",
    Forbid "forbid",
    Require "require",
}

/// A device that a task is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device<'a> {
    /// Its name in the charter.
    pub name: &'a str,
    /// Which function it is.
    pub selector: Selector,
    /// The BAR whose registers are granted.
    pub bar: u8,
    /// Which broker checks its commands.
    pub broker: BrokerKind,
    /// Whether an IOMMU is to be between it and memory.
    pub remapping: RemappingPolicy,
    /// The granted MSI-X table entries; all others stay masked.
    pub vectors: Vec<u16, DEVICE_VECTORS_MAX>,
    /// The DMA regions that it may be given addresses in, as indices; their order is their number in commands.
    pub regions: Vec<u16, DEVICE_REGIONS_MAX>,
    /// What it may be used for. Never empty: the whole device is one limit without namespace and end.
    pub limits: Vec<Limit, LIMITS_MAX>,
}

/// A DMA region: physically contiguous, zeroed before anybody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region<'a> {
    /// Its name in the charter.
    pub name: &'a str,
    /// Its size in bytes, a multiple of the page.
    pub bytes: u64,
}

/// What may be done with a mapping. Nothing is ever writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// A part of a program in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment<'a> {
    /// First address, on a page.
    pub address: u64,
    /// Bytes in memory; those beyond `data` are zero.
    pub bytes: u64,
    /// How it is mapped.
    pub access: Access,
    /// Contents.
    pub data: &'a [u8],
}

/// A part of a DMA region mapped into a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which region, as an index.
    pub region: u16,
    /// First byte in the region, on a page.
    pub offset: u64,
    /// Bytes, whole pages.
    pub bytes: u64,
    /// Where it is mapped, see [`layout::WINDOW_START`].
    pub address: u64,
    /// Whether the task may write.
    pub writable: bool,
}

/// What a handle stands for: handle *n* is the task's capability *n* − 1.
///
/// In memory no variant begins with a zero, so that an empty slot of a table is zero in every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Capability {
    /// Call an endpoint.
    Call {
        /// Which endpoint.
        endpoint: u16,
        /// Who the server sees.
        badge: u32,
    } = 1,
    /// Receive on an endpoint; one task an endpoint.
    Receive {
        /// Which endpoint.
        endpoint: u16,
    },
    /// Set bits in a task's notification word.
    Signal {
        /// Which task.
        task: u16,
        /// Which bits; never bit 63.
        bits: u64,
    },
    /// Use a device's registers and queues; one task a device.
    Registers {
        /// Which device.
        device: u16,
    },
    /// Be told of a device's interrupt; the kernel sets the bits, the task needs no handle.
    Interrupt {
        /// Which device.
        device: u16,
        /// Which MSI-X table entry.
        vector: u16,
        /// Which bits; never bit 63.
        bits: u64,
    },
    /// Ask what a device is.
    DeviceInformation {
        /// Which device.
        device: u16,
    },
    /// Write to the log.
    Log {
        /// Which of the task's component names.
        name: u8,
    },
    /// Read the machine's evidence, which the kernel maps at [`layout::EVIDENCE`]; the task needs no handle.
    Evidence,
    /// Read what is typed on the serial port and write text there; one task.
    Console {
        /// Which bits tell it that there is something to read; never bit 63.
        bits: u64,
    },
    /// Ask the kernel about the system.
    Inspect {
        /// About what.
        topic: InspectTopic,
    },
    /// Switch the machine off, or reset it.
    Power {
        /// Which of the two.
        action: PowerAction,
    },
    /// Watch over a task and restart it; one task a task.
    Supervise {
        /// Which task.
        task: u16,
        /// How often it must say that it is alive, in milliseconds; 0 if it need not.
        heartbeat: u32,
        /// Which bits tell that it has stopped; never bit 63.
        bits: u64,
    },
    /// Stop a task.
    Kill {
        /// Which task.
        task: u16,
    },
}

// The kernel finds a capability, and a task with its table of them, in one instruction each.
const _: () = assert!(size_of::<Option<Capability>>() == 16);

/// What the kernel can be asked about, each by a grant of its own; see [`crate::inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InspectTopic {
    /// The tasks: state, priority, time.
    Tasks,
    /// The PCI functions that the buses were found to have.
    Devices,
    /// The lines of the log that are still remembered.
    Log,
}

/// What can be done with the machine's power, each by a grant of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerAction {
    /// Switch it off.
    Off,
    /// Reset it.
    Reboot,
}

named! { InspectTopic: Tasks "tasks", Devices "devices", Log "log", }
named! { PowerAction: Off "off", Reboot "reboot", }

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task<'a> {
    /// Its name in the charter.
    pub name: &'a str,
    /// Its priority; higher runs first.
    pub priority: u8,
    /// Whether `boot complete` waits for its `Ready`.
    pub required: bool,
    /// First instruction.
    pub entry: u64,
    /// Bytes of stack, whole pages.
    pub stack_bytes: u64,
    /// Component names under which it may write to the log.
    #[serde(borrow)]
    pub log_names: Vec<&'a str, LOG_NAMES_MAX>,
    /// Its program.
    #[serde(borrow)]
    pub segments: Vec<Segment<'a>, SEGMENTS_MAX>,
    /// Its windows.
    pub windows: Vec<Window, WINDOWS_MAX>,
    /// Its capabilities.
    pub capabilities: Vec<Capability, CAPABILITIES_MAX>,
    /// Its [`crate::start::StartInfo`], as postcard.
    pub start_info: &'a [u8],
}

/// Why a package was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// It does not begin with [`MAGIC`].
    #[error("not a boot package")]
    Magic,
    /// It is of another version.
    #[error("boot package of version {0}, expected {VERSION}")]
    Version(u32),
    /// It ends too early.
    #[error("boot package cut short")]
    Short,
    /// Its bytes are not those that the builder wrote.
    #[error("boot package damaged: checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// What its bytes give.
        found: u32,
        /// What its header says.
        expected: u32,
    },
    /// An item is not decodable.
    #[error("boot package malformed: {0}")]
    Malformed(&'static str),
    /// An item refers to something that does not exist or lies where it must not.
    #[error("boot package inconsistent: {item} {index}: {what}")]
    Inconsistent {
        /// Kind of item.
        item: &'static str,
        /// Which one.
        index: u16,
        /// What is wrong.
        what: &'static str,
    },
}

/// A checked package.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    contents: Contents<'a>,
    devices: &'a [u8],
    regions: &'a [u8],
    tasks: &'a [u8],
}

impl<'a> Package<'a> {
    /// Checks header, checksum and every item. `bytes` may be longer than the package (a padded section).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn open(bytes: &'a [u8]) -> Result<Self, PackageError> {
        Self::read(stream(bytes)?)
    }

    /// As [`Package::open`], but for the checksum: for a package whose bytes were checked before, in memory that nobody
    /// has written since.
    ///
    /// # Errors
    /// As [`Package::open`].
    pub fn open_checked(bytes: &'a [u8]) -> Result<Self, PackageError> {
        Self::read(bytes.get(HEADER_BYTES..length(bytes)?).ok_or(PackageError::Short)?)
    }

    fn read(stream: &'a [u8]) -> Result<Self, PackageError> {
        let (contents, devices) =
            postcard::take_from_bytes::<Contents<'_>>(stream).map_err(|_| PackageError::Malformed("contents"))?;
        check::contents(&contents)?;
        let regions = skip::<Device<'_>>(devices, contents.devices, "device")?;
        let tasks = skip::<Region<'_>>(regions, contents.regions, "region")?;
        let end = skip::<Task<'_>>(tasks, contents.tasks, "task")?;
        if !end.is_empty() {
            return Err(PackageError::Malformed("bytes after the last task"));
        }
        let package = Self { contents, devices, regions, tasks };
        check::items(&package)?;
        Ok(package)
    }

    /// The system's name and how many of each there are.
    pub fn contents(&self) -> &Contents<'a> {
        &self.contents
    }

    /// Every device, in the order of their indices.
    pub fn devices(&self) -> impl Iterator<Item = Device<'a>> + use<'a> {
        Items::new(self.devices, self.contents.devices)
    }

    /// Every DMA region.
    pub fn regions(&self) -> impl Iterator<Item = Region<'a>> + use<'a> {
        Items::new(self.regions, self.contents.regions)
    }

    /// Every task.
    pub fn tasks(&self) -> impl Iterator<Item = Task<'a>> + use<'a> {
        Items::new(self.tasks, self.contents.tasks)
    }
}

/// Length of the whole package in bytes, from its header alone.
///
/// # Errors
/// If `bytes` is no package, one of another version, or shorter than it says.
pub fn length(bytes: &[u8]) -> Result<usize, PackageError> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(PackageError::Short)?;
    if header[..8] != MAGIC {
        return Err(PackageError::Magic);
    }
    let version = word(header, 8);
    if version != VERSION {
        return Err(PackageError::Version(version));
    }
    let length = HEADER_BYTES.checked_add(word(header, 12) as usize).ok_or(PackageError::Short)?;
    if length > bytes.len() { Err(PackageError::Short) } else { Ok(length) }
}

/// By which number a log and an image are known to belong together: the checksum in the package's header.
///
/// # Errors
/// As [`length`].
pub fn identity(bytes: &[u8]) -> Result<u32, PackageError> {
    length(bytes)?;
    Ok(word(bytes.first_chunk().ok_or(PackageError::Short)?, 16))
}

/// The header for a postcard stream.
pub fn header(stream: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(stream.len() as u32).to_le_bytes());
    header[16..20].copy_from_slice(&checksum(stream).to_le_bytes());
    header
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// CRC-32 as in IEEE 802.3. Its table is 1 KiB: larger ones are faster, and no package is large enough for that.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    const CRC: crc::Crc<u32, crc::Table<1>> = crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

fn stream(bytes: &[u8]) -> Result<&[u8], PackageError> {
    let length = length(bytes)?;
    let (header, stream) = bytes[..length].split_first_chunk().ok_or(PackageError::Short)?;
    let (found, expected) = (checksum(stream), word(header, 16));
    if found == expected { Ok(stream) } else { Err(PackageError::Checksum { found, expected }) }
}

fn skip<'a, T: Deserialize<'a>>(mut bytes: &'a [u8], count: u16, item: &'static str) -> Result<&'a [u8], PackageError> {
    for _ in 0..count {
        (_, bytes) = postcard::take_from_bytes::<T>(bytes).map_err(|_| PackageError::Malformed(item))?;
    }
    Ok(bytes)
}

/// Decodes one item after the other. [`Package::open`] has decoded each of them once, so none fails here.
struct Items<'a, T> {
    bytes: &'a [u8],
    left: u16,
    item: core::marker::PhantomData<T>,
}

impl<'a, T> Items<'a, T> {
    fn new(bytes: &'a [u8], left: u16) -> Self {
        Self { bytes, left, item: core::marker::PhantomData }
    }
}

impl<'a, T: Deserialize<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let (item, rest) = postcard::take_from_bytes(self.bytes).ok()?;
        self.bytes = rest;
        Some(item)
    }
}

mod check;
mod commands;
#[cfg(test)]
mod tests;
