//! A controller that vanishes or dies under load: its driver says so, its clients are told, and the system lives on: a
//! second controller goes on being read and written.

use blockcheck::plan::{Mix, Plan};

use super::charter::{Check, Stack, charter};
use super::tally::Tally;
use crate::faults::FaultyDisk;
use crate::harness::{Bench, Log};
use crate::lane::Lane;
use crate::nvme::{Controller, Namespace, Place};
use crate::qmp::{Client, QmpError};
use crate::random::Random;
use crate::removal::{self, Ones};

/// How the controller is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its registers read as ones, then it is pulled out.
    Ones,
    /// It is pulled out, and its registers read as zeroes.
    Pulled,
    /// It cannot reach memory any more.
    Deaf,
}

impl Loss {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Ones, Self::Pulled, Self::Deaf];

    fn happen(self, ones: &Ones, control: &mut Client) -> Result<(), QmpError> {
        let controller = Controller::identifier(1);
        match self {
            Self::Ones => ones.cover(control, &controller).and_then(|()| removal::pull(control, "port1")),
            Self::Pulled => removal::pull(control, "port1"),
            Self::Deaf => removal::deafen(control, &controller),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ones => "unplug (ones)",
            Self::Pulled => "unplug (zeroes)",
            Self::Deaf => "bus mastering off",
        }
    }
}

fn check(name: &'static str, namespace: u32, requests: u32, seed: u64) -> Check {
    let mix = Mix { write: 50, durable: 5, discard: 5, zeroes: 5 };
    let plan = Plan { seed: seed >> 1, blocks: 2048, blocks_max: 16, flush_every: 32, mix };
    Check { name, namespace, first_block: 1000, plan, depth: 8, requests }
}

/// Boots two controllers, each with a client at work, loses one of them, and waits until its client has been told and
/// the other one's has done all its work.
///
/// # Panics
/// If the driver or the client is not told, or the other client is.
pub fn run(seed: u64, loss: Loss, lane: Lane) -> (Tally, Log) {
    println!("unplug: SEED={seed:#x} {loss:?} lane={lane:?}");
    let mut random = Random::new(seed);
    let stays = check("stays", 2, 4000, random.number());
    let goes = check("goes", 1, 0, random.number());
    let stacks = [
        Stack { suffix: "", pci: Some("0000:01:00.0"), timeout_seconds: 2, request_seconds: None, checks: vec![goes] },
        Stack {
            suffix: "-b",
            pci: Some("0000:00:08.0"),
            timeout_seconds: 30,
            request_seconds: None,
            checks: vec![stays.clone()],
        },
    ];
    let bench = Bench::on_lane(lane, &charter(&stacks));
    let disks = [bench.disk("goes.img", 4 << 20), bench.disk("stays.img", 4 << 20)];
    let of = |nsid, index: usize| Namespace {
        contents: FaultyDisk::new(&disks[index]).contents(),
        ..Namespace::file(nsid, &disks[index])
    };
    let ones = Ones::new().unwrap_or_else(|error| panic!("{error}"));
    let mut machine = bench.machine([of(2, 1)]);
    machine.controllers[0].place = Place::Slot(8);
    machine.controllers.push(Controller { place: Place::RootPort, ..Controller::new("charter-1") }.with(of(1, 0)));
    machine.further.extend(removal::arguments());
    machine.further.extend(ones.arguments());
    let mut system = bench.boot(&machine);
    system.expect("goes", "flushed");
    system.expect("stays", "flushed");
    let control = system.running().control().unwrap_or_else(|error| panic!("{error}"));
    loss.happen(&ones, control).unwrap_or_else(|error| panic!("{error}"));
    system.expect("goes", "stopped");
    system.expect("stays", "done");
    let log = system.end();
    lane.check(&log);

    let mut tally = Tally { boots: 1, ..Tally::default() };
    tally.whole_run(&log, &stays);
    assert_eq!(tally.failed, 0, "the other controller is well: {}", log.one("stays", "done"));
    let stopped = log.one("goes", "stopped");
    assert_eq!((stopped.get("error"), stopped.get("by")), (Some("gone"), Some("server")), "{stopped}");
    for line in log.all("goes", "request failed") {
        assert!(matches!(line.get("error"), Some("gone" | "interrupted" | "timed-out")), "{line}");
    }
    assert_eq!(log.all("goes", "wrong").count(), 0);
    assert_eq!(log.all("kernel", "task stopped").count(), 0, "everybody lives");
    log.one("nvme", "device gone");
    (tally.with(loss.name(), 1), log)
}
