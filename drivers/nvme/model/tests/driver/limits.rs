//! Grants of less than the whole device: the broker holds the driver to them. The direct lane is not for such grants.

use abi::package::{Command, Commands, Limit};
use nvme_model::{Identity, flush, read, transfer};
use protocol::nvme::{Failure, Operation, Operations};

use crate::Machine;
use crate::bring_up::{assert_line, namespaces};
use crate::writes::supported;

#[test]
fn what_the_broker_denies_fails_as_denied_and_the_rest_goes_on() {
    let limits =
        [Limit { namespace: Some(1), first_block: 100, blocks: Some(50), writable: false, ..Limit::WHOLE_DEVICE }];
    let mut machine = Machine::with(Identity::default(), &[0, 1], &limits);
    machine.start();
    let transfers =
        [read(1, 1, 100, 50, 0), read(2, 1, 99, 1, 0), read(3, 1, 149, 1, 65536), read(4, 1, 149, 2, 0), flush(5, 1)];
    machine.submit(&transfers);
    machine.finish();
    let denied = Err(Failure::Denied);
    let outcomes: Vec<_> = (1..=5).map(|tag| machine.outcomes[&tag]).collect();
    assert_eq!(outcomes, [Ok(()), denied, Ok(()), denied, Ok(())]);
    assert!(machine.kernel.log.iter().any(|line| line.starts_with("command refused nsid=1 lba=99 blocks=1 ")));
}

#[test]
fn a_transfer_of_which_one_part_is_denied_fails_as_a_whole() {
    let limits =
        [Limit { namespace: Some(1), first_block: 0, blocks: Some(3000), writable: false, ..Limit::WHOLE_DEVICE }];
    let mut machine = Machine::with(Identity::default(), &[0, 1], &limits);
    machine.start();
    assert_eq!(machine.read(1, 1, 0, 4096, 0, 512).0, Err(Failure::Denied));
    assert_eq!(machine.read(2, 1, 0, 3000, 0, 512).0, Ok(()));
}

#[test]
fn blocks_that_are_not_granted_for_writing_are_denied_by_the_broker() {
    let head = Limit { first_block: 0, blocks: Some(100), writable: true, namespace: Some(1), ..Limit::WHOLE_DEVICE };
    let rest = Limit { namespace: Some(1), writable: false, ..Limit::WHOLE_DEVICE };
    let mut machine = Machine::with(Identity::default(), &[0, 1], &[head, rest]);
    machine.start();
    let writes = [Operation::Write, Operation::Discard, Operation::WriteZeroes];
    for (tag, operation) in (0..).step_by(10).zip(writes) {
        assert_eq!(machine.done(transfer(operation, tag, 1, 92, 8, 0)), Ok(()));
        assert_eq!(machine.done(transfer(operation, tag + 1, 1, 93, 8, 0)), Err(Failure::Denied));
        assert_eq!(machine.done(transfer(operation, tag + 2, 1, 100, 1, 0)), Err(Failure::Denied));
    }
    assert_eq!(machine.done(transfer(Operation::Compare, 99, 1, 5000, 1, 0)), Err(Failure::Different));
    assert!(machine.kernel.device.disk.is_unchanged_outside(1, &[(92, 100)]));
}

#[test]
fn a_namespace_that_the_charter_does_not_grant_is_told_of_as_unusable() {
    let limits = [Limit { namespace: Some(2), writable: false, ..Limit::WHOLE_DEVICE }];
    let mut machine = Machine::with(Identity::default(), &[0, 1], &limits);
    machine.start();
    assert_eq!(namespaces(&mut machine), [(1, 0, 0), (2, 1 << 34, 4096)]);
    assert_line(&machine, "namespace unusable nsid=1 blocks=0 reason=not-identified");
    assert_eq!(machine.read(1, 2, 5, 1, 0, 4096).0, Ok(()));
}

/// The driver says what the grant lists, and tries nothing else; of Flush and Read, which every disk has, the broker says it.
#[test]
fn what_the_grant_does_not_list_is_unsupported_or_denied() {
    let listed: Commands = [Command::Write, Command::Verify].into_iter().collect();
    let limits = [Limit { commands: listed, ..Limit::WHOLE_DEVICE }];
    let mut machine = Machine::with(Identity::default(), &[0, 1], &limits);
    machine.start();
    let operations = Operations { write: true, verify: true, ..Operations::default() };
    assert_eq!(supported(&mut machine), (operations, true));
    let mut done = |tag, operation| machine.done(transfer(operation, tag, 1, 0, 1, 0));
    assert_eq!([done(1, Operation::Write), done(2, Operation::Verify)], [Ok(()); 2]);
    let others = [(3, Operation::Discard), (4, Operation::WriteZeroes), (5, Operation::Compare)];
    assert!(others.into_iter().all(|(tag, operation)| done(tag, operation) == Err(Failure::Unsupported)));
    assert_eq!([done(6, Operation::Flush), done(7, Operation::Read)], [Err(Failure::Denied); 2]);
}
