//! What the block server grants: partitions, directions, shares; and that what is written is on the disk, and nothing
//! else is.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use blockcheck::crash::Judge;
use blockcheck::plan::{Mix, Plan};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{BASIC, LINUX_FS};
use qemu::harness::{Bench, Log};
use qemu::lane::Lane;
use qemu::nvme::{Contents, Namespace};
use uuid::Uuid;

const MEBIBYTE: u64 = 1 << 20;

/// Writes a partition table onto a disk: first and last block, type and GUID of each partition by name.
fn partition(path: &Path) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let blocks = file.metadata().unwrap().len() / 512;
    file.write_all_at(&[0; 34 * 512], 0).unwrap();
    ProtectiveMBR::with_lb_size(blocks as u32 - 1).overwrite_lba0(&mut file).unwrap();
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(&mut file, Some(Uuid::from_u128(1)))
        .unwrap();
    let mut numbers = Vec::new();
    for (number, (name, first, length, kind)) in
        [("first", 2048, 1000, LINUX_FS), ("second", 4096, 2000, BASIC), ("third", 8192, 3000, LINUX_FS)]
            .into_iter()
            .enumerate()
    {
        numbers.push(table.add_partition_at(name, number as u32 + 1, first, length, kind, 0).unwrap());
    }
    let mut partitions = table.take_partitions();
    for (index, number) in numbers.into_iter().enumerate() {
        let guid = 0x6368_6172_7465_722d_8000_0000_0000_0010 + index as u128;
        partitions.get_mut(&number).unwrap().part_guid = Uuid::from_u128(guid);
    }
    table.update_partitions(partitions).unwrap();
    table.write().unwrap();
}

/// Damages the primary header so that firmware does not notice, or it would repair it from the backup: partitions may
/// lie beyond the end of the disk, it says, with the right checksum.
fn usable_beyond_the_end(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut header = [0; 92];
    file.read_exact_at(&mut header, 512).unwrap();
    header[48..56].copy_from_slice(&u64::from(u32::MAX).to_le_bytes());
    header[16..20].fill(0);
    let checksum = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&header, 512).unwrap();
}

#[test]
fn partitions_are_found_by_name_type_and_guid_also_where_the_primary_table_is_damaged() {
    partitions(Lane::Brokered);
}

#[test]
fn partitions_are_found_behind_an_iommu() {
    partitions(Lane::BrokeredBehindIommu);
}

#[test]
fn partitions_are_found_on_the_direct_lane() {
    partitions(Lane::Direct);
}

fn partitions(lane: Lane) {
    let bench = Bench::named_on_lane(lane, "disks");
    let disks = ["good.img", "damaged.img", "none.img"].map(|name| bench.disk(name, 8 * MEBIBYTE));
    disks[..2].iter().for_each(|disk| partition(disk));
    usable_beyond_the_end(&disks[1]);
    let [good, damaged, none] = &disks;
    let mut system =
        bench.boot(&bench.machine([Namespace::file(2, good), Namespace::file(3, damaged), Namespace::file(4, none)]));
    system.wait_complete();
    for _ in 0..3 {
        // Three readers have no disk; the others have read by the time that the machine is ended.
        system.expect("block", "disk unavailable");
    }
    let log = system.end();
    lane.check(&log);

    assert_eq!(log.check_reads(&[(2, good), (3, damaged)]), 4 * 3);
    let mut places: Vec<_> = log
        .all("block", "partition")
        .filter(|line| line.get("first_block").is_some())
        .map(|line| (line.get("client").unwrap(), line.number("first_block").unwrap(), line.get("table").unwrap()))
        .collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            ("by-guid", 4096, "primary"),
            ("by-name", 4096, "primary"),
            ("by-type", 4096, "primary"),
            ("damaged", 4096, "backup"),
        ]
    );
    let damaged: Vec<_> = log
        .all("block", "partition table damaged")
        .map(|line| (line.number("nsid").unwrap(), line.get("table").unwrap(), line.get("reason").unwrap()))
        .collect();
    assert!(damaged.contains(&(3, "primary", "places")), "{damaged:?}");
    let mut reasons: Vec<_> =
        log.all("block", "no disk").map(|line| (line.get("client").unwrap(), line.get("reason").unwrap())).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [("missing", "no-such-partition"), ("none", "no-partition-table"), ("several", "several-such-partitions")]
    );
}

#[test]
fn the_example_charter_is_good() {
    let build = qemu::harness::build(&qemu::harness::root().join("examples/blockcheck.toml"));
    assert!(build.unwrap_or_else(|error| panic!("{error}")).warnings.problems().is_empty());
}

/// The plan that a checker says that it follows.
fn plan(log: &Log, client: &str) -> Plan {
    let line = log.one(client, "started");
    let number = |key| line.number(key).unwrap();
    Plan {
        seed: number("seed"),
        blocks: number("blocks"),
        blocks_max: number("blocks_max") as u32,
        flush_every: number("flush_every") as u32,
        mix: Mix {
            write: number("write") as u32,
            durable: number("durable") as u32,
            discard: number("discard") as u32,
            zeroes: number("zeroes") as u32,
        },
    }
}

#[test]
fn what_is_written_is_on_the_disk_and_nothing_else_has_changed() {
    written(Lane::Brokered);
}

#[test]
fn what_is_written_is_on_the_disk_behind_an_iommu() {
    written(Lane::BrokeredBehindIommu);
}

/// Nobody reads the driver's commands there: that nothing else has changed, the block server alone sees to.
#[test]
fn what_is_written_is_on_the_disk_on_the_direct_lane() {
    written(Lane::Direct);
}

fn written(lane: Lane) {
    let bench = Bench::named_on_lane(lane, "written");
    let path = bench.disk("disk.img", 16 * MEBIBYTE);
    let before = fs::read(&path).unwrap();
    let written =
        Namespace { contents: Contents::File { path: path.clone(), write: true }, ..Namespace::file(2, &path) };
    let mut system = bench.boot(&bench.machine([written]));
    system.wait_complete();
    // The modest one may be the first.
    for client in ["greedy", "modest"] {
        system.expect(client, "done");
    }
    let log = system.end();
    lane.check(&log);

    for client in ["greedy", "modest"] {
        let done = log.one(client, "done");
        assert_eq!((done.number("errors"), done.number("failed")), (Ok(0), Ok(0)), "{done}");
        assert!(done.number("verified").unwrap() > 100, "{done}");
        println!("{client}: {done}");
    }
    // With 32 operations of up to 32 KiB under way, the greedy one did not keep the modest one, with one of up to 2 KiB,
    // from going on.
    let meanwhile = log.events().iter().take_while(|line| !line.is("greedy", "done"));
    let issued = meanwhile.filter(|line| line.is("modest", "flushed")).map(|line| line.number("issued").unwrap()).max();
    println!("modest: had issued {issued:?} when the greedy one was done");
    assert!(issued.is_some_and(|issued| issued >= 50), "{issued:?}");

    let after = fs::read(&path).unwrap();
    for (client, first) in [("greedy", 2048), ("modest", 8192)] {
        let plan = plan(&log, client);
        let last = log.one(client, "started").number("requests").unwrap() as u32;
        let wrong: Vec<_> = Judge::new(plan, last, last).disk(&after[first * 512..], 512).collect();
        assert_eq!(wrong, [], "{client}");
    }
    for (first, last) in [(0, 2048), (6144, 8192), (12288, 16384), (16394, 32768)] {
        assert!(before[first * 512..last * 512] == after[first * 512..last * 512], "blocks {first} to {last} changed");
    }
    assert!(before[16384 * 512..16386 * 512] == after[16384 * 512..16386 * 512]);
    let copied: Vec<u8> = (0..4096_u32).map(|index| (index as u8).wrapping_mul(31) ^ 0x5a).collect();
    assert_eq!(after[16386 * 512..][..4096], copied);
    let done: Vec<_> = log.all("copies", "done").filter_map(|line| line.get("name")).collect();
    assert_eq!(done, ["open", "copy"]);

    let refused: Vec<_> = log
        .all("reads-only", "refused")
        .map(|line| (line.get("name").unwrap().to_owned(), line.get("error").unwrap().to_owned()))
        .collect();
    let expected = [
        ("version", "version"),
        ("early", "restarted"),
        ("write", "denied"),
        ("discard", "denied"),
        ("zeroes", "denied"),
        ("beyond", "invalid"),
        ("window", "invalid"),
        ("load", "denied"),
        ("shutdown", "denied"),
    ];
    assert_eq!(refused, expected.map(|(name, error)| (name.to_owned(), error.to_owned())));
    let done: Vec<_> = log.all("reads-only", "done").filter_map(|line| line.get("name")).collect();
    assert_eq!(done, ["open", "batch"]);
}
