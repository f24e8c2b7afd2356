//! A damaged image is refused by the UEFI application, with a line that says what is wrong, before anything runs.

use std::fs;

use abi::handoff::KERNEL_IMAGE;
use abi::package::{HEADER_BYTES, MAGIC, VERSION};
use qemu::harness::{Bench, root};
use qemu::outcome::Outcome;

/// Damages the default charter's image, boots it, and returns what the UEFI application said.
fn refused(damage: impl FnOnce(&mut [u8])) -> String {
    let bench = Bench::build(&root().join("system.toml"));
    let mut image = fs::read(bench.image()).unwrap();
    damage(&mut image);
    fs::write(bench.image(), image).unwrap();
    let mut system = bench.boot(&bench.machine([]));
    let outcome = system.running().wait_for_outcome(|_| {}).unwrap();
    let log = system.end();
    assert_eq!(log.events().iter().find(|event| event.is("charter", "starting")), None);
    match outcome {
        Outcome::Failed(line) => line,
        Outcome::Complete => log.fail("a damaged image came up"),
    }
}

/// Where a file that begins like this lies in the image; its clusters follow each other.
fn position(image: &[u8], what: &str, is_start: impl Fn(&[u8]) -> bool) -> usize {
    let found: Vec<_> = (0..image.len()).step_by(512).filter(|at| is_start(&image[*at..])).collect();
    assert_eq!(found.len(), 1, "{what} in the image");
    found[0]
}

fn package(image: &[u8]) -> usize {
    position(image, "the package", |bytes| bytes.starts_with(&MAGIC) && bytes[8..12] == VERSION.to_le_bytes())
}

fn kernel(image: &[u8]) -> usize {
    position(image, "the kernel", |bytes| {
        let entry = || u64::from_le_bytes(bytes[24..32].try_into().unwrap());
        bytes.starts_with(b"\x7fELF") && entry() >= KERNEL_IMAGE
    })
}

#[test]
fn a_package_with_one_bit_changed() {
    let line = refused(|image| {
        let package = package(image);
        image[package + HEADER_BYTES + 10_000] ^= 1;
    });
    assert!(line.starts_with("boot: package refused: boot package damaged: checksum 0x"), "{line}");
}

#[test]
fn a_package_longer_than_its_section() {
    let line = refused(|image| {
        let package = package(image);
        image[package + 12..package + 16].copy_from_slice(&0x0100_0000u32.to_le_bytes());
    });
    assert_eq!(line, "boot: package refused: boot package cut short");
}

#[test]
fn a_package_that_is_none() {
    let line = refused(|image| {
        let package = package(image);
        image[package] = 0;
    });
    assert_eq!(line, "boot: package refused: not a boot package");
}

#[test]
fn a_kernel_with_writable_code() {
    let line = refused(|image| {
        let kernel = kernel(image);
        let headers = u64::from_le_bytes(image[kernel + 32..kernel + 40].try_into().unwrap()) as usize;
        // Flags of the first segment: read, write, execute.
        image[kernel + headers + 4] = 7;
    });
    assert!(line.starts_with("boot: kernel refused: segment at 0x"), "{line}");
    assert!(line.ends_with("is writable and executable"), "{line}");
}
