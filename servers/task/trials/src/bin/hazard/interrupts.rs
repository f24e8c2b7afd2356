//! `int n` for every n (`int:80`), the short forms, and faults of arithmetic.

use core::arch::{asm, global_asm};

use super::Outcome;

// A stub of four bytes for every vector: INT n, RET, NOP.
global_asm!(
    ".pushsection .text.interrupt_stubs, \"ax\"",
    ".balign 4",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".byte 0xcd, vector",
    "ret",
    "nop",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
);

unsafe extern "C" {
    /// The stubs.
    #[link_name = "interrupt_stubs"]
    static STUBS: [[u8; 4]; 256];
}

/// Raises what this name says.
pub fn attempt(name: &str) -> Option<Outcome> {
    if let Some(vector) = name.strip_prefix("int:") {
        interrupt(vector.parse().ok()?);
        return Some(Outcome::SURVIVED);
    }
    // SAFETY: for a trial only; each of these changes no register but those named, and no memory.
    unsafe {
        match name {
            "int3" => asm!("int3"),
            "into" => asm!(".byte 0xce"),
            "int1" => asm!(".byte 0xf1"),
            "divide" => asm!("xor ecx, ecx", "div ecx", out("ecx") _, inout("eax") 1 => _, inout("edx") 0 => _),
            "divide-overflow" => {
                asm!("idiv rcx", in("rcx") -1_i64, inout("rax") 0_i64 => _, inout("rdx") i64::MIN => _)
            }
            "single-step" => asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop"),
            "alignment" => asm!(
                "pushfq", "or qword ptr [rsp], 0x40000", "popfq", "mov rax, [rsp - 63]",
                "pushfq", "and qword ptr [rsp], ~0x40000", "popfq",
                out("rax") _,
            ),
            "lock-invalid" => asm!(".byte 0xf0, 0x90"),
            "long-instruction" => asm!(
                ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90"
            ),
            "endless-string" => {
                asm!("rep stosb", inout("rcx") u64::MAX => _, inout("rdi") 0x1000_u64 => _, in("al") 0_u8)
            }
            _ => return None,
        }
    }
    Some(Outcome::SURVIVED)
}

fn interrupt(vector: u8) {
    // SAFETY: for a trial only. The stub at this place is INT n and RET; whatever an interrupt gate would change in
    // registers is named.
    unsafe {
        asm!(
            "call {stub}",
            stub = in(reg) (&raw const STUBS).cast::<u8>().add(usize::from(vector) * 4),
            clobber_abi("sysv64"),
        );
    }
}
