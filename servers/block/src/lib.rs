//! The block server: disks for tasks, each with the range and the direction that the charter grants.
//!
//! Speaks [`protocol::block`] on its endpoint `requests` and asks the NVMe driver through `driver`, with
//! [`protocol::nvme`]. Clients call and wait; underneath, everything is asynchronous: the server keeps one reply handle
//! a client, hands transfers to the driver in batches, and answers when the driver's signal says that something has
//! completed. So one slow client does not hold up another, and the server itself waits only to receive.
//!
//! Data never passes through here. A client's transfer names its window's place in the driver's DMA region, and the
//! device writes there.
//!
//! - [`disk`]: what a client's grant means on the namespaces that there are, and the checks of a request.
//! - [`driver`]: the driver as the server sees it.
//! - [`server`]: requests, transfers in flight, answers; no system call in it.
//! - [`serve`]: the loop.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod disk;
pub mod driver;
pub mod serve;
pub mod server;
