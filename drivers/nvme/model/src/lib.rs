//! A model NVMe controller, so that the NVMe driver and its broker are tested together on the host.
//!
//! The model is written from the specification (NVMe base 2.0, NVM command set 1.0), not from broker or driver, and
//! believes whatever address it is given, as hardware does: an address that is not in the device's memory is recorded
//! in [`Memory::outside`]. It keeps a virtual clock, so timeouts of minutes take no time, and misbehaves on demand
//! ([`Fault`]).
//!
//! - [`Memory`]: what the device can reach, and every access that it made.
//! - [`Controller`]: registers, queues, commands, interrupts; a [`broker::Device`].
//! - [`Namespace`]: content that is computed from its place; [`Disk`]: what was changed since.
//! - [`Fault`], [`Faults`]: what goes wrong, and when.
//! - [`Kernel`]: a stand-in that joins driver, broker and controller as the kernel does.
//! - [`Machine`]: all of it with a driver, its client and the passing of time.
#![forbid(unsafe_code)]

mod commands;
mod controller;
mod disk;
mod events;
mod faults;
mod io;
mod kernel;
mod machine;
mod memory;
mod namespace;
mod queues;

pub use controller::{Controller, Identity, MSIX_TABLE, REGISTER_BYTES};
pub use disk::Disk;
pub use faults::{Aborts, Fault, Faults, Registers};
pub use kernel::Kernel;
pub use machine::{Machine, Outcome, flush, read, transfer, write};
pub use memory::{Access, Memory};
pub use namespace::Namespace;
