//! Where things lie in a task's address space.
//!
//! Everything but the windows lies in the first GiB, so that a task needs few page tables. The kernel maps nothing
//! that the boot package does not name, and never the last page of the lower half ([`USER_END`]).

/// Bytes in a page; every mapping is a multiple of it.
pub const PAGE_BYTES: u64 = 4096;
/// First address that a task's program may use.
pub const PROGRAM_START: u64 = 0x0040_0000;
/// First address after the room for programs.
pub const PROGRAM_END: u64 = 0x3fc0_0000;
/// What a task has of the devices that it drives directly ([`crate::direct`]): that of device *n* is at
/// `DIRECT_START + n * DIRECT_STRIDE`, memory for rings first, registers from [`DIRECT_REGISTERS`] on.
pub const DIRECT_START: u64 = PROGRAM_END;
/// Distance of two devices' parts.
pub const DIRECT_STRIDE: u64 = 0x4_0000;
/// Where the registers begin in a device's part, and so most bytes of memory for rings.
pub const DIRECT_REGISTERS: u64 = 0x3_0000;
/// First address after the stack, which grows down from here; the page below its last one is never mapped.
pub const STACK_TOP: u64 = 0x3ff0_0000;
/// Largest stack, in bytes.
pub const STACK_BYTES_MAX: u64 = 0x10_0000;
/// The IPC buffer: messages beyond [`MESSAGE_REGISTER_BYTES`](crate::system_call::MESSAGE_REGISTER_BYTES), log text,
/// device commands. Readable and writable; the kernel maps the same page itself.
pub const IPC_BUFFER: u64 = 0x3ff8_0000;
/// Bytes of the IPC buffer, and so of the longest message.
pub const IPC_BUFFER_BYTES: usize = 4096;
/// The start information ([`crate::start::StartInfo`]), read-only.
pub const START_INFO: u64 = 0x3ff9_0000;
/// Largest start information, in bytes.
pub const START_INFO_BYTES_MAX: u64 = 0x1_0000;
/// The machine's evidence ([`crate::evidence`]), [`EVIDENCE_BYTES`](crate::evidence::EVIDENCE_BYTES) bytes, read-only, in
/// tasks that are granted it.
pub const EVIDENCE: u64 = 0x3ffb_0000;
/// Address of the first DMA window; window *n* is at `WINDOW_START + n * WINDOW_STRIDE`.
pub const WINDOW_START: u64 = 0x4000_0000;
/// Distance of two windows, and so the largest one, in bytes.
pub const WINDOW_STRIDE: u64 = 0x4000_0000;
/// First address that is never mapped for a task: a SYSCALL in the last page would return to a non-canonical address.
pub const USER_END: u64 = 0x7fff_ffff_f000;

// The parts of all devices lie in one page table, below the largest stack.
const _: () = assert!(
    DIRECT_START + crate::package::DEVICES_MAX as u64 * DIRECT_STRIDE <= STACK_TOP - STACK_BYTES_MAX
        && DIRECT_START.is_multiple_of(2 << 20)
        && crate::package::DEVICES_MAX as u64 * DIRECT_STRIDE <= 2 << 20
);
