//! A damaged image is refused by the UEFI application, with a line that says what is wrong, before anything runs.

use std::fs;

use abi::handoff::{KERNEL_SECTION, PACKAGE_SECTION};
use image_builder::efi::unify;
use image_builder::inspect::EfiFile;
use image_builder::packed::pack;
use qemu::harness::{Bench, inputs, root};
use qemu::outcome::Outcome;

/// Changes what the UEFI application of the default charter's image finds in its sections, boots that, and returns what
/// it said.
fn refused(damage: impl FnOnce(&mut Sections)) -> String {
    let bench = Bench::build(&root().join("system.toml"));
    let image = fs::read(bench.image()).unwrap();
    let efi = EfiFile::find(&image).unwrap();
    let pack = |contents: Vec<u8>| pack(&contents).unwrap();
    let mut sections = Sections { kernel: efi.kernel().unwrap(), package: efi.package().unwrap(), packed: None };
    damage(&mut sections);
    let [kernel, mut package] = [sections.kernel, sections.package].map(pack);
    if let Some(damage) = sections.packed {
        damage(&mut package);
    }
    let boot = fs::read(inputs().boot).unwrap();
    let efi = unify(&boot, &[(KERNEL_SECTION, &kernel), (PACKAGE_SECTION, &package)]).unwrap();
    fs::write(bench.image(), image_builder::image::image(&efi, b"no symbols").unwrap()).unwrap();
    let mut system = bench.boot(&bench.machine([]));
    let outcome = system.running().wait_for_outcome(|_| {}).unwrap();
    let log = system.end();
    assert_eq!(log.events().iter().find(|event| event.is("charter", "starting")), None);
    match outcome {
        Outcome::Failed(line) => line,
        Outcome::Complete => log.fail("a damaged image came up"),
    }
}

/// What can be damaged.
struct Sections {
    kernel: Vec<u8>,
    package: Vec<u8>,
    /// What becomes of the package when it has been packed.
    packed: Option<fn(&mut Vec<u8>)>,
}

#[test]
fn a_package_with_one_bit_changed() {
    let line = refused(|sections| sections.packed = Some(|packed| packed[10_000] ^= 1));
    assert!(line.starts_with("boot: package refused: "), "{line}");
    assert!(line.contains("damaged"), "{line}");
}

#[test]
fn a_package_that_is_not_packed() {
    let line = refused(|sections| sections.packed = Some(|packed| packed[0] ^= 1));
    assert_eq!(line, "boot: package refused: it is not an LZ4 frame");
}

#[test]
fn a_package_longer_than_its_section() {
    let line = refused(|sections| sections.package[12..16].copy_from_slice(&0x0100_0000u32.to_le_bytes()));
    assert_eq!(line, "boot: package refused: boot package cut short");
}

#[test]
fn a_package_that_is_none() {
    let line = refused(|sections| sections.package[0] = 0);
    assert_eq!(line, "boot: package refused: not a boot package");
}

#[test]
fn a_kernel_with_writable_code() {
    let line = refused(|Sections { kernel, .. }| {
        let headers = u64::from_le_bytes(kernel[32..40].try_into().unwrap()) as usize;
        // Flags of the first segment: read, write, execute.
        kernel[headers + 4] = 7;
    });
    assert!(line.starts_with("boot: kernel refused: segment at 0x"), "{line}");
    assert!(line.ends_with("is writable and executable"), "{line}");
}
