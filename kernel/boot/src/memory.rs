//! Turns firmware's memory map into the memory that the kernel may use.

use abi::handoff::MemoryRange;
use abi::layout::PAGE_BYTES;

/// Nothing below is given to the kernel: firmware, its real-mode remains and the start-up page of further processors.
const LOWEST: u64 = 0x10_0000;
/// First address that no page table entry can hold (Intel SDM volume 3A, 4.1.4).
const HIGHEST: u64 = 1 << 52;

/// Free memory, ascending and merged, in room that the caller gives.
#[derive(Debug)]
pub struct FreeMemory<'a> {
    ranges: &'a mut [MemoryRange],
    used: usize,
}

impl<'a> FreeMemory<'a> {
    /// Begins with none.
    pub fn new(ranges: &'a mut [MemoryRange]) -> Self {
        Self { ranges, used: 0 }
    }

    /// Number of ranges; they are the first ones of the room given.
    pub fn count(&self) -> usize {
        self.used
    }

    /// Adds `pages` pages from `start`, in any order. What lies below 1 MiB, beyond what can be addressed, or finds
    /// no room is left out: that loses memory but is safe.
    pub fn add(&mut self, start: u64, pages: u64) {
        let end = pages.checked_mul(PAGE_BYTES).and_then(|bytes| start.checked_add(bytes)).unwrap_or(0).min(HIGHEST);
        let start = start.max(LOWEST).next_multiple_of(PAGE_BYTES);
        let end = end - end % PAGE_BYTES;
        if start < end {
            self.insert(start, end);
        }
    }

    fn insert(&mut self, mut start: u64, mut end: u64) {
        let used = &self.ranges[..self.used];
        // Those from `first` to before `last` touch the new one and become one with it.
        let first = used.partition_point(|range| range.start + range.bytes < start);
        let last = used.partition_point(|range| range.start <= end);
        if let Some([lowest, ..]) = used.get(first..last) {
            start = start.min(lowest.start);
        }
        if let Some([.., highest]) = used.get(first..last) {
            end = end.max(highest.start + highest.bytes);
        }
        if first == last {
            if self.used == self.ranges.len() {
                return;
            }
            self.ranges.copy_within(first..self.used, first + 1);
            self.used += 1;
        } else {
            self.ranges.copy_within(last..self.used, first + 1);
            self.used -= last - first - 1;
        }
        self.ranges[first] = MemoryRange { start, bytes: end - start };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    fn ranges(room: usize, add: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut ranges = std::vec![MemoryRange::default(); room];
        let mut free = FreeMemory::new(&mut ranges);
        add.iter().for_each(|(start, pages)| free.add(*start, *pages));
        let used = free.count();
        ranges[..used].iter().map(|range| (range.start, range.bytes)).collect()
    }

    #[test]
    fn ranges_come_out_ascending_and_merged() {
        let seen = ranges(8, &[(0x40_0000, 2), (0x20_0000, 1), (0x20_2000, 1), (0x1_0000_0000, 3), (0x20_1000, 1)]);
        assert_eq!(seen, [(0x20_0000, 0x3000), (0x40_0000, 0x2000), (0x1_0000_0000, 0x3000)]);
    }

    #[test]
    fn ranges_that_overlap_are_counted_once() {
        assert_eq!(ranges(8, &[(0x20_0000, 4), (0x20_1000, 1), (0x20_3000, 4)]), [(0x20_0000, 0x7000)]);
        let seen = ranges(8, &[(0x20_0000, 1), (0x20_4000, 1), (0x20_8000, 1), (0x1f_f000, 16)]);
        assert_eq!(seen, [(0x1f_f000, 0x1_0000)]);
    }

    #[test]
    fn the_first_mebibyte_and_impossible_ranges_are_left_out() {
        let wild =
            [(0, 0x9f), (0xf_f000, 2), (1 << 60, 1), (u64::MAX - 0xfff, 2), (0x20_0000, u64::MAX), (0x30_0000, 0)];
        assert_eq!(ranges(8, &wild), [(0x10_0000, 0x1000)]);
    }

    #[test]
    fn ranges_without_room_are_left_out_and_the_others_stay() {
        let seen = ranges(2, &[(0x60_0000, 1), (0x40_0000, 1), (0x20_0000, 1), (0x40_1000, 1)]);
        assert_eq!(seen, [(0x40_0000, 0x2000), (0x60_0000, 0x1000)]);
    }

    #[test]
    fn what_is_given_is_what_was_added_page_by_page() {
        // Every order of the same pages gives the same ranges.
        let pages = [0x100, 0x101, 0x103, 0x104, 0x105, 0x200u64];
        for rotation in 0..pages.len() {
            let mut order = pages;
            order.rotate_left(rotation);
            let add: Vec<_> = order.iter().map(|page| (page * PAGE_BYTES, 1)).collect();
            assert_eq!(ranges(8, &add), [(0x10_0000, 0x2000), (0x10_3000, 0x3000), (0x20_0000, 0x1000)]);
        }
    }
}
