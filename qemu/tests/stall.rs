//! A device that does not answer in time.

use qemu::lane::Lane;
use qemu::random;
use qemu::storage::stall;

#[test]
fn a_disk_that_stalls_costs_what_was_under_way_and_is_right_afterwards() {
    assert!(stall::run(random::seed(), 2, Lane::Brokered).is_sound());
}

/// The reset is the driver's own, and forgets its own rings.
#[test]
fn a_disk_that_stalls_is_right_afterwards_on_the_direct_lane() {
    assert!(stall::run(random::seed(), 1, Lane::Direct).is_sound());
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn a_disk_that_stalls_behind_an_iommu() {
        assert!(stall::run(random::seed(), 2, Lane::BrokeredBehindIommu).is_sound());
    }
}
