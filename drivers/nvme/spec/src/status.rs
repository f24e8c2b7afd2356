//! How a command ended (base 2.0, 3.3.3.2.1).

/// The status field of a completion entry, 15 bits, without the phase tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// Successful completion.
    pub const SUCCESS: Self = Self::generic(0x00);
    /// The opcode is not valid.
    pub const INVALID_OPCODE: Self = Self::generic(0x01);
    /// A field of the command is not valid.
    pub const INVALID_FIELD: Self = Self::generic(0x02);
    /// The command identifier is in use.
    pub const IDENTIFIER_CONFLICT: Self = Self::generic(0x03);
    /// Transferring the data failed.
    pub const DATA_TRANSFER_ERROR: Self = Self::generic(0x04);
    /// The controller has failed within.
    pub const INTERNAL_ERROR: Self = Self::generic(0x06);
    /// An Abort command ended it.
    pub const ABORT_REQUESTED: Self = Self::generic(0x07);
    /// Its submission queue was deleted.
    pub const ABORTED_QUEUE_DELETED: Self = Self::generic(0x08);
    /// No such namespace, or a format that does not fit.
    pub const INVALID_NAMESPACE: Self = Self::generic(0x0b);
    /// A PRP entry's offset is not valid.
    pub const PRP_OFFSET_INVALID: Self = Self::generic(0x13);
    /// Blocks beyond the namespace's end (NVM command set).
    pub const LBA_OUT_OF_RANGE: Self = Self::generic(0x80);
    /// The completion queue is not valid (command specific: Create I/O Submission Queue).
    pub const COMPLETION_QUEUE_INVALID: Self = Self::specific(0x00);
    /// The queue identifier is not valid (command specific: queue creation and deletion).
    pub const QUEUE_IDENTIFIER_INVALID: Self = Self::specific(0x01);
    /// The queue size is not valid (command specific: queue creation).
    pub const QUEUE_SIZE_INVALID: Self = Self::specific(0x02);
    /// The interrupt vector is not valid (command specific: Create I/O Completion Queue).
    pub const INTERRUPT_VECTOR_INVALID: Self = Self::specific(0x08);
    /// Queues must be deleted in another order (command specific: queue deletion).
    pub const QUEUE_DELETION_INVALID: Self = Self::specific(0x0c);
    /// Abort is asked for more often at a time than ACL allows (command specific: Abort).
    pub const ABORT_LIMIT_EXCEEDED: Self = Self::specific(0x03);
    /// More Asynchronous Event Requests than AERL allows (command specific).
    pub const EVENT_LIMIT_EXCEEDED: Self = Self::specific(0x05);
    /// The log page is not valid (command specific: Get Log Page).
    pub const LOG_PAGE_INVALID: Self = Self::specific(0x09);
    /// The namespace is write protected.
    pub const WRITE_PROTECTED: Self = Self::generic(0x20);
    /// Compare found a difference (media and data integrity, NVM command set).
    pub const COMPARE_FAILURE: Self = Self(0x2 << 8 | 0x85);
    /// The data could not be written to the medium (media and data integrity, NVM command set).
    pub const WRITE_FAULT: Self = Self(0x2 << 8 | 0x80);
    /// The data could not be read from the medium (media and data integrity, NVM command set).
    pub const UNRECOVERED_READ_ERROR: Self = Self(0x2 << 8 | 0x81);

    /// A status of type 0, generic command status.
    pub const fn generic(code: u8) -> Self {
        Self(code as u16)
    }

    /// A status of type 1, command specific status.
    pub const fn specific(code: u8) -> Self {
        Self(1 << 8 | code as u16)
    }

    /// SC: status code.
    pub const fn code(self) -> u8 {
        self.0 as u8
    }

    /// SCT: status code type, 0 to 7.
    pub const fn kind(self) -> u8 {
        ((self.0 >> 8) & 0b111) as u8
    }

    /// DNR: the same command would fail again.
    pub const fn do_not_retry(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// Whether type and code are those of `other`.
    pub const fn is(self, other: Self) -> bool {
        (self.0 ^ other.0) & 0x7ff == 0
    }

    /// Type and code are those of success.
    pub const fn is_success(self) -> bool {
        self.0 & 0x7ff == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_type_and_code_only() {
        assert!(Status(1 << 13).is_success());
        assert!(!Status::INVALID_FIELD.is_success());
        assert!(!Status::specific(0).is_success());
        assert_eq!((Status::UNRECOVERED_READ_ERROR.kind(), Status::UNRECOVERED_READ_ERROR.code()), (2, 0x81));
    }
}
