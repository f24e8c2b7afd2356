//! Counts what the kernel costs, in guest instructions.
//!
//! [`measure`] runs a loop and the same loop without what is measured, and prints both: under QEMU's `-icount` the
//! counts are exact and repeat on any machine. The tasks around it are the other side of each operation: `bench-echo`
//! answers calls, `bench-waiter` waits for signals. `bench-reads` reads a disk through the block server.
#![no_std]
#![forbid(unsafe_code)]

use task::measure::{halted, mark_begin, mark_end, time_stamp};
use task::{Deadline, Log};

/// Iterations of a measured loop of system calls.
pub const ITERATIONS: u64 = 1000;
/// How often each loop is measured.
pub const REPETITIONS: usize = 10;
/// Time-stamp ticks an instruction, with `-icount shift=6`.
pub const TICKS: u64 = 64;

/// Ticks of [`REPETITIONS`] measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// The least.
    pub least: u64,
    /// Half of them took no more.
    pub median: u64,
    /// The most.
    pub most: u64,
}

/// Runs a measurement [`REPETITIONS`] times. Before each of them everybody has time to come to rest: the log is written.
///
/// # Errors
/// The first error of a measurement.
pub fn repeated<E>(mut measure: impl FnMut() -> Result<u64, E>) -> Result<Ticks, E> {
    let mut all = [0; REPETITIONS];
    for ticks in &mut all {
        // Timing out is what it is for.
        let _ = task::wait(Deadline::after(REST));
        *ticks = measure()?;
    }
    all.sort_unstable();
    Ok(Ticks { least: all[0], median: all[REPETITIONS / 2 - 1], most: all[REPETITIONS - 1] })
}

const REST: core::time::Duration = core::time::Duration::from_millis(5);

/// Ticks that `operation` takes, [`ITERATIONS`] times. Begins warm.
#[inline(always)]
pub fn ticks(mut operation: impl FnMut()) -> Ticks {
    let measured: Result<Ticks, core::convert::Infallible> = repeated(
        #[inline(always)]
        || {
            operation();
            mark_begin();
            let begin = time_stamp();
            for _ in 0..ITERATIONS {
                operation();
            }
            let end = time_stamp();
            mark_end();
            Ok(end.wrapping_sub(begin))
        },
    );
    let Ok(ticks) = measured;
    ticks
}

/// Ticks that `operation` takes, `iterations` times, without those in which the processor was halted. Begins warm.
///
/// # Errors
/// The first error of an operation.
pub fn busy_ticks<E>(iterations: u64, mut operation: impl FnMut() -> Result<(), E>) -> Result<Ticks, E> {
    repeated(|| {
        operation()?;
        mark_begin();
        let begin = time_stamp().wrapping_sub(halted());
        for _ in 0..iterations {
            operation()?;
        }
        let end = time_stamp().wrapping_sub(halted());
        mark_end();
        Ok(end.wrapping_sub(begin))
    })
}

/// Logs one row: ticks of the loop, and of the same loop without the operation, all iterations together.
pub fn row(log: &Log, name: impl core::fmt::Display, ticks: Ticks, without: u64, iterations: u64) {
    let tenths = |ticks: u64| ticks.saturating_sub(without) / TICKS * 10 / iterations;
    let [least, median, most] = [ticks.least, ticks.median, ticks.most].map(tenths);
    task::log!(
        log,
        "row name={name} instructions={}.{} median={}.{} most={}.{} iterations={iterations} repetitions={REPETITIONS} \
         loop_instructions={}",
        least / 10,
        least % 10,
        median / 10,
        median % 10,
        most / 10,
        most % 10,
        without / TICKS / iterations
    );
}
