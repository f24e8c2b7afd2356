//! Faults made on purpose in the driver under load: the kernel stands, nothing is written that the driver is not granted
//! to write, and a driver that stops costs its clients a delay and nothing else. Seeds are fresh and printed.
//!
//! `make soak-faults` makes ten thousand, or FAULTS=…, of all classes or of CLASS=…, on LANE=…; SEED=… repeats what is done, though
//! not when.

use std::fs;
use std::sync::Mutex;
use std::thread;

use abi::features::TEST_FAULTS;
use image_builder::executable::test_features;
use qemu::harness;
use qemu::lane::Lane;
use qemu::random::{self, Random};
use qemu::storage::injection::{self, Class, Counts};

/// LANE=… of a long run; else the one without an IOMMU.
fn lane() -> Lane {
    let Ok(name) = std::env::var("LANE") else { return Lane::Brokered };
    *Lane::ALL.iter().find(|lane| lane.name() == name).unwrap_or_else(|| panic!("LANE={name}: there is no such lane"))
}

/// Makes as many faults altogether of these classes, two classes at a time.
fn make(classes: &[Class], faults: u64, lane: Lane) -> Counts {
    let seed = random::seed();
    println!("SEED={seed:#x}");
    let each = faults.div_ceil(classes.len() as u64);
    let classes = Mutex::new(classes.iter().copied().enumerate());
    let counts = Mutex::new(Counts::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((index, class)) = classes.lock().expect("nobody panics with it").next() else { return };
                    let count = injection::run(class, Random::at(seed, index as u64).number(), each, lane);
                    let mut counts = counts.lock().expect("nobody panics with it");
                    counts.add(class, &count);
                    println!("{counts}");
                }
            });
        }
    });
    counts.into_inner().expect("both have ended")
}

fn judge(counts: &Counts, faults: u64, lane: Lane) {
    println!("{counts}");
    assert!(counts.0.values().map(|count| count.injected).sum::<u64>() >= faults);
    for (class, count) in &counts.0 {
        assert!(count.is_contained(lane), "{}: {count:?}", class.name());
        assert!(!class.is_fail_stop() || count.is_transparent(), "{}: {count:?}", class.name());
    }
    for class in [Class::Kill, Class::Loop, Class::WaitForEver] {
        let restarts = counts.0.get(&class).map_or(1, |count| count.restarts);
        assert!(restarts > 0, "{}: a driver that is killed, or hangs, is restarted", class.name());
    }
}

#[test]
fn five_hundred_faults_in_the_driver_stay_in_it() {
    judge(&make(&Class::ALL, 500, Lane::Brokered), 500, Lane::Brokered);
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn five_hundred_faults_behind_an_iommu() {
        judge(&make(&Class::ALL, 500, Lane::BrokeredBehindIommu), 500, Lane::BrokeredBehindIommu);
    }

    #[test]
    #[ignore = "by make test-lanes"]
    fn five_hundred_faults_on_the_direct_lane() {
        judge(&make(&Class::ALL, 500, Lane::Direct), 500, Lane::Direct);
    }
}

#[test]
#[ignore = "a long run, by make soak-faults"]
fn ten_thousand_faults() {
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let wanted = std::env::var("CLASS").unwrap_or_default();
    let classes: Vec<_> = Class::ALL.into_iter().filter(|class| wanted.is_empty() || class.name() == wanted).collect();
    assert!(!classes.is_empty(), "CLASS={wanted}: there is no such class");
    judge(&make(&classes, faults, lane()), faults, lane());
}

/// The product's kernel has nothing of it: no mark, no function, and the builder takes the other one only when told to.
#[test]
fn no_product_can_make_faults() {
    let inputs = harness::inputs();
    let product = fs::read(&inputs.kernel).unwrap();
    let for_tests = fs::read(harness::test_kernel(TEST_FAULTS)).unwrap();
    assert_eq!(test_features(&for_tests), ["test-faults"]);
    assert_eq!(test_features(&product), [""; 0]);
    let names = |kernel: &[u8]| {
        let program = image_builder::symbols::Program::read("kernel", kernel);
        let sources = String::from_utf8_lossy(program.section(".debug_line")).into_owned()
            + &String::from_utf8_lossy(program.section(".debug_str"));
        ["inject", "corrupt_message", "drops_interrupt", "flip_memory"].map(|name| sources.contains(name))
    };
    assert_eq!(names(&for_tests), [true; 4]);
    assert_eq!(names(&product), [false; 4]);

    harness::check_is_for_tests_only(TEST_FAULTS);
}

/// As `injection: class=… SEED=… faults=…` says.
#[test]
#[ignore = "one boot of a long run, to look at it"]
fn one_boot() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(80);
    let wanted = std::env::var("CLASS").unwrap_or_default();
    let class = Class::ALL.into_iter().find(|class| class.name() == wanted).expect("CLASS=… names a class");
    println!("{:?}", injection::boot(class, random::seed(), number("FAULTS"), lane()));
}
