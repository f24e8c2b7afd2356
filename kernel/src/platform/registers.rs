//! A window of device registers, or of memory that a device writes: every access is volatile and inside the window.
//!
//! Reads outside the window, or not on a multiple of their width, answer all ones, as an absent device does; such
//! writes are dropped. So whatever offset arrives here, nothing but the window is touched.

use core::ptr::NonNull;

/// A mapped window.
#[derive(Debug)]
pub struct Registers {
    start: NonNull<u8>,
    bytes: u32,
}

// SAFETY: a window is plain mapped memory, the same for every CPU and context, and has one owner.
unsafe impl Send for Registers {}

impl Registers {
    /// The window of `bytes` bytes that begins at `start`.
    ///
    /// # Safety
    /// `start` must be a multiple of eight, and from there on `bytes` bytes must stay mapped, readable and writable,
    /// for as long as the window is used; nothing else may be accessed through it than registers or memory of which
    /// Rust makes no references.
    pub const unsafe fn new(start: NonNull<u8>, bytes: u32) -> Self {
        Self { start, bytes }
    }

    /// Bytes in the window.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Whether so many bytes from `offset` on are inside.
    #[inline(always)]
    fn has(&self, offset: u32, bytes: u32) -> bool {
        u64::from(offset) + u64::from(bytes) <= u64::from(self.bytes)
    }

    /// Where the register of type `T` at `offset` is, if it is inside and aligned.
    fn at<T>(&self, offset: u32) -> Option<NonNull<T>> {
        let width = size_of::<T>() as u32;
        if !self.has(offset, width) || !offset.is_multiple_of(width) {
            return None;
        }
        // SAFETY: `offset` is inside the window, which is one mapping.
        Some(unsafe { self.start.add(offset as usize) }.cast())
    }

    /// Reads one byte.
    pub fn read_u8(&self, offset: u32) -> u8 {
        // SAFETY: inside the window, see `at`.
        self.at(offset).map_or(u8::MAX, |register| unsafe { register.read_volatile() })
    }

    /// Reads 32 bits.
    pub fn read_u32(&self, offset: u32) -> u32 {
        // SAFETY: inside the window and aligned, see `at`.
        self.at(offset).map_or(u32::MAX, |register| unsafe { register.read_volatile() })
    }

    /// Reads 64 bits in one access.
    pub fn read_u64(&self, offset: u32) -> u64 {
        // SAFETY: inside the window and aligned, see `at`.
        self.at(offset).map_or(u64::MAX, |register| unsafe { register.read_volatile() })
    }

    /// Writes one byte.
    pub fn write_u8(&mut self, offset: u32, value: u8) {
        if let Some(register) = self.at(offset) {
            // SAFETY: inside the window, see `at`.
            unsafe { register.write_volatile(value) }
        }
    }

    /// Writes 32 bits.
    pub fn write_u32(&mut self, offset: u32, value: u32) {
        if let Some(register) = self.at(offset) {
            // SAFETY: inside the window and aligned, see `at`.
            unsafe { register.write_volatile(value) }
        }
    }

    /// Writes 64 bits in one access.
    pub fn write_u64(&mut self, offset: u32, value: u64) {
        if let Some(register) = self.at(offset) {
            // SAFETY: inside the window and aligned, see `at`.
            unsafe { register.write_volatile(value) }
        }
    }

    /// The words of eight bytes from `offset` on, as many of `count` as are inside; none if it is not aligned.
    fn words(&self, offset: u32, count: usize) -> (*mut [u8; 8], usize) {
        match self.at::<u64>(offset) {
            Some(first) => (first.as_ptr().cast(), count.min((self.bytes - offset) as usize / 8)),
            None => (self.start.as_ptr().cast(), 0),
        }
    }

    /// Reads words from `offset` on, each in one access; those outside read as all ones.
    pub fn read_words(&self, offset: u32, to: &mut [[u8; 8]]) {
        let (first, inside) = self.words(offset, to.len());
        let (to, outside) = to.split_at_mut(inside);
        for (index, word) in to.iter_mut().enumerate() {
            // SAFETY: inside the window and aligned to eight, see `words`.
            *word = unsafe { first.add(index).cast::<u64>().read_volatile() }.to_le_bytes();
        }
        outside.fill([u8::MAX; 8]);
    }

    /// Writes words from `offset` on, each in one access; those outside are dropped.
    pub fn write_words(&mut self, offset: u32, from: &[[u8; 8]]) {
        let (first, inside) = self.words(offset, from.len());
        for (index, word) in from[..inside].iter().enumerate() {
            // SAFETY: inside the window and aligned to eight, see `words`.
            unsafe { first.add(index).cast::<u64>().write_volatile(u64::from_le_bytes(*word)) };
        }
    }

    /// Writes eight little-endian words from `offset` on, each in one access; those outside are dropped.
    #[inline(always)]
    pub fn write_line(&mut self, offset: u32, words: [u64; 8]) {
        if !self.has(offset, size_of_val(&words) as u32) || !offset.is_multiple_of(8) {
            return self.write_line_in_part(offset, words);
        }
        // SAFETY: `offset` is inside the window, which is one mapping.
        let place = unsafe { self.start.add(offset as usize) }.cast::<u64>();
        // One after the other, not in a loop: this is what a command costs.
        let write = |index: usize| {
            // SAFETY: all eight are inside the window, and aligned to eight.
            unsafe { place.add(index).write_volatile(words[index].to_le()) }
        };
        write(0);
        write(1);
        write(2);
        write(3);
        write(4);
        write(5);
        write(6);
        write(7);
    }

    /// Writes what is inside of a line that is not.
    #[cold]
    #[inline(never)]
    fn write_line_in_part(&mut self, offset: u32, words: [u64; 8]) {
        self.write_words(offset, &words.map(u64::to_le_bytes));
    }

    /// Writes `count` little-endian words from `offset` on, each in one access: `first`, and each further one by `step`
    /// more; those outside are dropped.
    pub fn write_series(&mut self, offset: u32, first: u64, step: u64, count: u32) {
        let (place, inside) = self.words(offset, count as usize);
        let mut word = first;
        let mut write = |index: usize| {
            // SAFETY: inside the window and aligned to eight, see `words`.
            unsafe { place.add(index).cast::<u64>().write_volatile(word.to_le()) };
            word = word.wrapping_add(step);
        };
        // Four at a time: this is what a long transfer costs.
        let mut done = 0;
        while inside - done >= 4 {
            write(done);
            write(done + 1);
            write(done + 2);
            write(done + 3);
            done += 4;
        }
        (done..inside).for_each(write);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    extern crate std;
    use std::boxed::Box;

    /// A window over memory of the host, for ever.
    pub(crate) fn memory(bytes: usize) -> Registers {
        let words: &'static mut [u64] = Box::leak(std::vec![0u64; bytes.div_ceil(8)].into_boxed_slice());
        // SAFETY: leaked, aligned to eight, and nobody else refers to it.
        unsafe { Registers::new(NonNull::from(words).cast(), bytes as u32) }
    }

    #[test]
    fn accesses_inside_reach_memory() {
        let mut window = memory(16);
        window.write_u64(8, 0x1122_3344_5566_7788);
        assert_eq!(window.read_u32(8), 0x5566_7788);
        assert_eq!(window.read_u32(12), 0x1122_3344);
        window.write_u32(4, 7);
        assert_eq!(window.read_u64(0), 7 << 32);
        window.write_u8(15, 0xee);
        assert_eq!(window.read_u8(15), 0xee);
    }

    #[test]
    fn accesses_outside_or_unaligned_do_nothing() {
        let mut window = memory(16);
        for offset in [1, 2, 13, 16, 20, u32::MAX - 3, u32::MAX] {
            window.write_u32(offset, 0x5a5a_5a5a);
            assert_eq!(window.read_u32(offset), u32::MAX, "{offset}");
        }
        for offset in [4, 12, 16, u32::MAX - 7] {
            window.write_u64(offset, 0x5a5a_5a5a_5a5a_5a5a);
            assert_eq!(window.read_u64(offset), u64::MAX, "{offset}");
        }
        window.write_u8(16, 1);
        assert_eq!((window.read_u64(0), window.read_u64(8)), (0, 0));
    }

    #[test]
    fn a_series_is_what_lies_inside() {
        let mut window = memory(32);
        window.write_series(16, 7, 3, 9);
        window.write_series(4, 1, 1, 1);
        window.write_series(32, 1, 1, 1);
        assert_eq!([0, 8, 16, 24].map(|offset| window.read_u64(offset)), [0, 0, 7, 10]);
        window.write_series(0, u64::MAX, 0, 1);
        assert_eq!([0, 8].map(|offset| window.read_u64(offset)), [u64::MAX, 0]);
    }

    #[test]
    fn a_line_is_written_as_far_as_it_is_inside() {
        let mut window = memory(80);
        let line = core::array::from_fn(|index| [index as u8 + 1; 8]);
        let words = line.map(u64::from_le_bytes);
        for (offset, first) in [(0, 1), (8, 1), (16, 1), (4, 0), (88, 0), (u32::MAX - 7, 0)] {
            window.write_words(0, &[[0; 8]; 10]);
            window.write_line(offset, words);
            let place = offset as usize / 8;
            for word in 0..10 {
                let is_inside = first == 1 && (place..place + 8).contains(&word);
                let expected = if is_inside { line[word - place] } else { [0; 8] };
                assert_eq!(window.read_u64(word as u32 * 8).to_le_bytes(), expected, "offset {offset} word {word}");
            }
        }
        window.write_words(0, &[[0; 8]; 10]);
        window.write_line(24, words);
        assert_eq!((window.read_u64(16), window.read_u8(24), window.read_u8(72)), (0, 1, 7), "seven are inside");
    }

    #[test]
    fn words_are_those_inside() {
        let mut window = memory(32);
        window.write_words(16, &[[1; 8], [2; 8], [3; 8]]);
        window.write_words(4, &[[9; 8]]);
        window.write_words(32, &[[9; 8]]);
        window.write_words(u32::MAX - 7, &[[9; 8]]);
        let mut words = [[0; 8]; 6];
        window.read_words(0, &mut words);
        assert_eq!(words, [[0; 8], [0; 8], [1; 8], [2; 8], [0xff; 8], [0xff; 8]]);
        window.read_words(12, &mut words[..1]);
        assert_eq!(words[0], [0xff; 8]);
    }
}
