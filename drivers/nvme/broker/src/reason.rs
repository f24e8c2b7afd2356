//! Why the broker refused: one entry a rule.

use abi::Error;
use broker::Refusal;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $error:ident, $text:literal;)*) => {
        /// Why the broker refused. The texts are parts of a sentence; the codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Reason {
            $(#[doc = $text] $(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What the driver is told.
            pub const fn error(self) -> Error {
                match self { $(Self::$name => Error::$error,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    // The device.
    NotQuiesced = 1, Busy, "the device has not been stopped yet";
    Quarantined = 2, Invalid, "the device did not stop in its time and is not used again";
    DeviceGone = 3, Invalid, "the device is gone";
    DeviceFailed = 4, Invalid, "the controller reports a fatal error and wants a reset";
    NotEnabled = 5, Invalid, "the controller is not enabled";
    NotReady = 6, Busy, "the controller is not ready yet";
    Resetting = 7, Busy, "the controller has not finished its reset";
    ShuttingDown = 8, Invalid, "the controller was told to shut down";
    UnsupportedController = 9, Denied, "the controller has no 4 KiB pages or no NVM command set";
    // Registers.
    RegisterNotListed = 20, Denied, "the register is not on the list";
    RegisterWidth = 21, Invalid, "the register has another width";
    ReservedShutdown = 22, Invalid, "CC.SHN is reserved, or set while the controller is disabled";
    DoorbellOutside = 23, Denied, "the doorbell lies outside the BAR or in the MSI-X table";
    // Any command.
    NoSuchQueue = 30, Invalid, "the queue does not exist";
    QueueBusy = 31, Busy, "the queue is being created or deleted";
    IdentifierOutOfRange = 32, Invalid, "the command identifier is too large";
    IdentifierInFlight = 33, Invalid, "the command identifier is in flight";
    OpcodeWithoutRule = 34, Denied, "the opcode has no rule";
    FieldNotZero = 35, Denied, "a flag, pointer or reserved field is not zero";
    FeatureWithoutRule = 36, Denied, "the feature has no rule";
    StructureWithoutRule = 37, Denied, "the Identify structure has no rule";
    LogPageWithoutRule = 38, Denied, "the log page has no rule";
    LogPageLength = 39, Denied, "the log page is asked for in another length than it has";
    FeatureValue = 40, Denied, "the feature's value is not allowed";
    AttributesWithoutRule = 42, Denied, "the attributes have no rule";
    CommandNotListed = 43, Denied, "the grant does not list this command";
    NotInFlight = 41, Invalid, "no such command is in flight";
    // Namespaces and blocks.
    NamespaceInvalid = 50, Invalid, "the namespace identifier is not valid here";
    NamespaceNotGranted = 51, Denied, "the namespace is not granted";
    BroadcastNotHarmless = 52, Denied, "the broadcast namespace identifier is not harmless here";
    NamespaceNotLearned = 53, Denied, "the namespace was not identified since the last reset";
    NamespaceUnusable = 54, Denied, "the namespace is inactive, has metadata, or blocks of a size that is not supported";
    ControllerNotIdentified = 55, Denied, "the controller was not identified since the last reset";
    BlocksBeyondEnd = 56, Invalid, "the blocks lie beyond the namespace's end";
    BlocksNotGranted = 57, Denied, "the blocks are not granted";
    WriteNotGranted = 58, Denied, "the blocks are granted for reading only";
    NoBlocks = 59, Invalid, "a range has no blocks";
    // Data.
    RegionUnknown = 70, Denied, "there is no such region";
    OffsetUnaligned = 71, Invalid, "the offset is not a multiple of 4";
    BeyondRegion = 72, Denied, "the data does not lie inside the region";
    TransferTooLong = 73, Invalid, "the transfer is longer than one command may be";
    NoData = 74, Invalid, "the command left no data";
    BufferTooShort = 75, Invalid, "the buffer is shorter than the data";
    PayloadMissing = 76, Invalid, "the command's ranges do not follow it";
    TooManyRanges = 77, Invalid, "the command has more ranges than are taken";
    // Queue management.
    QueueCount = 90, Denied, "the number of queues is not allowed";
    QueuesExist = 91, Invalid, "there are I/O queues";
    QueueNotGranted = 92, Denied, "the controller or the broker grants no queue of that number";
    QueueExists = 93, Invalid, "the queue exists";
    QueueSize = 94, Denied, "the queue's size is not the one allowed";
    QueueAttributes = 95, Denied, "the queue's attributes are not the ones allowed";
    VectorNotGranted = 96, Denied, "the interrupt vector is not granted";
    CommandsInFlight = 97, Busy, "commands of the queue are in flight";
    QueueInUse = 98, Invalid, "the completion queue's submission queue exists";
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

impl broker::Reason for Reason {
    fn code(self) -> u16 {
        self as u16
    }
}

impl From<Reason> for Refusal<Reason> {
    fn from(because: Reason) -> Self {
        Self { error: because.error(), because }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::Reason as _;

    #[test]
    fn every_reason_has_a_code_and_a_text_of_its_own() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_ne!(reason.code(), 0);
            for other in &Reason::ALL[..position] {
                assert_ne!(reason.code(), other.code());
                assert_ne!(reason.text(), other.text());
            }
        }
    }
}
