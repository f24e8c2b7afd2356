//! The boot package.
#![no_main]

use std::path::Path;

use abi::package::HEADER_BYTES;
use image_builder::{Manifest, check_with, compile};

#[path = "../../../../image-builder/tests/common/mod.rs"]
mod common;

/// What lies behind the header of the default charter's boot package, with programs of a few bytes.
fn first() -> Vec<u8> {
    let text = common::example_at(Path::new("../../system.toml"));
    let (checked, report) = check_with(Manifest { name: "system.toml", text: &text }, &common::in_memory());
    let checked = checked.unwrap_or_else(|| panic!("{}", report.render(false)));
    compile::package(&checked, [0; 32]).expect("the default charter is good").split_off(HEADER_BYTES)
}

libfuzzer_sys::fuzz_target!(init: fuzz::begin_with(&[first()]), |bytes: &[u8]| fuzz::package::open(bytes));
