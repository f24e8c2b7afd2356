//! A finished transfer, of which answers have many: a record, the same in every protocol but for what can fail.

use crate::batch::{Record, field, put};

/// A finished transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion<F> {
    /// The transfer's tag.
    pub tag: u32,
    /// How it ended.
    pub outcome: Result<(), F>,
}

/// What can fail, as four bytes that are not all zero: which it is, and a device's status code type and status code, else
/// zero; a byte of zero.
pub trait Code: Copy {
    /// The bytes.
    fn code(self) -> [u8; 4];

    /// What they mean; `None` if nothing.
    fn of(code: [u8; 4]) -> Option<Self>;
}

/// Tag, and how it ended: zero, or [`Code`].
impl<F: Code> Record for Completion<F> {
    const BYTES: usize = 8;

    #[inline]
    fn write(&self, to: &mut [u8]) {
        let outcome = match self.outcome {
            Ok(()) => [0; 4],
            Err(failure) => failure.code(),
        };
        let mut to = to;
        put(&mut to, self.tag.to_le_bytes());
        put(&mut to, outcome);
    }

    #[inline]
    fn read(from: &[u8]) -> Option<Self> {
        let mut from = from;
        let tag = u32::from_le_bytes(field(&mut from)?);
        let outcome = match u32::from_le_bytes(field(&mut from)?) {
            0 => Ok(()),
            code => Err(F::of(code.to_le_bytes())?),
        };
        Some(Self { tag, outcome })
    }
}
