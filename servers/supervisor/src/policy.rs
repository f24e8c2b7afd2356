//! Whether a task that has stopped is restarted, and when.
//!
//! Restarts are counted over a time that goes along: at most so many within it, each later one of them after a longer
//! wait. So a task that fails at once, again and again, takes ever less of the processor, and is given up in the end.

use heapless::Deque;
use task::abi::supervision::{GiveUp, RESTARTS_MAX, Restart};

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// What to do about a task that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Restart it at this time, in nanoseconds.
    Restart(u64),
    /// Do this instead.
    GiveUp(GiveUp),
}

/// A task's policy, and what of it is used up.
#[derive(Clone, Debug)]
pub struct Policy {
    restart: Restart,
    /// When it was restarted within the time, the oldest first.
    restarts: Deque<u64, { RESTARTS_MAX as usize }>,
    /// When its dependants were restarted with it last.
    escalated: Option<u64>,
}

impl Policy {
    /// Nothing of it is used up.
    pub fn new(restart: Restart) -> Self {
        Self { restart, restarts: Deque::new(), escalated: None }
    }

    /// Most restarts within the time.
    pub fn limit(&self) -> u8 {
        self.restart.limit
    }

    /// How many restarts there were within the time, when last looked.
    pub fn used(&self) -> usize {
        self.restarts.len()
    }

    fn within(&self) -> u64 {
        u64::from(self.restart.within) * MILLISECOND
    }

    /// Forgets restarts that are longer ago than the time.
    fn forget(&mut self, now: u64) {
        while self.restarts.front().is_some_and(|restart| now.saturating_sub(*restart) >= self.within()) {
            self.restarts.pop_front();
        }
    }

    /// The task has failed.
    pub fn failed(&mut self, now: u64) -> Decision {
        self.forget(now);
        let used = self.restarts.len();
        if used >= usize::from(self.restart.limit.min(RESTARTS_MAX)) {
            return Decision::GiveUp(self.give_up(now));
        }
        // None before the first one; the shift is at most RESTARTS_MAX.
        let wait = match used.checked_sub(1) {
            None => 0,
            Some(earlier) => (u64::from(self.restart.back_off) * MILLISECOND) << earlier,
        };
        Decision::Restart(now.saturating_add(wait.min(self.within())))
    }

    /// What is left to do. Dependants are restarted once within the time.
    fn give_up(&mut self, now: u64) -> GiveUp {
        match self.restart.give_up {
            GiveUp::RestartDependants
                if self.escalated.is_some_and(|then| now.saturating_sub(then) < self.within()) =>
            {
                GiveUp::Degrade
            }
            GiveUp::RestartDependants if self.restart.limit > 0 => {
                self.escalated = Some(now);
                self.restarts.clear();
                GiveUp::RestartDependants
            }
            GiveUp::RestartDependants => GiveUp::Degrade,
            other => other,
        }
    }

    /// The task runs again after it failed.
    pub fn restarted(&mut self, now: u64) {
        self.forget(now);
        // There is room: no restart is decided on where there is none.
        let _ = self.restarts.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn policy(limit: u8, give_up: GiveUp) -> Policy {
        Policy::new(Restart { limit, within: 1000, back_off: 10, give_up })
    }

    #[test]
    fn the_first_restart_is_at_once_and_each_later_one_waits_longer_until_it_is_given_up() {
        let mut policy = policy(4, GiveUp::Reboot);
        let mut now = 5;
        for wait in [0, 10, 20, 40] {
            assert_eq!(policy.failed(now), Decision::Restart(now + wait * MILLISECOND));
            now += wait * MILLISECOND;
            policy.restarted(now);
        }
        assert_eq!(policy.failed(now), Decision::GiveUp(GiveUp::Reboot));
    }

    #[test]
    fn a_task_that_has_run_well_for_the_time_is_restarted_at_once_again() {
        let mut policy = policy(1, GiveUp::Degrade);
        policy.restarted(0);
        assert_eq!(policy.failed(999 * MILLISECOND), Decision::GiveUp(GiveUp::Degrade));
        assert_eq!(policy.failed(1000 * MILLISECOND), Decision::Restart(1000 * MILLISECOND));
    }

    #[test]
    fn dependants_are_restarted_once_within_the_time() {
        let mut policy = policy(1, GiveUp::RestartDependants);
        policy.restarted(0);
        assert_eq!(policy.failed(1), Decision::GiveUp(GiveUp::RestartDependants));
        policy.restarted(1);
        assert_eq!(policy.failed(2), Decision::GiveUp(GiveUp::Degrade));
        policy.restarted(2000 * MILLISECOND);
        assert_eq!(policy.failed(2001 * MILLISECOND), Decision::GiveUp(GiveUp::RestartDependants));
    }

    #[test]
    fn a_limit_of_none_is_never() {
        assert_eq!(policy(0, GiveUp::Degrade).failed(0), Decision::GiveUp(GiveUp::Degrade));
        assert_eq!(policy(0, GiveUp::RestartDependants).failed(0), Decision::GiveUp(GiveUp::Degrade));
    }

    proptest! {
        /// However and whenever a task fails, in no stretch of the time is it restarted more often than allowed, and
        /// the waits leave the processor to others.
        #[test]
        fn no_crash_loop_restarts_more_often_than_the_charter_allows(
            limit in 1..=RESTARTS_MAX,
            within in 1..100_000u32,
            back_off in 1..10_000u32,
            runs in prop::collection::vec(0..50_000u64, 1..200),
        ) {
            let mut policy = Policy::new(Restart { limit, within, back_off, give_up: GiveUp::Degrade });
            let (mut now, mut restarts) = (0, Vec::new());
            for run in runs {
                now += run * MILLISECOND;
                match policy.failed(now) {
                    Decision::Restart(at) => {
                        prop_assert!(at >= now && at - now <= u64::from(within) * MILLISECOND);
                        now = at;
                        policy.restarted(now);
                        restarts.push(now);
                    }
                    // It stays stopped, until somebody restarts it by hand much later.
                    Decision::GiveUp(_) => now += u64::from(within) * MILLISECOND,
                }
            }
            for stretch in restarts.windows(usize::from(limit) + 1) {
                prop_assert!(stretch[usize::from(limit)] - stretch[0] >= u64::from(within) * MILLISECOND);
            }
        }
    }
}
