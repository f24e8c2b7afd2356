//! PE files, packed sections, VHDs, files of symbols.
#![no_main]

#[path = "../../../../image-builder/tests/common/mod.rs"]
mod common;

/// A section with what can be packed, and what cannot.
fn packed() -> Vec<u8> {
    image_builder::packed::pack(&common::boot().repeat(3)).expect("it is packed")
}

libfuzzer_sys::fuzz_target!(init: fuzz::begin_with(&[common::boot(), packed()]), |bytes: &[u8]| fuzz::programs::read_file(bytes));
