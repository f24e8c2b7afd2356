//! Memory for units made up for tests, and how hardware walks what lies in it.

use core::ptr::NonNull;

use super::domain::{Domain, Run};
use super::interrupts::{InterruptTable, Processors, Sender};
use super::{Capabilities, Reason, moved};
use crate::platform::Mapper;
use crate::platform::msix::Message;
use proptest::prelude::*;

extern crate std;
use std::alloc::{Layout, alloc_zeroed};
use std::vec::Vec as List;

/// Gives pages of the host, whose physical addresses are their own, and never takes them back.
pub(super) struct HostMemory {
    /// Pages that are left.
    pub(super) left: usize,
}

impl HostMemory {
    pub(super) const fn plenty() -> Self {
        Self { left: usize::MAX }
    }
}

impl Mapper for HostMemory {
    fn map_device(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn map_firmware(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn map_transient(&mut self, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(Layout::from_size_align(4096, 4096).ok()?) })?;
        Some((start, start.as_ptr() as u64))
    }
}

/// Reads a word of a table, as hardware does.
pub(super) fn word(physical: u64) -> u64 {
    assert!(physical != 0 && physical.is_multiple_of(8), "{physical:#x}");
    // SAFETY: tables hold nothing but addresses of pages that `HostMemory` gave for ever.
    unsafe { (physical as *const u64).read_volatile() }
}

/// Writes a word, as hardware does.
pub(super) fn set_word(physical: u64, value: u32) {
    // SAFETY: as above.
    unsafe { (physical as *mut u32).write_volatile(value) }
}

/// Where an address leads in second-level tables; `None` if nowhere, or not for both reading and writing.
pub(super) fn walk(root: u64, levels: u8, address: u64) -> Option<u64> {
    if address >> (12 + 9 * u32::from(levels)) != 0 {
        return None;
    }
    let mut table = root;
    for level in (0..levels).rev() {
        let index = address >> (12 + 9 * u32::from(level)) & 511;
        let entry = word(table + index * 8);
        if entry & 0b11 != 0b11 {
            assert_eq!(entry, 0, "half an entry");
            return None;
        }
        assert_eq!(entry & 0xf80, 0, "no large pages, nothing reserved");
        table = entry & !0xfff;
    }
    Some(table | address & 0xfff)
}

fn capabilities(levels: u8) -> Capabilities {
    Capabilities {
        levels,
        address_bits: if levels == 4 { 48 } else { 39 },
        fault_records: 0x220,
        fault_record_count: 1,
        caching_mode: false,
        write_buffer_flush: false,
        coherent: false,
        extended_interrupts: false,
        protected_memory: false,
    }
}

#[test]
fn a_domain_leads_where_it_says_and_nowhere_else() {
    let runs = [
        Run { seen: 0x20_0000, physical: 0x7_0000_0000, bytes: 0x3000 },
        Run { seen: 0x3f_f000, physical: 0x1000, bytes: 0x2000 },
        Run { seen: 0x40_0000_0000, physical: 0x55_5000, bytes: 0x1000 },
    ];
    for levels in [3, 4] {
        let domain = Domain::build(&mut HostMemory::plenty(), &capabilities(levels), 1, &runs).unwrap();
        let to = |address| walk(domain.root, levels, address);
        assert_eq!(to(0x20_2123), Some(0x7_0000_2123));
        assert_eq!(to(0x3f_f000), Some(0x1000));
        assert_eq!(to(0x40_0000), Some(0x2000), "over the border of two tables");
        assert_eq!(to(0x40_0000_0fff), Some(0x55_5fff));
        for outside in [0, 0x1f_ffff, 0x20_3000, 0x40_1000, 0x3f_ffff_ffff, 0x40_0000_1000, 0x7_0000_0000, u64::MAX] {
            assert_eq!(to(outside), None, "{outside:#x}");
        }
    }
}

#[test]
fn what_a_unit_cannot_translate_and_what_there_is_no_memory_for_is_no_domain() {
    let build = |left, seen| {
        let runs = [Run { seen, physical: 0x1000, bytes: 0x2000 }];
        Domain::build(&mut HostMemory { left }, &capabilities(3), 1, &runs).map(|_| ())
    };
    assert_eq!(build(9, (1 << 39) - 0x2000), Ok(()));
    assert_eq!(build(9, (1 << 39) - 0x1000), Err(Reason::AddressWidth));
    assert_eq!(build(9, u64::MAX - 0xfff), Err(Reason::AddressWidth));
    assert_eq!(build(3, 0x1000), Ok(()));
    assert_eq!(build(2, 0x1000), Err(Reason::NoMemory));
}

#[test]
fn an_interrupt_is_taken_from_its_sender_alone() {
    let mut table = InterruptTable::new(&mut HostMemory::plenty(), Processors::Narrow).unwrap();
    let page = table.register() & !0xfff;
    assert_eq!(table.register() & 0xfff, 7, "256 entries, numbers of eight bits");
    assert_eq!(table.add(Sender::Requester(0x0108), 3, 0x41, false), Ok(0));
    assert_eq!(table.add(Sender::Bus(5), 0, 0x42, true), Ok(1));
    assert_eq!((word(page), word(page + 8)), (3 << 40 | 0x41 << 16 | 1, 0b01 << 18 | 0x0108));
    assert_eq!((word(page + 16), word(page + 24)), (0x42 << 16 | 1 << 4 | 1, 0b10 << 18 | 0x0505));
    assert_eq!(word(page + 32), 0, "what is not given is not present");
    assert_eq!(table.add(Sender::Bus(5), 256, 0x42, true), Err(Reason::ProcessorNumber));
    for entry in 2..256 {
        assert_eq!(table.add(Sender::Bus(0), 0, 0x40, false), Ok(entry));
    }
    assert_eq!(table.add(Sender::Bus(0), 0, 0x40, false), Err(Reason::NoMemory));
    let mut wide = InterruptTable::new(&mut HostMemory::plenty(), Processors::Wide).unwrap();
    assert_eq!(wide.add(Sender::Bus(0), 0x1_0000, 0x40, false), Ok(0));
    assert_eq!(word(wide.register() & !0xfff) >> 32, 0x1_0000);
}

#[test]
fn a_message_names_its_entry() {
    assert_eq!(Message::remapped(0), Message { address: 0xfee0_0010, data: 0 });
    assert_eq!(Message::remapped(0x8005), Message { address: 0xfee0_00b4, data: 0 });
}

proptest! {
    #[test]
    fn what_is_moved_is_apart_and_never_where_the_canary_is(
        runs in prop::collection::vec((1u64..1 << 40, 1u64..0x4_0000), 0..5),
        canary in prop_oneof![0u64..1 << 40, Just(1u64 << 38), Just(1u64 << 32)],
    ) {
        let runs: List<_> = runs.iter().map(|(page, pages)| (page << 12, pages << 12)).collect();
        let (seen, moved) = moved(&runs, canary & !0xfff);
        prop_assert_eq!(seen.len(), runs.len());
        let mut end = 0;
        for (run, (physical, bytes)) in moved.iter().zip(&runs) {
            prop_assert!(run.seen > end && run.seen + run.bytes < 1 << 39);
            prop_assert_eq!((run.physical, run.bytes), (*physical, *bytes));
            prop_assert!(!(run.seen..run.seen + run.bytes).contains(&(canary & !0xfff)));
            end = run.seen + run.bytes;
        }
    }
}
