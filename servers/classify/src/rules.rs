//! What facts say about whose machine this is: a table that a reader can check against its sources.
//!
//! A fact *names* a provider if nobody else has it; it *suggests* one if that provider's own software is also the ground
//! on which others stand (QEMU, Hyper-V), so that a name goes before it; it *supports* one if it proves nothing alone;
//! and it *fits* some. Whoever is not among those that a fact fits is contradicted by it.

use abi::evidence::{Item, SmbiosField, Topic};
use protocol::classify::Provider::{self, Alibaba, Aws, Azure, Gcp, HyperV, Oci, OpenStack, Qemu};

/// Azure's chassis asset tag: the same on every machine there, and on no other Hyper-V.
pub const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";
/// PCI vendor: Microsoft.
pub const MICROSOFT: u16 = 0x1414;
/// PCI vendor: Amazon.
pub const AMAZON: u16 = 0x1d0f;
/// PCI device of Amazon's EBS controllers.
pub const AMAZON_EBS: u16 = 0x8061;
/// PCI vendor: Red Hat, for QEMU's own devices.
pub const QEMU: u16 = 0x1b36;
/// Model of Azure's controller for remote disks, without its version.
pub const AZURE_REMOTE: &str = "MSFT NVMe Accelerator";
/// Model of Azure's controllers for local disks, without a version.
pub const AZURE_LOCAL: &str = "Microsoft NVMe Direct Disk";
/// Model of an EBS volume.
pub const EBS: &str = "Amazon Elastic Block Store";
/// Model of an EC2 local disk.
pub const EC2_LOCAL: &str = "Amazon EC2 NVMe Instance Storage";
/// Model of QEMU's controller, under any vendor.
pub const QEMU_MODEL: &str = "QEMU NVMe Ctrl";
/// Hardware ids of the VMBus in ACPI.
pub const VMBUS: [&str; 3] = ["VMBUS", "VMBus", "MSFT1000"];

/// When a fact is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// A string of SMBIOS is this one.
    Smbios(SmbiosField, &'static str),
    /// A string of SMBIOS begins so.
    SmbiosStarts(SmbiosField, &'static str),
    /// SMBIOS names Microsoft's virtual machine, and the chassis does not have Azure's tag.
    NoAzureTag,
    /// The hypervisor's own name, see [`hypervisor`].
    Hypervisor(&'static str),
    /// ACPI declares a VMBus.
    VmBus,
    /// An ACPI table's OEM id.
    AcpiOem(&'static str),
    /// An NVMe controller's PCI vendor and, if given, device.
    Controller(u16, Option<u16>),
    /// An NVMe controller's model begins so.
    Model(&'static str),
}

/// What a fact says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// This provider, and no other.
    Names(Provider),
    /// This provider, unless another is named that the fact fits too.
    Suggests(Provider),
    /// Nothing alone; it supports this provider if others say so, and contradicts nobody.
    Supports(Provider),
    /// One of those that it fits.
    Fits,
}

/// A fact, what it says, and how that is known.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in the log.
    pub name: &'static str,
    /// When it is seen.
    pub test: Test,
    /// What it says.
    pub says: Says,
    /// Providers that it does not contradict, beside the one that it names.
    pub fits: &'static [Provider],
    /// Where that can be checked.
    pub source: &'static str,
}

const DS_IDENTIFY: &str = "cloud-init, tools/ds-identify";
const SYSTEMD: &str = "systemd, src/basic/virt.c";
const AZURE_UTILS: &str = "Azure/azure-vm-utils";
const EC2_UTILS: &str = "amazon-ec2-utils";
const MEASURED: &str = "seen in QEMU 7.2";
const OWN: &[Provider] = &[];
const ON_HYPERV: &[Provider] = &[Azure, HyperV];
const ON_KVM: &[Provider] = &[Aws, Gcp, Alibaba, Oci, OpenStack, Qemu];

const fn rule(name: &'static str, test: Test, says: Says, fits: &'static [Provider], source: &'static str) -> Rule {
    Rule { name, test, says, fits, source }
}

/// Every rule.
pub const RULES: &[Rule] = &{
    use Says::{Fits, Names, Suggests, Supports};
    use SmbiosField::{ChassisAssetTag, SystemManufacturer, SystemProduct, SystemUuid};
    use Test::{AcpiOem, Controller, Hypervisor, Model, NoAzureTag, Smbios, SmbiosStarts, VmBus};
    [
        rule("smbios.azure-tag", Smbios(ChassisAssetTag, AZURE_TAG), Names(Azure), OWN, DS_IDENTIFY),
        rule("smbios.microsoft", Smbios(SystemManufacturer, "Microsoft Corporation"), Fits, ON_HYPERV, SYSTEMD),
        rule("smbios.virtual-machine", Smbios(SystemProduct, "Virtual Machine"), Fits, ON_HYPERV, SYSTEMD),
        rule("smbios.no-azure-tag", NoAzureTag, Suggests(HyperV), OWN, DS_IDENTIFY),
        rule("smbios.amazon", Smbios(SystemManufacturer, "Amazon EC2"), Names(Aws), OWN, SYSTEMD),
        rule("smbios.ec2-uuid", SmbiosStarts(SystemUuid, "ec2"), Supports(Aws), OWN, DS_IDENTIFY),
        rule("smbios.google", Smbios(SystemProduct, "Google Compute Engine"), Names(Gcp), OWN, DS_IDENTIFY),
        rule("smbios.alibaba", Smbios(SystemProduct, "Alibaba Cloud ECS"), Names(Alibaba), OWN, DS_IDENTIFY),
        rule("smbios.oracle-tag", Smbios(ChassisAssetTag, "OracleCloud.com"), Names(Oci), OWN, DS_IDENTIFY),
        rule("smbios.openstack-nova", Smbios(SystemProduct, "OpenStack Nova"), Names(OpenStack), OWN, DS_IDENTIFY),
        rule(
            "smbios.openstack-compute",
            Smbios(SystemProduct, "OpenStack Compute"),
            Names(OpenStack),
            OWN,
            DS_IDENTIFY,
        ),
        rule("smbios.qemu", Smbios(SystemManufacturer, "QEMU"), Suggests(Qemu), &[Oci, OpenStack], SYSTEMD),
        rule("cpuid.hyper-v", Hypervisor("Microsoft Hv"), Fits, ON_HYPERV, SYSTEMD),
        rule("cpuid.kvm", Hypervisor("KVMKVMKVM"), Fits, ON_KVM, SYSTEMD),
        rule("cpuid.tcg", Hypervisor("TCGTCGTCGTCG"), Suggests(Qemu), &[OpenStack], SYSTEMD),
        rule("cpuid.xen", Hypervisor("XenVMMXenVMM"), Fits, &[Aws, Alibaba, OpenStack], SYSTEMD),
        rule(
            "acpi.vmbus",
            VmBus,
            Fits,
            &[Azure, HyperV, Qemu],
            "Linux, drivers/hv/vmbus_drv.c; QEMU, hw/hyperv/vmbus.c",
        ),
        rule("acpi.bochs", AcpiOem("BOCHS"), Fits, ON_KVM, MEASURED),
        rule(
            "pci.microsoft",
            Controller(MICROSOFT, None),
            Fits,
            ON_HYPERV,
            "PCI identifiers; canonical/cloud-init#4598",
        ),
        rule("pci.amazon-ebs", Controller(AMAZON, Some(AMAZON_EBS)), Names(Aws), OWN, EC2_UTILS),
        rule("pci.qemu", Controller(QEMU, Some(0x0010)), Suggests(Qemu), &[OpenStack], MEASURED),
        rule("identify.azure-remote", Model(AZURE_REMOTE), Names(Azure), OWN, AZURE_UTILS),
        rule("identify.azure-local", Model(AZURE_LOCAL), Names(Azure), OWN, AZURE_UTILS),
        rule("identify.ebs", Model(EBS), Names(Aws), OWN, EC2_UTILS),
        rule("identify.ec2-local", Model(EC2_LOCAL), Names(Aws), OWN, EC2_UTILS),
        rule(
            "identify.google",
            Model("nvme_card"),
            Names(Gcp),
            OWN,
            "GoogleCloudPlatform/guest-configs, google_nvme_id",
        ),
        rule(
            "identify.alibaba",
            Model("Alibaba Cloud Elastic Block Storage"),
            Names(Alibaba),
            OWN,
            "reported; not checked here",
        ),
        rule("identify.qemu", Model(QEMU_MODEL), Suggests(Qemu), &[OpenStack], MEASURED),
    ]
};

impl Rule {
    /// Whether the machine shows the fact.
    pub fn is_seen(&self, items: &[Item]) -> bool {
        let any = |test: &dyn Fn(&Item) -> bool| items.iter().any(test);
        match self.test {
            Test::Smbios(field, text) => smbios(items, field) == Some(text),
            Test::SmbiosStarts(field, text) => smbios(items, field).is_some_and(|value| value.starts_with(text)),
            Test::NoAzureTag => {
                smbios(items, SmbiosField::SystemManufacturer) == Some("Microsoft Corporation")
                    && smbios(items, SmbiosField::SystemProduct) == Some("Virtual Machine")
                    && smbios(items, SmbiosField::ChassisAssetTag) != Some(AZURE_TAG)
            }
            Test::Hypervisor(name) => hypervisor(items).is_some_and(|own| own == name),
            Test::VmBus => has_vmbus(items),
            Test::AcpiOem(name) => any(&|item| matches!(item, Item::AcpiTable { oem, .. } if oem == name)),
            Test::Controller(wanted, wanted_device) => any(&|item| {
                matches!(item, Item::Function { vendor, device, class: crate::controllers::NVME_CLASS, .. }
                    if *vendor == wanted && wanted_device.is_none_or(|wanted| wanted == *device))
            }),
            Test::Model(name) => any(&|item| matches!(item, Item::Controller { model, .. } if model.starts_with(name))),
        }
    }

    /// Whether a provider may show the fact.
    pub fn fits(&self, provider: Provider) -> bool {
        match self.says {
            Says::Names(own) | Says::Suggests(own) => own == provider || self.fits.contains(&provider),
            Says::Supports(_) => true,
            Says::Fits => self.fits.contains(&provider),
        }
    }

    /// Whether the fact speaks for this provider.
    pub fn supports(&self, provider: Provider) -> bool {
        match self.says {
            Says::Supports(own) => own == provider,
            _ => self.fits(provider),
        }
    }

    /// The kind of evidence that it is.
    pub fn topic(&self) -> Topic {
        match self.test {
            Test::Smbios(..) | Test::SmbiosStarts(..) | Test::NoAzureTag => Topic::Smbios,
            Test::Hypervisor(_) => Topic::Processor,
            Test::VmBus | Test::AcpiOem(_) => Topic::Acpi,
            Test::Controller(..) => Topic::Pci,
            Test::Model(_) => Topic::Identify,
        }
    }
}

/// A string of SMBIOS.
pub fn smbios(items: &[Item], wanted: SmbiosField) -> Option<&str> {
    items.iter().find_map(|item| match item {
        Item::Smbios { field, value } if *field == wanted => Some(value.as_str()),
        _ => None,
    })
}

/// Whether ACPI declares a VMBus.
pub fn has_vmbus(items: &[Item]) -> bool {
    items.iter().any(|item| matches!(item, Item::AcpiDevice { id, .. } if VMBUS.contains(&id.as_str())))
}

/// The hypervisor's name. One that offers Hyper-V's interface beside its own has Hyper-V's name first and its own
/// further on, so the last one counts (Linux, `arch/x86/kernel/kvm.c`, searches likewise).
pub fn hypervisor(items: &[Item]) -> Option<heapless::String<12>> {
    let leaves = items.iter().filter_map(|item| match item {
        Item::Processor { leaf, registers } if leaf & 0xff == 0 && leaf >> 16 == 0x4000 => Some((*leaf, registers)),
        _ => None,
    });
    let (_, [_, name @ ..]) = leaves.max_by_key(|(leaf, _)| *leaf)?;
    let mut bytes = [0; 12];
    for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(name) {
        *place = word.to_le_bytes();
    }
    Some(abi::evidence::text(&bytes))
}
