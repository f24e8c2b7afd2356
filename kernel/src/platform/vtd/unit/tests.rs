use super::super::domain::Run;
use super::super::tests::{HostMemory, set_word, walk, word};
use super::*;
use crate::platform::clock::{Frequency, Source};
use core::cell::{Cell, RefCell};

extern crate std;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec as List;

/// A unit as the specification has it: it caches everything, and sees new tables only after it was told to forget.
struct FakeUnit {
    registers: RefCell<BTreeMap<u32, u64>>,
    /// Bits of the status register that never change.
    stuck: u32,
    /// Every command that was written.
    commands: RefCell<List<u32>>,
    /// Whether it takes descriptors.
    is_lazy: Cell<bool>,
    invalidations: Cell<u32>,
}

impl FakeUnit {
    fn new(status: u32) -> Rc<Self> {
        let registers = RefCell::new(BTreeMap::from([(register::STATUS, u64::from(status))]));
        Rc::new(Self {
            registers,
            stuck: 0,
            commands: RefCell::default(),
            is_lazy: Cell::new(false),
            invalidations: Cell::new(0),
        })
    }

    fn get(&self, offset: u32) -> u64 {
        self.registers.borrow().get(&offset).copied().unwrap_or(0)
    }

    fn put(&self, offset: u32, value: u64) {
        self.registers.borrow_mut().insert(offset, value);
    }

    fn command(&self, value: u32) {
        self.commands.borrow_mut().push(value);
        let status = self.get(register::STATUS) as u32;
        let single = command::ROOT_TABLE | command::INTERRUPT_TABLE;
        assert!((value & (single | command::WRITE_BUFFER_FLUSH)).count_ones() <= 1, "one command at a time");
        let changed = (status ^ value) & command::LASTING;
        assert!(changed.count_ones() <= 1, "one change at a time");
        let wanted = status & single | value & (single | command::LASTING);
        self.put(register::STATUS, (wanted & !self.stuck | status & self.stuck).into());
    }

    fn take_descriptors(&self) {
        if self.is_lazy.get() {
            return;
        }
        let ring = self.get(register::QUEUE_ADDRESS);
        assert_eq!(ring & 0xfff, 0, "descriptors of 16 bytes, one page");
        let (mut head, tail) = (self.get(register::QUEUE_HEAD), self.get(register::QUEUE_TAIL));
        let mut kinds = List::new();
        while head != tail {
            let [low, high] = [word(ring + head), word(ring + head + 8)];
            kinds.push(low & 0xf);
            match low & 0xf {
                1 | 2 => assert_eq!(low >> 4 & 3, 1, "all of it"),
                4 => assert_eq!(low >> 4 & 1, 0, "all of it"),
                5 => set_word(high, (low >> 32) as u32),
                other => panic!("descriptor {other}"),
            }
            head = (head + 16) % 4096;
        }
        assert_eq!(kinds, [1, 2, 4, 5]);
        self.put(register::QUEUE_HEAD, head);
        self.invalidations.set(self.invalidations.get() + 1);
    }

    /// Where a request leads; `None` if it is blocked.
    fn translate(&self, requester: u16, address: u64) -> Option<u64> {
        if self.get(register::STATUS) as u32 & command::TRANSLATION == 0 {
            return Some(address);
        }
        let entry = word(self.get(register::ROOT_TABLE) + u64::from(requester >> 8) * 16);
        if entry & 1 == 0 {
            return None;
        }
        let context = (entry & !0xfff) + u64::from(requester & 0xff) * 16;
        let [low, high] = [word(context), word(context + 8)];
        if low & 1 == 0 {
            return None;
        }
        assert_eq!(low & 0xffe, 0, "untranslated requests only, faults are recorded");
        assert_ne!(high >> 8 & 0xffff, 0, "number 0 is not for use in caching mode");
        walk(low & !0xfff, (high & 7) as u8 + 2, address)
    }
}

impl Window for Rc<FakeUnit> {
    fn read_u32(&self, offset: u32) -> u32 {
        self.get(offset) as u32
    }

    fn read_u64(&self, offset: u32) -> u64 {
        self.get(offset)
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        match offset {
            register::COMMAND => self.command(value),
            // The valid bit of the one record is cleared by writing it.
            0x22c => self.put(0x228, self.get(0x228) & !(u64::from(value) << 32 & 1 << 63)),
            _ => self.put(offset, value.into()),
        }
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        self.put(offset, value);
        if offset == register::QUEUE_TAIL && self.get(register::STATUS) as u32 & command::QUEUE != 0 {
            self.take_descriptors();
        }
    }
}

fn clock() -> Clock {
    // So fast that a unit's time is over soon.
    let frequency = Frequency { hertz: 10_000_000, source: Source::Assumed };
    Clock::new(0, frequency, frequency)
}

fn capabilities() -> Capabilities {
    Capabilities::new(0x00d2_008c_2226_0206, 0x00f0_0f4a).unwrap()
}

fn start(window: &Rc<FakeUnit>, capabilities: Capabilities) -> Result<Unit<Rc<FakeUnit>>, Reason> {
    let mut memory = HostMemory::plenty();
    let interrupts = InterruptTable::new(&mut memory, Processors::Narrow)?;
    Unit::start(&mut memory, &clock(), Rc::clone(window), capabilities, &interrupts)
}

fn domain(number: u16, physical: u64) -> Domain {
    let runs = [Run { seen: 0x1000, physical, bytes: 0x1000 }];
    Domain::build(&mut HostMemory::plenty(), &capabilities(), number, &runs).unwrap()
}

#[test]
fn from_its_start_on_nothing_passes() {
    let window = FakeUnit::new(0);
    start(&window, capabilities()).unwrap();
    let on = command::TRANSLATION | command::INTERRUPTS | command::QUEUE;
    assert_eq!(window.get(register::STATUS) as u32 & on, on);
    assert_eq!(window.get(register::FAULT_CONTROL), u64::from(FAULT_MASKED));
    for requester in [0, 8, 0xffff] {
        assert_eq!(window.translate(requester, 0x1000), None);
    }
    // Tables and invalidations come before what uses them; compatibility format stays off.
    let commands = window.commands.borrow();
    let place = |bit: u32| commands.iter().position(|value| value & bit != 0).unwrap();
    assert!(place(command::ROOT_TABLE) < place(command::TRANSLATION));
    assert!(place(command::INTERRUPT_TABLE) < place(command::INTERRUPTS));
    assert!(commands.iter().all(|value| value & 1 << 23 == 0));
    assert_eq!(window.invalidations.get(), 1);
}

#[test]
fn a_unit_that_firmware_left_on_is_switched_off_first() {
    let window = FakeUnit::new(command::TRANSLATION | command::INTERRUPTS | command::QUEUE);
    window.put(register::ROOT_TABLE, 0xdead_0000);
    start(&window, capabilities()).unwrap();
    let first: List<_> = window.commands.borrow()[..3].to_vec();
    assert_eq!(first, [command::TRANSLATION | command::QUEUE, command::QUEUE, 0], "interrupts, translation, queue");
    assert_eq!(window.translate(8, 0x1000), None, "firmware's tables are gone");
}

#[test]
fn each_requester_has_its_own_domain() {
    let window = FakeUnit::new(0);
    let mut unit = start(&window, capabilities()).unwrap();
    let mut memory = HostMemory::plenty();
    unit.give(&mut memory, 0x0008, &domain(1, 0x7000)).unwrap();
    unit.give(&mut memory, 0x0100, &domain(2, 0x8000)).unwrap();
    unit.give(&mut memory, 0x0009, &domain(3, 0x9000)).unwrap();
    unit.settle(&clock()).unwrap();
    let to = |requester, address| window.translate(requester, address);
    assert_eq!(
        (to(0x0008, 0x1abc), to(0x0100, 0x1abc), to(0x0009, 0x1abc)),
        (Some(0x7abc), Some(0x8abc), Some(0x9abc))
    );
    for requester in [0, 7, 0x0a, 0x0108, 0x0200] {
        assert_eq!(to(requester, 0x1000), None, "{requester:#x}");
    }
    for address in [0, 0x2000, 0x7000] {
        assert_eq!(to(0x0008, address), None);
    }
    unit.replace(0x0008, &domain(4, 0xa000));
    assert_eq!(to(0x0008, 0x1000), Some(0xa000));
    let before = window.invalidations.get();
    unit.forget_everything();
    assert!(unit.is_settled() && window.invalidations.get() == before + 1);
    window.is_lazy.set(true);
    unit.forget_everything();
    assert!(!unit.is_settled(), "not before the unit says so");
    window.is_lazy.set(false);
    window.take_descriptors();
    assert!(unit.is_settled());
}

#[test]
fn the_queue_goes_round() {
    let window = FakeUnit::new(0);
    let mut unit = start(&window, capabilities()).unwrap();
    for _ in 0..200 {
        unit.settle(&clock()).unwrap();
    }
}

#[test]
fn a_unit_that_does_not_do_what_it_is_told_is_not_used() {
    for stuck in
        [command::TRANSLATION, command::QUEUE, command::INTERRUPTS, command::ROOT_TABLE, command::INTERRUPT_TABLE]
    {
        let window = Rc::new(FakeUnit { stuck, ..Rc::into_inner(FakeUnit::new(0)).unwrap() });
        assert_eq!(start(&window, capabilities()).err(), Some(Reason::UnitTimedOut), "{stuck:#x}");
        assert_eq!(window.translate(8, 0x1000), Some(0x1000), "it is off again");
    }
    let window = FakeUnit::new(0);
    window.is_lazy.set(true);
    assert_eq!(start(&window, capabilities()).err(), Some(Reason::UnitTimedOut));
}

#[test]
fn what_a_unit_wants_is_done() {
    let window = FakeUnit::new(0);
    let wants = Capabilities { write_buffer_flush: true, protected_memory: true, ..capabilities() };
    window.put(register::PROTECTED_MEMORY, u64::from(PROTECTED_MEMORY_ON));
    start(&window, wants).unwrap();
    assert_eq!(window.get(register::PROTECTED_MEMORY), 0);
    assert!(window.commands.borrow().iter().any(|value| value & command::WRITE_BUFFER_FLUSH != 0));
}

#[test]
fn wide_processor_numbers_need_a_unit_that_takes_them() {
    let mut memory = HostMemory::plenty();
    let interrupts = InterruptTable::new(&mut memory, Processors::Wide).unwrap();
    let window = FakeUnit::new(0);
    let narrow = Unit::start(&mut memory, &clock(), Rc::clone(&window), capabilities(), &interrupts);
    assert_eq!(narrow.err(), Some(Reason::ProcessorNumber));
    let wide = Capabilities { extended_interrupts: true, ..capabilities() };
    assert!(Unit::start(&mut memory, &clock(), window, wide, &interrupts).is_ok());
}

#[test]
fn no_memory_no_unit() {
    let window = FakeUnit::new(0);
    let interrupts = InterruptTable::new(&mut HostMemory::plenty(), Processors::Narrow).unwrap();
    let started = Unit::start(&mut HostMemory { left: 2 }, &clock(), window, capabilities(), &interrupts);
    assert_eq!(started.err(), Some(Reason::NoMemory));
}

#[test]
fn faults_are_taken_once_and_a_storm_of_them_ends() {
    let window = FakeUnit::new(0);
    let mut unit = start(&window, capabilities()).unwrap();
    let record = || {
        window.put(0x220, 0x5000);
        window.put(0x228, 1 << 63 | 5 << 32 | 8);
    };
    record();
    let mut taken = List::new();
    unit.take_faults(|fault| taken.push(fault));
    unit.take_faults(|fault| taken.push(fault));
    assert_eq!(taken, [Fault { requester: 8, address: 0x5000, write: true, reason: 5 }]);
    let mut count = 0;
    record();
    unit.take_faults(|_| {
        count += 1;
        record();
    });
    assert_eq!(count, u32::from(RECORDS_AT_ONCE));
}

#[test]
fn faults_interrupt_when_they_may() {
    let window = FakeUnit::new(0);
    let mut unit = start(&window, capabilities()).unwrap();
    unit.tell_faults(Message { address: 0xfee0_1000, data: 0xd8 }, 0x100);
    let seen = |offset| window.get(offset);
    assert_eq!((seen(register::FAULT_ADDRESS), seen(register::FAULT_DATA)), (0xfee0_1000, 0xd8));
    assert_eq!((seen(register::FAULT_ADDRESS_HIGH), seen(register::FAULT_CONTROL)), (0x100, 0));
    unit.set_fault_interrupt(false);
    assert_eq!(seen(register::FAULT_CONTROL), u64::from(FAULT_MASKED));
}
