//! Restarts tasks that have stopped, as the charter says.
//!
//! - [`policy`]: whether a task that has stopped is restarted, and when; pure, over a clock that the caller has.
//! - [`watch`]: one task that is watched over: what happened to it, and what is done about it.
//! - [`supervisor`]: all of them.
//!
//! It waits for one thing alone, to be told of a stop or that a back-off is over, and calls nobody: no task that hangs or
//! fails can keep it. What it cannot mend ends in a word of the charter's: `degrade`, `restart-dependants` or `reboot`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod policy;
pub mod supervisor;
pub mod watch;

use core::fmt;

use task::abi::Error;
use task::abi::crash::Record;
use task::abi::supervision::{Order, Progress, Supervised};

/// What a supervisor asks of the kernel; tests have one of their own.
pub trait Kernel {
    /// Gives an order about a watched task, by its position among them.
    ///
    /// # Errors
    /// Invalid if the task is not in a state for it.
    fn order(&mut self, position: usize, order: Order) -> Result<(Progress, Supervised), Error>;
    /// The newest record of how a watched task stopped, if one is kept.
    fn record(&mut self, position: usize) -> Option<Record>;
    /// Writes a line to the log.
    fn log(&mut self, line: fmt::Arguments<'_>);
}
