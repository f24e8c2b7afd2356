//! Instructions that only the kernel may execute, and those whose state the kernel does not keep.

use core::arch::asm;

use super::Outcome;

/// An instruction, or a few that belong together.
struct Instruction {
    name: &'static str,
    execute: fn() -> u64,
}

/// Executes `$line`s with `rax` to `rdi` and `r8` to `r11` free, and gives `rax`. `r8` points into 4 KiB of zeroes,
/// aligned to 64 bytes.
macro_rules! instructions {
    ($($name:literal: $($line:literal),+;)*) => {
        &[$(Instruction {
            name: $name,
            execute: || {
                let mut scratch = Scratch([0; 4096]);
                let result: u64;
                // SAFETY: for a trial only. Every register that the lines change is named, they leave the stack as it
                // is and write no memory but `scratch`. An instruction that is refused does not come back.
                unsafe {
                    asm!(
                        $($line),+,
                        inout("rax") 0_u64 => result,
                        inout("rcx") 0_u64 => _,
                        inout("rdx") 0_u64 => _,
                        inout("rdi") 0_u64 => _,
                        inout("rsi") 0_u64 => _,
                        inout("r8") &raw mut scratch => _,
                        out("r9") _,
                        out("r10") _,
                        out("r11") _,
                    );
                }
                core::hint::black_box(&scratch);
                result
            },
        }),*]
    };
}

/// Memory that instructions use.
#[expect(dead_code, reason = "only instructions read and write it")]
#[repr(align(64))]
struct Scratch([u8; 4096]);

/// Those that only the kernel may execute (Intel SDM volume 3, 5.9; AMD APM volume 3, privileged instructions), and
/// loads of segments that are the kernel's.
const PRIVILEGED: &[Instruction] = instructions! {
    "hlt": "hlt";
    "cli": "cli";
    "sti": "sti";
    "in-byte": "mov edx, 0x3f8", "in al, dx";
    "in-word": "mov edx, 0xcf8", "in eax, dx";
    "in-immediate": "in al, 0x80";
    "out-byte": "mov edx, 0x3f8", "out dx, al";
    "out-word": "mov edx, 0xcf8", "out dx, eax";
    "out-immediate": "out 0x80, al";
    "in-string": "mov edx, 0x3f8", "mov rdi, r8", "insb";
    "out-string": "mov edx, 0x3f8", "mov rsi, r8", "outsb";
    "rdmsr": "mov ecx, 0xc0000082", "rdmsr";
    "rdmsr-apic": "mov ecx, 0x1b", "rdmsr";
    "wrmsr": "mov ecx, 0xc0000082", "wrmsr";
    "wrmsr-efer": "mov ecx, 0xc0000080", "wrmsr";
    "mov-from-cr0": "mov rax, cr0";
    "mov-from-cr2": "mov rax, cr2";
    "mov-from-cr3": "mov rax, cr3";
    "mov-from-cr4": "mov rax, cr4";
    "mov-from-cr8": "mov rax, cr8";
    "mov-to-cr0": "mov cr0, rax";
    "mov-to-cr2": "mov cr2, rax";
    "mov-to-cr3": "mov cr3, rax";
    "mov-to-cr4": "mov cr4, rax";
    "mov-to-cr8": "mov cr8, rax";
    "mov-from-dr0": "mov rax, dr0";
    "mov-from-dr7": "mov rax, dr7";
    "mov-to-dr0": "mov dr0, rax";
    "mov-to-dr7": "mov dr7, rax";
    "clts": "clts";
    "lmsw": "lmsw ax";
    "lgdt": "lgdt [r8]";
    "lidt": "lidt [r8]";
    "lldt": "lldt ax";
    "ltr": "mov eax, 0x28", "ltr ax";
    "invlpg": "invlpg [r8]";
    "invd": "invd";
    "wbinvd": "wbinvd";
    "invpcid": "invpcid rax, [r8]";
    "swapgs": "swapgs";
    "clac": "clac";
    "stac": "stac";
    "sysret": "lea rcx, [rip + 2f]", "mov r11d, 0x202", "sysretq", "2:";
    "sysexit": "lea rdx, [rip + 2f]", "mov rcx, rsp", "sysexitq", "2:";
    "sysenter": "sysenter";
    "iret-kernel": "mov rax, rsp", "push 0x10", "push rax", "pushfq", "push 0x08", "lea rax, [rip + 2f]", "push rax",
        "iretq", "2:";
    "iret-kernel-code": "mov rax, rsp", "mov ecx, ss", "push rcx", "push rax", "pushfq", "push 0x08",
        "lea rax, [rip + 2f]", "push rax", "iretq", "2:";
    "iret-non-canonical": "mov rax, rsp", "mov ecx, ss", "push rcx", "push rax", "pushfq", "mov ecx, cs", "push rcx",
        "mov rax, 0x800000000000", "push rax", "iretq";
    "iret-io-privilege": "mov rax, rsp", "mov ecx, ss", "push rcx", "push rax", "pushfq", "or qword ptr [rsp], 0x3000",
        "mov ecx, cs", "push rcx", "lea rax, [rip + 2f]", "push rax", "iretq", "2:", "mov edx, 0x3f8", "in al, dx";
    "ret-far-kernel": "push 0x08", "lea rax, [rip + 2f]", "push rax", "retfq", "2:";
    "call-far-kernel": "lea rax, [rip + 2f]", "mov [r8], eax", "mov word ptr [r8 + 4], 0x08", "call fword ptr [r8]", "2:";
    "mov-ss-kernel": "mov eax, 0x10", "mov ss, eax";
    "mov-ss-null": "xor eax, eax", "mov ss, eax";
    "mov-ds-kernel": "mov eax, 0x08", "mov ds, eax";
    "mov-gs-task-state": "mov eax, 0x28", "mov gs, eax";
    "rdpmc": "rdpmc";
    "rdfsbase": "rdfsbase rax";
    "rdgsbase": "rdgsbase rax";
    "wrfsbase": "wrfsbase rax";
    "wrgsbase": "wrgsbase rax";
    "xgetbv": "xgetbv";
    "xsetbv": "xsetbv";
    "monitor": "mov rax, r8", "monitor";
    "mwait": "mwait";
    "vmcall": "vmcall";
    "vmmcall": "vmmcall";
    "vmxon": "vmxon [r8]";
    "vmrun": "mov rax, r8", "vmrun rax";
    "rsm": "rsm";
    "wrpkru": "wrpkru";
    "ud2": "ud2";
};

/// Those that tell what only the kernel should know, where the processor has no UMIP to stop them. They may survive
/// without UMIP; what they tell is then in the line.
const TELLING: &[Instruction] = instructions! {
    "sgdt": "sgdt [r8]", "mov rax, [r8 + 2]";
    "sidt": "sidt [r8]", "mov rax, [r8 + 2]";
    "sldt": "sldt rax";
    "str": "str rax";
    "smsw": "smsw rax";
};

/// Those whose state the kernel does not keep (CR0.EM = 1, CR4.OSFXSR = OSXSAVE = 0).
const VECTOR: &[Instruction] = instructions! {
    "x87-load": "fld1";
    "x87-initialize": "fninit";
    "x87-control": "fnstcw [r8]";
    "x87-wait": "fwait";
    "x87-environment": "fnstenv [r8]";
    "x87-save": "fnsave [r8]";
    "mmx-empty": "emms";
    "mmx-move": "movd mm0, eax";
    "sse-move": "movaps xmm0, xmm1";
    "sse-store": "movaps [r8], xmm0";
    "sse2-xor": "pxor xmm0, xmm0";
    "sse-control": "stmxcsr [r8]";
    "sse-load-control": "ldmxcsr [r8]";
    "sse-fxsave": "fxsave [r8]";
    "sse-fxrstor": "fxrstor [r8]";
    "sse4-crc": "pcmpeqq xmm0, xmm1";
    "aes": "aesenc xmm0, xmm1";
    "avx-xor": "vxorps ymm0, ymm0, ymm0";
    "avx-zero": "vzeroall";
    "avx2-add": "vpaddd ymm0, ymm0, ymm0";
    "xsave": "xsave [r8]";
    "xrstor": "xrstor [r8]";
};

/// Those that anyone may execute, to see that the trial itself works: each must survive.
const HARMLESS: &[Instruction] = instructions! {
    "nop": "nop";
    "cpuid": "mov r9, rbx", "xor eax, eax", "cpuid", "mov rbx, r9";
    "pause": "pause";
};

/// Executes the instruction of this name.
pub fn attempt(name: &str) -> Option<Outcome> {
    for instruction in PRIVILEGED.iter().chain(VECTOR).chain(HARMLESS) {
        if instruction.name == name {
            (instruction.execute)();
            return Some(Outcome::SURVIVED);
        }
    }
    let told = TELLING.iter().find(|instruction| instruction.name == name)?;
    Some(Outcome { answered: false, values: [("value", (told.execute)()), ("", 0)] })
}
