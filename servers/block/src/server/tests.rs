//! The server against a driver under the test's control.

mod bench;
mod copies;
mod doubts;
mod partitions;
mod random;
mod recovery;
mod requests;
mod shutdown;
mod survival;
