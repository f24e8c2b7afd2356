//! Checks of the kernel and of its brokers that have a name, so that a kernel for tests can be made to do without one of
//! them: a test that holds the check must fail then. `qemu/tests/mutants` says for each which test that is.
//!
//! In a product nothing of this is there: [`kept`] is true, known to the compiler, and so [`holds`] is its condition. With
//! the feature `mutants` one check is off from [`switch_off`] on.
#![no_std]
#![forbid(unsafe_code)]

macro_rules! checks {
    ($($check:ident $name:literal $holds:literal,)*) => {
        /// A check that can be switched off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Check {
            $(#[doc = $holds] $check,)*
        }

        impl Check {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$check),*];

            /// Its name, by which a machine says that it is off.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$check => $name,)* }
            }

            /// What it is that holds where it is kept to, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$check => $holds,)* }
            }
        }
    };
}

checks! {
    // Of the NVMe broker.
    RangeEnd "range-end" "Data ends before its region does.",
    LengthWrap "length-wrap" "An offset and a length have a sum.",
    BlockSize "block-size" "A length is counted in blocks of the namespace's own size.",
    Direction "direction" "Blocks are changed only where that is granted.",
    ListedCommands "listed-commands" "A command is one that the grant lists.",
    BlockRange "block-range" "Blocks lie within the grant.",
    Namespace "namespace" "A namespace is granted.",
    Opcode "opcode" "Every opcode has a rule.",
    ReservedFields "reserved-fields" "Flags, pointers and reserved fields are zero.",
    Configuration "configuration" "Of CC the driver sets EN and SHN, and nothing else.",
    RegisterList "register-list" "Registers are read by a list.",
    QueueSize "queue-size" "A queue has the size of its ring.",
    Vector "vector" "Completions go to granted vectors.",
    Identifier "identifier" "A command's identifier is not in flight.",
    DoorbellTail "doorbell-tail" "A doorbell says no more than was submitted.",
    OldQueues "old-queues" "A reset ends every queue.",
    OldFacts "old-facts" "A reset ends what was learned.",
    Ready "ready" "A controller has stopped when RDY=0 was read.",
    // Of the kernel.
    HandleBounds "handle-bounds" "A handle lies within the table.",
    HandleKind "handle-kind" "A handle is of the kind that a call wants.",
    ReplyGeneration "reply-generation" "An answer is to the call that its handle was made for.",
    CallDeadline "call-deadline" "A call ends at its deadline.",
    MessageLength "message-length" "A message fits into the buffer.",
    LogText "log-text" "What a task writes to the log stays within its line.",
    PageRights "page-rights" "No page is writable and executable.",
    WindowRights "window-rights" "A window that is granted for reading is not mapped for writing.",
    MemoryAsNew "memory-as-new" "A task that is restarted finds its memory as at its first start.",
    DomainEnd "domain-end" "A device's domain ends where its memory does.",
}

/// Whether the kernel keeps to this check.
#[inline(always)]
pub fn kept(check: Check) -> bool {
    !switch::is_off(check)
}

/// Whether a check's condition is met, or need not be.
#[inline(always)]
pub fn holds(check: Check, condition: bool) -> bool {
    condition || switch::is_off(check)
}

#[cfg(feature = "mutants")]
pub use switch::switch_off;

#[cfg(not(feature = "mutants"))]
mod switch {
    use super::Check;

    #[inline(always)]
    pub const fn is_off(_: Check) -> bool {
        false
    }
}

#[cfg(feature = "mutants")]
mod switch {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Check;

    const NONE: u8 = u8::MAX;
    static OFF: AtomicU8 = AtomicU8::new(NONE);

    pub fn is_off(check: Check) -> bool {
        OFF.load(Ordering::Relaxed) == check as u8
    }

    /// Does without this check from now on, and without no other.
    pub fn switch_off(check: Check) {
        OFF.store(check as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn names_are_words_and_each_is_there_once() {
        for (place, check) in Check::ALL.iter().enumerate() {
            assert!(check.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{check:?}");
            assert!(Check::ALL[..place].iter().all(|other| other.name() != check.name()), "{check:?}");
        }
    }

    #[test]
    #[cfg(not(feature = "mutants"))]
    fn a_product_keeps_to_every_check() {
        for check in Check::ALL {
            assert!(kept(*check) && holds(*check, true) && !holds(*check, false));
        }
    }

    #[test]
    #[cfg(feature = "mutants")]
    fn one_check_is_off_and_no_other() {
        assert!(Check::ALL.iter().all(|check| kept(*check)));
        switch_off(Check::Vector);
        for check in Check::ALL {
            assert_eq!((kept(*check), holds(*check, false)), (*check != Check::Vector, *check == Check::Vector));
        }
    }
}
