//! What kernel, tasks and image builder agree on.
//!
//! - [`system_call`]: numbers and registers of every system call, and [`Error`], the answers that are not success.
//! - [`start`]: what a task finds at its entry, its grants by name.
//! - [`needs`]: what a task says it must be granted, carried in its ELF file.
//! - [`package`]: the boot package, the charter as the kernel reads it.
//! - [`layout`]: where things lie in a task's address space.
//! - [`direct`]: what a task learns of a device that it drives directly.
//! - [`evidence`]: what the machine tells of itself, as the UEFI application collected it.
//! - [`inspect`]: what the kernel tells of the system, to tasks that may ask.
//! - [`crash`]: what is kept of a task that stopped, and how it lies in the memory that outlives a reset.
//! - [`supervision`]: what a supervisor tells the kernel to do with a task that has stopped, and when.
//! - [`handoff`]: what the UEFI application passes to the kernel, and the kernel's own layout.
#![no_std]
#![forbid(unsafe_code)]

pub mod crash;
pub mod direct;
pub mod evidence;
pub mod faults;
pub mod features;
pub mod handoff;
pub mod inspect;
pub mod layout;
pub mod mark;
mod named;
pub mod needs;
pub mod package;
pub mod start;
pub mod supervision;
pub mod system_call;

pub use system_call::Error;
