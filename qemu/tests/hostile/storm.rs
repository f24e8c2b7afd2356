//! A storm of blocked requests: a driver has its device reach outside as fast as it can. Whoever watches over it is told,
//! the reader of another disk goes on, and what the kernel spends on the storm stays a small share.

use qemu::harness::Log;
use qemu::lane::Lane;
use qemu::machine::InstructionCount;
use qemu::serial::Event;

use super::boot::Hostile;

/// Watches over the driver.
const SUPERVISOR: &str = r#"
[tasks.supervisor]
program = "supervisor"
priority = 40
stack = "32 KiB"
[tasks.supervisor.grants]
driver = { supervise = "driver" }
log = { log = "supervisor" }
"#;

/// An instruction takes 2^6 ns of the guest's clock, whatever else the host does.
const SHIFT: u8 = 6;
/// The bound of each kernel entry, in instructions.
const ENTRY: u64 = 20_000;
/// The kernel spends at most one part in so many on the storm.
const SHARE: u64 = 50;

/// The driver's last attempt of the storm.
const LAST: &str = "sweep-registers";

/// How often the reader was served from the first blocked request of the driver's device to the storm's end.
fn served_meanwhile(log: &Log) -> usize {
    let events = log.events();
    let place = |component: &str, event: &str| events.iter().position(|line| line.is(component, event)).expect(event);
    let end = |line: &Event| line.is("driver", "attempt") && line.get("name") == Some(LAST);
    let (first, last) = (place("dma", "request blocked"), events.iter().position(end).expect(LAST));
    events[first..last].iter().filter(|line| line.is("block", "read")).count()
}

#[test]
fn a_storm_of_blocked_requests_is_told_and_starves_nobody() {
    let mut hostile = Hostile::boot(
        |text| {
            let whole = text.replace("program = \"hostile-driver\"", "program = \"hostile-direct\"");
            let (others, driver) = whole.split_once("[tasks.driver]").expect("the driver's part");
            format!("{others}[tasks.driver]{}{SUPERVISOR}", Lane::Direct.charter(driver))
        },
        |machine| {
            Lane::Direct.change(machine);
            machine.instruction_count = Some(InstructionCount { shift: SHIFT, sleep: true });
        },
    );
    hostile
        .system
        .expect_where("the storm's end", |line| line.is("driver", "attempt") && line.get("name") == Some(LAST));
    let (log, _) = hostile.others_were_not_harmed();
    let commands = log.all("driver", "attempt").filter(|line| line.get("commands").is_some());
    let requests: u64 = commands.map(|line| line.number("commands").unwrap()).sum();
    assert!(requests > 65_536, "a storm of {requests}");

    // Told: the log, once for each power of two, and whoever watches over the driver as often, or once for several. The
    // driver goes on.
    let told: Vec<_> = log.all("dma", "request blocked").collect();
    assert!(told.len() <= 20, "{} lines", told.len());
    let seen: Vec<_> = log.all("supervisor", "device reached beyond its own").collect();
    assert!((2..=told.len()).contains(&seen.len()), "{seen:?}");
    assert!(seen.iter().all(|line| line.get("task") == Some("driver")), "{seen:?}");
    let counts: Vec<_> = seen.iter().map(|line| line.number("requests").unwrap()).collect();
    assert!(counts.is_sorted() && counts.last() >= Some(&64), "{counts:?}");

    // The reader goes on, and the storm costs little: all of it, and each entry of the kernel.
    let served = served_meanwhile(&log);
    assert!(served >= 8, "{served} reads during the storm");
    let cost = log.all("dma", "blocked requests looked for").last().expect("it was a storm");
    let number = |key| cost.number(key).unwrap();
    assert!(number("nanoseconds") <= number("since_boot_nanoseconds") / SHARE, "{cost}");
    let instructions = number("longest_nanoseconds") >> SHIFT;
    assert!((1..=ENTRY).contains(&instructions), "{instructions} instructions in one entry: {cost}");
}
