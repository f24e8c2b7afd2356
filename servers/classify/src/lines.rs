//! The classification lines. Their keys are a contract: tests and users look for them, in this order.

use core::fmt;

use crate::surface::{NVME_CLASS, Surface};

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

    /// The keys that say what is not claimed, and what is out of scope. Evidence of the cloud comes to this task with
    /// SMBIOS; until then nothing is ever confirmed.
    fn scope(self) -> &'static str {
        match self {
            Self::AzureManagedDisk => "real_azure_enumeration=not-claimed mana=separate-nic-driver-out-of-scope",
            Self::AwsEbs => "real_aws_enumeration=not-claimed ena=separate-nic-driver-out-of-scope",
        }
    }
}

/// The classification line of a surface for a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was observed.
    pub surface: Surface,
    /// Which cloud shares it.
    pub cloud: Cloud,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Surface { vendor, device, is_qemu, bound } = self.surface;
        let (class, subclass, prog_if) = NVME_CLASS;
        let (shape, own) = self.cloud.keys();
        write!(
            f,
            "cloud shape classification cloud_shape={shape} pci_vendor={vendor:#06x} pci_device_id={device:#06x} \
             class={class:#04x} subclass={subclass:#04x} prog_if={prog_if:#04x} {own} \
             dma_backend_policy=direct-remapping-if-verified-else-bounce-buffer host_physical_user_visible=false \
             local_qemu_precursor={is_qemu} {scope} bound={bound} source=bus",
            scope = self.cloud.scope(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use heapless::String as Text;
    use protocol::nvme::Controller;
    use task::abi::system_call::{DeviceInformation, Lane, PciAddress};

    use super::*;
    use crate::surface::NoSurface;

    fn information(vendor: u16, device: u16, class: (u8, u8, u8)) -> DeviceInformation {
        DeviceInformation {
            present: true,
            enabled: true,
            vendor,
            device,
            class,
            address: PciAddress { segment: 0, bus: 0, device: 4, function: 0 },
            lane: Lane::Brokered,
        }
    }

    fn controller(model: &str) -> Controller {
        Controller {
            model: Text::try_from(model).unwrap(),
            serial: Text::new(),
            firmware: Text::new(),
            version: 0x1_0400,
            namespaces: 1,
            transfer_bytes_max: 1 << 19,
        }
    }

    fn line(cloud: Cloud, vendor: u16, device: u16, model: &str) -> String {
        let information = information(vendor, device, NVME_CLASS);
        let surface = Surface::new(&information, Some(&controller(model))).unwrap();
        Line { surface, cloud }.to_string()
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
             bound=true source=bus"
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
             bound=true source=bus"
        );
    }

    #[test]
    fn qemu_under_intels_vendor_is_known_by_its_model() {
        assert!(line(Cloud::AzureManagedDisk, 0x8086, 0x5845, "QEMU NVMe Ctrl").contains("local_qemu_precursor=true"));
        assert!(line(Cloud::AzureManagedDisk, 0x8086, 0x0a54, "INTEL SSDPE2KX").contains("local_qemu_precursor=false"));
    }

    #[test]
    fn the_clouds_own_controllers_are_no_precursors_and_still_not_claimed() {
        let azure = line(Cloud::AzureManagedDisk, 0x1414, 0x00a9, "MSFT NVMe Accelerator v1.0");
        assert!(azure.contains("pci_vendor=0x1414 pci_device_id=0x00a9 "));
        assert!(azure.contains(" local_qemu_precursor=false real_azure_enumeration=not-claimed "));
        let aws = line(Cloud::AwsEbs, 0x1d0f, 0x8061, "Amazon Elastic Block Store");
        assert!(aws.contains("pci_vendor=0x1d0f pci_device_id=0x8061 "));
        assert!(aws.contains(" local_qemu_precursor=false real_aws_enumeration=not-claimed "));
    }

    #[test]
    fn what_is_no_nvme_controller_is_not_classified() {
        let ahci = information(0x8086, 0x2922, (0x01, 0x06, 0x01));
        let reason = Surface::new(&ahci, None).unwrap_err();
        assert_eq!(reason.to_string(), "not-nvme class=0x01 subclass=0x06 prog_if=0x01");
        let absent = DeviceInformation { present: false, ..ahci };
        assert_eq!(Surface::new(&absent, None), Err(NoSurface::NoController));
    }

    #[test]
    fn bound_needs_an_enabled_device_and_a_driver_that_answers() {
        let on = information(0x1b36, 0x0010, NVME_CLASS);
        let off = DeviceInformation { enabled: false, ..on };
        let model = controller("QEMU NVMe Ctrl");
        for (information, controller, bound) in
            [(on, Some(&model), true), (off, Some(&model), false), (on, None, false)]
        {
            assert_eq!(Surface::new(&information, controller).unwrap().bound, bound);
        }
    }

    #[test]
    fn a_line_fits_into_the_log() {
        for cloud in Cloud::ALL {
            let line = line(cloud, 0xffff, 0xffff, "");
            assert!(line.len() + "nvme: ".len() <= task::abi::system_call::LOG_BYTES_MAX);
        }
    }
}
