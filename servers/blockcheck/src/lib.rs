//! Writes, flushes, reads back and verifies a disk, as `fio --verify` does: for tests, and to try a machine.
//!
//! What is written follows from a seed, the block and a generation alone ([`pattern`]), and so does the order of
//! operations ([`plan`]): so the same library judges a disk from outside after a crash ([`crash`]).
//!
//! `docs/block.md` explains its settings ([`settings`]) and its log lines.
//!
//! - [`pattern`]: a block's bytes, and what bytes that were read say.
//! - [`plan`]: the operations.
//! - [`expected`]: what each block should read as.
//! - [`run`]: carrying the plan out, many operations at a time.
//! - [`crash`]: on the host, judging a disk on which a run was cut short.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
pub mod crash;
pub mod expected;
pub mod pattern;
pub mod plan;
pub mod run;
pub mod settings;
