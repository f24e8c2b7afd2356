//! The block server's messages as bytes: `vectors/block.txt` has one a line, name and hexadecimal bytes. Each message
//! here encodes to its line, and its line decodes to it. A change of a line is a new version of the protocol.

use std::collections::BTreeMap;
use std::fmt::Debug;

use protocol::block::*;
use serde::{Deserialize, Serialize};

const VECTORS: &str = include_str!("vectors/block.txt");

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let parse = |line: &'static str| {
        let (name, digits) = line.split_once(' ').expect("a name and bytes");
        let bytes = digits.trim().as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).unwrap();
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        });
        (name, bytes.collect())
    };
    VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse).collect()
}

/// Takes each line that a message was held against.
struct Held(BTreeMap<&'static str, Vec<u8>>);

impl Held {
    fn against<'a, T: Serialize + Deserialize<'a> + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let encoded = postcard::to_stdvec(message).unwrap();
        let digits: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = self.0.remove(name).unwrap_or_else(|| panic!("no line `{name} {digits}`"));
        assert_eq!(encoded, line, "{name} is now {digits}");
        let line: &'static [u8] = line.leak();
        let (decoded, rest) = postcard::take_from_bytes::<T>(line).unwrap();
        assert_eq!((&decoded, rest), (message, &[][..]), "{name}");
    }
}

fn batch<T: Serialize>(items: &[T]) -> BatchRoom<T> {
    let mut room = BatchRoom::new();
    items.iter().for_each(|item| room.push(item).unwrap());
    room
}

const READ: Operation = Operation::Read { first_block: 0x1_0000_0000, blocks: 8, offset: 4096 };
const WRITE: Operation = Operation::Write { first_block: 2048, blocks: 256, offset: 0, durable: true };

#[test]
fn requests() {
    let mut held = Held(vectors().into_iter().filter(|(name, _)| name.starts_with("request-")).collect());
    held.against("request-open", &Request::Open { version: VERSION });
    held.against("request-information", &Request::Information);
    for (name, operation) in [
        ("request-read", READ),
        ("request-write", WRITE),
        ("request-flush", Operation::Flush),
        ("request-discard", Operation::Discard { first_block: 1, blocks: 2 }),
        ("request-write-zeroes", Operation::WriteZeroes { first_block: 3, blocks: 4 }),
        ("request-compare", Operation::Compare { first_block: 5, blocks: 6, offset: 512 }),
        ("request-verify", Operation::Verify { first_block: 7, blocks: 8 }),
    ] {
        held.against(name, &Request::Transfer(operation));
    }
    let room = batch(&[Transfer { tag: 1, operation: READ }, Transfer { tag: 300, operation: Operation::Flush }]);
    held.against("request-exchange", &Request::Exchange { transfers: room.batch(), wait: true });
    held.against("request-exchange-nothing", &Request::Exchange { transfers: Batch::EMPTY, wait: false });
    held.against("request-load", &Request::Load { offset: 4096, bytes: 3072 });
    held.against("request-store", &Request::Store { offset: 3072, data: b"charter" });
    held.against("request-shutdown", &Request::Shutdown);
    assert!(held.0.is_empty(), "lines of no message: {:?}", held.0);
}

#[test]
fn answers() {
    let mut held = Held(vectors().into_iter().filter(|(name, _)| name.starts_with("answer-")).collect());
    held.against("answer-version", &Answer::Version { supported: VERSION });
    let supports = Supports { write: true, write_zeroes: true, volatile_cache: true, ..Supports::default() };
    held.against(
        "answer-information",
        &Answer::Information(Information {
            version: VERSION,
            nsid: 2,
            first_block: 2048,
            blocks: 131_072,
            block_bytes: 512,
            supports,
            window_bytes: 2 << 20,
            is_slot: false,
            share: 32,
        }),
    );
    held.against("answer-done", &Answer::Done);
    for failure in [
        Failure::Denied,
        Failure::Invalid,
        Failure::DeadPeer,
        Failure::TimedOut,
        Failure::Busy,
        Failure::NoDisk,
        Failure::Device { kind: 2, code: 0x81 },
        Failure::Unsupported,
        Failure::Different,
        Failure::Interrupted,
        Failure::Gone,
        Failure::Changed,
        Failure::NotOpen,
        Failure::Stopped,
    ] {
        held.against(&format!("answer-failed-{}", failure.name()), &Answer::Failed(failure));
    }
    let room = batch(&[
        Completion { tag: 300, outcome: Ok(()) },
        Completion { tag: 1, outcome: Err(Failure::Device { kind: 0, code: 2 }) },
    ]);
    held.against("answer-exchanged", &Answer::Exchanged { accepted: 2, changed: true, completions: room.batch() });
    held.against("answer-data", &Answer::Data(&[0xc4, 0xa7]));
    assert!(held.0.is_empty(), "lines of no message: {:?}", held.0);
}

#[test]
fn grants() {
    let mut held = Held(vectors().into_iter().filter(|(name, _)| name.starts_with("grant-")).collect());
    let disk = |extent, window| DiskGrant { nsid: 2, extent, writable: true, window, share: 8 };
    let client = |disk| ClientGrant { disk: Some(disk), shutdown: false, signal: None };
    let window = Some(Place { offset: 8192, bytes: 65536 });
    held.against("grant-blocks", &client(disk(Extent::Blocks { first_block: 100, blocks: Some(64) }, window)));
    held.against("grant-whole", &client(disk(Extent::Blocks { first_block: 0, blocks: None }, None)));
    held.against("grant-name", &client(disk(Extent::Partition(Partition::Name("charter-data")), window)));
    held.against("grant-type", &client(disk(Extent::Partition(Partition::Type([1; 16])), window)));
    held.against("grant-guid", &client(disk(Extent::Partition(Partition::Guid([2; 16])), window)));
    held.against("grant-shutdown", &ClientGrant { disk: None, shutdown: true, signal: Some("console") });
    assert!(held.0.is_empty(), "lines of no message: {:?}", held.0);
}

#[test]
fn a_full_batch_of_the_longest_transfers_has_room_and_fits_into_a_message() {
    let operation = Operation::Write { first_block: u64::MAX, blocks: u32::MAX, offset: u64::MAX, durable: true };
    let transfers = vec![Transfer { tag: u32::MAX, operation }; BATCH_MAX];
    let room = batch(&transfers);
    assert_eq!(room.batch().iter().collect::<Vec<_>>(), transfers);
    let message = postcard::to_stdvec(&Request::Exchange { transfers: room.batch(), wait: true }).unwrap();
    assert!(message.len() <= 4096, "{}", message.len());
    let copy = vec![0; COPY_BYTES_MAX];
    assert!(postcard::to_stdvec(&Request::Store { offset: u64::MAX, data: &copy }).unwrap().len() <= 4096);
}

#[test]
fn bytes_that_are_no_item_end_a_batch() {
    let room = batch(&[Transfer { tag: 1, operation: Operation::Flush }]);
    let mut bytes = postcard::to_stdvec(&room.batch()).unwrap();
    bytes[0] += 2;
    bytes.extend([5, 99]);
    let torn: Batch<'_, Transfer> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(torn.iter().count(), 1);
}
