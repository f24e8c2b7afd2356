//! The block server: disks for tasks, each with the blocks, the direction and the share of the queue that the charter
//! grants. `docs/block.md` says what a client may rely on.
//!
//! Speaks [`protocol::block`] on its endpoint `requests` and asks the NVMe driver through `driver`, with
//! [`protocol::nvme`]. Underneath, everything is asynchronous: the server keeps every request until it is answered,
//! hands transfers to the driver in batches, and answers when the driver's signal says that something has completed.
//! So one slow client does not hold up another, and the server itself waits only to receive.
//!
//! Data does not pass through here, but for clients without a window. A client's transfer names its window's place in
//! the driver's DMA region, and the device reads and writes there. In its own window `data` the server reads partition
//! tables, and has a slot for each client without one.
//!
//! - [`disk`]: what a client's disk is, and the checks of an operation.
//! - [`table`]: partition tables.
//! - [`requests`]: every request that is here, and who goes first.
//! - [`client`], [`server`]: what a request means, who is told what; no system call in it.
//! - [`memory`]: the server's own window.
//! - [`driver`]: the driver as the server sees it.
//! - [`serve`], [`note`]: the loop and what it logs.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod client;
pub mod disk;
pub mod driver;
pub mod memory;
pub mod note;
pub mod requests;
pub mod serve;
pub mod server;
pub mod table;
