//! Which exception was what fault of a task.

use abi::crash::{Access, Cause, PAGE_FAULT};

use crate::objects::registers::Registers;

/// Vector of the debug exception.
pub const DEBUG: u8 = 1;
/// Vector of the non-maskable interrupt.
pub const NON_MASKABLE: u8 = 2;
/// Vector of the double fault.
pub const DOUBLE_FAULT: u8 = 8;
/// Vector of the machine check.
pub const MACHINE_CHECK: u8 = 18;

/// Bytes below the stack in which a fault counts as the stack's overflow.
const OVERFLOW_BYTES: u64 = 0x1_0000;

/// Why a task was stopped: from the registers at the fault, the faulting address (CR2), and the first address of the
/// task's stack.
pub fn cause(registers: &Registers, address: u64, stack_bottom: u64) -> Cause {
    let vector = registers.vector as u8;
    if vector != PAGE_FAULT {
        return Cause::Exception { vector, error_code: registers.error_code };
    }
    if (stack_bottom.saturating_sub(OVERFLOW_BYTES)..stack_bottom).contains(&address) {
        return Cause::StackOverflow { address };
    }
    // Page-fault error code, Intel SDM volume 3, 4.7: bit 4 instruction fetch, bit 1 write.
    let access = match registers.error_code {
        code if code & 1 << 4 != 0 => Access::Execute,
        code if code & 1 << 1 != 0 => Access::Write,
        _ => Access::Read,
    };
    Cause::PageFault { address, access }
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
        let cause = |vector, error, address| super::cause(&registers(vector, error), address, stack).to_string();
        assert_eq!(cause(14, 4, 0x10), "cause=page-fault access=read address=0x10");
        assert_eq!(cause(14, 6, 0x40_0000), "cause=page-fault access=write address=0x400000");
        assert_eq!(cause(14, 0x14, stack), "cause=page-fault access=execute address=0x3fef0000");
        assert_eq!(cause(14, 6, stack - 8), "cause=stack-overflow address=0x3feefff8");
        assert_eq!(cause(13, 0x402, 0), "cause=general-protection error_code=0x402 address=none");
        assert_eq!(cause(0, 0, 99), "cause=divide-error error_code=0x0 address=none");
    }
}
