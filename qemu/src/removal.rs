//! Devices that vanish or die while the machine runs, without asking it.
//!
//! `device_del` only asks: QEMU 7.2 tells the guest, by ACPI or by the slot's attention button, and takes the device
//! away when the guest has agreed. A device that is pulled out does not wait for that. So the configuration space is
//! used here, as QEMU's monitor reaches it through ports 0xCF8 and 0xCFC; a guest that uses these ports itself at the
//! same moment would be disturbed, one on q35 uses ECAM instead.
//!
//! Three ways, from the driver's point of view:
//! - [`pull`]: the device is gone, with everything that it had under way. QEMU answers reads of what is no longer there
//!   with zeroes, not with the ones that PCI Express prescribes;
//! - [`Ones::cover`]: every register reads as ones and takes no write, as when a real device was pulled out. The device
//!   itself is still there and goes on with what it has; [`pull`] may follow;
//! - [`deafen`]: the device can no longer reach memory, and reports so when it next tries (CSTS.CFS).

use serde_json::{Value, json};

use crate::qmp::{Client, QmpError};

/// A PCI function of a running machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    /// Bus, device and function as configuration addresses hold them.
    address: u32,
    /// Its first memory BAR's place, if firmware has given it one.
    memory: Option<u64>,
}

/// Command register and its bits (PCI Local Bus 3.0, section 6.2.2).
const COMMAND: u8 = 0x04;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
/// First base address register.
const BARS: u8 = 0x10;
/// Where the list of capabilities begins.
const CAPABILITIES: u8 = 0x34;
/// PCI Express capability, its slot control register, and the bits of it that switch a slot off
/// (PCI Express Base 5.0, section 7.5.3.10).
const EXPRESS: u8 = 0x10;
const SLOT_CONTROL: u8 = 0x18;
const POWER_INDICATOR_OFF: u16 = 0b11 << 8;
const POWER_OFF: u16 = 1 << 10;

/// QEMU arguments for a machine whose root ports can be switched off with what is plugged into them.
pub fn arguments() -> Vec<String> {
    ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"].map(Into::into).into()
}

/// Takes away whatever is plugged into this root port, of a machine with [`arguments`].
///
/// The processors stand still meanwhile: one that is on its way to a register of the controller, and waits for QEMU's
/// lock while the controller is taken apart, makes QEMU 7.2 use a queue that it has freed (seen in a core dump: a
/// doorbell's write, a crash in `qemu_bh_schedule`). What the device has under way ends before, so what the guest has
/// submitted and not yet seen complete is what it loses.
///
/// # Errors
/// If there is no such port, or QEMU does not answer.
pub fn pull(control: &mut Client, port: &str) -> Result<(), QmpError> {
    control.pause()?;
    let pulled = switch_off(control, port);
    control.resume()?;
    pulled
}

fn switch_off(control: &mut Client, port: &str) -> Result<(), QmpError> {
    let port = find(control, port)?;
    let mut capability = control.read_config(port.address, CAPABILITIES)? as u8;
    while capability != 0 {
        let header = control.read_config(port.address, capability)?;
        if header as u8 == EXPRESS {
            let register = capability + SLOT_CONTROL;
            let old = control.read_config(port.address, register)? as u16;
            return control.write_config(port.address, register, old | POWER_OFF | POWER_INDICATOR_OFF);
        }
        capability = (header >> 8) as u8;
    }
    Err(QmpError::Unexpected("a root port without PCI Express capability".into()))
}

/// Takes a device's access to memory away.
///
/// # Errors
/// If there is no such device, or QEMU does not answer.
pub fn deafen(control: &mut Client, device: &str) -> Result<(), QmpError> {
    let device = find(control, device)?;
    let old = control.read_config(device.address, COMMAND)? as u16;
    control.write_config(device.address, COMMAND, old & !COMMAND_MASTER)
}

/// Memory full of ones that can be laid over a device's registers: a device of its own on the root bus (q35 only),
/// which nothing else uses.
#[derive(Debug)]
pub struct Ones {
    file: tempfile::NamedTempFile,
}

impl Ones {
    /// The identifier of the device.
    const IDENTIFIER: &str = "ones";
    const BYTES: usize = 64 << 10;

    /// Makes the memory.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn new() -> std::io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), vec![0xff; Self::BYTES])?;
        Ok(Self { file })
    }

    /// The same, but with these bytes at this place, which take no write either: of a machine that was not started yet.
    ///
    /// # Errors
    /// If they cannot be put there.
    pub fn with(self, place: u64, bytes: &[u8]) -> std::io::Result<Self> {
        std::os::unix::fs::FileExt::write_all_at(self.file.as_file(), bytes, place)?;
        Ok(self)
    }

    /// QEMU arguments for a machine that has it.
    pub fn arguments(&self) -> Vec<String> {
        let path = crate::machine::escaped(&self.file.path().to_string_lossy());
        let memory =
            format!("memory-backend-file,id=ones-memory,mem-path={path},size={},share=off,readonly=on", Self::BYTES);
        let device = format!("ivshmem-plain,id={},memdev=ones-memory", Self::IDENTIFIER);
        vec!["-object".into(), memory, "-device".into(), device]
    }

    /// Lays it over the registers of a device. The latest mapping is the one that counts in QEMU, and it comes to be
    /// with one write.
    ///
    /// # Errors
    /// If there is no such device, firmware has given it no place, or QEMU does not answer.
    pub fn cover(&self, control: &mut Client, device: &str) -> Result<(), QmpError> {
        let place = find(control, device)?
            .memory
            .ok_or_else(|| QmpError::Unexpected(format!("{device} has no memory mapped")))?;
        let ones = find(control, Self::IDENTIFIER)?.address;
        let command = control.read_config(ones, COMMAND)? as u16;
        control.write_config(ones, COMMAND, command & !COMMAND_MEMORY)?;
        // The memory is BAR 2, which has 64 bits.
        control.write_config_long(ones, BARS + 8, place as u32)?;
        control.write_config_long(ones, BARS + 12, (place >> 32) as u32)?;
        control.write_config(ones, COMMAND, command | COMMAND_MEMORY)
    }
}

/// The function of a device with this identifier, behind whatever bridges.
fn find(control: &mut Client, identifier: &str) -> Result<Function, QmpError> {
    let buses = control.execute("query-pci", json!({}))?;
    search(&buses, identifier).ok_or_else(|| QmpError::Unexpected(format!("no PCI device {identifier}")))
}

fn search(buses: &Value, identifier: &str) -> Option<Function> {
    buses.as_array()?.iter().find_map(|bus| {
        bus["devices"].as_array()?.iter().find_map(|device| {
            if device["qdev_id"] == identifier {
                let [bus, slot, function] = ["bus", "slot", "function"].map(|key| device[key].as_u64());
                let address = (bus? as u32) << 16 | (slot? as u32) << 11 | (function? as u32) << 8;
                // An address of -1 is none.
                let memory = device["regions"].as_array()?.iter().find(|region| region["type"] == "memory");
                return Some(Function { address, memory: memory.and_then(|region| region["address"].as_u64()) });
            }
            let bridge = device.get("pci_bridge")?;
            search(&json!([{ "devices": bridge["devices"] }]), identifier)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_behind_a_bridge_is_found() {
        let buses = json!([{ "devices": [
            { "qdev_id": "", "bus": 0, "slot": 0, "function": 0, "regions": [] },
            { "qdev_id": "port0", "bus": 0, "slot": 3, "function": 0, "pci_bridge": { "devices": [
                { "qdev_id": "nvme0", "bus": 1, "slot": 2, "function": 1, "regions": [
                    { "type": "io", "address": 1 }, { "type": "memory", "address": 0x8000_0000_u64 } ] } ] },
              "regions": [{ "type": "memory", "address": -1 }] } ] }]);
        let place = |address, memory| Some(Function { address, memory });
        assert_eq!(search(&buses, "nvme0"), place(0x1_1100, Some(0x8000_0000)));
        assert_eq!(search(&buses, "port0"), place(0x1800, None));
        assert_eq!(search(&buses, "nvme1"), None);
    }
}
