//! Views of DMA memory.
//!
//! A device, and another task, may write a window at any time. So there is never a `&[u8]` to it, which would promise
//! that it stays as it is: every access is a volatile copy of bytes or words, whatever value is there at that moment.

use abi::layout::WINDOW_STRIDE;

/// An access beyond the end of a window, or a write to one that is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes at {offset} are not in the window's {window}")]
pub struct OutOfRange {
    /// First byte of the access.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// What the window holds for it, in bytes: 0 for a write to a read-only one.
    pub window: u64,
}

/// A part of a DMA region, mapped into this task. All offsets are bytes from its start.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    base: *mut u8,
    bytes: u64,
    writable: bool,
    region_offset: u64,
}

/// Bytes that [`Window::for_each_chunk`] hands over at a time, at most.
const CHUNK: usize = 1024;

impl Window {
    /// A window of the kernel's making.
    #[cfg(target_os = "none")]
    pub(crate) fn granted(address: u64, bytes: u64, writable: bool, region_offset: u64) -> Self {
        Self { base: core::ptr::with_exposed_provenance_mut(address as usize), bytes, writable, region_offset }
    }

    /// A window for tests, with memory of its own, which is never freed.
    #[cfg(not(target_os = "none"))]
    pub fn host(bytes: u64, writable: bool) -> Self {
        let words = std::vec![0_u64; usize::try_from(bytes).expect("a window fits into memory").div_ceil(8)];
        Self { base: std::vec::Vec::leak(words).as_mut_ptr().cast(), bytes, writable, region_offset: 0 }
    }

    /// As [`Self::host`], for one that begins at an offset of its region.
    #[cfg(not(target_os = "none"))]
    pub fn host_at(region_offset: u64, bytes: u64) -> Self {
        Self { region_offset, ..Self::host(bytes, true) }
    }

    #[cfg(not(target_os = "none"))]
    pub(crate) fn granted(_address: u64, bytes: u64, writable: bool, region_offset: u64) -> Self {
        Self { region_offset, ..Self::host(bytes.min(WINDOW_STRIDE), writable) }
    }

    /// A window of no bytes: every access is out of range.
    pub const fn empty() -> Self {
        Self { base: core::ptr::null_mut(), bytes: 0, writable: false, region_offset: 0 }
    }

    /// Where it begins in its region, in bytes.
    pub fn region_offset(&self) -> u64 {
        self.region_offset
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it may be written.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing was copied then.
    pub fn copy_to(&self, offset: u64, to: &mut [u8]) -> Result<(), OutOfRange> {
        let from = self.place(offset, to.len(), self.bytes)?;
        // Whole words in the middle, where the window's own address is aligned; it is on a page.
        let (head, rest) = to.split_at_mut(to.len().min(from.align_offset(8)));
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut at = from;
        for byte in head {
            // SAFETY: `place` has checked that all of `to.len()` bytes from `from` lie in the window, which stays
            // mapped and readable for the task's whole life; `at` goes through them. No reference to them exists.
            unsafe {
                *byte = at.read_volatile();
                at = at.add(1);
            }
        }
        for word in words {
            // SAFETY: as above, for eight bytes, at an address that is now a multiple of eight.
            unsafe {
                *word = at.cast::<u64>().read_volatile().to_ne_bytes();
                at = at.add(8);
            }
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe {
                *byte = at.read_volatile();
                at = at.add(1);
            }
        }
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`OutOfRange`], also for a read-only window; nothing was copied then.
    pub fn copy_from(&self, offset: u64, from: &[u8]) -> Result<(), OutOfRange> {
        let to = self.place(offset, from.len(), if self.writable { self.bytes } else { 0 })?;
        let (head, rest) = from.split_at(from.len().min(to.align_offset(8)));
        let (words, tail) = rest.as_chunks::<8>();
        let mut at = to;
        for byte in head {
            // SAFETY: as in `copy_to`; the window is writable.
            unsafe {
                at.write_volatile(*byte);
                at = at.add(1);
            }
        }
        for word in words {
            // SAFETY: as above, for eight bytes, at an address that is now a multiple of eight.
            unsafe {
                at.cast::<u64>().write_volatile(u64::from_ne_bytes(*word));
                at = at.add(8);
            }
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe {
                at.write_volatile(*byte);
                at = at.add(1);
            }
        }
        Ok(())
    }

    /// Writes `count` little-endian words of eight bytes, from an offset that is a multiple of eight: `first`, and each by
    /// `step` more than the one before.
    ///
    /// # Errors
    /// [`OutOfRange`], also for a read-only window, and for another offset; nothing was written then.
    pub fn write_series(&self, offset: u64, first: u64, step: u64, count: u32) -> Result<(), OutOfRange> {
        let bytes = count as usize * 8;
        let writable = self.writable && offset.is_multiple_of(8);
        let to = self.place(offset, bytes, if writable { self.bytes } else { 0 })?.cast::<u64>();
        let mut word = first;
        for index in 0..count as usize {
            // SAFETY: as in `copy_from`; the window begins on a page, so the address is a multiple of eight.
            unsafe { to.add(index).write_volatile(word.to_le()) };
            word = word.wrapping_add(step);
        }
        Ok(())
    }

    /// Reads a little-endian word at any offset.
    ///
    /// # Errors
    /// [`OutOfRange`].
    pub fn read_u32(&self, offset: u64) -> Result<u32, OutOfRange> {
        let mut bytes = [0; 4];
        self.copy_to(offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a little-endian double word at any offset.
    ///
    /// # Errors
    /// [`OutOfRange`].
    pub fn read_u64(&self, offset: u64) -> Result<u64, OutOfRange> {
        let mut bytes = [0; 8];
        self.copy_to(offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Hands over a range piece by piece, each copied to the stack first: for hashing, and for looking through.
    ///
    /// # Errors
    /// [`OutOfRange`] before anything was handed over.
    pub fn for_each_chunk(&self, offset: u64, bytes: u64, mut each: impl FnMut(&[u8])) -> Result<(), OutOfRange> {
        let error = OutOfRange { offset, bytes, window: self.bytes };
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes).ok_or(error)?;
        let mut chunk = [0; CHUNK];
        let mut at = offset;
        while at < end {
            let length = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
            self.copy_to(at, &mut chunk[..length])?;
            each(&chunk[..length]);
            at += length as u64;
        }
        Ok(())
    }

    /// The address of a range that lies within the first `limit` bytes of the window.
    fn place(&self, offset: u64, length: usize, limit: u64) -> Result<*mut u8, OutOfRange> {
        let bytes = length as u64;
        match offset.checked_add(bytes) {
            Some(end) if end <= limit => Ok(self.base.wrapping_add(offset as usize)),
            _ => Err(OutOfRange { offset, bytes, window: limit }),
        }
    }
}

/// A DMA region of this task's own.
#[derive(Clone, Copy, Debug)]
pub struct Dma {
    /// Its number in the commands of its device.
    pub region: u16,
    /// Its memory.
    pub window: Window,
}

const _: () = assert!(usize::BITS == 64 && WINDOW_STRIDE <= 1 << 40, "an offset in a window is an usize");

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn what_is_copied_in_comes_out_at_every_alignment() {
        let window = Window::host(64, true);
        for offset in 0..20 {
            for length in 0..40 {
                let data: Vec<u8> = (0..length).map(|index| (index * 7 + offset) as u8).collect();
                window.copy_from(offset, &data).unwrap();
                let mut back = std::vec![0; data.len()];
                window.copy_to(offset, &mut back).unwrap();
                assert_eq!(back, data, "offset {offset}, length {length}");
            }
        }
    }

    #[test]
    fn a_copy_changes_its_own_bytes_only() {
        let window = Window::host(32, true);
        window.copy_from(0, &[0xff; 32]).unwrap();
        window.copy_from(5, &[0; 13]).unwrap();
        let mut all = [0; 32];
        window.copy_to(0, &mut all).unwrap();
        for (index, byte) in all.into_iter().enumerate() {
            assert_eq!(byte == 0, (5..18).contains(&index), "byte {index}");
        }
    }

    #[test]
    fn nothing_beyond_the_end_is_touched() {
        let window = Window::host(16, true);
        for (offset, length) in [(16, 1), (0, 17), (15, 2), (u64::MAX, 1), (u64::MAX - 3, 8)] {
            let mut bytes = std::vec![9; length];
            let error = OutOfRange { offset, bytes: length as u64, window: 16 };
            assert_eq!(window.copy_to(offset, &mut bytes), Err(error));
            assert_eq!(window.copy_from(offset, &bytes), Err(error));
            assert!(bytes.iter().all(|byte| *byte == 9));
            let mut handed = 0;
            assert_eq!(window.for_each_chunk(offset, length as u64, |_| handed += 1), Err(error));
            assert_eq!(handed, 0);
        }
        assert!(window.copy_to(16, &mut []).is_ok());
    }

    #[test]
    fn a_series_is_its_words_one_after_the_other() {
        let window = Window::host(64, true);
        window.write_series(8, 0x1_0000, 0x1000, 3).unwrap();
        window.write_series(40, u64::MAX, 1, 2).unwrap();
        let words: Vec<_> = (0..8).map(|word| window.read_u64(word * 8).unwrap()).collect();
        assert_eq!(words, [0, 0x1_0000, 0x1_1000, 0x1_2000, 0, u64::MAX, 0, 0]);
        for (offset, count) in [(64, 1), (0, 9), (60, 1), (3, 1), (u64::MAX - 7, 1)] {
            assert!(window.write_series(offset, 7, 7, count).is_err(), "{count} at {offset}");
        }
        assert_eq!(window.read_u64(56), Ok(0));
    }

    #[test]
    fn a_read_only_window_is_not_written() {
        let window = Window::host(16, false);
        assert!(window.write_series(0, 1, 1, 1).is_err());
        assert_eq!(window.copy_from(0, &[1]), Err(OutOfRange { offset: 0, bytes: 1, window: 0 }));
        assert_eq!(window.read_u64(0), Ok(0));
    }

    #[test]
    fn chunks_cover_the_range_in_order() {
        let window = Window::host(5000, true);
        let data: Vec<u8> = (0..5000_u32).map(|index| (index % 251) as u8).collect();
        window.copy_from(0, &data).unwrap();
        let mut seen = Vec::new();
        window.for_each_chunk(3, 4990, |chunk| seen.extend_from_slice(chunk)).unwrap();
        assert_eq!(seen, data[3..4993]);
        assert_eq!(window.read_u32(1), Ok(u32::from_le_bytes(*data[1..].first_chunk().unwrap())));
    }
}
