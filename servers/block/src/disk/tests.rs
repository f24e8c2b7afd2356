use protocol::block::Operation;
use protocol::nvme::Operations;

use super::*;

const ALL: Operations = Operations { write: true, discard: true, write_zeroes: true, compare: true, verify: true };

const fn namespace(nsid: u32, blocks: u64, block_bytes: u32) -> Namespace {
    Namespace { nsid, blocks, block_bytes, supports: ALL, volatile_cache: true }
}

const TERMS: Terms = Terms { writable: false, place: Place { offset: 8192, bytes: 65536 }, is_slot: false, share: 4 };
const SMALL: Namespace = namespace(1, 1000, 512);
const LARGE: Namespace = namespace(2, 1 << 33, 4096);

fn failure(disk: &Disk, operation: Operation) -> Option<Failure> {
    let asked = operation.into();
    disk.transfer(&asked).is_none().then(|| disk.refusal(&asked))
}

fn read(first_block: u64, blocks: u32, offset: u64) -> Operation {
    Operation::Read { first_block, blocks, offset }
}

#[test]
fn a_range_without_end_goes_to_the_end_of_the_namespace() {
    let disk = Disk::new(&SMALL, 900, None, &TERMS).unwrap();
    assert_eq!((disk.information().first_block, disk.information().blocks), (900, 100));
}

#[test]
fn a_range_that_is_not_in_the_namespace_is_no_disk() {
    for (first, blocks) in
        [(1000, None), (1001, None), (0, Some(1001)), (999, Some(2)), (5, Some(0)), (u64::MAX, Some(u64::MAX))]
    {
        assert!(matches!(Disk::new(&SMALL, first, blocks, &TERMS), Err(Unusable::Beyond { .. })));
    }
    let namespaces = [SMALL, LARGE, namespace(5, 77, 0)];
    assert_eq!(super::namespace(&namespaces, 3), Err(Unusable::NotFound { nsid: 3 }));
    assert_eq!(super::namespace(&namespaces, 5), Err(Unusable::Format { nsid: 5 }));
}

#[test]
fn a_read_is_moved_into_range_and_window() {
    let disk = Disk::new(&LARGE, 1 << 32, Some(64), &TERMS).unwrap();
    let transfer = disk.transfer(&read(60, 4, 4096).into()).unwrap();
    let expected = Transfer {
        tag: 0,
        operation: nvme::Operation::Read,
        nsid: 2,
        first_block: (1 << 32) + 60,
        blocks: 4,
        offset: 12288,
    };
    assert_eq!(transfer, (expected, 4 * 4096));
}

#[test]
fn what_is_beyond_range_or_window_is_invalid() {
    let terms = Terms { writable: true, ..TERMS };
    let disk = Disk::new(&LARGE, 100, Some(64), &terms).unwrap();
    for (first_block, blocks, offset) in [
        (0, 0, 0),
        (64, 1, 0),
        (63, 2, 0),
        (u64::MAX, 1, 0),
        (u64::MAX - 1, 2, 0),
        (0, u32::MAX, 0),
        (0, 17, 0),
        (0, 16, 4),
        (0, 1, 65536),
        (0, 1, u64::MAX - 4095),
        (0, 1, 2),
    ] {
        for operation in [
            read(first_block, blocks, offset),
            Operation::Write { first_block, blocks, offset, durable: true },
            Operation::Compare { first_block, blocks, offset },
        ] {
            assert_eq!(failure(&disk, operation), Some(Failure::Invalid), "{operation:?}");
        }
    }
    for (first_block, blocks) in [(0, 0), (64, 1), (63, 2), (u64::MAX, 1), (0, 65)] {
        for operation in [
            Operation::Discard { first_block, blocks },
            Operation::WriteZeroes { first_block, blocks },
            Operation::Verify { first_block, blocks },
        ] {
            assert_eq!(failure(&disk, operation), Some(Failure::Invalid), "{operation:?}");
        }
    }
    assert!(disk.transfer(&read(0, 16, 0).into()).is_some());
}

#[test]
fn what_the_device_does_not_have_is_unsupported_and_what_is_not_granted_denied() {
    let (first_block, blocks, offset) = (0, 1, 0);
    let operations = [
        Operation::Write { first_block, blocks, offset, durable: false },
        Operation::Discard { first_block, blocks },
        Operation::WriteZeroes { first_block, blocks },
        Operation::Compare { first_block, blocks, offset },
        Operation::Verify { first_block, blocks },
    ];
    let writable = Terms { writable: true, ..TERMS };
    let plain = Namespace { supports: Operations { write: true, ..Operations::default() }, ..SMALL };
    let protected = Namespace { supports: Operations { write: false, ..ALL }, ..SMALL };
    let (denied, unsupported) = (Some(Failure::Denied), Some(Failure::Unsupported));
    for (namespace, terms, expected) in [
        (SMALL, writable, [None; 5]),
        (SMALL, TERMS, [denied, denied, denied, None, None]),
        (protected, writable, [denied, denied, denied, None, None]),
        (plain, writable, [None, unsupported, unsupported, unsupported, unsupported]),
    ] {
        let disk = Disk::new(&namespace, 0, None, &terms).unwrap();
        assert_eq!(operations.map(|operation| failure(&disk, operation)), expected);
    }
}

#[test]
fn disks_that_share_a_block_overlap() {
    let disk = |first, blocks| Disk::new(&SMALL, first, Some(blocks), &TERMS).unwrap();
    assert!(disk(0, 10).overlaps(&disk(9, 1)) && disk(9, 1).overlaps(&disk(0, 10)));
    assert!(!disk(0, 10).overlaps(&disk(10, 1)));
    let other = Disk::new(&LARGE, 0, None, &TERMS).unwrap();
    assert!(!other.overlaps(&disk(0, 10)), "another namespace");
}
