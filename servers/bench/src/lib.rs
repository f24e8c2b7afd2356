//! Counts what the kernel costs, in guest instructions.
//!
//! [`measure`] runs a loop and the same loop without what is measured, and prints both: under QEMU's `-icount` the
//! counts are exact and repeat on any machine. The tasks around it are the other side of each operation: `bench-echo`
//! answers calls, `bench-waiter` waits for signals.
#![no_std]
#![forbid(unsafe_code)]

use task::Log;
use task::measure::{mark_begin, mark_end, time_stamp};

/// Iterations of a measured loop.
pub const ITERATIONS: u64 = 1000;
/// Time-stamp ticks an instruction, with `-icount shift=6`.
pub const TICKS: u64 = 64;

/// Ticks that `operation` takes, [`ITERATIONS`] times. Begins warm.
#[inline(always)]
pub fn ticks(mut operation: impl FnMut()) -> u64 {
    operation();
    mark_begin();
    let begin = time_stamp();
    for _ in 0..ITERATIONS {
        operation();
    }
    let end = time_stamp();
    mark_end();
    end.wrapping_sub(begin)
}

/// Logs one row: ticks of the loop, and of the same loop without the operation, an iteration.
pub fn row(log: &Log, name: &str, ticks: u64, without: u64) {
    let instructions = ticks.saturating_sub(without) / TICKS;
    let (whole, tenths) = (instructions / ITERATIONS, instructions % ITERATIONS * 10 / ITERATIONS);
    task::log!(
        log,
        "row name={name} instructions={whole}.{tenths} iterations={ITERATIONS} loop_instructions={}",
        without / TICKS / ITERATIONS
    );
}
