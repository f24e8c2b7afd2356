//! The end of the machine.

use abi::system_call::Number;

use crate::raw::{Frame, system_call};

/// May switch the machine off, or reset it: the charter says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    pub(crate) handle: u32,
}

impl Power {
    /// Whether this machine has a way to do it.
    ///
    /// # Errors
    /// Denied.
    pub fn is_possible(&self) -> Result<bool, abi::Error> {
        self.ask(0).map(|answer| answer != 0)
    }

    /// Does it, at once: flush first. Comes back only if there is no way.
    ///
    /// # Errors
    /// Invalid if there is no way.
    pub fn end_machine(&self) -> Result<(), abi::Error> {
        self.ask(1).map(|_| ())
    }

    fn ask(&self, doit: u64) -> Result<u64, abi::Error> {
        let frame = Frame::new(Number::Power, [self.handle.into(), doit, 0, 0]);
        system_call(frame).result().map(|after| after.arguments[0])
    }
}
