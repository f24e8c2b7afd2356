//! The kernel's binary: where the UEFI application enters, and what a panic does.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use abi::handoff::Handoff;

    /// Entered as `abi::handoff` says.
    ///
    /// # Safety
    /// By the UEFI application only, once.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn _start(handoff: &'static Handoff) -> ! {
        // SAFETY: this is the entry that it is for.
        unsafe { kernel::start::start(handoff) }
    }

    #[panic_handler]
    fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
        kernel::start::halt_for_panic(information)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
