//! Transfers without a device: turns, failures, exactly one end.

use super::*;
use proptest::prelude::*;
use protocol::nvme::{BatchRoom, Completion};

extern crate std;
use std::vec::Vec as List;

const BADGE: u32 = 1;
const FOUR: Cut = Cut { block_bytes: 512, blocks: 4, boundary: 0 };

fn read(tag: u32, blocks: u32) -> Transfer {
    Transfer { tag, operation: Operation::Read, nsid: 1, first_block: 100, blocks, offset: 8192 }
}

fn ended(transfers: &mut Transfers) -> List<Completion> {
    let mut completions = BatchRoom::new();
    transfers.ended.take(BADGE, &mut completions);
    completions.batch().iter().collect()
}

#[test]
fn parts_cover_a_transfer_without_gap_or_overlap() {
    let mut transfers = Transfers::default();
    assert!(transfers.accept(BADGE, read(1, 10), FOUR));
    let parts: List<_> = core::iter::from_fn(|| transfers.next_part()).collect();
    let places: List<_> = parts.iter().map(|part| (part.first_block, part.blocks, part.offset)).collect();
    assert_eq!(places, [(100, 4, 8192), (104, 4, 8192 + 2048), (108, 2, 8192 + 4096)]);
    for part in parts {
        assert!(ended(&mut transfers).is_empty());
        transfers.part_ended(part.transfer, Ok(()));
    }
    assert_eq!(ended(&mut transfers), [Completion { tag: 1, outcome: Ok(()) }]);
    assert_eq!(transfers.free(), TRANSFERS_MAX);
}

#[test]
fn no_part_crosses_a_boundary() {
    let mut transfers = Transfers::default();
    assert!(transfers.accept(BADGE, read(1, 10), Cut { boundary: 3, ..FOUR }));
    let parts: List<_> = core::iter::from_fn(|| transfers.next_part()).collect();
    let places: List<_> = parts.iter().map(|part| (part.first_block, part.blocks)).collect();
    assert_eq!(places, [(100, 2), (102, 3), (105, 3), (108, 2)]);
}

#[test]
fn transfers_take_turns() {
    let mut transfers = Transfers::default();
    assert!(transfers.accept(BADGE, read(1, 12), FOUR) && transfers.accept(BADGE, read(2, 4), FOUR));
    let turns: List<_> = core::iter::from_fn(|| transfers.next_part()).map(|part| part.transfer).collect();
    assert_eq!(turns, [0, 1, 0, 0]);
}

#[test]
fn a_place_is_not_given_away_while_its_number_waits_for_a_turn() {
    let mut transfers = Transfers::default();
    assert!(transfers.accept(BADGE, read(1, 8), FOUR));
    let part = transfers.next_part().unwrap();
    transfers.part_ended(part.transfer, Err(Failure::TimedOut));
    // Its turn is still to come; only then it is over.
    assert!(ended(&mut transfers).is_empty());
    assert_eq!(transfers.next_part(), None);
    assert_eq!(ended(&mut transfers), [Completion { tag: 1, outcome: Err(Failure::TimedOut) }]);
}

#[test]
fn the_first_failure_is_the_outcome() {
    let mut transfers = Transfers::default();
    assert!(transfers.accept(BADGE, read(1, 8), FOUR));
    let parts = [transfers.next_part().unwrap(), transfers.next_part().unwrap()];
    transfers.part_ended(parts[1].transfer, Err(Failure::Denied));
    transfers.part_ended(parts[0].transfer, Err(Failure::TimedOut));
    assert_eq!(ended(&mut transfers), [Completion { tag: 1, outcome: Err(Failure::Denied) }]);
}

#[test]
fn ends_that_nobody_waits_for_change_nothing() {
    let mut transfers = Transfers::default();
    transfers.part_ended(5, Ok(()));
    transfers.part_ended(u16::MAX, Ok(()));
    assert!(transfers.accept(BADGE, read(1, 4), FOUR));
    let part = transfers.next_part().unwrap();
    transfers.part_ended(part.transfer, Ok(()));
    transfers.part_ended(part.transfer, Err(Failure::Aborted));
    assert_eq!(ended(&mut transfers), [Completion { tag: 1, outcome: Ok(()) }]);
    assert_eq!(transfers.free(), TRANSFERS_MAX);
}

proptest! {
    /// Whatever the order of issues, ends, failures and postponements: every block of a transfer that succeeded was
    /// issued once, and every transfer ends once.
    #[test]
    fn every_transfer_ends_once(steps in proptest::collection::vec((0_u8..8, 1_u32..20, any::<u16>()), 1..400)) {
        let mut transfers = Transfers::default();
        let (mut accepted, mut finished, mut issued, mut in_flight) = (0_u32, List::new(), List::new(), List::new());
        let mut tags = std::collections::BTreeMap::new();
        let drain = steps.len() as u32 * 40;
        let draining = (0..drain).flat_map(|_| [(2, 1, 0), (4, 1, 0), (7, 1, 0)]);
        for (what, blocks, choice) in steps.into_iter().chain(draining) {
            match what {
                0 | 1 => {
                    if transfers.accept(BADGE, read(accepted, blocks), FOUR) {
                        accepted += 1;
                    }
                }
                2 | 3 => {
                    if let Some(part) = transfers.next_part() {
                        let tag = transfers.entries[usize::from(part.transfer)].get().unwrap().tag;
                        tags.insert(part.transfer, tag);
                        issued.push((tag, part.first_block, part.blocks));
                        in_flight.push(part);
                    }
                }
                4 | 5 if !in_flight.is_empty() => {
                    let part = in_flight.swap_remove(usize::from(choice) % in_flight.len());
                    let outcome = if choice % 16 == 15 { Err(Failure::Aborted) } else { Ok(()) };
                    transfers.part_ended(part.transfer, outcome);
                }
                6 => {
                    // Only the part issued last can be postponed.
                    if let (Some(part), Some(last)) = (in_flight.last().copied(), issued.last().copied())
                        && (tags[&part.transfer], part.first_block, part.blocks) == last
                    {
                        in_flight.pop();
                        issued.pop();
                        transfers.part_postponed(&part);
                    }
                }
                _ => finished.extend(ended(&mut transfers)),
            }
        }
        finished.sort_by_key(|completion| completion.tag);
        prop_assert!(finished.iter().map(|completion| completion.tag).eq(0..accepted));
        prop_assert_eq!(transfers.free(), TRANSFERS_MAX);
        for completion in finished.iter().filter(|completion| completion.outcome.is_ok()) {
            let mut parts: List<_> = issued.iter().filter(|(tag, ..)| *tag == completion.tag).collect();
            parts.sort();
            let mut next = 100;
            for (_, first_block, blocks) in parts {
                prop_assert_eq!(*first_block, next);
                next += u64::from(*blocks);
            }
        }
    }
}
