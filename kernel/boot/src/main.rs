//! The UEFI application that starts the kernel.
//!
//! Refuses what is damaged with one line on firmware's console and returns an error to firmware: nothing has been
//! changed by then, so firmware goes on to its next boot entry (UEFI 2.10, 3.1.1), which may be an intact disk or a way
//! to repair this one. Says nothing when all is well: drawing on a console costs more than everything else here.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
mod application;
#[cfg(target_os = "uefi")]
mod processor;

/// On the host there is nothing to start; the library beside this file is tested there.
#[cfg(not(target_os = "uefi"))]
fn main() {}
