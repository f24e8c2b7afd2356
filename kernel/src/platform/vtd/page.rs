//! Pages that a remapping unit reads: tables and its queue.

use super::Reason;
use crate::platform::Mapper;
use crate::platform::registers::Registers;

/// Bytes of a page.
pub const PAGE: u32 = 4096;
/// Bytes of a cache line, on every processor with such a unit.
const LINE: usize = 64;
/// Words that are written or compared at a time.
const WORDS_AT_ONCE: usize = 64;

/// A page that the kernel writes and a unit reads.
#[derive(Debug)]
pub struct Page {
    window: Registers,
    physical: u64,
    start: *mut u8,
}

// SAFETY: a page is plain memory that is mapped for ever and has one owner.
unsafe impl Send for Page {}

impl Page {
    /// A fresh page of zeroes.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(mapper: &mut impl Mapper) -> Result<Self, Reason> {
        let (start, physical) = mapper.give_page().ok_or(Reason::NoMemory)?;
        // SAFETY: `give_page` gives a whole page for ever, mapped and aligned, of which nobody makes references.
        let window = unsafe { Registers::new(start, PAGE) };
        let page = Self { window, physical, start: start.as_ptr() };
        page.flush(0, PAGE);
        Ok(page)
    }

    /// Where a unit finds it.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// Reads a word; all ones outside the page.
    pub fn read(&self, offset: u32) -> u64 {
        self.window.read_u64(offset)
    }

    /// Writes a word, so that a unit that does not see the processor's caches reads it as well. Outside the page it
    /// does nothing.
    pub fn write(&mut self, offset: u32, value: u64) {
        self.window.write_u64(offset, value);
        self.flush(offset, 8);
    }

    /// Writes this word everywhere. At once, because an entry of the kernel is bounded in instructions.
    pub fn fill(&mut self, value: u64) {
        let words = [value.to_le_bytes(); WORDS_AT_ONCE];
        for offset in (0..PAGE).step_by(size_of_val(&words)) {
            self.window.write_words(offset, &words);
        }
        self.flush(0, PAGE);
    }

    /// Whether each of its words is this one.
    pub fn is_filled(&self, value: u64) -> bool {
        let expected = [value.to_le_bytes(); WORDS_AT_ONCE];
        (0..PAGE).step_by(size_of_val(&expected)).all(|offset| {
            let mut words = [[0; 8]; WORDS_AT_ONCE];
            self.window.read_words(offset, &mut words);
            words == expected
        })
    }

    /// Writes the two words of an entry, the one that makes it valid last.
    pub fn write_entry(&mut self, offset: u32, [low, high]: [u64; 2]) {
        self.write(offset.saturating_add(8), high);
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        self.write(offset, low);
    }

    fn flush(&self, offset: u32, bytes: u32) {
        let end = (offset.saturating_add(bytes)).min(PAGE);
        for line in (offset..end).step_by(LINE) {
            // SAFETY: within the page, which is mapped; flushing changes no memory. Every 64-bit processor has it.
            unsafe {
                let line = self.start.add(line as usize);
                core::arch::asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags));
            }
        }
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }
}
