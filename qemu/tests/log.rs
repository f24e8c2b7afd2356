//! The log says who wrote a line, and nobody can drown it.

use qemu::harness::{Bench, Log};
use qemu::nvme::Namespace;

const MEBIBYTE: u64 = 1 << 20;

/// Boots the system with the flooding task, and runs it until that task has ended.
fn flooded() -> (Bench, std::path::PathBuf, Log) {
    let bench = Bench::new("flood");
    let disk = bench.disk("disk.img", 16 * MEBIBYTE);
    let mut system = bench.boot(&bench.machine([Namespace::file(2, &disk)]));
    system.expect("flood", "flood done");
    let log = system.end();
    (bench, disk, log)
}

#[test]
fn no_task_forges_or_breaks_lines() {
    let (_bench, _disk, log) = flooded();
    let forged = log.lines().iter().filter(|line| line.contains("tasks=99"));
    let forgeries = forged.inspect(|line| assert!(line.starts_with("flood: "), "{line:?}")).count();
    assert_eq!(forgeries, 13, "every forgery arrived, under its writer's name");
    assert!(log.lines().iter().all(|line| line.bytes().all(|byte| matches!(byte, b' '..=b'~'))));
    let since = log.lines().iter().position(|line| line.starts_with("charter: starting")).unwrap();
    for line in &log.lines()[since..] {
        let known = ["charter: ", "clock: ", "kernel: ", "dma: ", "crash: ", "nvme: ", "block: ", "flood: "];
        assert!(known.iter().any(|component| line.starts_with(component)), "{line:?}");
    }
    let raw = log.all("flood", "raw").find(|line| line.get("denied").is_some()).expect("what raw calls were answered");
    assert_eq!((raw.number("denied"), raw.number("invalid")), (Ok(101), Ok(5)), "{raw}");
}

#[test]
fn no_task_drowns_the_lines_of_others() {
    let (_bench, disk, log) = flooded();
    assert_eq!(log.one("charter", "boot complete").number("tasks"), Ok(4));
    let done = log.one("flood", "flood done");
    let (accepted, dropped) = (done.number("accepted").unwrap(), done.number("dropped").unwrap());
    assert_eq!(accepted + dropped, 10_000);
    assert!(accepted < 2000, "{accepted} lines at once");
    assert!(log.all("kernel", "log limited").count() > 0, "the kernel tells that it dropped lines");
    assert_eq!(log.all("kernel", "log full").count(), 0, "the kernel itself lost none");
    // The heart went on reading, and its lines come through again once the flood is over.
    let reads = log.events().iter().rev().take_while(|event| !event.is("flood", "flood"));
    let reads = reads.filter(|event| event.is("block", "read")).count();
    assert!(reads >= 5, "{reads} reads in three seconds after the flood");
    log.check_reads(&[(2, &disk)]);
}
