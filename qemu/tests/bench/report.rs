//! The table that `make bench` shows, and its verdict.

use std::fs;

use qemu::harness::bare_directory;
use qemu::serial::Event;

use crate::budgets::Budgets;
use crate::counter::Counts;

/// How much more than its budget an operation may cost.
const TOLERANCE: f64 = 1.01;
/// How far half of the repetitions may be above the least, where the device's time plays a part.
const SPREAD: f64 = 1.01;
/// How far the counts from inside and from outside may be apart.
const AGREEMENT: f64 = 0.01;
/// Instructions around each measured loop that are in one count and not in the other.
const AROUND: f64 = 200.0;
/// Instructions with which an interrupt ends a halt: they run, and inside they are taken for a part of the halt.
const WAKING: f64 = 90.0;

/// One operation.
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it costs: the least of the repetitions.
    pub cost: f64,
    /// Half of the repetitions cost no more.
    pub median: f64,
    /// The most of the repetitions.
    pub most: f64,
    /// The rest, an iteration, where it is an operation that was counted from outside.
    counts: Option<Split>,
}

/// Counts of one iteration.
struct Split {
    user: f64,
    kernel: f64,
    system_calls: f64,
    interrupts: f64,
    mmio_writes: f64,
    copied: f64,
}

/// Why a row cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum Unbelievable {
    /// The log line does not tell what it should.
    #[error("the row `{row}` has no number {key}")]
    Incomplete {
        /// The line.
        row: String,
        /// What it lacks.
        key: &'static str,
    },
    /// Repetitions do not agree.
    #[error("{name}: repetitions cost from {least:.1} to {most:.1}, half of them up to {median:.1}")]
    Differ {
        /// The row.
        name: String,
        /// The least.
        least: f64,
        /// Half of them.
        median: f64,
        /// The most.
        most: f64,
    },
    /// Inside and outside do not agree.
    #[error("{name}: {inside:.1} instructions counted inside, {outside:.1} outside")]
    Disagree {
        /// The row.
        name: String,
        /// Instructions by the time-stamp counter, halted time subtracted.
        inside: f64,
        /// Instructions that QEMU executed.
        outside: f64,
    },
}

impl Row {
    /// From the log line of a bench task, and what was counted outside for each repetition.
    ///
    /// # Errors
    /// If the two do not agree.
    pub fn new(row: &Event, repetitions: &[Counts]) -> Result<Self, Unbelievable> {
        let number = |key: &'static str| {
            let text = row.get(key).and_then(|text| text.parse::<f64>().ok());
            text.ok_or_else(|| Unbelievable::Incomplete { row: row.to_string(), key })
        };
        let (cost, median, most) = (number("instructions")?, number("median")?, number("most")?);
        let (iterations, around) = (number("iterations")?, number("loop_instructions")?);
        let name = row.get("name").unwrap_or_default().to_owned();
        let each = |count: fn(&Counts) -> u64| {
            let least = repetitions.iter().map(count).min().unwrap_or(0);
            least as f64 / iterations
        };
        let (inside, outside) = (cost + around, each(|counts| counts.user + counts.kernel));
        // A signal is measured up to the receiver's first instruction, not until it waits again.
        let apart = AGREEMENT * outside + AROUND / iterations + WAKING * each(|counts| counts.interrupts);
        if name != "signal-wake" && (inside - outside).abs() > apart {
            return Err(Unbelievable::Disagree { name, inside, outside });
        }
        let counts = Split {
            user: each(|counts| counts.user),
            kernel: each(|counts| counts.kernel),
            system_calls: each(|counts| counts.system_calls),
            interrupts: each(|counts| counts.interrupts),
            mmio_writes: each(|counts| counts.mmio_writes),
            copied: each(|counts| counts.copied),
        };
        Ok(Self { name, cost, median, most, counts: Some(counts) })
    }

    /// A number of the whole run.
    pub fn single(name: &str, cost: f64) -> Self {
        Self { name: name.to_owned(), cost, median: cost, most: cost, counts: None }
    }

    /// Writes to device registers an iteration.
    pub fn mmio_writes(&self) -> f64 {
        self.counts.as_ref().map_or(0.0, |counts| counts.mmio_writes)
    }

    /// Bytes that were copied an iteration.
    pub fn copied(&self) -> f64 {
        self.counts.as_ref().map_or(0.0, |counts| counts.copied)
    }

    /// Checks that repetitions agree: all of them, or, where the device's time plays a part, half of them to 1 %.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(&self, exact: bool) -> Result<(), Unbelievable> {
        let agree = if exact { self.most <= self.cost } else { self.median <= self.cost * SPREAD };
        let (name, least, median, most) = (self.name.clone(), self.cost, self.median, self.most);
        if agree { Ok(()) } else { Err(Unbelievable::Differ { name, least, median, most }) }
    }
}

/// The rows of one bench so far.
pub struct Report {
    bench: String,
    budgets: Budgets,
    lines: Vec<String>,
    json: Vec<serde_json::Value>,
    broken: Vec<String>,
}

impl Report {
    /// No rows yet.
    pub fn new(bench: &str, budgets: Budgets) -> Self {
        Self { bench: bench.to_owned(), budgets, lines: Vec::new(), json: Vec::new(), broken: Vec::new() }
    }

    /// Adds a row and holds it to its budget.
    pub fn add(&mut self, row: Row) {
        let Some(budget) = self.budgets.remove(&row.name) else {
            self.broken.push(format!("{} costs {:.1} and has no budget", row.name, row.cost));
            return;
        };
        let mut verdict = match budget.wanted {
            Some(wanted) if row.cost > wanted * TOLERANCE => format!("{:.1} times the wanted", row.cost / wanted),
            _ => "kept".to_owned(),
        };
        if let Some(reached) = budget.reached
            && row.cost > reached * TOLERANCE
        {
            verdict = "BROKEN".to_owned();
            self.broken.push(format!("{} costs {:.1}, its budget is {reached:.1}", row.name, row.cost));
        }
        if let (Some(counts), Some(most)) = (&row.counts, budget.mmio_writes)
            && counts.mmio_writes > most * TOLERANCE
        {
            verdict = "BROKEN".to_owned();
            self.broken.push(format!("{}: {:.3} MMIO writes, budget {most:.3}", row.name, counts.mmio_writes));
        }
        if let Some(most) = budget.copied_bytes
            && row.copied() > most * TOLERANCE
        {
            verdict = "BROKEN".to_owned();
            self.broken.push(format!("{}: {:.1} bytes copied, budget {most:.1}", row.name, row.copied()));
        }
        let or_dash = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
        let (reached, wanted) = (or_dash(budget.reached), or_dash(budget.wanted));
        let split = row.counts.as_ref().map_or_else(
            || format!("{:>9} {:>9} {:>6} {:>6} {:>6} {:>7}", "-", "-", "-", "-", "-", "-"),
            |counts| {
                format!(
                    "{:>9.1} {:>9.1} {:>6.2} {:>6.2} {:>6.2} {:>7.1}",
                    counts.user,
                    counts.kernel,
                    counts.system_calls,
                    counts.interrupts,
                    counts.mmio_writes,
                    counts.copied
                )
            },
        );
        self.lines.push(format!("{:<22} {:>12.1} {split} {reached:>12} {wanted:>12}  {verdict}", row.name, row.cost));
        let mut json = serde_json::json!({
            "name": row.name, "cost": row.cost, "median": row.median, "most": row.most, "budget": budget.reached, "wanted": budget.wanted,
            "verdict": verdict,
        });
        if let Some(counts) = row.counts {
            json["user"] = counts.user.into();
            json["kernel"] = counts.kernel.into();
            json["system_calls"] = counts.system_calls.into();
            json["interrupts"] = counts.interrupts.into();
            json["mmio_writes"] = counts.mmio_writes.into();
            json["copied_bytes"] = counts.copied.into();
        }
        self.json.push(json);
    }

    /// Shows the table, writes it as JSON, and fails if a budget is broken or has no row.
    pub fn finish(self) {
        println!(
            "{:<22} {:>12} {:>9} {:>9} {:>6} {:>6} {:>6} {:>7} {:>12} {:>12}  verdict",
            self.bench, "cost", "user", "kernel", "calls", "irqs", "mmio", "copied", "budget", "wanted"
        );
        for line in &self.lines {
            println!("{line}");
        }
        let path = bare_directory().join(format!("bench-{}.json", self.bench));
        fs::write(&path, serde_json::json!({ "bench": self.bench, "rows": self.json }).to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let idle: Vec<_> = self.budgets.keys().collect();
        assert!(idle.is_empty(), "budgets without a row: {idle:?}");
        assert!(self.broken.is_empty(), "over budget by more than 1 %: {}", self.broken.join("; "));
    }
}
