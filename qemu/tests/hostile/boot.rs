//! One boot with both, and what is to be seen of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use hostile::pattern;
use qemu::guest::GuestMemory;
use qemu::harness::{Bench, LIMIT, Log, System, root};
use qemu::lane::Lane;
use qemu::machine::Machine;
use qemu::nvme::{Contents, Controller, Namespace, Place};
use qemu::qmp::Client;

use super::table::{Attempt, BROKERED, CLIENT, Expected};

const MEBIBYTE: u64 = 1 << 20;
/// Where address spaces are looked for.
pub const LOW_BYTES: u64 = 64 << 20;
/// What the canary fills its memory with; as the charter says.
const SALT: u64 = 0xca_9a21;
/// Bytes of its array.
const STACK_BYTES: usize = 8 * 1024;

/// A running system, and the disks of the honest and of the hostile driver.
pub struct Hostile {
    pub system: System,
    honest: PathBuf,
    /// Of the hostile driver: namespaces 2 and 3.
    prey: [PathBuf; 2],
    before: [Vec<u8>; 2],
    _bench: Bench,
}

impl Hostile {
    /// Boots the charter, with a change, on a machine with both controllers, which is changed as well.
    pub fn boot(change: impl FnOnce(String) -> String, alter: impl FnOnce(&mut Machine)) -> Self {
        let text = fs::read_to_string(root().join("qemu/tests/charters/hostile.toml")).unwrap();
        let bench = Bench::from_text(&change(text));
        let honest = bench.disk("honest.img", 16 * MEBIBYTE);
        let prey = ["prey.img", "foreign.img"].map(|name| bench.disk(name, 8 * MEBIBYTE));
        let before = prey.each_ref().map(|path| fs::read(path).unwrap());
        let mut machine = bench.machine([Namespace::file(2, &honest)]);
        machine.controllers[0].place = Place::Slot(8);
        let mut second = Controller::new("charter-1");
        second.place = Place::Slot(9);
        for (nsid, path) in [(2, &prey[0]), (3, &prey[1])] {
            let contents = Contents::File { path: path.clone(), write: true };
            second.namespaces.push(Namespace { contents, ..Namespace::file(nsid, path) });
        }
        machine.controllers.push(second);
        alter(&mut machine);
        Self { system: bench.boot_for(&machine, 3 * LIMIT), honest, prey, before, _bench: bench }
    }

    /// Everybody else is as he was: served after the end as before, with correct data; no memory but the driver's own
    /// was changed, no task stopped, no block from `writable` on of the driver's disk changed, nor any of the one that it
    /// is not granted.
    pub fn nobody_was_harmed(self, writable: usize) -> Log {
        let before = self.before.clone();
        let (log, [prey, foreign]) = self.others_were_not_harmed();
        let start = writable * 512;
        assert!(prey[start..] == before[0][start..], "no block was written that is not granted for it");
        assert!(foreign == before[1], "the namespace that is not granted was not written");
        let stopped: Vec<_> = log.all("kernel", "task stopped").collect();
        assert!(stopped.is_empty(), "{stopped:?}");
        log
    }

    /// As [`Self::nobody_was_harmed`], where the driver is granted the whole of its disks, which are given too.
    pub fn others_were_not_harmed(mut self) -> (Log, [Vec<u8>; 2]) {
        for _ in 0..2 {
            self.system.expect_next("block", "read");
        }
        let control = self.system.running().control().unwrap();
        control.pause().unwrap();
        canaries_live(control);
        let log = self.system.end();
        assert!(log.check_reads(&[(2, &self.honest)]) >= 4);
        assert_eq!(log.all("kernel", "log full").count(), 0, "the kernel's own lines are all there");
        (log, self.prey.map(|path| fs::read(path).unwrap()))
    }
}

/// The canary's memory, in a region of DMA memory and on its stack, read from outside.
fn canaries_live(control: &mut Client) {
    let page_table = control.register("CR3").unwrap();
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let spaces = memory.tasks(page_table).unwrap();
    let canary = spaces.iter().find(|space| space.task == "canary").expect("the canary's address space");
    let mut windows = 0;
    for window in canary.windows() {
        let bytes = memory.contents(window).unwrap();
        assert_eq!(pattern::wrong_in(&bytes, SALT), 0, "words of DMA memory that were changed");
        windows += bytes.len();
    }
    assert_eq!(windows, 512 << 10);
    // What a task is told of its windows is not what holds it to them.
    if let Some(client) = spaces.iter().find(|space| space.task == "client") {
        let writable = client.windows().filter(|window| window.rights.writable).count();
        assert_eq!(
            (client.windows().count(), writable),
            (1, 0),
            "windows that are granted for reading, and can be written"
        );
    }
    let first = pattern::word(SALT, 0).to_le_bytes();
    let mut found = 0;
    for mapping in canary.user().filter(|mapping| mapping.rights.writable) {
        let bytes = memory.contents(mapping).unwrap();
        let starts = (0..bytes.len().saturating_sub(STACK_BYTES - 1)).step_by(8);
        for start in starts.filter(|start| bytes[*start..].starts_with(&first)) {
            found += usize::from(pattern::wrong_in(&bytes[start..][..STACK_BYTES], SALT) == 0);
        }
    }
    assert!(found >= 3, "the canary's array and both windows are whole: {found}");
}

/// Each attempt of this table has its answer, and none has another, or is missing.
pub fn check<'a>(log: &Log, component: &str, attempts: impl IntoIterator<Item = &'a Attempt>) {
    let mut answers = BTreeMap::<&str, Vec<_>>::new();
    // What is blocked is not answered.
    for line in log.all(component, "attempt").filter(|line| line.get("answer").is_some()) {
        let reason = line.get("reason").map(|_| line.number("reason").unwrap());
        answers.entry(line.text("name").unwrap()).or_default().push((line.text("answer").unwrap().to_owned(), reason));
    }
    let mut wrong = Vec::new();
    for Attempt { name, expected, .. } in attempts {
        let found = answers.remove(name).unwrap_or_default();
        if found.iter().any(|answer| *answer != expected.logged()) || found.is_empty() {
            wrong.push(format!("{name}: {found:?} instead of {:?}", expected.logged()));
        }
    }
    wrong.extend(answers.iter().map(|(name, found)| format!("{name}: {found:?}, and no line in the table")));
    if !wrong.is_empty() {
        log.fail(&format!("{component}:\n{}", wrong.join("\n")));
    }
}

/// The kernel told of everything that the broker refused, under the culprit's name.
fn check_told(log: &Log) {
    for Attempt { name, expected, .. } in BROKERED {
        let because = match expected {
            Expected::Broker(reason) | Expected::Register(reason) if reason.error() != abi::Error::Busy => {
                reason.to_string()
            }
            _ => continue,
        };
        let told = log.all("dma", "command refused").filter(|line| {
            line.get("task") == Some("driver")
                && line.get("device") == Some("prey")
                && line.text("because") == Ok(&because)
        });
        let times: Vec<_> = told.map(|line| line.number("times").unwrap()).collect();
        assert!(times.first() == Some(&1) && times.is_sorted(), "{name}: `{because}` is told {times:?} times");
    }
}

/// The kernel told of what it refused itself, on any lane, and of nobody but the culprits.
pub fn check_told_of_calls(log: &Log) {
    let times = |task: &str, call: &str, error: &str| -> Vec<_> {
        let lines = log.all("kernel", "call refused").filter(|line| {
            (line.get("task"), line.get("call"), line.get("error")) == (Some(task), Some(call), Some(error))
        });
        lines.map(|line| line.number("times").unwrap()).collect()
    };
    for call in [
        "Call",
        "Signal",
        "Log",
        "DeviceDirect",
        "DeviceRead",
        "DeviceSubmit",
        "ConsoleRead",
        "Inspect",
        "Power",
        "Supervise",
        "Kill",
        "ReplyReceive",
    ] {
        assert_eq!(times("driver", call, "denied"), [1, 16], "{call}");
    }
    assert_eq!(times("driver", "Reply", "invalid"), [1, 16, 256]);
    assert_eq!(times("client", "DeviceWrite", "denied"), [1, 16]);
    let culprits = log.all("kernel", "call refused").chain(log.all("dma", "command refused"));
    for line in culprits {
        // The block server's answer to a call whose deadline had passed came too late.
        let is_late = (line.get("task"), line.get("call")) == (Some("block"), Some("ReplyReceive"));
        assert!(is_late || matches!(line.get("task"), Some("driver" | "client")), "only they are told of: {line}");
    }
}

#[test]
fn everything_that_a_hostile_driver_and_client_try_is_answered_as_the_table_says() {
    everything(Lane::Brokered);
}

/// The broker answers first: the IOMMU has nothing left to block.
#[test]
fn everything_is_answered_as_the_table_says_behind_an_iommu() {
    everything(Lane::BrokeredBehindIommu);
}

fn everything(lane: Lane) {
    let mut hostile = Hostile::boot(|text| text, |machine| lane.change(machine));
    for component in ["driver", "client"] {
        hostile.system.expect_from(component, "attempts done");
    }
    let log = hostile.nobody_was_harmed(0);
    lane.check(&log);
    check(&log, "driver", BROKERED);
    check(&log, "client", CLIENT);
    check_told(&log);
    check_told_of_calls(&log);
    // Both went on while the reader was served.
    let events: Vec<_> = log.events().iter().collect();
    let place = |component: &str, event: &str| events.iter().position(|line| line.is(component, event)).unwrap();
    let (first, last) = (place("driver", "attempt"), place("driver", "attempts done"));
    let meanwhile = events[first..last].iter().filter(|line| line.is("block", "read")).count();
    assert!(meanwhile >= 2, "{meanwhile} reads while the driver tried");
}
