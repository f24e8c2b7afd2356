//! In place of a broker: for a device of whose kind the kernel knows nothing but its BARs and its MSI-X table.
//!
//! Nobody reads what such a device is told, so it is used only behind an IOMMU that was seen to hold, by a driver that has
//! its registers mapped; else its bus mastering stays off. How to make it stop nobody knows either: its bus mastering is
//! switched off, and what it may still have on its way the IOMMU drains before memory is used again.

use abi::Error;
use abi::layout::{DIRECT_REGISTERS, DIRECT_STRIDE, PAGE_BYTES};
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use broker::{Broker, Device, Ledger, Progress, Refusal, Submitted};

/// The most of a BAR that is mapped into a driver: what there is room for.
const REGISTERS_MAX: u32 = (DIRECT_STRIDE - DIRECT_REGISTERS) as u32;

/// Nobody checks commands of this device.
#[derive(Debug)]
pub(super) struct NoBroker {
    /// Bytes of registers from the BAR's first on, whole pages.
    registers: u32,
}

/// Why a call was refused that a broker would answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device has no broker")]
pub struct Nobody;

impl broker::Reason for Nobody {
    fn code(self) -> u16 {
        1
    }
}

const REFUSAL: Refusal<Nobody> = Refusal { error: Error::Denied, because: Nobody };

impl Broker for NoBroker {
    type Reason = Nobody;

    /// A page, which its driver may use beside its regions.
    const HIDDEN_BYTES: u32 = PAGE_BYTES as u32;
    const SEES_STOP: bool = false;

    fn new(ledger: Ledger) -> Self {
        let reserved = ledger.reserved.iter().map(|(first, _)| *first).min().unwrap_or(u32::MAX);
        let end = ledger.register_bytes.min(reserved).min(REGISTERS_MAX);
        Self { registers: end - end % PAGE_BYTES as u32 }
    }

    fn is_enabled(&self) -> bool {
        false
    }

    /// As many whole pages as hold nothing of the MSI-X structures; at least one, or there is nothing to drive it by.
    fn direct_registers(&self, _: &mut impl Device) -> Option<u32> {
        Some(self.registers.max(PAGE_BYTES as u32))
    }

    /// It may read and write its memory from when it is handed over.
    fn is_on(&self, _: &mut impl Device) -> bool {
        true
    }

    fn read(&mut self, _: &mut impl Device, _: u32, _: u8) -> Result<u64, Refusal<Nobody>> {
        Err(REFUSAL)
    }

    fn write(&mut self, _: &mut impl Device, _: u32, _: u8, _: u64) -> Result<(), Refusal<Nobody>> {
        Err(REFUSAL)
    }

    fn submit(&mut self, _: &mut impl Device, _: u16, _: &[[u8; DEVICE_COMMAND_BYTES]]) -> Submitted<Nobody> {
        Submitted { accepted: 0, refused: Some(REFUSAL) }
    }

    fn complete(
        &mut self,
        _: &mut impl Device,
        _: u16,
        _: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Refusal<Nobody>> {
        Err(REFUSAL)
    }

    fn collect(&mut self, _: &mut impl Device, _: u16, _: u16, _: &mut [u8]) -> Result<usize, Refusal<Nobody>> {
        Err(REFUSAL)
    }

    fn quiesce(&mut self, device: &mut impl Device) -> Progress {
        device.set_bus_mastering(false);
        device.set_interrupts(false);
        Progress::Done
    }
}
