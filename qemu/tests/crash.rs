//! Crashes under load. Seeds are fresh and printed; `SEED=…` repeats a run's choices, though not its timing.

use std::thread;

use qemu::lane::Lane;
use qemu::random::{self, Random};
use qemu::storage::crash;
use qemu::storage::tally::Tally;

/// Four machines are killed, and each is judged at five points: 20 crashes, two machines at a time.
#[test]
fn what_was_flushed_survives_a_crash_and_nothing_else_changes() {
    let seed = random::seed();
    println!("SEED={seed:#x}");
    let seeds: Vec<u64> = (0..4).map(|index| Random::at(seed, index).number()).collect();
    thread::scope(|scope| {
        let halves: Vec<_> = seeds
            .chunks(2)
            .map(|half| {
                scope.spawn(|| half.iter().map(|seed| crash::run(*seed, 5, Lane::Brokered)).collect::<Vec<_>>())
            })
            .collect();
        let tallies: Vec<_> = halves.into_iter().flat_map(|half| half.join().expect("a half that ran")).collect();
        assert!(tallies.iter().all(Tally::is_sound), "see above");
        assert_eq!(tallies.iter().map(|tally| tally.crash_points).sum::<u64>(), 20);
    });
}

/// One machine each, judged at five points; two at a time.
#[test]
fn what_was_flushed_survives_a_crash_behind_an_iommu_and_on_the_direct_lane() {
    let seed = random::seed();
    println!("SEED={seed:#x}");
    thread::scope(|scope| {
        let lanes = [Lane::BrokeredBehindIommu, Lane::Direct];
        let runs = lanes.map(|lane| scope.spawn(move || crash::run(seed, 5, lane)));
        for run in runs {
            assert!(run.join().expect("a machine that ran").is_sound(), "see above");
        }
    });
}
