//! Random transfers and faults: every transfer ends exactly once, what succeeded has the right data, the disk holds what a
//! plain model of it holds, and the device never leaves its memory.

use std::collections::BTreeMap;

use crate::Machine;
use abi::package::Limit;
use nvme::State;
use nvme_model::{Aborts, Fault, Identity, Namespace, Outcome, Registers, flush, transfer};
use nvme_spec::Status;
use nvme_spec::admin::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::nvme::{Failure, Operation, Transfer};

/// One thing that is done to the machine.
#[derive(Clone, Debug)]
enum Action {
    Submit(Vec<Wish>),
    Steps(u8),
    Faults(Vec<Option<Fault>>),
    AdminFaults(Vec<Option<Fault>>),
    Aborts(Aborts),
    /// Namespace 4 comes or goes.
    Attach(bool),
    Health,
    Event(u32),
    Fatal,
    Removed,
    Reset {
        never_ready: bool,
        never_stops: bool,
    },
    Shutdown {
        never_ends: bool,
    },
}

/// A transfer before it has a tag and a place of its own.
#[derive(Clone, Debug)]
struct Wish {
    operation: Operation,
    nsid: u32,
    first_block: u64,
    bytes: u64,
    misalignment: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let operation = prop_oneof![
        8 => Just(Operation::Read),
        4 => Just(Operation::Write),
        4 => Just(Operation::DurableWrite),
        2 => Just(Operation::Flush),
        1 => Just(Operation::Discard),
        1 => Just(Operation::WriteZeroes),
        1 => Just(Operation::Compare),
        1 => Just(Operation::Verify),
    ];
    let first_block = prop_oneof![8 => 0_u64..1000, 1 => Just(u64::MAX), 1 => any::<u64>()];
    let bytes = prop_oneof![6 => 512_u64..32_768, 1 => Just(0), 1 => 32_768_u64..200_000];
    (operation, 1_u32..6, first_block, bytes, 0_u64..1030).prop_map(
        |(operation, nsid, first_block, bytes, misalignment)| Wish {
            operation,
            nsid,
            first_block,
            bytes,
            misalignment,
        },
    )
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        8 => Just(None),
        1 => Just(Some(Fault::Drop)),
        1 => (0_u64..60_000_000_000).prop_map(|delay| Some(Fault::Delay(delay))),
        1 => (0_u64..1_000_000).prop_map(|delay| Some(Fault::Delay(delay))),
        1 => Just(Some(Fault::Duplicate)),
        // Identifiers that no command in flight has: what names another one, nobody could tell from the truth.
        1 => any::<u16>().prop_map(|bits| Some(Fault::Identifier(bits | 0x8000))),
        1 => Just(Some(Fault::Phase)),
        1 => Just(Some(Fault::Queue)),
        1 => Just(Some(Fault::Head)),
        1 => Just(Some(Fault::NoInterrupt)),
        1 => any::<u16>().prop_map(|identifier| Some(Fault::Invented(identifier | 0x8000))),
        1 => (1_u16..0x7ff).prop_map(|status| Some(Fault::Status(Status(status)))),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let aborts = prop_oneof![Just(Aborts::Honoured), Just(Aborts::Declined), Just(Aborts::Forged)];
    prop_oneof![
        20 => vec(wish(), 1..20).prop_map(Action::Submit),
        20 => (1_u8..).prop_map(Action::Steps),
        10 => vec(fault(), 1..10).prop_map(Action::Faults),
        4 => vec(fault(), 1..6).prop_map(Action::AdminFaults),
        4 => aborts.prop_map(Action::Aborts),
        4 => any::<bool>().prop_map(Action::Attach),
        1 => Just(Action::Health),
        1 => any::<u32>().prop_map(Action::Event),
        1 => Just(Action::Fatal),
        1 => Just(Action::Removed),
        1 => any::<(bool, bool)>()
            .prop_map(|(never_ready, never_stops)| Action::Reset { never_ready, never_stops }),
        1 => any::<bool>().prop_map(|never_ends| Action::Shutdown { never_ends }),
    ]
}

/// The namespace that comes and goes.
const FOURTH: Namespace = Namespace::new(4, 1200, 10);

fn identity() -> impl Strategy<Value = Identity> {
    (0_u8..8, 2_u64..200, 1_u16..4, 0_u64..16, 0_u16..100, 1_u32..3).prop_map(
        |(transfer_shift_max, entries, vectors, stride, boundary, queue_pairs)| {
            let default = Identity::default();
            Identity {
                capabilities: (default.capabilities & !0xffff) | (entries - 1) | (stride % 2) << 32,
                transfer_shift_max,
                vectors,
                queue_pairs,
                namespaces: vec![
                    Namespace { boundary, ..Namespace::new(1, 1500, 9) },
                    Namespace::new(2, 1 << 40, 12),
                    Namespace { metadata_bytes: 8, ..Namespace::new(3, 1000, 9) },
                ],
                ..default
            }
        },
    )
}

/// Gives each transfer a place of its own in the region as long as there is room, so that data can be compared; none
/// when there is none. What changes blocks gets blocks of its own as well, since the order of transfers is not defined.
struct Places {
    tag: u32,
    offset: u64,
    /// The first block, by namespace, that nothing was written to.
    fresh: BTreeMap<u32, u64>,
}

fn namespace(nsid: u32) -> Namespace {
    match nsid {
        2 => Namespace::new(2, 1 << 40, 12),
        4 => FOURTH,
        nsid => Namespace::new(nsid, 1500, 9),
    }
}

/// Data that nothing else writes, nor holds.
fn data(tag: u32, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place as u8).wrapping_mul(29) ^ (tag as u8) ^ (place >> 8) as u8).collect()
}

fn changes(operation: Operation) -> bool {
    operation.changes_blocks()
}

impl Places {
    fn transfer(&mut self, wish: &Wish) -> Transfer {
        self.tag += 1;
        if wish.operation == Operation::Flush {
            return flush(self.tag, wish.nsid);
        }
        let block_bytes = namespace(wish.nsid).block_bytes();
        let blocks = wish.bytes / block_bytes;
        // Most are aligned to 4, some are not.
        let offset = self.offset + if wish.misalignment < 1024 { wish.misalignment & !3 } else { wish.misalignment };
        self.offset = (offset + blocks * block_bytes + 3) & !3;
        let mut first_block = wish.first_block;
        if changes(wish.operation) && first_block < 1000 {
            // Behind what is read for its own sake; beyond the end when there is no more room.
            let fresh = self.fresh.entry(wish.nsid).or_insert(1000);
            first_block = *fresh;
            *fresh += blocks;
        }
        transfer(wish.operation, self.tag, wish.nsid, first_block, blocks as u32, offset)
    }
}

struct Run {
    machine: Machine,
    places: Places,
    asked: Vec<Transfer>,
    /// What each transfer is to write.
    written: BTreeMap<u32, Vec<u8>>,
}

impl Run {
    fn submit(&mut self, wishes: &[Wish]) {
        let transfers: Vec<_> = wishes.iter().map(|wish| self.places.transfer(wish)).collect();
        for transfer in &transfers {
            let bytes = u64::from(transfer.blocks) * namespace(transfer.nsid).block_bytes();
            let inside = transfer.offset.checked_add(bytes).is_some_and(|end| end <= 4 << 20);
            if matches!(transfer.operation, Operation::Write | Operation::DurableWrite) && inside {
                let content = data(transfer.tag, bytes as usize);
                self.machine.kernel.put_region(transfer.offset, &content);
                self.written.insert(transfer.tag, content);
            }
        }
        self.asked.extend_from_slice(&transfers);
        self.machine.submit(&transfers);
    }

    fn perform(&mut self, action: &Action) {
        let machine = &mut self.machine;
        let faults = &mut machine.kernel.device.faults;
        match action {
            Action::Submit(wishes) => self.submit(wishes),
            Action::Steps(steps) => {
                for _ in 0..*steps {
                    machine.step();
                }
            }
            Action::Faults(queued) => faults.io.extend(queued.iter().copied()),
            Action::AdminFaults(queued) => faults.admin.extend(queued.iter().copied()),
            Action::Aborts(aborts) => faults.aborts = *aborts,
            Action::Attach(true) => machine.kernel.device.attach(FOURTH),
            Action::Attach(false) => machine.kernel.device.detach(4),
            Action::Health => machine.kernel.device.warn_of_health(),
            Action::Event(event) => machine.kernel.device.report(Event(*event)),
            Action::Fatal => machine.kernel.device.fail_fatally(),
            Action::Removed => faults.registers = Registers::AllOnes,
            Action::Reset { never_ready, never_stops } => {
                (faults.never_ready, faults.never_stops) = (*never_ready, *never_stops);
            }
            Action::Shutdown { never_ends } => {
                faults.never_shuts_down = *never_ends;
                machine.ask_shutdown();
            }
        }
    }

    /// What is left of each transfer on the disk and in memory.
    fn check(&self, transfer: &Transfer, outcome: Outcome) {
        let Transfer { operation, nsid, first_block, offset, .. } = *transfer;
        let (namespace, blocks) = (namespace(nsid), u64::from(transfer.blocks));
        let known =
            [1, 2, 4].contains(&nsid) && first_block.checked_add(blocks).is_some_and(|end| end <= namespace.blocks);
        if !known {
            assert!(outcome.is_err() || operation == Operation::Flush, "{transfer:?}");
            return;
        }
        let disk = &self.machine.kernel.device.disk;
        match operation {
            Operation::Read if outcome.is_ok() && first_block + blocks <= 1000 => {
                let expected = namespace.content(first_block, blocks);
                assert!(self.machine.kernel.region(offset, expected.len()) == expected, "{transfer:?}");
            }
            Operation::Compare => assert_ne!(outcome, Ok(()), "{transfer:?}: the region holds something else"),
            _ if changes(operation) && first_block >= 1000 => {
                let now = disk.read(&namespace, first_block, blocks);
                let before = namespace.content(first_block, blocks);
                let after = match operation {
                    Operation::Write | Operation::DurableWrite => {
                        self.written.get(&transfer.tag).cloned().unwrap_or_else(|| before.clone())
                    }
                    _ => vec![0; before.len()],
                };
                let never = matches!(outcome, Err(Failure::Denied | Failure::Unsupported | Failure::Stopped));
                // Block by block: done where it succeeded, not where it was not tried, one of the two else.
                for (block, now) in now.chunks(namespace.block_bytes() as usize).enumerate() {
                    let place = block * now.len()..(block + 1) * now.len();
                    let (before, after) = (&before[place.clone()], &after[place]);
                    let is_right = match outcome {
                        Ok(()) => now == after,
                        Err(_) if never => now == before,
                        Err(_) => now == before || now == after,
                    };
                    assert!(is_right, "{transfer:?} {outcome:?} block {block}");
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_transfer_ends_once_with_the_right_data(
        identity in identity(),
        queues in vec(1_u16..3, 1..3),
        actions in vec(action(), 1..40),
    ) {
        let mut machine = Machine::with_queues(identity, &[0, 1, 2], &[Limit::WHOLE_DEVICE], &queues);
        machine.start();
        prop_assert_eq!(machine.driver.state(), State::Running);
        let places = Places { tag: 0, offset: 0, fresh: BTreeMap::new() };
        let mut run = Run { machine, places, asked: Vec::new(), written: BTreeMap::new() };
        let mut shutdown = false;
        for action in &actions {
            shutdown |= matches!(action, Action::Shutdown { .. });
            run.perform(action);
        }
        run.machine.finish();
        if shutdown {
            run.machine.run_until(|machine| machine.shut.is_some());
        }

        // Machine asserts that none ends twice, and that none ends that was not asked for.
        prop_assert_eq!(run.machine.outcomes.len(), run.asked.len());
        for transfer in &run.asked {
            run.check(transfer, run.machine.outcomes[&transfer.tag]);
        }
        // Nothing outside what was written changed.
        for nsid in [1, 2, 4] {
            let mut ranges: Vec<_> = run
                .asked
                .iter()
                .filter(|transfer| transfer.nsid == nsid && changes(transfer.operation))
                .map(|transfer| (transfer.first_block, transfer.first_block.saturating_add(transfer.blocks.into())))
                .collect();
            ranges.sort_unstable();
            prop_assert!(run.machine.kernel.device.disk.is_unchanged_outside(nsid, &ranges));
        }
    }
}
