//! Completions come by MSI-X interrupt, one by one, and nobody polls: between them the processor is halted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use qemu::harness::{Bench, root};
use qemu::machine::Trace;
use qemu::nvme::Namespace;

/// The trace lines after the controller was enabled for the last time: those of the driver, without firmware's.
fn since_enabled(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("the trace was written");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let enabled = lines.iter().rposition(|line| line.contains("pci_nvme_mmio_start_success"));
    lines[enabled.expect("the controller was enabled")..].to_vec()
}

fn count(lines: &[String], event: &str, detail: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(event) && line.contains(detail)).count()
}

#[test]
fn every_completion_has_its_interrupt() {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    let trace = bench.path("trace.log");
    let events =
        ["pci_nvme_irq_msix", "pci_nvme_irq_pin", "pci_nvme_mmio_start_success", "pci_nvme_enqueue_req_completion"];
    machine.trace = Some(Trace { events: events.map(Into::into).into(), file: trace.clone() });
    let log = bench.boot(&machine).complete();
    assert_eq!(log.check_reads(&[(2, &disk)]), 5);

    let lines = since_enabled(&trace);
    // Five reads; the one of 1 MiB is split by the controller's limit (2^7 pages) and may share interrupts.
    let (completions, interrupts) =
        (count(&lines, "pci_nvme_enqueue_req_completion", "cqid 1"), count(&lines, "pci_nvme_irq_msix", "vector 1"));
    assert_eq!(completions, 4 + 2, "{lines:#?}");
    assert!((5..=completions).contains(&interrupts), "{interrupts} interrupts for {completions} completions");
    assert_eq!(count(&lines, "pci_nvme_irq_pin", ""), 0, "no interrupt by pin");
    assert!(count(&lines, "pci_nvme_irq_msix", "vector 0") > 0, "admin completions interrupt too");
}

#[test]
fn the_processor_is_halted_when_nothing_happens() {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut system = bench.boot(&bench.machine([Namespace::file(2, &disk)]));
    system.wait_complete();
    system.running().settle(Duration::from_millis(500), |_| {});
    let identifier = system.running().identifier();
    let before = processor_time(identifier);
    let mut halted = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        halted += system.running().control().unwrap().register("HLT").unwrap();
    }
    assert!(halted >= 19, "halted in {halted} of 20 looks");
    // A second of waiting costs the host next to nothing.
    let used = processor_time(identifier) - before;
    assert!(used < 20, "{used} ticks of 10 ms");
    let _ = system.end();
}

/// The host processor time of a process so far, in clock ticks of 10 ms (proc(5), fields 14 and 15 of stat).
fn processor_time(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    let after_name = text.rsplit_once(')').expect("a name in parentheses").1;
    let field = |index: usize| after_name.split_whitespace().nth(index - 3).and_then(|value| value.parse::<u64>().ok());
    field(14).zip(field(15)).map(|(user, system)| user + system).expect("two numbers")
}
