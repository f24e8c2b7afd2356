//! Configuration space as memory: one page a function (PCI Express Base 5.0, 7.2.2).

use abi::system_call::PciAddress;

use super::Bus;
use crate::platform::Mapper;
use crate::platform::acpi::EcamRange;
use crate::platform::registers::Registers;

/// Bytes of one function's configuration space.
pub const FUNCTION_BYTES: u64 = 4096;

/// Physical address of a function's page; `None` if no range holds it.
pub fn page(ranges: &[EcamRange], address: PciAddress) -> Option<u64> {
    let range = ranges
        .iter()
        .find(|range| range.segment == address.segment && (range.first_bus..=range.last_bus).contains(&address.bus))?;
    let number = u64::from(address.bus) << 8 | u64::from(address.device & 31) << 3 | u64::from(address.function & 7);
    Some(range.base + number * FUNCTION_BYTES)
}

/// Every function, one page mapped at a time.
#[derive(Debug)]
pub struct Ecam<'a, M> {
    mapper: &'a mut M,
    ranges: &'a [EcamRange],
    mapped: Option<(u64, Registers)>,
}

impl<'a, M: Mapper> Ecam<'a, M> {
    /// Through these ranges.
    pub fn new(mapper: &'a mut M, ranges: &'a [EcamRange]) -> Self {
        Self { mapper, ranges, mapped: None }
    }

    fn registers(&mut self, address: PciAddress) -> Option<&mut Registers> {
        let page = page(self.ranges, address)?;
        if self.mapped.as_ref().is_none_or(|(mapped, _)| *mapped != page) {
            self.mapped = None;
            let start = self.mapper.map_transient(page)?;
            // SAFETY: `map_transient` maps the page until its next call, which replaces this value; firmware says that
            // it is configuration space.
            let registers = unsafe { Registers::new(start, FUNCTION_BYTES as u32) };
            self.mapped = Some((page, registers));
        }
        self.mapped.as_mut().map(|(_, registers)| registers)
    }
}

impl<M: Mapper> Bus for Ecam<'_, M> {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        self.registers(address).map_or(u32::MAX, |registers| registers.read_u32(offset.into()))
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        if let Some(registers) = self.registers(address) {
            registers.write_u32(offset.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_its_own_page_in_its_range_only() {
        let ranges = [
            EcamRange { base: 0xb000_0000, segment: 0, first_bus: 0, last_bus: 63 },
            EcamRange { base: 0x8_0000_0000, segment: 1, first_bus: 16, last_bus: 255 },
        ];
        let at = |segment, bus, device, function| page(&ranges, PciAddress { segment, bus, device, function });
        assert_eq!(at(0, 0, 0, 0), Some(0xb000_0000));
        assert_eq!(at(0, 1, 31, 7), Some(0xb01f_f000));
        assert_eq!(at(0, 64, 0, 0), None);
        assert_eq!(at(1, 16, 0, 1), Some(0x8_0100_1000));
        assert_eq!(at(1, 15, 0, 0), None);
        assert_eq!(at(2, 0, 0, 0), None);
    }
}
