//! Where things lie in hidden memory: all that the controller reads and writes besides the driver's regions.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 KiB | admin submission ring, [`ADMIN_ENTRIES`] entries |
//! | 4 KiB | 4 KiB | admin completion ring |
//! | 8 KiB | 32 KiB | one page for each admin command in flight, for what Identify returns |
//! | 40 KiB | 76 KiB each | each I/O queue pair: submission ring 8 KiB, completion ring 4 KiB, PRP lists 64 KiB |
//!
//! PRP lists are 1 KiB, four in a page and none across two, so the controller never finds a link to another list.

use nvme_spec::brokered::{ADMIN_COMMANDS, IO_COMMANDS, IO_QUEUES_MAX, TRANSFER_BYTES_MAX};
use nvme_spec::{CompletionEntry, PAGE_BYTES, SubmissionEntry};

/// Bytes of a page.
pub const PAGE: u32 = PAGE_BYTES as u32;
/// Entries of both admin rings.
pub const ADMIN_ENTRIES: u16 = 32;
/// Most entries of an I/O ring.
pub const IO_ENTRIES_MAX: u16 = 128;
/// Entries of one command's PRP list.
pub const LIST_ENTRIES: u32 = 128;
/// Bytes of one command's PRP list.
pub const LIST_BYTES: u32 = LIST_ENTRIES * 8;

/// The admin submission ring.
pub const ADMIN_SUBMISSION: u32 = 0;
/// The admin completion ring.
pub const ADMIN_COMPLETION: u32 = ADMIN_SUBMISSION + PAGE;
const ADMIN_PAGES: u32 = ADMIN_COMPLETION + PAGE;
const IO: u32 = ADMIN_PAGES + ADMIN_COMMANDS as u32 * PAGE;
const IO_SUBMISSION_BYTES: u32 = IO_ENTRIES_MAX as u32 * SubmissionEntry::BYTES as u32;
const IO_LISTS: u32 = IO_SUBMISSION_BYTES + PAGE;
const IO_BYTES: u32 = IO_LISTS + IO_COMMANDS as u32 * LIST_BYTES;

/// Bytes of all of it.
pub const BYTES: u32 = IO + IO_QUEUES_MAX as u32 * IO_BYTES;

/// The page for an admin command's data; `identifier` is below [`ADMIN_COMMANDS`].
pub const fn admin_page(identifier: u16) -> u32 {
    ADMIN_PAGES + identifier as u32 * PAGE
}

/// The submission ring of I/O queue pair `index`, from 0.
pub const fn io_submission(index: usize) -> u32 {
    IO + index as u32 * IO_BYTES
}

/// The completion ring of I/O queue pair `index`, from 0.
pub const fn io_completion(index: usize) -> u32 {
    io_submission(index) + IO_SUBMISSION_BYTES
}

/// The PRP list of a command on I/O queue pair `index`; `identifier` is below [`IO_COMMANDS`].
pub const fn io_list(index: usize, identifier: u16) -> u32 {
    io_submission(index) + IO_LISTS + identifier as u32 * LIST_BYTES
}

const _: () = {
    assert!(ADMIN_ENTRIES as usize * SubmissionEntry::BYTES <= PAGE_BYTES);
    assert!(IO_ENTRIES_MAX as usize * CompletionEntry::BYTES <= PAGE_BYTES);
    assert!(IO_SUBMISSION_BYTES.is_multiple_of(PAGE) && IO_BYTES.is_multiple_of(PAGE));
    assert!(PAGE.is_multiple_of(LIST_BYTES));
    // The first PRP entry covers at least the 4 bytes of one dword; the list covers the rest.
    assert!((TRANSFER_BYTES_MAX - 4).div_ceil(PAGE) <= LIST_ENTRIES);
    assert!(BYTES <= 256 * 1024);
    // A queue's slots are bits of one word.
    assert!(ADMIN_COMMANDS <= 64 && IO_COMMANDS <= 64);
    assert!(ADMIN_COMMANDS < ADMIN_ENTRIES && IO_COMMANDS < IO_ENTRIES_MAX);
};
