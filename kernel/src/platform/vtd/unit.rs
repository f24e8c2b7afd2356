//! One remapping unit: its registers, its root and context tables, its queue (VT-d specification 4.1, chapter 11).
//!
//! Everything that waits for the unit does so at start-up, with a limit. Afterwards a unit is only told things
//! ([`Unit::forget_everything`]) and asked later whether it has done them.

use heapless::Vec;

use super::domain::Domain;
use super::fault::Fault;
use super::interrupts::{InterruptTable, Processors};
use super::page::Page;
use super::queue::Queue;
use super::{Capabilities, Reason};
use crate::platform::Mapper;
use crate::platform::clock::Clock;
use crate::platform::msix::Message;
use crate::platform::registers::Registers;

/// Register offsets.
pub(super) mod register {
    pub const CAPABILITY: u32 = 0x08;
    pub const EXTENDED_CAPABILITY: u32 = 0x10;
    pub const COMMAND: u32 = 0x18;
    pub const STATUS: u32 = 0x1c;
    pub const ROOT_TABLE: u32 = 0x20;
    pub const FAULT_STATUS: u32 = 0x34;
    pub const FAULT_CONTROL: u32 = 0x38;
    pub const FAULT_DATA: u32 = 0x3c;
    pub const FAULT_ADDRESS: u32 = 0x40;
    pub const FAULT_ADDRESS_HIGH: u32 = 0x44;
    pub const PROTECTED_MEMORY: u32 = 0x64;
    pub const QUEUE_HEAD: u32 = 0x80;
    pub const QUEUE_TAIL: u32 = 0x88;
    pub const QUEUE_ADDRESS: u32 = 0x90;
    pub const INTERRUPT_TABLE: u32 = 0xb8;
}

/// Bits of the command register, and of the status register that follows it.
pub(super) mod command {
    pub const TRANSLATION: u32 = 1 << 31;
    pub const ROOT_TABLE: u32 = 1 << 30;
    pub const WRITE_BUFFER_FLUSH: u32 = 1 << 27;
    pub const QUEUE: u32 = 1 << 26;
    pub const INTERRUPTS: u32 = 1 << 25;
    pub const INTERRUPT_TABLE: u32 = 1 << 24;
    /// What is kept on until it is switched off; what is left out here are single commands, and compatibility format
    /// interrupts, which stay off.
    pub const LASTING: u32 = TRANSLATION | QUEUE | INTERRUPTS;
}

const FAULT_MASKED: u32 = 1 << 31;
const FAULT_STATUS_CLEAR: u32 = 0x71;
const PROTECTED_MEMORY_ON: u32 = 1 << 31;
const PROTECTED_MEMORY_STATUS: u32 = 1;
/// Longest wait for a unit, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;
/// Fault records that are looked at in one go.
const RECORDS_AT_ONCE: u16 = 16;
/// Buses with functions that have a domain, of one unit.
const BUSES_MAX: usize = 8;

const PRESENT: u64 = 1;

/// How registers are reached: a window of them, or a unit made up for tests.
pub trait Window {
    /// Reads a register.
    fn read_u32(&self, offset: u32) -> u32;
    /// Reads a register.
    fn read_u64(&self, offset: u32) -> u64;
    /// Writes a register.
    fn write_u32(&mut self, offset: u32, value: u32);
    /// Writes a register.
    fn write_u64(&mut self, offset: u32, value: u64);
}

impl Window for Registers {
    fn read_u32(&self, offset: u32) -> u32 {
        Self::read_u32(self, offset)
    }

    fn read_u64(&self, offset: u32) -> u64 {
        Self::read_u64(self, offset)
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        Self::write_u32(self, offset, value);
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        Self::write_u64(self, offset, value);
    }
}

/// A unit that translates and remaps.
#[derive(Debug)]
pub struct Unit<W> {
    window: W,
    capabilities: Capabilities,
    root: Page,
    /// Context tables, by bus.
    contexts: Vec<(u8, Page), BUSES_MAX>,
    queue: Queue,
    next_record: u16,
}

impl<W: Window> Unit<W> {
    /// Takes a unit over, whatever firmware left it doing, and switches translation and interrupt remapping on with
    /// nothing in any domain: from here on no function behind it reaches memory.
    ///
    /// # Errors
    /// Why it cannot be used; it is then off.
    pub fn start(
        mapper: &mut impl Mapper,
        clock: &Clock,
        mut window: W,
        capabilities: Capabilities,
        interrupts: &InterruptTable,
    ) -> Result<Self, Reason> {
        if interrupts.processors() == Processors::Wide && !capabilities.extended_interrupts {
            return Err(Reason::ProcessorNumber);
        }
        stop(&mut window, clock)?;
        let (root, queue) = (Page::new(mapper)?, Queue::new(mapper)?);
        let mut unit = Self { window, capabilities, root, contexts: Vec::new(), queue, next_record: 0 };
        let started = unit.switch_on(clock, interrupts);
        if started.is_err() {
            // What it still does is unknown, and said: it timed out.
            let _ = stop(&mut unit.window, clock);
        }
        started.map(|()| unit)
    }

    fn switch_on(&mut self, clock: &Clock, interrupts: &InterruptTable) -> Result<(), Reason> {
        if self.capabilities.protected_memory {
            self.window.write_u32(register::PROTECTED_MEMORY, 0);
            wait(clock, || self.window.read_u32(register::PROTECTED_MEMORY) & PROTECTED_MEMORY_STATUS == 0)?;
        }
        self.window.write_u32(register::FAULT_CONTROL, FAULT_MASKED);
        for _ in 0..self.capabilities.fault_record_count {
            let _ = self.take_fault();
        }
        self.window.write_u32(register::FAULT_STATUS, FAULT_STATUS_CLEAR);
        self.window.write_u64(register::ROOT_TABLE, self.root.physical());
        self.once(clock, command::ROOT_TABLE)?;
        self.window.write_u64(register::QUEUE_TAIL, 0);
        self.window.write_u64(register::QUEUE_ADDRESS, self.queue.register());
        set(&mut self.window, clock, command::QUEUE, true)?;
        self.window.write_u64(register::INTERRUPT_TABLE, interrupts.register());
        self.once(clock, command::INTERRUPT_TABLE)?;
        self.settle(clock)?;
        set(&mut self.window, clock, command::TRANSLATION, true)?;
        set(&mut self.window, clock, command::INTERRUPTS, true)
    }

    /// A command that is done when its status bit is set.
    fn once(&mut self, clock: &Clock, bit: u32) -> Result<(), Reason> {
        let lasting = self.window.read_u32(register::STATUS) & command::LASTING;
        self.window.write_u32(register::COMMAND, lasting | bit);
        wait(clock, || self.window.read_u32(register::STATUS) & bit != 0)
    }

    /// Makes the unit see the tables as they are now. At start-up only.
    ///
    /// # Errors
    /// If it does not in its time.
    pub fn settle(&mut self, clock: &Clock) -> Result<(), Reason> {
        if self.capabilities.write_buffer_flush {
            let lasting = self.window.read_u32(register::STATUS) & command::LASTING;
            self.window.write_u32(register::COMMAND, lasting | command::WRITE_BUFFER_FLUSH);
            wait(clock, || self.window.read_u32(register::STATUS) & command::WRITE_BUFFER_FLUSH == 0)?;
        }
        self.forget_everything();
        wait(clock, || self.is_settled())
    }

    /// Tells the unit to forget what it knows of the tables. There is room for as many times as there can be devices
    /// before [`Unit::is_settled`].
    ///
    /// Invalidations flush the buffers of writes as well (6.8).
    pub fn forget_everything(&mut self) {
        let tail = self.queue.forget_everything();
        self.window.write_u64(register::QUEUE_TAIL, tail);
    }

    /// Whether it has.
    pub fn is_settled(&self) -> bool {
        self.queue.is_done()
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Gives a requester a domain. [`Unit::settle`] is to follow, or [`Unit::forget_everything`].
    ///
    /// # Errors
    /// If there is no memory.
    pub fn give(&mut self, mapper: &mut impl Mapper, requester: u16, domain: &Domain) -> Result<(), Reason> {
        let bus = (requester >> 8) as u8;
        if !self.contexts.iter().any(|(own, _)| *own == bus) {
            let table = Page::new(mapper)?;
            let physical = table.physical();
            self.contexts.push((bus, table)).map_err(|_| Reason::NoMemory)?;
            self.root.write_entry(u32::from(bus) * 16, [physical | PRESENT, 0]);
        }
        self.replace(requester, domain);
        Ok(())
    }

    /// Gives another domain to a requester that has one. Untranslated requests only (type 00): what a device says that
    /// it has translated itself is refused.
    pub fn replace(&mut self, requester: u16, domain: &Domain) {
        let [function, bus] = requester.to_le_bytes();
        let Some((_, table)) = self.contexts.iter_mut().find(|(own, _)| *own == bus) else { return };
        let at = u32::from(function) * 16;
        let width = u64::from(domain.levels.saturating_sub(2));
        // Not present in between: the two words are not written at once.
        table.write(at, 0);
        table.write_entry(at, [domain.root | PRESENT, u64::from(domain.number) << 8 | width]);
    }

    /// Has the unit interrupt a processor when it records a fault.
    pub fn tell_faults(&mut self, message: Message, high: u32) {
        self.window.write_u32(register::FAULT_DATA, message.data);
        self.window.write_u32(register::FAULT_ADDRESS, message.address);
        self.window.write_u32(register::FAULT_ADDRESS_HIGH, high);
        self.set_fault_interrupt(true);
    }

    /// Lets the unit interrupt for faults, or not.
    pub fn set_fault_interrupt(&mut self, on: bool) {
        self.window.write_u32(register::FAULT_CONTROL, if on { 0 } else { FAULT_MASKED });
    }

    /// Takes recorded faults, so many that a storm does not keep the kernel. They are in no order.
    pub fn take_faults(&mut self, mut each: impl FnMut(Fault)) {
        for _ in 0..RECORDS_AT_ONCE {
            let Some(fault) = self.take_fault() else { break };
            each(fault);
        }
        // Also that faults were lost while the records were full.
        self.window.write_u32(register::FAULT_STATUS, FAULT_STATUS_CLEAR);
    }

    fn take_fault(&mut self) -> Option<Fault> {
        let count = self.capabilities.fault_record_count;
        (0..count).find_map(|step| {
            let record = (self.next_record + step) % count;
            let at = self.capabilities.fault_records + u32::from(record) * 16;
            let high = self.window.read_u64(at + 8);
            let fault = Fault::new([self.window.read_u64(at), high])?;
            // Written back as one, the valid bit is cleared.
            self.window.write_u32(at + 12, (high >> 32) as u32);
            self.next_record = (record + 1) % count;
            Some(fault)
        })
    }
}

/// Switches a unit off, whoever switched it on: interrupt remapping, translation and queue, in this order.
///
/// # Errors
/// If it does not go off in its time.
pub fn stop(window: &mut impl Window, clock: &Clock) -> Result<(), Reason> {
    set(window, clock, command::INTERRUPTS, false)?;
    set(window, clock, command::TRANSLATION, false)?;
    if window.read_u32(register::STATUS) & command::QUEUE != 0 {
        // What firmware put into it comes to its end first.
        wait(clock, || window.read_u64(register::QUEUE_HEAD) == window.read_u64(register::QUEUE_TAIL))?;
    }
    set(window, clock, command::QUEUE, false)?;
    if window.read_u32(register::PROTECTED_MEMORY) & PROTECTED_MEMORY_ON != 0 {
        window.write_u32(register::PROTECTED_MEMORY, 0);
    }
    Ok(())
}

/// Switches something that lasts on or off.
fn set(window: &mut impl Window, clock: &Clock, bit: u32, on: bool) -> Result<(), Reason> {
    let status = window.read_u32(register::STATUS);
    if (status & bit != 0) == on {
        return Ok(());
    }
    let lasting = status & command::LASTING & !bit;
    window.write_u32(register::COMMAND, lasting | if on { bit } else { 0 });
    wait(clock, || (window.read_u32(register::STATUS) & bit != 0) == on)
}

fn wait(clock: &Clock, mut done: impl FnMut() -> bool) -> Result<(), Reason> {
    let end = clock.now().saturating_add(PATIENCE);
    loop {
        if done() {
            return Ok(());
        }
        if clock.now() > end {
            return Err(Reason::UnitTimedOut);
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests;
