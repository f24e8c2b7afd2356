//! Errors of the device: the client whose request it was is told, with the device's status; nobody else is, and the
//! service goes on.

use blockcheck::plan::{Action, Mix, Plan};

use super::charter::{Check, Stack, charter};
use super::tally::Tally;
use crate::faults::{FaultyDisk, InjectedError, Request};
use crate::harness::{Bench, Log};
use crate::lane::Lane;
use crate::nvme::Namespace;
use crate::random::Random;

const MIX: Mix = Mix { write: 50, durable: 5, discard: 0, zeroes: 15 };
/// Status code type and status code as QEMU gives them: Write Fault and Unrecovered Read Error (NVM Command Set 1.0,
/// section 1.4.2 of the media errors).
const WRITE_FAULT: (u64, u64) = (0x2, 0x80);
const READ_ERROR: (u64, u64) = (0x2, 0x81);
/// How many failed requests blockcheck tells one by one.
const TOLD: usize = 16;

fn check(name: &'static str, namespace: u32, seed: u64) -> Check {
    let plan = Plan { seed: seed >> 1, blocks: 512, blocks_max: 16, flush_every: 24, mix: MIX };
    Check { name, namespace, first_block: 3000, plan, depth: 8, requests: 500 }
}

/// A kind of request that fails where it touches a block.
struct Place {
    request: Request,
    operation: &'static str,
    wanted: fn(Action) -> bool,
    status: (u64, u64),
    block: u64,
}

/// For each kind a block that its operations touch a few times.
fn places(check: &Check, random: &mut Random) -> [Place; 3] {
    let mut place = |request, operation, status, wanted: fn(Action) -> bool| {
        let often = |block: &u64| (2..=4).contains(&check.touching(*block, wanted).count());
        let from = random.below(check.plan.blocks);
        let block = (from..check.plan.blocks).chain(0..from).find(often);
        let block = block.expect("500 operations touch some block of 512 so often");
        Place { request, operation, wanted, status, block }
    };
    [
        place(Request::Read, "read", READ_ERROR, |action| action == Action::Read),
        place(Request::Write, "write", WRITE_FAULT, |action| matches!(action, Action::Write { .. })),
        place(Request::WriteZeroes, "write-zeroes", WRITE_FAULT, |action| action == Action::WriteZeroes),
    ]
}

/// Two clients on two disks, of which the first one's fails: one read, one write, one write of zeroes and one flush, or
/// all flushes and everything of the kind that touches a certain block.
///
/// # Panics
/// If others fail, or with another status, or the second client is told of an error.
pub fn run(seed: u64, once: bool, lane: Lane) -> Tally {
    println!("errors: SEED={seed:#x} once={once} lane={lane:?}");
    let mut random = Random::new(seed);
    let (one, two) = (check("one", 2, random.number()), check("two", 3, random.number()));
    let places = places(&one, &mut random);
    let errors = places.iter().map(|place| InjectedError::always(place.request).at(one.first_block + place.block));
    let errors = errors.chain([InjectedError::always(Request::Flush)]);
    let errors = errors.map(|error| if once { error.once() } else { error });
    let checks = vec![one.clone(), two.clone()];
    let bench = Bench::on_lane(
        lane,
        &charter(&[Stack { suffix: "", pci: None, timeout_seconds: 30, request_seconds: None, checks }]),
    );
    let disks = [bench.disk("one.img", 4 << 20), bench.disk("two.img", 4 << 20)];
    let contents = FaultyDisk::new(&disks[0]).failing(errors).contents();
    let healthy = FaultyDisk::new(&disks[1]).contents();
    let mut system = bench.boot(&bench.machine([
        Namespace { contents, ..Namespace::file(2, &disks[0]) },
        Namespace { contents: healthy, ..Namespace::file(3, &disks[1]) },
    ]));
    system.expect("one", "done");
    system.expect("two", "done");
    let log = system.end();
    lane.check(&log);

    let mut tally = Tally { boots: 1, ..Tally::default() };
    tally.whole_run(&log, &two);
    assert_eq!(tally.failed, 0, "the second disk has no errors: {}", log.one("two", "done"));
    tally.whole_run(&log, &one);
    for problem in ["controller reset", "controller failed", "completion unexpected"] {
        assert_eq!(log.all("nvme", problem).count(), 0, "{problem}");
    }
    let mut expected = 0;
    for place in &places {
        let meet = one.touching(place.block, place.wanted).count();
        // Reading everything back meets the bad block once more.
        let count = if once { 1 } else { meet + usize::from(place.operation == "read") };
        let told = told(&log, place.operation, place.status, Some(place.block));
        assert!(told <= count, "{} of {count} requests: {}", place.operation, log.one("one", "done"));
        assert!(!once || told == 1, "{}: {told} failed", place.operation);
        expected += count as u64;
        tally = tally.with(place.operation, count as u64);
    }
    let flushes = if once { 1 } else { (one.requests / one.plan.flush_every) as usize + 1 };
    assert!(told(&log, "flush", WRITE_FAULT, None) <= flushes);
    // A flush is claimed exactly if one succeeded.
    assert_eq!(log.all("one", "flushed").next().is_some(), once);
    expected += flushes as u64;
    assert_eq!(tally.failed, expected, "{}", log.one("one", "done"));
    assert_eq!(log.all("one", "request failed").count(), TOLD.min(expected as usize));
    tally.with("flush", flushes as u64)
}

/// How many requests of the first client were told to have failed; each has this status and touches this block.
fn told(log: &Log, operation: &str, (kind, code): (u64, u64), block: Option<u64>) -> usize {
    let lines = log.all("one", "request failed").filter(|line| line.get("operation") == Some(operation));
    lines
        .inspect(|line| {
            assert_eq!(line.get("error"), Some("device"), "{line}");
            assert_eq!((line.number("status_type"), line.number("status_code")), (Ok(kind), Ok(code)), "{line}");
            let [first, blocks] = ["lba", "blocks"].map(|key| line.number(key).expect("every such line has it"));
            assert!(block.is_none_or(|block| (first..first + blocks).contains(&block)), "{line} touches no bad block");
        })
        .count()
}
