//! PE files, VHDs, files of symbols.
#![no_main]

#[path = "../../../../image-builder/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(init: fuzz::begin_with(&[common::boot()]), |bytes: &[u8]| fuzz::programs::read_file(bytes));
