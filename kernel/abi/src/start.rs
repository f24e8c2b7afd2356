//! What a task finds at its entry: who it is and its grants by name.
//!
//! The image builder writes it, the kernel maps it read-only at [`START_INFO`](crate::layout::START_INFO) and enters
//! the task with `rdi` = its address and `rsi` = its length in bytes; `rdx` and `rcx` are the clock's [`ClockScale`], by
//! which the task reads the time without a system call. Handles are small numbers that mean nothing
//! outside this task; addresses are the task's own virtual ones.

use crate::supervision::Restart;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// The kernel's clock, as a task reads it from the time-stamp counter: the same time that the system call `Clock` tells.
/// All zero where there is none to read: then the system call is the only way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockScale {
    /// The time-stamp counter when the clock began.
    pub start: u64,
    /// Nanoseconds a count, as a 32.32 fixed-point number.
    pub nanoseconds: u64,
}

impl ClockScale {
    /// Nanoseconds of the clock at a value of the time-stamp counter; 0 before its start, the largest number where they do
    /// not fit.
    #[inline]
    pub const fn at(&self, counter: u64) -> u64 {
        let product = counter.saturating_sub(self.start) as u128 * self.nanoseconds as u128;
        // Of 96 bits above the point, those that are lost must be zero.
        if product >> 96 != 0 { u64::MAX } else { (product >> 32) as u64 }
    }
}

/// Most grants of one task.
pub const GRANTS_MAX: usize = 32;
/// Most clients of one task.
pub const CLIENTS_MAX: usize = 16;
/// Most settings of one task.
pub const SETTINGS_MAX: usize = 16;

/// What a task finds at its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartInfo<'a> {
    /// The task's name in the charter.
    pub task: &'a str,
    /// Its grants.
    #[serde(borrow)]
    pub grants: Vec<Grant<'a>, GRANTS_MAX>,
    /// Who may call the endpoints that this task receives on.
    #[serde(borrow)]
    pub clients: Vec<Client<'a>, CLIENTS_MAX>,
    /// The `settings` of the task in the charter, key and value.
    #[serde(borrow)]
    pub settings: Vec<(&'a str, &'a str), SETTINGS_MAX>,
}

impl<'a> StartInfo<'a> {
    /// The grant of this name.
    pub fn grant(&self, name: &str) -> Option<&Granted> {
        self.grants.iter().find(|grant| grant.name == name).map(|grant| &grant.granted)
    }

    /// The setting of this key.
    pub fn setting(&self, key: &str) -> Option<&'a str> {
        self.settings.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// One grant and the name by which the task asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant<'a> {
    /// The name in the charter, and in the task's needs.
    pub name: &'a str,
    /// What was granted.
    pub granted: Granted,
}

/// What was granted, and how the task uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granted {
    /// May call an endpoint. The server knows this task by a badge.
    Call {
        /// For `Call`.
        handle: u32,
        /// The notification bits by which the task behind it signals this one; 0 if it does not.
        bits: u64,
    },
    /// May receive on an endpoint.
    Receive {
        /// For `ReplyReceive`.
        handle: u32,
    },
    /// May set bits in another task's notification word.
    Signal {
        /// For `Signal` and `SignalReceive`.
        handle: u32,
        /// The badge with which that task's calls arrive at this one; 0 if it makes none, or with several badges.
        badge: u32,
    },
    /// May use a device's registers and queues, through its broker.
    Registers {
        /// For the device calls.
        handle: u32,
    },
    /// Is told of a device's interrupt.
    Interrupt {
        /// The MSI-X table entry to give to the device.
        vector: u16,
        /// The notification bit that it sets.
        bits: u64,
    },
    /// May ask what a device is.
    DeviceInformation {
        /// For `DeviceInformation`.
        handle: u32,
    },
    /// Owns a DMA region, mapped here. A device command names memory in it by `region` and an offset.
    Dma {
        /// The region's number in the commands of its device.
        region: u16,
        /// Where it is mapped.
        address: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// May use a part of another task's DMA region, mapped here.
    Window {
        /// Where it is mapped.
        address: u64,
        /// Its size in bytes.
        bytes: u64,
        /// Whether it may be written.
        writable: bool,
        /// Where it begins in the region, in bytes: so its user can name places in it to the region's owner.
        offset: u64,
    },
    /// May write to the log under a component name.
    Log {
        /// For `Log`.
        handle: u32,
    },
    /// May read what the machine tells of itself ([`crate::evidence`]), mapped here.
    Evidence {
        /// Where it is mapped.
        address: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// Reads what is typed on the serial port, and writes text there.
    Console {
        /// For `ConsoleRead` and `ConsoleWrite`.
        handle: u32,
        /// The notification bits that tell of something to read.
        bits: u64,
    },
    /// May ask the kernel about the system: what about, the capability says.
    Inspect {
        /// For `Inspect`.
        handle: u32,
    },
    /// May switch the machine off, or reset it: which, the capability says.
    Power {
        /// For `Power`.
        handle: u32,
    },
    /// Watches over a task and restarts it.
    Supervise {
        /// For `Supervise`.
        handle: u32,
        /// The task's number.
        task: u16,
        /// When to restart it.
        restart: Restart,
        /// Watched tasks that call it, directly or through others, a bit each by their numbers.
        dependants: u32,
    },
    /// May stop a task.
    Kill {
        /// For `Kill`.
        handle: u32,
    },
}

/// A task that may call an endpoint of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client<'a> {
    /// The badge that its messages carry.
    pub badge: u32,
    /// Its name in the charter.
    pub task: &'a str,
    /// What the charter grants it at this server: a postcard message that the server's protocol defines
    /// (`protocol::block::DiskGrant` at the block server), empty where the server knows no parameters.
    pub parameters: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_by_its_scale() {
        let scale = ClockScale { start: 1000, nanoseconds: 1 << 31 };
        assert_eq!([0, 1000, 1001, 1002, 3000].map(|counter| scale.at(counter)), [0, 0, 0, 1, 1000]);
        let fast = ClockScale { start: 0, nanoseconds: 1 << 33 };
        assert_eq!(fast.at(u64::MAX / 2), u64::MAX - 1);
        assert_eq!(fast.at(u64::MAX), u64::MAX, "where it does not fit");
        assert_eq!(ClockScale { start: 0, nanoseconds: u64::MAX }.at(u64::MAX), u64::MAX);
    }
}
