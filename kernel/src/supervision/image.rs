//! What a task's memory is made of when it starts, for its restart.
//!
//! The boot package stays where firmware loaded it, and is mapped nowhere once tasks run, so nothing that goes wrong in a
//! task reaches the image that it is restarted from.

use abi::handoff::PACKAGE_BYTES_MAX;
use abi::layout::{PAGE_BYTES, STACK_TOP, START_INFO};
use abi::package::{SEGMENTS_MAX, Task as Packed};
use abi::start::ClockScale;

use crate::objects::registers::Registers;

/// Memory of a task and what it begins with; the rest of it is zero. Nothing, if it has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// Where the task sees it, on a page. Programs and stacks lie below 4 GiB, and packages are smaller than that.
    address: u32,
    /// Its length in bytes.
    bytes: u32,
    /// Where its contents begin in the boot package.
    offset: u32,
    /// How many bytes of contents there are.
    filled: u32,
}

const _: () = assert!(STACK_TOP <= u32::MAX as u64);
const _: () = assert!(START_INFO <= u32::MAX as u64);
const _: () = assert!(PACKAGE_BYTES_MAX <= u32::MAX as u64);

/// Parts of a task: its segments, its start information, its stack.
const PARTS: usize = SEGMENTS_MAX + 2;

/// What a task's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    entry: u64,
    start_info_bytes: u64,
    parts: [Part; PARTS],
}

/// One page of a task, and what it begins with; the rest of it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where the task sees it.
    pub address: u64,
    /// Where its contents begin in the boot package.
    pub offset: u64,
    /// How many bytes of contents there are, at most a page.
    pub filled: usize,
}

impl Image {
    /// Of no task.
    pub const EMPTY: Self =
        Self { entry: 0, start_info_bytes: 0, parts: [Part { address: 0, bytes: 0, offset: 0, filled: 0 }; PARTS] };

    /// Of a task of the package, whose bytes lie in `package`.
    pub fn new(task: &Packed<'_>, package: &[u8]) -> Self {
        let part = |address: u64, bytes: u64, data: &[u8]| Part {
            address: address as u32,
            bytes: bytes as u32,
            offset: (data.as_ptr() as u64).saturating_sub(package.as_ptr() as u64) as u32,
            filled: data.len() as u32,
        };
        let mut parts = Self::EMPTY.parts;
        for (place, segment) in parts.iter_mut().zip(&task.segments) {
            *place = part(segment.address, segment.bytes, segment.data);
        }
        let start_info_bytes = task.start_info.len() as u64;
        parts[SEGMENTS_MAX] = part(START_INFO, start_info_bytes, task.start_info);
        parts[SEGMENTS_MAX + 1] = part(STACK_TOP - task.stack_bytes, task.stack_bytes, &[]);
        Self { entry: task.entry, start_info_bytes, parts }
    }

    /// The registers that the task begins with. A function is entered with its stack eight bytes off a multiple of
    /// sixteen, as if it had been called. `clock` is told to it, so that it reads the time without asking.
    pub fn registers(&self, clock: ClockScale) -> Registers {
        let ClockScale { start, nanoseconds } = clock;
        Registers::at_entry(self.entry, STACK_TOP - 8, [START_INFO, self.start_info_bytes, start, nanoseconds])
    }

    /// Every page that only this task uses, but for its IPC buffer.
    pub fn pages(&self) -> impl Iterator<Item = Page> + use<> {
        self.parts.into_iter().flat_map(|part| {
            (0..part.bytes).step_by(PAGE_BYTES as usize).map(move |at| Page {
                address: u64::from(part.address) + u64::from(at),
                offset: u64::from(part.offset) + u64::from(at),
                filled: part.filled.saturating_sub(at).min(PAGE_BYTES as u32) as usize,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use abi::package::{Access, Segment};
    use heapless::Vec;

    #[test]
    fn pages_are_those_of_the_task_with_what_the_package_says() {
        let package: std::vec::Vec<u8> = (0..20_000).map(|byte| byte as u8).collect();
        let segment = |address, bytes, data| Segment { address, bytes, access: Access::Read, data };
        let task = Packed {
            name: "a",
            priority: 0,
            required: true,
            entry: 0x40_0010,
            stack_bytes: 0x2000,
            log_names: Vec::new(),
            segments: Vec::from_slice(&[
                segment(0x40_0000, 0x1800, &package[100..100 + 0x1800]),
                segment(0x50_0000, 0x2001, &package[9000..9003]),
            ])
            .unwrap(),
            windows: Vec::new(),
            capabilities: Vec::new(),
            start_info: &package[12_000..12_077],
        };
        let image = Image::new(&task, &package);
        let page = |address, offset, filled| Page { address, offset, filled };
        let pages: std::vec::Vec<_> = image.pages().collect();
        assert_eq!(
            pages[..6],
            [
                page(0x40_0000, 100, 0x1000),
                page(0x40_1000, 100 + 0x1000, 0x800),
                page(0x50_0000, 9000, 3),
                page(0x50_1000, 9000 + 0x1000, 0),
                page(0x50_2000, 9000 + 0x2000, 0),
                page(START_INFO, 12_000, 77),
            ]
        );
        let stack: std::vec::Vec<_> = pages[6..].iter().map(|page| (page.address, page.filled)).collect();
        assert_eq!(stack, [(STACK_TOP - 0x2000, 0), (STACK_TOP - 0x1000, 0)]);
        let registers = image.registers(ClockScale { start: 5, nanoseconds: 6 });
        assert_eq!((registers.rip, registers.rdi, registers.rsi), (0x40_0010, START_INFO, 77));
        assert_eq!((registers.rdx, registers.rcx), (5, 6));
        assert_eq!(Image::EMPTY.pages().count(), 0);
    }
}
