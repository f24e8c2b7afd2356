//! What benchmarks need: the time-stamp counter, and marks that a counter outside the machine can see.

use abi::system_call::Number;

use crate::raw::{Frame, system_call};

/// The time-stamp counter. Under QEMU's `-icount shift=N` it grows by 2^N an instruction.
#[cfg(target_os = "none")]
#[inline(always)]
pub fn time_stamp() -> u64 {
    // SAFETY: RDTSC reads a counter; the kernel leaves it open to tasks (CR4.TSD = 0).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// There is no guest on the host.
#[cfg(not(target_os = "none"))]
pub fn time_stamp() -> u64 {
    0
}

/// How long the processor has been halted so far, in counts of the time-stamp counter: time that nobody's instructions
/// took.
pub fn halted() -> u64 {
    system_call(Frame::new(Number::Clock, [0; 4])).arguments[1]
}

/// Marks the beginning of a measured loop: an eight-byte no-operation whose displacement a counter outside recognizes.
#[inline(always)]
pub fn mark_begin() {
    #[cfg(target_os = "none")]
    // SAFETY: a no-operation.
    unsafe {
        abi::mark!(0x16);
    }
}

/// Marks the end of a measured loop, likewise.
#[inline(always)]
pub fn mark_end() {
    #[cfg(target_os = "none")]
    // SAFETY: a no-operation.
    unsafe {
        abi::mark!(0x17);
    }
}

/// Marks that the first block of a disk has been read.
#[inline(always)]
pub fn mark_first_read() {
    #[cfg(target_os = "none")]
    // SAFETY: a no-operation.
    unsafe {
        abi::mark!(0x05);
    }
}

/// Makes a system call whose results nobody looks at, with as few instructions around it as can be. The message's words
/// are whatever the registers hold.
#[inline(always)]
pub fn enter(number: Number, arguments: [u64; 4]) {
    #[cfg(target_os = "none")]
    // SAFETY: as in `system_call`; the words may hold anything.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as u64 => _,
            inlateout("rdi") arguments[0] => _,
            inlateout("rsi") arguments[1] => _,
            inlateout("rdx") arguments[2] => _,
            inlateout("r15") arguments[3] => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r12") _, lateout("r13") _, lateout("r14") _,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(not(target_os = "none"))]
    let _ = (number, arguments);
}

/// [`enter`] without its SYSCALL: what to take off a measurement.
#[inline(always)]
pub fn stay(number: Number, arguments: [u64; 4]) {
    #[cfg(target_os = "none")]
    // SAFETY: no instruction.
    unsafe {
        core::arch::asm!(
            "",
            inlateout("rax") number as u64 => _,
            inlateout("rdi") arguments[0] => _,
            inlateout("rsi") arguments[1] => _,
            inlateout("rdx") arguments[2] => _,
            inlateout("r15") arguments[3] => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r12") _, lateout("r13") _, lateout("r14") _,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(not(target_os = "none"))]
    let _ = (number, arguments);
}
