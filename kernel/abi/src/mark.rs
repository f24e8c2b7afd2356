//! Marks that a counter outside the machine can see (`qemu/bench/count.c`).

/// A mark with this number, by a no-operation of eight bytes: NOP DWORD PTR [RAX+RAX+0x4d4b00NN]. It accesses nothing.
///
/// It is assembly, so the caller says `unsafe`; there is nothing to hold to.
#[macro_export]
macro_rules! mark {
    ($number:literal) => {
        ::core::arch::asm!(".byte 0x0f, 0x1f, 0x84, 0x00, {}, 0x00, 0x4b, 0x4d", const $number, options(nomem, nostack))
    };
}
