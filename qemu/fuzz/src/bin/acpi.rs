//! Firmware's tables.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin_with(&[fuzz::acpi::first::tables()]), |bytes: &[u8]| fuzz::acpi::read(bytes));
