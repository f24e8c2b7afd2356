//! What a task needs: entry point, grants, system calls, messages, log lines and views of DMA memory.
//!
//! It is the only unsafe code that a task needs: drivers and servers forbid their own. A task is a library, tested on
//! the host, and a thin `main.rs`:
//!
//! ```ignore
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//! #![forbid(unsafe_code)]
//!
//! task::needs! { disk: call, optional log: log }   // makes `struct Grants`, and the record that the builder reads
//! task::main!(run);                                // entered by the kernel; an empty `main` on the host
//!
//! fn run(environment: task::Environment) -> Result<(), task::Stop> {
//!     let grants = Grants::find(&environment)?;
//!     task::ready(task::Started::Well);
//!     task::idle()
//! }
//! ```
//!
//! # Why its safe functions are safe
//! The kernel follows no pointer of a task. A system call changes registers and, of this task's memory, only the IPC
//! buffer and what devices write into DMA regions. Nothing in this crate makes a reference to either: both are read
//! and written through raw pointers, by copy. So any system call with any argument leaves safe code sound, and what it
//! may do to the outside is the kernel's business. A task has one thread.
//!
//! # On the host
//! System calls go to a [`host::Kernel`] that a test provides; windows are plain memory.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

mod buffer;
mod console;
mod control;
mod device;
mod direct;
#[doc(hidden)]
pub mod entry;
mod environment;
mod evidence;
#[cfg(not(target_os = "none"))]
pub mod host;
mod inspect;
mod ipc;
mod log;
pub mod measure;
mod memory;
mod message;
mod needs;
mod number;
mod once;
mod power;
mod raw;
mod supervision;
mod time;

pub use abi;
pub use console::{Console, Typed};
pub use control::{Started, Stop, exit, idle, ready, yield_now};
pub use device::{Device, Interrupt, Registers, Submission};
pub use direct::{DeviceRegisters, Direct};
pub use environment::{Environment, Grant, Missing};
pub use evidence::Evidence;
pub use inspect::Inspect;
pub use ipc::{Call, CallError, Event, Message, Receive, Reply, ReplyError, Signal, TellError, decode, wait};
pub use log::{Log, Quoted};
pub use memory::{Dma, OutOfRange, Window};
pub use message::{Encoded, Inbox, Malformed, Send, TooLong};
pub use number::number;
pub use once::Once;
pub use power::Power;
pub use raw::{Frame, system_call};
pub use supervision::{Heartbeat, Kill, Name, Supervise, alive};
pub use time::{Deadline, Instant};
