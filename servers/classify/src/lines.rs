//! The classification lines. Their keys are a contract: tests and users look for them, in this order.

use core::fmt;

use abi::evidence::{Item, SeenBy, SmbiosField};
use protocol::classify::{Provider, Shape};

use crate::controllers::{Controller, NVME_CLASS};
use crate::rules::{AMAZON, AMAZON_EBS, AZURE_TAG, MICROSOFT, smbios};

/// A cloud that presents its disks as standard NVMe controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Azure managed disks, on NVMe-capable sizes.
    AzureManagedDisk,
    /// AWS EBS volumes, on Nitro instances.
    AwsEbs,
}

impl Cloud {
    /// Every one, in the order of their lines.
    pub const ALL: [Self; 2] = [Self::AzureManagedDisk, Self::AwsEbs];

    /// The keys that are this cloud's own. The vendor and device are those of its real controllers, for comparison with
    /// what was found; they are not a claim.
    fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::AzureManagedDisk => (
                "azure-managed-disk",
                "azure_nvme_vendor=0x1414 azure_scsi_path=no-userspace-provider-driver-out-of-scope \
                 azure_labeled_dma_backend=bounce-buffer",
            ),
            Self::AwsEbs => (
                "aws-ebs-nvme",
                "aws_nvme_vendor=0x1d0f aws_nvme_device=0x8061 aws_scsi_path=none-nvme-only \
                 aws_labeled_dma_backend=bounce-buffer",
            ),
        }
    }

    /// The key that says whether this cloud was seen, and the one that says what is out of scope.
    fn scope(self) -> (&'static str, &'static str) {
        match self {
            Self::AzureManagedDisk => ("real_azure_enumeration", "mana=separate-nic-driver-out-of-scope"),
            Self::AwsEbs => ("real_aws_enumeration", "ena=separate-nic-driver-out-of-scope"),
        }
    }

    /// Whether this machine reported itself, in this boot, as this cloud's with this cloud's controller: vendor, model
    /// and SMBIOS all seen, and nothing that contradicts them. It is the machine's own report, not an attestation.
    pub fn is_confirmed(self, items: &[Item], provider: Provider, controller: &Controller) -> bool {
        match self {
            Self::AzureManagedDisk => {
                provider == Provider::Azure
                    && controller.vendor == MICROSOFT
                    && controller.is_azure()
                    && smbios(items, SmbiosField::ChassisAssetTag) == Some(AZURE_TAG)
            }
            Self::AwsEbs => {
                provider == Provider::Aws
                    && (controller.vendor, controller.device) == (AMAZON, AMAZON_EBS)
                    && controller.shape() == Shape::AwsEbsNvme
                    && smbios(items, SmbiosField::SystemManufacturer) == Some("Amazon EC2")
            }
        }
    }
}

/// The classification line of a controller for a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What was observed.
    pub controller: &'a Controller,
    /// Which cloud shares the surface.
    pub cloud: Cloud,
    /// See [`Cloud::is_confirmed`].
    pub confirmed: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Controller { address, vendor, device, seen_by, bound, .. } = self.controller;
        let (class, subclass, prog_if) = NVME_CLASS;
        let (shape, own) = self.cloud.keys();
        let (enumeration, out_of_scope) = self.cloud.scope();
        write!(
            f,
            "cloud shape classification cloud_shape={shape} pci_vendor={vendor:#06x} pci_device_id={device:#06x} \
             class={class:#04x} subclass={subclass:#04x} prog_if={prog_if:#04x} {own} \
             dma_backend_policy=direct-remapping-if-verified-else-bounce-buffer host_physical_user_visible=false \
             local_qemu_precursor={is_qemu} {enumeration}={claim} {out_of_scope} bound={bound} source={source} \
             device={address}",
            is_qemu = self.controller.is_qemu(),
            claim = if self.confirmed { "confirmed" } else { "not-claimed" },
            source = match seen_by {
                SeenBy::Bus => "bus",
                SeenBy::Firmware => "firmware",
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use abi::evidence::text;
    use abi::system_call::PciAddress;

    use super::*;

    const ADDRESS: PciAddress = PciAddress { segment: 0, bus: 0, device: 4, function: 0 };

    fn line(cloud: Cloud, vendor: u16, device: u16, model: &str) -> String {
        let model = text(model.as_bytes());
        let controller = Controller { address: ADDRESS, vendor, device, seen_by: SeenBy::Bus, bound: true, model };
        Line { controller: &controller, cloud, confirmed: false }.to_string()
    }

    #[test]
    fn qemu_is_a_local_precursor_of_azure() {
        assert_eq!(
            line(Cloud::AzureManagedDisk, 0x1b36, 0x0010, "QEMU NVMe Ctrl"),
            "cloud shape classification cloud_shape=azure-managed-disk pci_vendor=0x1b36 pci_device_id=0x0010 \
             class=0x01 subclass=0x08 prog_if=0x02 azure_nvme_vendor=0x1414 \
             azure_scsi_path=no-userspace-provider-driver-out-of-scope azure_labeled_dma_backend=bounce-buffer \
             dma_backend_policy=direct-remapping-if-verified-else-bounce-buffer host_physical_user_visible=false \
             local_qemu_precursor=true real_azure_enumeration=not-claimed mana=separate-nic-driver-out-of-scope \
             bound=true source=bus device=0000:00:04.0"
        );
    }

    #[test]
    fn qemu_is_a_local_precursor_of_aws() {
        assert_eq!(
            line(Cloud::AwsEbs, 0x1b36, 0x0010, "QEMU NVMe Ctrl"),
            "cloud shape classification cloud_shape=aws-ebs-nvme pci_vendor=0x1b36 pci_device_id=0x0010 \
             class=0x01 subclass=0x08 prog_if=0x02 aws_nvme_vendor=0x1d0f aws_nvme_device=0x8061 \
             aws_scsi_path=none-nvme-only aws_labeled_dma_backend=bounce-buffer \
             dma_backend_policy=direct-remapping-if-verified-else-bounce-buffer host_physical_user_visible=false \
             local_qemu_precursor=true real_aws_enumeration=not-claimed ena=separate-nic-driver-out-of-scope \
             bound=true source=bus device=0000:00:04.0"
        );
    }

    #[test]
    fn qemu_under_intels_vendor_is_known_by_its_model() {
        assert!(line(Cloud::AzureManagedDisk, 0x8086, 0x5845, "QEMU NVMe Ctrl").contains("local_qemu_precursor=true"));
        assert!(line(Cloud::AzureManagedDisk, 0x8086, 0x0a54, "INTEL SSDPE2KX").contains("local_qemu_precursor=false"));
    }

    #[test]
    fn a_line_fits_into_the_log() {
        for cloud in Cloud::ALL {
            let line = line(cloud, 0xffff, 0xffff, "");
            assert!(line.len() + "nvme: ".len() <= abi::system_call::LOG_BYTES_MAX);
        }
    }
}
