//! The list of a function's capabilities.

use super::{CAPABILITIES, COMMAND, Function};

/// Message-signalled interrupts.
pub const MSI: u8 = 0x05;
/// PCI Express.
pub const EXPRESS: u8 = 0x10;
/// Message-signalled interrupts with a table.
pub const MSI_X: u8 = 0x11;
/// Address translation services: a device that asks the IOMMU and remembers. In extended configuration space, as those
/// that follow.
pub const ADDRESS_TRANSLATION: u16 = 0x0f;
/// Page requests.
pub const PAGE_REQUEST: u16 = 0x13;
/// Process address space identifiers.
pub const PROCESS_ADDRESS_SPACE: u16 = 0x1b;

/// In the status register's half of the word: there is a list.
const HAS_CAPABILITIES: u32 = 1 << 20;
/// As many capabilities as fit between the header's end and 0x100: a longer list goes in circles.
const CAPABILITIES_MAX: usize = 48;
/// First offset that a capability can have.
const FIRST: u16 = 0x40;
/// The same of extended configuration space, and its end.
const EXTENDED: core::ops::Range<u16> = 0x100..0x1000;

/// Offset of the first capability of this kind.
pub fn find(function: &mut (impl Function + ?Sized), kind: u8) -> Option<u16> {
    if function.read(COMMAND) & HAS_CAPABILITIES == 0 {
        return None;
    }
    let mut at = function.read(CAPABILITIES) as u16 & 0xfc;
    for _ in 0..CAPABILITIES_MAX {
        if at < FIRST {
            return None;
        }
        let [found, next, ..] = function.read(at).to_le_bytes();
        if found == kind {
            return Some(at);
        }
        at = u16::from(next) & 0xfc;
    }
    None
}

/// Offset of the first capability of this kind in extended configuration space (PCI Express Base 5.0, 7.6.3); `None`
/// also if that space is not reached.
pub fn find_extended(function: &mut (impl Function + ?Sized), kind: u16) -> Option<u16> {
    let mut at = EXTENDED.start;
    // As many as fit: a longer list goes in circles.
    for _ in 0..EXTENDED.len() / 8 {
        let header = function.read(at);
        if header == 0 || header == u32::MAX {
            return None;
        }
        if header as u16 == kind {
            return Some(at);
        }
        at = (header >> 20) as u16 & !3;
        if !EXTENDED.contains(&at) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeFunction;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capabilities_are_found_in_any_order() {
        let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
        function.add_capability(0x40, 0x10, [0; 2]);
        function.add_capability(0x80, MSI_X, [0; 2]);
        assert_eq!(find(&mut function, MSI_X), Some(0x80));
        assert_eq!(find(&mut function, 0x10), Some(0x40));
        assert_eq!(find(&mut function, MSI), None);
    }

    #[test]
    fn a_circle_ends() {
        let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
        function.add_capability(0x40, 0, [0; 2]);
        function.set_byte(0x41, 0x40);
        assert_eq!(find(&mut function, MSI_X), None);
    }

    #[test]
    fn without_the_status_bit_there_is_no_list() {
        let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
        function.set_byte(0x34, 0x40);
        function.set_byte(0x40, MSI);
        assert_eq!(find(&mut function, MSI), None);
    }

    #[test]
    fn extended_capabilities_are_found_and_a_circle_ends() {
        let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
        assert_eq!(find_extended(&mut function, PAGE_REQUEST), None, "no such space");
        function.set_word(0x100, 0x200 << 20 | 1 << 16 | 1);
        function.set_word(0x200, 0x100 << 20 | 1 << 16 | u32::from(ADDRESS_TRANSLATION));
        assert_eq!(find_extended(&mut function, ADDRESS_TRANSLATION), Some(0x200));
        assert_eq!(find_extended(&mut function, PAGE_REQUEST), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 256)) {
            let mut function = FakeFunction::raw(&bytes);
            if let Some(at) = find(&mut function, MSI_X) {
                prop_assert!((0x40..0x100).contains(&at) && at % 4 == 0);
            }
        }
    }
}
