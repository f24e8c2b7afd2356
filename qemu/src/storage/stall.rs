//! A device that does not answer in time: its requests end as such, once; the controller is made to answer again, and
//! what is on the disk is right afterwards.

use std::thread;
use std::time::Duration;

use blockcheck::plan::{Mix, Plan};

use super::charter::{Check, Stack, charter};
use super::tally::Tally;
use crate::faults::FaultyDisk;
use crate::harness::Bench;
use crate::lane::Lane;
use crate::nvme::Namespace;
use crate::random::Random;

fn check(name: &'static str, namespace: u32, seed: u64) -> Check {
    let mix = Mix { write: 50, durable: 5, discard: 5, zeroes: 5 };
    let plan = Plan { seed: seed >> 1, blocks: 2048, blocks_max: 16, flush_every: 32, mix };
    Check { name, namespace, first_block: 1000, plan, depth: 8, requests: 6000 }
}

/// One of two disks stands still under load for longer than the driver waits, as often as said.
///
/// # Panics
/// If the controller does not come back, or a request fails otherwise.
pub fn run(seed: u64, times: u64, lane: Lane) -> Tally {
    println!("stall: SEED={seed:#x} times={times} lane={lane:?}");
    let mut random = Random::new(seed);
    let checks = [check("one", 2, random.number()), check("two", 3, random.number())];
    let stack = Stack { suffix: "", pci: None, timeout_seconds: 2, request_seconds: None, checks: checks.to_vec() };
    let bench = Bench::on_lane(lane, &charter(&[stack]));
    let disks = [bench.disk("one.img", 4 << 20), bench.disk("two.img", 4 << 20)];
    let namespaces = [2, 3]
        .into_iter()
        .zip(&disks)
        .map(|(nsid, disk)| Namespace { contents: FaultyDisk::new(disk).contents(), ..Namespace::file(nsid, disk) });
    let mut system = bench.boot(&bench.machine(namespaces));
    for check in &checks {
        system.expect(check.name, "flushed");
    }
    for _ in 0..times {
        thread::sleep(Duration::from_millis(random.between(20, 200)));
        let throttle = |system: &mut crate::harness::System, limit| {
            let control = system.running().control().unwrap_or_else(|error| panic!("{error}"));
            control.throttle("nvme0-ns2", limit).unwrap_or_else(|error| panic!("{error}"));
        };
        // At one byte a second a block takes minutes.
        throttle(&mut system, Some(1));
        system.expect_next("nvme", "controller reset");
        system.expect_next("nvme", "controller ready after reset");
        throttle(&mut system, None);
        system.expect_next("one", "flushed");
    }
    for check in &checks {
        system.expect(check.name, "done");
    }
    let log = system.end();
    lane.check(&log);
    let mut tally = Tally { boots: 1, ..Tally::default() };
    checks.iter().for_each(|check| tally.whole_run(&log, check));
    assert!(tally.failed > 0, "what stood still was told");
    for problem in ["controller failed", "completion unexpected"] {
        assert_eq!(log.all("nvme", problem).count(), 0, "{problem}");
    }
    for line in checks.iter().flat_map(|check| log.all(check.name, "request failed")) {
        assert!(matches!(line.get("error"), Some("timed-out" | "interrupted")), "{line}");
    }
    tally.with("stall", times)
}
