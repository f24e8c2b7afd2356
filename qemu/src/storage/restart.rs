//! Tasks that are killed under load: the driver, which its clients see as a delay, and the block server, which they are
//! told of once.

use std::fs;
use std::thread;
use std::time::Duration;

use blockcheck::crash::Judge;
use blockcheck::plan::{Mix, Plan};

use super::charter::{Check, Stack, charter};
use super::tally::Tally;
use crate::harness::{Bench, Log};
use crate::lane::Lane;
use crate::nvme::{Contents, Namespace};
use crate::random::Random;
use crate::serial::Event;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// The NVMe driver.
    Driver,
    /// The block server.
    BlockServer,
}

const BLOCK_BYTES: usize = 512;
const DISK_BYTES: u64 = 4 << 20;

/// Kills by commands at the console, and a supervisor that restarts what was killed.
const SUPERVISION: &str = r#"
[tasks.supervisor]
program = "supervisor"
priority = 40
stack = "32 KiB"
[tasks.supervisor.grants]
nvme = { supervise = "nvme" }
block = { supervise = "block" }
log = { log = "supervisor" }

[tasks.console]
program = "console"
priority = 6
stack = "32 KiB"
[tasks.console.grants]
console = { console = "serial" }
kill-nvme = { kill = "nvme" }
kill-block = { kill = "block" }
"#;

fn check(name: &'static str, namespace: u32, seed: u64) -> Check {
    let mix = Mix { write: 50, durable: 5, discard: 5, zeroes: 5 };
    let plan = Plan { seed: seed >> 1, blocks: 2048, blocks_max: 16, flush_every: 32, mix };
    Check { name, namespace, first_block: 1000, plan, depth: 8, requests: 4000 }
}

/// Two disks are written, and the task is killed so often meanwhile.
///
/// # Panics
/// If it does not come back, a client is told of an error, or a disk is not, from outside, what was written.
pub fn run(seed: u64, killed: Killed, times: u64, lane: Lane) -> Tally {
    println!("restart: SEED={seed:#x} killed={killed:?} times={times} lane={lane:?}");
    let mut random = Random::new(seed);
    let checks = [check("one", 2, random.number()), check("two", 3, random.number())];
    let stack = Stack { suffix: "", pci: None, timeout_seconds: 30, request_seconds: None, checks: checks.to_vec() };
    let bench = Bench::on_lane(lane, &(charter(&[stack]) + SUPERVISION));
    let disks = [bench.disk("one.img", DISK_BYTES), bench.disk("two.img", DISK_BYTES)];
    let before = disks.each_ref().map(|disk| fs::read(disk).expect("the disk is read"));
    let namespaces = [2, 3].into_iter().zip(&disks).map(|(nsid, disk)| {
        let contents = Contents::File { path: disk.clone(), write: true };
        Namespace { contents, ..Namespace::file(nsid, disk) }
    });
    let mut system = bench.boot(&bench.machine(namespaces));
    for check in &checks {
        system.expect(check.name, "flushed");
    }
    let (task, command) = match killed {
        Killed::Driver => ("nvme", "kill nvme\r"),
        Killed::BlockServer => ("block", "kill block\r"),
    };
    for _ in 0..times {
        thread::sleep(Duration::from_millis(random.below(40)));
        system.type_text(command);
        let restarted = |line: &Event| line.is("supervisor", "restarted") && line.get("task") == Some(task);
        system.expect_next_where(&format!("{task} is restarted"), restarted);
        match killed {
            Killed::Driver => system.expect_next("block", "driver back"),
            Killed::BlockServer => system.expect_next("block", "ready"),
        };
    }
    for check in &checks {
        system.expect(check.name, "done");
    }
    let log = system.end();
    lane.check(&log);
    let mut tally = Tally { boots: 1, ..Tally::default() };
    checks.iter().for_each(|check| tally.whole_run(&log, check));
    assert_eq!(tally.failed, 0, "clients see no error");
    judge(&log, killed, times);
    for ((check, before), disk) in checks.iter().zip(&before).zip(&disks) {
        let after = fs::read(disk).expect("the disk is read");
        let first = check.first_block as usize * BLOCK_BYTES;
        let end = first + check.plan.blocks as usize * BLOCK_BYTES;
        let wrong: Vec<_> =
            Judge::new(check.plan, check.requests, check.requests).disk(&after[first..end], BLOCK_BYTES).collect();
        assert_eq!(wrong, [], "{}", check.name);
        assert!(before[..first] == after[..first] && before[end..] == after[end..], "other blocks have changed");
    }
    let kind = match killed {
        Killed::Driver => "driver killed",
        Killed::BlockServer => "block server killed",
    };
    tally.with(kind, times)
}

/// What the log tells of recovery.
fn judge(log: &Log, killed: Killed, times: u64) {
    let restarts = |name| log.one(name, "done").number("restarts").unwrap_or_else(|error| log.fail(&error.to_string()));
    let told = ["one", "two"].map(restarts);
    match killed {
        Killed::Driver => {
            assert_eq!(told, [0, 0]);
            let away = log.all("block", "driver away").chain(log.all("block", "driver back"));
            let requests: u64 = away.map(|line| line.number("requests").expect("requests are counted")).sum();
            // Of a few it may be that none met the driver at work.
            assert!(requests > 0 || times < 12, "the driver never had a request");
        }
        Killed::BlockServer => {
            assert!(told.iter().all(|told| (1..=times).contains(told)), "told {told:?} times of {times} restarts");
        }
    }
    for problem in ["controller failed", "completion unexpected", "controller reset"] {
        assert_eq!(log.all("nvme", problem).count(), 0, "{problem}");
    }
    assert_eq!(log.all("block", "driver lost").count(), 0);
}
