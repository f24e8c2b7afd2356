//! The instructions at each entry and at the exit.
//!
//! While a task runs, TSS.RSP0 is the end of its [`Registers`], so hardware and these stubs store straight into them;
//! then the kernel's stack is loaded, empty, and a function is entered that never returns. GS holds the task's base
//! until SWAPGS. RFLAGS is made harmless at each entry: FMASK does it for SYSCALL, POPFQ for the rest, because an
//! interrupt gate leaves AC and DF to the task.
//!
//! The kernel itself is struck where it waits for an interrupt with nobody ready ([`wait_for_interrupt`]), and nowhere else
//! but by what ends it, or by what is let go.
//!
//! There are three exits. [`resume`] restores a whole record. [`answer`] returns from the system call that is being
//! served: its results go from the kernel into the registers, not by way of the record. [`hand_over`] likewise ends a
//! system call in which another task waits, with the words of the one that runs.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use abi::system_call::Number;

use super::descriptors::{Cpu, REGISTER_END};
use super::running;
use crate::objects::registers::{ENTERED_BY_SYSCALL, Registers};
use crate::objects::task::Task;

/// Bytes from one interrupt stub to the next.
const STUB_BYTES: u64 = 16;

unsafe extern "C" {
    static entry_system_call: [u8; 0];
    static entry_interrupts: [u8; 0];
    fn entry_wait();
    fn entry_resume(registers: *const Registers) -> !;
    fn entry_answer(first: u64, second: u64, third: u64, status: u64, registers: *const Registers) -> !;
    fn entry_hand_over(first: u64, bytes: u64, third: u64, to: *const Registers, from: *const Registers) -> !;
}

/// Address of the SYSCALL entry.
pub fn system_call_address() -> u64 {
    (&raw const entry_system_call) as u64
}

/// Address of the stub for an interrupt vector.
pub fn interrupt_address(vector: u8) -> u64 {
    (&raw const entry_interrupts) as u64 + u64::from(vector) * STUB_BYTES
}

/// Halts the processor until one interrupt has struck; it is noted in [`running::WOKEN_BY`], which must be zero.
pub fn wait_for_interrupt() {
    // SAFETY: the stub of every interrupt leaves everything but `WOKEN_BY` as it is, and returns with interrupts off.
    unsafe { entry_wait() }
}

/// Gives the processor to a task.
///
/// # Safety
/// The registers are a task's, with user segments; its address space is loaded, and RSP0 is their end.
#[inline(always)]
pub unsafe fn resume(registers: &Registers) -> ! {
    // SAFETY: as the caller promises.
    unsafe { entry_resume(registers) }
}

/// Ends the system call that a task has entered by and whose address space is loaded: a result of each register, and
/// words that are zero.
///
/// # Safety
/// As for [`resume`], and the record is as the task's entry by SYSCALL has left it.
#[inline(always)]
pub unsafe fn answer(status: u64, [first, second, third]: [u64; 3], registers: &Registers) -> ! {
    // SAFETY: as the caller promises.
    unsafe { entry_answer(first, second, third, status, registers) }
}

/// Ends the system call that `to` waits in: success, `results` in `rdi`, `rsi` and `rdx`, and of the words of `from` as
/// many as the second result says in bytes, at most six of them; those beyond are zero.
///
/// # Safety
/// As for [`resume`], of `to`, whose record is as its entry by SYSCALL has left it.
#[inline(always)]
pub unsafe fn hand_over([first, bytes, third]: [u64; 3], to: &Registers, from: &Registers) -> ! {
    // SAFETY: as the caller promises.
    unsafe { entry_hand_over(first, bytes, third, to, from) }
}

const _: () = assert!(size_of::<Registers>() == 22 * 8 && offset_of!(Registers, vector) == 15 * 8);
// The entry code knows the record's end, and finds the rest of the task from there.
const _: () = assert!(offset_of!(Task, registers) == 0 && offset_of!(Task, last_call) == size_of::<Registers>());

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
    // The last page of the lower half is never mapped, so the shifts change nothing; they make SYSRET to a
    // non-canonical address impossible whatever happens elsewhere.
    ".macro return_by_sysret",
    "shl rcx, 17",
    "shr rcx, 17",
    "swapgs",
    "sysretq",
    ".endm",
    // SYSCALL: rcx = return address, r11 = flags, the stack still the task's.
    ".section .text.entry, \"ax\"",
    ".balign 64",
    ".global entry_system_call",
    "entry_system_call:",
    "swapgs",
    "mov gs:[{user_stack}], rsp",
    "mov rsp, gs:[{register_end}]",
    // What is constant in a record (segments, error code, vector) is in it already.
    "mov [rsp - {size} + {rip}], rcx",
    "mov rcx, gs:[{user_stack}]",
    "mov [rsp - {size} + {rflags}], r11",
    "mov [rsp - {size} + {rsp}], rcx",
    "mov [rsp - {size} + {last_call}], rax",
    "mov [rsp - {size} + {rax}], rax",
    "mov [rsp - {size} + {rbx}], rbx",
    "mov [rsp - {size} + {rdx}], rdx",
    "mov [rsp - {size} + {rsi}], rsi",
    "mov [rsp - {size} + {rdi}], rdi",
    "mov [rsp - {size} + {rbp}], rbp",
    "mov [rsp - {size} + {r8}], r8",
    "mov [rsp - {size} + {r9}], r9",
    "mov [rsp - {size} + {r10}], r10",
    "mov [rsp - {size} + {r12}], r12",
    "mov [rsp - {size} + {r13}], r13",
    "mov [rsp - {size} + {r14}], r14",
    "mov [rsp - {size} + {r15}], r15",
    "mov rsp, gs:[{kernel_stack}]",
    // The first three arguments of a function are where those of a system call are.
    "mov rcx, r15",
    "cmp rax, {call}",
    "je {enter_by_call}",
    "cmp rax, {reply_receive}",
    "je {enter_by_reply_receive}",
    "mov r8, rax",
    "jmp {enter_by_system_call}",
    // One stub a vector: a zero where the processor pushed no error code, then the vector. Whether it did is seen from
    // the stack, which it aligns before it pushes five words: a device may send any of the exceptions' vectors, and what
    // comes as an interrupt has no error code whatever its vector.
    ".balign 64",
    ".global entry_interrupts",
    "entry_interrupts:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if vector < 32",
    "test spl, 8",
    "jz 1f",
    ".endif",
    "push 0",
    "1:",
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
    "jz entry_wait_struck",
    "swapgs",
    // No speculation goes on with the wrong GS (CVE-2019-1125).
    "lfence",
    "mov rsp, gs:[{kernel_stack}]",
    "push 2",
    "popfq",
    "jmp {enter_from_task}",
    // One interrupt ends one HLT: no other may strike before the kernel has dealt with it. What strikes again at once is an
    // exception. No register was changed yet.
    "entry_wait_struck:",
    "lea rax, [rip + entry_waited]",
    "cmp [rsp + {rip}], rax",
    "jne entry_halt_struck",
    "entry_wait_ends:",
    "cmp dword ptr [rip + {woken_by}], 0",
    "jne entry_kernel_struck",
    "mov eax, [rsp + {vector}]",
    "inc eax",
    "mov [rip + {woken_by}], eax",
    "and dword ptr [rsp + {rflags}], {interrupts_off}",
    "mov rax, [rsp + {rax}]",
    "add rsp, {rip}",
    "iretq",
    // A non-maskable interrupt between STI and HLT ends what STI holds back: then the next one strikes before HLT, which is
    // not to begin any more.
    "entry_halt_struck:",
    "lea rax, [rip + entry_halt]",
    "cmp [rsp + {rip}], rax",
    "jne entry_kernel_struck",
    "lea rax, [rip + entry_waited]",
    "mov [rsp + {rip}], rax",
    "jmp entry_wait_ends",
    // STI takes effect after HLT has begun, so no interrupt is missed, and none strikes anywhere else.
    ".balign 16",
    ".global entry_wait",
    "entry_wait:",
    "sti",
    "entry_halt:",
    "hlt",
    "entry_waited:",
    "cli",
    "ret",
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
    "jz entry_kernel_struck_on_own_stack",
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
    // Debug exceptions and non-maskable interrupts do not end a wait; of the others a device may send the vector.
    "entry_kernel_struck_on_own_stack:",
    "cmp qword ptr [rsp + {vector}], 2",
    "jbe entry_kernel_struck",
    "jmp entry_wait_struck",
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
    "return_by_sysret",
    // What an interrupt wrote over the vector of a SYSCALL is put right here, and not at each SYSCALL.
    "entry_resume_interrupted:",
    "pop_general",
    "mov qword ptr [rsp], {by_system_call}",
    "add rsp, 16",
    "swapgs",
    "iretq",
    // rdi, rsi, rdx, rcx = results and status, r8 = the task's registers.
    ".balign 64",
    ".global entry_answer",
    "entry_answer:",
    "mov rax, rcx",
    "mov rbx, [r8 + {rbx}]",
    "mov rbp, [r8 + {rbp}]",
    "mov rcx, [r8 + {rip}]",
    "mov r11, [r8 + {rflags}]",
    "mov rsp, [r8 + {rsp}]",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "xor r12d, r12d",
    "xor r13d, r13d",
    "xor r14d, r14d",
    "xor r15d, r15d",
    "return_by_sysret",
    // rdi, rsi, rdx = results, rcx = registers of the task that runs now, r8 = of the one whose words they are. Words
    // are taken only as far as the message reaches, so none is read that must be cleared.
    ".balign 64",
    ".global entry_hand_over",
    "entry_hand_over:",
    "mov rbx, [rcx + {rbx}]",
    "mov rbp, [rcx + {rbp}]",
    "mov r11, [rcx + {rflags}]",
    "mov rsp, [rcx + {rsp}]",
    "mov rcx, [rcx + {rip}]",
    "xor eax, eax",
    "xor r15d, r15d",
    "cmp rsi, 40",
    "jbe 5f",
    "mov r14, [r8 + {r14}]",
    "4:",
    "mov r13, [r8 + {r13}]",
    "3:",
    "mov r12, [r8 + {r12}]",
    "2:",
    "mov r10, [r8 + {r10}]",
    "1:",
    "mov r9, [r8 + {r9}]",
    "mov r8, [r8 + {r8}]",
    "return_by_sysret",
    // Five words or fewer.
    "5:",
    "xor r14d, r14d",
    "test rsi, rsi",
    "jz 6f",
    "cmp rsi, 32",
    "ja 4b",
    "xor r13d, r13d",
    "cmp rsi, 24",
    "ja 3b",
    "xor r12d, r12d",
    "cmp rsi, 16",
    "ja 2b",
    "xor r10d, r10d",
    "cmp rsi, 8",
    "ja 1b",
    "xor r9d, r9d",
    "mov r8, [r8 + {r8}]",
    "return_by_sysret",
    // None.
    "6:",
    "xor r13d, r13d",
    "xor r12d, r12d",
    "xor r10d, r10d",
    "xor r9d, r9d",
    "xor r8d, r8d",
    "return_by_sysret",
    rax = const offset_of!(Registers, rax),
    rbx = const offset_of!(Registers, rbx),
    rdx = const offset_of!(Registers, rdx),
    rsi = const offset_of!(Registers, rsi),
    rdi = const offset_of!(Registers, rdi),
    rbp = const offset_of!(Registers, rbp),
    r8 = const offset_of!(Registers, r8),
    r9 = const offset_of!(Registers, r9),
    r10 = const offset_of!(Registers, r10),
    r12 = const offset_of!(Registers, r12),
    r13 = const offset_of!(Registers, r13),
    r14 = const offset_of!(Registers, r14),
    r15 = const offset_of!(Registers, r15),
    rip = const offset_of!(Registers, rip),
    rflags = const offset_of!(Registers, rflags),
    rsp = const offset_of!(Registers, rsp),
    size = const size_of::<Registers>(),
    call = const Number::Call as u64,
    reply_receive = const Number::ReplyReceive as u64,
    user_stack = const offset_of!(Cpu, user_stack),
    kernel_stack = const offset_of!(Cpu, kernel_stack),
    register_end = const REGISTER_END,
    by_system_call = const ENTERED_BY_SYSCALL,
    last_call = const offset_of!(Task, last_call),
    code_segment = const offset_of!(Registers, cs),
    vector = const offset_of!(Registers, vector),
    enter_by_call = sym running::enter_by_call,
    enter_by_reply_receive = sym running::enter_by_reply_receive,
    enter_by_system_call = sym running::enter_by_system_call,
    enter_from_task = sym running::enter_from_task,
    enter_from_task_on_own_stack = sym running::enter_from_task_on_own_stack,
    enter_from_kernel = sym running::enter_from_kernel,
    woken_by = sym running::WOKEN_BY,
    interrupts_off = const !(1 << 9),
);
