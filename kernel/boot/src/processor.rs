//! What is asked of the processor and set in it, and the switch into the kernel.

use core::arch::naked_asm;
use core::arch::x86_64::{__cpuid, _rdtsc};

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

/// Bytes that the code of [`enter`] has at most; it holds a few instructions.
pub const ENTER_BYTES: usize = 64;

/// The time-stamp counter.
pub fn time() -> u64 {
    // SAFETY: reads a counter; long mode implies that there is one.
    unsafe { _rdtsc() }
}

/// `eax`, `ebx`, `ecx` and `edx` of a CPUID leaf.
pub fn cpuid(leaf: u32) -> [u32; 4] {
    // SAFETY: the instruction only reads, and every processor with long mode has it. (Newer compilers know that.)
    #[allow(unused_unsafe, reason = "safe to call since a later version than the oldest supported one")]
    let result = unsafe { __cpuid(leaf) };
    [result.eax, result.ebx, result.ecx, result.edx]
}

/// What the kernel needs and this processor lacks, if anything.
pub fn missing() -> Option<&'static str> {
    const EXTENDED_FEATURES: u32 = 0x8000_0001;
    const NO_EXECUTE: u32 = 1 << 20;
    let [last, ..] = cpuid(0x8000_0000);
    let [.., features] = cpuid(EXTENDED_FEATURES);
    if last < EXTENDED_FEATURES || features & NO_EXECUTE == 0 {
        return Some("the processor has no no-execute pages");
    }
    if Cr4::read().contains(Cr4Flags::L5_PAGING) {
        return Some("firmware uses five levels of page tables, the kernel four");
    }
    None
}

/// Sets what the kernel's page tables need, and turns interrupts off.
///
/// # Safety
/// Firmware has been left: it would neither expect its read-only pages to be guarded, nor interrupts to stay off.
pub unsafe fn prepare() {
    x86_64::instructions::interrupts::disable();
    // SAFETY: `missing` found no-execute pages, without which setting NXE would fault; firmware's page tables stay valid
    // with it. WP only takes rights away, from firmware's pages that nobody writes any more. Clearing PGE drops firmware's
    // global translations, which would otherwise outlive its page tables.
    unsafe {
        Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE));
        Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT));
        Cr4::update(|flags| flags.remove(Cr4Flags::PAGE_GLOBAL));
    }
}

/// Loads the page tables and the stack, and jumps into the kernel with the handoff's address in `rdi`.
///
/// # Safety
/// - `page_table` is the physical address of a level 4 table that maps this function's code one to one, executable;
/// - it maps `entry` executable, and writable memory below `stack`, as the kernel expects it;
/// - interrupts are off, and nothing else of this application is used afterwards.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn enter(handoff: u64, page_table: u64, stack: u64, entry: u64) -> ! {
    naked_asm!("mov cr3, rsi", "mov rsp, rdx", "xor ebp, ebp", "cld", "jmp rcx",)
}
