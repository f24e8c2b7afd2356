//! The records that outlive a reset, and how often the machine was reset for want of a supervisor.
//!
//! They lie in memory that the UEFI application asks firmware for at the same address at each boot ([`abi::crash`]), that
//! nobody else uses, and that is accessed uncached, so that a reset that empties the caches loses none of it. What a
//! boot finds there is believed only where it is whole; after power-on nothing is.
//!
//! A record is made when a task stops, and written in an entry of its own, which keeps either short; whatever ends the
//! machine writes it first.

use abi::crash::memory::{self, BYTES, Boots, RECORDS, SLOT_BYTES, slot_of};
use abi::crash::{Name, Record};

use crate::log;
use crate::objects::TaskId;
use crate::platform::Mapper;
use crate::platform::registers::Registers;

/// Resets in a row, each because the supervisor had stopped soon after the boot, until the machine is switched off
/// instead.
pub const RESETS_MAX: u32 = 3;
/// How soon after the boot that is, in nanoseconds: ten minutes.
pub const SOON: u64 = 600_000_000_000;

/// What comes of a supervisor's stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A reset; nobody knows the how manieth, as there is no memory to count them in.
    Reset,
    /// A reset, the how manieth in a row.
    CountedReset(u32),
    /// No more resets, after so many in a row.
    Off(u32),
}

/// Whose a record is.
#[derive(Clone, Copy, Debug)]
struct Of {
    /// 0 if there is none.
    sequence: u64,
    task: Option<TaskId>,
}

type Slot = [u8; SLOT_BYTES];

/// The records. Zero in every byte at first, so that no image holds them.
#[derive(Debug)]
pub struct Crashes {
    memory: Option<Registers>,
    boots: Boots,
    package: u32,
    /// The newest record's sequence, 0 if there was none.
    newest: u64,
    /// Whose the kept records are.
    of: [Of; RECORDS],
    /// Whether `record` is still to be written.
    waits: bool,
    record: Record,
}

impl Crashes {
    /// None, and no memory for any.
    pub const fn new() -> Self {
        Self {
            memory: None,
            boots: Boots { boot: 0, told: 0, resets: 0 },
            package: 0,
            newest: 0,
            of: [Of { sequence: 0, task: None }; RECORDS],
            waits: false,
            record: Record::EMPTY,
        }
    }

    /// Maps the memory, counts this boot, and tells what boots before it have left and none has told yet. `physical` is 0
    /// if there is no such memory; `package` says which image runs.
    pub fn start(&mut self, mapper: &mut impl Mapper, physical: u64, package: u32) {
        if physical == 0 {
            return log!("crash", "memory absent reason=not-given-by-firmware");
        }
        let Some(start) = mapper.map_device(physical, BYTES as u64) else {
            return log!("crash", "memory absent reason=no-room");
        };
        // SAFETY: `map_device` maps these bytes for ever, and they begin a page; the UEFI application has taken them from
        // firmware for this alone.
        self.take(unsafe { Registers::new(start, BYTES as u32) }, package);
        self.tell();
    }

    /// Takes over what boots before this one have left, if it is whole.
    fn take(&mut self, memory: Registers, package: u32) {
        self.memory = Some(memory);
        self.package = package;
        match self.read(0, memory::open::<Boots>) {
            Some(before) => {
                self.boots = Boots { boot: before.boot.saturating_add(1), ..before };
                let newest = (1..=RECORDS).filter_map(|slot| Some(self.read(slot, memory::open::<Record>)?.sequence));
                self.newest = newest.fold(before.told, u64::max);
            }
            None => {
                self.boots = Boots { boot: 1, told: 0, resets: 0 };
                // Nor is any record of it believed.
                (1..=RECORDS).for_each(|slot| self.empty(slot));
            }
        }
        self.keep_boots();
    }

    /// Logs the records of boots before this one, each once: at the next boot they are old.
    fn tell(&mut self) {
        let Boots { boot, told, resets } = self.boots;
        log!("crash", "memory boot={boot} resets={resets} records={}", self.kept().count());
        for sequence in self.sequences().filter(|sequence| *sequence > told) {
            let Some(record) = self.of_sequence(sequence) else { continue };
            let Record { boot, package, time, .. } = record;
            log!(
                "crash",
                "previous boot record={sequence} boot={boot} package={package:#010x} time_us={} {record}",
                time / 1000
            );
            log!("crash", "registers record={sequence} {}", record.registers);
        }
        self.boots.told = self.newest;
        self.keep_boots();
    }

    /// Learns whose the records of boots before this one are: tasks are known by their names.
    pub fn recognise(&mut self, task: impl Fn(&Name) -> Option<TaskId>) {
        for sequence in self.sequences() {
            if let Some(record) = self.of_sequence(sequence) {
                self.enter(sequence, task(&record.task));
            }
        }
    }

    /// Sequences that a kept record may have, ascending.
    fn sequences(&self) -> impl Iterator<Item = u64> + use<> {
        self.newest.saturating_sub(RECORDS as u64) + 1..=self.newest
    }

    fn kept(&self) -> impl Iterator<Item = Record> {
        self.sequences().filter_map(|sequence| self.of_sequence(sequence))
    }

    fn of_sequence(&self, sequence: u64) -> Option<Record> {
        self.read(slot_of(sequence), memory::open::<Record>).filter(|record| record.sequence == sequence)
    }

    fn enter(&mut self, sequence: u64, task: Option<TaskId>) {
        if let Some(of) = self.of.get_mut(slot_of(sequence).wrapping_sub(1)) {
            *of = Of { sequence, task };
        }
    }

    /// Begins the record of a task that stops: its number, boot and image are right, the rest is the caller's to fill. It
    /// waits to be [written](Self::write).
    pub fn begin(&mut self, task: TaskId) -> &mut Record {
        self.write();
        self.newest = self.newest.saturating_add(1);
        self.enter(self.newest, Some(task));
        self.waits = true;
        self.record.sequence = self.newest;
        self.record.boot = self.boots.boot;
        self.record.package = self.package;
        &mut self.record
    }

    /// Writes the record that waits. Returns whether one did.
    pub fn write(&mut self) -> bool {
        let waited = core::mem::take(&mut self.waits) && self.memory.is_some();
        if waited {
            let mut slot = [0; SLOT_BYTES];
            if let Some(used) = memory::seal(&self.record, &mut slot) {
                self.put(slot_of(self.record.sequence), &slot, used);
            }
        }
        waited
    }

    /// Copies the newest record of a task, in postcard, to the start of `to`. Returns its bytes; 0 if none is kept.
    pub fn newest_of(&mut self, task: TaskId, to: &mut [u8]) -> usize {
        self.write();
        let newest = self.of.iter().filter(|of| of.task == Some(task)).map(|of| of.sequence).max();
        let Some(sequence) = newest.filter(|sequence| *sequence > 0) else { return 0 };
        let copied = self.read(slot_of(sequence), |slot| {
            let bytes = memory::contents(slot)?;
            to.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        });
        copied.unwrap_or(0)
    }

    /// The supervisor has stopped, this long after the boot: counts the reset that follows, unless there were too many.
    pub fn supervisor_stopped(&mut self, now: u64) -> Verdict {
        if self.memory.is_none() {
            return Verdict::Reset;
        }
        let before = if now < SOON { self.boots.resets } else { 0 };
        let verdict = if before < RESETS_MAX {
            self.boots.resets = before + 1;
            Verdict::CountedReset(before + 1)
        } else {
            self.boots.resets = 0;
            Verdict::Off(before)
        };
        self.keep_boots();
        verdict
    }

    /// Somebody ends the machine on purpose: the resets before are no row any more.
    pub fn ended_on_purpose(&mut self) {
        if self.boots.resets > 0 {
            self.boots.resets = 0;
            self.keep_boots();
        }
    }

    fn keep_boots(&mut self) {
        let mut slot = [0; SLOT_BYTES];
        if let Some(used) = memory::seal(&self.boots, &mut slot) {
            self.put(0, &slot, used);
        }
    }

    fn read<T>(&self, slot: usize, look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let mut copy = [0; SLOT_BYTES];
        let (words, _) = copy.as_chunks_mut();
        self.memory.as_ref()?.read_words((slot * SLOT_BYTES) as u32, words);
        look(&copy)
    }

    fn empty(&mut self, slot: usize) {
        if let Some(memory) = &mut self.memory {
            memory.write_u64((slot * SLOT_BYTES) as u32, 0);
        }
    }

    /// Writes the first bytes of a slot. It is not whole before its first word is written, which comes last.
    fn put(&mut self, number: usize, slot: &Slot, used: usize) {
        self.empty(number);
        let Some(memory) = &mut self.memory else { return };
        let at = (number * SLOT_BYTES) as u32;
        let (words, _) = slot.as_chunks();
        if let Some((first, rest)) = words.split_first() {
            memory.write_words(at + 8, rest.get(..used.div_ceil(8).saturating_sub(1)).unwrap_or(rest));
            memory.write_u64(at, u64::from_le_bytes(*first));
        }
    }
}

impl Default for Crashes {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
