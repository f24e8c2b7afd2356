//! Base address registers: where firmware put a function's registers, and how many there are.
//!
//! The kernel moves none. A size is found by writing all ones, with decoding off meanwhile, so that the function
//! answers nowhere else; everything is put back (PCI Local Bus Specification 3.0, 6.2.5.1).

use heapless::Vec;

use super::{BARS, Function, MEMORY_DECODING, PORT_DECODING};

/// BARs of a function.
pub const COUNT: u8 = 6;
/// BARs of a bridge.
pub const BRIDGE_COUNT: u8 = 2;
const IS_PORT: u32 = 1 << 0;
const TYPE: u32 = 0b110;
const TYPE_32: u32 = 0b000;
const TYPE_64: u32 = 0b100;
const ATTRIBUTES: u64 = 0xf;
/// More than any physical address.
const ADDRESS_END: u64 = 1 << 52;

/// A BAR in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBar {
    /// Physical address, a multiple of `bytes`.
    pub address: u64,
    /// Its size, a power of two, at least 16.
    pub bytes: u64,
}

/// Why a BAR cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarError {
    /// There is no such BAR, or it is the upper half of another.
    #[error("does not exist")]
    Missing,
    /// It is in I/O space.
    #[error("is in port space")]
    Port,
    /// Firmware gave it no address.
    #[error("has no address")]
    Unassigned,
    /// Its size or address makes no sense.
    #[error("makes no sense")]
    Malformed,
}

/// Reads a BAR that must be in memory.
///
/// # Errors
/// See [`BarError`].
pub fn memory(function: &mut (impl Function + ?Sized), index: u8) -> Result<MemoryBar, BarError> {
    let is_wide = kind(function, index)?;
    let at = BARS + 4 * u16::from(index);
    let command = function.command();
    function.set_command(command & !(MEMORY_DECODING | PORT_DECODING));
    let (low, low_mask) = probe(function, at);
    let (high, high_mask) = if is_wide { probe(function, at + 4) } else { (0, u32::MAX) };
    function.set_command(command);

    let address = (u64::from(high) << 32 | u64::from(low)) & !ATTRIBUTES;
    let mask = (u64::from(high_mask) << 32 | u64::from(low_mask)) & !ATTRIBUTES;
    if low_mask == 0 {
        return Err(BarError::Missing);
    }
    let bytes = (!mask).wrapping_add(1);
    if !bytes.is_power_of_two() {
        return Err(BarError::Malformed);
    }
    // Nothing sensible lies at 0, and all ones is what an interrupted sizing leaves.
    let all_ones = if is_wide { mask } else { mask & u64::from(u32::MAX) };
    if address == 0 || address == all_ones {
        return Err(BarError::Unassigned);
    }
    if address & (bytes - 1) != 0 || address.checked_add(bytes).is_none_or(|end| end > ADDRESS_END) {
        return Err(BarError::Malformed);
    }
    Ok(MemoryBar { address, bytes })
}

/// Where the first `count` BARs of a function begin that are in memory and have an address, but for `except`.
pub fn bases(function: &mut (impl Function + ?Sized), count: u8, except: Option<u8>) -> Vec<u64, { COUNT as usize }> {
    let mut bases = Vec::new();
    let mut index = 0;
    while index < count {
        let at = BARS + 4 * u16::from(index);
        let low = function.read(at);
        let is_memory = low & IS_PORT == 0;
        let is_wide = is_memory && low & TYPE == TYPE_64 && index + 1 < count;
        let high = if is_wide { function.read(at + 4) } else { 0 };
        let address = (u64::from(high) << 32 | u64::from(low)) & !ATTRIBUTES;
        if is_memory && address != 0 && except != Some(index) {
            // There are no more than fit.
            let _ = bases.push(address);
        }
        index += if is_wide { 2 } else { 1 };
    }
    bases
}

/// Whether the BAR is 64 bits wide; the registers before it say whether there is one here at all.
fn kind(function: &mut (impl Function + ?Sized), index: u8) -> Result<bool, BarError> {
    let mut current = 0;
    while current < COUNT {
        let value = function.read(BARS + 4 * u16::from(current));
        let is_wide = value & IS_PORT == 0 && value & TYPE == TYPE_64;
        if current == index {
            return match value & (IS_PORT | TYPE) {
                TYPE_32 => Ok(false),
                TYPE_64 if index + 1 < COUNT => Ok(true),
                port if port & IS_PORT != 0 => Err(BarError::Port),
                _ => Err(BarError::Malformed),
            };
        }
        current += if is_wide { 2 } else { 1 };
        if current > index {
            break;
        }
    }
    Err(BarError::Missing)
}

/// A register's value, and which of its bits can be set.
fn probe(function: &mut (impl Function + ?Sized), at: u16) -> (u32, u32) {
    let value = function.read(at);
    function.write(at, u32::MAX);
    let mask = function.read(at);
    function.write(at, value);
    (value, mask)
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeFunction;
    use super::*;
    use proptest::prelude::*;

    fn function(bar: u8, value: u64, writable: u64) -> FakeFunction {
        let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
        function.set_bar(bar, value as u32, writable as u32);
        if value & 0b111 == 0b100 {
            function.set_bar(bar + 1, (value >> 32) as u32, (writable >> 32) as u32);
        }
        function
    }

    #[test]
    fn sizes_and_addresses_of_both_widths() {
        let cases = [
            (0xfebf_0000u64, 0xffff_c000u64, 0xfebf_0000u64, 0x4000u64),
            (0xfebf_0008, 0xffff_c000, 0xfebf_0000, 0x4000),
            (0x38_0000_0004, 0xffff_ffff_ffff_c000, 0x38_0000_0000, 0x4000),
            (0x38_0000_000c, 0xffff_fffc_0000_0000, 0x38_0000_0000, 0x4_0000_0000),
        ];
        for (value, writable, address, bytes) in cases {
            let mut function = function(0, value, writable);
            assert_eq!(memory(&mut function, 0), Ok(MemoryBar { address, bytes }), "{value:#x}");
        }
    }

    #[test]
    fn sizing_happens_with_decoding_off_and_leaves_everything_as_it_was() {
        let mut function = function(0, 0x38_0000_0004, 0xffff_ffff_ffff_c000);
        function.set_byte(4, 0b111);
        let before = function.clone();
        assert!(memory(&mut function, 0).is_ok());
        assert_eq!(function.bytes(), before.bytes());
        assert!(!function.sized_while_decoding);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(memory(&mut function(0, 0, 0), 0), Err(BarError::Missing));
        assert_eq!(memory(&mut function(0, 0xc001, 0xfffc), 0), Err(BarError::Port));
        assert_eq!(memory(&mut function(0, 0, 0xffff_c000), 0), Err(BarError::Unassigned));
        assert_eq!(memory(&mut function(0, 4, 0xffff_ffff_ffff_c000), 0), Err(BarError::Unassigned));
        assert_eq!(memory(&mut function(0, 0xffff_c000, 0xffff_c000), 0), Err(BarError::Unassigned));
        assert_eq!(memory(&mut function(0, 0x1000, 0x0fff_f000), 0), Err(BarError::Malformed));
        assert_eq!(memory(&mut function(0, 0x38_0000_0004, 0xffff_ffff_ffff_c000), 1), Err(BarError::Missing));
        assert_eq!(memory(&mut function(5, 0xfeb0_0004, 0xffff_f000), 5), Err(BarError::Malformed));
        assert_eq!(memory(&mut function(0, 0xfeb0_0000, 0xffff_f000), 6), Err(BarError::Missing));
        assert_eq!(memory(&mut function(0, 0xfff0_0000_0000_0004, 0xffff_ffff_ffff_c000), 0), Err(BarError::Malformed));
    }

    #[test]
    fn a_function_that_is_gone_has_no_bar() {
        let mut gone = FakeFunction::raw(&[0xff; 256]);
        assert!(memory(&mut gone, 0).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_aligned_and_ends(index in 0u8..8, values in prop::array::uniform6(any::<(u32, u32)>())) {
            let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
            for (bar, (value, writable)) in values.into_iter().enumerate() {
                function.set_bar(bar as u8, value, writable);
            }
            if let Ok(bar) = memory(&mut function, index) {
                prop_assert!(bar.bytes.is_power_of_two() && bar.bytes >= 16);
                prop_assert_eq!(bar.address % bar.bytes, 0);
                prop_assert!(bar.address != 0 && bar.address + bar.bytes <= 1 << 52);
            }
        }
    }
}
