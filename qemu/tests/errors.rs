//! Errors of the device: reads, writes, writes of zeroes and flushes that fail, once and for ever, by sector.

use qemu::lane::Lane;
use qemu::random;
use qemu::storage::errors;

#[test]
fn an_error_that_happens_once_fails_one_request_and_the_service_goes_on() {
    assert!(errors::run(random::seed(), true, Lane::Brokered).is_sound());
}

#[test]
fn an_error_that_stays_fails_exactly_the_requests_that_meet_it() {
    assert!(errors::run(random::seed(), false, Lane::Brokered).is_sound());
}

#[test]
fn an_error_that_stays_fails_exactly_the_requests_that_meet_it_on_the_direct_lane() {
    assert!(errors::run(random::seed(), false, Lane::Direct).is_sound());
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn errors_that_happen_once_and_that_stay() {
        for (once, lane) in
            [(true, Lane::BrokeredBehindIommu), (false, Lane::BrokeredBehindIommu), (true, Lane::Direct)]
        {
            assert!(errors::run(random::seed(), once, lane).is_sound(), "{lane:?}");
        }
    }
}
