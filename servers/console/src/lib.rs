//! A console on the serial port: shows what the charter lets it show, and does what the charter lets it do. A command
//! whose grant is missing is not there.
//!
//! - [`line`]: the line that is being typed.
//! - [`terminal`]: text on its way to the port.
//! - [`command`]: which commands there are, and reading one.
//! - [`session`]: from bytes that were typed to commands, and the prompt.
//! - [`system`], [`disk`], [`cloud`], [`bench`]: what the commands do.
//!
//! It is the lowest task of all: whatever is typed, nobody waits for it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod bench;
pub mod cloud;
pub mod command;
pub mod disk;
pub mod line;
pub mod session;
pub mod system;
pub mod terminal;

use task::abi::start::GRANTS_MAX;
use task::{Call, Console, Inspect, Kill, Power, Window};

/// What the charter grants this task. Everything but the console itself may be missing.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// The serial port.
    pub console: Console,
    /// `{ inspect = "tasks" }`.
    pub tasks: Option<Inspect>,
    /// `{ inspect = "devices" }`.
    pub devices: Option<Inspect>,
    /// `{ inspect = "log" }`.
    pub history: Option<Inspect>,
    /// A disk at a block server, and the window that its data comes through.
    pub disk: Option<(Call, Window)>,
    /// The classification task.
    pub cloud: Option<Call>,
    /// `{ power = "off" }`.
    pub off: Option<Power>,
    /// `{ power = "reboot" }`.
    pub reboot: Option<Power>,
    /// `{ kill = … }`, one a task.
    pub kills: Kills,
}

/// Tasks that may be stopped.
pub type Kills = [Option<Kill>; GRANTS_MAX];
