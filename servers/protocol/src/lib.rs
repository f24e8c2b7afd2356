//! Every postcard message between tasks, one module a server.
//!
//! Data never travels in messages: it lies in windows of DMA regions, and a message names a place in one.
#![no_std]
#![forbid(unsafe_code)]

mod batch;
pub mod block;
pub mod classify;
mod completion;
pub mod nvme;

pub use batch::{Batch, BatchRoom, Framed, Full, Items, Record};
pub use completion::{Code, Completion};
