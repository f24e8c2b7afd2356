//! What is kept of a task that stopped: the record of a crash, in postcard.
//!
//! The kernel makes one whenever a task stops, tells it in the log, and keeps it in memory that outlives a reset of the
//! machine ([`memory`]). The next boot tells it once more, a supervisor reads it
//! ([`Order::Record`](crate::supervision::Order::Record)), `image-builder explain-crash` makes functions and lines of it.
//! Addresses in it are the task's own, virtual ones; none is of the machine's memory.
//!
//! Its bytes are those of postcard, field by field in the order in which they stand here; `tests/vectors/crash.txt` holds
//! some. A change of them is a new [`memory::MAGIC`], so that no kernel takes another one's records for its own.

mod bytes;
pub mod memory;

use core::fmt;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::package::NAME_BYTES_MAX;
use crate::system_call;

/// Most return addresses that a record has.
pub const RETURNS_MAX: usize = 24;
/// Bytes that are kept of the reason with which a task stopped itself.
pub const REASON_BYTES_MAX: usize = 256;

/// A task's name.
pub type Name = String<NAME_BYTES_MAX>;
/// Why a task stopped itself, in its own words: UTF-8, cut at [`REASON_BYTES_MAX`].
pub type Reason = String<REASON_BYTES_MAX>;

/// A task that stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts the records since the memory that keeps them was empty: 1 is the first.
    pub sequence: u64,
    /// In which boot it was, counted likewise.
    pub boot: u32,
    /// Which image ran: the checksum of its boot package ([`crate::package::identity`]), which the log's first line
    /// tells. Its symbols are those of that image alone.
    pub package: u32,
    /// When, in nanoseconds since that boot's clock started.
    pub time: u64,
    /// Which task, by its name in the charter.
    pub task: Name,
    /// Which generation of it, 1 for the first.
    pub generation: u32,
    /// Why.
    pub cause: Cause,
    /// The number of its last system call, as it was in `rax`; none before the first.
    pub last_call: Option<u64>,
    /// Its registers; as bytes, eight each, little-endian, in their order.
    pub registers: Registers,
    /// Words on its stack that lie in its code, from the lowest place up: those that calls may have left. As bytes, twelve
    /// each, little-endian.
    #[serde(with = "bytes::returns")]
    pub returns: Vec<StackWord, RETURNS_MAX>,
}

/// Why a task stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "the kernel has one at a time, and no heap to box a part of it in")]
pub enum Cause {
    /// An access that its address space does not allow.
    PageFault {
        /// What it accessed.
        address: u64,
        /// What it did.
        access: Access,
    },
    /// An access just below its stack.
    StackOverflow {
        /// What it accessed.
        address: u64,
    },
    /// Any other exception.
    Exception {
        /// Its vector, 0 to 31.
        vector: u8,
        /// Its error code, 0 where it has none.
        error_code: u64,
    },
    /// It stopped itself.
    Exit {
        /// With this code.
        code: u64,
        /// For this reason.
        reason: Reason,
    },
    /// Somebody stopped it.
    Killed {
        /// Who.
        by: Name,
    },
    /// It did not say that it was alive.
    NoHeartbeat {
        /// How often it had to, in milliseconds.
        period: u64,
    },
    /// Somebody who relies on it, and may stop it, reported that it had failed.
    Reported {
        /// Who.
        by: Name,
    },
}

/// What a task did to memory that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It read.
    Read,
    /// It wrote.
    Write,
    /// It jumped there.
    Execute,
}

/// A task's registers as they were when it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the processor's registers")]
pub struct Registers {
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

/// A word on a task's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackWord {
    /// Bytes above the stack pointer.
    pub above: u32,
    /// What is there.
    pub value: u64,
}

/// Vector of the page fault.
pub const PAGE_FAULT: u8 = 14;

/// The name of an exception (Intel SDM volume 3, table 6-1).
pub const fn exception(vector: u8) -> &'static str {
    match vector {
        0 => "divide-error",
        1 => "debug",
        2 => "non-maskable-interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound-range",
        6 => "invalid-opcode",
        7 => "device-not-available",
        8 => "double-fault",
        10 => "invalid-tss",
        11 => "segment-not-present",
        12 => "stack-segment",
        13 => "general-protection",
        PAGE_FAULT => "page-fault",
        16 => "floating-point",
        17 => "alignment-check",
        18 => "machine-check",
        19 => "vector-floating-point",
        20 => "virtualization",
        21 => "control-protection",
        _ => "unknown-exception",
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        })
    }
}

/// As the log has it: `cause=… address=…`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageFault { address, access } => {
                write!(f, "cause={} access={access} address={address:#x}", exception(PAGE_FAULT))
            }
            Self::StackOverflow { address } => write!(f, "cause=stack-overflow address={address:#x}"),
            Self::Exception { vector, error_code } => {
                write!(f, "cause={} error_code={error_code:#x} address=none", exception(*vector))
            }
            // What was quoted would end the value.
            Self::Exit { code, reason } => write!(f, "cause=exit code={code} reason=\"{reason}\" address=none"),
            Self::Killed { by } => write!(f, "cause=killed by={by} address=none"),
            Self::Reported { by } => write!(f, "cause=reported by={by} address=none"),
            Self::NoHeartbeat { period } => write!(f, "cause=no-heartbeat period_ms={period} address=none"),
        }
    }
}

impl Record {
    /// Of no task.
    pub const EMPTY: Self = Self {
        sequence: 0,
        boot: 0,
        package: 0,
        time: 0,
        task: Name::new(),
        generation: 0,
        cause: Cause::PageFault { address: 0, access: Access::Read },
        last_call: None,
        registers: Registers::ZERO,
        returns: Vec::new(),
    };
}

/// As the log has it, in the line of a task that stopped: `task=… cause=… instruction=… backtrace=…`.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, generation, cause, registers, .. } = self;
        let call = self
            .last_call
            .map_or("none", |number| system_call::Number::new(number).map_or("unknown", system_call::Number::name));
        let Registers { rip, rsp, rbp, .. } = registers;
        write!(f, "task={task} generation={generation} {cause} instruction={rip:#x} last_call={call} ")?;
        write!(f, "stack={rsp:#x} frame={rbp:#x} backtrace=")?;
        let mut before = "";
        for StackWord { above, value } in &self.returns {
            write!(f, "{before}+{above:#x}:{value:#x}")?;
            before = ",";
        }
        if self.returns.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl Registers {
    /// All zero.
    pub const ZERO: Self = Self {
        rip: 0,
        rflags: 0,
        rsp: 0,
        rbp: 0,
        rax: 0,
        rbx: 0,
        rcx: 0,
        rdx: 0,
        rsi: 0,
        rdi: 0,
        r8: 0,
        r9: 0,
        r10: 0,
        r11: 0,
        r12: 0,
        r13: 0,
        r14: 0,
        r15: 0,
    };

    /// Those that the line of a task that stopped does not tell, by name.
    pub fn others(&self) -> [(&'static str, u64); 15] {
        [
            ("rflags", self.rflags),
            ("rax", self.rax),
            ("rbx", self.rbx),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
        ]
    }
}

/// Those of [`Registers::others`]: `rflags=… rax=…`.
impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (name, value) in self.others() {
            write!(f, "{before}{name}={value:#x}")?;
            before = " ";
        }
        Ok(())
    }
}
