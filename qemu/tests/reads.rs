//! What is read is what lies on the disk.

use std::path::Path;

use qemu::disk;
use qemu::harness::{Bench, seed};
use qemu::lane::Lane;
use qemu::nvme::{BlockBytes, Namespace};

const MEBIBYTE: u64 = 1 << 20;

#[test]
fn two_block_sizes_on_one_controller_read_as_the_files_are() {
    two_block_sizes(Lane::Brokered);
}

#[test]
fn two_block_sizes_read_as_the_files_are_behind_an_iommu() {
    two_block_sizes(Lane::BrokeredBehindIommu);
}

#[test]
fn two_block_sizes_read_as_the_files_are_on_the_direct_lane() {
    two_block_sizes(Lane::Direct);
}

fn two_block_sizes(lane: Lane) {
    let bench = Bench::named_on_lane(lane, "reads");
    let small = bench.disk("small.img", 24 * MEBIBYTE);
    let large = bench.disk("large.img", 40 * MEBIBYTE);
    let log = bench
        .boot(&bench.machine([Namespace::file(2, &small), Namespace::file(3, &large).block_bytes(BlockBytes::B4096)]))
        .complete();
    assert_eq!(log.check_reads(&[(2, &small), (3, &large)]), 12 + 10);
    let sizes: Vec<_> = log
        .all("nvme", "namespace")
        .map(|line| ["nsid", "blocks", "block_bytes"].map(|key| line.number(key).unwrap()))
        .collect();
    assert!(sizes.contains(&[2, 24 * 2048, 512]), "{sizes:?}");
    assert!(sizes.contains(&[3, 40 * 256, 4096]), "{sizes:?}");
    let largest =
        log.all("block", "read").map(|read| read.number("blocks").unwrap() * read.number("block_bytes").unwrap());
    assert_eq!(largest.max(), Some(2 * MEBIBYTE), "in one request");
    lane.check(&log);
}

#[test]
fn blocks_beyond_32_bits_are_read() {
    blocks_beyond_32_bits(Lane::Brokered);
}

fn blocks_beyond_32_bits(lane: Lane) {
    const BYTES: u64 = 3 << 40;
    let bench = Bench::named_on_lane(lane, "far");
    let path = bench.path("far.img");
    let places = [0, (4_294_967_292) * 512, 5_000_000_000 * 512, BYTES - 8 * 512];
    disk::sparse(&path, seed("far"), BYTES, &places, 100 * 512).unwrap();
    // The last extent grew the file: cut it back.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(BYTES).unwrap();
    let log = bench.boot(&bench.machine([Namespace::file(2, &path)])).complete();
    assert_eq!(log.check_reads(&[(2, &path)]), 4);
    let blocks: Vec<_> = log.all("block", "read").map(|read| read.number("lba").unwrap()).collect();
    assert_eq!(blocks, [0, 4_294_967_292, 5_000_000_000, BYTES / 512 - 8]);
    lane.check(&log);
}

#[test]
fn a_client_reads_its_range_and_nothing_else() {
    ranges(Lane::Brokered);
}

/// Nobody but the block server holds the client to it there.
#[test]
fn a_client_reads_its_range_and_nothing_else_on_the_direct_lane() {
    ranges(Lane::Direct);
}

fn ranges(lane: Lane) {
    let bench = Bench::named_on_lane(lane, "ranges");
    let path = bench.disk("disk.img", 16 * MEBIBYTE);
    let mut system = bench.boot(&bench.machine([Namespace::file(2, &path)]));
    // The readers fail on purpose, but they are not required.
    system.wait_complete();
    let failed = |line: &qemu::serial::Event| line.is("block", "disk unavailable");
    system.expect_where("the reader of no namespace", failed);
    let log = system.end();
    lane.check(&log);

    assert_eq!(log.check_reads(&[(2, &path)]), 3 + 2);
    let mut read: Vec<_> =
        log.all("block", "read").map(|read| ["lba", "blocks"].map(|key| read.number(key).unwrap())).collect();
    read.sort_unstable();
    assert_eq!(read, [[100, 1], [100, 100], [199, 1], [200, 8], [16 * 2048 - 8, 8]]);

    let mut refused: Vec<_> = log
        .all("block", "read failed")
        .map(|line| {
            (line.number("lba").unwrap(), line.number("blocks").unwrap(), line.text("error").unwrap().to_owned())
        })
        .collect();
    refused.sort();
    assert_eq!(
        refused,
        [
            (199, 2, "invalid".to_owned()),
            (200, 1, "invalid".to_owned()),
            (200, 9, "larger-than-window".to_owned()),
            (u64::MAX, 2, "invalid".to_owned()),
        ]
    );
    assert_eq!(log.one("block", "disk unavailable").get("error"), Some("no-disk"));
}

/// A log that claims what is not on the disk does not pass: the check itself is checked.
#[test]
#[should_panic(expected = "the disk's bytes have")]
fn a_wrong_hash_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    disk::random(&path, 1, 4096).unwrap();
    let right = disk::sha256(&path, 0, 512).unwrap();
    let line = |hash: &str| format!("block: read nsid=2 lba=0 blocks=1 block_bytes=512 sha256={hash}");
    let check = |hash: &str| qemu::harness::Log::new(vec![line(hash)]).check_reads(&[(2, Path::new(&path))]);
    assert_eq!(check(&right), 1);
    check(&disk::sha256(&path, 512, 512).unwrap());
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn blocks_beyond_32_bits_are_read() {
        for lane in [Lane::BrokeredBehindIommu, Lane::Direct] {
            blocks_beyond_32_bits(lane);
        }
    }

    #[test]
    #[ignore = "by make test-lanes"]
    fn a_client_reads_its_range_behind_an_iommu() {
        ranges(Lane::BrokeredBehindIommu);
    }
}
