//! Admin commands (base 2.0, 5).

use crate::entry::SubmissionEntry;
use crate::identify::Structure;

/// Delete I/O Submission Queue (5.6).
pub const DELETE_SUBMISSION_QUEUE: u8 = 0x00;
/// Create I/O Submission Queue (5.5).
pub const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
/// Get Log Page (5.16).
pub const GET_LOG_PAGE: u8 = 0x02;
/// Delete I/O Completion Queue (5.7).
pub const DELETE_COMPLETION_QUEUE: u8 = 0x04;
/// Create I/O Completion Queue (5.4).
pub const CREATE_COMPLETION_QUEUE: u8 = 0x05;
/// Identify (5.17).
pub const IDENTIFY: u8 = 0x06;
/// Abort (5.1).
pub const ABORT: u8 = 0x08;
/// Set Features (5.27).
pub const SET_FEATURES: u8 = 0x09;
/// Get Features (5.15).
pub const GET_FEATURES: u8 = 0x0a;
/// Asynchronous Event Request (5.2).
pub const ASYNCHRONOUS_EVENT_REQUEST: u8 = 0x0c;
/// Namespace Management (5.23).
pub const NAMESPACE_MANAGEMENT: u8 = 0x0d;
/// Firmware Commit (5.12).
pub const FIRMWARE_COMMIT: u8 = 0x10;
/// Firmware Image Download (5.13).
pub const FIRMWARE_DOWNLOAD: u8 = 0x11;
/// Namespace Attachment (5.22).
pub const NAMESPACE_ATTACHMENT: u8 = 0x15;
/// Virtualization Management (5.28).
pub const VIRTUALIZATION_MANAGEMENT: u8 = 0x1c;
/// Doorbell Buffer Config (5.8): gives the controller two addresses that it reads and writes for ever.
pub const DOORBELL_BUFFER_CONFIG: u8 = 0x7c;
/// Format NVM (5.14).
pub const FORMAT_NVM: u8 = 0x80;
/// Security Send (5.26).
pub const SECURITY_SEND: u8 = 0x81;
/// Security Receive (5.25).
pub const SECURITY_RECEIVE: u8 = 0x82;
/// Sanitize (5.24).
pub const SANITIZE: u8 = 0x84;

/// Feature identifiers of Set Features and Get Features (base 2.0, figure 316).
pub mod feature {
    /// Arbitration.
    pub const ARBITRATION: u8 = 0x01;
    /// Power Management.
    pub const POWER_MANAGEMENT: u8 = 0x02;
    /// Volatile Write Cache.
    pub const VOLATILE_WRITE_CACHE: u8 = 0x06;
    /// Number of Queues.
    pub const NUMBER_OF_QUEUES: u8 = 0x07;
    /// Interrupt Coalescing.
    pub const INTERRUPT_COALESCING: u8 = 0x08;
    /// Interrupt Vector Configuration.
    pub const INTERRUPT_VECTOR_CONFIGURATION: u8 = 0x09;
    /// Asynchronous Event Configuration.
    pub const ASYNCHRONOUS_EVENT_CONFIGURATION: u8 = 0x0b;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 0x0e;
    /// Host Memory Buffer: gives the controller memory for ever.
    pub const HOST_MEMORY_BUFFER: u8 = 0x0d;
}

/// Numbers of I/O queues, as Set Features asks for them in dword 11 and its completion grants them in dword 0 (base
/// 2.0, 5.27.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// I/O submission queues, 1 to 65,535 in a request; the answer may be more than was asked for.
    pub submission: u32,
    /// I/O completion queues, likewise.
    pub completion: u32,
}

impl QueueCounts {
    /// From a dword.
    pub const fn from_dword(dword: u32) -> Self {
        Self { submission: (dword & 0xffff) + 1, completion: (dword >> 16) + 1 }
    }

    /// As a dword.
    pub const fn to_dword(self) -> u32 {
        (self.submission.wrapping_sub(1) & 0xffff) | (self.completion.wrapping_sub(1) & 0xffff) << 16
    }
}

/// PC in dword 11 of both queue creations: physically contiguous.
pub const QUEUE_CONTIGUOUS: u32 = 1 << 0;
/// IEN in dword 11 of Create I/O Completion Queue: completions interrupt.
pub const QUEUE_INTERRUPTS: u32 = 1 << 1;

fn queue_dword10(queue: u16, entries: u32) -> u32 {
    u32::from(queue) | (entries.wrapping_sub(1) & 0xffff) << 16
}

impl SubmissionEntry {
    /// Identify a structure (base 2.0, 5.17); `nsid` as the structure asks for.
    pub fn identify(identifier: u16, structure: Structure, nsid: u32) -> Self {
        Self { dword10: (structure as u32).into(), ..Self::new(IDENTIFY, identifier, nsid) }
    }

    /// Set Features: Number of Queues (base 2.0, 5.27.1.5).
    pub fn set_number_of_queues(identifier: u16, counts: QueueCounts) -> Self {
        Self {
            dword10: u32::from(feature::NUMBER_OF_QUEUES).into(),
            dword11: counts.to_dword().into(),
            ..Self::new(SET_FEATURES, identifier, 0)
        }
    }

    /// Create a contiguous I/O completion queue (base 2.0, 5.4) that interrupts on an MSI-X table entry; `entries` is
    /// 2 to 65,536.
    pub fn create_completion_queue(identifier: u16, queue: u16, entries: u32, vector: u16) -> Self {
        Self {
            dword10: queue_dword10(queue, entries).into(),
            dword11: (QUEUE_CONTIGUOUS | QUEUE_INTERRUPTS | u32::from(vector) << 16).into(),
            ..Self::new(CREATE_COMPLETION_QUEUE, identifier, 0)
        }
    }

    /// Create a contiguous I/O submission queue (base 2.0, 5.5) of urgent priority (which round robin ignores);
    /// `entries` is 2 to 65,536.
    pub fn create_submission_queue(identifier: u16, queue: u16, entries: u32, completion_queue: u16) -> Self {
        Self {
            dword10: queue_dword10(queue, entries).into(),
            dword11: (QUEUE_CONTIGUOUS | u32::from(completion_queue) << 16).into(),
            ..Self::new(CREATE_SUBMISSION_QUEUE, identifier, 0)
        }
    }

    /// Delete an I/O completion queue (base 2.0, 5.7), which no submission queue uses any more.
    pub fn delete_completion_queue(identifier: u16, queue: u16) -> Self {
        Self { dword10: u32::from(queue).into(), ..Self::new(DELETE_COMPLETION_QUEUE, identifier, 0) }
    }

    /// Delete an I/O submission queue (base 2.0, 5.6).
    pub fn delete_submission_queue(identifier: u16, queue: u16) -> Self {
        Self { dword10: u32::from(queue).into(), ..Self::new(DELETE_SUBMISSION_QUEUE, identifier, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_counts_are_zero_based() {
        assert_eq!(QueueCounts { submission: 1, completion: 4 }.to_dword(), 0x0003_0000);
        assert_eq!(QueueCounts::from_dword(0x0003_003f), QueueCounts { submission: 64, completion: 4 });
    }

    #[test]
    fn queue_creation_puts_size_and_identifier_in_dword_10() {
        let completion = SubmissionEntry::create_completion_queue(7, 1, 256, 2);
        assert_eq!((completion.dword10.get(), completion.dword11.get()), (0x00ff_0001, 0x0002_0003));
        let submission = SubmissionEntry::create_submission_queue(7, 1, 128, 3);
        assert_eq!((submission.dword10.get(), submission.dword11.get()), (0x007f_0001, 0x0003_0001));
    }
}
