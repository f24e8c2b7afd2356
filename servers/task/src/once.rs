//! Values too large for the stack.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value in a `static`, taken once and for ever: it is made when the program is built, and never lies on the stack.
///
/// ```
/// static NUMBERS: task::Once<[u32; 1000]> = task::Once::new([7; 1000]);
/// let numbers = NUMBERS.take().expect("nobody took them before");
/// numbers[3] = 1;
/// assert!(NUMBERS.take().is_none());
/// ```
#[derive(Debug)]
pub struct Once<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `take` alone, which gives it away once, so no two threads ever share it; that it
// may go to another thread is `Send`.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    /// A value that nobody has taken.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value; `None` if it was taken before.
    #[expect(clippy::mut_from_ref, reason = "it is given away once")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the swap lets one caller ever come here, so this is the only reference; the value lives for ever.
        Some(unsafe { &mut *self.value.get() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_away_once() {
        static VALUE: Once<u32> = Once::new(5);
        let value = VALUE.take().unwrap();
        *value += 1;
        assert_eq!(*value, 6);
        assert!(VALUE.take().is_none());
    }
}
