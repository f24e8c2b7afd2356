//! What a task sees: its program, stack, IPC buffer, start information and windows, the machine's evidence if it is
//! granted, and nothing else.

use abi::evidence::EVIDENCE_BYTES;
use abi::layout::{DIRECT_START, EVIDENCE, IPC_BUFFER, PAGE_BYTES, STACK_TOP, START_INFO};
use abi::package::{Access, Capability, Segment, Task};
use checks::{Check, kept};
use x86_64::structures::paging::PageTableFlags as Flags;

use super::{Memory, MemoryError};

impl Memory {
    /// Builds a task's address space. `buffer` is the physical page of its IPC buffer, `region` gives the physical
    /// start of a DMA region, `may_be_direct` says whether registers of a device may be mapped later. Returns the physical
    /// address of the level 4 table.
    ///
    /// # Errors
    /// If memory is used up, or two mappings collide.
    pub fn task_space(
        &mut self,
        task: &Task<'_>,
        buffer: u64,
        region: impl Fn(u16) -> Option<u64>,
        may_be_direct: impl Fn(u16) -> bool,
    ) -> Result<u64, MemoryError> {
        let root = self.tables.new_root(&mut self.frames, self.kernel_root)?;
        for segment in &task.segments {
            self.map_segment(root, segment)?;
        }
        for page in 0..task.stack_bytes / PAGE_BYTES {
            self.map_filled(root, STACK_TOP - task.stack_bytes + page * PAGE_BYTES, &[], rights(Access::ReadWrite))?;
        }
        self.tables.map(&mut self.frames, root, IPC_BUFFER, buffer, rights(Access::ReadWrite))?;
        for (page, data) in task.start_info.chunks(PAGE_BYTES as usize).enumerate() {
            self.map_filled(root, START_INFO + page as u64 * PAGE_BYTES, data, rights(Access::Read))?;
        }
        for window in &task.windows {
            let access = if window.writable || !kept(Check::WindowRights) { Access::ReadWrite } else { Access::Read };
            let start = region(window.region).ok_or(MemoryError::Exhausted { bytes: window.bytes })? + window.offset;
            for offset in (0..window.bytes).step_by(PAGE_BYTES as usize) {
                self.tables.map(&mut self.frames, root, window.address + offset, start + offset, rights(access))?;
            }
        }
        let driven = |capability: &Capability| match *capability {
            Capability::Registers { device } => may_be_direct(device),
            _ => false,
        };
        if task.capabilities.iter().any(driven) {
            // One table for what a task has of all its devices.
            self.tables.prepare(&mut self.frames, root, DIRECT_START)?;
        }
        if task.capabilities.contains(&Capability::Evidence) {
            // The frames that the UEFI application filled, the same for every holder.
            for offset in (0..EVIDENCE_BYTES as u64).step_by(PAGE_BYTES as usize) {
                let frame = self.evidence + offset;
                self.tables.map(&mut self.frames, root, EVIDENCE + offset, frame, rights(Access::Read))?;
            }
        }
        Ok(root)
    }

    fn map_segment(&mut self, root: u64, segment: &Segment<'_>) -> Result<(), MemoryError> {
        for offset in (0..segment.bytes).step_by(PAGE_BYTES as usize) {
            let data = segment.data.get(offset as usize..).unwrap_or(&[]);
            self.map_filled(root, segment.address + offset, data, rights(segment.access))?;
        }
        Ok(())
    }

    fn map_filled(&mut self, root: u64, address: u64, data: &[u8], flags: Flags) -> Result<(), MemoryError> {
        let frame = self.frames.frame()?;
        self.tables.fill(frame, data);
        self.tables.map(&mut self.frames, root, address, frame, flags)
    }

    /// Zeroes contiguous memory that is mapped nowhere.
    pub fn zero(&mut self, physical: u64, bytes: u64) {
        for offset in (0..bytes).step_by(PAGE_BYTES as usize) {
            self.tables.fill(physical + offset, &[]);
        }
    }
}

/// Page rights of a task's mapping. Nothing is writable and executable.
fn rights(access: Access) -> Flags {
    Flags::USER_ACCESSIBLE
        | match access {
            Access::Read => Flags::NO_EXECUTE,
            Access::ReadWrite => Flags::WRITABLE | Flags::NO_EXECUTE,
            Access::ReadExecute if kept(Check::PageRights) => Flags::empty(),
            Access::ReadExecute => Flags::WRITABLE,
        }
}
