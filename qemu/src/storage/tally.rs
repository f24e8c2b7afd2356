//! What was done in scenarios, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;

use super::charter::Check;
use crate::harness::Log;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations that ended.
    pub requests: u64,
    /// Those of them that were not done, and whose clients were told why.
    pub failed: u64,
    /// Blocks that were compared with what they should be, and were.
    pub verified: u64,
    /// Machines that were booted.
    pub boots: u64,
    /// Faults injected, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Points at which a run was cut.
    pub crash_points: u64,
    /// Disks that a power failure there could have left, and that were judged.
    pub disks_judged: u64,
}

impl Tally {
    /// Counts faults.
    #[must_use]
    pub fn with(mut self, kind: &'static str, count: u64) -> Self {
        *self.faults.entry(kind).or_default() += count;
        self
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        let Self { requests, failed, verified, boots, faults, crash_points, disks_judged } = other;
        self.requests += requests;
        self.failed += failed;
        self.verified += verified;
        self.boots += boots;
        self.crash_points += crash_points;
        self.disks_judged += disks_judged;
        for (kind, count) in faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// Takes in a whole run.
    ///
    /// # Panics
    /// If a request was lost or ended twice, or a block was wrong.
    pub fn whole_run(&mut self, log: &Log, check: &Check) {
        let done = log.one(check.name, "done");
        let number = |key| done.number(key).unwrap_or_else(|error| log.fail(&error.to_string()));
        if number("requests") != check.ended() {
            log.fail(&format!("{} requests should have ended: `{done}`", check.ended()));
        }
        if number("errors") != 0 || log.all(check.name, "wrong").next().is_some() {
            log.fail(&format!("wrong blocks: `{done}`"));
        }
        self.requests += number("requests");
        self.failed += number("failed");
        self.verified += number("verified");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failed, verified, boots, faults, crash_points, disks_judged } = self;
        writeln!(f, "machines booted            {boots}")?;
        writeln!(f, "requests done              {requests}")?;
        writeln!(f, "  told that they failed    {failed}")?;
        writeln!(f, "blocks verified            {verified}")?;
        writeln!(f, "crash points               {crash_points}")?;
        writeln!(f, "  disks judged             {disks_judged}")?;
        writeln!(f, "faults injected            {}", faults.values().sum::<u64>())?;
        faults.iter().try_for_each(|(kind, count)| writeln!(f, "  {kind:<24} {count}"))
    }
}
