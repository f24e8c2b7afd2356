//! A kernel for tests on the host: a test provides one for its thread, and every system call goes to it.
//!
//! ```
//! use task::{Frame, host};
//! let told = host::with(|frame: &mut Frame, _: &mut [u8]| frame.arguments[0] = 7, task::Instant::now);
//! assert_eq!(told.nanoseconds(), 7);
//! ```

use std::boxed::Box;
use std::cell::RefCell;
use std::vec::Vec;

use abi::layout::IPC_BUFFER_BYTES;

use crate::raw::Frame;

/// Answers system calls in a test. `frame.code` is still the number of the call; a kernel that answers success need
/// only fill in results: the code becomes 0 unless [`fail`] has set an error.
pub trait Kernel {
    /// One system call. `buffer` is the task's IPC buffer.
    fn system_call(&mut self, frame: &mut Frame, buffer: &mut [u8]);
}

impl<F: FnMut(&mut Frame, &mut [u8])> Kernel for F {
    fn system_call(&mut self, frame: &mut Frame, buffer: &mut [u8]) {
        self(frame, buffer);
    }
}

/// Makes the call fail with this error.
pub fn fail(frame: &mut Frame, error: abi::Error) {
    frame.code = FAILED | error as u64;
}

/// Marks a code set by [`fail`], so that it is not taken for the call's number.
const FAILED: u64 = 1 << 63;

std::thread_local! {
    static KERNEL: RefCell<Option<Box<dyn Kernel>>> = const { RefCell::new(None) };
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(std::vec![0; IPC_BUFFER_BYTES]);
}

/// Runs a test with this kernel. What the test wants to look at afterwards, it shares with the kernel through an `Rc`.
pub fn with<R>(kernel: impl Kernel + 'static, test: impl FnOnce() -> R) -> R {
    KERNEL.set(Some(Box::new(kernel)));
    let result = test();
    KERNEL.set(None);
    result
}

/// Without a kernel every call is denied.
pub(crate) fn system_call(mut frame: Frame) -> Frame {
    let number = frame.code;
    KERNEL.with_borrow_mut(|kernel| match kernel {
        Some(kernel) => BUFFER.with_borrow_mut(|buffer| kernel.system_call(&mut frame, buffer)),
        None => fail(&mut frame, abi::Error::Denied),
    });
    frame.code = if frame.code == number { 0 } else { frame.code & !FAILED };
    frame
}

pub(crate) fn with_buffer<R>(access: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| access(buffer))
}
