//! What a fuzzer gives bytes to: one function a target, each of which holds what it decodes to what must be true of it.
//!
//! - [`acpi`]: firmware's tables, as the kernel reads them at start.
//! - [`package`]: the boot package.
//! - [`programs`]: ELF files and images, as the image builder reads them.
//! - [`logs`]: serial logs, as the image builder reads them.
//!
//! The broker, messages and charters are judged by their own tests' code, which their targets share.
#![forbid(unsafe_code)]

use std::path::Path;

pub mod acpi;
pub mod logs;
pub mod package;
pub mod programs;

/// Writes what a target begins with, if its tests keep nothing as files, into the folder that `FIRST_INPUTS` in the
/// environment names.
pub fn begin_with(inputs: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("FIRST_INPUTS") else { return };
    for (number, bytes) in inputs.iter().enumerate() {
        std::fs::write(Path::new(&folder).join(number.to_string()), bytes).expect("first inputs can be written");
    }
}
