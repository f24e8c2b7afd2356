//! Where a task begins, and what becomes of its panics.

/// Makes a function the task's program: `task::main!(run)`, with
/// `fn run(environment: task::Environment) -> Result<T, task::Stop>`.
///
/// When it returns, the task exits: with code 0 after `Ok`, else with code 1 and the reason. On the host it is an
/// empty `main`, so that the workspace builds there as a whole.
#[macro_export]
macro_rules! main {
    ($run:path) => {
        #[cfg(target_os = "none")]
        const _: () = {
            /// The kernel enters here: `rdi` and `rsi` are start information and its length, `rdx` and `rcx` the
            /// clock's scale. The stack is the whole of it; functions expect it aligned as by a call.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "xor ebp, ebp",
                    "and rsp, -16",
                    "call {enter}",
                    "ud2",
                    enter = sym enter,
                )
            }

            extern "C" fn enter(address: u64, length: u64, start: u64, nanoseconds: u64) -> ! {
                let clock = $crate::abi::start::ClockScale { start, nanoseconds };
                // SAFETY: only `_start` calls this, with what the kernel passed, once.
                unsafe { $crate::entry::enter(address, length, clock, $run) }
            }
        };

        #[cfg(not(target_os = "none"))]
        fn main() {
            // There is no kernel to enter it here.
            let _ = $run;
        }
    };
}

/// Runs a task's program.
///
/// # Safety
/// `address` and `length` are the start information that the kernel has mapped for this task: readable for ever,
/// written by nobody.
#[cfg(target_os = "none")]
pub unsafe fn enter<T>(
    address: u64,
    length: u64,
    clock: abi::start::ClockScale,
    run: fn(crate::Environment) -> Result<T, crate::Stop>,
) -> ! {
    crate::time::set_scale(clock);
    let start = core::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the caller says so.
    let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(start, length as usize) };
    match postcard::from_bytes(bytes) {
        Ok(start) => match run(crate::Environment::new(start)) {
            Ok(_) => crate::exit(0, ""),
            Err(stop) => {
                crate::ready(crate::Started::Failed);
                crate::exit(1, stop.reason())
            }
        },
        Err(_) => crate::exit(1, "malformed start information"),
    }
}

/// A panic stops the task; the kernel's log line tells where and why.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    use core::sync::atomic::{AtomicBool, Ordering};
    /// Whether a panic is being told already: telling it must not go round in circles.
    static PANICKED: AtomicBool = AtomicBool::new(false);
    const PANIC_CODE: u64 = 101;
    if PANICKED.swap(true, Ordering::Relaxed) {
        crate::exit(PANIC_CODE, "panic while a panic was told");
    }
    match information.location() {
        Some(place) => crate::exit(
            PANIC_CODE,
            format_args!("panic at {}:{}: {}", place.file(), place.line(), information.message()),
        ),
        None => crate::exit(PANIC_CODE, format_args!("panic: {}", information.message())),
    }
}
