//! The server's own window: a scratch for partition tables, then slots for clients without a window of their own.

use protocol::block::Place;
use task::Window;

use crate::table::SCRATCH_BYTES;

/// Whole pages: a block is never larger.
const PAGE_BYTES: u64 = 4096;

/// The server's window, if the charter gives it one, and how it is divided.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    window: Option<Window>,
    scratch_bytes: u64,
    slot_bytes: u64,
    slots: u64,
}

impl Memory {
    /// Divides the window: up to 16 KiB of scratch, at most a half of it, and the rest in equal slots for so many
    /// clients.
    pub fn new(window: Option<Window>, clients: usize) -> Self {
        let bytes = window.map_or(0, |window| window.bytes());
        let pages = |bytes: u64| bytes - bytes % PAGE_BYTES;
        let clients = clients as u64;
        let scratch_bytes =
            if clients == 0 { pages(bytes.min(SCRATCH_BYTES)) } else { pages((bytes / 2).min(SCRATCH_BYTES)) };
        let slot_bytes = (bytes - scratch_bytes).checked_div(clients).map_or(0, pages);
        Self { window, scratch_bytes, slot_bytes, slots: if slot_bytes == 0 { 0 } else { clients } }
    }

    /// Where the slots lie in the driver's region.
    pub fn slots(&self) -> impl Iterator<Item = Place> + use<> {
        let (base, scratch, bytes) = (self.base(), self.scratch_bytes, self.slot_bytes);
        (0..self.slots).map(move |slot| Place { offset: base + scratch + slot * bytes, bytes })
    }

    fn base(&self) -> u64 {
        self.window.map_or(0, |window| window.region_offset())
    }

    /// Where the scratch lies in the driver's region.
    pub fn scratch(&self) -> Option<Place> {
        let place = Place { offset: self.base(), bytes: self.scratch_bytes };
        (self.scratch_bytes > 0).then_some(place)
    }

    /// Looks at the scratch.
    pub fn with_scratch<T>(&self, look: impl FnOnce(&Window) -> T) -> T {
        // Without a window nothing was read; every access to this one is out of range.
        look(&self.window.unwrap_or_else(Window::empty))
    }

    /// Where a byte of the region lies in the window.
    pub fn own(&self, region_offset: u64) -> Option<u64> {
        region_offset.checked_sub(self.base())
    }

    /// Copies bytes out; whether they are in the window.
    pub fn load(&self, at: u64, to: &mut [u8]) -> bool {
        self.window.is_some_and(|window| window.copy_to(at, to).is_ok())
    }

    /// Copies bytes in; whether they are in the window.
    pub fn store(&self, at: u64, from: &[u8]) -> bool {
        self.window.is_some_and(|window| window.copy_from(at, from).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(bytes: u64, clients: usize) -> (u64, std::vec::Vec<Place>) {
        let memory = Memory::new(Some(Window::host(bytes, true)), clients);
        (memory.scratch().map_or(0, |place| place.bytes), memory.slots().collect())
    }

    #[test]
    fn the_window_is_divided_without_overlap() {
        for (bytes, clients) in [(64 << 10, 0), (64 << 10, 1), (64 << 10, 3), (8192, 1), (4096, 0), (1 << 20, 16)] {
            let (scratch, slots) = places(bytes, clients);
            assert_eq!(slots.len(), clients, "{bytes} bytes for {clients}");
            assert!((4096..=SCRATCH_BYTES).contains(&scratch));
            let mut end = scratch;
            for slot in slots {
                assert_eq!(slot.offset, end);
                assert!(slot.bytes >= 4096 && slot.bytes % 4096 == 0);
                end += slot.bytes;
            }
            assert!(end <= bytes);
        }
    }

    #[test]
    fn without_room_there_are_no_slots() {
        assert_eq!(places(4096, 1), (0, std::vec![Place { offset: 0, bytes: 4096 }]));
        assert_eq!(places(8192, 3), (4096, std::vec![]));
        let nothing = Memory::new(None, 2);
        assert_eq!((nothing.scratch(), nothing.slots().count()), (None, 0));
        assert!(!nothing.load(0, &mut [0]) && !nothing.store(0, &[0]));
    }
}
