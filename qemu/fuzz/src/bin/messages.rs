//! Messages between tasks, every one.
#![no_main]

#[path = "../../../../servers/protocol/tests/decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(init: fuzz::begin_with(&decoders::recorded()), |bytes: &[u8]| decoders::every_decoder(bytes));
