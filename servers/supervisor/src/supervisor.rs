//! All tasks that are watched over.

use heapless::Vec;
use task::abi::start::GRANTS_MAX;
use task::abi::supervision::{Order, Progress};

use crate::Kernel;
use crate::watch::{Step, Watch};

/// A watched task, its number, and the numbers of those that call it, a bit each.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The task.
    pub watch: Watch,
    /// Its number.
    pub task: u16,
    /// Who calls it.
    pub dependants: u32,
}

/// Everything that a supervisor watches over.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    watched: Vec<Watched, GRANTS_MAX>,
}

/// The machine is to be reset, because of a task of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reboot(pub task::Name);

impl Supervisor {
    /// Watches over one more. What does not fit is not watched; there is room for every grant.
    pub fn watch(&mut self, watched: Watched) {
        let _ = self.watched.push(watched);
    }

    /// How many it watches over.
    pub fn count(&self) -> usize {
        self.watched.len()
    }

    /// Looks at every task and does what is due. Returns when to look again, in nanoseconds; `None` if only a stop of one
    /// makes that necessary.
    ///
    /// # Errors
    /// [`Reboot`] if the charter has the machine reset.
    pub fn step(&mut self, kernel: &mut impl Kernel, now: u64) -> Result<Option<u64>, Reboot> {
        let mut next: Option<u64> = None;
        let mut look = |at: Option<u64>| next = [next, at].into_iter().flatten().min();
        for position in 0..self.watched.len() {
            let watched = &mut self.watched[position];
            match watched.watch.step(kernel, position, now) {
                Step::Look(at) => look(at),
                Step::Reboot => return Err(Reboot(watched.watch.name().try_into().unwrap_or_default())),
                Step::RestartDependants => {
                    let dependants = watched.dependants;
                    for (other, watched) in self.watched.iter().enumerate() {
                        let depends = dependants & 1_u32.checked_shl(watched.task.into()).unwrap_or(0) != 0;
                        // One that has stopped is being restarted, or was given up. To stop it again would be refused.
                        if depends && matches!(kernel.order(other, Order::Look), Ok((Progress::Runs, _))) {
                            let _ = kernel.order(other, Order::Stop);
                        }
                    }
                    // Those before this one were looked at already.
                    look(Some(now));
                }
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
