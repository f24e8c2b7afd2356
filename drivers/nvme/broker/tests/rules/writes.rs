//! Commands that change blocks, or look at them without moving them: points 1, 7 and 8.

use abi::Error;
use abi::package::Limit;
use broker::Broker;
use nvme_broker::{Reason, layout};
use nvme_spec::brokered::{RANGES_MAX, TRANSFER_BYTES_MAX};
use nvme_spec::nvm::{self, BlockRange, DatasetRange};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};
use zerocopy::IntoBytes;

use crate::bench::{Bench, HIDDEN, REGIONS, WHOLE, ledger};

/// Every namespace, to be written.
const WRITABLE: Limit = Limit { writable: true, ..WHOLE };
/// Commands with a range in dwords 10 to 12, whether they write, and whether they move data.
const ON_BLOCKS: [(u8, bool, bool); 5] = [
    (nvm::READ, false, true),
    (nvm::WRITE, true, true),
    (nvm::COMPARE, false, true),
    (nvm::VERIFY, false, false),
    (nvm::WRITE_ZEROES, true, false),
];

fn on_blocks(opcode: u8, nsid: u32, first: u64, count: u32) -> SubmissionEntry {
    SubmissionEntry::on_blocks(opcode, 5, nsid, BlockRange { first, count })
}

/// A Dataset Management command and the units with its ranges.
fn deallocate(nsid: u32, ranges: &[(u64, u32)]) -> Vec<[u8; 64]> {
    let mut units = vec![SubmissionEntry::deallocate(5, nsid, ranges.len()).to_bytes()];
    for four in ranges.chunks(4) {
        let mut unit = [0; 64];
        for (place, (first, blocks)) in unit.chunks_mut(16).zip(four) {
            place.copy_from_slice(DatasetRange::new(*first, *blocks).as_bytes());
        }
        units.push(unit);
    }
    units
}

/// How many units were accepted, and why the next was not.
fn submit(bench: &mut Bench, units: &[[u8; 64]]) -> (usize, Option<(Error, Reason)>) {
    let submitted = bench.broker.submit(&mut bench.device, 1, units);
    (submitted.accepted, submitted.refused.map(|refusal| (refusal.error, refusal.because)))
}

fn refused(bench: &mut Bench, nsid: u32, ranges: &[(u64, u32)]) -> (Error, Reason) {
    let (accepted, refused) = submit(bench, &deallocate(nsid, ranges));
    assert_eq!(accepted, 0);
    refused.expect("it was accepted")
}

#[test]
fn data_goes_to_and_from_the_regions_address() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    for (opcode, _, moves) in ON_BLOCKS {
        let entry = on_blocks(opcode, 1, 0x1_0000_0007, 8);
        let entry = if moves { entry.with_data(0x2000, 1) } else { entry };
        bench.submit(1, entry).unwrap();
        let seen = bench.seen();
        assert_eq!((seen.opcode, seen.nsid.get(), seen.block_range()), (opcode, 1, entry.block_range()));
        let address = if moves { REGIONS[1].base + 0x2000 } else { 0 };
        assert_eq!((seen.prp1.get(), seen.prp2.get()), (address, 0));
        assert_eq!(bench.run(1)[0].identifier.get(), 5);
    }
}

#[test]
fn blocks_are_changed_only_where_a_limit_lets_them_be_written() {
    let limits = [
        Limit { namespace: Some(1), writable: false, ..Limit::WHOLE_DEVICE },
        Limit { namespace: Some(1), first_block: 100, blocks: Some(50), writable: true, ..Limit::WHOLE_DEVICE },
    ];
    let mut bench = Bench::running_with(ledger(&limits));
    for (opcode, writes, _) in ON_BLOCKS {
        for (first, count) in [(100, 50), (149, 1), (120, 3)] {
            assert_eq!(bench.submit(1, on_blocks(opcode, 1, first, count)), Ok(()));
            bench.run(1);
        }
        for (first, count) in [(99, 1), (99, 2), (149, 2), (150, 1), (0, 8)] {
            let outcome = bench.submit(1, on_blocks(opcode, 1, first, count));
            let expected = if writes { Err((Error::Denied, Reason::WriteNotGranted)) } else { Ok(()) };
            assert_eq!(outcome, expected, "opcode {opcode:#x} {first}+{count}");
            bench.run(1);
        }
        assert_eq!(bench.refused(1, on_blocks(opcode, 2, 0, 1)), Reason::NamespaceNotGranted);
    }
    assert_eq!(submit(&mut bench, &deallocate(1, &[(100, 50)])), (2, None));
    bench.run(1);
    assert_eq!(refused(&mut bench, 1, &[(99, 2)]), (Error::Denied, Reason::WriteNotGranted));
}

#[test]
fn a_grant_to_read_changes_nothing() {
    let mut bench = Bench::running();
    for (opcode, writes, _) in ON_BLOCKS {
        let outcome = bench.submit(1, on_blocks(opcode, 1, 0, 1));
        assert_eq!(outcome.is_err(), writes, "opcode {opcode:#x}");
        bench.run(1);
    }
    assert_eq!(refused(&mut bench, 1, &[(0, 1)]), (Error::Denied, Reason::WriteNotGranted));
}

#[test]
fn every_command_keeps_to_namespace_region_and_mdts() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    let most = TRANSFER_BYTES_MAX / 4096;
    for (opcode, _, moves) in ON_BLOCKS {
        for (first, count) in [(999, 2), (1000, 1), (u64::MAX, 1)] {
            assert_eq!(bench.refused(1, on_blocks(opcode, 2, first, count)), Reason::BlocksBeyondEnd);
        }
        assert_eq!(bench.refused(1, on_blocks(opcode, 3, 0, 1)), Reason::NamespaceUnusable);
        assert_eq!(bench.refused(1, on_blocks(opcode, 8, 0, 1)), Reason::NamespaceNotLearned);
        assert_eq!(bench.refused(1, on_blocks(opcode, BROADCAST_NSID, 0, 1)), Reason::BroadcastNotHarmless);
        if moves {
            assert_eq!(bench.refused(1, on_blocks(opcode, 2, 0, most + 1)), Reason::TransferTooLong);
            let end = REGIONS[0].bytes;
            assert_eq!(bench.refused(1, on_blocks(opcode, 2, 0, 2).with_data(end - 4096, 0)), Reason::BeyondRegion);
            assert_eq!(bench.refused(1, on_blocks(opcode, 2, 0, 1).with_data(0, 2)), Reason::RegionUnknown);
        } else {
            // No data, so no limit of data; and no memory may be named.
            assert_eq!(bench.submit(1, on_blocks(opcode, 2, 0, 1000)), Ok(()));
            bench.run(1);
            assert_eq!(bench.refused(1, on_blocks(opcode, 2, 0, 1).with_data(4096, 0)), Reason::FieldNotZero);
        }
    }
}

#[test]
fn every_field_without_a_meaning_must_be_zero() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    for (opcode, _, moves) in ON_BLOCKS {
        // FUSE, PSDT, dwords 2 and 3, the metadata pointer; then what of dwords 12 to 15 has no rule: protection
        // information, directives, hints, expected tags.
        let mut fields = vec![(1, 0x01), (1, 0x40), (1, 0x80)];
        fields.extend((8..24).map(|byte| (byte, 0x80)));
        fields.extend([(50, 0x01), (50, 0x10), (51, 0x01), (51, 0x04), (51, 0x20)]);
        fields.extend((52..64).map(|byte| (byte, 0x10)));
        if !moves {
            fields.extend((24..40).map(|byte| (byte, 0x04)));
        }
        for (byte, bits) in fields {
            let mut command = on_blocks(opcode, 1, 0, 1).to_bytes();
            command[byte] |= bits;
            let entry = SubmissionEntry::from_bytes(command);
            assert_eq!(bench.refused(1, entry), Reason::FieldNotZero, "opcode {opcode:#x} byte {byte} {bits:#x}");
        }
        let kept = nvm::LIMITED_RETRY | nvm::FORCE_UNIT_ACCESS;
        bench.submit(1, on_blocks(opcode, 1, 0, 1).with_dword12(kept)).unwrap();
        assert_eq!(bench.seen().dword12.get(), kept);
        bench.run(1);
        // Only Write Zeroes may deallocate.
        let outcome = bench.submit(1, on_blocks(opcode, 1, 0, 1).with_dword12(nvm::DEALLOCATE));
        assert_eq!(outcome.is_ok(), opcode == nvm::WRITE_ZEROES);
        bench.run(1);
    }
}

#[test]
fn ranges_are_sent_from_hidden_memory_as_they_were_checked() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    let ranges: Vec<_> = (0..RANGES_MAX as u64).map(|index| (index * 10, 1 + index as u32)).collect();
    let mut units = deallocate(2, &ranges);
    assert_eq!(submit(&mut bench, &units), (9, None));
    let seen = bench.seen();
    assert_eq!((seen.opcode, seen.dword10.get(), seen.dword11.get()), (nvm::DATASET_MANAGEMENT, 31, 4));
    assert_eq!(seen.prp1.get(), HIDDEN + u64::from(layout::io_list(0, 5)));
    // What the driver does with its copy afterwards changes nothing.
    units[1..].fill([0xff; 64]);
    for (index, (first, blocks)) in ranges.iter().enumerate() {
        let at = layout::io_list(0, 5) as usize + index * 16;
        assert_eq!(bench.device.hidden[at..at + 16], *DatasetRange::new(*first, *blocks).as_bytes());
    }
    assert_eq!(bench.run(1).len(), 1);
}

#[test]
fn each_range_is_checked_against_namespace_and_grant() {
    let limits = [
        Limit { namespace: Some(2), first_block: 10, blocks: Some(100), writable: true, ..Limit::WHOLE_DEVICE },
        Limit { namespace: Some(2), first_block: 500, blocks: None, writable: true, ..Limit::WHOLE_DEVICE },
    ];
    let mut bench = Bench::running_with(ledger(&limits));
    let good: Vec<_> = (0..8).map(|index| (10 + index, 1)).collect();
    assert_eq!(submit(&mut bench, &deallocate(2, &good)), (3, None));
    bench.run(1);
    let denied = |reason| (Error::Denied, reason);
    let invalid = |reason| (Error::Invalid, reason);
    for (bad, refusal) in [
        ((9, 1), denied(Reason::BlocksNotGranted)),
        ((109, 2), denied(Reason::BlocksNotGranted)),
        ((999, 2), invalid(Reason::BlocksBeyondEnd)),
        ((u64::MAX, 1), invalid(Reason::BlocksBeyondEnd)),
        ((500, u32::MAX), invalid(Reason::BlocksBeyondEnd)),
        ((20, 0), invalid(Reason::NoBlocks)),
    ] {
        for place in 0..8 {
            let mut ranges = good.clone();
            ranges[place] = bad;
            assert_eq!(refused(&mut bench, 2, &ranges), refusal, "{bad:?} at {place}");
        }
    }
    assert_eq!(refused(&mut bench, 1, &[(10, 1)]), denied(Reason::NamespaceNotGranted));
}

#[test]
fn ranges_that_do_not_follow_or_are_too_many_are_refused() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    let units = deallocate(2, &[(0, 1); 9]);
    for cut in 1..units.len() {
        let expected = (0, Some((Error::Invalid, Reason::PayloadMissing)));
        assert_eq!(submit(&mut bench, &units[..cut]), expected);
    }
    assert_eq!(refused(&mut bench, 2, &[(0, 1); RANGES_MAX + 1]), (Error::Invalid, Reason::TooManyRanges));
    assert_eq!(refused(&mut bench, 2, &[(0, 1); 250]), (Error::Invalid, Reason::TooManyRanges));
    // Commands after the ranges are commands again.
    let mut mixed = deallocate(2, &[(0, 1); 5]);
    mixed.push(SubmissionEntry::read(6, 1, BlockRange { first: 0, count: 1 }).to_bytes());
    mixed.push([0xff; 64]);
    assert_eq!(submit(&mut bench, &mixed), (4, Some((Error::Denied, Reason::OpcodeWithoutRule))));
    assert_eq!(bench.run(1).len(), 2);
}

#[test]
fn dataset_management_does_nothing_but_deallocate() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    let good = deallocate(2, &[(0, 1)]);
    for attributes in [0, 1, 2, 3, 5, 6, 7] {
        let mut units = good.clone();
        units[0][44] = attributes;
        let (_, refused) = submit(&mut bench, &units);
        let expected = if attributes & 3 == 0 { Reason::AttributesWithoutRule } else { Reason::FieldNotZero };
        assert_eq!(refused.unwrap().1, expected, "{attributes}");
    }
    for byte in [1, 8, 12, 16, 23, 24, 32, 39, 41, 43, 45, 47, 48, 52, 56, 60, 63] {
        let mut units = good.clone();
        units[0][byte] |= 0x80;
        assert_eq!(submit(&mut bench, &units), (0, Some((Error::Denied, Reason::FieldNotZero))), "byte {byte}");
    }
    for byte in 0..4 {
        let mut units = good.clone();
        units[1][byte] = 1;
        assert_eq!(submit(&mut bench, &units), (0, Some((Error::Denied, Reason::FieldNotZero))), "hint {byte}");
    }
    let mut broadcast = good;
    broadcast[0][4..8].fill(0xff);
    assert_eq!(submit(&mut bench, &broadcast), (0, Some((Error::Denied, Reason::BroadcastNotHarmless))));
}

#[test]
fn a_list_of_ranges_is_no_list_of_addresses_for_the_slots_next_command() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    // The controller panics at list entries, used or not, that lie in no region: so the whole list is written anew.
    let read = on_blocks(nvm::READ, 1, 0, 24).with_data(4096, 0);
    bench.submit(1, read).unwrap();
    bench.run(1);
    assert_eq!(submit(&mut bench, &deallocate(2, &[(3, 4); 32])).0, 9);
    bench.run(1);
    bench.submit(1, read).unwrap();
    assert_eq!(bench.run(1).len(), 1);
}

#[test]
fn a_submission_of_many_ranges_is_taken_in_parts() {
    let mut bench = Bench::running_with(ledger(&[WRITABLE]));
    let mut units = Vec::new();
    for slot in 0..7 {
        let mut one = deallocate(2, &[(0, 1); 32]);
        one[0][2] = slot;
        units.extend(one);
    }
    let (accepted, refused) = submit(&mut bench, &units);
    assert_eq!((accepted % 9, refused), (0, None));
    assert!((9..=27).contains(&accepted), "{accepted}");
    assert_eq!(bench.run(1).len(), accepted / 9);
}
