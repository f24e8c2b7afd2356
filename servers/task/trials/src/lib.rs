//! Tasks for system tests only: they try what a task must not be able to do, and die when asked. None of them belongs
//! into a real charter. `README.md` tells what each does and its settings.
//!
//! Here is what they share.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use task::{Deadline, Environment, Log, Stop};

/// A setting that is a number: decimal, or hexadecimal behind `0x`.
///
/// # Errors
/// It is there and no number.
pub fn number(environment: &Environment, key: &str, unless: u64) -> Result<u64, Stop> {
    let Some(text) = environment.setting(key) else {
        return Ok(unless);
    };
    task::number(text).ok_or_else(|| Stop::new(format_args!("setting {key}: expected a number")))
}

/// A setting that is a number of milliseconds.
///
/// # Errors
/// As [`number`].
pub fn milliseconds(environment: &Environment, key: &str, unless: u64) -> Result<Duration, Stop> {
    number(environment, key, unless).map(Duration::from_millis)
}

/// A setting that there is no going on without, or that has no such value.
pub fn wrong_setting(key: &str, expected: &str) -> Stop {
    Stop::new(format_args!("setting {key}: expected {expected}"))
}

/// Writes a line that a test waits for, also after so many others that the kernel drops more of them for a while.
pub fn insist(log: Log, line: fmt::Arguments<'_>) {
    const TRIES: u32 = 500;
    for _ in 0..TRIES {
        if log.line(line) != Err(abi::Error::Busy) {
            return;
        }
        // A pause ends by timing out.
        let _ = task::wait(Deadline::after(Duration::from_millis(20)));
    }
}
