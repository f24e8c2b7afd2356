//! Reads a disk through the block server and logs the SHA-256 of what it read: the boot-time check, and an example of
//! a client.
//!
//! Its `settings` in the charter:
//! - `reads`: what to read, see [`reads`];
//! - `deadline_milliseconds`: how long the block server may take for each request, 30000 unless set;
//! - `pause_milliseconds`: how long to wait between two reads, 0 unless set;
//! - `repeat`: how often to go through `reads`, 1 unless set, 0 for ever;
//! - `split`: `true` to read what is larger than the window in several requests, else it is refused;
//! - `after_failure`: `continue` (unless set) or `stop`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod client;
pub mod reads;
pub mod run;
pub mod settings;
