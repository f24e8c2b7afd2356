//! The classification task's messages: what this machine is, and how that is known.

use abi::evidence::Item;
use abi::system_call::PciAddress;
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Most facts told on either side of a verdict.
pub const FACTS_MAX: usize = 24;
/// Most storage shapes of one machine.
pub const SHAPES_MAX: usize = 8;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What is this machine? Answered with [`Answer::Verdict`].
    Verdict,
    /// Which NVMe controller has this number, from 0? Answered with [`Answer::Controller`].
    Controller(u16),
    /// Which evidence has this number, from 0? Answered with [`Answer::Evidence`]. All of it, one line an item, is a
    /// recording of the machine.
    Evidence(u16),
}

/// What the task answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a message is encoded at once, never stored")]
pub enum Answer {
    /// To [`Request::Verdict`].
    Verdict(Verdict),
    /// To [`Request::Controller`]; `None` beyond the last one.
    Controller(Option<Controller>),
    /// To [`Request::Evidence`]; `None` beyond the last one.
    Evidence(Option<Item>),
    /// To a request that is none.
    Malformed,
}

/// What the machine says that it is. It is what this machine reported of itself at this boot; nobody attests it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose machine it is. [`Provider::Unknown`] where nothing names one, and where facts contradict each other.
    pub provider: Provider,
    /// Providers that facts name or suggest: one, or those that contradict each other.
    pub candidates: Vec<Provider, 9>,
    /// How well it is supported.
    pub confidence: Confidence,
    /// Which generation of the provider's machines.
    pub generation: Generation,
    /// Every shape of storage, each once.
    pub storage: Vec<Shape, SHAPES_MAX>,
    /// Names of the facts that support the first candidate.
    pub supporting: Vec<String<32>, FACTS_MAX>,
    /// Names of the facts that speak against it.
    pub against: Vec<String<32>, FACTS_MAX>,
}

/// An NVMe controller of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Where it is.
    pub address: PciAddress,
    /// PCI vendor and device identifier.
    pub identity: (u16, u16),
    /// Its shape.
    pub shape: Shape,
    /// Whether a driver of this system has bound it.
    pub bound: bool,
    /// Whether only firmware saw it.
    pub only_firmware: bool,
}

macro_rules! named {
    ($(#[$documentation:meta])* $type:ident { $($(#[$value_documentation:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$value_documentation])* $value,)*
        }

        impl $type {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];

            /// Its name in the log.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// Whose machine it is.
    Provider {
        /// Microsoft Azure.
        Azure = "azure",
        /// Amazon Web Services, EC2.
        Aws = "aws",
        /// Google Compute Engine.
        Gcp = "gcp",
        /// Alibaba Cloud ECS.
        Alibaba = "alibaba",
        /// Oracle Cloud Infrastructure.
        Oci = "oci",
        /// Some OpenStack.
        OpenStack = "openstack",
        /// Hyper-V that is not Azure's.
        HyperV = "hyper-v",
        /// QEMU, with or without KVM.
        Qemu = "qemu",
        /// None of these, or contradictory.
        Unknown = "unknown",
    }
}

named! {
    /// How well a verdict is supported: by how many kinds of evidence that agree (CPUID, SMBIOS, ACPI, PCI, Identify).
    Confidence {
        /// There is no verdict.
        None = "none",
        /// By one.
        Low = "low",
        /// By two.
        Medium = "medium",
        /// By three or more.
        High = "high",
    }
}

named! {
    /// Which generation of a provider's machines.
    Generation {
        /// Not known, or the provider has none.
        None = "none",
        /// Hyper-V's and Azure's second: it boots by UEFI, which the first cannot.
        Two = "2",
        /// AWS on the Nitro hypervisor.
        Nitro = "nitro",
        /// AWS on Xen.
        Xen = "xen",
    }
}

named! {
    /// How storage is presented.
    Shape {
        /// Azure's managed disks, on its NVMe controller for remote disks.
        AzureManagedDisk = "azure-managed-disk",
        /// Azure's local disks.
        AzureLocalNvme = "azure-local-nvme",
        /// AWS's EBS volumes.
        AwsEbsNvme = "aws-ebs-nvme",
        /// AWS's local disks.
        AwsLocalNvme = "aws-local-nvme",
        /// Google's persistent disks.
        GcpPersistentDiskNvme = "gcp-persistent-disk-nvme",
        /// Google's local disks.
        GcpLocalNvme = "gcp-local-nvme",
        /// Alibaba's cloud disks.
        AlibabaCloudDiskNvme = "alibaba-cloud-disk-nvme",
        /// QEMU's NVMe controller.
        QemuNvme = "qemu-nvme",
        /// A standard NVMe controller that names no cloud.
        StandardNvme = "standard-nvme",
        /// No NVMe controller was seen, but there is a VMBus, which may carry one, or SCSI disks.
        NoneVisible = "none-visible",
        /// No NVMe controller was seen.
        None = "none",
    }
}
