//! What can go wrong with a controller as a whole. What goes wrong with one transfer is
//! [`protocol::nvme::Failure`].

use core::fmt;

use abi::Error;
use nvme_spec::Status;

/// Why a controller does not work. Reads as `reason=… key=value`, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Registers read all ones, or the kernel no longer knows the device.
    Gone,
    /// CSTS.CFS: the controller says that it has failed (base 2.0, 3.1.3.6).
    Fatal,
    /// CSTS.SHST did not become 10b in time (base 2.0, 3.6.1).
    ShutdownTimeout,
    /// CSTS.RDY did not follow CC.EN within CAP.TO (base 2.0, 3.1.3.1).
    NotReady {
        /// Whether it was to become ready, or to stop.
        enable: bool,
    },
    /// The kernel does not let the driver write CC.
    NotGranted(Error),
    /// The controller lacks what this driver needs.
    Unsupported(&'static str),
    /// The broker refused an admin command.
    Refused {
        /// The command.
        opcode: u8,
        /// The answer.
        error: Error,
        /// The broker's reason code.
        reason: u16,
    },
    /// The controller reported an error for an admin command.
    AdminStatus {
        /// The command.
        opcode: u8,
        /// Its status.
        status: Status,
    },
    /// An admin command was not answered in time.
    AdminTimeout {
        /// The command.
        opcode: u8,
    },
    /// What Identify returned makes no sense.
    Malformed(&'static str),
    /// Resets in a row without one transfer that ended well between them.
    TooManyResets,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Gone => f.write_str("reason=device-gone"),
            Self::Fatal => f.write_str("reason=controller-fatal-status"),
            Self::ShutdownTimeout => f.write_str("reason=does-not-shut-down"),
            Self::NotReady { enable: true } => f.write_str("reason=not-ready"),
            Self::NotReady { enable: false } => f.write_str("reason=does-not-stop"),
            Self::NotGranted(error) => write!(f, "reason=not-granted error=\"{error}\""),
            Self::Unsupported(what) => write!(f, "reason=unsupported what={what}"),
            Self::Refused { opcode, error, reason } => {
                write!(f, "reason=refused opcode={opcode:#04x} error=\"{error}\" broker_reason={reason}")
            }
            Self::AdminStatus { opcode, status } => write!(
                f,
                "reason=status opcode={opcode:#04x} status_type={} status_code={:#04x}",
                status.kind(),
                status.code()
            ),
            Self::AdminTimeout { opcode } => write!(f, "reason=timeout opcode={opcode:#04x}"),
            Self::Malformed(what) => write!(f, "reason=malformed what={what}"),
            Self::TooManyResets => f.write_str("reason=too-many-resets"),
        }
    }
}
