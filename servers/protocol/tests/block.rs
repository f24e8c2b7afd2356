//! The block server's messages as bytes: `vectors/block.txt` has one a line, name and hexadecimal bytes. Each message
//! here encodes to its line, and its line decodes to it. A change of a line is a new version of the protocol.

use std::collections::BTreeMap;
use std::fmt::Debug;

use protocol::Record;
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

fn batch<T: Record>(items: &[T]) -> BatchRoom<T> {
    let mut room = BatchRoom::new();
    items.iter().for_each(|item| room.push(item).unwrap());
    room
}

const READ: Operation = Operation::Read { first_block: 0x1_0000_0000, blocks: 8, offset: 4096 };
const WRITE: Operation = Operation::Write { first_block: 2048, blocks: 256, offset: 0, durable: true };

const FAILURES: [Failure; 14] = [
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
];

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
        held.against(name, &Request::Transfer(operation.into()));
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
    for failure in FAILURES {
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
fn what_is_no_item_ends_a_batch() {
    let room = batch(&[Transfer { tag: 1, operation: Operation::Flush }; 2]);
    let good = postcard::to_stdvec(&room.batch()).unwrap();
    // A number of no operation, what a flush has none of, a tag beyond 32 bits; and half an item.
    for place in [20, 0, 8, 16, 30] {
        let mut bytes = good.clone();
        bytes[1 + 32 + place] = 9;
        let torn: Batch<'_, Transfer> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(torn.iter().count(), 1, "byte {place}");
    }
    let mut bytes = good[..1 + 40].to_vec();
    bytes[0] = 40;
    let torn: Batch<'_, Transfer> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((torn.iter().count(), torn.len()), (1, 1));
}

#[test]
fn a_room_takes_a_batch_and_no_more() {
    let mut room = BatchRoom::new();
    for tag in 0..BATCH_MAX as u32 {
        assert!(!room.is_full());
        assert_eq!(room.push(&Completion { tag, outcome: Ok(()) }), Ok(()));
    }
    assert!(room.is_full());
    assert_eq!(room.push(&Completion { tag: 99, outcome: Ok(()) }), Err(Full));
    assert_eq!(room.len(), BATCH_MAX);
    room.clear();
    assert!(room.is_empty() && room.batch().is_empty());
}

/// Each record is written as its bytes and read back.
fn check<T: Record + PartialEq + Debug>(item: T) {
    let room = batch(&[item]);
    assert_eq!(room.batch().iter().collect::<Vec<_>>(), [item]);
}

#[test]
fn every_completion_is_a_record() {
    check(Completion { tag: u32::MAX, outcome: Ok(()) });
    let mut bytes = BTreeMap::new();
    for failure in FAILURES {
        check(Completion { tag: 7, outcome: Err(failure) });
        let encoded = postcard::to_stdvec(&batch(&[Completion { tag: 7, outcome: Err(failure) }]).batch()).unwrap();
        assert_eq!(bytes.insert(encoded, failure), None, "{failure} has bytes of its own");
    }
    use protocol::nvme;
    for failure in [
        nvme::Failure::Invalid,
        nvme::Failure::Denied,
        nvme::Failure::Unsupported,
        nvme::Failure::Stopped,
        nvme::Failure::Different,
        nvme::Failure::Device { kind: 2, code: 0x81 },
        nvme::Failure::Aborted,
        nvme::Failure::TimedOut,
        nvme::Failure::Gone,
    ] {
        check(nvme::Completion { tag: 300, outcome: Err(failure) });
    }
    check(nvme::Completion { tag: 1, outcome: Ok(()) });
}

#[test]
fn every_transfer_of_the_driver_and_every_namespace_is_a_record() {
    use protocol::nvme::{Namespace, Operation, Operations, Transfer};
    for (number, operation) in Operation::ALL.into_iter().enumerate() {
        assert_eq!((Operation::new(number as u32), operation as usize), (Some(operation), number));
        check(Transfer { tag: 1, operation, nsid: 2, first_block: 1 << 40, blocks: 3, offset: 4096 });
    }
    for bits in 0..64 {
        let has = |place: u32| bits & 1 << place != 0;
        let supports =
            Operations { write: has(0), discard: has(1), write_zeroes: has(2), compare: has(3), verify: has(4) };
        check(Namespace { nsid: 9, blocks: 1 << 40, block_bytes: 4096, supports, volatile_cache: has(5) });
    }
}
