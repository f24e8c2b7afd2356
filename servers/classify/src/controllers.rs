//! The machine's NVMe controllers, each seen by firmware, on a bus, or both; their shape, and Azure's names of disks.

use abi::evidence::{Item, SeenBy};
use abi::system_call::PciAddress;
use heapless::{String, Vec};
use protocol::classify::Shape;

use crate::rules::{AZURE_LOCAL, AZURE_REMOTE, EBS, EC2_LOCAL, MICROSOFT, QEMU, QEMU_MODEL};

/// PCI class, subclass and programming interface of a standard NVMe controller (NVMe over PCIe transport 1.0, 3.8.1.4).
pub const NVME_CLASS: (u8, u8, u8) = (0x01, 0x08, 0x02);
/// Most controllers that are told of.
pub const CONTROLLERS_MAX: usize = 16;
/// PCI vendor of QEMU's NVMe controller with `use-intel-id=on`.
const INTEL: u16 = 0x8086;

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Where it is.
    pub address: PciAddress,
    /// PCI vendor identifier.
    pub vendor: u16,
    /// PCI device identifier.
    pub device: u16,
    /// Who saw it: the bus, if the bus and firmware did.
    pub seen_by: SeenBy,
    /// Whether a driver of this system has bound it.
    pub bound: bool,
    /// Its model, from its driver or else from firmware; empty if neither told.
    pub model: String<40>,
}

impl Controller {
    /// Whether it is QEMU's model of a controller.
    pub fn is_qemu(&self) -> bool {
        self.vendor == QEMU || (self.vendor == INTEL && self.model == QEMU_MODEL)
    }

    /// Whether it is one of Azure's, by vendor and model both.
    pub fn is_azure(&self) -> bool {
        let model = self.model.as_str();
        self.vendor == MICROSOFT && (model.starts_with(AZURE_REMOTE) || model.starts_with(AZURE_LOCAL))
    }

    /// How it presents storage.
    pub fn shape(&self) -> Shape {
        match self.model.as_str() {
            model if self.is_azure() && model.starts_with(AZURE_REMOTE) => Shape::AzureManagedDisk,
            _ if self.is_azure() => Shape::AzureLocalNvme,
            EBS => Shape::AwsEbsNvme,
            EC2_LOCAL => Shape::AwsLocalNvme,
            "nvme_card-pd" => Shape::GcpPersistentDiskNvme,
            "nvme_card" => Shape::GcpLocalNvme,
            "Alibaba Cloud Elastic Block Storage" => Shape::AlibabaCloudDiskNvme,
            _ if self.is_qemu() => Shape::QemuNvme,
            _ => Shape::StandardNvme,
        }
    }
}

/// The controllers among the evidence, in its order; those beyond [`CONTROLLERS_MAX`] are left out.
pub fn controllers(items: &[Item]) -> Vec<Controller, CONTROLLERS_MAX> {
    let mut found: Vec<Controller, CONTROLLERS_MAX> = Vec::new();
    for item in items {
        let Item::Function { seen_by, address, vendor, device, class: NVME_CLASS, bound, .. } = *item else { continue };
        let model = model(items, address);
        let controller = Controller { address, vendor, device, seen_by, bound, model };
        match found.iter_mut().find(|known| known.address == address) {
            Some(known) if seen_by == SeenBy::Bus => *known = controller,
            Some(_) => {}
            None => {
                let _ = found.push(controller);
            }
        }
    }
    found
}

fn model(items: &[Item], of: PciAddress) -> String<40> {
    let by = |who: SeenBy| {
        items.iter().find_map(|item| match item {
            Item::Controller { seen_by, address, model, .. } if *seen_by == who && *address == of => {
                Some(model.clone())
            }
            _ => None,
        })
    };
    by(SeenBy::Bus).or_else(|| by(SeenBy::Firmware)).unwrap_or_default()
}

/// What Azure calls a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureDisk<'a> {
    /// The disk that the machine boots from.
    Os,
    /// A data disk, by its logical unit number.
    Lun(u32),
    /// A local disk, and what its vendor area says of it: number and name, where it does.
    Local {
        /// `index=` of the vendor area.
        index: Option<u32>,
        /// `name=` of the vendor area.
        name: Option<&'a str>,
    },
}

/// The namespaces of one of Azure's controllers and what Azure calls them; none of any other controller.
pub fn azure_disks<'a>(
    items: &'a [Item],
    controller: &'a Controller,
) -> impl Iterator<Item = (u32, AzureDisk<'a>)> + use<'a> {
    let namespaces = items.iter().enumerate().filter_map(|(index, item)| match item {
        Item::Namespace { address, nsid, .. } if *address == controller.address && controller.is_azure() => {
            Some((index, *nsid))
        }
        _ => None,
    });
    // The driver and firmware may both have told of one.
    let is_first = |index: usize, wanted: u32| {
        !items[..index].iter().any(
            |item| matches!(item, Item::Namespace { address, nsid, .. } if *address == controller.address && *nsid == wanted),
        )
    };
    namespaces.filter(move |(index, nsid)| is_first(*index, *nsid)).map(|(_, nsid)| {
        let disk = match (controller.shape(), nsid) {
            (Shape::AzureManagedDisk, 1) => AzureDisk::Os,
            (Shape::AzureManagedDisk, nsid) if nsid > 1 => AzureDisk::Lun(nsid - 2),
            _ => {
                let area = vendor_area(items, controller.address, nsid);
                AzureDisk::Local {
                    index: part(area, "index").and_then(|part| part.parse().ok()),
                    name: part(area, "name"),
                }
            }
        };
        (nsid, disk)
    })
}

fn vendor_area(items: &[Item], of: PciAddress, wanted: u32) -> &str {
    items
        .iter()
        .find_map(|item| match item {
            Item::Namespace { address, nsid, vendor_area, .. }
                if *address == of && *nsid == wanted && !vendor_area.is_empty() =>
            {
                Some(vendor_area.as_str())
            }
            _ => None,
        })
        .unwrap_or("")
}

/// The value of a key in `key=value,key=value`.
fn part<'a>(area: &'a str, wanted: &str) -> Option<&'a str> {
    area.split(',').filter_map(|part| part.split_once('=')).find(|(key, _)| *key == wanted).map(|(_, value)| value)
}
