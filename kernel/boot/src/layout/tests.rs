//! Kernels laid out in memory.

use abi::handoff::{KERNEL_IMAGE, KERNEL_IMAGE_END, SCRATCH};
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};

use super::*;
use crate::kernel::{SEGMENTS_MAX, Segment};
extern crate std;
use std::vec::Vec;

const TABLES: u64 = 0x40_0000;
const KERNEL: u64 = 0x80_0000;
const SWITCH: Pages = Pages { physical: 0x7fff_f000, count: 2 };

fn kernel<'a>(segments: &[Segment<'a>]) -> Kernel<'a> {
    Kernel { entry: segments[0].address, segments: segments.iter().copied().collect() }
}

#[test]
fn contents_are_copied_and_everything_around_them_is_zero() {
    let kernel = kernel(&[
        Segment { address: KERNEL_IMAGE, bytes: 0x1001, access: Access::ReadExecute, data: &[1; 0x1001] },
        Segment { address: KERNEL_IMAGE + 0x4ff0, bytes: 0x30, access: Access::ReadWrite, data: &[2; 0x18] },
    ]);
    let mut memory = std::vec![0xee; kernel.pages() * PAGE];
    let mut tables = std::vec![PageTable::new(); super::tables(&kernel, 0)];
    let mut tables = Tables::new(&mut tables, TABLES).unwrap();
    load(&kernel, &mut memory, KERNEL, &mut tables).unwrap();

    let mut expected = std::vec![0; 4 * PAGE];
    expected[..0x1001].fill(1);
    expected[0x2ff0..0x3008].fill(2);
    assert_eq!(memory, expected);
    let physical = |address| tables.entry(address).map(|entry| entry.addr().as_u64());
    assert_eq!(physical(KERNEL_IMAGE + 0x1000), Some(KERNEL + 0x1000));
    assert_eq!(physical(KERNEL_IMAGE + 0x4000), Some(KERNEL + 0x2000));
    assert_eq!(physical(KERNEL_IMAGE + 0x5000), Some(KERNEL + 0x3000));
    assert_eq!(physical(KERNEL_IMAGE + 0x2000), None);
}

#[test]
fn everything_is_where_the_handoff_says_and_the_stack_has_unmapped_pages_around_it() {
    let mut memory = std::vec![PageTable::new(); 20];
    let mut tables = Tables::new(&mut memory, TABLES).unwrap();
    map(&mut tables, 0x100_0000, 0x200_0000, Pages { physical: 0x300_0000, count: 600 }, SWITCH).unwrap();
    let seen = |address: u64| {
        let entry = tables.entry(address)?;
        let flags = entry.flags();
        Some((entry.addr().as_u64(), flags.contains(Flags::WRITABLE), !flags.contains(Flags::NO_EXECUTE)))
    };
    assert_eq!(seen(HANDOFF), Some((0x100_0000, false, false)));
    assert_eq!(seen(HANDOFF + (HANDOFF_PAGES * PAGE) as u64), None);
    let bottom = BOOT_STACK_TOP - BOOT_STACK_BYTES;
    assert_eq!(seen(bottom - PAGE_BYTES), None);
    assert_eq!(seen(bottom), Some((0x200_0000, true, false)));
    assert_eq!(seen(BOOT_STACK_TOP - PAGE_BYTES), Some((0x200_f000, true, false)));
    assert_eq!(seen(BOOT_STACK_TOP), None);
    assert_eq!(seen(PACKAGE), Some((0x300_0000, false, false)));
    assert_eq!(seen(PACKAGE + 599 * PAGE_BYTES), Some((0x325_7000, false, false)));
    assert_eq!(seen(PACKAGE + 600 * PAGE_BYTES), None);
    assert_eq!(seen(SWITCH.physical), Some((SWITCH.physical, false, true)));
    assert_eq!(seen(SWITCH.physical + PAGE_BYTES), Some((SWITCH.physical + PAGE_BYTES, false, true)));
    assert!(seen(SCRATCH_TABLE).is_some_and(|(_, writable, executable)| writable && !executable));
    assert_eq!(seen(SCRATCH), None);
}

#[test]
fn the_tables_reckoned_are_enough_wherever_segments_lie() {
    let span = TABLE_SPAN;
    let room = KERNEL_IMAGE_END - KERNEL_IMAGE;
    for bytes in [1, 0x1001, span, span + 1] {
        for start in [0, 0x123, span - 0x1000, span - 1] {
            for package_pages in [1, 511, 512, 513, 0x8000] {
                let segments: Vec<_> = (0..SEGMENTS_MAX as u64)
                    .map(|index| KERNEL_IMAGE + start + index * (room / SEGMENTS_MAX as u64))
                    .map(|address| Segment { address, bytes, access: Access::ReadExecute, data: &[] })
                    .collect();
                let kernel = kernel(&segments);
                let mut memory = std::vec![PageTable::new(); super::tables(&kernel, package_pages)];
                let mut tables = Tables::new(&mut memory, TABLES).unwrap();
                // Tables only: the segments' memory is not needed to count them.
                for segment in &kernel.segments {
                    tables
                        .map(segment.first_page(), KERNEL, segment.pages(), segment.access, Lifetime::Kernel)
                        .unwrap();
                }
                map(&mut tables, 0, 0, Pages { physical: 0, count: package_pages }, SWITCH).unwrap();
            }
        }
    }
}

#[test]
fn code_across_a_page_boundary_takes_both_pages() {
    assert_eq!((pages_of(0x5ff0, 0x10).physical, pages_of(0x5ff0, 0x10).count), (0x5000, 1));
    assert_eq!((pages_of(0x5ff0, 0x11).physical, pages_of(0x5ff0, 0x11).count), (0x5000, 2));
    assert_eq!((pages_of(0x5000, 0x1000).physical, pages_of(0x5000, 0x1000).count), (0x5000, 1));
}
