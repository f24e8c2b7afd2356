//! SYSCALL where and when it could go wrong for the kernel.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::layout::USER_END;
use abi::system_call::Number;

use super::Outcome;

/// Trap flag.
const TF: u64 = 1 << 8;
/// Direction flag.
const DF: u64 = 1 << 10;
/// I/O privilege level 3: ignored when a task sets it.
const IOPL: u64 = 3 << 12;
/// Nested task.
const NT: u64 = 1 << 14;
/// Resume flag.
const RF: u64 = 1 << 16;
/// Alignment check.
const AC: u64 = 1 << 18;
/// Identification.
const ID: u64 = 1 << 21;

/// Does what this name says.
pub fn attempt(name: &str) -> Option<Outcome> {
    Some(match name {
        "mov-ss-trap-syscall" => {
            trap_syscall(true);
            Outcome::SURVIVED
        }
        "trap-syscall" => {
            trap_syscall(false);
            Outcome::SURVIVED
        }
        "mov-ss-interrupt" => {
            mov_ss_interrupt();
            Outcome::SURVIVED
        }
        "syscall-last-bytes" => {
            jump(USER_END - 2);
            Outcome::SURVIVED
        }
        "syscall-last-page" => {
            jump(USER_END + 0xffe);
            Outcome::SURVIVED
        }
        "direction-syscall" => flags_syscall(DF),
        "nested-syscall" => flags_syscall(NT),
        "alignment-syscall" => flags_syscall(AC),
        "io-privilege-syscall" => flags_syscall(IOPL),
        "resume-syscall" => flags_syscall(RF),
        "identification-syscall" => flags_syscall(ID),
        "all-flags-syscall" => flags_syscall(DF | NT | AC | IOPL | RF | ID),
        "stack-kernel-syscall" => stack_syscall(0xffff_ffff_8000_0000),
        "stack-null-syscall" => stack_syscall(0),
        "stack-non-canonical-syscall" => stack_syscall(0x8000_0000_0000),
        "registers-after" => registers_after(),
        "segments-syscall" => segments_syscall(),
        _ => return None,
    })
}

/// A trap that is due while the processor enters the kernel; after MOV SS it is held back over the next instruction,
/// so that it is delivered on the kernel's side (CVE-2018-8897).
fn trap_syscall(after_mov_ss: bool) {
    // SAFETY: for a trial only. The null system call changes the registers named; the flags are put back.
    unsafe {
        if after_mov_ss {
            asm!(
                "mov r15d, ss", "pushfq", "or qword ptr [rsp], {trap}", "popfq", "mov ss, r15d", "syscall",
                "pushfq", "and qword ptr [rsp], ~{trap}", "popfq",
                trap = const TF,
                inout("rax") Number::Null as u64 => _,
                out("r15") _, out("r12") _, out("r13") _, out("r14") _,
                clobber_abi("sysv64"),
            );
        } else {
            asm!(
                "pushfq", "or qword ptr [rsp], {trap}", "popfq", "syscall",
                "pushfq", "and qword ptr [rsp], ~{trap}", "popfq",
                trap = const TF,
                inout("rax") Number::Null as u64 => _,
                out("r15") _, out("r12") _, out("r13") _, out("r14") _,
                clobber_abi("sysv64"),
            );
        }
    }
}

/// The same with INT 3, whose gate a task may reach on some kernels.
fn mov_ss_interrupt() {
    // SAFETY: for a trial only; no register but `rax` is changed.
    unsafe {
        asm!(
            "mov eax, ss", "pushfq", "or qword ptr [rsp], {trap}", "popfq", "mov ss, eax", "int3",
            trap = const TF,
            out("rax") _,
        );
    }
}

/// Executes at an address, where nothing is mapped.
fn jump(address: u64) {
    // SAFETY: for a trial only: nothing is mapped there, so the jump faults.
    unsafe {
        asm!("call {address}", address = in(reg) address, clobber_abi("sysv64"));
    }
}

/// A system call with flags set that must not reach the kernel, and must be there again afterwards, as far as a task
/// can set them at all.
fn flags_syscall(flags: u64) -> Outcome {
    let (before, after, answer): (u64, u64, u64);
    // SAFETY: the null system call changes the registers named; `rbx`, which it keeps, and the flags that functions
    // rely on are put back.
    unsafe {
        asm!(
            "push rbx", "pushfq", "or [rsp], r9", "popfq", "pushfq", "pop rbx",
            "syscall",
            "pushfq", "pop r9", "mov r10, rbx", "push 0x202", "popfq", "pop rbx",
            inout("r9") flags => after,
            out("r10") before,
            inout("rax") Number::Null as u64 => answer,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    // The resume flag reads as zero from PUSHF.
    Outcome::answered(("error", answer), ("flags_changed", (before ^ after) & !RF))
}

/// A system call with a stack pointer that no kernel may use.
fn stack_syscall(stack: u64) -> Outcome {
    let (answer, after): (u64, u64);
    // SAFETY: the null system call changes the registers named and keeps `rbx`, from which the stack pointer is put back
    // before it is used.
    unsafe {
        asm!(
            "push rbx", "mov rbx, rsp", "mov rsp, r9", "syscall", "mov r9, rsp", "mov rsp, rbx", "pop rbx",
            inout("r9") stack => after,
            inout("rax") Number::Null as u64 => answer,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    Outcome::answered(("error", answer), ("stack_changed", after ^ stack))
}

/// Where `registers_after` keeps `rbx`, `rbp` and its return address.
static KEPT: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Whether a system call leaves in registers anything but what is written of them: zeroes in the words and `r15`, the
/// return address and flags in `rcx` and `r11`, everything else as it was. A bit of `wrong` for each.
fn registers_after() -> Outcome {
    const PATTERN: u64 = 0x5a5a_0000_a5a5_0000;
    /// Flags that arithmetic leaves one way or the other.
    const ARITHMETIC: u64 = 0x8d5;
    let [rdi, rsi, rdx, rcx, r8, r9, r10, r11, r12, r13, r14, r15]: [u64; 12];
    let rax: u64;
    // SAFETY: the null system call changes the registers named; `rbx` and `rbp` are put back; what is written lies in
    // `KEPT`, which is of 24 bytes.
    unsafe {
        asm!(
            "push rbx", "push rbp", "mov rbx, r12", "mov rbp, r12",
            "syscall",
            "2:",
            "mov [rip + {kept}], rbx", "mov [rip + {kept} + 8], rbp",
            "lea rbx, [rip + 2b]", "mov [rip + {kept} + 16], rbx",
            "pop rbp", "pop rbx",
            kept = sym KEPT,
            inout("rax") Number::Null as u64 => rax,
            inout("rdi") PATTERN => rdi, inout("rsi") PATTERN => rsi, inout("rdx") PATTERN => rdx,
            inout("rcx") PATTERN => rcx, inout("r8") PATTERN => r8, inout("r9") PATTERN => r9,
            inout("r10") PATTERN => r10, inout("r11") PATTERN => r11, inout("r12") PATTERN => r12,
            inout("r13") PATTERN => r13, inout("r14") PATTERN => r14, inout("r15") PATTERN => r15,
        );
    }
    let [rbx, rbp, here] = [0, 1, 2].map(|index: usize| KEPT[index].load(Ordering::Relaxed));
    let checks = [
        rax != 0,
        [r8, r9, r10, r12, r13, r14, r15] != [0; 7],
        [rdi, rsi, rdx].iter().any(|value| *value != PATTERN && *value != 0),
        rcx != here,
        r11 & !ARITHMETIC != 0x202,
        rbx != PATTERN || rbp != PATTERN,
    ];
    let wrong = checks.into_iter().enumerate().fold(0, |wrong, (bit, is_wrong)| wrong | u64::from(is_wrong) << bit);
    Outcome::answered(("error", rax), ("wrong", wrong))
}

/// Selectors of its own in the data segment registers: the kernel must neither use nor fault on them.
fn segments_syscall() -> Outcome {
    let answer: u64;
    // SAFETY: a null selector in DS, ES, FS and GS is of no effect in 64-bit mode but for the bases of FS and GS, which
    // no task uses. The null system call changes the registers named.
    unsafe {
        asm!(
            "xor ecx, ecx", "mov ds, ecx", "mov es, ecx", "mov fs, ecx", "mov gs, ecx", "syscall",
            inout("rax") Number::Null as u64 => answer,
            out("r15") _, out("r12") _, out("r13") _, out("r14") _,
            clobber_abi("sysv64"),
        );
    }
    Outcome::answered(("error", answer), ("", 0))
}
