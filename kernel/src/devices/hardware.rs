//! What the kernel performs for a broker: registers, hidden memory, bus mastering and MSI-X of one function.

use broker::Device;
use core::sync::atomic::{Ordering, fence};
use heapless::Vec;

use crate::platform::clock::Clock;
use crate::platform::msix::{Message, MsiX};
use crate::platform::pci::Function;
use crate::platform::registers::Registers;
use abi::package::DEVICE_VECTORS_MAX;

/// What belongs to a device besides its configuration space.
#[derive(Debug)]
pub(super) struct Parts {
    /// The granted BAR, as far as it is used.
    pub(super) registers: Registers,
    /// Memory that no task sees.
    pub(super) hidden: Registers,
    /// Its MSI-X table, if it has one.
    pub(super) msix: Option<MsiX>,
    /// What the granted entries of that table send.
    pub(super) messages: Vec<(u16, Message), DEVICE_VECTORS_MAX>,
    /// Time.
    pub(super) clock: Clock,
}

/// A device as its broker sees it.
#[derive(Debug)]
pub(super) struct Hardware<'a, F> {
    function: &'a mut F,
    parts: &'a mut Parts,
}

impl<'a, F: Function> Hardware<'a, F> {
    pub(super) fn new(function: &'a mut F, parts: &'a mut Parts) -> Self {
        Self { function, parts }
    }
}

impl<F: Function> Device for Hardware<'_, F> {
    fn read_u32(&mut self, offset: u32) -> u32 {
        self.parts.registers.read_u32(offset)
    }

    fn read_u64(&mut self, offset: u32) -> u64 {
        self.parts.registers.read_u64(offset)
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        // x86 keeps the order of stores, to memory and to registers alike (Intel SDM 3A, 9.2.2); this keeps the
        // compiler's.
        fence(Ordering::Release);
        self.parts.registers.write_u32(offset, value);
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        fence(Ordering::Release);
        self.parts.registers.write_u64(offset, value);
    }

    fn hidden_u32(&mut self, offset: u32) -> u32 {
        let value = self.parts.hidden.read_u32(offset);
        fence(Ordering::Acquire);
        value
    }

    #[inline(always)]
    fn hidden_u64(&mut self, offset: u32) -> u64 {
        let value = self.parts.hidden.read_u64(offset);
        fence(Ordering::Acquire);
        value
    }

    fn read_hidden(&mut self, offset: u32, to: &mut [u8]) {
        copy_out(&self.parts.hidden, offset, to);
    }

    fn write_hidden(&mut self, offset: u32, from: &[u8]) {
        copy_in(&mut self.parts.hidden, offset, from);
    }

    #[inline(always)]
    fn write_hidden_line(&mut self, offset: u32, words: [u64; 8]) {
        self.parts.hidden.write_line(offset, words);
    }

    fn write_hidden_series(&mut self, offset: u32, first: u64, step: u64, count: u32) {
        self.parts.hidden.write_series(offset, first, step, count);
    }

    fn set_bus_mastering(&mut self, on: bool) {
        self.function.set_bus_mastering(on);
    }

    fn set_interrupts(&mut self, on: bool) {
        let Some(msix) = &mut self.parts.msix else { return };
        if on {
            msix.switch_on(self.function, &self.parts.messages);
        } else {
            msix.switch_off(self.function);
        }
    }

    fn now(&self) -> u64 {
        self.parts.clock.now()
    }
}

/// Bytes from `offset` up to the next word of eight, at most `length`.
fn unaligned(offset: u32, length: usize) -> usize {
    (offset.wrapping_neg() as usize % 8).min(length)
}

/// Copies out of a window, eight bytes at a time where it can: the kernel's entries are bounded in instructions.
fn copy_out(window: &Registers, offset: u32, to: &mut [u8]) {
    let mut at = offset;
    let (head, rest) = to.split_at_mut(unaligned(offset, to.len()));
    for byte in head {
        *byte = window.read_u8(at);
        at = at.saturating_add(1);
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    window.read_words(at, words);
    at = at.saturating_add(size_of_val(words) as u32);
    for byte in tail {
        *byte = window.read_u8(at);
        at = at.saturating_add(1);
    }
}

/// Copies into a window, likewise.
fn copy_in(window: &mut Registers, offset: u32, from: &[u8]) {
    let mut at = offset;
    let (head, rest) = from.split_at(unaligned(offset, from.len()));
    for byte in head {
        window.write_u8(at, *byte);
        at = at.saturating_add(1);
    }
    let (words, tail) = rest.as_chunks::<8>();
    window.write_words(at, words);
    at = at.saturating_add(size_of_val(words) as u32);
    for byte in tail {
        window.write_u8(at, *byte);
        at = at.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::registers::tests::memory;

    extern crate std;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn copies_are_exact_at_every_offset_and_length() {
        let content: Vec<u8> = (1..=64).collect();
        for offset in 0..24usize {
            for length in 0..40usize {
                let mut window = memory(64);
                copy_in(&mut window, offset as u32, &content[..length]);
                let mut all = vec![0xff; 64];
                copy_out(&window, 0, &mut all);
                let mut expected = vec![0; 64];
                expected[offset..offset + length].copy_from_slice(&content[..length]);
                assert_eq!(all, expected, "offset {offset} length {length}");
                let mut back = vec![0; length];
                copy_out(&window, offset as u32, &mut back);
                assert_eq!(back, content[..length]);
            }
        }
    }

    #[test]
    fn copies_beyond_the_window_touch_nothing() {
        let mut window = memory(16);
        copy_in(&mut window, 12, &[7; 32]);
        let mut back = [0; 32];
        copy_out(&window, 12, &mut back);
        assert_eq!(back[..4], [7; 4]);
        assert_eq!(back[4..], [0xff; 28]);
        copy_in(&mut window, u32::MAX, &[1; 3]);
        assert_eq!(window.read_u64(0), 0);
    }
}
