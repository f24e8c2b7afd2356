//! Evidence of what the machine is: what CPUID, SMBIOS and ACPI hold, and what NVMe controllers answer, turned into
//! items ([`abi::evidence`]). Each source is read with every offset checked: firmware wrote these tables, and a machine
//! that is not what it says must not keep this one from booting.

pub mod acpi;
pub mod identify;
pub mod processor;
pub mod smbios;

use abi::evidence::{Item, Topic, text};
use abi::system_call::PciAddress;

/// Memory that firmware filled, by physical address.
pub trait PhysicalMemory {
    /// So many bytes; `None` where there is no memory of firmware's.
    fn read(&self, address: u64, bytes: usize) -> Option<&[u8]>;
}

/// Says that evidence could not be had.
pub fn unavailable(topic: Topic, address: Option<PciAddress>, reason: &str) -> Item {
    Item::Unavailable { topic, address, reason: text(reason.as_bytes()) }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn double(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whether the bytes add up to zero, as those of firmware's tables do.
fn adds_up(bytes: &[u8]) -> bool {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

#[cfg(test)]
mod tests {
    use super::PhysicalMemory;
    extern crate std;
    use std::vec::Vec;

    /// Memory for tests: pieces at addresses.
    #[derive(Default)]
    pub struct Pieces(pub Vec<(u64, Vec<u8>)>);

    impl PhysicalMemory for Pieces {
        fn read(&self, address: u64, bytes: usize) -> Option<&[u8]> {
            self.0.iter().find_map(|(start, piece)| {
                let at = usize::try_from(address.checked_sub(*start)?).ok()?;
                piece.get(at..at.checked_add(bytes)?)
            })
        }
    }

    /// Corrects the byte at `at` so that all add up to zero.
    pub fn checksum(bytes: &mut [u8], at: usize) {
        bytes[at] = 0;
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[at] = sum.wrapping_neg();
    }
}
