//! Disks that are partitions.

use std::vec::Vec;

use protocol::block::{DiskGrant, Extent, Failure, Partition, Request, VERSION};
use protocol::nvme::{self, Operation};

use super::bench::*;
use crate::table::tests::Disk;

fn partition(name: &'static str, window: u64) -> DiskGrant<'static> {
    DiskGrant { extent: Extent::Partition(Partition::Name(name)), ..blocks(1, 0, None, window) }
}

struct Partitions {
    bench: Bench,
    image: Vec<u8>,
}

impl Partitions {
    fn new(image: Vec<u8>) -> Self {
        let clients = std::vec![
            named(1, "one", of(partition("system", 0))),
            named(2, "two", of(partition("data", 1))),
            named(3, "three", of(partition("nothing", 2))),
        ];
        let namespaces = std::vec![namespace(1, 1000, 512)];
        Self { bench: Bench::new(Model { namespaces, room: 99, ..Model::default() }, 16384, clients), image }
    }

    /// The device does what the server itself asked for.
    fn serve(&mut self) {
        for _ in 0..20 {
            for transfer in &self.bench.model.borrow().taken {
                if transfer.operation == Operation::Read && transfer.offset >= OWN {
                    let bytes = transfer.blocks as usize * 512;
                    let data = &self.image[transfer.first_block as usize * 512..][..bytes];
                    self.bench.window.copy_from(transfer.offset - OWN, data).unwrap();
                }
            }
            if self.bench.taken() == 0 {
                return;
            }
            self.bench.finish(Ok(()));
        }
    }
}

#[test]
fn a_client_that_opens_early_waits_for_the_table() {
    let mut own = Partitions::new(Disk::new(512).image());
    let early = own.bench.ask(2, Request::Open { version: VERSION });
    assert!(own.bench.answers().is_empty());
    own.serve();
    let answers = own.bench.answers();
    assert!(
        matches!(answers[..], [(to, Told::Information(disk))]
        if to == early && (disk.first_block, disk.blocks) == (200, 100)),
        "{answers:?}"
    );
    assert_eq!(own.bench.open(3), failed(Failure::NoDisk));
    assert_eq!(
        own.bench.lines(),
        [
            "ready nsid=1 blocks=1000 block_bytes=512",
            "partition nsid=1 first_block=100 blocks=100 table=primary client=one",
            "partition nsid=1 first_block=200 blocks=100 table=primary client=two",
            "no disk nsid=1 reason=no-such-partition client=three",
        ]
    );
}

#[test]
fn a_damaged_primary_is_said_and_the_backup_used() {
    let mut image = Disk::new(512).image();
    image[512] ^= 1;
    let mut own = Partitions::new(image);
    own.serve();
    assert!(matches!(own.bench.open(1), Told::Information(disk) if disk.first_block == 100));
    let lines = own.bench.lines();
    assert_eq!(lines[1], "partition table damaged nsid=1 table=primary reason=no-header");
    assert_eq!(lines[2], "partition nsid=1 first_block=100 blocks=100 table=backup client=one");
}

#[test]
fn without_a_table_there_is_no_disk_and_the_reason_is_told() {
    let mut own = Partitions::new(std::vec![0; 512 * 1000]);
    own.serve();
    assert_eq!(own.bench.open(1), failed(Failure::NoDisk));
    let expected = "no disk nsid=1 reason=no-partition-table backup=no-header client=one";
    assert!(own.bench.lines().contains(&expected.into()), "{:?}", own.bench.lines());
}

#[test]
fn a_table_that_cannot_be_read_is_no_table() {
    let mut own = Partitions::new(Vec::new());
    for _ in 0..4 {
        own.bench.finish(Err(nvme::Failure::Device { kind: 2, code: 0x81 }));
    }
    assert_eq!(own.bench.open(1), failed(Failure::NoDisk));
}

#[test]
fn a_namespace_that_appears_is_read_then() {
    let mut own = Partitions::new(Disk::new(512).image());
    own.bench.model.borrow_mut().namespaces.clear();
    own.bench.model.borrow_mut().number += 1;
    own.bench.server.exchange();
    own.serve();
    assert_eq!(own.bench.open(1), failed(Failure::NoDisk));
    own.bench.model.borrow_mut().namespaces.push(namespace(1, 1000, 512));
    own.bench.model.borrow_mut().number += 1;
    own.bench.server.exchange();
    own.serve();
    assert!(matches!(own.bench.open(1), Told::Information(disk) if disk.first_block == 100));
}

#[test]
fn a_client_sees_nothing_outside_its_partition() {
    let mut own = Partitions::new(Disk::new(512).image());
    own.serve();
    own.bench.open(1);
    let beyond = own.bench.transfer(1, read(93));
    assert_eq!(own.bench.answers(), [(beyond, failed(Failure::Invalid))]);
    own.bench.transfer(1, read(92));
    assert_eq!(own.bench.model.borrow().taken[0].first_block, 192);
}
