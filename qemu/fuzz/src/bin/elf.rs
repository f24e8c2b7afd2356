//! Programs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::programs::read_elf(bytes));
