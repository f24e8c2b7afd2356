//! A controller that vanishes or dies under load.

use qemu::random;
use qemu::storage::unplug::{self, Loss};

#[test]
fn registers_that_read_as_ones_are_a_device_that_is_gone() {
    let (tally, log) = unplug::run(random::seed(), Loss::Ones);
    assert!(tally.is_sound());
    assert_eq!(log.one("nvme", "controller failed").get("reason"), Some("device-gone"));
}

/// QEMU answers reads of what is no longer there with zeroes: a controller that is not ready any more.
#[test]
fn a_device_that_is_pulled_out_is_gone() {
    assert!(unplug::run(random::seed(), Loss::Pulled).0.is_sound());
}

#[test]
fn a_device_that_cannot_reach_memory_fails_and_is_given_up() {
    assert!(unplug::run(random::seed(), Loss::Deaf).0.is_sound());
}
