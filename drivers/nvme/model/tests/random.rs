//! Random transfers and faults: every transfer ends exactly once, what succeeded has the right data, and the device
//! never leaves its memory.

use std::collections::BTreeMap;

use nvme::State;
use nvme_model::{Fault, Identity, Machine, Namespace, Registers, flush, read};
use nvme_spec::Status;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::nvme::{Operation, Transfer};

/// One thing that is done to the machine.
#[derive(Clone, Debug)]
enum Action {
    Submit(Vec<Wish>),
    Steps(u8),
    Faults(Vec<Option<Fault>>),
    AdminFaults(Vec<Option<Fault>>),
    Fatal,
    Removed,
    Reset { never_ready: bool, never_stops: bool },
}

/// A transfer before it has a tag and a place of its own.
#[derive(Clone, Debug)]
struct Wish {
    flush: bool,
    nsid: u32,
    first_block: u64,
    bytes: u64,
    misalignment: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let first_block = prop_oneof![8 => 0_u64..2000, 1 => Just(u64::MAX), 1 => any::<u64>()];
    let bytes = prop_oneof![6 => 512_u64..32_768, 1 => Just(0), 1 => 32_768_u64..200_000];
    (prop::bool::weighted(0.1), 1_u32..5, first_block, bytes, 0_u64..1030).prop_map(
        |(flush, nsid, first_block, bytes, misalignment)| Wish { flush, nsid, first_block, bytes, misalignment },
    )
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        8 => Just(None),
        1 => Just(Some(Fault::Drop)),
        1 => (0_u64..60_000_000_000).prop_map(|delay| Some(Fault::Delay(delay))),
        1 => (0_u64..1_000_000).prop_map(|delay| Some(Fault::Delay(delay))),
        1 => Just(Some(Fault::Duplicate)),
        1 => (1_u16..).prop_map(|bits| Some(Fault::Identifier(bits))),
        1 => Just(Some(Fault::Phase)),
        1 => Just(Some(Fault::Queue)),
        1 => Just(Some(Fault::Head)),
        1 => Just(Some(Fault::NoInterrupt)),
        1 => any::<u16>().prop_map(|identifier| Some(Fault::Invented(identifier))),
        1 => (1_u16..0x7ff).prop_map(|status| Some(Fault::Status(Status(status)))),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        10 => vec(wish(), 1..20).prop_map(Action::Submit),
        10 => (1_u8..).prop_map(Action::Steps),
        5 => vec(fault(), 1..10).prop_map(Action::Faults),
        2 => vec(fault(), 1..6).prop_map(Action::AdminFaults),
        1 => Just(Action::Fatal),
        1 => Just(Action::Removed),
        1 => any::<(bool, bool)>()
            .prop_map(|(never_ready, never_stops)| Action::Reset { never_ready, never_stops }),
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    (0_u8..8, 2_u64..200, 1_u16..3, 0_u64..16).prop_map(|(transfer_shift_max, entries, vectors, stride)| {
        let default = Identity::default();
        Identity {
            capabilities: (default.capabilities & !0xffff) | (entries - 1) | (stride % 2) << 32,
            transfer_shift_max,
            vectors,
            namespaces: vec![
                Namespace::new(1, 1500, 9),
                Namespace::new(2, 1 << 40, 12),
                Namespace { metadata_bytes: 8, ..Namespace::new(3, 1000, 9) },
            ],
            ..default
        }
    })
}

/// Gives each transfer a place of its own in the region as long as there is room, so that data can be compared; none
/// when there is none.
struct Places {
    tag: u32,
    offset: u64,
}

impl Places {
    fn transfer(&mut self, wish: &Wish) -> Transfer {
        self.tag += 1;
        if wish.flush {
            return flush(self.tag, wish.nsid);
        }
        let block_bytes = if wish.nsid == 2 { 4096 } else { 512 };
        let blocks = wish.bytes / block_bytes;
        // Most are aligned to 4, some are not.
        let offset = self.offset + if wish.misalignment < 1024 { wish.misalignment & !3 } else { wish.misalignment };
        self.offset = (offset + blocks * block_bytes + 3) & !3;
        read(self.tag, wish.nsid, wish.first_block, blocks as u32, offset)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn every_transfer_ends_once_with_the_right_data(identity in identity(), actions in vec(action(), 1..40)) {
        let namespaces: BTreeMap<u32, Namespace> =
            identity.namespaces.iter().map(|namespace| (namespace.nsid, *namespace)).collect();
        let mut machine = Machine::started(identity);
        prop_assert_eq!(machine.driver.state(), State::Running);
        let mut places = Places { tag: 0, offset: 0 };
        let mut asked = Vec::new();
        for action in &actions {
            match action {
                Action::Submit(wishes) => {
                    let transfers: Vec<_> = wishes.iter().map(|wish| places.transfer(wish)).collect();
                    asked.extend_from_slice(&transfers);
                    machine.submit(&transfers);
                }
                Action::Steps(steps) => {
                    for _ in 0..*steps {
                        machine.step();
                    }
                }
                Action::Faults(faults) => machine.kernel.device.faults.io.extend(faults.iter().copied()),
                Action::AdminFaults(faults) => machine.kernel.device.faults.admin.extend(faults.iter().copied()),
                Action::Fatal => machine.kernel.device.fail_fatally(),
                Action::Removed => machine.kernel.device.faults.registers = Registers::AllOnes,
                Action::Reset { never_ready, never_stops } => {
                    machine.kernel.device.faults.never_ready = *never_ready;
                    machine.kernel.device.faults.never_stops = *never_stops;
                }
            }
        }
        machine.finish();

        // Machine asserts that none ends twice, and that none ends that was not asked for.
        prop_assert_eq!(machine.outcomes.len(), asked.len());
        for transfer in &asked {
            if machine.outcomes[&transfer.tag].is_ok() && transfer.operation == Operation::Read {
                let namespace = namespaces[&transfer.nsid];
                let expected = namespace.content(transfer.first_block, transfer.blocks.into());
                prop_assert!(machine.kernel.region(transfer.offset, expected.len()) == expected, "{:?}", transfer);
            }
        }
    }
}
