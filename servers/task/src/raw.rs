//! The SYSCALL instruction.

use abi::system_call::{MESSAGE_WORDS, Number};

/// The registers of a system call, before it and after it; see [`abi::system_call`] for their meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `rax`: number of the call, then 0 or the code of an error.
    pub code: u64,
    /// `rdi`, `rsi`, `rdx`, `r15`: arguments, then results.
    pub arguments: [u64; 4],
    /// `r8 r9 r10 r12 r13 r14`: the message's words.
    pub words: [u64; MESSAGE_WORDS],
}

impl Frame {
    /// A call without a message.
    pub fn new(number: Number, arguments: [u64; 4]) -> Self {
        Self { code: number as u64, arguments, words: [0; MESSAGE_WORDS] }
    }

    /// The frame itself after success, else the error.
    pub(crate) fn result(self) -> Result<Self, abi::Error> {
        match self.code {
            0 => Ok(self),
            // No kernel answers an unknown code; if one does, the call made no sense to it.
            code => Err(abi::Error::new(code).unwrap_or(abi::Error::Invalid)),
        }
    }
}

/// Enters the kernel. Safe with any arguments, see the crate's documentation.
#[cfg(target_os = "none")]
#[inline(always)]
pub fn system_call(frame: Frame) -> Frame {
    let Frame { code, arguments: [rdi, rsi, rdx, r15], words: [r8, r9, r10, r12, r13, r14] } = frame;
    let mut after = Frame::default();
    // SAFETY: the kernel changes the registers named here as outputs and no others, keeps the stack, and of this
    // task's memory changes only the IPC buffer and DMA regions, to which no reference exists. The assembly reads and
    // writes memory as far as the compiler knows, so accesses to both are not moved across it.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") code => after.code,
            inlateout("rdi") rdi => after.arguments[0],
            inlateout("rsi") rsi => after.arguments[1],
            inlateout("rdx") rdx => after.arguments[2],
            inlateout("r15") r15 => after.arguments[3],
            inlateout("r8") r8 => after.words[0],
            inlateout("r9") r9 => after.words[1],
            inlateout("r10") r10 => after.words[2],
            inlateout("r12") r12 => after.words[3],
            inlateout("r13") r13 => after.words[4],
            inlateout("r14") r14 => after.words[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    after
}

/// Asks the test's kernel.
#[cfg(not(target_os = "none"))]
pub fn system_call(frame: Frame) -> Frame {
    crate::host::system_call(frame)
}
