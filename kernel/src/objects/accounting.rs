//! Who has had the processor for how long.
//!
//! Time goes to the task whose address space is loaded, in counts of the time-stamp counter, looked at only where that
//! changes, and only if the charter lets a task ask: otherwise nobody pays for it. What the kernel does for a task, or
//! for an interrupt that struck it, counts as the task's; halting counts as nobody's.

use super::{Objects, TaskId};

/// To whom time goes, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    is_kept: bool,
    task: Option<TaskId>,
    since: u64,
}

impl Account {
    /// To nobody.
    pub const fn new() -> Self {
        Self { is_kept: false, task: None, since: 0 }
    }
}

impl Objects {
    /// Has accounts kept from now on: somebody may ask.
    pub fn keep_accounts(&mut self) {
        self.account.is_kept = true;
    }

    /// Whether accounts are kept.
    #[inline(always)]
    pub fn keeps_accounts(&self) -> bool {
        self.account.is_kept
    }

    /// From now on, time goes to this task.
    #[cold]
    pub fn charge(&mut self, next: TaskId, now: u64) {
        let Account { task, since, .. } = self.account;
        self.account = Account { task: Some(next), since: now, ..self.account };
        if let Some(last) = task {
            self.task_mut(last).time += now.wrapping_sub(since);
        }
    }

    /// The processor was halted from `start` to `end`, which counts as nobody's time.
    pub fn skip(&mut self, start: u64, end: u64) {
        if let Some(task) = self.account.task {
            self.charge(task, start);
        }
        self.account.since = end;
    }

    /// Counts up to now what the task that runs has used.
    pub fn charge_current(&mut self, now: u64) {
        if let Some(task) = self.account.task {
            self.charge(task, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_who_has_the_processor_and_halting_to_nobody() {
        let mut objects = Objects::new();
        objects.keep_accounts();
        let [a, b] = [0, 1].map(|index| TaskId::new(index).unwrap());
        objects.skip(3, 5);
        objects.charge(a, 10);
        objects.charge(b, 25);
        objects.charge(a, 31);
        objects.skip(40, 1000);
        objects.charge(b, 1002);
        objects.charge_current(1003);
        assert!(objects.keeps_accounts());
        assert_eq!((objects.task(a).time, objects.task(b).time), (15 + 9 + 2, 6 + 1));
    }
}
