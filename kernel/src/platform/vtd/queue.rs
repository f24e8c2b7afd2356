//! The invalidation queue: how a unit is told that tables have changed (VT-d specification 4.1, 6.5.2).

use super::Reason;
use super::page::{PAGE, Page};
use crate::platform::Mapper;

const DESCRIPTOR_BYTES: u32 = 16;

const CONTEXTS: u64 = 0x1;
const TRANSLATIONS: u64 = 0x2;
const INTERRUPTS: u64 = 0x4;
const WAIT: u64 = 0x5;
const _: () = assert!(abi::package::DEVICES_MAX < (PAGE / DESCRIPTOR_BYTES / 4) as usize);
const ALL: u64 = 0b01 << 4;
const DRAIN_READS_AND_WRITES: u64 = 0b11 << 6;
const WRITE_STATUS: u64 = 1 << 5;
const IN_ORDER: u64 = 1 << 6;

/// A unit's queue, and where the unit writes that it has come to the end of it.
#[derive(Debug)]
pub struct Queue {
    ring: Page,
    status: Page,
    tail: u32,
    /// What the unit writes when everything so far is done.
    awaited: u32,
}

impl Queue {
    /// An empty one.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(mapper: &mut impl Mapper) -> Result<Self, Reason> {
        Ok(Self { ring: Page::new(mapper)?, status: Page::new(mapper)?, tail: 0, awaited: 0 })
    }

    /// What the unit's address register takes: descriptors of 16 bytes, one page of them.
    pub fn register(&self) -> u64 {
        self.ring.physical()
    }

    /// Puts the descriptors that have everything forgotten: contexts, translations, interrupts. All reads and writes
    /// of before are over when it is done. Returns the tail for the unit's register.
    ///
    /// There is always room: of each device one waits for [`Queue::is_done`] before the next are put, and 64 fit.
    pub fn forget_everything(&mut self) -> u64 {
        self.awaited = self.awaited.wrapping_add(1);
        let status = u64::from(self.awaited) << 32;
        for descriptor in [
            [CONTEXTS | ALL, 0],
            [TRANSLATIONS | ALL | DRAIN_READS_AND_WRITES, 0],
            [INTERRUPTS, 0],
            [WAIT | WRITE_STATUS | IN_ORDER | status, self.status.physical()],
        ] {
            self.ring.write_entry(self.tail, descriptor);
            self.tail = (self.tail + DESCRIPTOR_BYTES) % PAGE;
        }
        self.tail.into()
    }

    /// Whether the unit has done all of it.
    pub fn is_done(&self) -> bool {
        self.status.read(0) as u32 == self.awaited
    }
}
