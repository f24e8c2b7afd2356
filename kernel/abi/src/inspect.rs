//! What the kernel tells of the system, one entry a call of [`Number::Inspect`](crate::system_call::Number::Inspect).
//!
//! An entry is a postcard message at the start of the IPC buffer; the log is its bytes as they are. No entry holds an
//! address of memory: of a PCI function it tells where it is on its bus and what it is, and not where its registers lie.

use serde::{Deserialize, Serialize};

use crate::system_call::PciAddress;

/// Longest entry, in bytes: two names and a few numbers.
pub const ENTRY_BYTES_MAX: usize = 160;

/// Writes an entry to the start of `to`; returns how many bytes it takes, `None` if there is no room.
pub fn encode(entry: &impl Serialize, to: &mut [u8; ENTRY_BYTES_MAX]) -> Option<usize> {
    postcard::to_slice(entry, to).ok().map(|bytes| bytes.len())
}

/// A task, as the kernel knows it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task<'a> {
    /// Its name in the charter.
    pub name: &'a str,
    /// What it is doing.
    pub state: TaskState<'a>,
    /// Its priority; higher runs first.
    pub priority: u8,
    /// Whether it has told the kernel that it does its work; `None` if it has told nothing.
    pub started: Option<bool>,
    /// Time that it has had the processor, in nanoseconds, with the kernel's work for it.
    pub time: u64,
    /// Calls that it has made to other tasks.
    pub calls: u64,
    /// Its generation: 1, and one more with each restart.
    pub generation: u32,
    /// Memory that only it uses: program, stack, start information, page tables, IPC buffer. In bytes.
    pub memory: u64,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState<'a> {
    /// It has the processor, or waits for it.
    Ready,
    /// It has called a task that has not received the call yet.
    Calling(&'a str),
    /// It waits for the answer of this task.
    AwaitingReply(&'a str),
    /// It waits for a message or a notification.
    Waiting,
    /// It has stopped.
    Stopped,
}

/// A PCI function that was found when the system started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function<'a> {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor identifier.
    pub vendor: u16,
    /// Device identifier.
    pub device: u16,
    /// Class, subclass, programming interface.
    pub class: (u8, u8, u8),
    /// The charter's name of it, if the charter grants it.
    pub granted: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::NAME_BYTES_MAX;

    #[test]
    fn the_longest_entries_have_room() {
        let name = core::str::from_utf8(&[b'x'; NAME_BYTES_MAX]).unwrap();
        let task = Task {
            name,
            state: TaskState::AwaitingReply(name),
            priority: u8::MAX,
            started: Some(true),
            time: u64::MAX,
            calls: u64::MAX,
            generation: u32::MAX,
            memory: u64::MAX,
        };
        let mut bytes = [0; ENTRY_BYTES_MAX];
        let length = encode(&task, &mut bytes).unwrap();
        assert_eq!(postcard::from_bytes::<Task<'_>>(&bytes[..length]), Ok(task));
        let address = PciAddress { segment: u16::MAX, bus: u8::MAX, device: 31, function: 7 };
        let function =
            Function { address, vendor: u16::MAX, device: u16::MAX, class: (255, 255, 255), granted: Some(name) };
        let length = encode(&function, &mut bytes).unwrap();
        assert_eq!(postcard::from_bytes::<Function<'_>>(&bytes[..length]), Ok(function));
    }
}
