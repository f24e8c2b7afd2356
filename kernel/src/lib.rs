//! The Charter microkernel.
//!
//! From the outside in:
//! - [`entry`]: how the processor enters and leaves the kernel, the only way between tasks and what follows;
//! - [`system_call`]: what each entry asks for;
//! - [`objects`]: tasks, endpoints and notifications, and who runs next; safe and host-tested;
//! - [`devices`]: granted devices and their brokers;
//! - [`supervision`]: what becomes of tasks that stop, and their restart;
//! - [`memory`]: frames, page tables, address spaces; works at start-up only, but for what restarts tasks;
//! - [`platform`]: the machine: ACPI, PCI, interrupt controller, clock, serial port;
//! - [`crash`]: what is told of a task that stops;
//! - [`log`]: the serial log; [`console`]: what is typed beside it;
//! - [`start`]: from the UEFI application's hand-over to the first task.
//!
//! The kernel is not preemptible, has one stack, allocates nothing once tasks run, and follows no user pointer.
#![no_std]

pub mod console;
pub mod crash;
pub mod devices;
pub mod entry;
#[cfg(feature = "test-faults")]
pub mod faults;
pub mod log;
pub mod memory;
#[cfg(all(feature = "test-mutants", target_os = "none"))]
pub mod mutants;
pub mod objects;
pub mod platform;
pub mod start;
pub mod state;
pub mod supervision;
pub mod system_call;
