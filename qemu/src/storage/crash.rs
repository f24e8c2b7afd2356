//! A crash under load: QEMU is killed at a random point, and what a power failure there, or at points before, could have
//! left on the disk is judged.
//!
//! A killed QEMU loses nothing, because the host keeps what was written; and the record is written in the order in which
//! the disk finished. So to kill QEMU at a point and to read the record up to that point give the same, and one run has
//! as many crash points as one looks at it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use blockcheck::pattern::Generation;
use blockcheck::plan::{Mix, Plan};

use super::charter::{Check, Stack, charter};
use super::consistency::{Cut, Problem, Recorded};
use super::tally::Tally;
use crate::faults::FaultyDisk;
use crate::harness::Bench;
use crate::lane::Lane;
use crate::nvme::Namespace;
use crate::power_loss::Loss;
use crate::random::Random;
use crate::serial::Event;
use crate::write_log::WriteLog;

const DISK_BYTES: u64 = 8 << 20;

fn check(random: &mut Random) -> Check {
    let mix = Mix { write: 60, durable: 0, discard: 3, zeroes: 3 };
    // Blocks of two sizes would do the same; small ranges are written over more often.
    let blocks = random.between(1000, 6000);
    let plan = Plan { seed: random.number() >> 1, blocks, blocks_max: 16, flush_every: 24, mix };
    Check { name: "check", namespace: 2, first_block: random.between(1, 9000), plan, depth: 8, requests: 0 }
}

/// Boots a system, looks at it at `points` random moments, kills it at the last of them, and judges every disk that it
/// could have left.
///
/// # Panics
/// If the system does not come up, or the judge would not have noticed one that flushes nothing.
pub fn run(seed: u64, points: usize, lane: Lane) -> Tally {
    println!("crash: SEED={seed:#x} points={points} lane={lane:?}");
    let mut random = Random::new(seed);
    let (recorded, cuts) = record(&mut random, points, lane);
    let problems = recorded.judge(&cuts, &mut random);
    problems.iter().for_each(|problem| println!("SEED={seed:#x}: {problem}"));
    // The same run, as if no flush had reached the disk: so the above could have failed.
    let requests = cuts.last().map_or(0, |cut| cut.durable.into());
    let deaf = Recorded { log: recorded.log.without_flushes(), ..recorded };
    let lost = |problem: &Problem| matches!(problem, Problem::Lost { .. });
    assert!(deaf.judge(&cuts, &mut random).iter().any(lost), "SEED={seed:#x}: the judge notices nothing");
    let points = cuts.len() as u64;
    let disks_judged = points * Loss::ALL.len() as u64;
    let crashes_unsound = u64::from(!problems.is_empty());
    Tally { requests, boots: 1, crash_points: points, disks_judged, crashes_unsound, ..Tally::default() }
        .with("kill", 1)
}

fn record(random: &mut Random, points: usize, lane: Lane) -> (Recorded, Vec<Cut>) {
    let check = check(random);
    let stack =
        Stack { suffix: "", pci: None, timeout_seconds: 30, request_seconds: None, checks: vec![check.clone()] };
    let bench = Bench::on_lane(lane, &charter(&[stack]));
    let disk = bench.disk("disk.img", DISK_BYTES);
    let before = fs::read(&disk).expect("the disk that was just made");
    let log = bench.path("writes.log");
    let contents = FaultyDisk::new(&disk).recorded(&log).contents();
    let mut machine = bench.machine([Namespace { contents, ..Namespace::file(2, &disk) }]);
    machine.further.extend(FaultyDisk::arguments());
    let mut system = bench.boot(&machine);
    let is_flushed = |event: &Event| event.is(check.name, "flushed");
    system.expect_where("a flush", is_flushed);
    let mut cuts = Vec::new();
    for _ in 1..points {
        thread::sleep(Duration::from_millis(random.between(5, 300)));
        let line = system.latest_where(is_flushed);
        // The record is looked at last: what was claimed before stands in it.
        cuts.push(Cut { durable: durable(line.as_ref()), log_bytes: length(&log) });
    }
    thread::sleep(Duration::from_millis(random.between(5, 300)));
    let serial = system.kill();
    cuts.push(Cut { durable: durable(serial.all(check.name, "flushed").last()), log_bytes: length(&log) });
    for problem in ["wrong", "request failed", "stopped"] {
        if serial.all(check.name, problem).next().is_some() {
            serial.fail(&format!("{} says `{problem}`", check.name));
        }
    }
    lane.check(&serial);
    let log = WriteLog::read(&log).unwrap_or_else(|error| panic!("{error}"));
    let Check { plan, first_block, .. } = check;
    (Recorded { before, log, plan, first_block, block_bytes: 512 }, cuts)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("the record is there").len()
}

/// What a line `flushed` claims.
fn durable(line: Option<&Event>) -> Generation {
    line.and_then(|line| line.number("generation").ok()).expect("a line that says what is durable") as Generation
}
