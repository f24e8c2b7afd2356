//! A machine's NVMe controllers and namespaces.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::machine::escaped;

/// An NVMe controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its serial number, at most 20 characters.
    pub serial: String,
    /// Where it is plugged in.
    pub place: Place,
    /// Most I/O queue pairs; QEMU's default is 64. OVMF itself needs two.
    pub max_io_queue_pairs: Option<u16>,
    /// MSI-X table entries; QEMU's default is 65.
    pub msix_entries: Option<u16>,
    /// Largest transfer: 2^this pages; 0 is unlimited, QEMU's default is 7.
    pub maximum_data_transfer_size: Option<u8>,
    /// Report Intel's vendor and device identifier, as old QEMUs did.
    pub intel_identifiers: bool,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
}

/// Where a controller is plugged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On the root bus, where QEMU likes.
    #[default]
    RootBus,
    /// On the root bus, at this device number.
    Slot(u8),
    /// Behind a PCI Express root port of its own (only q35 has them). Such a controller can be unplugged.
    RootPort,
    /// On the root bus, as the first of several functions of this device number.
    SharedSlot(u8),
    /// Behind a bridge from PCI Express to PCI (only q35 has them), which passes requests on as its own.
    Bridge,
}

/// A namespace: a disk image that the controller shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identifier, from 1.
    pub nsid: NonZeroU32,
    /// What it holds.
    pub contents: Contents,
    /// Logical block size in bytes.
    pub block_bytes: BlockBytes,
    /// Whether firmware may boot from it.
    pub bootable: bool,
}

/// What a namespace holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// An image file. Unless `write`, changes go to a temporary overlay and are lost.
    File {
        /// The file, raw.
        path: PathBuf,
        /// Whether changes go to the file.
        write: bool,
    },
    /// QEMU's own description of a block device, for what a plain file cannot do (faults, delays), as the `-drive`
    /// option takes it without `if` and `id`.
    Drive(String),
}

/// The logical block sizes that are tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockBytes {
    /// 512 bytes.
    #[default]
    B512,
    /// 4096 bytes.
    B4096,
}

impl BlockBytes {
    /// As a number.
    pub const fn get(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

impl Controller {
    /// An ordinary controller on the root bus, without namespaces.
    pub fn new(serial: impl Into<String>) -> Self {
        Self {
            serial: serial.into(),
            place: Place::RootBus,
            max_io_queue_pairs: None,
            msix_entries: None,
            maximum_data_transfer_size: None,
            intel_identifiers: false,
            namespaces: Vec::new(),
        }
    }

    /// Adds a namespace.
    #[must_use]
    pub fn with(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// The identifier of the controller with this index, for `device_del` and the like.
    pub fn identifier(index: usize) -> String {
        format!("nvme{index}")
    }

    /// QEMU's arguments for it, as the controller with this index.
    pub(crate) fn arguments(&self, index: usize) -> Vec<String> {
        let identifier = Self::identifier(index);
        let mut arguments = Vec::new();
        let mut device = format!("nvme,id={identifier},serial={}", escaped(&self.serial));
        match self.place {
            Place::RootBus => {}
            Place::Slot(slot) => device += &format!(",addr={slot:#x}"),
            Place::RootPort => {
                let port = format!("port{index}");
                arguments.extend(["-device".into(), format!("pcie-root-port,id={port},chassis={}", index + 1)]);
                device += &format!(",bus={port}");
            }
            Place::SharedSlot(slot) => device += &format!(",addr={slot:02x}.0,multifunction=on"),
            Place::Bridge => {
                let bridge = format!("bridge{index}");
                arguments.extend(["-device".into(), format!("pcie-pci-bridge,id={bridge}")]);
                device += &format!(",bus={bridge},addr=01.0");
            }
        }
        if let Some(pairs) = self.max_io_queue_pairs {
            device += &format!(",max_ioqpairs={pairs}");
        }
        if let Some(entries) = self.msix_entries {
            device += &format!(",msix_qsize={entries}");
        }
        if let Some(size) = self.maximum_data_transfer_size {
            device += &format!(",mdts={size}");
        }
        if self.intel_identifiers {
            device += ",use-intel-id=on";
        }
        arguments.extend(["-device".into(), device]);
        for namespace in &self.namespaces {
            arguments.extend(namespace.arguments(&identifier));
        }
        arguments
    }
}

impl Namespace {
    /// A namespace with 512-byte blocks that shows a file and writes nothing back.
    ///
    /// # Panics
    /// If `nsid` is 0, which names no namespace.
    pub fn file(nsid: u32, path: impl AsRef<Path>) -> Self {
        Self {
            nsid: NonZeroU32::new(nsid).expect("namespace identifiers begin with 1"),
            contents: Contents::File { path: path.as_ref().to_owned(), write: false },
            block_bytes: BlockBytes::B512,
            bootable: false,
        }
    }

    /// With this logical block size.
    #[must_use]
    pub fn block_bytes(mut self, block_bytes: BlockBytes) -> Self {
        self.block_bytes = block_bytes;
        self
    }

    /// As the disk that firmware boots from.
    #[must_use]
    pub fn bootable(mut self) -> Self {
        self.bootable = true;
        self
    }

    fn arguments(&self, controller: &str) -> Vec<String> {
        let drive = format!("{controller}-ns{}", self.nsid);
        let contents = match &self.contents {
            Contents::File { path, write } => format!(
                "format=raw,file={},{}",
                escaped(&path.to_string_lossy()),
                if *write { "snapshot=off" } else { "snapshot=on" }
            ),
            Contents::Drive(description) => description.clone(),
        };
        let bytes = self.block_bytes.get();
        let mut device = format!(
            "nvme-ns,bus={controller},drive={drive},nsid={},logical_block_size={bytes},physical_block_size={}",
            self.nsid,
            bytes.max(4096)
        );
        if self.bootable {
            device += ",bootindex=0";
        }
        vec!["-drive".into(), format!("if=none,id={drive},{contents}"), "-device".into(), device]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_controller_has_only_what_it_needs() {
        let controller = Controller::new("charter").with(Namespace::file(1, "system.img").bootable());
        assert_eq!(
            controller.arguments(0),
            [
                "-device",
                "nvme,id=nvme0,serial=charter",
                "-drive",
                "if=none,id=nvme0-ns1,format=raw,file=system.img,snapshot=on",
                "-device",
                "nvme-ns,bus=nvme0,drive=nvme0-ns1,nsid=1,logical_block_size=512,physical_block_size=4096,bootindex=0",
            ]
        );
    }

    #[test]
    fn every_property_reaches_the_command_line() {
        let mut controller = Controller::new("a,b").with(Namespace {
            contents: Contents::Drive("driver=null-co,size=1G".into()),
            ..Namespace::file(7, "").block_bytes(BlockBytes::B4096)
        });
        controller.place = Place::RootPort;
        controller.max_io_queue_pairs = Some(1);
        controller.msix_entries = Some(2);
        controller.maximum_data_transfer_size = Some(1);
        controller.intel_identifiers = true;
        assert_eq!(
            controller.arguments(3),
            [
                "-device",
                "pcie-root-port,id=port3,chassis=4",
                "-device",
                "nvme,id=nvme3,serial=a,,b,bus=port3,max_ioqpairs=1,msix_qsize=2,mdts=1,use-intel-id=on",
                "-drive",
                "if=none,id=nvme3-ns7,driver=null-co,size=1G",
                "-device",
                "nvme-ns,bus=nvme3,drive=nvme3-ns7,nsid=7,logical_block_size=4096,physical_block_size=4096",
            ]
        );
    }

    #[test]
    fn a_slot_is_written_as_qemu_reads_it() {
        let mut controller = Controller::new("charter");
        controller.place = Place::Slot(16);
        assert_eq!(controller.arguments(0)[1], "nvme,id=nvme0,serial=charter,addr=0x10");
    }
}
