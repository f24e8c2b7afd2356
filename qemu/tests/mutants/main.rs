//! A kernel that does without one of its checks ([`checks`]), booted by the very tests that hold the check: the named one
//! fails, and says what it says. A check without which no test fails would be held by none.

mod documentation;
mod table;

use std::collections::BTreeSet;
use std::process::Command;
use std::{env, fs};

use abi::features::TEST_MUTANTS;
use checks::Check;
use image_builder::executable::test_features;
use qemu::harness::{self, SWITCHED_OFF, root};

use table::{MUTANTS, Mutant};

/// What `make test` switches off: of the broker, of the kernel, and of what tasks map.
const SHARE: [Check; 3] = [Check::RangeEnd, Check::ReplyGeneration, Check::PageRights];

/// Whether a test passes where this check is off, and what it says.
fn run((file, test): (&str, &str), switched_off: &str) -> (bool, String) {
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["test", "--offline", "-q", "-p", "qemu", "--test", file, "--", "--exact", test])
        .current_dir(root())
        .env(SWITCHED_OFF, switched_off)
        .output()
        .expect("cargo is started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("running 1 test"), "{file} {test} did not run:\n{said}");
    (output.status.success(), said)
}

/// Why a mutant was not killed as it should have been; `None` if it was.
fn survives(mutant: &Mutant) -> Option<String> {
    let (name, (file, test)) = (mutant.check.name(), mutant.test);
    let (passed, said) = run(mutant.test, name);
    if passed {
        return Some(format!("{name}: {file} {test} passes without it"));
    }
    if !said.contains(mutant.says) {
        return Some(format!("{name}: {file} {test} fails without it, and does not say `{}`:\n{said}", mutant.says));
    }
    println!("mutant {name}: killed by {file} {test}: {}", mutant.says);
    None
}

#[test]
fn each_check_has_a_test_that_notices_when_it_is_gone() {
    for check in Check::ALL {
        let mutants = MUTANTS.iter().filter(|mutant| mutant.check == *check).count();
        assert_eq!(mutants, 1, "{check:?}");
    }
    for Mutant { check, test: (file, name), says } in MUTANTS {
        let folder = root().join("qemu/tests");
        let (path, function) = match name.split_once("::") {
            Some((module, function)) => (folder.join(file).join(module), function),
            None => (folder.join(file), *name),
        };
        let source = fs::read_to_string(path.with_extension("rs")).unwrap();
        assert!(source.contains(&format!("fn {function}()")), "{check:?}: there is no test {name} in {file}");
        assert!(!says.is_empty(), "{check:?}");
    }
}

#[test]
fn some_mutants_are_killed() {
    let survivors: Vec<_> =
        MUTANTS.iter().filter(|mutant| SHARE.contains(&mutant.check)).filter_map(survives).collect();
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// For `make mutants`. SWITCHED_OFF=… tries one alone.
#[test]
#[ignore = "boots once a mutant: minutes"]
fn every_mutant_is_killed_by_its_test() {
    let wanted = harness::switched_off();
    let chosen: Vec<_> =
        MUTANTS.iter().filter(|mutant| wanted.as_deref().is_none_or(|name| name == mutant.check.name())).collect();
    assert!(!chosen.is_empty(), "there is no check {wanted:?}");
    // It is the check that they miss, and not the kernel for tests.
    for test in chosen.iter().map(|mutant| mutant.test).collect::<BTreeSet<_>>() {
        let (passed, said) = run(test, "none");
        assert!(passed, "{test:?} fails although nothing is switched off:\n{said}");
    }
    let survivors: Vec<_> = chosen.iter().filter_map(|mutant| survives(mutant)).collect();
    println!("mutants: {} of {} killed", chosen.len() - survivors.len(), chosen.len());
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// No product does without a check: its file has no mark of that, nor the names of the checks, and the builder takes the
/// other kernel only when told to.
#[test]
fn no_product_does_without_a_check() {
    let inputs = harness::inputs();
    let product = fs::read(&inputs.kernel).unwrap();
    let for_tests = fs::read(harness::test_kernel(TEST_MUTANTS)).unwrap();
    assert_eq!(test_features(&for_tests), [TEST_MUTANTS]);
    assert_eq!(test_features(&product), [""; 0]);
    let names = |kernel: &[u8]| {
        let stripped = image_builder::executable::strip(&kernel_of(kernel));
        // Those of one word are words of messages, too.
        let of_two_words = Check::ALL.iter().filter(|check| check.name().contains('-'));
        of_two_words.filter(|check| contains(&stripped, check.name().as_bytes())).count()
    };
    assert!(names(&for_tests) > 10);
    assert_eq!(names(&product), 0);

    harness::check_is_for_tests_only(TEST_MUTANTS);
}

fn kernel_of(file: &[u8]) -> image_builder::executable::Executable {
    image_builder::executable::read(file, image_builder::executable::Room::Kernel).unwrap()
}

fn contains(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}

/// There are two features for tests, and no third one hides among the kernel's.
#[test]
fn the_kernel_has_two_features_and_both_are_for_tests() {
    let manifest: toml::Table = fs::read_to_string(root().join("kernel/Cargo.toml")).unwrap().parse().unwrap();
    let features: Vec<_> = manifest["features"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(features, [abi::features::TEST_FAULTS, TEST_MUTANTS]);
}
