use super::*;
use crate::platform::pci::fake::FakeFunction;
use proptest::prelude::*;

extern crate std;
use std::boxed::Box;
use std::vec;
use std::vec::Vec as StdVec;

const CAPABILITY: u8 = 0x50;
const BAR_ADDRESS: u64 = 0xfebf_0000;
const BAR_BYTES: usize = 0x4000;

/// A BAR's registers as memory of the test, and what was mapped of it.
struct Machine {
    bar: &'static mut [u8],
    mapped: StdVec<(u64, u64)>,
}

impl Mapper for Machine {
    fn map_device(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>> {
        self.mapped.push((physical, bytes));
        let start = physical.checked_sub(BAR_ADDRESS)? as usize;
        NonNull::new(self.bar.get_mut(start..start + bytes as usize)?.as_mut_ptr())
    }

    fn map_firmware(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn map_transient(&mut self, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
        None
    }
}

fn machine() -> Machine {
    // Of words, so that the table is aligned.
    let words: &'static mut [u128] = Box::leak(vec![u128::MAX; BAR_BYTES / 16].into_boxed_slice());
    // SAFETY: the same memory as bytes; it is leaked and used through this alone.
    let bar = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), BAR_BYTES) };
    Machine { bar, mapped: StdVec::new() }
}

fn function(entries: u16, table: u32, pending: u32) -> FakeFunction {
    let mut function = FakeFunction::endpoint(0x1b36, 0x10, [1, 8, 2]);
    function.set_bar(0, BAR_ADDRESS as u32, 0xffff_c000);
    function.add_capability(CAPABILITY, capability::MSI_X, [table, pending]);
    function.set_control(CAPABILITY, entries - 1);
    function
}

fn control(function: &mut FakeFunction) -> u32 {
    function.read(CAPABILITY.into()) & (ENABLE | FUNCTION_MASK)
}

/// A table entry: address, upper address, data, control.
fn entry(machine: &Machine, table: usize, number: usize) -> [u32; 4] {
    let at = table + number * 16;
    core::array::from_fn(|word| u32::from_le_bytes(machine.bar[at + 4 * word..][..4].try_into().expect("four bytes")))
}

#[test]
fn only_granted_entries_send_and_only_their_message() {
    let (mut machine, mut function) = (machine(), function(65, 0x2000, 0x3000));
    let mut msix = MsiX::open(&mut machine, &mut function).expect("usable");
    assert_eq!(msix.entries(), 65);
    assert_eq!(machine.mapped, [(BAR_ADDRESS + 0x2000, 65 * 16)]);
    let message = Message::to_cpu(3, 0x41);
    msix.switch_on(&mut function, &[(1, message), (65, Message::to_cpu(0, 0x42)), (u16::MAX, message)]);
    assert_eq!(control(&mut function), ENABLE);
    assert_eq!(entry(&machine, 0x2000, 1), [0xfee0_3000, 0, 0x41, 0]);
    for number in (0..65).filter(|number| *number != 1) {
        assert_eq!(entry(&machine, 0x2000, number)[3], ENTRY_MASKED, "{number}");
    }
    assert_eq!(entry(&machine, 0x2000, 65), [u32::MAX; 4], "beyond the table");
    msix.switch_off(&mut function);
    assert_eq!(control(&mut function), FUNCTION_MASK);
}

#[test]
fn a_table_that_the_device_changed_is_written_anew() {
    let (mut machine, mut function) = (machine(), function(4, 0x2000, 0x3000));
    let mut msix = MsiX::open(&mut machine, &mut function).expect("usable");
    let message = (2, Message::to_cpu(0, 0x50));
    msix.switch_on(&mut function, &[message]);
    machine.bar[0x2000..0x2040].fill(0);
    msix.switch_on(&mut function, &[message]);
    assert_eq!(entry(&machine, 0x2000, 0)[3], ENTRY_MASKED);
    assert_eq!(entry(&machine, 0x2000, 2), [0xfee0_0000, 0, 0x50, 0]);
}

#[test]
fn the_ranges_in_the_granted_bar_are_reserved() {
    let mut machine = machine();
    let msix = MsiX::open(&mut machine, &mut function(65, 0x2000, 0x3000)).expect("usable");
    assert_eq!(msix.reserved(0)[..], [(0x2000, 65 * 16), (0x3000, 16)]);
    assert!(msix.reserved(2).is_empty());
}

#[test]
fn tables_that_cannot_be_used_are_named() {
    let mut machine = machine();
    let error = |machine: &mut Machine, mut function: FakeFunction| MsiX::open(machine, &mut function).err();
    let plain = FakeFunction::endpoint(1, 1, [1, 8, 2]);
    assert_eq!(error(&mut machine, plain), Some(MsiXError::Missing));
    assert_eq!(error(&mut machine, function(65, 0x3c00, 0)), Some(MsiXError::Beyond));
    assert_eq!(error(&mut machine, function(2048, 0, 0x3000)), Some(MsiXError::Beyond));
    assert_eq!(error(&mut machine, function(1, 0xffff_fff8, 0)), Some(MsiXError::Beyond));
    assert_eq!(error(&mut machine, function(1, 0x2003, 0)), Some(MsiXError::Bar(3, BarError::Missing)));
    assert_eq!(error(&mut machine, function(1, 0x2007, 0)), Some(MsiXError::Bar(7, BarError::Missing)));
    assert!(machine.mapped.is_empty());
}

proptest! {
    #[test]
    fn what_is_mapped_lies_inside_the_bar(entries in 1u16..=2048, table: u32, pending: u32) {
        let mut machine = machine();
        if let Ok(msix) = MsiX::open(&mut machine, &mut function(entries, table & !7, pending)) {
            let (start, bytes) = machine.mapped[0];
            prop_assert!(start >= BAR_ADDRESS && start + bytes <= BAR_ADDRESS + BAR_BYTES as u64);
            prop_assert_eq!(bytes, u64::from(msix.entries()) * 16);
        }
    }
}
