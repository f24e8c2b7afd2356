//! Faults made on purpose in the driver, while a disk is written and verified through it: by a task that the charter lets
//! kill the driver, in a kernel with the feature `test-faults`.
//!
//! Looked at from inside by `blockcheck`, which knows what each block must read as and counts what ended, and from outside
//! by the disk's file, of which nothing may change but the blocks that the driver is granted to write, and by the machine's
//! memory, of which no page may change that nobody may write ([`Still`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use blockcheck::plan::{Mix, Plan};

use super::charter::{Check, Stack, charter};
use crate::guest::Still;
use crate::harness::{Bench, LIMIT, Log};
use crate::lane::Lane;
use crate::nvme::Namespace;
use crate::random::Random;
use crate::serial::Event;

const DISK_BYTES: u64 = 8 << 20;
const BLOCK_BYTES: u64 = 512;
/// Faults that one boot makes, at most.
const FAULTS_A_BOOT: u64 = 80;
/// And what it is asked for at least: on a fast machine the disk's work is done before all of its faults are made, but
/// not before the first of so many.
const FAULTS_A_BOOT_MIN: u64 = 24;

/// A class of faults, by the injector's name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The driver is stopped at once.
    Kill,
    /// It is stopped some instructions later.
    KillLater,
    /// Interrupts do not reach it.
    DropInterrupts,
    /// It is told of interrupts that did not come.
    RepeatInterrupt,
    /// It goes round without end.
    Loop,
    /// It waits for what never comes.
    WaitForEver,
    /// A bit of its variables or stack changes.
    FlipMemory,
    /// A bit of its code changes.
    FlipCode,
    /// A bit of a register changes.
    FlipRegister,
    /// A bit of a message that it sends changes.
    CorruptMessage,
}

impl Class {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::KillLater,
        Self::DropInterrupts,
        Self::RepeatInterrupt,
        Self::Loop,
        Self::WaitForEver,
        Self::FlipMemory,
        Self::FlipCode,
        Self::FlipRegister,
        Self::CorruptMessage,
    ];

    /// Its name, in the injector's settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillLater => "kill-later",
            Self::DropInterrupts => "drop-interrupts",
            Self::RepeatInterrupt => "repeat-interrupt",
            Self::Loop => "loop",
            Self::WaitForEver => "wait-for-ever",
            Self::FlipMemory => "flip-memory",
            Self::FlipCode => "flip-code",
            Self::FlipRegister => "flip-register",
            Self::CorruptMessage => "corrupt-message",
        }
    }

    /// So many operations take about as long as the time from one fault to the next.
    const fn requests_a_fault(self) -> u64 {
        if self.is_fail_stop() { 400 } else { 800 }
    }

    /// Whether the driver stops, or is late, but never says what is not so: then no client may notice more than a delay.
    /// A changed bit can make it say and order what is wrong and yet within its grants.
    pub const fn is_fail_stop(self) -> bool {
        !matches!(self, Self::FlipMemory | Self::FlipCode | Self::FlipRegister | Self::CorruptMessage)
    }
}

/// What came of the faults of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Machines booted.
    pub boots: u64,
    /// Faults that were made while the disk was in use.
    pub injected: u64,
    /// Times that the driver was restarted.
    pub restarts: u64,
    /// Operations that ended.
    pub requests: u64,
    /// Blocks that were not what they should be.
    pub wrong: u64,
    /// Operations whose client was told of an error.
    pub failed: u64,
    /// Operations that never ended, or ended twice.
    pub miscounted: u64,
    /// Boots in which the disk could not be used to the end.
    pub hung: u64,
    /// Boots in which the kernel panicked.
    pub panics: u64,
    /// Blocks changed on the disk that the driver is not granted to write.
    pub outside: u64,
    /// Pages of memory that were written and that nobody may write.
    pub memory: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        let Self { boots, injected, restarts, requests, wrong, failed, miscounted, hung, panics, outside, memory } =
            other;
        self.boots += boots;
        self.injected += injected;
        self.restarts += restarts;
        self.requests += requests;
        self.wrong += wrong;
        self.failed += failed;
        self.miscounted += miscounted;
        self.hung += hung;
        self.panics += panics;
        self.outside += outside;
        self.memory += memory;
    }

    /// Whether the kernel stood and nothing was written outside the driver's grant: what holds for every fault. On the
    /// direct lane the whole disk is granted.
    pub fn is_contained(&self, lane: Lane) -> bool {
        (self.panics, self.memory) == (0, 0) && (self.outside == 0 || lane == Lane::Direct)
    }

    /// Whether clients noticed nothing but a delay, besides.
    pub fn is_transparent(&self) -> bool {
        let Self { wrong, failed, miscounted, hung, .. } = self;
        self.is_contained(Lane::Brokered) && (*wrong, *failed, *miscounted, *hung) == (0, 0, 0, 0)
    }
}

/// Counts by class.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub BTreeMap<Class, Count>);

impl Counts {
    /// Adds what came of a class.
    pub fn add(&mut self, class: Class, count: &Count) {
        self.0.entry(class).or_default().add(count);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "injected", "restarts", "requests", "wrong", "failed", "lost", "hung", "panics", "disk", "memory", "boots",
        ];
        write!(f, "{:<17}", "faults")?;
        names.iter().try_for_each(|name| write!(f, "{name:>9}"))?;
        for (class, count) in &self.0 {
            let Count { boots, injected, restarts, requests, wrong, failed, miscounted, hung, panics, outside, memory } =
                count;
            write!(f, "\n{:<17}", class.name())?;
            let numbers =
                [injected, restarts, requests, wrong, failed, miscounted, hung, panics, outside, memory, boots];
            numbers.iter().try_for_each(|number| write!(f, "{number:>9}"))?;
        }
        Ok(())
    }
}

/// Makes so many faults of a class, in as many boots as it takes.
///
/// # Panics
/// If a system does not come up, or no fault can be made.
pub fn run(class: Class, seed: u64, faults: u64, lane: Lane) -> Count {
    let mut total = Count::default();
    let mut random = Random::new(seed);
    while total.injected < faults {
        let seed = random.number() >> 1;
        let before = total.injected;
        let faults = (faults - total.injected).clamp(FAULTS_A_BOOT_MIN, FAULTS_A_BOOT);
        total.add(&boot(class, seed, faults, lane));
        assert!(total.injected > before, "{} SEED={seed:#x}: no fault was made", class.name());
    }
    total
}

/// One boot, which its seed decides, but for time.
///
/// # Panics
/// If the system does not come up.
pub fn boot(class: Class, seed: u64, faults: u64, lane: Lane) -> Count {
    println!("injection: class={} SEED={seed:#x} faults={faults} lane={lane:?}", class.name());
    let mut random = Random::new(seed);
    let mix = Mix { write: 50, durable: 5, discard: 3, zeroes: 3 };
    let plan = Plan { seed: random.number() >> 1, blocks: 4000, blocks_max: 16, flush_every: 24, mix };
    let requests = (faults * class.requests_a_fault()) as u32;
    let first_block = random.between(1, 9000);
    let check = Check { name: "check", namespace: 2, first_block, plan, depth: 8, requests };
    let stack =
        Stack { suffix: "", pci: None, timeout_seconds: 1, request_seconds: Some(8), checks: vec![check.clone()] };
    let text = charter(&[stack]) + &injector(class, random.number() >> 1, faults);
    let bench = Bench::with_test_faults(&lane.charter(&text)).for_lane(lane);
    let disk = bench.disk("disk.img", DISK_BYTES);
    let before = fs::read(&disk).expect("the disk that was just made");
    let machine = bench.machine([Namespace::file(2, &disk)]);
    let mut system = bench.boot_for(&machine, LIMIT);
    let (mut lines, mut still) = (Vec::new(), None);
    let ended = loop {
        let Ok(line) = system.running().next_line("the end of the check") else { break false };
        let event = Event::parse(&line).ok();
        let over = |event: &Event| {
            let is_check = event.get("task") == Some(check.name);
            event.is(check.name, "done") || (event.is("kernel", "task stopped") && is_check)
        };
        let is_over = event.as_ref().is_some_and(over);
        if event.is_some_and(|event| event.is("supervisor", "watching")) {
            let control = system.running().control().expect("the control socket");
            still = Some(Still::take(control, machine.memory.bytes(), "nvme").expect("the guest's memory"));
        }
        let panicked = line.starts_with("kernel: panic");
        lines.push(line);
        if is_over || panicked {
            break is_over;
        }
    };
    let log = Log::new(lines);
    if let Some(path) = std::env::var_os("INJECTION_LOG") {
        fs::write(path, log.lines().join("\n")).expect("the log is written");
    }
    let memory = match (&still, system.running().control()) {
        (Some(still), Ok(control)) => {
            assert!(still.pages() > 10_000, "most of the memory is nobody's");
            still.changed(control).expect("the guest's memory")
        }
        _ => panic!("the supervisor did not start:\n{}", log.lines().join("\n")),
    };
    drop(system.kill());
    let after = fs::read(&disk).expect("the disk");
    let outside = outside(&before, &after, &check);
    let count = Count { memory: memory.len() as u64, ..count(&log, &check, ended, outside) };
    memory.iter().for_each(|page| println!("injection: page {page:#x} was written"));
    if !count.is_transparent() {
        println!("injection: class={} SEED={seed:#x}: {count:?}", class.name());
        tell(&log, &check);
    }
    count
}

/// What matters of a log in which something went wrong.
fn tell(log: &Log, check: &Check) {
    let matters = |line: &&String| {
        line.starts_with("kernel: panic") || line.starts_with("supervisor: gave") || line.starts_with(check.name)
    };
    let flushed = format!("{}: flushed", check.name);
    log.lines().iter().filter(matters).filter(|line| !line.starts_with(&flushed)).for_each(|line| println!("  {line}"));
}

fn count(log: &Log, check: &Check, ended: bool, outside: u64) -> Count {
    let panics = u64::from(log.lines().iter().any(|line| line.starts_with("kernel: panic")));
    let mut count = Count {
        boots: 1,
        injected: log.all("injector", "fault").count() as u64,
        restarts: log.all("kernel", "task restarted").count() as u64,
        panics,
        outside,
        ..Count::default()
    };
    let done = log.all(check.name, "done").last();
    let number = |key| done.and_then(|line| line.number(key).ok()).unwrap_or(0);
    match done {
        Some(_) => {
            count.requests = number("requests");
            count.miscounted = number("requests").abs_diff(check.ended());
            count.wrong = number("errors");
            count.failed = number("failed");
        }
        // Stopped with an error, or never heard of again.
        None => count.hung = u64::from(!ended || panics == 0),
    }
    count
}

/// Blocks that changed and are none of the check's.
fn outside(before: &[u8], after: &[u8], check: &Check) -> u64 {
    let own = check.first_block..check.first_block + check.plan.blocks;
    let blocks = before.chunks(BLOCK_BYTES as usize).zip(after.chunks(BLOCK_BYTES as usize)).enumerate();
    let changed = blocks.filter(|(block, (before, after))| before != after && !own.contains(&(*block as u64)));
    changed.count() as u64 + before.len().abs_diff(after.len()) as u64
}

/// Who restarts the driver, and who makes faults in it.
fn injector(class: Class, seed: u64, faults: u64) -> String {
    // A bit that changes may be a failure of the driver each time, and the supervisor gives up one that fails too often.
    let pause = if class.is_fail_stop() { 60 } else { 120 };
    format!(
        r#"
[tasks.supervisor]
program = "supervisor"
priority = 50
stack = "32 KiB"
[tasks.supervisor.grants]
nvme = {{ supervise = "nvme", limit = 16, within = "1 s", back_off = "1 ms", give_up = "degrade", heartbeat = "1 s" }}
block = {{ supervise = "block" }}
log = {{ log = "supervisor" }}

[tasks.injector]
program = "injector"
priority = 45
settings = {{ seed = "{seed}", fault = "{}", faults = "{faults}", begin_milliseconds = "50", pause_milliseconds = "{pause}" }}
[tasks.injector.grants]
victim = {{ kill = "nvme" }}
log = {{ log = "injector" }}
"#,
        class.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        let mix = Mix { write: 50, durable: 5, discard: 3, zeroes: 3 };
        let plan = Plan { seed: 1, blocks: 2, blocks_max: 1, flush_every: 24, mix };
        Check { name: "check", namespace: 2, first_block: 1, plan, depth: 8, requests: 1 }
    }

    #[test]
    fn only_the_checks_blocks_may_change() {
        let before = vec![0; 4 * 512];
        for (block, expected) in [(0, 1), (1, 0), (2, 0), (3, 1)] {
            let mut after = before.clone();
            after[block * 512 + 7] = 1;
            assert_eq!(outside(&before, &after, &check()), expected, "block {block}");
        }
        assert!(outside(&before, &before[1..], &check()) > 0);
    }

    #[test]
    fn what_went_wrong_is_counted() {
        let log = |lines: &[&str]| Log::new(lines.iter().map(|line| (*line).to_owned()).collect());
        let done = |requests: u64| format!("check: done requests={requests} bytes=0 errors=0 failed=0 verified=1");
        let ended = check().ended();
        let good = count(&log(&["injector: fault number=1", &done(ended)]), &check(), true, 0);
        assert!(good.is_transparent() && good.injected == 1);
        assert_eq!(count(&log(&[&done(ended - 1)]), &check(), true, 0).miscounted, 1);
        assert_eq!(count(&log(&["check: flushed generation=1 issued=2"]), &check(), false, 0).hung, 1);
        let panicked = count(&log(&["kernel: panic x"]), &check(), false, 0);
        assert!(panicked.panics == 1 && !panicked.is_contained(Lane::Direct));
        let elsewhere = count(&log(&[&done(ended)]), &check(), true, 3);
        assert!(!elsewhere.is_contained(Lane::BrokeredBehindIommu) && elsewhere.is_contained(Lane::Direct));
    }
}
