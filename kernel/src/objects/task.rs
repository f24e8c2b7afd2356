//! What the kernel knows of a task.

use abi::Error;
use abi::package::{CAPABILITIES_MAX, Capability, LOG_NAMES_MAX, NAME_BYTES_MAX};
use checks::{Check, holds};
use heapless::{String, Vec};

use super::registers::Registers;
use super::{EndpointId, TaskId};
use crate::log::Allowance;

const _: () = assert!(CAPABILITIES_MAX.is_power_of_two());

/// A name from the charter.
pub type Name = String<NAME_BYTES_MAX>;

/// No system call has this number.
pub const NO_CALL: u64 = u64::MAX;

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no such task.
    Empty,
    /// It runs or waits for the processor.
    Ready,
    /// It has called an endpoint whose server has not received the call yet.
    Calling(EndpointId),
    /// Its call was received; this server may answer it.
    AwaitingReply(TaskId),
    /// It waits for a message on this endpoint, or a notification.
    Receiving(EndpointId),
    /// It waits for a notification.
    Waiting,
    /// It has stopped; only a restart makes it run again.
    Stopped,
}

/// What a task has said of its own start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// Nothing yet.
    Unknown,
    /// It does its work.
    Ready,
    /// It could not start.
    Failed,
}

/// A task.
#[repr(C, align(64))]
pub struct Task {
    /// Its registers while it does not run.
    pub registers: Registers,
    /// Number of the last system call that it made, as it was in its `rax`; [`NO_CALL`] before the first. The entry
    /// code writes it.
    pub last_call: u64,
    /// Physical address of its level 4 page table.
    pub address_space: u64,
    /// Bits signalled and not taken yet.
    pub notification: u64,
    /// When its waiting ends, in nanoseconds; `NO_DEADLINE` if never or if it does not wait.
    pub deadline: u64,
    /// Counts its calls, of all its generations together; a reply handle is good for one of them.
    pub calls: u64,
    /// What it is doing.
    pub state: State,
    /// Higher runs first.
    pub priority: u8,
    /// The next task in the queue that this one is in.
    pub next: Option<TaskId>,
    /// What it may do: handle *n* is entry *n* − 1.
    pub capabilities: [Option<Capability>; CAPABILITIES_MAX],
    /// Its name in the charter.
    pub name: Name,
    /// Component names under which it may write to the log.
    pub log_names: Vec<Name, LOG_NAMES_MAX>,
    /// How much it may write to the log.
    pub log_allowance: Allowance,
    /// Whether the boot is complete only when this task is ready.
    pub required: bool,
    /// What it has said of its start.
    pub started: Started,
    /// First address of its stack; the page below is never mapped.
    pub stack_bottom: u64,
    /// First address of its code, and the first after it.
    pub code: (u64, u64),
    /// Counts of the time-stamp counter while it had the processor.
    pub time: u64,
    /// Bytes of memory that only it uses.
    pub memory: u64,
}

impl State {
    /// Waits for a notification, and for a message if it names an endpoint.
    pub fn receiving(endpoint: Option<EndpointId>) -> Self {
        endpoint.map_or(Self::Waiting, Self::Receiving)
    }

    /// Whether it waits for notifications.
    pub fn takes_notifications(self) -> bool {
        matches!(self, Self::Receiving(_) | Self::Waiting)
    }
}

impl Task {
    /// No task: zero in every byte, so that no image holds the empty table. [`Objects::add`](super::Objects::add) sets
    /// what is not zero in every task.
    pub const fn empty() -> Self {
        Self {
            registers: Registers::ZERO,
            last_call: 0,
            address_space: 0,
            notification: 0,
            deadline: 0,
            calls: 0,
            state: State::Empty,
            priority: 0,
            next: None,
            capabilities: [None; CAPABILITIES_MAX],
            name: Name::new(),
            log_names: Vec::new(),
            log_allowance: Allowance::nothing(),
            required: false,
            started: Started::Unknown,
            stack_bottom: 0,
            code: (0, 0),
            time: 0,
            memory: 0,
        }
    }

    /// What a handle stands for.
    ///
    /// # Errors
    /// Denied if the task holds nothing by this handle.
    #[inline]
    pub fn capability(&self, handle: u64) -> Result<Capability, Error> {
        let index = handle.wrapping_sub(1);
        if !holds(Check::HandleBounds, index < CAPABILITIES_MAX as u64) {
            return Err(Error::Denied);
        }
        // The mask holds under speculation too, where the comparison above may not.
        self.capabilities[index as usize & (CAPABILITIES_MAX - 1)].ok_or(Error::Denied)
    }
}
