//! What the two halves of the driver agree on: the form of a command on its way to the broker, and the limits.
//!
//! A driver hands over [`SubmissionEntry`]s in which addresses are replaced by names:
//! - PRP entry 1 is a byte offset in a DMA region, a multiple of 4; PRP entry 2 is that region's number, from 0
//!   ([`SubmissionEntry::with_data`]). Both are zero in every command that moves no data to or from a region:
//!   Identify among them, whose data the driver collects afterwards from memory mapped nowhere.
//! - The command identifier is the driver's, below [`ADMIN_COMMANDS`] on queue 0 and below [`IO_COMMANDS`] on the
//!   others, and not in flight. Its completion carries it again.
//! - Metadata pointer, flags and all reserved fields are zero.
//!
//! Only these are let through: Identify (controller, active namespaces, and namespaces that the grant names: others are
//! denied), Set Features (Number of Queues, for at most [`IO_QUEUES_MAX`]), creation and deletion of I/O queues, Read
//! and Flush.
//!
//! Queues: I/O submission queue *n* belongs to I/O completion queue *n*, from 1 to what Set Features (Number of
//! Queues) was granted and at most [`IO_QUEUES_MAX`]; both have [`io_queue_entries`] entries, completions interrupt on
//! any granted vector. A queue is deleted only when none of its commands is in flight, and a completion queue after
//! its submission queue.
//!
//! After every reset the driver identifies the controller and each namespace again before it reads: the broker
//! believes only what it read itself since. A reset ends every command in flight without a completion.
//!
//! Completions come with the driver's identifier, the status, and dword 0 where a rule gives it a meaning; phase tag
//! and dword 1 are zero.

use crate::registers::Capabilities;

#[cfg(doc)]
use crate::entry::SubmissionEntry;

/// Commands that may be in flight on the admin queue; their identifiers are below it.
pub const ADMIN_COMMANDS: u16 = 8;
/// Commands that may be in flight on one I/O queue; their identifiers are below it.
pub const IO_COMMANDS: u16 = 64;
/// Most I/O queue pairs.
pub const IO_QUEUES_MAX: u16 = 2;
/// Most bytes in one Read, if the controller's MDTS allows it.
pub const TRANSFER_BYTES_MAX: u32 = 512 * 1024;

/// Entries of every I/O queue of a controller: 128, or as many as it can have.
pub const fn io_queue_entries(capabilities: Capabilities) -> u32 {
    let most = capabilities.queue_entries_max();
    if most < 128 { most } else { 128 }
}

/// Most bytes in one Read for a controller whose MDTS is this, and whose smallest page is 4 KiB.
pub const fn transfer_bytes_max(transfer_shift_max: u8) -> u32 {
    // 2^7 pages are 512 KiB.
    if transfer_shift_max == 0 || transfer_shift_max >= 7 { TRANSFER_BYTES_MAX } else { 4096 << transfer_shift_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_bounded_by_the_controller_and_by_the_list() {
        assert_eq!(transfer_bytes_max(0), TRANSFER_BYTES_MAX);
        assert_eq!(transfer_bytes_max(1), 8192);
        assert_eq!(transfer_bytes_max(6), 256 * 1024);
        assert_eq!(transfer_bytes_max(7), TRANSFER_BYTES_MAX);
        assert_eq!(transfer_bytes_max(255), TRANSFER_BYTES_MAX);
    }

    #[test]
    fn queues_are_no_longer_than_the_controller_allows() {
        assert_eq!(io_queue_entries(Capabilities(0x07ff)), 128);
        assert_eq!(io_queue_entries(Capabilities(1)), 2);
        assert_eq!(io_queue_entries(Capabilities(62)), 63);
    }
}
