//! What tasks were refused, counted: the log has a line for the first of each kind and task, and then one each time the
//! count has grown sixteenfold. So a task that tries something for ever is told of, and drowns nobody.
//!
//! Nothing here is on the way of a call that succeeds.

use abi::Error;
use abi::package::TASKS_MAX;
use abi::system_call::Number;

use crate::devices::{Because, Refusal};

/// Kinds that are told apart: those of [`Kind::index`].
const KINDS: usize = REASONS + STATES + 2 * NUMBERS;
/// Broker's reasons; those of a higher code count as one.
const REASONS: usize = 128;
/// The kernel's own reasons about a device.
const STATES: usize = 16;
/// System calls; those that do not exist count as one.
const NUMBERS: usize = 64;
/// In a count: it is due to be told, and found no room in the log.
const UNTOLD: u32 = 1 << 31;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A system call: its number as the task gave it, and why.
    Call(u64, Error),
    /// Something of a device, by its broker or because of its state.
    Device(Refusal),
}

impl Kind {
    /// Busy, a dead peer and a deadline are no offence: nobody did what it must not.
    fn index(self) -> Option<usize> {
        match self {
            Self::Call(number, error @ (Error::Denied | Error::Invalid)) => {
                let number = Number::new(number).map_or(NUMBERS - 1, |number| (number as usize).min(NUMBERS - 1));
                Some(REASONS + STATES + 2 * number + usize::from(error == Error::Invalid))
            }
            Self::Device(Refusal { error: Error::Denied | Error::Invalid, because }) => {
                let code = usize::from(because.code());
                Some(match because {
                    Because::Nvme(_) => code.min(REASONS - 1),
                    _ => REASONS + code % STATES,
                })
            }
            _ => None,
        }
    }
}

/// How often each task was refused what.
#[derive(Debug)]
pub struct Refusals {
    /// By task, then kind.
    counts: [[u32; KINDS]; TASKS_MAX],
}

impl Refusals {
    /// None yet: zero in every byte.
    pub const fn new() -> Self {
        Self { counts: [[0; KINDS]; TASKS_MAX] }
    }

    /// Counts one, and gives the count if it is to be told. `tell` then writes the line, and says whether there was
    /// room; if not, the next of its kind is told instead.
    #[cold]
    pub fn count(&mut self, task: usize, kind: Kind, tell: impl FnOnce(u32) -> bool) {
        let Some(index) = kind.index() else { return };
        let Some(count) = self.counts.get_mut(task).and_then(|counts| counts.get_mut(index)) else { return };
        let times = ((*count & !UNTOLD) + 1).min(UNTOLD - 1);
        let grown = times.is_power_of_two() && times.trailing_zeros().is_multiple_of(4);
        let due = grown || *count & UNTOLD != 0;
        *count = if due && !tell(times) { times | UNTOLD } else { times };
    }

    /// How often this was counted.
    #[cfg(test)]
    pub fn times(&self, task: usize, kind: Kind) -> u32 {
        kind.index().map_or(0, |index| self.counts[task][index] & !UNTOLD)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self::new()
    }
}

/// A system call as a value of the log.
pub struct Name(pub u64);

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match Number::new(self.0) {
            Some(number) => write!(f, "{number:?}"),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::boxed::Box;
    use std::vec::Vec;

    use super::*;
    use crate::devices::State;

    const LOG: Kind = Kind::Call(Number::Log as u64, Error::Denied);

    fn told(refusals: &mut Refusals, kind: Kind, times: u32, room: bool) -> Vec<u32> {
        let mut told = Vec::new();
        for _ in 0..times {
            refusals.count(3, kind, |times| {
                told.push(times);
                room
            });
        }
        told
    }

    #[test]
    fn the_first_of_a_kind_is_told_and_then_every_sixteenfold() {
        let mut refusals = Box::new(Refusals::new());
        assert_eq!(told(&mut refusals, LOG, 5000, true), [1, 16, 256, 4096]);
        assert_eq!(told(&mut refusals, Kind::Call(Number::Log as u64, Error::Invalid), 17, true), [1, 16]);
        assert_eq!(told(&mut refusals, Kind::Call(u64::MAX, Error::Invalid), 2, true), [1]);
        assert_eq!(told(&mut refusals, Kind::Call(u64::MAX - 1, Error::Invalid), 2, true), [], "of one kind");
    }

    #[test]
    fn what_finds_no_room_is_told_with_the_next_of_its_kind() {
        let mut refusals = Box::new(Refusals::new());
        assert_eq!(told(&mut refusals, LOG, 3, false), [1, 2, 3]);
        assert_eq!(told(&mut refusals, LOG, 3, true), [4]);
    }

    #[test]
    fn what_is_no_offence_is_not_told() {
        let mut refusals = Box::new(Refusals::new());
        for error in [Error::Busy, Error::DeadPeer, Error::TimedOut] {
            assert_eq!(told(&mut refusals, Kind::Call(0, error), 3, true), []);
        }
        let starting = Refusal::from(Because::State(State::Starting));
        assert_eq!(told(&mut refusals, Kind::Device(starting), 3, true), []);
    }

    #[test]
    fn kinds_are_told_apart_and_all_have_a_place() {
        let mut seen = std::collections::BTreeSet::new();
        let devices = [Because::Argument, Because::State(State::Absent), Because::State(State::Quarantined)];
        let reasons = nvme_broker::Reason::ALL.iter().map(|reason| Because::Nvme(*reason));
        let kinds =
            devices.into_iter().chain(reasons).map(|because| Kind::Device(Refusal { error: Error::Denied, because }));
        let calls = (0..NUMBERS as u64).filter(|number| Number::new(*number).is_some()).chain([u64::MAX]);
        let calls = calls.flat_map(|number| [Error::Denied, Error::Invalid].map(|error| Kind::Call(number, error)));
        for kind in kinds.chain(calls) {
            let index = kind.index().unwrap();
            assert!(index < KINDS && seen.insert(index), "{kind:?}");
        }
        assert_eq!(Refusals::new().counts[0].len(), KINDS);
    }
}
