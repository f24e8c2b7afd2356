//! What a task learns of a device that it drives directly: behind an IOMMU that was verified in this boot, with rings and
//! registers of its own.
//!
//! No address here is a physical one: rings and registers are mapped into the task ([`crate::layout::DIRECT_START`]), and
//! what is told to the device are addresses of its own domain.

use crate::layout::{DIRECT_START, DIRECT_STRIDE};
use crate::package::DEVICE_REGIONS_MAX;
use crate::system_call::MESSAGE_WORDS;

/// What [`DeviceDirect`](crate::system_call::Number::DeviceDirect) answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectInformation {
    /// Bytes of memory for rings, whole pages, zeroed: no client's window covers it.
    pub ring_bytes: u32,
    /// Bytes of registers, whole pages from the BAR's first on.
    pub register_bytes: u32,
    /// Where the device finds the memory for rings.
    pub rings: u64,
    /// Where the device finds its DMA regions, by their number in commands; 0 for none.
    pub regions: [u64; DEVICE_REGIONS_MAX],
}

const _: () = assert!(DEVICE_REGIONS_MAX + 2 == MESSAGE_WORDS);

impl DirectInformation {
    /// As the six words of a system call's result.
    pub const fn to_words(self) -> [u64; MESSAGE_WORDS] {
        let [first, second, third, fourth] = self.regions;
        [self.ring_bytes as u64 | (self.register_bytes as u64) << 32, self.rings, first, second, third, fourth]
    }

    /// From the six words of a system call's result.
    pub const fn from_words([bytes, rings, first, second, third, fourth]: [u64; MESSAGE_WORDS]) -> Self {
        Self {
            ring_bytes: bytes as u32,
            register_bytes: (bytes >> 32) as u32,
            rings,
            regions: [first, second, third, fourth],
        }
    }
}

/// Where a task finds what it has of this device.
pub const fn part(device: u16) -> u64 {
    DIRECT_START + device as u64 * DIRECT_STRIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_the_registers() {
        let information = DirectInformation {
            ring_bytes: 0x3_0000,
            register_bytes: 0x2000,
            rings: 1 << 38,
            regions: [1 << 38 | 0x20_0000, 2, 3, u64::MAX],
        };
        assert_eq!(DirectInformation::from_words(information.to_words()), information);
    }
}
