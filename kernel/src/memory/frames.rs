//! Which physical memory is free: handed out frame by frame from below, in contiguous runs from above, never given back.

use abi::handoff::{MEMORY_RANGES_MAX, MemoryRange};
use abi::layout::PAGE_BYTES;
use heapless::Vec;

use super::MemoryError;

/// Free memory.
pub struct Frames {
    /// Ascending and not overlapping.
    ranges: Vec<MemoryRange, MEMORY_RANGES_MAX>,
    taken: u64,
}

impl Frames {
    /// From the UEFI application's list. A range that is not on page boundaries, or not after the one before, is left
    /// out.
    pub fn new(list: &[MemoryRange]) -> Self {
        let mut ranges = Vec::new();
        let mut end = PAGE_BYTES;
        for range in list {
            let aligned = range.start.is_multiple_of(PAGE_BYTES) && range.bytes.is_multiple_of(PAGE_BYTES);
            let Some(last) = range.start.checked_add(range.bytes) else { continue };
            if aligned && range.start >= end && range.bytes != 0 && ranges.push(*range).is_ok() {
                end = last;
            }
        }
        Self { ranges, taken: 0 }
    }

    /// One frame, from the lowest free memory. Its contents are undefined.
    ///
    /// # Errors
    /// If none is left.
    pub fn frame(&mut self) -> Result<u64, MemoryError> {
        let range = self
            .ranges
            .iter_mut()
            .find(|range| range.bytes != 0)
            .ok_or(MemoryError::Exhausted { bytes: PAGE_BYTES })?;
        let frame = range.start;
        range.start += PAGE_BYTES;
        range.bytes -= PAGE_BYTES;
        self.taken += PAGE_BYTES;
        Ok(frame)
    }

    /// Contiguous frames, from the highest free memory that has room. Their contents are undefined. `bytes` is rounded
    /// up to whole pages.
    ///
    /// # Errors
    /// If no range has room.
    pub fn contiguous(&mut self, bytes: u64) -> Result<u64, MemoryError> {
        let bytes = bytes.checked_next_multiple_of(PAGE_BYTES).ok_or(MemoryError::Exhausted { bytes })?;
        let range =
            self.ranges.iter_mut().rev().find(|range| range.bytes >= bytes).ok_or(MemoryError::Exhausted { bytes })?;
        range.bytes -= bytes;
        self.taken += bytes;
        Ok(range.start + range.bytes)
    }

    /// Bytes handed out so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes left.
    pub fn left(&self) -> u64 {
        self.ranges.iter().map(|range| range.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, bytes: u64) -> MemoryRange {
        MemoryRange { start, bytes }
    }

    #[test]
    fn frames_come_from_below_and_runs_from_above_and_never_twice() {
        let mut frames = Frames::new(&[range(0x10_0000, 0x2000), range(0x20_0000, 0x4000)]);
        assert_eq!(frames.left(), 0x6000);
        assert_eq!(frames.contiguous(0x1001), Ok(0x20_2000));
        assert_eq!(frames.frame(), Ok(0x10_0000));
        assert_eq!(frames.contiguous(0x3000), Err(MemoryError::Exhausted { bytes: 0x3000 }));
        assert_eq!(frames.frame(), Ok(0x10_1000));
        assert_eq!(frames.frame(), Ok(0x20_0000));
        assert_eq!(frames.frame(), Ok(0x20_1000));
        assert_eq!(frames.frame(), Err(MemoryError::Exhausted { bytes: 0x1000 }));
        assert_eq!((frames.taken(), frames.left()), (0x6000, 0));
    }

    #[test]
    fn ranges_that_overlap_or_wrap_are_left_out() {
        let frames = Frames::new(&[
            range(0, 0x1000),
            range(0x10_0000, 0x2000),
            range(0x10_1000, 0x2000),
            range(0x20_0800, 0x1000),
            range(u64::MAX - 0xfff, 0x2000),
        ]);
        assert_eq!(frames.left(), 0x2000);
    }
}
