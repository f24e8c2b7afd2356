//! Numbers and registers of every system call, and the answers that are not success.
//!
//! A system call is the SYSCALL instruction. `rcx` and `r11` hold the caller's own return address and flags
//! afterwards; every register named as a result is defined; all others are kept.
//!
//! | register | in | out |
//! |---|---|---|
//! | `rax` | [`Number`] | 0, or an [`Error`] |
//! | `rdi` | first argument | first result |
//! | `rsi` | second argument (a length, where a message goes along) | second result (the length of what came) |
//! | `rdx` | third argument (a deadline, where the call can wait) | third result |
//! | `r8 r9 r10 r12 r13 r14` | the message's six words | the message's six words, zero beyond its length |
//! | `r15` | fourth argument | zero |
//!
//! Calls without a message take and return no words: they leave the six word registers zero.
//!
//! Deadlines are absolute, in nanoseconds of the [`Number::Clock`]; [`NO_DEADLINE`] never comes.

use crate::named::named;
use crate::package::Commands;

/// Bytes of a message that travel in registers; longer ones go through the two tasks' IPC buffers.
pub const MESSAGE_REGISTER_BYTES: usize = 48;
/// Words of a message that travel in registers.
pub const MESSAGE_WORDS: usize = 6;
/// A deadline that never comes.
pub const NO_DEADLINE: u64 = u64::MAX;
/// The handle that names nothing: for [`Number::ReplyReceive`] without an endpoint, or without a reply.
pub const NO_HANDLE: u64 = 0;
/// In place of the reply handle of a message that was posted ([`Number::PostReceive`]): nobody waits for an answer. It is no
/// reply handle.
pub const POSTED: u64 = u64::MAX;
/// Notification bit that the kernel sets when the task behind an endpoint that this task may call has stopped.
pub const PEER_STOPPED: u64 = 1 << 63;

/// The system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Number {
    /// Does nothing.
    Null = 0,
    /// Sends a message to an endpoint and waits for the answer.
    /// `rdi` = call handle, `rsi` = bytes, `rdx` = deadline, words.
    /// → `rsi` = bytes of the answer, words. Errors: denied (no such handle), invalid (length), dead peer, timed out.
    Call = 1,
    /// Answers a caller, or nobody, and waits for the next message or notification.
    /// `rdi` = reply handle or [`NO_HANDLE`], `rsi` = bytes of the answer, `rdx` = deadline of the waiting,
    /// `r15` = receive handle or [`NO_HANDLE`] (notifications only), words of the answer.
    /// → a message: `rdi` = reply handle, never zero, or [`POSTED`], `rsi` = bytes, `rdx` = badge of the caller, words; or
    /// → a notification: `rdi` = 0, `rdx` = the bits, which are cleared, never zero; `rsi` = bytes of the message that
    ///   came with them, mostly 0, words ([`Number::SignalReceive`]).
    /// Notifications go first. Errors: invalid (the reply handle is no longer good, or a length; nothing was waited
    /// for), dead peer (the caller has stopped since, whether it was restarted or not; nothing was waited for), denied
    /// (receive handle), timed out.
    ReplyReceive = 2,
    /// Answers a caller and goes on. `rdi` = reply handle, `rsi` = bytes, words. Errors: invalid, dead peer (as above).
    Reply = 3,
    /// Sets the granted bits in another task's notification word. `rdi` = signal handle.
    Signal = 4,
    /// Writes one line to the log under one of the component names granted to this task.
    /// `rdi` = log handle, `rsi` = bytes of UTF-8 text at the start of the IPC buffer, at most [`LOG_BYTES_MAX`].
    /// Errors: denied (handle), invalid (length), busy (too many lines; the line is dropped and counted).
    Log = 5,
    /// → `rdi` = nanoseconds since the kernel started its clock, monotonic; `rsi` = how long the processor has been
    /// halted since, in counts of the time-stamp counter.
    Clock = 6,
    /// Stops this task. `rdi` = exit code, `rsi` = bytes of a reason at the start of the IPC buffer, 0 for none.
    Exit = 7,
    /// Lets the next task of the same priority run.
    Yield = 8,
    /// Tells the kernel that this task has started: `rdi` = 0, or that it could not: `rdi` = 1. The first one counts.
    Ready = 9,
    /// What a device is. `rdi` = registers or device-information handle.
    /// → words: see [`DeviceInformation`]. A device that was not found gives `present == false`, not an error.
    DeviceInformation = 10,
    /// Reads a device register through the broker. `rdi` = registers handle, `rsi` = offset in the BAR, `rdx` = bytes,
    /// 4 or 8. → `rdi` = value. Errors: denied (not on the broker's list), invalid (device absent, offset, width).
    DeviceRead = 11,
    /// Writes a device register through the broker. `rdi`, `rsi`, `rdx` as for a read, `r15` = value.
    /// Errors: denied, invalid, busy (the device is not in a state for it yet: try again later).
    DeviceWrite = 12,
    /// Submits commands to a device queue through the broker and rings its doorbell once.
    /// `rdi` = registers handle, `rsi` = queue, `rdx` = number of commands at the start of the IPC buffer.
    /// → `rdi` = number accepted, from the first; if fewer than given, `rax` = error of the first one refused and
    /// `rsi` = the broker's reason code for it. Fewer may also be accepted without an error: submit the rest again.
    DeviceSubmit = 13,
    /// Takes completions of a device queue. `rdi` = registers handle, `rsi` = queue.
    /// → `rdi` = number of entries now at the start of the IPC buffer. Never waits.
    DeviceComplete = 14,
    /// Copies a finished command's data that lies in memory mapped nowhere into the IPC buffer.
    /// `rdi` = registers handle, `rsi` = queue, `rdx` = command identifier. → `rdi` = bytes.
    DeviceCollect = 15,
    /// Takes what was typed on the serial port. `rdi` = console handle.
    /// → `rdi` = [`ConsoleState`], `rsi` = number of bytes, words = the bytes, `rdx` = bytes lost since the last call
    /// because nobody took them. Never waits: the bits of the grant are set when there is something to take, when the
    /// boot was told, and when a line of the log went between what this task wrote.
    ConsoleRead = 16,
    /// Writes text to the serial port, in lines of which each begins with [`CONSOLE_PREFIX`], whatever the text is.
    /// `rdi` = console handle, `rsi` = bytes of text at the start of the IPC buffer, at most [`CONSOLE_BYTES_MAX`].
    /// A line feed ends a line, a backspace (8) takes back the last character of an unfinished one; every other byte
    /// that is not printable ASCII shows as `?`.
    /// Errors: denied (handle), invalid (length), busy (the port is slower than this task; nothing was written).
    ConsoleWrite = 17,
    /// Asks the kernel about the system. `rdi` = inspect handle, `rsi` = number of the entry, from 0, or place in the
    /// log. → `rdi` = place in the log of the first byte given, `rsi` = bytes now at the start of the IPC buffer, 0
    /// beyond the last entry: see [`crate::inspect`]. Errors: denied (handle).
    Inspect = 18,
    /// Switches the machine off, or resets it, as the handle says. `rdi` = power handle, `rsi` = 0: tells only whether
    /// there is a way, 1: does it, and does not return.
    /// → `rdi` = 1 if there is a way, 0 if there is none. Errors: denied (handle), invalid (`rsi`, or there is no way).
    Power = 19,
    /// Watches over a task, see [`crate::supervision`]. `rdi` = supervise handle, `rsi` = an
    /// [`Order`](crate::supervision::Order).
    /// → `rdi` = a [`Progress`](crate::supervision::Progress), words: see
    /// [`Supervised`](crate::supervision::Supervised), `rsi` = bytes at the start of the IPC buffer: the task's name, or
    /// where a record was asked for that in postcard, 0 if none is kept.
    /// Errors: denied (handle), invalid (no such order, or the task is not in a state for it).
    Supervise = 20,
    /// Stops a task. `rdi` = kill handle, `rsi` = an [`Ending`](crate::supervision::Ending).
    /// → `rsi` = bytes of the task's name at the start of the IPC buffer. Errors: denied (handle), invalid (`rsi`),
    /// dead peer (it has stopped already).
    Kill = 21,
    /// Tells the kernel that this task still goes round its loop, for a task whose supervisor wants to hear that.
    /// → `rdi` = nanoseconds after which to say it again, a quarter of those after which it is stopped; 0 if nobody
    /// wants to hear it.
    Alive = 22,
    /// What this task has of a device that it drives directly. `rdi` = registers handle.
    /// → `rdi` = where it is mapped, words: see [`DirectInformation`](crate::direct::DirectInformation).
    /// Errors: denied (handle), busy (it is not known yet which lane the device has: try again later), invalid (the lane
    /// is brokered: the other device calls are the way to it).
    DeviceDirect = 23,
    /// Gives a message along with the granted bits to a task that waits on an endpoint, and waits for the next message or
    /// notification: for what a server tells a client that is below it. Nothing is kept for a task that does not wait.
    /// `rdi` = signal handle, `rsi` = bytes, `rdx` = deadline of the waiting, `r15` = receive handle or [`NO_HANDLE`],
    /// words.
    /// → as for [`Number::ReplyReceive`], of which the other task's notification has `rsi` = bytes, and words. Errors,
    /// after which nothing was told and nothing waited for: denied (handles), invalid (length), dead peer, busy (that
    /// task does not wait on an endpoint: signal it).
    SignalReceive = 24,
    /// Gives a message to an endpoint whose server waits, without waiting for an answer, and waits for the next message or
    /// notification: for what is answered later, by a message of the server's own. Nothing is kept for a server that does not
    /// wait. `rdi` = call handle, `rsi` = bytes, `rdx` = deadline of the waiting, `r15` = receive handle or [`NO_HANDLE`],
    /// words.
    /// → as for [`Number::ReplyReceive`], of which the server's message has the reply handle [`POSTED`]. Errors, after which
    /// nothing was given and nothing waited for: denied (handles), invalid (length), dead peer, busy (the server does not
    /// wait on this endpoint: call it).
    PostReceive = 25,
}

named! {
    Number:
    Null "null",
    Call "call",
    ReplyReceive "reply-receive",
    Reply "reply",
    Signal "signal",
    Log "log",
    Clock "clock",
    Exit "exit",
    Yield "yield",
    Ready "ready",
    DeviceInformation "device-information",
    DeviceRead "device-read",
    DeviceWrite "device-write",
    DeviceSubmit "device-submit",
    DeviceComplete "device-complete",
    DeviceCollect "device-collect",
    ConsoleRead "console-read",
    ConsoleWrite "console-write",
    Inspect "inspect",
    Power "power",
    Supervise "supervise",
    Kill "kill",
    Alive "alive",
    DeviceDirect "device-direct",
    SignalReceive "signal-receive",
    PostReceive "post-receive",
}

impl Number {
    /// The call with this number, if there is one.
    pub const fn new(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Call,
            2 => Self::ReplyReceive,
            3 => Self::Reply,
            4 => Self::Signal,
            5 => Self::Log,
            6 => Self::Clock,
            7 => Self::Exit,
            8 => Self::Yield,
            9 => Self::Ready,
            10 => Self::DeviceInformation,
            11 => Self::DeviceRead,
            12 => Self::DeviceWrite,
            13 => Self::DeviceSubmit,
            14 => Self::DeviceComplete,
            15 => Self::DeviceCollect,
            16 => Self::ConsoleRead,
            17 => Self::ConsoleWrite,
            18 => Self::Inspect,
            19 => Self::Power,
            20 => Self::Supervise,
            21 => Self::Kill,
            22 => Self::Alive,
            23 => Self::DeviceDirect,
            24 => Self::SignalReceive,
            25 => Self::PostReceive,
            _ => return None,
        })
    }
}

/// Longest text of one log line, in bytes; longer text is invalid.
pub const LOG_BYTES_MAX: usize = 1024;
/// Longest text of one [`Number::ConsoleWrite`], in bytes.
pub const CONSOLE_BYTES_MAX: usize = 256;
/// What each line of the console's text begins with on the serial port. No component's name does, so no such line is an
/// event of the log.
pub const CONSOLE_PREFIX: &str = "> ";

/// How the console is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleState {
    /// There is a serial port.
    pub present: bool,
    /// `charter: boot complete`, or `boot incomplete`, is in the log.
    pub boot_told: bool,
    /// Since the last call, a line of the log ended a line that this task had not finished.
    pub interrupted: bool,
}

impl ConsoleState {
    /// As a result of [`Number::ConsoleRead`].
    pub const fn to_word(self) -> u64 {
        self.present as u64 | (self.boot_told as u64) << 1 | (self.interrupted as u64) << 2
    }

    /// From a result of [`Number::ConsoleRead`].
    pub const fn from_word(word: u64) -> Self {
        Self { present: word & 1 != 0, boot_told: word & 2 != 0, interrupted: word & 4 != 0 }
    }
}

/// Answers that are not success. Each names a different fault, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u64)]
pub enum Error {
    /// The caller holds no grant for this.
    #[error("denied")]
    Denied = 1,
    /// The caller's arguments make no sense.
    #[error("invalid")]
    Invalid = 2,
    /// The other side stopped before it answered.
    #[error("dead peer")]
    DeadPeer = 3,
    /// The caller's deadline came first.
    #[error("timed out")]
    TimedOut = 4,
    /// Nothing is wrong, but not now.
    #[error("busy")]
    Busy = 5,
}

impl Error {
    /// The error with this code; `None` for 0 (success) and for codes that no error has.
    pub const fn new(code: u64) -> Option<Self> {
        Some(match code {
            1 => Self::Denied,
            2 => Self::Invalid,
            3 => Self::DeadPeer,
            4 => Self::TimedOut,
            5 => Self::Busy,
            _ => return None,
        })
    }
}

/// A PCI function's place: segment, bus, device, function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct PciAddress {
    /// PCI segment group.
    pub segment: u16,
    /// Bus number.
    pub bus: u8,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

impl core::fmt::Display for PciAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.segment, self.bus, self.device, self.function)
    }
}

/// How a driver's commands reach its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Checked and authored one by one by the broker.
    Brokered,
    /// Through the driver's own rings, behind a verified IOMMU.
    Direct,
}

impl Lane {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brokered => "brokered",
            Self::Direct => "direct",
        }
    }
}

/// What the kernel tells of a device, read from its configuration space at the time of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInformation {
    /// Whether a function matched the charter's selector at this boot and answers.
    pub present: bool,
    /// The device's broker has switched the device on (its driver has bound it).
    pub enabled: bool,
    /// PCI vendor identifier.
    pub vendor: u16,
    /// PCI device identifier.
    pub device: u16,
    /// PCI class, subclass and programming interface.
    pub class: (u8, u8, u8),
    /// Where the function is.
    pub address: PciAddress,
    /// How commands reach it.
    pub lane: Lane,
    /// What the grant allows to be done with some of it.
    pub commands: Commands,
}

impl DeviceInformation {
    /// As the six words of a system call's result.
    pub const fn to_words(self) -> [u64; MESSAGE_WORDS] {
        let flags = self.present as u64
            | (self.enabled as u64) << 1
            | match self.lane {
                Lane::Brokered => 0,
                Lane::Direct => 1 << 2,
            }
            | (self.commands.bits() as u64) << 8;
        let identity = self.vendor as u64
            | (self.device as u64) << 16
            | (self.class.0 as u64) << 32
            | (self.class.1 as u64) << 40
            | (self.class.2 as u64) << 48;
        let place = self.address.segment as u64
            | (self.address.bus as u64) << 16
            | (self.address.device as u64) << 24
            | (self.address.function as u64) << 32;
        [flags, identity, place, 0, 0, 0]
    }

    /// From the six words of a system call's result.
    pub const fn from_words([flags, identity, place, ..]: [u64; MESSAGE_WORDS]) -> Self {
        Self {
            present: flags & 1 != 0,
            enabled: flags & 2 != 0,
            vendor: identity as u16,
            device: (identity >> 16) as u16,
            class: ((identity >> 32) as u8, (identity >> 40) as u8, (identity >> 48) as u8),
            address: PciAddress {
                segment: place as u16,
                bus: (place >> 16) as u8,
                device: (place >> 24) as u8,
                function: (place >> 32) as u8,
            },
            lane: if flags & 4 != 0 { Lane::Direct } else { Lane::Brokered },
            commands: Commands::from_bits((flags >> 8) as u8),
        }
    }
}

/// Bytes of one command in the IPC buffer of [`Number::DeviceSubmit`].
pub const DEVICE_COMMAND_BYTES: usize = 64;
/// Most commands in one [`Number::DeviceSubmit`].
pub const DEVICE_COMMANDS_MAX: usize = crate::layout::IPC_BUFFER_BYTES / DEVICE_COMMAND_BYTES;
/// Bytes of one completion in the IPC buffer after [`Number::DeviceComplete`].
pub const DEVICE_COMPLETION_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_error_has_its_own_code() {
        for code in 0..64 {
            if let Some(number) = Number::new(code) {
                assert_eq!(number as u64, code);
            }
            if let Some(error) = Error::new(code) {
                assert_eq!(error as u64, code);
            }
        }
        assert_eq!(Error::new(0), None);
    }

    #[test]
    fn the_console_state_survives_a_register() {
        for word in 0..8 {
            assert_eq!(ConsoleState::from_word(word).to_word(), word);
        }
    }

    #[test]
    fn device_information_survives_the_registers() {
        let information = DeviceInformation {
            present: true,
            enabled: false,
            vendor: 0x1b36,
            device: 0x0010,
            class: (1, 8, 2),
            address: PciAddress { segment: 0x1234, bus: 0xff, device: 31, function: 7 },
            lane: Lane::Direct,
            commands: Commands::from_bits(0b100_0101),
        };
        assert_eq!(DeviceInformation::from_words(information.to_words()), information);
    }
}
