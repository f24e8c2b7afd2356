//! Boots one after the other over the same memory, without hardware.

extern crate std;

use core::ptr::NonNull;
use std::boxed::Box;
use std::vec::Vec;

use abi::crash::Cause;

use super::*;

/// Memory at one address, whatever is asked for.
struct Memory(NonNull<u8>);

impl Memory {
    /// In which every byte is this one, as after power-on.
    fn of(byte: u8) -> Self {
        let words: &'static mut [u64] =
            Box::leak(std::vec![u64::from_ne_bytes([byte; 8]); BYTES / 8].into_boxed_slice());
        Self(NonNull::from(&mut words[0]).cast())
    }

    /// A boot of a machine that has kept its memory.
    fn boot(&mut self) -> Crashes {
        let mut crashes = Crashes::new();
        crashes.start(self, 0x0200_0000, 0xabcd);
        crashes
    }
}

impl Mapper for Memory {
    fn map_device(&mut self, _: u64, bytes: u64) -> Option<NonNull<u8>> {
        assert_eq!(bytes, BYTES as u64);
        Some(self.0)
    }

    fn map_firmware(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn map_transient(&mut self, _: u64) -> Option<NonNull<u8>> {
        None
    }

    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
        None
    }
}

fn id(index: usize) -> TaskId {
    TaskId::new(index).unwrap()
}

/// A task stops, and its record is written.
fn stop(crashes: &mut Crashes, task: usize, period: u64) {
    let record = crashes.begin(id(task));
    record.task = ["supervisor", "nvme", "block"][task].try_into().unwrap();
    record.cause = Cause::NoHeartbeat { period };
    crashes.write();
}

fn sequences(crashes: &Crashes) -> Vec<u64> {
    crashes.kept().map(|record| record.sequence).collect()
}

/// The newest record of a task as a supervisor gets it.
fn newest(crashes: &mut Crashes, task: usize) -> Option<Record> {
    let mut buffer = [0; 4096];
    let bytes = crashes.newest_of(id(task), &mut buffer);
    postcard::from_bytes(&buffer[..bytes]).ok()
}

#[test]
fn after_power_on_nothing_is_believed_and_the_first_boot_counts_as_one() {
    for byte in [0, 0xaf, 0xff, b'C'] {
        let mut memory = Memory::of(byte);
        let mut crashes = memory.boot();
        assert_eq!(crashes.boots, Boots { boot: 1, told: 0, resets: 0 });
        assert_eq!((sequences(&crashes), newest(&mut crashes, 1)), (Vec::new(), None));
        assert_eq!(memory.boot().boots.boot, 2);
    }
}

#[test]
fn what_one_boot_keeps_the_next_one_tells_once_and_knows_whose_it_is() {
    let mut memory = Memory::of(0xaf);
    let mut first = memory.boot();
    stop(&mut first, 1, 5);
    stop(&mut first, 2, 6);
    stop(&mut first, 1, 7);
    assert_eq!(newest(&mut first, 1).unwrap().cause, Cause::NoHeartbeat { period: 7 });
    assert_eq!(newest(&mut first, 0), None);
    let kept: Vec<_> = first.kept().collect();

    let mut second = memory.boot();
    assert_eq!(second.kept().collect::<Vec<_>>(), kept);
    assert!(kept.iter().all(|record| (record.boot, record.package) == (1, 0xabcd)));
    assert_eq!(second.boots, Boots { boot: 2, told: 3, resets: 0 }, "the third was told in this boot");
    // In this boot the tasks have other numbers, and one is not there any more.
    second.recognise(|name| (name == "nvme").then(|| id(2)));
    assert_eq!(newest(&mut second, 2).unwrap(), kept[2]);
    assert_eq!(newest(&mut second, 1), None);
    stop(&mut second, 2, 8);
    assert_eq!(newest(&mut second, 2).unwrap().cause, Cause::NoHeartbeat { period: 8 });

    let third = memory.boot();
    assert_eq!((third.boots.told, sequences(&third)), (4, [1, 2, 3, 4].into()));
    assert_eq!(third.kept().last().unwrap().boot, 2);
}

#[test]
fn the_newest_records_are_kept_and_no_task_gets_anothers() {
    let mut memory = Memory::of(0);
    let mut crashes = memory.boot();
    stop(&mut crashes, 2, 0);
    for period in 0..30 {
        stop(&mut crashes, 1, period);
    }
    let last: Vec<_> = (32 - RECORDS as u64..32).collect();
    assert_eq!(sequences(&crashes), last);
    assert_eq!(newest(&mut crashes, 2), None, "its one is gone");
    assert_eq!(sequences(&memory.boot()), last);
}

#[test]
fn a_record_that_waits_is_written_before_the_next_one_and_read_only_when_whole() {
    let mut memory = Memory::of(0);
    let mut crashes = memory.boot();
    crashes.begin(id(1)).cause = Cause::NoHeartbeat { period: 1 };
    assert_eq!(sequences(&crashes), [0; 0]);
    crashes.begin(id(2)).cause = Cause::NoHeartbeat { period: 2 };
    assert_eq!(sequences(&crashes), [1]);
    assert_eq!(newest(&mut crashes, 2).unwrap().sequence, 2, "who asks for it has it written");
    // A reset within the writing of one.
    crashes.empty(slot_of(1));
    assert_eq!(sequences(&memory.boot()), [2]);
    // And one of what is kept of boots: then nothing is believed.
    crashes.empty(0);
    let fresh = memory.boot();
    assert_eq!((fresh.boots.boot, sequences(&fresh)), (1, Vec::new()));
}

#[test]
fn a_supervisor_that_stops_soon_after_each_boot_is_reset_for_three_times_and_then_no_more() {
    let mut memory = Memory::of(0);
    let verdicts = [0, 1, 2, 3, 4].map(|_| memory.boot().supervisor_stopped(1_000_000));
    let expected = [
        Verdict::CountedReset(1),
        Verdict::CountedReset(2),
        Verdict::CountedReset(3),
        Verdict::Off(3),
        Verdict::CountedReset(1),
    ];
    assert_eq!(verdicts, expected);
}

#[test]
fn a_boot_that_lasts_and_one_that_ends_on_purpose_begin_the_count_anew() {
    let mut memory = Memory::of(0);
    memory.boot().supervisor_stopped(1);
    assert_eq!(memory.boot().supervisor_stopped(SOON - 1), Verdict::CountedReset(2));
    assert_eq!(memory.boot().supervisor_stopped(SOON), Verdict::CountedReset(1));
    memory.boot().ended_on_purpose();
    assert_eq!(memory.boot().supervisor_stopped(1), Verdict::CountedReset(1));
}

#[test]
fn without_memory_nothing_is_kept_and_nothing_fails() {
    let mut crashes = Crashes::new();
    crashes.start(&mut Memory::of(0), 0, 1);
    stop(&mut crashes, 1, 1);
    assert_eq!((newest(&mut crashes, 1), crashes.kept().count()), (None, 0));
    assert_eq!(crashes.supervisor_stopped(0), Verdict::Reset);
}
