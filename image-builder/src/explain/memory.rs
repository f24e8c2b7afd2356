//! Records of crashes in a copy of a machine's memory, whole or the part that outlives a reset ([`abi::crash::memory`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use abi::crash::Record;
use abi::crash::memory::{MAGIC, open};

/// A log as it is, or what a copy of memory has of crashes as the lines in which a boot tells of those before it. Which
/// of the two it is, the records in it tell: a log has none.
pub fn log_of(bytes: &[u8]) -> Cow<'_, str> {
    let mut records = BTreeMap::new();
    // Anywhere, because a dump may have headers of its own between pieces of memory.
    for place in bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC).map(|(place, _)| place) {
        if let Some(record) = open::<Record>(&bytes[place..]) {
            records.insert(record.sequence, record);
        }
    }
    if records.is_empty() {
        return String::from_utf8_lossy(bytes);
    }
    let mut log = String::new();
    for record in records.values() {
        // Writing to a string does not fail.
        let _ = writeln!(log, "crash: previous boot package={:#010x} {record}", record.package);
    }
    log.into()
}

#[cfg(test)]
mod tests {
    use super::super::log::crashes;
    use super::*;
    use abi::crash::memory::{SLOT_BYTES, seal};
    use abi::crash::{Cause, StackWord};

    fn record(sequence: u64) -> Record {
        Record {
            sequence,
            package: 0xabcd,
            task: "nvme".try_into().unwrap(),
            generation: sequence as u32,
            cause: Cause::Exit { code: 101, reason: "panic: a = b".try_into().unwrap() },
            returns: [StackWord { above: 8, value: 0x40_0123 }].into(),
            ..Record::EMPTY
        }
    }

    #[test]
    fn records_are_found_wherever_they_lie_and_come_out_the_oldest_first() {
        let mut dump = vec![7; 333];
        for sequence in [12, 10, 11] {
            let mut slot = [0; SLOT_BYTES];
            seal(&record(sequence), &mut slot).unwrap();
            dump.extend(slot);
        }
        // One that is not whole.
        let mut slot = [0; SLOT_BYTES];
        let used = seal(&record(13), &mut slot).unwrap();
        slot[used - 1] ^= 1;
        dump.extend(slot);
        let found = crashes(&log_of(&dump)).unwrap();
        assert_eq!(found.iter().map(|crash| crash.generation).collect::<Vec<_>>(), [Some(10), Some(11), Some(12)]);
        let [crash, ..] = &found[..] else { panic!("three") };
        assert_eq!(
            (crash.package, crash.cause.as_str(), &crash.words[..]),
            (Some(0xabcd), "exit", &[(8, 0x40_0123)][..])
        );
        assert_eq!(crash.details[1], ("reason".to_owned(), "panic: a = b".to_owned()));
    }

    #[test]
    fn a_log_stays_as_it_is() {
        let log = "charter: starting\nCHCRASH1 is no record\n";
        assert_eq!(log_of(log.as_bytes()), log);
    }
}
