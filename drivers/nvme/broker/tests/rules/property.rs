//! Whatever a driver and a controller do, in whatever order: the checks are the fake controller's.
//!
//! Longer runs: `PROPTEST_CASES=100000 cargo test --release -p nvme-broker property`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::package::{Commands, Limit};
use broker::{Broker, Ledger, Progress};
use nvme_spec::admin::{self, QueueCounts};
use nvme_spec::brokered;
use nvme_spec::identify::Structure;
use nvme_spec::nvm::{self, BlockRange, DatasetRange};
use nvme_spec::registers::{CAP, CC, CSTS, Capabilities, ControllerStatus, VS};
use nvme_spec::{CompletionEntry, Status, SubmissionEntry};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use zerocopy::IntoBytes;

use crate::bench::{Bench, HIDDEN, NAMESPACES, REGIONS, WHOLE, ledger};
use crate::device::{Namespace, with_stride};

#[derive(Clone, Debug)]
enum Action {
    /// Quiesces, enables, (or not) identifies and creates queues, with a controller that ends the first so many commands.
    BringUp {
        identify: bool,
        ended: usize,
    },
    Write(u32),
    Read(u32, u8),
    WriteElsewhere(u32, u8, u64),
    Submit(u16, Vec<[u8; 64]>),
    Finish(usize, Status),
    FinishWithHead(usize, u16),
    Forge(u16, CompletionEntry),
    /// Posts the completion of the n-th command in flight twice.
    Twice(usize),
    Take(u16, usize),
    Collect(u16, u16),
    Follow,
    Prompt(bool),
    /// A namespace is another one after the next reset.
    Change(u32, Namespace),
    /// A namespace becomes another one now, with nothing in flight on it, and an event that waits says so.
    Changed(u32, Namespace),
    Fatal,
    Gone,
    Quiesce,
    Time(u64),
}

fn namespace() -> impl Strategy<Value = u32> {
    prop_oneof![60 => Just(1), 20 => Just(2), 3 => 3..=8u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn read_command() -> impl Strategy<Value = SubmissionEntry> {
    let slot = prop_oneof![60 => 0..64u16, 1 => any::<u16>()];
    let first = prop_oneof![60 => 0..900u64, 1 => any::<u64>(), 1 => Just((1 << 40) - 8)];
    let count = prop_oneof![30 => 1..40u32, 3 => 1..=1024u32, 1 => 1..=0x1_0000u32];
    let offset = prop_oneof![
        30 => (0..0xc_0000u64).prop_map(|offset| offset & !0xfff),
        30 => (0..0xe_0000u64).prop_map(|offset| offset & !3),
        1 => any::<u64>(),
        1 => Just(HIDDEN),
        1 => Just(REGIONS[0].base),
    ];
    let region = prop_oneof![60 => Just(0u64), 3 => Just(1), 1 => 0..4u64, 1 => any::<u64>()];
    let opcode = prop_oneof![4 => Just(nvm::READ), 4 => Just(nvm::WRITE), 1 => Just(nvm::COMPARE),
        1 => Just(nvm::VERIFY), 1 => Just(nvm::WRITE_ZEROES)];
    (opcode, slot, namespace(), first, count, offset, region).prop_map(
        |(opcode, slot, nsid, first, count, offset, region)| {
            let entry = SubmissionEntry::on_blocks(opcode, slot, nsid, BlockRange { first, count });
            if matches!(opcode, nvm::VERIFY | nvm::WRITE_ZEROES) { entry } else { entry.with_data(offset, region) }
        },
    )
}

/// Dataset Management with its ranges, most of them well-formed, sometimes cut.
fn deallocation() -> impl Strategy<Value = Vec<[u8; 64]>> {
    let first = prop_oneof![30 => 0..900u64, 1 => any::<u64>()];
    let blocks = prop_oneof![30 => 1..100u32, 1 => any::<u32>()];
    let range = (first, blocks).prop_map(|(first, blocks)| DatasetRange::new(first, blocks));
    (0..64u16, namespace(), prop::collection::vec(range, 1..40), 0..30usize).prop_map(|(slot, nsid, ranges, cut)| {
        let mut units = vec![SubmissionEntry::deallocate(slot, nsid, ranges.len()).to_bytes()];
        for four in ranges.chunks(4) {
            let mut unit = [0; 64];
            unit[..size_of_val(four)].copy_from_slice(four.as_bytes());
            units.push(unit);
        }
        units.truncate(if cut == 0 { 1 } else { usize::MAX });
        units
    })
}

fn admin_command() -> impl Strategy<Value = SubmissionEntry> {
    let slot = 0..9u16;
    let queue = 0..4u16;
    let entries = prop_oneof![4 => Just(128u32), 1 => Just(16), 1 => any::<u16>().prop_map(|n| u32::from(n) + 1)];
    let structure = prop_oneof![
        4 => Just(Structure::Namespace),
        2 => Just(Structure::Controller),
        1 => Just(Structure::ActiveNamespaces),
        1 => Just(Structure::NamespaceDescriptors),
    ];
    prop_oneof![
        4 => (slot.clone(), structure, prop_oneof![3 => namespace(), 1 => Just(0)])
            .prop_map(|(slot, structure, nsid)| SubmissionEntry::identify(slot, structure, nsid)),
        1 => (slot.clone(), 1..4u32, 1..4u32).prop_map(|(slot, submission, completion)| {
            SubmissionEntry::set_number_of_queues(slot, QueueCounts { submission, completion })
        }),
        2 => (slot.clone(), queue.clone(), entries.clone(), 0..3u16)
            .prop_map(|(slot, queue, entries, vector)| {
                SubmissionEntry::create_completion_queue(slot, queue, entries, vector)
            }),
        2 => (slot.clone(), queue.clone(), entries)
            .prop_map(|(slot, queue, entries)| {
                SubmissionEntry::create_submission_queue(slot, queue, entries, queue)
            }),
        1 => (slot.clone(), queue.clone())
            .prop_map(|(slot, queue)| SubmissionEntry::delete_submission_queue(slot, queue)),
        3 => slot.clone().prop_map(SubmissionEntry::asynchronous_event_request),
        1 => (slot.clone(), queue.clone(), any::<u16>())
            .prop_map(|(slot, queue, aborted)| SubmissionEntry::abort(slot, queue, aborted & 0x3f)),
        1 => (slot.clone(), 0..8u8, prop_oneof![Just(512usize), Just(4096), Just(64), Just(8192)])
            .prop_map(|(slot, page, bytes)| SubmissionEntry::get_log_page(slot, page, bytes)),
        1 => (slot.clone(), 4..13u8, 0..4u32, any::<bool>()).prop_map(|(slot, feature, value, set)| {
            if set { SubmissionEntry::set_feature(slot, feature, value) } else { SubmissionEntry::get_feature(slot, feature) }
        }),
        1 => (slot, queue).prop_map(|(slot, queue)| SubmissionEntry::delete_completion_queue(slot, queue)),
    ]
}

/// Mostly well-formed, sometimes with one byte changed, sometimes anything.
fn command(good: impl Strategy<Value = SubmissionEntry>) -> impl Strategy<Value = [u8; 64]> {
    let flush = (0..64u16, namespace()).prop_map(|(slot, nsid)| SubmissionEntry::flush(slot, nsid));
    prop_oneof![
        60 => good.prop_map(SubmissionEntry::to_bytes),
        1 => flush.prop_map(SubmissionEntry::to_bytes),
        1 => any::<[u8; 32]>().prop_map(|half| core::array::from_fn(|at| half[at % 32])),
    ]
    .prop_flat_map(|bytes| {
        prop_oneof![
            60 => Just(bytes),
            1 => (0..64usize, any::<u8>()).prop_map(move |(at, bits)| {
                let mut bytes = bytes;
                bytes[at] ^= bits;
                bytes
            }),
        ]
    })
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![6 => Just(Status::SUCCESS), 1 => Just(Status::INTERNAL_ERROR), 1 => any::<u16>().prop_map(Status)]
}

fn action() -> impl Strategy<Value = Action> {
    let queue = || prop_oneof![3 => Just(0u16), 5 => Just(1), 2 => Just(2), 1 => any::<u16>()];
    let forged = (any::<u16>(), prop_oneof![5 => 0..3u16, 1 => any::<u16>()], any::<u16>(), status()).prop_map(
        |(identifier, queue, head, status)| {
            let mut entry = CompletionEntry {
                dword0: 0x7654_3000.into(),
                submission_head: head.into(),
                submission_queue: queue.into(),
                // A use of a slot that never was and that these runs do not come to: of one to come, nobody could tell.
                identifier: (identifier & 0x3f3f | 0x4000).into(),
                ..CompletionEntry::default()
            };
            entry.set_status(status, false);
            entry
        },
    );
    let changed = (9..14u8, prop_oneof![3 => Just(0u16), 1 => Just(8)], any::<bool>(), 1..2000u64).prop_map(
        |(block_shift, metadata_bytes, inline, blocks)| Namespace {
            blocks,
            block_shift,
            metadata_bytes,
            inline: inline && metadata_bytes != 0,
        },
    );
    prop_oneof![
        12 => Just(Action::BringUp { identify: true, ended: usize::MAX }),
        4 => (any::<bool>(), 1..20usize).prop_map(|(identify, ended)| Action::BringUp { identify, ended }),
        2 => prop_oneof![3 => Just(0u32), 6 => Just(1), 1 => Just(1 << 14 | 1), 1 => any::<u32>()].prop_map(Action::Write),
        1 => (0..0x2008u32, 0..9u8).prop_map(|(offset, bytes)| Action::Read(offset, bytes)),
        3 => Just(Action::Read(CSTS, 4)),
        1 => (0..0x5000u32, 0..9u8, any::<u64>()).prop_map(|(at, bytes, value)| Action::WriteElsewhere(at, bytes, value)),
        30 => (1..=2u16, prop::collection::vec(command(read_command()), 1..12))
            .prop_map(|(queue, commands)| Action::Submit(queue, commands)),
        10 => prop::collection::vec(command(admin_command()), 1..4).prop_map(|commands| Action::Submit(0, commands)),
        6 => (1..=2u16, deallocation()).prop_map(|(queue, commands)| Action::Submit(queue, commands)),
        3 => (1..4u32, changed.clone()).prop_map(|(nsid, namespace)| Action::Changed(nsid, namespace)),
        1 => (queue(), prop::collection::vec(command(read_command()), 0..3))
            .prop_map(|(queue, commands)| Action::Submit(queue, commands)),
        30 => (0..16usize, status()).prop_map(|(index, status)| Action::Finish(index, status)),
        4 => (0..16usize, any::<u16>()).prop_map(|(index, head)| Action::FinishWithHead(index, head & 0xff)),
        4 => (0..3u16, forged).prop_map(|(queue, entry)| Action::Forge(queue, entry)),
        3 => (0..16usize).prop_map(Action::Twice),
        20 => (queue(), 0..20usize).prop_map(|(queue, room)| Action::Take(queue, room)),
        3 => (0..2u16, 0..10u16).prop_map(|(queue, identifier)| Action::Collect(queue, identifier)),
        3 => Just(Action::Follow),
        2 => any::<bool>().prop_map(Action::Prompt),
        5 => (1..4u32, changed).prop_map(|(nsid, namespace)| Action::Change(nsid, namespace)),
        1 => prop_oneof![4 => Just(Action::Fatal), 1 => Just(Action::Gone)],
        1 => Just(Action::Quiesce),
        1 => (0..3_000_000_000u64).prop_map(Action::Time),
    ]
}

/// Ledgers of different grants, and controllers with different doorbells and queue sizes.
fn machine() -> impl Strategy<Value = (Ledger, u64)> {
    let narrow = vec![
        Limit { namespace: Some(1), first_block: 8, blocks: Some(1000), writable: false, ..Limit::WHOLE_DEVICE },
        Limit { namespace: Some(2), ..Limit::WHOLE_DEVICE },
    ];
    let writable = vec![Limit { writable: true, ..WHOLE }];
    let any_commands = || (1..0x80_u8).prop_map(Commands::from_bits);
    let listed = (any_commands(), any_commands()).prop_map(|(all, some)| {
        let part = Limit { first_block: 4, blocks: Some(500), commands: some, ..Limit::WHOLE_DEVICE };
        vec![Limit { commands: all, ..Limit::WHOLE_DEVICE }, part]
    });
    let limits = prop_oneof![12 => Just(writable), 3 => Just(vec![WHOLE]), 3 => Just(narrow), 1 => listed];
    let stride = prop_oneof![4 => Just(0u64), 1 => 1..12u64];
    let entries = prop_oneof![4 => Just(0x7ffu64), 1 => Just(15), 1 => 1..256u64];
    (limits, stride, entries, 0..10u8).prop_map(|(limits, stride, entries, wide)| {
        let mut ledger = ledger(&limits);
        if wide == 0 {
            ledger.register_bytes = 0x10_0000;
        }
        let plain = 0x07ff | 1 << 16 | 4 << 24 | 1 << 37 | 4 << 52;
        (ledger, with_stride(plain, stride) & !0xffff | entries)
    })
}

/// What all cases together reached: a property that reaches nothing holds nothing.
#[derive(Default)]
struct Reached {
    reads: AtomicU64,
    lists: AtomicU64,
    anomalies: AtomicU64,
    quiesced: AtomicU64,
    changes: AtomicU64,
    ranges: AtomicU64,
}

struct Run<'a> {
    bench: Bench,
    changes: Vec<(u32, Namespace)>,
    reached: &'a Reached,
}

impl Run<'_> {
    fn perform(&mut self, action: Action) {
        let Bench { broker, device } = &mut self.bench;
        match action {
            Action::BringUp { identify, ended } => self.bring_up(identify, ended),
            Action::Write(value) => {
                let _ = broker.write(device, CC, 4, value.into());
                self.apply_changes();
            }
            Action::Read(offset, bytes) => {
                if broker.read(device, offset, bytes).is_ok() {
                    assert!(matches!((offset, bytes), (CAP, 8) | (VS | CC | CSTS, 4)));
                }
            }
            Action::WriteElsewhere(offset, bytes, value) => {
                if offset != CC {
                    let writes = device.events.len();
                    assert!(broker.write(device, offset, bytes, value).is_err());
                    assert_eq!(device.events.len(), writes);
                }
            }
            Action::Submit(queue, commands) => {
                let submitted = broker.submit(device, queue, &commands);
                assert!(submitted.accepted <= commands.len());
                self.fetch();
            }
            Action::Finish(index, status) => device.finish(index, status),
            // Everything is fetched, so that a smaller head is possible and a greater one is not.
            Action::FinishWithHead(index, head) => device.finish_with_head(index, Status::SUCCESS, head),
            Action::Forge(queue, entry) => {
                device.post(queue, entry);
            }
            Action::Twice(index) => {
                if let Some(command) = device.in_flight.get(index) {
                    let (queue, entry) = (command.queue, command.entry);
                    device.finish(index, Status::SUCCESS);
                    let mut again = CompletionEntry {
                        identifier: entry.identifier,
                        submission_queue: queue.into(),
                        ..CompletionEntry::default()
                    };
                    again.set_status(Status::SUCCESS, false);
                    if device.ended_by(queue, &again).is_none() {
                        device.post(queue, again);
                    }
                }
            }
            Action::Take(queue, room) => self.take(queue, room),
            Action::Collect(queue, identifier) => {
                let mut data = [0; 4096];
                let _ = broker.collect(device, queue, identifier, &mut data);
            }
            Action::Follow => device.follow(),
            Action::Prompt(prompt) => device.prompt = prompt,
            Action::Change(nsid, namespace) => self.changes.push((nsid, namespace)),
            Action::Changed(nsid, namespace) => self.change_at_once(nsid, namespace),
            Action::Fatal => device.status |= ControllerStatus::FATAL.bits(),
            Action::Gone => device.gone = true,
            Action::Quiesce => self.quiesce(),
            Action::Time(nanoseconds) => device.time += nanoseconds,
        }
    }

    fn quiesce(&mut self) {
        let Bench { broker, device } = &mut self.bench;
        match broker.quiesce(device) {
            Progress::Done => {
                assert_eq!((device.configuration & 1, device.status & 1), (0, 0), "done, and not stopped");
                assert!(device.in_flight.is_empty());
                self.reached.quiesced.fetch_add(1, Relaxed);
                self.apply_changes();
            }
            Progress::Again(at) => assert!(at > device.time),
            Progress::Failed => {
                let refused = broker.write(device, CC, 4, 1).unwrap_err();
                assert_eq!(refused.because, nvme_broker::Reason::Quarantined);
            }
        }
        assert!(!self.bench.device.bus_mastering);
    }

    /// A namespace may become another one while the controller is disabled.
    fn apply_changes(&mut self) {
        let device = &mut self.bench.device;
        if device.status & 1 == 0 && device.in_flight.is_empty() && device.configuration & 1 == 0 {
            device.namespaces.extend(self.changes.drain(..));
        }
    }

    /// A controller that changes a namespace while it runs ends what is in flight, and reports it.
    fn change_at_once(&mut self, nsid: u32, namespace: Namespace) {
        let device = &mut self.bench.device;
        let requested = device
            .in_flight
            .iter()
            .position(|command| command.queue == 0 && command.entry.opcode == admin::ASYNCHRONOUS_EVENT_REQUEST);
        let busy = device.in_flight.iter().any(|command| command.queue != 0);
        if let (Some(request), false) = (requested, busy) {
            let posted = device.posted.get(&0).map_or(0, VecDeque::len);
            device.value = admin::Event::NAMESPACE_ATTRIBUTE_CHANGED.0;
            device.finish(request, Status::SUCCESS);
            if device.posted.get(&0).map_or(0, VecDeque::len) > posted {
                device.namespaces.insert(nsid, namespace);
                self.reached.changes.fetch_add(1, Relaxed);
                // The broker knows of it when it has read it: until then the controller would take commands for what
                // the namespace was, and ends them with an error.
                self.take(0, 64);
            }
        }
    }

    fn fetch(&mut self) {
        let device = &mut self.bench.device;
        if device.bus_mastering {
            let fetched = device.fetch();
            for command in device.in_flight.iter().rev().take(fetched) {
                if command.queue != 0 && command.entry.opcode == nvm::DATASET_MANAGEMENT {
                    self.reached.ranges.fetch_add(1, Relaxed);
                }
                let moves = matches!(command.entry.opcode, nvm::READ | nvm::WRITE | nvm::COMPARE);
                if command.queue != 0 && moves {
                    self.reached.reads.fetch_add(1, Relaxed);
                    if command.entry.prp2.get() & 0x3ff == 0
                        && (HIDDEN..HIDDEN + 0x4_0000).contains(&command.entry.prp2.get())
                    {
                        self.reached.lists.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }

    /// Completions are those that were true, in order, each once.
    fn take(&mut self, queue: u16, room: usize) {
        let Bench { broker, device } = &mut self.bench;
        let before = broker.anomalies();
        let mut entries = vec![[0xff; 16]; room];
        let Ok(count) = broker.complete(device, queue, &mut entries) else { return };
        self.reached.anomalies.fetch_add(broker.anomalies() - before, Relaxed);
        for bytes in &entries[..count] {
            let entry = CompletionEntry::from_bytes(*bytes);
            let posted = device.posted.get_mut(&queue).expect("nothing was posted");
            let expected = loop {
                if let Some(identifier) = posted.pop_front().expect("more than was posted") {
                    break identifier;
                }
            };
            assert_eq!((entry.identifier.get() & 63, entry.submission_queue.get()), (expected, queue));
            assert_eq!((entry.dword1.get(), entry.submission_head.get(), entry.phase()), (0, 0, false));
            // Queues granted, the event, queues that the controller has, and what its value leaves of other features.
            let told = [0, 0x0001_0001, 0x0004_0002, 0x003f_003f, 0x0000_0002];
            assert!(entry.dword0.get() == 0 || queue == 0 && told.contains(&entry.dword0.get()));
        }
        if count < room {
            let left = device.posted.get(&queue).map_or(0, |posted| posted.iter().flatten().count());
            assert_eq!(left, 0, "a true completion was not given");
        }
    }

    fn bring_up(&mut self, identify: bool, ended: usize) {
        self.bench.device.prompt = true;
        for _ in 0..4 {
            self.quiesce();
            self.bench.device.follow();
        }
        let Bench { broker, device } = &mut self.bench;
        let _ = broker.write(device, CC, 4, 1);
        let entries = brokered::io_queue_entries(Capabilities(device.capabilities));
        let mut commands = vec![SubmissionEntry::identify(0, Structure::Controller, 0)];
        if identify {
            commands.extend(NAMESPACES.map(|(nsid, _)| SubmissionEntry::identify(0, Structure::Namespace, nsid)));
        }
        commands.push(SubmissionEntry::set_number_of_queues(0, QueueCounts { submission: 2, completion: 2 }));
        for queue in 1..=2 {
            commands.push(SubmissionEntry::create_completion_queue(0, queue, entries, queue - 1));
            commands.push(SubmissionEntry::create_submission_queue(0, queue, entries, queue));
        }
        for (position, mut command) in commands.into_iter().enumerate() {
            if position >= ended {
                command.identifier = (1 + (position - ended) as u16).into();
            }
            let Bench { broker, device } = &mut self.bench;
            broker.submit(device, 0, &[command.to_bytes()]);
            self.fetch();
            if position < ended {
                self.bench.device.finish(0, Status::SUCCESS);
                self.take(0, 4);
            }
        }
        let Bench { broker, device } = &mut self.bench;
        broker.submit(device, 0, &[SubmissionEntry::asynchronous_event_request(7).to_bytes()]);
        self.fetch();
    }
}

/// One controller and all that is done to it.
fn run(ledger: Ledger, capabilities: u64, actions: impl IntoIterator<Item = Action>, reached: &Reached) {
    let mut bench = Bench::cold(ledger);
    bench.device.capabilities = capabilities;
    let mut run = Run { bench, changes: Vec::new(), reached };
    run.bring_up(true, usize::MAX);
    for action in actions {
        run.perform(action);
        let Bench { broker, device } = &run.bench;
        assert_eq!(broker.is_enabled(), device.bus_mastering);
    }
}

/// The machine and the actions that these bytes choose: four for each, so that a fuzzer which changes, repeats or leaves
/// out some of them changes what is done at one place of the sequence.
#[allow(dead_code, reason = "qemu/fuzz calls it")]
pub fn chosen_by(bytes: &[u8]) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    fn value<S: Strategy>(strategy: &S, seed: &[u8]) -> S::Value {
        let mut wide = [1; 16];
        wide[..seed.len()].copy_from_slice(seed);
        let rng = TestRng::from_seed(RngAlgorithm::XorShift, &wide);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        strategy.new_tree(&mut runner).expect("no strategy here rejects").current()
    }
    let Some((machine_seed, rest)) = bytes.split_first_chunk::<4>() else { return };
    let (ledger, capabilities) = value(&machine(), machine_seed);
    let actions = action();
    run(ledger, capabilities, rest.chunks_exact(4).map(|seed| value(&actions, seed)), &Reached::default());
}

#[test]
fn no_sequence_gives_an_address_outside_the_regions_or_a_doorbell_of_no_queue_or_a_slot_twice() {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = u64::from(config.cases);
    let mut runner = TestRunner::new(config);
    let reached = Reached::default();
    let strategy = (machine(), prop::collection::vec(action(), 1..120));
    let outcome = runner.run(&strategy, |((ledger, capabilities), actions)| {
        run(ledger, capabilities, actions, &reached);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let Reached { reads, lists, anomalies, quiesced, changes, ranges } = reached;
    let reached = [reads, lists, anomalies, quiesced, changes, ranges].map(AtomicU64::into_inner);
    // Half of what is usual, which of 256 cases is more than five standard deviations less.
    let wanted = [4 * cases, 3 * cases, cases / 8, 2 * cases, cases / 16, cases / 12];
    // A handful of cases reaches what chance gives it.
    let enough = cases < 64 || reached.iter().zip(wanted).all(|(reached, wanted)| *reached >= wanted);
    assert!(enough, "{reached:?} of {wanted:?}");
}
