//! A fault as a unit records it: a request that it blocked (VT-d specification 4.1, 11.4.14).

/// A blocked request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who made it: bus, device and function.
    pub requester: u16,
    /// The page that was asked for; of an interrupt, its number.
    pub address: u64,
    /// Whether it was a write.
    pub write: bool,
    /// Why, by the specification's number (chapter 14).
    pub reason: u8,
}

/// From here on reasons are about interrupts.
const INTERRUPT_REASONS: u8 = 0x20;

impl Fault {
    /// From the two words of a record; `None` if it holds none.
    pub fn new([low, high]: [u64; 2]) -> Option<Self> {
        const VALID: u64 = 1 << 63;
        const READ: u64 = 1 << 62;
        // All ones: the unit is gone.
        if high & VALID == 0 || (low, high) == (u64::MAX, u64::MAX) {
            return None;
        }
        let reason = (high >> 32) as u8;
        let address = if (INTERRUPT_REASONS..0x30).contains(&reason) { low >> 48 } else { low & !0xfff };
        Some(Self { requester: high as u16, address, write: high & READ == 0, reason })
    }

    /// What was asked for, for the log.
    pub fn access(&self) -> &'static str {
        match (self.reason, self.write) {
            (INTERRUPT_REASONS..0x30, _) => "interrupt",
            (_, true) => "write",
            (_, false) => "read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_decoded() {
        let fault = Fault::new([0x1234_5678, 1 << 63 | 0x05 << 32 | 0x0008]).unwrap();
        assert_eq!(fault, Fault { requester: 8, address: 0x1234_5000, write: true, reason: 5 });
        assert_eq!(fault.access(), "write");
        let fault = Fault::new([0, 1 << 63 | 1 << 62 | 0x06 << 32 | 0x0100]).unwrap();
        assert_eq!((fault.requester, fault.access()), (0x100, "read"));
        let fault = Fault::new([7 << 48, 1 << 63 | 0x22 << 32]).unwrap();
        assert_eq!((fault.address, fault.access()), (7, "interrupt"));
    }

    #[test]
    fn no_record_and_no_unit_are_no_fault() {
        assert_eq!(Fault::new([0x1000, 0x05 << 32]), None);
        assert_eq!(Fault::new([u64::MAX; 2]), None);
    }
}
