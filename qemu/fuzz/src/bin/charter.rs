//! Charters.
#![no_main]

#[path = "../../../../image-builder/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::judge(&String::from_utf8_lossy(bytes));
});
