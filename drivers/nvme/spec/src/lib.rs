//! NVM Express wire formats: what a controller and its host say to each other, and nothing of when or why.
//!
//! - [`registers`]: controller registers and doorbells (NVMe base 2.0, 3.1.3).
//! - [`entry`]: submission and completion queue entries (base 2.0, 3.3.3).
//! - [`status`]: how a command ended (base 2.0, 3.3.3.2.1).
//! - [`admin`]: admin opcodes, queue creation, features (base 2.0, 5).
//! - [`nvm`]: opcodes and ranges of the NVM command set (NVM command set 1.0, 3).
//! - [`identify`]: the structures that Identify returns (base 2.0, 5.17.2; NVM command set 1.0, 4.1.5).
//! - [`brokered`]: how the driver speaks to its broker, in those same formats.
//!
//! The driver, its broker and the model controller share them. "Base 2.0" is the NVM Express Base Specification,
//! revision 2.0; "NVM command set 1.0" is the NVM Command Set Specification, revision 1.0. Values on the wire are
//! little-endian, and a number marked *0's based* there is one less than the count; the methods here take and give
//! counts.
#![no_std]
#![forbid(unsafe_code)]

pub mod admin;
pub mod brokered;
pub mod entry;
pub mod identify;
pub mod nvm;
pub mod registers;
pub mod status;

pub use entry::{CompletionEntry, SubmissionEntry};
pub use status::Status;

/// The namespace identifier that means every namespace (base 2.0, 3.2.1.5).
pub const BROADCAST_NSID: u32 = 0xffff_ffff;
/// Bytes in a memory page as long as CC.MPS is 0; everything here takes it as that.
pub const PAGE_BYTES: usize = 4096;
/// Entries in a PRP list of one page (base 2.0, 4.1.1).
pub const PRP_LIST_ENTRIES: usize = PAGE_BYTES / 8;
