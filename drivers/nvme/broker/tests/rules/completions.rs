//! Completions, true and false: point 2.

use broker::{Broker, Device};
use nvme_broker::Reason;
use nvme_spec::nvm::BlockRange;
use nvme_spec::{CompletionEntry, Status, SubmissionEntry};

use crate::bench::Bench;
use crate::device::{Event, FakeDevice};

fn read(identifier: u16) -> SubmissionEntry {
    SubmissionEntry::read(identifier, 1, BlockRange { first: 0, count: 8 })
}

/// A completion as a controller would post it for what it saw last.
fn completion(bench: &Bench, queue: u16) -> CompletionEntry {
    let command = bench.device.in_flight.iter().rfind(|command| command.queue == queue).unwrap();
    CompletionEntry {
        identifier: command.entry.identifier,
        submission_queue: queue.into(),
        submission_head: 1.into(),
        dword0: 0x1234_5678.into(),
        dword1: 0x7654_3000.into(),
        ..CompletionEntry::default()
    }
}

#[test]
fn a_completion_carries_the_drivers_identifier_and_the_status_and_nothing_else() {
    let mut bench = Bench::running();
    bench.submit(1, read(9)).unwrap();
    bench.seen();
    let mut entry = completion(&bench, 1);
    entry.set_status(Status::UNRECOVERED_READ_ERROR, false);
    bench.device.post(1, entry);
    let mut expected =
        CompletionEntry { identifier: 9.into(), submission_queue: 1.into(), ..CompletionEntry::default() };
    expected.set_status(Status::UNRECOVERED_READ_ERROR, false);
    assert_eq!(bench.complete(1), [expected]);
}

#[test]
fn a_completion_that_nobody_asked_for_is_dropped_and_counted() {
    let mut bench = Bench::running();
    bench.submit(1, read(9)).unwrap();
    let seen = bench.seen();
    let good = completion(&bench, 1);
    let wrong = [
        CompletionEntry { identifier: 0.into(), ..good },
        // The slot is right, but it is not this use of it.
        CompletionEntry { identifier: 9.into(), ..good },
        CompletionEntry { identifier: (seen.identifier.get() + 0x100).into(), ..good },
        CompletionEntry { identifier: (seen.identifier.get() ^ 0x80).into(), ..good },
        CompletionEntry { identifier: 0xffff.into(), ..good },
        CompletionEntry { submission_queue: 0.into(), ..good },
        CompletionEntry { submission_queue: 2.into(), ..good },
    ];
    for (count, entry) in wrong.iter().enumerate() {
        bench.device.post(1, *entry);
        assert_eq!(bench.complete(1), [], "{entry:?}");
        assert_eq!(bench.broker.anomalies(), count as u64 + 1);
        assert_eq!(bench.refused(1, read(9)), Reason::IdentifierInFlight);
    }
    // On another queue's ring.
    bench.device.post(0, good);
    assert_eq!(bench.complete(0), []);
    bench.device.post(1, good);
    assert_eq!(bench.complete(1).len(), 1);
}

#[test]
fn a_completion_that_comes_twice_does_not_retire_the_slots_next_command() {
    let mut bench = Bench::running();
    bench.submit(1, read(9)).unwrap();
    bench.seen();
    let good = completion(&bench, 1);
    bench.device.post(1, good);
    assert_eq!(bench.complete(1).len(), 1);
    bench.submit(1, read(9)).unwrap();
    bench.seen();
    bench.device.post(1, good);
    assert_eq!(bench.complete(1), []);
    assert_eq!(bench.broker.anomalies(), 1);
    assert_eq!(bench.refused(1, read(9)), Reason::IdentifierInFlight);
}

#[test]
fn an_impossible_submission_head_frees_nothing() {
    let mut bench = Bench::running();
    for identifier in 0..64 {
        bench.submit(1, read(identifier)).unwrap();
    }
    bench.device.fetch();
    for (head, possible) in [(65, false), (127, false), (128, false), (0xffff, false), (64, true)] {
        let before = bench.broker.anomalies();
        let mut entry = completion(&bench, 1);
        entry.submission_head = head.into();
        bench.device.post(1, entry);
        assert_eq!(bench.complete(1).len(), 1, "it is in flight, and has ended");
        assert_eq!(bench.broker.anomalies() == before, possible, "{head}");
    }
}

#[test]
fn a_ring_that_is_not_fetched_is_never_overrun() {
    let mut bench = Bench::running();
    // The controller ends commands, but claims never to have fetched any.
    let mut accepted = 0;
    loop {
        let submitted = bench.broker.submit(&mut bench.device, 1, &[read(accepted % 64).to_bytes()]);
        assert_eq!(submitted.refused, None);
        if submitted.accepted == 0 {
            break;
        }
        accepted += 1;
        bench.device.fetch();
        let mut entry = completion(&bench, 1);
        entry.submission_head = 0.into();
        bench.device.post(1, entry);
        bench.complete(1);
    }
    assert_eq!(accepted, 127);
}

#[test]
fn rings_go_round() {
    let mut bench = Bench::running();
    for round in 0..1000 {
        bench.submit(1, read(round % 64)).unwrap();
        let completions = bench.run(1);
        assert_eq!(completions.len(), 1);
        assert_eq!(completions[0].identifier.get(), round % 64);
    }
    assert_eq!(bench.broker.anomalies(), 0);
}

#[test]
fn completions_come_in_any_order_and_in_small_helpings() {
    let mut bench = Bench::running();
    for identifier in 0..10 {
        bench.submit(1, read(identifier)).unwrap();
    }
    bench.device.fetch();
    while let Some(last) = bench.device.in_flight.len().checked_sub(1) {
        bench.device.finish(last, Status::SUCCESS);
    }
    bench.device.events.clear();
    let mut seen = Vec::new();
    loop {
        let mut entries = [[0; 16]; 3];
        let count = bench.broker.complete(&mut bench.device, 1, &mut entries).unwrap();
        if count == 0 {
            break;
        }
        seen.extend(entries[..count].iter().map(|entry| CompletionEntry::from_bytes(*entry).identifier.get()));
    }
    assert_eq!(seen, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let rung: Vec<_> = [3, 6, 9, 10].map(|head| Event::Register(0x100c, head)).into();
    assert_eq!(bench.device.events, rung, "once a call that took something");
}

#[test]
fn a_ring_full_of_false_completions_is_taken_in_one_go_and_retires_nothing() {
    let mut bench = Bench::running();
    bench.submit(1, read(9)).unwrap();
    bench.seen();
    let mut entry = completion(&bench, 1);
    entry.identifier = 0x7fff.into();
    let mut posted = 0;
    while bench.device.post(1, entry).is_some() {
        posted += 1;
    }
    assert_eq!(posted, 127);
    assert_eq!(bench.complete(1), []);
    assert_eq!(bench.broker.anomalies(), 127);
    assert_eq!(bench.run(1).len(), 1);
}

#[test]
fn a_controller_that_never_stops_writing_does_not_keep_the_kernel() {
    let mut bench = Bench::running();
    // Both passes' worth of false entries at once: each entry carries the phase that will be waited for when it is
    // reached, as if the controller wrote just ahead of us.
    bench.submit(1, read(9)).unwrap();
    bench.seen();
    let mut entry = completion(&bench, 1);
    entry.identifier = 0x7fff.into();
    let mut endless =
        Endless { device: &mut bench.device, ring: nvme_broker::layout::io_completion(0), pass: 0, entry };
    assert_eq!(bench.broker.complete(&mut endless, 1, &mut [[0; 16]; 4]), Ok(0));
    assert_eq!(bench.broker.anomalies(), 128);
}

/// Has an entry of the right phase ready wherever the broker looks.
struct Endless<'a> {
    device: &'a mut FakeDevice,
    ring: u32,
    pass: u32,
    entry: CompletionEntry,
}

impl Device for Endless<'_> {
    fn hidden_u32(&mut self, offset: u32) -> u32 {
        if offset == self.ring + 12 {
            self.pass += 1;
        }
        self.entry.set_status(Status::SUCCESS, self.pass % 2 == 1);
        self.device.write_hidden(offset / 16 * 16, &self.entry.to_bytes());
        self.device.hidden_u32(offset)
    }
    fn read_u32(&mut self, offset: u32) -> u32 {
        self.device.read_u32(offset)
    }
    fn read_u64(&mut self, offset: u32) -> u64 {
        self.device.read_u64(offset)
    }
    fn write_u32(&mut self, offset: u32, value: u32) {
        self.device.write_u32(offset, value);
    }
    fn write_u64(&mut self, offset: u32, value: u64) {
        self.device.write_u64(offset, value);
    }
    fn read_hidden(&mut self, offset: u32, to: &mut [u8]) {
        self.device.read_hidden(offset, to);
    }
    fn write_hidden(&mut self, offset: u32, from: &[u8]) {
        self.device.write_hidden(offset, from);
    }
    fn set_bus_mastering(&mut self, on: bool) {
        self.device.set_bus_mastering(on);
    }
    fn set_interrupts(&mut self, on: bool) {
        self.device.set_interrupts(on);
    }
    fn now(&self) -> u64 {
        self.device.now()
    }
}
