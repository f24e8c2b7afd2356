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

/// Log page identifiers of Get Log Page (base 2.0, figure 202), and what comes with them.
pub mod log {
    /// Error Information.
    pub const ERRORS: u8 = 0x01;
    /// SMART / Health Information.
    pub const HEALTH: u8 = 0x02;
    /// Firmware Slot Information.
    pub const FIRMWARE_SLOTS: u8 = 0x03;
    /// Changed Namespace List: a [`NamespaceList`](crate::identify::NamespaceList).
    pub const CHANGED_NAMESPACES: u8 = 0x04;

    /// Bytes of an entry of Error Information (base 2.0, figure 206).
    pub const ERROR_BYTES: usize = 64;
    /// Bytes of SMART / Health Information, and of Firmware Slot Information.
    pub const HEALTH_BYTES: usize = 512;
    /// RAE in dword 10: the event that the log page belongs to stays reported.
    pub const RETAIN_EVENT: u32 = 1 << 15;
}

/// An asynchronous event, as dword 0 of its completion tells it (base 2.0, figure 146).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(pub u32);

impl Event {
    /// The bits that have a meaning: type, information, log page.
    pub const MASK: u32 = 0x00ff_ff07;
    /// Namespace Attribute Changed: a notice.
    pub const NAMESPACE_ATTRIBUTE_CHANGED: Self = Self::new(2, 0x00, log::CHANGED_NAMESPACES);

    /// Type (0 error, 1 SMART / health, 2 notice), information, log page.
    pub const fn new(kind: u8, information: u8, log_page: u8) -> Self {
        Self(kind as u32 & 7 | (information as u32) << 8 | (log_page as u32) << 16)
    }

    /// 0 error, 1 SMART / health, 2 notice, 6 of the I/O command set, 7 vendor specific.
    pub const fn kind(self) -> u8 {
        (self.0 & 7) as u8
    }

    /// What happened, by its type.
    pub const fn information(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The log page that tells more; reading it lets the next such event be reported.
    pub const fn log_page(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Whether namespaces may be others than they were: whatever log page it names.
    pub const fn changes_namespaces(self) -> bool {
        self.kind() == 2 && self.information() == 0x00
    }
}

/// The bits of Asynchronous Event Configuration (base 2.0, figure 326) for critical SMART warnings, all of them.
pub const EVENTS_HEALTH: u32 = 0xff;
/// The bit for Namespace Attribute notices; OAES in Identify Controller has it where the controller can.
pub const EVENTS_NAMESPACES: u32 = 1 << 8;

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

    /// Set Features (base 2.0, 5.27) for the controller as it is now: dword 11 is the feature's value.
    pub fn set_feature(identifier: u16, feature: u8, value: u32) -> Self {
        Self { dword10: u32::from(feature).into(), dword11: value.into(), ..Self::new(SET_FEATURES, identifier, 0) }
    }

    /// Get Features (base 2.0, 5.15): the current value.
    pub fn get_feature(identifier: u16, feature: u8) -> Self {
        Self { dword10: u32::from(feature).into(), ..Self::new(GET_FEATURES, identifier, 0) }
    }

    /// Get Log Page (base 2.0, 5.16): the first `bytes`, a multiple of 4 up to 4096, of a log page of the controller.
    pub fn get_log_page(identifier: u16, page: u8, bytes: usize) -> Self {
        let dwords = (bytes / 4).wrapping_sub(1) as u32 & 0xffff;
        Self {
            dword10: (u32::from(page) | dwords << 16).into(),
            ..Self::new(GET_LOG_PAGE, identifier, crate::BROADCAST_NSID)
        }
    }

    /// Asynchronous Event Request (base 2.0, 5.2): ends when there is an event.
    pub fn asynchronous_event_request(identifier: u16) -> Self {
        Self::new(ASYNCHRONOUS_EVENT_REQUEST, identifier, 0)
    }

    /// Abort (base 2.0, 5.1) of the command with identifier `aborted` on a submission queue.
    pub fn abort(identifier: u16, queue: u16, aborted: u16) -> Self {
        Self { dword10: (u32::from(queue) | u32::from(aborted) << 16).into(), ..Self::new(ABORT, identifier, 0) }
    }

    /// Identify the controller for the NVM command set (NVM command set 1.0, 4.1.5.3).
    pub fn identify_nvm(identifier: u16) -> Self {
        Self::identify(identifier, Structure::ControllerNvm, 0)
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
