//! What operations cost in guest instructions, against the budgets in `qemu/bench/budgets.toml`.
//!
//! Under `-icount` an instruction is a fixed number of time-stamp ticks, so the counts are the same on any machine and
//! a budget is no timing. `make bench` shows the table.

use std::collections::BTreeMap;
use std::fs;

use qemu::harness::{Bench, root};
use qemu::machine::InstructionCount;

/// How much more than its budget an operation may cost.
const TOLERANCE: f64 = 1.01;

#[test]
fn messages_keep_to_their_budgets() {
    check("messages");
}

/// Boots the charter `qemu/bench/NAME.toml` and compares its rows with the budgets of that name.
fn check(name: &str) {
    let folder = root().join("qemu/bench");
    let text = fs::read_to_string(folder.join("budgets.toml")).expect("the budgets are read");
    let budgets: BTreeMap<String, BTreeMap<String, f64>> = toml::from_str(&text).expect("the budgets are TOML");
    let budgets = &budgets[name];

    let bench = Bench::build(&folder.join(format!("{name}.toml")));
    let mut machine = bench.machine([]);
    machine.instruction_count = Some(InstructionCount { shift: 6, sleep: true });
    let log = bench.boot(&machine).complete();

    println!("{:<20} {:>12} {:>10}  verdict", "operation", "instructions", "budget");
    let mut broken = Vec::new();
    let mut seen = 0;
    for row in log.all("bench", "row") {
        let operation = row.text("name").expect("a row has a name");
        let cost: f64 = row.text("instructions").expect("a row has a cost").parse().expect("a cost is a number");
        let budget = *budgets.get(operation).unwrap_or_else(|| log.fail(&format!("{operation} has no budget")));
        let kept = cost <= budget * TOLERANCE;
        println!("{operation:<20} {cost:>12.1} {budget:>10.1}  {}", if kept { "kept" } else { "BROKEN" });
        if !kept {
            broken.push(operation);
        }
        seen += 1;
    }
    assert_eq!(seen, budgets.len(), "every budget has its row");
    assert!(broken.is_empty(), "over budget by more than 1 %: {broken:?}");
}
