//! What the two halves of the driver agree on: the form of a command on its way to the broker, and the limits.
//!
//! A driver hands over [`SubmissionEntry`]s in which addresses are replaced by names:
//! - PRP entry 1 is a byte offset in a DMA region, a multiple of 4; PRP entry 2 is that region's number, from 0
//!   ([`SubmissionEntry::with_data`]). Both are zero in every command that moves no data to or from a region:
//!   Identify among them, whose data the driver collects afterwards from memory mapped nowhere.
//! - The command identifier is the driver's. Its low six bits are a slot, below [`ADMIN_COMMANDS`] on queue 0 and below
//!   [`IO_COMMANDS`] on the others, in which no command is in flight; the rest is a sequence number that means nothing
//!   to the broker. Its completion carries it again, whole.
//! - Metadata pointer, flags and all reserved fields are zero.
//! - The ranges of Dataset Management, at most [`RANGES_MAX`], follow their command in the same submission, in
//!   [`range_units`] units of 64 bytes which count as commands there; what a unit does not need is ignored.
//! - Abort names the command to be aborted by the driver's own identifier.
//!
//! Only these are let through:
//! - Identify: controller, the same for the NVM command set, active namespaces, and namespaces that the grant names;
//! - Get Log Page: Error Information (of which only the first half of each entry is told), SMART / Health Information,
//!   Firmware Slot Information, Changed Namespace List, each as long as it is, or a page of 4096 bytes, for the whole
//!   controller; collected like what Identify returns;
//! - Get Features and Set Features: Number of Queues (for at most [`IO_QUEUES_MAX`]), Volatile Write Cache, Asynchronous
//!   Event Configuration (SMART warnings and namespace attributes);
//! - Asynchronous Event Request and Abort; creation and deletion of I/O queues;
//! - Read, Write, Compare, Verify, Write Zeroes, Dataset Management (deallocate) and Flush.
//!
//! After a Namespace Attribute Changed event, which the broker learns by itself, namespaces must be identified again
//! before anything is done with them.
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
/// Commands of an I/O queue after which a submission takes no further one: an entry of the kernel is bounded, and each
/// takes up to 500 instructions. The driver submits the rest again.
pub const COMMANDS_AT_ONCE: usize = 32;
/// Most I/O queue pairs.
pub const IO_QUEUES_MAX: u16 = 2;
/// Most ranges in one Dataset Management command.
pub const RANGES_MAX: usize = 32;
/// Ranges in one unit of a submission.
pub const RANGES_IN_UNIT: usize = 4;

/// Units that so many ranges take.
pub const fn range_units(ranges: usize) -> usize {
    ranges.div_ceil(RANGES_IN_UNIT)
}

/// Most bytes in one Read, Write or Compare, if the controller's MDTS allows it.
pub const TRANSFER_BYTES_MAX: u32 = 512 * 1024;

/// Entries of every I/O queue of a controller: 128, or as many as it can have.
pub const fn io_queue_entries(capabilities: Capabilities) -> u32 {
    let most = capabilities.queue_entries_max();
    if most < 128 { most } else { 128 }
}

/// Most bytes in one Read, Write or Compare for a controller whose MDTS is this, and whose smallest page is 4 KiB.
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
