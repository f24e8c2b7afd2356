//! What changes the disk, or asks about it without moving it.

use crate::Machine;
use abi::package::Limit;
use nvme_model::{Identity, Namespace, flush, transfer, write};
use nvme_spec::Status;
use protocol::nvme::{Answer, Failure, Operation, Operations, Request};

/// Data that is nowhere on the disk.
fn pattern(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// A namespace of 2^21 blocks of `1 << shift` bytes.
fn machine(shift: u8) -> (Machine, Namespace) {
    let namespace = Namespace::new(5, 1 << 21, shift);
    (Machine::started(Identity { namespaces: vec![namespace], ..Identity::default() }), namespace)
}

#[test]
fn what_is_written_lies_at_its_blocks_and_nowhere_else() {
    for shift in 9..=12 {
        let (mut machine, namespace) = machine(shift);
        for (tag, (first, blocks)) in [(0, 1), (7, 64), ((1 << 21) - 1, 1), (1 << 20, 300)].into_iter().enumerate() {
            let data = pattern(tag as u8, (blocks as usize) << shift);
            machine.kernel.put_region(4100, &data);
            let durable = tag % 2 == 0;
            let operation = if durable { Operation::DurableWrite } else { Operation::Write };
            assert_eq!(machine.done(transfer(operation, tag as u32, 5, first, blocks, 4100)), Ok(()));
            let disk = &machine.kernel.device.disk;
            assert!(disk.read(&namespace, first, blocks.into()) == data, "blocks of 2^{shift} at {first}");
        }
        let written = [(0, 1), (7, 71), ((1 << 21) - 1, 1 << 21), (1 << 20, (1 << 20) + 300)];
        assert!(machine.kernel.device.disk.is_unchanged_outside(5, &written));
    }
}

#[test]
fn a_long_write_is_split_at_mdts_and_boundaries_and_ends_once() {
    // Boundaries that no multiple of MDTS falls on; the model panics if one is crossed.
    for (shift, boundary, commands) in [(4, 0, 17), (4, 100, 22), (7, 1000, 4), (0, 96, 23)] {
        let namespace = Namespace { boundary, ..Namespace::new(5, 1 << 21, 9) };
        let identity = Identity { namespaces: vec![namespace], transfer_shift_max: shift, ..Identity::default() };
        let mut machine = Machine::started(identity);
        let data = pattern(3, 2100 * 512);
        machine.kernel.put_region(0, &data);
        let before = machine.kernel.submissions.1;
        assert_eq!(machine.done(write(1, 5, 950, 2100, 0)), Ok(()));
        assert!(machine.kernel.device.disk.read(&namespace, 950, 2100) == data);
        assert_eq!(machine.kernel.submissions.1 - before, commands, "MDTS {shift} boundary {boundary}");
    }
}

#[test]
fn write_zeroes_and_discard_take_any_length_without_data() {
    for operation in [Operation::WriteZeroes, Operation::Discard] {
        let (mut machine, namespace) = machine(9);
        let touched = machine.kernel.device.memory.accesses.len();
        // A place that is none: they have none.
        assert_eq!(machine.done(transfer(operation, 1, 5, 1000, 1 << 20, u64::MAX)), Ok(()));
        let disk = &machine.kernel.device.disk;
        assert!(disk.read(&namespace, 1000, 1 << 16).iter().all(|byte| *byte == 0));
        assert!(disk.read(&namespace, 1000 + (1 << 20) - 1, 1).iter().all(|byte| *byte == 0));
        assert!(disk.is_unchanged_outside(5, &[(1000, 1000 + (1 << 20))]));
        let commands = if operation == Operation::Discard { 1 } else { 16 };
        // A command's fetch, a range list, a completion: nothing of the region.
        assert!(machine.kernel.device.memory.accesses.len() - touched <= commands * 3, "{operation:?}");
    }
}

#[test]
fn a_discard_keeps_to_the_longest_range_that_the_controller_takes() {
    let identity = Identity { range_blocks_max: 1000, ..Identity::default() };
    let mut machine = Machine::started(identity);
    assert_eq!(machine.done(transfer(Operation::Discard, 1, 1, 5, 10_000, 0)), Ok(()));
    assert!(machine.kernel.device.disk.is_unchanged_outside(1, &[(5, 10_005)]));
    assert!(machine.kernel.device.disk.read(&Namespace::new(1, 1 << 20, 9), 5, 10_000).iter().all(|byte| *byte == 0));
}

#[test]
fn many_discards_at_once_are_all_done() {
    let (mut machine, namespace) = machine(12);
    let discards: Vec<_> = (0..100).map(|tag| transfer(Operation::Discard, tag, 5, u64::from(tag) * 3, 1, 0)).collect();
    machine.submit(&discards);
    machine.finish();
    assert!(machine.outcomes.values().all(Result::is_ok));
    for tag in 0..100 {
        let blocks = machine.kernel.device.disk.read(&namespace, tag * 3, 2);
        assert!(blocks[..4096].iter().all(|byte| *byte == 0) && blocks[4096..].iter().any(|byte| *byte != 0));
    }
}

#[test]
fn compare_tells_same_from_different() {
    let (mut machine, namespace) = machine(9);
    let mut data = namespace.content(77, 2000);
    machine.kernel.put_region(0, &data);
    assert_eq!(machine.done(transfer(Operation::Compare, 1, 5, 77, 2000, 0)), Ok(()));
    *data.last_mut().unwrap() ^= 1;
    machine.kernel.put_region(0, &data);
    assert_eq!(machine.done(transfer(Operation::Compare, 2, 5, 77, 2000, 0)), Err(Failure::Different));
    assert_eq!(machine.done(transfer(Operation::Verify, 3, 5, 77, 1 << 20, u64::MAX)), Ok(()));
    assert_eq!(machine.done(flush(4, 5)), Ok(()));
}

#[test]
fn limits_that_are_not_reported_keep_verify_as_short_as_a_read() {
    let identity = Identity { limits_reported: false, verify_shift_max: 5, ..Identity::default() };
    let mut machine = Machine::started(Identity { transfer_shift_max: 5, ..identity });
    assert_eq!(machine.done(transfer(Operation::Verify, 1, 1, 0, 100_000, 0)), Ok(()));
}

/// What the driver says can be done with the first namespace, and whether it has a volatile cache.
pub fn supported(machine: &mut Machine) -> (Operations, bool) {
    match machine.ask(&Request::Namespaces) {
        Answer::Namespaces(namespaces) => {
            let first = namespaces.iter().next().unwrap();
            (first.supports, first.volatile_cache)
        }
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn what_the_controller_does_not_offer_is_unsupported() {
    let mut machine =
        Machine::started(Identity { optional_commands: 0, volatile_write_cache: 0, ..Identity::default() });
    assert_eq!(supported(&mut machine), (Operations { write: true, ..Operations::default() }, false));
    for (tag, operation) in
        [Operation::Discard, Operation::WriteZeroes, Operation::Compare, Operation::Verify].into_iter().enumerate()
    {
        assert_eq!(machine.done(transfer(operation, tag as u32, 1, 0, 1, 0)), Err(Failure::Unsupported));
    }
}

#[test]
fn a_read_only_grant_and_a_protected_namespace_write_nothing() {
    let reading = Limit { writable: false, ..Limit::WHOLE_DEVICE };
    let mut granted = Machine::with(Identity::default(), &[0, 1], &[reading]);
    granted.start();
    let protected = Namespace { protected: true, ..Namespace::new(1, 1 << 20, 9) };
    let protected = Machine::started(Identity { namespaces: vec![protected], ..Identity::default() });
    for mut machine in [granted, protected] {
        let reads = Operations { compare: true, verify: true, ..Operations::default() };
        assert_eq!(supported(&mut machine), (reads, true));
        let writes = [Operation::DurableWrite, Operation::Discard, Operation::WriteZeroes];
        for (tag, operation) in writes.into_iter().enumerate() {
            assert_eq!(machine.done(transfer(operation, tag as u32, 1, 0, 1, 0)), Err(Failure::Unsupported));
        }
        assert!(machine.kernel.device.disk.is_unchanged_outside(1, &[]));
    }
}

#[test]
fn an_error_of_the_device_is_told_and_later_writes_go_on() {
    let (mut machine, _) = machine(9);
    machine.kernel.device.faults.io.push_back(Some(nvme_model::Fault::Status(Status::WRITE_FAULT)));
    assert_eq!(machine.done(write(1, 5, 0, 8, 0)), Err(Failure::Device { kind: 2, code: 0x80 }));
    assert_eq!(machine.done(write(2, 5, 0, 8, 0)), Ok(()));
}
