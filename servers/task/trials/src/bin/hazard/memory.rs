//! Memory that is not this task's, or not for this use.

use core::arch::asm;

use abi::handoff::{DYNAMIC, HANDOFF, KERNEL_IMAGE};
use abi::layout::{IPC_BUFFER, PAGE_BYTES, PROGRAM_START, STACK_BYTES_MAX, STACK_TOP, START_INFO, USER_END};

use super::Outcome;

/// A first address that is not canonical.
const NON_CANONICAL: u64 = 0x8000_0000_0000;
/// A return instruction, as data.
static mut DATA: [u8; 8] = [0xc3; 8];
/// Likewise, as constant data.
static CONSTANT: [u8; 8] = [0xc3; 8];

/// Does what this name says.
pub fn attempt(name: &str) -> Option<Outcome> {
    match name {
        "stack-overflow" => _ = core::hint::black_box(overflow(1)),
        "read-null" => read(0),
        "read-low" => read(PAGE_BYTES),
        "read-kernel" => read(KERNEL_IMAGE),
        "read-kernel-handoff" => read(HANDOFF),
        "read-kernel-dynamic" => read(DYNAMIC),
        "read-non-canonical" => read(NON_CANONICAL),
        "read-non-canonical-high" => read(0xffff_7fff_ffff_fff8),
        "read-last-page" => read(USER_END),
        "read-across-the-end" => read(USER_END - 4),
        "read-below-stack" => read(STACK_TOP - STACK_BYTES_MAX - PAGE_BYTES),
        "read-above-stack" => read(STACK_TOP),
        "read-before-buffer" => read(IPC_BUFFER - 8),
        "read-after-buffer" => read(IPC_BUFFER + PAGE_BYTES),
        "read-before-program" => read(PROGRAM_START - 8),
        "write-null" => write(0),
        "write-kernel" => write(KERNEL_IMAGE),
        "write-non-canonical" => write(NON_CANONICAL),
        "write-code" => write(PROGRAM_START),
        "write-constant" => write((&raw const CONSTANT) as u64),
        "write-start-info" => write(START_INFO),
        "execute-null" => execute(0),
        "execute-kernel" => execute(KERNEL_IMAGE),
        "execute-non-canonical" => execute(NON_CANONICAL),
        "execute-last-byte" => execute(USER_END - 1),
        "execute-last-page" => execute(USER_END),
        "execute-data" => execute((&raw const DATA) as u64),
        "execute-constant" => execute((&raw const CONSTANT) as u64),
        "execute-stack" => {
            let code = core::hint::black_box([0xc3_u8; 16]);
            execute((&raw const code) as u64);
        }
        "execute-buffer" => {
            write_bytes(IPC_BUFFER, 0xc3);
            execute(IPC_BUFFER);
        }
        "execute-start-info" => execute(START_INFO),
        _ => return None,
    }
    Some(Outcome::SURVIVED)
}

fn read(address: u64) {
    // SAFETY: for a trial only: the read faults, or brings a value that is dropped.
    unsafe {
        asm!("mov {value}, [{address}]", address = in(reg) address, value = out(reg) _, options(nostack));
    }
}

/// Writes back what is there, so that a write which should have been refused does no harm of its own.
fn write(address: u64) {
    // SAFETY: for a trial only: the access faults, or changes nothing.
    unsafe {
        asm!("lock add dword ptr [{address}], 0", address = in(reg) address, options(nostack));
    }
}

fn write_bytes(address: u64, value: u8) {
    // SAFETY: only used for the IPC buffer, which the kernel maps writable, and to which no reference exists.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u8>(address as usize).write_volatile(value);
    }
}

/// Calls code at an address; where there is a return instruction and it may be executed, it comes back.
fn execute(address: u64) {
    // SAFETY: for a trial only: the call faults, or executes the return instruction that this trial has put there.
    unsafe {
        asm!("call {address}", address = in(reg) address, clobber_abi("sysv64"));
    }
}

/// Uses up the stack, a page or so at a time.
#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let room = core::hint::black_box([depth; 400]);
    if core::hint::black_box(depth) == 0 {
        return room[7];
    }
    overflow(depth + 1) + room[core::hint::black_box(3)]
}
