//! A driver that makes system calls and submits commands at random, as a seed says.

use std::collections::BTreeSet;

use broker::Reason as _;
use nvme_broker::Reason;
use qemu::lane::Lane;

use super::boot::Hostile;

/// What `make test` does.
const COUNT: u64 = 60_000;
/// What `make fuzz` does unless COUNT says otherwise, and how much of it in one boot, which may take only so long.
const COUNT_OF_FUZZ: u64 = 1_000_000;
const COUNT_OF_A_BOOT: u64 = 250_000;
/// Commands that the broker must accept, in hundredths: what is refused at the door says little.
const ACCEPTED: u64 = 30;
/// First block of the driver's disk that it may not write.
const WRITABLE: usize = 1024;

/// Rules that a driver cannot break by what it says, with this machine: its controller has to be in another state, or
/// another controller. They have tests on the host (`drivers/nvme/broker/tests`).
const NOT_REACHED: [Reason; 9] = [
    Reason::NotQuiesced,
    Reason::Quarantined,
    Reason::DeviceGone,
    Reason::DeviceFailed,
    Reason::UnsupportedController,
    Reason::DoorbellOutside,
    Reason::BufferTooShort,
    // QEMU is ready at once, and a namespace has metadata or none from the start.
    Reason::NotReady,
    Reason::NamespaceUnusable,
];

/// What came of one boot.
struct Fuzzed {
    calls: u64,
    submitted: u64,
    accepted: u64,
    /// The rules that refused something.
    rules: BTreeSet<u64>,
}

fn fuzz(seed: u64, count: u64, lane: Lane) -> Fuzzed {
    let settings = format!("program = \"hostile-fuzz\"\nsettings = {{ seed = \"{seed}\", count = \"{count}\" }}");
    let change = |text: String| text.replace("program = \"hostile-driver\"", &settings);
    let mut hostile = Hostile::boot(change, |machine| lane.change(machine));
    let done = hostile.system.expect("driver", "fuzz done");
    let number = |key| done.number(key).unwrap();
    let log = hostile.nobody_was_harmed(WRITABLE);
    lane.check(&log);
    let rules = log.all("driver", "rule").map(|line| line.number("reason").unwrap()).collect();
    let fuzzed = Fuzzed { calls: number("calls"), submitted: number("submitted"), accepted: number("accepted"), rules };
    println!("{done}");
    for line in log.all("driver", "rule") {
        let code = line.number("reason").unwrap();
        let reason = Reason::ALL.iter().find(|reason| u64::from(reason.code()) == code);
        println!("  refused {:>7}: {}", line.get("times").unwrap(), reason.map_or("?".into(), Reason::to_string));
    }
    for line in log.all("driver", "accepted") {
        println!("  {line}");
    }
    assert!(fuzzed.calls + fuzzed.submitted >= count, "{done}");
    assert!(fuzzed.accepted * 100 >= ACCEPTED * fuzzed.submitted, "too few commands were accepted: {done}");
    fuzzed
}

/// Codes of the rules that fuzzing has to reach.
fn reachable() -> BTreeSet<u64> {
    // A register's answer does not carry its rule's number, nor does that for completions and data.
    let silent = [Reason::RegisterNotListed, Reason::RegisterWidth, Reason::ReservedShutdown, Reason::NoData];
    let left_out = |reason: &&Reason| NOT_REACHED.contains(reason) || silent.contains(reason);
    Reason::ALL.iter().filter(|reason| !left_out(reason)).map(|reason| reason.code().into()).collect()
}

#[test]
fn random_calls_and_commands_do_no_harm() {
    few(Lane::Brokered);
}

fn few(lane: Lane) {
    let fuzzed = fuzz(1, COUNT, lane);
    let missed: Vec<_> = reachable().difference(&fuzzed.rules).copied().collect();
    assert!(missed.len() <= 12, "rules that nothing was refused by: {missed:?}");
}

/// For `make fuzz`: COUNT calls and commands from SEED on.
#[test]
#[ignore = "as long as COUNT says"]
fn many_random_calls_and_commands_do_no_harm() {
    let number = |name: &str, unless| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")),
        Err(_) => unless,
    };
    let (count, seed) = (number("COUNT", COUNT_OF_FUZZ), number("SEED", 1));
    let (mut calls, mut submitted, mut accepted, mut rules) = (0, 0, 0, BTreeSet::new());
    let mut boots = 0;
    while calls + submitted < count {
        let fuzzed = fuzz(seed + boots, COUNT_OF_A_BOOT.min(count - calls - submitted), Lane::Brokered);
        boots += 1;
        calls += fuzzed.calls;
        submitted += fuzzed.submitted;
        accepted += fuzzed.accepted;
        rules.extend(fuzzed.rules);
    }
    let missed = Reason::ALL.iter().filter(|reason| {
        let code = u64::from(reason.code());
        reachable().contains(&code) && !rules.contains(&code)
    });
    println!(
        "fuzz: seeds={seed}..{} calls={calls} submitted={submitted} accepted={accepted} ({} %) rules={} of {}",
        seed + boots,
        accepted * 100 / submitted,
        rules.len(),
        reachable().len()
    );
    missed.for_each(|reason| println!("  not reached: {reason}"));
}

mod on_every_lane {
    use super::*;

    /// What the broker lets pass is also what the IOMMU lets pass.
    #[test]
    #[ignore = "by make test-lanes"]
    fn random_calls_and_commands_behind_an_iommu() {
        few(Lane::BrokeredBehindIommu);
    }
}
