//! The long run: scenarios one after the other, two at a time, for as long as `MINUTES` says. `make soak MINUTES=10`.
//!
//! Each scenario prints its seed. `SEED=…` repeats the choice of scenarios and their seeds, `SCENARIO=…` one scenario.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use qemu::lane::Lane;
use qemu::random::{self, Random};
use qemu::storage::restart::Killed;
use qemu::storage::tally::Tally;
use qemu::storage::unplug::Loss;
use qemu::storage::{crash, errors, restart, stall, unplug};

/// Points at which a run that ends in a crash is judged.
const POINTS: usize = 20;

/// One scenario. Crashes are as many as all others: they are what can go wrong in most ways.
fn scenario(seed: u64) -> Tally {
    let lane = Lane::ALL[Random::at(seed, 2).below(Lane::ALL.len() as u64) as usize];
    match Random::new(seed).below(12) {
        10 => restart::run(seed, Killed::Driver, 20, lane),
        11 => restart::run(seed, Killed::BlockServer, 20, lane),
        0..5 => crash::run(seed, POINTS, lane),
        5 => errors::run(seed, true, lane),
        6 => errors::run(seed, false, lane),
        7 => stall::run(seed, 3, lane),
        _ => unplug::run(seed, Loss::ALL[Random::at(seed, 1).below(3) as usize], lane).0,
    }
}

#[test]
#[ignore = "a long run, by make soak"]
fn soak() {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let seed = random::seed();
    if let Ok(only) = std::env::var("SCENARIO") {
        let only = random::number(&only).expect("SCENARIO is a number");
        println!("{}", scenario(only));
        return;
    }
    println!("soak: {minutes} minutes, SEED={seed:#x}");
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let seed = Random::at(seed, next.fetch_add(1, Ordering::Relaxed)).number();
                    match panic::catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
                        Ok(tally) => total.lock().expect("nobody panics with it").add(&tally),
                        Err(_) => failures.lock().expect("nobody panics with it").push(seed),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("both have ended");
    let total = total.into_inner().expect("both have ended");
    println!("{total}");
    println!("scenarios begun            {}", next.into_inner());
    println!("scenarios that failed      {}", failures.len());
    assert!(total.is_sound(), "see above");
    assert!(failures.is_empty(), "failed: {failures:#x?}");
}
