//! What happens to disks that are written while something goes wrong: scenarios for system tests and for the long run
//! (`make soak`), each of which follows from a seed and panics with the log if the system does not behave.
//!
//! - [`charter`]: charters in which `blockcheck` works;
//! - [`consistency`]: what a disk may hold after a crash;
//! - [`crash`], [`errors`], [`injection`], [`restart`], [`stall`], [`unplug`]: the scenarios;
//! - [`tally`]: what was done in them.

pub mod charter;
pub mod consistency;
pub mod crash;
pub mod errors;
pub mod injection;
pub mod restart;
pub mod stall;
pub mod tally;
pub mod unplug;
