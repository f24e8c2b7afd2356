//! Interrupt remapping: which messages arrive, from whom, and as what (VT-d specification 4.1, chapter 5 and 9.10).
//!
//! A message names an entry of this table, and the entry the one requester whose message is taken.

use super::Reason;
use super::page::{PAGE, Page};
use crate::platform::Mapper;
use crate::platform::msix::Message;

/// Entries of the table: one page.
pub const ENTRIES: u16 = (PAGE / ENTRY_BYTES) as u16;
const ENTRY_BYTES: u32 = 16;
/// Two to the power of this and one are the entries.
const SIZE: u64 = 7;
const _: () = assert!(ENTRIES == 1 << (SIZE + 1));
/// Processor numbers have 32 bits.
const EXTENDED: u64 = 1 << 11;

const PRESENT: u64 = 1 << 0;
const LEVEL: u64 = 1 << 4;
const VERIFY_REQUESTER: u64 = 0b01 << 18;
const VERIFY_BUSES: u64 = 0b10 << 18;

/// Who may send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// This requester.
    Requester(u16),
    /// Whoever is on this bus: what is behind a bridge that passes messages on as its own.
    Bus(u8),
}

/// How a processor is named. Neither is zero, so that no table at all is zero in every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Processors {
    /// By eight bits.
    Narrow = 1,
    /// By 32 bits.
    Wide,
}

/// The table.
#[derive(Debug)]
pub struct InterruptTable {
    page: Page,
    next: u16,
    processors: Processors,
}

impl InterruptTable {
    /// An empty one.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(mapper: &mut impl Mapper, processors: Processors) -> Result<Self, Reason> {
        Ok(Self { page: Page::new(mapper)?, next: 0, processors })
    }

    /// What the unit's register takes.
    pub fn register(&self) -> u64 {
        self.page.physical() | SIZE | if self.processors == Processors::Wide { EXTENDED } else { 0 }
    }

    /// How processors are named.
    pub fn processors(&self) -> Processors {
        self.processors
    }

    /// Takes the next entry for messages of `sender` that reach a processor as this vector; its number.
    ///
    /// # Errors
    /// If the table is full, or the processor cannot be named.
    pub fn add(&mut self, sender: Sender, processor: u32, vector: u8, level: bool) -> Result<u16, Reason> {
        if self.next >= ENTRIES {
            return Err(Reason::NoMemory);
        }
        let destination = match self.processors {
            Processors::Wide => u64::from(processor),
            Processors::Narrow => u64::from(u8::try_from(processor).map_err(|_| Reason::ProcessorNumber)?) << 8,
        };
        let low = PRESENT | if level { LEVEL } else { 0 } | u64::from(vector) << 16 | destination << 32;
        let high = match sender {
            Sender::Requester(requester) => VERIFY_REQUESTER | u64::from(requester),
            Sender::Bus(bus) => VERIFY_BUSES | u64::from(bus) << 8 | u64::from(bus),
        };
        let number = self.next;
        self.page.write_entry(u32::from(number) * ENTRY_BYTES, [low, high]);
        self.next += 1;
        Ok(number)
    }
}

impl Message {
    /// A message in remappable format that names this entry.
    pub const fn remapped(entry: u16) -> Self {
        const REMAPPABLE: u32 = 1 << 4;
        let (low, high) = (entry as u32 & 0x7fff, entry as u32 >> 15);
        Self { address: 0xfee0_0000 | low << 5 | REMAPPABLE | high << 2, data: 0 }
    }
}
