//! What a task's fault is called in the log.

use core::fmt;

use crate::objects::registers::Registers;

/// Vector of the debug exception.
pub const DEBUG: u8 = 1;
/// Vector of the non-maskable interrupt.
pub const NON_MASKABLE: u8 = 2;
/// Vector of the double fault.
pub const DOUBLE_FAULT: u8 = 8;
/// Vector of the page fault.
pub const PAGE_FAULT: u8 = 14;
/// Vector of the machine check.
pub const MACHINE_CHECK: u8 = 18;

/// Bytes below the stack in which a fault counts as the stack's overflow.
const OVERFLOW_BYTES: u64 = 0x1_0000;

/// The name of an exception (Intel SDM volume 3, table 6-1).
pub fn name(vector: u8) -> &'static str {
    match vector {
        0 => "divide-error",
        DEBUG => "debug",
        NON_MASKABLE => "non-maskable-interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound-range",
        6 => "invalid-opcode",
        7 => "device-not-available",
        DOUBLE_FAULT => "double-fault",
        10 => "invalid-tss",
        11 => "segment-not-present",
        12 => "stack-segment",
        13 => "general-protection",
        PAGE_FAULT => "page-fault",
        16 => "floating-point",
        17 => "alignment-check",
        MACHINE_CHECK => "machine-check",
        19 => "vector-floating-point",
        20 => "virtualization",
        21 => "control-protection",
        _ => "unknown-exception",
    }
}

/// Why a task was stopped, as `cause=… address=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An access that its address space does not allow.
    PageFault {
        /// What it accessed.
        address: u64,
        /// What it did: read, write or execute.
        access: &'static str,
    },
    /// An access just below its stack.
    StackOverflow {
        /// What it accessed.
        address: u64,
    },
    /// Any other exception.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code, 0 where it has none.
        error_code: u64,
    },
}

impl Cause {
    /// From the registers at the fault, the faulting address (CR2), and the first address of the task's stack.
    pub fn new(registers: &Registers, address: u64, stack_bottom: u64) -> Self {
        let vector = registers.vector as u8;
        if vector != PAGE_FAULT {
            return Self::Exception { vector, error_code: registers.error_code };
        }
        if (stack_bottom.saturating_sub(OVERFLOW_BYTES)..stack_bottom).contains(&address) {
            return Self::StackOverflow { address };
        }
        // Page-fault error code, Intel SDM volume 3, 4.7: bit 4 instruction fetch, bit 1 write.
        let access = match registers.error_code {
            code if code & 1 << 4 != 0 => "execute",
            code if code & 1 << 1 != 0 => "write",
            _ => "read",
        };
        Self::PageFault { address, access }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageFault { address, access } => {
                write!(f, "cause={} access={access} address={address:#x}", name(PAGE_FAULT))
            }
            Self::StackOverflow { address } => write!(f, "cause=stack-overflow address={address:#x}"),
            Self::Exception { vector, error_code } => {
                write!(f, "cause={} error_code={error_code:#x} address=none", name(*vector))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn registers(vector: u64, error_code: u64) -> Registers {
        Registers { vector, error_code, ..Registers::default() }
    }

    #[test]
    fn faults_are_told_apart() {
        let stack = 0x3fef_0000;
        let cause = |vector, error, address| Cause::new(&registers(vector, error), address, stack).to_string();
        assert_eq!(cause(14, 4, 0x10), "cause=page-fault access=read address=0x10");
        assert_eq!(cause(14, 6, 0x40_0000), "cause=page-fault access=write address=0x400000");
        assert_eq!(cause(14, 0x14, stack), "cause=page-fault access=execute address=0x3fef0000");
        assert_eq!(cause(14, 6, stack - 8), "cause=stack-overflow address=0x3feefff8");
        assert_eq!(cause(13, 0x402, 0), "cause=general-protection error_code=0x402 address=none");
        assert_eq!(cause(0, 0, 99), "cause=divide-error error_code=0x0 address=none");
    }
}
