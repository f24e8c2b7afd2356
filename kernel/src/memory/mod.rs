//! Frames, page tables and address spaces.
//!
//! Nearly all of it works at start-up only: afterwards no frame changes hands and no task's page table changes. There is
//! never a direct map: a frame that is to be filled, or that the report of a crash is about, is mapped for the moment in
//! the [`scratch`] pages.
//!
//! - [`frames`]: which physical memory is free.
//! - [`scratch`]: pages that are mapped for the moment.
//! - [`tables`]: walks and extends page tables.
//! - [`kernel_space`]: what the kernel maps for itself.
//! - [`address_space`]: what a task sees.
//! - [`task_memory`]: looks into it later, and makes it new where a task is restarted.

pub mod address_space;
pub mod frames;
pub mod kernel_space;
pub mod scratch;
pub mod tables;
pub mod task_memory;

use abi::handoff::{DYNAMIC, Handoff};
use frames::Frames;
use scratch::Scratch;
use tables::Tables;

/// Why memory could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// No free frames, or not enough of them in a row.
    #[error("out of memory: {bytes} bytes")]
    Exhausted {
        /// What was wanted.
        bytes: u64,
    },
    /// The address is mapped already.
    #[error("address {address:#x} is mapped twice")]
    Mapped {
        /// Virtual address.
        address: u64,
    },
    /// The kernel's own addresses are used up.
    #[error("kernel address space is full")]
    Full,
}

/// Memory at start-up.
pub struct Memory {
    /// Free frames.
    pub frames: Frames,
    tables: Tables,
    kernel_root: u64,
    next_dynamic: u64,
    next_firmware_slot: usize,
    /// Physical address of the machine's evidence.
    evidence: u64,
}

impl Memory {
    /// Takes over what the UEFI application left, and drops the lower half of the address space it built.
    pub fn new(handoff: &Handoff, scratch: Scratch) -> Self {
        let ranges = (handoff.memory_ranges as usize).min(handoff.memory.len());
        let mut memory = Self {
            frames: Frames::new(&handoff.memory[..ranges]),
            tables: Tables::new(scratch),
            kernel_root: handoff.page_table,
            next_dynamic: DYNAMIC,
            next_firmware_slot: scratch::FIRMWARE_SLOTS.start,
            evidence: handoff.evidence,
        };
        memory.tables.drop_lower_half(handoff.page_table);
        memory
    }
}
