//! Measures recovery: the driver is killed, and a read is asked for at once. What it takes until that has completed, with
//! everything between: the kill, the driver's restart, its controller's, and the read.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use bench::TICKS;
use block_client::Disk;
use task::measure::{halted, mark_begin, mark_end, time_stamp};
use task::{Deadline, Environment, Instant, Started, Stop};

task::needs! { disk: call, kill: kill, log: log }
task::main!(run);

/// How often it is measured.
const KILLS: usize = 20;
/// How long everybody may come to rest before each: the log is written.
const REST: Duration = Duration::from_millis(20);
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let disk = Disk::new(grants.disk, PATIENCE);
    disk.open()?;
    disk.read(0, 8, 0)?;
    let (mut instructions, mut microseconds) = ([0; KILLS], [0; KILLS]);
    for (instructions, microseconds) in instructions.iter_mut().zip(&mut microseconds) {
        // Timing out is what it is for.
        let _ = task::wait(Deadline::after(REST));
        let (since, begin) = (Instant::now(), time_stamp().wrapping_sub(halted()));
        mark_begin();
        grants.kill.kill()?;
        disk.read(0, 8, 0)?;
        mark_end();
        *instructions = time_stamp().wrapping_sub(halted()).wrapping_sub(begin) / TICKS;
        *microseconds = Instant::now().since(since).as_micros() as u64;
    }
    instructions.sort_unstable();
    microseconds.sort_unstable();
    task::log!(
        grants.log,
        "recovered kills={KILLS} median={} most={} median_us={} most_us={}",
        instructions[KILLS / 2 - 1],
        instructions[KILLS - 1],
        microseconds[KILLS / 2 - 1],
        microseconds[KILLS - 1]
    );
    task::ready(Started::Well);
    task::idle()
}
