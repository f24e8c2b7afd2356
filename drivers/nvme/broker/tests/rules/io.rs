//! Read and Flush: points 1, 2, 7 and 8.

use abi::Error;
use abi::package::Limit;
use broker::Broker;
use nvme_broker::Reason;
use nvme_spec::brokered::{COMMANDS_AT_ONCE, IO_COMMANDS, TRANSFER_BYTES_MAX};
use nvme_spec::nvm::{self, BlockRange};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};

use crate::bench::{Bench, HIDDEN, REGIONS, WHOLE, ledger};
use crate::device::Event;

fn read(nsid: u32, first: u64, count: u32) -> SubmissionEntry {
    SubmissionEntry::read(5, nsid, BlockRange { first, count })
}

#[test]
fn a_read_becomes_the_same_read_at_the_regions_address() {
    let mut bench = Bench::running();
    bench.submit(1, read(1, 0x1_0000_0007, 8).with_data(0x2000, 1)).unwrap();
    let seen = bench.seen();
    assert_eq!((seen.opcode, seen.nsid.get()), (nvm::READ, 1));
    assert_eq!(seen.block_range(), BlockRange { first: 0x1_0000_0007, count: 8 });
    assert_eq!((seen.prp1.get(), seen.prp2.get()), (REGIONS[1].base + 0x2000, 0));
    let completions = bench.run(1);
    assert_eq!((completions[0].identifier.get(), completions[0].submission_queue.get()), (5, 1));
}

#[test]
fn limited_retry_and_forced_access_pass() {
    let mut bench = Bench::running();
    let mut entry = read(1, 0, 1);
    entry.dword12 = (nvm::LIMITED_RETRY | nvm::FORCE_UNIT_ACCESS).into();
    bench.submit(1, entry).unwrap();
    assert_eq!(bench.seen().dword12.get(), 0xc000_0000);
}

#[test]
fn every_length_and_offset_is_described_to_the_byte() {
    // The controller walks the entries and panics at any page that is not in a region; here, that it is the right one.
    let mut bench = Bench::running();
    for offset in [0, 4, 512, 2048, 4092] {
        for blocks in (1..=40).chain([1000, 1016, 1017, 1023, 1024]) {
            let entry = read(1, 0, blocks).with_data(offset, 0);
            bench.submit(1, entry).unwrap();
            let seen = bench.seen();
            let hidden = bench.device.hidden.clone();
            let quadword = |at: u64| u64::from_le_bytes(hidden[(at - HIDDEN) as usize..][..8].try_into().unwrap());
            let bytes = u64::from(blocks) * 512;
            let (data, _) = crate::walk::prp(seen.prp1.get(), seen.prp2.get(), bytes, quadword);
            let mut next = REGIONS[0].base + offset;
            for (address, length) in data {
                assert_eq!(address, next);
                next += length;
            }
            assert_eq!(next, REGIONS[0].base + offset + bytes);
            bench.run(1);
        }
    }
}

#[test]
fn the_longest_transfer_fits_at_the_end_of_a_region() {
    let mut bench = Bench::running();
    let blocks = TRANSFER_BYTES_MAX / 512;
    let last = REGIONS[0].bytes - u64::from(TRANSFER_BYTES_MAX);
    for offset in [last, last - 4, last - 4092] {
        bench.submit(1, read(1, 0, blocks).with_data(offset, 0)).unwrap();
        bench.run(1);
    }
    assert_eq!(bench.refused(1, read(1, 0, blocks).with_data(last + 4, 0)), Reason::BeyondRegion);
    assert_eq!(bench.refused(1, read(1, 0, blocks + 1)), Reason::TransferTooLong);
    assert_eq!(bench.refused(1, read(7, 0, 9)), Reason::TransferTooLong);
    assert_eq!(bench.refused(1, read(1, 0, 0x1_0000)), Reason::TransferTooLong);
}

#[test]
fn a_transfer_keeps_to_mdts() {
    let mut bench = Bench::running();
    bench.submit(1, read(1, 0, 17)).unwrap();
    bench.run(1);
    bench.device.transfer_shift_max = 1;
    bench.admin(SubmissionEntry::identify(0, nvme_spec::identify::Structure::Controller, 0));
    assert_eq!(bench.submit(1, read(1, 0, 16)), Ok(()));
    bench.run(1);
    assert_eq!(bench.submit(1, read(1, 0, 17)), Err((Error::Invalid, Reason::TransferTooLong)));
    assert_eq!(bench.refused(1, read(2, 0, 3)), Reason::TransferTooLong);
}

#[test]
fn lengths_come_from_the_namespaces_own_block_size() {
    let mut bench = Bench::running();
    let pages = REGIONS[1].bytes / 4096;
    // Four pages of region: 32 blocks of 512 bytes, 4 of 4096.
    bench.submit(1, read(1, 0, 8 * pages as u32).with_data(0, 1)).unwrap();
    bench.run(1);
    bench.submit(1, read(2, 0, pages as u32).with_data(0, 1)).unwrap();
    bench.run(1);
    assert_eq!(bench.refused(1, read(2, 0, pages as u32 + 1).with_data(0, 1)), Reason::BeyondRegion);
    assert_eq!(bench.refused(1, read(2, 0, 2).with_data(0x3000, 1)), Reason::BeyondRegion);
    assert_eq!(bench.refused(1, read(7, 0, 1).with_data(0, 1)), Reason::BeyondRegion);
}

#[test]
fn data_stays_in_its_region() {
    let mut bench = Bench::running();
    let size = REGIONS[0].bytes;
    assert_eq!(bench.submit(1, read(1, 0, 1).with_data(size - 512, 0)), Ok(()));
    bench.run(1);
    for offset in [size - 508, size, size + 4, u64::MAX - 3, u64::MAX - 511, REGIONS[0].base, 1 << 63] {
        assert_eq!(bench.submit(1, read(1, 0, 1).with_data(offset, 0)), Err((Error::Denied, Reason::BeyondRegion)));
    }
    for region in [2, 3, 1 << 32, u64::MAX] {
        assert_eq!(bench.submit(1, read(1, 0, 1).with_data(0, region)), Err((Error::Denied, Reason::RegionUnknown)));
    }
    for offset in [1, 2, 3, 513] {
        assert_eq!(bench.submit(1, read(1, 0, 1).with_data(offset, 0)), Err((Error::Invalid, Reason::OffsetUnaligned)));
    }
}

#[test]
fn namespaces_with_metadata_or_strange_blocks_are_denied() {
    let mut bench = Bench::running();
    for nsid in [3, 4, 5, 6] {
        assert_eq!(bench.submit(1, read(nsid, 0, 1)), Err((Error::Denied, Reason::NamespaceUnusable)));
        assert_eq!(bench.refused(1, SubmissionEntry::flush(5, nsid)), Reason::NamespaceUnusable);
    }
}

#[test]
fn namespaces_that_were_not_learned_are_denied() {
    let mut bench = Bench::running();
    for nsid in [0, 8, 129, 0xffff_fffe] {
        assert_eq!(bench.submit(1, read(nsid, 0, 1)), Err((Error::Denied, Reason::NamespaceNotLearned)));
        assert_eq!(bench.refused(1, SubmissionEntry::flush(5, nsid)), Reason::NamespaceNotLearned);
    }
}

#[test]
fn facts_of_many_namespaces_do_not_mix() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.device.namespaces.clear();
    // They collide in any table of a power of two up to 256 entries.
    for index in 0..140u32 {
        let blocks = u64::from(index) + 1;
        let namespace = crate::device::Namespace { blocks, block_shift: 9, metadata_bytes: 0, inline: false };
        bench.device.namespaces.insert(1 + index * 256, namespace);
    }
    bench.identify();
    bench.create_pair(1);
    for index in 0..140 {
        let nsid = 1 + index * 256;
        let beyond = bench.refused(1, read(nsid, u64::from(index) + 1, 1));
        let expected = if index < 128 { Reason::BlocksBeyondEnd } else { Reason::NamespaceNotLearned };
        assert_eq!(beyond, expected, "nsid {nsid}");
    }
}

#[test]
fn blocks_stay_in_the_namespace() {
    let mut bench = Bench::running();
    assert_eq!(bench.submit(1, read(2, 999, 1)), Ok(()));
    bench.run(1);
    for (first, count) in [(999, 2), (1000, 1), (u64::MAX, 1), (u64::MAX, 2), (u64::MAX - 7, 9)] {
        assert_eq!(bench.submit(1, read(2, first, count)), Err((Error::Invalid, Reason::BlocksBeyondEnd)));
    }
}

#[test]
fn blocks_stay_in_the_grant() {
    let limits = [
        Limit { namespace: Some(1), first_block: 100, blocks: Some(50), writable: false, ..Limit::WHOLE_DEVICE },
        Limit { namespace: Some(1), first_block: 1000, blocks: None, writable: true, ..Limit::WHOLE_DEVICE },
        Limit { namespace: Some(2), first_block: 0, blocks: Some(0), writable: true, ..Limit::WHOLE_DEVICE },
    ];
    let mut bench = Bench::running_with(ledger(&limits));
    for (first, count) in [(100, 1), (100, 50), (149, 1), (1000, 16), (1 << 39, 1)] {
        assert_eq!(bench.submit(1, read(1, first, count)), Ok(()), "{first}+{count}");
        bench.run(1);
    }
    for (first, count) in [(99, 1), (99, 2), (100, 51), (150, 1), (149, 2), (999, 2), (0, 1)] {
        assert_eq!(bench.submit(1, read(1, first, count)), Err((Error::Denied, Reason::BlocksNotGranted)));
    }
    assert_eq!(bench.refused(1, read(2, 0, 1)), Reason::BlocksNotGranted);
    assert_eq!(bench.submit(1, read(7, 0, 1)), Err((Error::Denied, Reason::NamespaceNotGranted)));
    assert_eq!(bench.refused(1, SubmissionEntry::flush(5, 7)), Reason::NamespaceNotGranted);
    assert_eq!(bench.submit(1, SubmissionEntry::flush(5, 1)), Ok(()));
}

#[test]
fn what_one_command_was_allowed_no_other_is() {
    let limit = Limit { namespace: Some(2), first_block: 100, blocks: Some(500), writable: false, ..WHOLE };
    let mut bench = Bench::running_with(ledger(&[limit]));
    let allowed = read(2, 100, 128);
    let changed = |change: &dyn Fn(&mut SubmissionEntry)| {
        let mut entry = allowed;
        change(&mut entry);
        entry
    };
    let others = [
        (changed(&|entry| entry.opcode = nvm::WRITE), Reason::WriteNotGranted),
        (changed(&|entry| entry.opcode |= 4), Reason::OpcodeWithoutRule),
        (changed(&|entry| entry.flags = 1), Reason::FieldNotZero),
        (changed(&|entry| entry.flags = 0x40), Reason::FieldNotZero),
        (changed(&|entry| entry.nsid = 1.into()), Reason::NamespaceNotGranted),
        (changed(&|entry| entry.nsid = 3.into()), Reason::NamespaceNotGranted),
        (changed(&|entry| entry.nsid = BROADCAST_NSID.into()), Reason::BroadcastNotHarmless),
        (changed(&|entry| entry.dword2 = 1.into()), Reason::FieldNotZero),
        (changed(&|entry| entry.dword3 = (1 << 31).into()), Reason::FieldNotZero),
        (changed(&|entry| entry.metadata_pointer = (1 << 63).into()), Reason::FieldNotZero),
        (changed(&|entry| entry.dword12 = (1 << 16).into()), Reason::FieldNotZero),
        (changed(&|entry| entry.dword13 = 1.into()), Reason::FieldNotZero),
        (changed(&|entry| entry.dword14 = 1.into()), Reason::FieldNotZero),
        (changed(&|entry| entry.dword15 = (1 << 31).into()), Reason::FieldNotZero),
        (read(2, 100, 129), Reason::TransferTooLong),
        (read(2, 99, 1), Reason::BlocksNotGranted),
        (read(2, 599, 2), Reason::BlocksNotGranted),
        (read(2, u64::MAX - 1, 4), Reason::BlocksBeyondEnd),
    ];
    for (other, reason) in others {
        bench.submit(1, allowed).unwrap();
        assert_eq!(bench.seen().block_range(), allowed.block_range());
        bench.run(1);
        assert_eq!(bench.refused(1, other), reason, "{other:?}");
        bench.submit(1, read(2, 599, 1)).unwrap();
        bench.run(1);
        assert_eq!(bench.refused(1, other), reason, "{other:?}");
    }
}

#[test]
fn what_is_learned_anew_ends_what_was_allowed() {
    let mut bench = Bench::running();
    bench.submit(1, read(2, 999, 1)).unwrap();
    bench.run(1);
    bench.device.namespaces.get_mut(&2).unwrap().blocks = 900;
    bench.admin(SubmissionEntry::identify(0, nvme_spec::identify::Structure::Namespace, 2));
    assert_eq!(bench.refused(1, read(2, 999, 1)), Reason::BlocksBeyondEnd);
}

#[test]
fn the_broadcast_namespace_is_denied_where_it_is_not_harmless() {
    let flush = SubmissionEntry::flush(5, BROADCAST_NSID);
    // The controller does not say that it takes it.
    let mut bench = Bench::running();
    assert_eq!(bench.submit(1, flush), Err((Error::Denied, Reason::BroadcastNotHarmless)));
    assert_eq!(bench.refused(1, read(BROADCAST_NSID, 0, 1)), Reason::BroadcastNotHarmless);
    bench.device.volatile_write_cache = 0b111;
    bench.identify();
    assert_eq!(bench.submit(1, flush), Ok(()));
    bench.run(1);
    assert_eq!(bench.refused(1, read(BROADCAST_NSID, 0, 1)), Reason::BroadcastNotHarmless);
    // The grant is not every namespace.
    let mut bench = Bench::ready(ledger(&[Limit { namespace: Some(1), ..WHOLE }]));
    bench.device.volatile_write_cache = 0b111;
    bench.identify();
    bench.create_pair(1);
    assert_eq!(bench.refused(1, flush), Reason::BroadcastNotHarmless);
}

#[test]
fn identifiers_are_unique_in_flight() {
    let mut bench = Bench::running();
    bench.submit(1, read(1, 0, 1)).unwrap();
    assert_eq!(bench.submit(1, read(1, 0, 1)), Err((Error::Invalid, Reason::IdentifierInFlight)));
    bench.device.fetch();
    assert_eq!(bench.refused(1, read(1, 0, 1)), Reason::IdentifierInFlight);
    bench.run(1);
    assert_eq!(bench.submit(1, read(1, 0, 1)), Ok(()));
    // The low six bits are the slot; the rest is the driver's sequence number and comes back.
    for identifier in [5 + IO_COMMANDS, 5 + 0x100, 0xffc5] {
        let mut entry = read(1, 0, 1);
        entry.identifier = identifier.into();
        assert_eq!(bench.submit(1, entry), Err((Error::Invalid, Reason::IdentifierInFlight)));
    }
    bench.run(1);
    for identifier in [5 + IO_COMMANDS, 0xffc5, 0xffff] {
        let mut entry = read(1, 0, 1);
        entry.identifier = identifier.into();
        bench.submit(1, entry).unwrap();
        assert_eq!(bench.run(1)[0].identifier.get(), identifier);
    }
}

#[test]
fn a_batch_rings_the_doorbell_once_and_says_where_it_stopped() {
    let mut bench = Bench::running();
    let batch: Vec<_> = (0..IO_COMMANDS)
        .map(|slot| SubmissionEntry::read(slot, 1, BlockRange { first: 0, count: 8 }).to_bytes())
        .collect();
    bench.device.events.clear();
    // An entry of the kernel is bounded: the rest is submitted again.
    for (first, tail) in [(0, COMMANDS_AT_ONCE), (COMMANDS_AT_ONCE, 2 * COMMANDS_AT_ONCE)] {
        let submitted = bench.broker.submit(&mut bench.device, 1, &batch[first..]);
        assert_eq!((submitted.accepted, submitted.refused), (COMMANDS_AT_ONCE, None));
        assert_eq!(bench.device.events.pop(), Some(Event::Register(0x1008, tail as u64)));
        assert_eq!(bench.device.events, []);
    }
    bench.run(1);

    let mut batch = batch[..5].to_vec();
    batch[3][0] = 0xff;
    bench.device.events.clear();
    let submitted = bench.broker.submit(&mut bench.device, 1, &batch);
    assert_eq!((submitted.accepted, submitted.refused.unwrap().because), (3, Reason::OpcodeWithoutRule));
    assert_eq!(bench.device.events, [Event::Register(0x1008, 67)]);

    bench.device.events.clear();
    bench.broker.submit(&mut bench.device, 1, &batch[3..]);
    bench.broker.submit(&mut bench.device, 1, &[]);
    assert_eq!(bench.device.events, [], "nothing accepted, nothing rung");
}

#[test]
fn a_batch_of_long_transfers_is_taken_in_parts() {
    let mut bench = Bench::running();
    let count = TRANSFER_BYTES_MAX / 512;
    let batch: Vec<_> = (0..IO_COMMANDS)
        .map(|slot| SubmissionEntry::read(slot, 1, BlockRange { first: 0, count }).to_bytes())
        .collect();
    let mut left = &batch[..];
    let mut submissions = 0;
    while !left.is_empty() {
        let submitted = bench.broker.submit(&mut bench.device, 1, left);
        assert_eq!(submitted.refused, None);
        // 512 KiB are 128 list entries of eight bytes; a kernel entry may not write many such lists.
        assert!((1..=4).contains(&submitted.accepted), "{}", submitted.accepted);
        left = &left[submitted.accepted..];
        submissions += 1;
    }
    assert_eq!(submissions, 16);
    assert_eq!(bench.run(1).len(), 64);
}

#[test]
fn a_read_before_the_controller_was_identified_is_denied() {
    let mut bench = Bench::ready(ledger(&[WHOLE]));
    bench.create_pair(1);
    bench.admin(SubmissionEntry::identify(0, nvme_spec::identify::Structure::Namespace, 1));
    assert_eq!(bench.refused(1, read(1, 0, 1)), Reason::ControllerNotIdentified);
}

#[test]
fn a_submission_touches_no_register_but_the_doorbell() {
    let mut bench = Bench::running();
    bench.device.reads_of_registers = 0;
    bench.submit(1, read(1, 0, 8)).unwrap();
    bench.run(1);
    assert_eq!(bench.device.reads_of_registers, 0);
}

#[test]
fn queues_that_do_not_exist_take_and_give_nothing() {
    let mut bench = Bench::running();
    for queue in [2, 3, 512, u16::MAX] {
        assert_eq!(bench.submit(queue, read(1, 0, 1)), Err((Error::Invalid, Reason::NoSuchQueue)));
        let refusal = bench.broker.complete(&mut bench.device, queue, &mut []).unwrap_err();
        assert_eq!((refusal.error, refusal.because), (Error::Invalid, Reason::NoSuchQueue));
    }
}
