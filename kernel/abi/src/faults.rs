//! Faults that a kernel with the feature `test-faults` makes in a task on behalf of another one. No product kernel has
//! that feature: [`Number::Kill`](crate::system_call::Number::Kill) with any of these numbers is invalid there.
//!
//! `rdi` = kill handle, `rsi` = [`Fault`], `rdx` = a number by which the kernel chooses, `r15` = another.
//! → `rdi` = 1 if something was changed, 0 if there was nothing to change. Errors: denied (handle), dead peer (the task
//! has stopped).

use crate::named::named;

/// What is done to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Fault {
    /// It is stopped after as many further instructions as the first number says, at most [`STEPS_MAX`].
    KillLater = 16,
    /// A bit of its variables, or of its stack in use, changes.
    FlipMemory = 17,
    /// A bit of its code changes; in half of the cases near where it is.
    FlipCode = 18,
    /// A bit of a register changes: of any where an interrupt struck it, of those that a system call keeps where it
    /// waits in one.
    FlipRegister = 19,
    /// Its next interrupts, 1 to 4 of them, do not reach it.
    DropInterrupts = 20,
    /// It is told of an interrupt that did not come.
    RepeatInterrupt = 21,
    /// A bit of the next message that it sends changes.
    CorruptMessage = 22,
    /// It goes round without end where it is.
    Loop = 23,
    /// It waits for ever, whatever it is told.
    WaitForEver = 24,
}

named! {
    Fault:
    KillLater "kill-later",
    FlipMemory "flip-memory",
    FlipCode "flip-code",
    FlipRegister "flip-register",
    DropInterrupts "drop-interrupts",
    RepeatInterrupt "repeat-interrupt",
    CorruptMessage "corrupt-message",
    Loop "loop",
    WaitForEver "wait-for-ever",
}

/// Most instructions that a task is let run before it is stopped.
pub const STEPS_MAX: u64 = 4096;

impl Fault {
    /// The one with this number, if there is one.
    pub fn new(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| *fault as u64 == number)
    }
}
