//! Says what machine this is, and how that is known: the evidence that was collected at this boot, the cloud whose
//! machine it says it is, and for each NVMe controller one line for each cloud that presents its disks on that surface.
//!
//! A classification line *labels* a surface, the PCI class of a standard NVMe controller, which Azure's managed disks
//! and AWS's EBS volumes share. What a machine *is* stands in the verdict, and only as far as the machine reported it of
//! itself: nobody attests it. See `docs/devices/cloud-shapes.md`.
//!
//! - [`rules`]: what each fact says, with its source.
//! - [`controllers`]: the NVMe controllers among the evidence, and Azure's names of their disks.
//! - [`verdict`](mod@verdict): from facts to a verdict.
//! - [`lines`]: the classification lines.
//! - [`recording`]: evidence as text, and back.
//! - [`report`](mod@report): everything that the log says.
//!
//! All of it is pure: `image-builder classify` runs the same on a recording.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod controllers;
pub mod lines;
pub mod recording;
pub mod report;
pub mod rules;
pub mod verdict;
