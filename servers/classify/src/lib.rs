//! Says which cloud's storage this is: one line for each cloud that presents its disks on the surface that the bound
//! controller has.
//!
//! The line *labels* a surface, the PCI class of a standard NVMe controller, which Azure's managed disks and AWS's EBS
//! volumes share. It does not prove where the machine is: that is claimed only on evidence, and until a task is given
//! any, the line says `not-claimed`. What has been observed is on lines of its own (`dma: backend selection`,
//! `nvme: identify controller`). See `docs/devices/azure-disk.md`.
//!
//! - [`surface`]: what was observed of the controller.
//! - [`lines`]: the lines.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod lines;
pub mod surface;
