//! The table of IOMMUs alone.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin_with(&[fuzz::acpi::first::dmar()]), |bytes: &[u8]| fuzz::acpi::read_dmar(bytes));
