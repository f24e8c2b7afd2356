//! A controller that vanishes or dies under load.

use qemu::lane::Lane;
use qemu::random;
use qemu::storage::unplug::{self, Loss};

#[test]
fn registers_that_read_as_ones_are_a_device_that_is_gone() {
    ones(Lane::Brokered);
}

/// Its driver reads them itself.
#[test]
fn registers_that_read_as_ones_are_a_device_that_is_gone_on_the_direct_lane() {
    ones(Lane::Direct);
}

fn ones(lane: Lane) {
    let (tally, log) = unplug::run(random::seed(), Loss::Ones, lane);
    assert!(tally.is_sound());
    assert_eq!(log.one("nvme", "controller failed").get("reason"), Some("device-gone"));
}

/// QEMU answers reads of what is no longer there with zeroes: a controller that is not ready any more.
#[test]
fn a_device_that_is_pulled_out_is_gone() {
    assert!(unplug::run(random::seed(), Loss::Pulled, Lane::Brokered).0.is_sound());
}

#[test]
fn a_device_that_cannot_reach_memory_fails_and_is_given_up() {
    assert!(unplug::run(random::seed(), Loss::Deaf, Lane::Brokered).0.is_sound());
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn registers_that_read_as_ones_behind_an_iommu() {
        ones(Lane::BrokeredBehindIommu);
    }

    #[test]
    #[ignore = "by make test-lanes"]
    fn a_device_that_is_pulled_out_or_cannot_reach_memory() {
        for lane in [Lane::BrokeredBehindIommu, Lane::Direct] {
            for loss in [Loss::Pulled, Loss::Deaf] {
                assert!(unplug::run(random::seed(), loss, lane).0.is_sound(), "{lane:?} {loss:?}");
            }
        }
    }
}
