//! Limits that list commands.

use abi::Error;
use abi::package::{Command, Commands, Limit};
use nvme_broker::Reason;
use nvme_spec::nvm::{BlockRange, COMPARE, READ, VERIFY, WRITE, WRITE_ZEROES};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};

use crate::bench::{Bench, ledger};

const ON_BLOCKS: [(u8, Command); 5] = [
    (READ, Command::Read),
    (WRITE, Command::Write),
    (COMPARE, Command::Compare),
    (VERIFY, Command::Verify),
    (WRITE_ZEROES, Command::WriteZeroes),
];

fn listing(commands: impl IntoIterator<Item = Command>) -> Limit {
    Limit { commands: commands.into_iter().collect(), ..Limit::WHOLE_DEVICE }
}

fn on_blocks(opcode: u8, nsid: u32, first: u64) -> SubmissionEntry {
    SubmissionEntry::on_blocks(opcode, 5, nsid, BlockRange { first, count: 1 })
}

#[test]
fn a_command_that_no_limit_of_these_blocks_lists_is_denied() {
    for (listed, command) in ON_BLOCKS {
        let mut bench = Bench::running_with(ledger(&[listing([command])]));
        for (opcode, _) in ON_BLOCKS {
            let expected = if opcode == listed { Ok(()) } else { Err((Error::Denied, Reason::CommandNotListed)) };
            assert_eq!(bench.submit(1, on_blocks(opcode, 1, 7)), expected, "{opcode:#x} where {listed:#x} is listed");
            bench.run(1);
        }
    }
}

#[test]
fn each_limit_lists_for_its_own_blocks_and_direction() {
    let limits = [
        Limit { blocks: Some(100), ..listing([Command::Read]) },
        Limit { blocks: Some(50), ..listing([Command::WriteZeroes, Command::Verify]) },
        Limit { blocks: Some(200), writable: false, commands: Commands::ALL, ..Limit::WHOLE_DEVICE },
    ];
    let mut bench = Bench::running_with(ledger(&limits));
    let mut ask = |opcode, first| {
        let outcome = bench.submit(1, on_blocks(opcode, 1, first)).map_err(|(_, reason)| reason);
        bench.run(1);
        outcome
    };
    // One of the limits has to allow it alone.
    assert_eq!([49, 50].map(|first| ask(WRITE_ZEROES, first)), [Ok(()), Err(Reason::CommandNotListed)]);
    assert_eq!([49, 99].map(|first| ask(WRITE, first)), [Err(Reason::CommandNotListed); 2]);
    assert_eq!([100, 199].map(|first| ask(WRITE, first)), [Err(Reason::WriteNotGranted); 2]);
    assert_eq!([0, 50, 100, 199].map(|first| ask(COMPARE, first)), [Ok(()); 4]);
    assert_eq!(ask(READ, 200), Err(Reason::BlocksNotGranted));
}

#[test]
fn deallocating_is_listed_or_denied() {
    let unit = |first: u64| {
        let mut unit = [0; 64];
        unit[4..8].copy_from_slice(&1_u32.to_le_bytes());
        unit[8..16].copy_from_slice(&first.to_le_bytes());
        unit
    };
    let deallocate = [SubmissionEntry::deallocate(5, 1, 1).to_bytes(), unit(3)];
    for (command, reason) in [(Command::DatasetManagement, None), (Command::Write, Some(Reason::CommandNotListed))] {
        let mut bench = Bench::running_with(ledger(&[listing([command])]));
        let submitted = broker::Broker::submit(&mut bench.broker, &mut bench.device, 1, &deallocate);
        assert_eq!(submitted.refused.map(|refusal| refusal.because), reason);
    }
}

#[test]
fn a_flush_is_listed_or_denied() {
    let (flush, broadcast) = (SubmissionEntry::flush(5, 1), SubmissionEntry::flush(5, BROADCAST_NSID));
    let run = |limits: &[Limit], entry| {
        let mut bench = Bench::ready(ledger(limits));
        bench.device.volatile_write_cache = 0b111;
        bench.identify();
        bench.create_pair(1);
        bench.submit(1, entry)
    };
    let denied = Err((Error::Denied, Reason::CommandNotListed));
    let others = listing(Command::ALL.iter().copied().filter(|command| *command != Command::Flush));
    assert_eq!(run(&[others], flush), denied);
    assert_eq!(run(&[others], broadcast), denied);
    assert_eq!(run(&[others, Limit { namespace: Some(2), ..Limit::WHOLE_DEVICE }], flush), denied);
    let of_it = Limit { namespace: Some(1), blocks: Some(8), ..listing([Command::Flush]) };
    assert_eq!(run(&[others, of_it], flush), Ok(()));
    assert_eq!(run(&[others, of_it], broadcast), denied);
    assert_eq!(run(&[listing([Command::Flush])], broadcast), Ok(()));
}
