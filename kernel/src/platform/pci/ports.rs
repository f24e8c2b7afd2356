//! Configuration space through two I/O ports: the address, then the data (PCI Local Bus Specification 3.0, 3.2.2.3.2).

use abi::system_call::PciAddress;
use x86_64::instructions::port::Port;

use super::Bus;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

/// The two ports. There is one kernel context at a time, so nothing comes between an address and its data.
#[derive(Clone, Copy, Debug)]
pub struct Ports;

/// What selects a word; `None` for what these ports do not reach: other segments, and extended configuration space.
fn selection(address: PciAddress, offset: u16) -> Option<u32> {
    let reached = address.segment == 0 && offset < 0x100 && offset.is_multiple_of(4);
    reached.then(|| {
        1 << 31
            | u32::from(address.bus) << 16
            | u32::from(address.device & 31) << 11
            | u32::from(address.function & 7) << 8
            | u32::from(offset)
    })
}

impl Ports {
    /// Whether the ports are there: the address is kept only by a host bridge that listens to it. Generation 2 virtual
    /// machines have none.
    pub fn answer(self) -> bool {
        const ENABLED: u32 = 1 << 31;
        let mut address = Port::new(ADDRESS);
        // SAFETY: as below; the data port is not touched, so no configuration space is.
        unsafe {
            address.write(ENABLED);
            address.read() == ENABLED
        }
    }
}

impl Bus for Ports {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        let Some(selection) = selection(address, offset) else { return u32::MAX };
        // SAFETY: these ports are PCI's on every PC, and the kernel alone uses them.
        unsafe {
            Port::new(ADDRESS).write(selection);
            Port::new(DATA).read()
        }
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        let Some(selection) = selection(address, offset) else { return };
        // SAFETY: as above. What a word means is the caller's business: bus mastering goes only to devices that have a
        // broker.
        unsafe {
            Port::new(ADDRESS).write(selection);
            Port::new(DATA).write(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_ports_reach_is_selected() {
        let address = PciAddress { segment: 0, bus: 1, device: 31, function: 7 };
        assert_eq!(selection(address, 0x3c), Some(0x8001_ff3c));
        assert_eq!(selection(address, 0x100), None);
        assert_eq!(selection(address, 0x3d), None);
        assert_eq!(selection(PciAddress { segment: 1, ..address }, 0), None);
    }
}
