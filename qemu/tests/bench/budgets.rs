//! The budgets: `qemu/bench/budgets.toml`.

use std::collections::BTreeMap;
use std::fs;

use qemu::harness::root;

/// The budgets of one bench, by row.
pub type Budgets = BTreeMap<String, Budget>;

/// What a row may cost.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What was reached: more than 1 % above it fails. Without it the row is shown only: it is not ours.
    pub reached: Option<f64>,
    /// What is wanted.
    pub wanted: Option<f64>,
    /// Writes to device registers an iteration that were reached.
    pub mmio_writes: Option<f64>,
    /// Bytes copied an iteration that were reached: of messages, for data is never copied.
    pub copied_bytes: Option<f64>,
}

/// Reads the budgets of this bench.
pub fn read(name: &str) -> Budgets {
    let text = fs::read_to_string(root().join("qemu/bench/budgets.toml")).expect("the budgets are read");
    let mut all: BTreeMap<String, Budgets> = toml::from_str(&text).expect("the budgets are as `Budget` says");
    all.remove(name).expect("the bench has budgets")
}
