//! Watching over tasks: what a supervisor tells the kernel to do, what the kernel tells it, and when to restart what.
//!
//! A supervisor holds one capability a task that it watches over. The kernel signals it whenever such a task stops; it
//! asks for each of them what has happened ([`Supervised`]), whose counts only grow, so that nothing is lost however
//! often the signals come together.

use serde::{Deserialize, Serialize};

use crate::named::named;
use crate::system_call::MESSAGE_WORDS;

/// What a supervisor tells the kernel to do with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Order {
    /// Nothing: only tell how it is.
    Look = 0,
    /// Take the next step of its restart. It must have stopped.
    Restart = 1,
    /// Stop it. Invalid if it has stopped.
    Stop = 2,
    /// Restart it no more: whoever waits for the end of the boot waits for it no longer. It must have stopped. A later
    /// restart takes it back.
    GiveUp = 3,
    /// Nothing: only give the newest record that is kept of how it stopped, in this boot or one before
    /// ([`crate::crash::Record`]).
    Record = 4,
}

impl Order {
    /// The order with this code, if there is one.
    pub const fn new(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::Look,
            1 => Self::Restart,
            2 => Self::Stop,
            3 => Self::GiveUp,
            4 => Self::Record,
            _ => return None,
        })
    }
}

/// What the holder of a `kill` grant does with the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Ending {
    /// Nothing: only tell which one it is.
    Look = 0,
    /// Stops it. That is no failure of the task.
    Kill = 1,
    /// Stops it because it has failed, as the holder knows who relies on it: it counts as a fault.
    Report = 2,
}

impl Ending {
    /// The ending with this code, if there is one.
    pub const fn new(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::Look,
            1 => Self::Kill,
            2 => Self::Report,
            _ => return None,
        })
    }
}

/// How far a task's restart has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Progress {
    /// The task runs.
    Runs = 0,
    /// It has stopped.
    Stopped = 1,
    /// Its memory is being made new: order the next step at once.
    Loading = 2,
    /// Its device is being made to stop, which takes the device some time: come again later.
    Quiescing = 3,
    /// Its device did not stop: it and its memory are used no more, and the task cannot be restarted.
    Quarantined = 4,
}

impl Progress {
    /// The progress with this code, if there is one.
    pub const fn new(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::Runs,
            1 => Self::Stopped,
            2 => Self::Loading,
            3 => Self::Quiescing,
            4 => Self::Quarantined,
            _ => return None,
        })
    }
}

/// What has become of a task since the system started. Counts never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supervised {
    /// Its generation: 1, and one more with each restart.
    pub generation: u64,
    /// How often it was stopped by an exception, or because who relies on it reported that it had failed.
    pub faults: u64,
    /// How often it stopped itself.
    pub exits: u64,
    /// How often it was stopped because it no longer said that it was alive.
    pub silences: u64,
    /// How often somebody stopped it.
    pub kills: u64,
    /// Requests of its devices that an IOMMU has blocked. The task goes on; its supervisor is signalled each time that
    /// their number has doubled.
    pub blocked: u64,
}

impl Supervised {
    /// As the six words of a system call's result.
    pub const fn to_words(self) -> [u64; MESSAGE_WORDS] {
        [self.generation, self.faults, self.exits, self.silences, self.kills, self.blocked]
    }

    /// From the six words of a system call's result.
    pub const fn from_words([generation, faults, exits, silences, kills, blocked]: [u64; MESSAGE_WORDS]) -> Self {
        Self { generation, faults, exits, silences, kills, blocked }
    }
}

/// Most restarts that a policy can allow within its time.
pub const RESTARTS_MAX: u8 = 16;

/// When a task is restarted, and what happens when that is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Most restarts within [`Self::within`], 0 to [`RESTARTS_MAX`]; with 0 it is never restarted.
    pub limit: u8,
    /// In milliseconds.
    pub within: u32,
    /// The second restart within the time waits this long, in milliseconds, each further one twice as long as the one
    /// before.
    pub back_off: u32,
    /// What happens when the limit is reached.
    pub give_up: GiveUp,
}

/// What a supervisor does about a task that stops more often than its policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GiveUp {
    /// The system goes on without it.
    Degrade,
    /// Every watched task that calls it is restarted with it, once within the time; then as [`Self::Degrade`].
    RestartDependants,
    /// The machine is reset.
    Reboot,
}

named! { GiveUp: Degrade "degrade", RestartDependants "restart-dependants", Reboot "reboot", }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_become_of_a_task_survives_the_registers() {
        let supervised = Supervised { generation: 1, faults: 2, exits: 3, silences: 4, kills: u64::MAX, blocked: 5 };
        assert_eq!(Supervised::from_words(supervised.to_words()), supervised);
    }

    #[test]
    fn every_order_and_progress_has_its_own_code() {
        for code in 0..16 {
            assert!(Order::new(code).is_none_or(|order| order as u64 == code));
            assert!(Progress::new(code).is_none_or(|progress| progress as u64 == code));
            assert!(Ending::new(code).is_none_or(|ending| ending as u64 == code));
        }
        assert_eq!(Order::new(5), None);
        assert_eq!(Progress::new(5), None);
        assert_eq!(Ending::new(3), None);
    }
}
