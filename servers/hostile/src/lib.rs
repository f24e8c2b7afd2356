//! Tasks for system tests only that are hostile: with what a driver or a client of a disk is granted they try what none
//! of them must be able to do. `README.md` tells what each does; `docs/security.md` lists every attempt, with the answer
//! that it must get.
//!
//! Here is what they share.
#![no_std]
#![forbid(unsafe_code)]

pub mod answer;
pub mod driver;
pub mod handles;
pub mod pattern;
pub mod random;

pub use answer::{Answer, Tally};
