//! Tasks on the way to a disk are killed under load, and the disks' clients go on.

use qemu::harness::{Bench, root};
use qemu::lane::Lane;
use qemu::nvme::Namespace;
use qemu::random;
use qemu::storage::restart::{self, Killed};

#[test]
fn a_driver_that_is_killed_again_and_again_shows_as_a_delay() {
    assert!(restart::run(random::seed(), Killed::Driver, 12, Lane::Brokered).is_sound());
}

/// With commands in flight in rings of its own, and writes among them.
#[test]
fn a_driver_that_is_killed_again_and_again_shows_as_a_delay_on_the_direct_lane() {
    assert!(restart::run(random::seed(), Killed::Driver, 6, Lane::Direct).is_sound());
}

#[test]
fn a_block_server_that_is_killed_is_told_of_once_and_its_clients_go_on() {
    assert!(restart::run(random::seed(), Killed::BlockServer, 6, Lane::Brokered).is_sound());
}

/// As its user would, with the default charter.
#[test]
fn verify_runs_through_while_its_driver_is_killed() {
    verify_while_its_driver_is_killed(Lane::Brokered);
}

/// The rings are the driver's own, and the kernel stops the controller all the same.
#[test]
fn verify_runs_through_while_its_driver_is_killed_that_has_its_own_rings() {
    verify_while_its_driver_is_killed(Lane::Direct);
}

fn verify_while_its_driver_is_killed(lane: Lane) {
    let text = std::fs::read_to_string(root().join("system.toml")).expect("the default charter");
    let bench = Bench::on_lane(lane, &text);
    let disk = bench.disk("disk.img", 16 << 20);
    let mut system = bench.boot(&bench.machine([Namespace::file(2, &disk)]));
    system.wait_complete();
    for _ in 0..3 {
        system.type_text("kill nvme\rverify 0 8192\r");
        let line =
            system.expect_line("the end of verify", |line| line.starts_with("> verif") && line.contains("nsid=2"));
        assert!(line.starts_with("> verified nsid=2 lba=0 blocks=8192 "), "{line}");
    }
    let log = system.end();
    assert_eq!(log.all("block", "driver back").count(), 3);
    assert_eq!(log.all("block", "driver lost").count(), 0);
    assert_eq!(log.all("nvme", "controller bound").count(), 4);
    lane.check(&log);
}

mod on_every_lane {
    use super::*;

    #[test]
    #[ignore = "by make test-lanes"]
    fn killed_again_and_again() {
        assert!(restart::run(random::seed(), Killed::Driver, 6, Lane::BrokeredBehindIommu).is_sound());
        for lane in [Lane::BrokeredBehindIommu, Lane::Direct] {
            assert!(restart::run(random::seed(), Killed::BlockServer, 6, lane).is_sound(), "{lane:?}");
        }
    }

    #[test]
    #[ignore = "by make test-lanes"]
    fn verify_runs_through_behind_an_iommu() {
        verify_while_its_driver_is_killed(Lane::BrokeredBehindIommu);
    }
}
