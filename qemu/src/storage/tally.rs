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
    /// Operations that ended too few or too many: lost, or ended twice.
    pub miscounted: u64,
    /// Blocks that were not what they should be.
    pub wrong: u64,
    /// Crashes after which a disk was not as it must be.
    pub crashes_unsound: u64,
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
        let Self { requests, failed, verified, boots, faults, crash_points, disks_judged, .. } = other;
        self.miscounted += other.miscounted;
        self.wrong += other.wrong;
        self.crashes_unsound += other.crashes_unsound;
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

    /// Whether nothing was lost, ended twice, or wrong.
    pub fn is_sound(&self) -> bool {
        (self.miscounted, self.wrong, self.crashes_unsound) == (0, 0, 0)
    }

    /// Takes in a whole run.
    ///
    /// # Panics
    /// If its last line is not as blockcheck writes it.
    pub fn whole_run(&mut self, log: &Log, check: &Check) {
        let done = log.one(check.name, "done");
        let number = |key| done.number(key).unwrap_or_else(|error| log.fail(&error.to_string()));
        if number("requests") != check.ended() || number("errors") != 0 {
            println!("{} requests should have ended, and no errors: `{done}`", check.ended());
            log.all(check.name, "wrong").for_each(|line| println!("{line}"));
        }
        self.miscounted += number("requests").abs_diff(check.ended());
        self.wrong += number("errors");
        self.requests += number("requests");
        self.failed += number("failed");
        self.verified += number("verified");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failed, verified, boots, faults, crash_points, disks_judged, .. } = self;
        writeln!(f, "machines booted            {boots}")?;
        writeln!(f, "requests done              {requests}")?;
        writeln!(f, "  told that they failed    {failed}")?;
        writeln!(f, "  lost or ended twice      {}", self.miscounted)?;
        writeln!(f, "blocks verified            {verified}")?;
        writeln!(f, "  wrong                    {}", self.wrong)?;
        writeln!(f, "crash points               {crash_points}")?;
        writeln!(f, "  disks judged             {disks_judged}")?;
        writeln!(f, "  runs with a wrong disk   {}", self.crashes_unsound)?;
        writeln!(f, "faults injected            {}", faults.values().sum::<u64>())?;
        faults.iter().try_for_each(|(kind, count)| writeln!(f, "  {kind:<24} {count}"))
    }
}
