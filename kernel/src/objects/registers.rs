//! A task's registers while it does not run.
//!
//! The entry code pushes them in this order, straight into the task's own record: hardware the last five on an
//! interrupt (TSS.RSP0 is the end of this structure), the stubs the rest.

use abi::system_call::MESSAGE_WORDS;

/// What [`Registers::vector`] holds when the task entered by SYSCALL; no interrupt has this number.
pub const ENTERED_BY_SYSCALL: u64 = 0x100;

/// User code segment: the fourth descriptor, requested privilege 3.
pub const USER_CODE_SEGMENT: u64 = 0x23;
/// User data segment: the third descriptor, requested privilege 3.
pub const USER_DATA_SEGMENT: u64 = 0x1b;
/// RFLAGS at a task's entry: interrupts on, and bit 1, which is always set.
pub const USER_FLAGS: u64 = 0x202;

/// General registers and the frame that IRETQ takes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "they are the processor's registers")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// How the kernel was entered: an interrupt vector or [`ENTERED_BY_SYSCALL`].
    pub vector: u64,
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Registers {
    /// All zero: of no task that may run.
    pub const ZERO: Self = Self { rflags: 0, cs: 0, ss: 0, ..Self::at_entry(0, 0, [0; 4]) };

    /// Everything zero but what a task needs to begin at `entry` with this stack and four arguments.
    pub const fn at_entry(entry: u64, stack_top: u64, arguments: [u64; 4]) -> Self {
        Self {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rbp: 0,
            rdi: arguments[0],
            rsi: arguments[1],
            rdx: arguments[2],
            rcx: arguments[3],
            rbx: 0,
            rax: 0,
            vector: 0,
            error_code: 0,
            rip: entry,
            cs: USER_CODE_SEGMENT,
            rflags: USER_FLAGS,
            rsp: stack_top,
            ss: USER_DATA_SEGMENT,
        }
    }

    /// The message's six words.
    #[inline]
    pub fn words(&self) -> [u64; MESSAGE_WORDS] {
        [self.r8, self.r9, self.r10, self.r12, self.r13, self.r14]
    }

    /// Sets the message's six words.
    #[inline]
    pub fn set_words(&mut self, [r8, r9, r10, r12, r13, r14]: [u64; MESSAGE_WORDS]) {
        (self.r8, self.r9, self.r10, self.r12, self.r13, self.r14) = (r8, r9, r10, r12, r13, r14);
    }

    /// Sets every result register of a system call but the words.
    #[inline]
    pub fn set_results(&mut self, status: u64, rdi: u64, rsi: u64, rdx: u64) {
        self.rax = status;
        self.rdi = rdi;
        self.rsi = rsi;
        self.rdx = rdx;
        self.r15 = 0;
    }
}
