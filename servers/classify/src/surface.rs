//! What was observed of the controller in this boot.

use core::fmt;

use protocol::nvme::Controller;
use task::abi::system_call::DeviceInformation;

/// PCI class, subclass and programming interface of a standard NVMe controller (NVMe over PCIe transport 1.0, 3.8.1.4).
pub const NVME_CLASS: (u8, u8, u8) = (0x01, 0x08, 0x02);

/// PCI vendor of QEMU's own NVMe controller.
const QEMU_VENDOR: u16 = 0x1b36;
/// PCI vendor of QEMU's NVMe controller with `use-intel-id=on`.
const INTEL_VENDOR: u16 = 0x8086;
/// Model number of QEMU's NVMe controller, under either vendor.
const QEMU_MODEL: &str = "QEMU NVMe Ctrl";

/// An NVMe controller, as its configuration space and its driver tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    /// PCI vendor identifier.
    pub vendor: u16,
    /// PCI device identifier.
    pub device: u16,
    /// Whether it is QEMU's model of a controller.
    pub is_qemu: bool,
    /// Whether a driver of this system has bound it: it answered as a controller, and the device is switched on.
    pub bound: bool,
}

/// Why there is nothing to classify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSurface {
    /// No function of the machine matches the charter's selector.
    NoController,
    /// The function that matches is no NVMe controller.
    Class {
        /// Its class, subclass and programming interface.
        class: (u8, u8, u8),
    },
}

impl fmt::Display for NoSurface {
    /// As the value of a log line, with its further keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoController => write!(f, "no-controller"),
            Self::Class { class } => {
                write!(f, "not-nvme class={:#04x} subclass={:#04x} prog_if={:#04x}", class.0, class.1, class.2)
            }
        }
    }
}

impl Surface {
    /// From the device's configuration space, and what its driver says of the controller, if it does.
    ///
    /// # Errors
    /// Why there is nothing to classify.
    pub fn new(information: &DeviceInformation, controller: Option<&Controller>) -> Result<Self, NoSurface> {
        if !information.present {
            return Err(NoSurface::NoController);
        }
        if information.class != NVME_CLASS {
            return Err(NoSurface::Class { class: information.class });
        }
        let model = controller.map_or("", |controller| controller.model.as_str());
        Ok(Self {
            vendor: information.vendor,
            device: information.device,
            is_qemu: information.vendor == QEMU_VENDOR || (information.vendor == INTEL_VENDOR && model == QEMU_MODEL),
            bound: information.enabled && controller.is_some(),
        })
    }
}
