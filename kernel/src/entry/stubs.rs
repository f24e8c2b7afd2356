//! The instructions at each entry and at the exit.
//!
//! While a task runs, TSS.RSP0 is the end of its [`Registers`], so hardware and these stubs push straight into them;
//! then the kernel's stack is loaded, empty, and a function is called that never returns. GS holds the task's base
//! until SWAPGS. RFLAGS is made harmless at each entry: FMASK does it for SYSCALL, POPFQ for the rest, because an
//! interrupt gate leaves AC and DF to the task.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use super::descriptors::{Cpu, REGISTER_END};
use super::running;
use crate::objects::registers::{ENTERED_BY_SYSCALL, Registers, USER_CODE_SEGMENT, USER_DATA_SEGMENT};

/// Bytes from one interrupt stub to the next.
const STUB_BYTES: u64 = 16;

unsafe extern "C" {
    static entry_system_call: [u8; 0];
    static entry_interrupts: [u8; 0];
    fn entry_resume(registers: *const Registers) -> !;
}

/// Address of the SYSCALL entry.
pub fn system_call_address() -> u64 {
    (&raw const entry_system_call) as u64
}

/// Address of the stub for an interrupt vector.
pub fn interrupt_address(vector: u8) -> u64 {
    (&raw const entry_interrupts) as u64 + u64::from(vector) * STUB_BYTES
}

/// Gives the processor to a task.
///
/// # Safety
/// The registers are a task's, with user segments; its address space is loaded, and RSP0 is their end.
pub unsafe fn resume(registers: &Registers) -> ! {
    // SAFETY: as the caller promises.
    unsafe { entry_resume(registers) }
}

const _: () = assert!(size_of::<Registers>() == 22 * 8 && offset_of!(Registers, vector) == 15 * 8);

global_asm!(
    ".macro push_general",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    ".endm",
    ".macro pop_general",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    ".endm",
    // SYSCALL: rcx = return address, r11 = flags, the stack still the task's.
    ".section .text.entry, \"ax\"",
    ".balign 64",
    ".global entry_system_call",
    "entry_system_call:",
    "swapgs",
    "mov gs:[{user_stack}], rsp",
    "mov rsp, gs:[{register_end}]",
    "push {user_data}",
    "push qword ptr gs:[{user_stack}]",
    "push r11",
    "push {user_code}",
    "push rcx",
    "push 0",
    "push {by_system_call}",
    "push_general",
    "mov rsp, gs:[{kernel_stack}]",
    "call {enter_by_system_call}",
    "ud2",
    // One stub a vector: a zero where the processor pushes no error code, then the vector.
    ".balign 64",
    ".global entry_interrupts",
    "entry_interrupts:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)",
    ".else",
    "push 0",
    ".endif",
    "push vector",
    ".if (vector == 1) || (vector == 2) || (vector == 8) || (vector == 18)",
    "jmp entry_on_own_stack",
    ".else",
    "jmp entry_common",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    // On the task's registers if a task was struck, on the kernel's stack if the kernel was.
    ".balign 64",
    "entry_common:",
    "push_general",
    "test byte ptr [rsp + {code_segment}], 3",
    "jz entry_kernel_struck",
    "swapgs",
    // No speculation goes on with the wrong GS (CVE-2019-1125).
    "lfence",
    "mov rsp, gs:[{kernel_stack}]",
    "push 2",
    "popfq",
    "call {enter_from_task}",
    "ud2",
    // Does not use GS: it may still be the task's.
    "entry_kernel_struck:",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "and rsp, -16",
    "push 2",
    "popfq",
    "call {enter_from_kernel}",
    "mov rsp, rbx",
    "pop_general",
    "add rsp, 16",
    "iretq",
    // #DB, NMI, #DF, #MC: on a stack of their own.
    ".balign 64",
    "entry_on_own_stack:",
    "push_general",
    "test byte ptr [rsp + {code_segment}], 3",
    "jz entry_kernel_struck",
    // A non-maskable interrupt is noted and returns with IRETQ, which lets the next one in.
    "cmp qword ptr [rsp + {vector}], 2",
    "je entry_kernel_struck",
    "swapgs",
    "lfence",
    "mov rdi, rsp",
    "push 2",
    "popfq",
    "call {enter_from_task_on_own_stack}",
    "ud2",
    // rdi = the task's registers. SYSRET where it came by SYSCALL: everything that SYSRET does not restore is defined.
    ".balign 64",
    ".global entry_resume",
    "entry_resume:",
    "mov rsp, rdi",
    "cmp qword ptr [rsp + {vector}], {by_system_call}",
    "jne entry_resume_interrupted",
    "pop_general",
    "mov rcx, [rsp + 16]",
    "mov r11, [rsp + 32]",
    "mov rsp, [rsp + 40]",
    // The last page of the lower half is never mapped, so this changes nothing; it makes SYSRET to a non-canonical
    // address impossible whatever happens elsewhere.
    "shl rcx, 17",
    "shr rcx, 17",
    "swapgs",
    "sysretq",
    "entry_resume_interrupted:",
    "pop_general",
    "add rsp, 16",
    "swapgs",
    "iretq",
    user_stack = const offset_of!(Cpu, user_stack),
    kernel_stack = const offset_of!(Cpu, kernel_stack),
    register_end = const REGISTER_END,
    user_data = const USER_DATA_SEGMENT,
    user_code = const USER_CODE_SEGMENT,
    by_system_call = const ENTERED_BY_SYSCALL,
    code_segment = const offset_of!(Registers, cs),
    vector = const offset_of!(Registers, vector),
    enter_by_system_call = sym running::enter_by_system_call,
    enter_from_task = sym running::enter_from_task,
    enter_from_task_on_own_stack = sym running::enter_from_task_on_own_stack,
    enter_from_kernel = sym running::enter_from_kernel,
);
