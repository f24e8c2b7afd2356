//! A device that does not answer in time.

use qemu::random;
use qemu::storage::stall;

#[test]
fn a_disk_that_stalls_costs_what_was_under_way_and_is_right_afterwards() {
    assert!(stall::run(random::seed(), 2).is_sound());
}
