//! Whatever a driver and a controller do, as a fuzzer chooses it: the root of the target `broker` of qemu/fuzz, which uses
//! the bench and the property of these tests.
#![no_main]

#[allow(dead_code, reason = "other tests use the rest")]
mod bench;
#[allow(dead_code, reason = "other tests use the rest")]
mod device;
mod property;
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::chosen_by(bytes));
