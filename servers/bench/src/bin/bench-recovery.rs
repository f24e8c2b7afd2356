//! Measures recovery: the driver is killed, and a read is asked for at once. What it takes until that has completed, with
//! everything between: the kill, the driver's restart, its controller's, and the read.
//!
//! With the setting `load`, any value, the driver is killed with as many reads in flight as it takes, over all its queues;
//! nothing is measured inside then.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use bench::TICKS;
use block_client::Disk;
use protocol::block::{BATCH_MAX, BatchRoom, Completion, Operation, SHARE_MAX, Transfer};
use task::measure::{halted, mark_begin, mark_end, time_stamp};
use task::{Deadline, Environment, Inbox, Instant, Started, Stop};

task::needs! { disk: call, kill: kill, log: log }
task::main!(run);

/// How often it is measured.
const KILLS: usize = 20;
/// How long everybody may come to rest before each: the log is written.
const REST: Duration = Duration::from_millis(20);
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills the driver with [`SHARE_MAX`] reads in flight, again and again.
fn under_load(disk: &Disk, grants: &Grants) -> Result<(), Stop> {
    let (mut inbox, mut transfers) = (Inbox::new(), BatchRoom::new());
    let mut failed = 0;
    let mut ended = |completion: Completion| failed += u32::from(completion.outcome.is_err());
    for _ in 0..KILLS {
        // Timing out is what it is for.
        let _ = task::wait(Deadline::after(REST));
        let mut left = usize::from(SHARE_MAX);
        for first in (0..u32::from(SHARE_MAX)).step_by(BATCH_MAX) {
            transfers.clear();
            for tag in (first..).take(BATCH_MAX) {
                let operation = Operation::Read { first_block: u64::from(tag) * 8, blocks: 8, offset: 0 };
                // There is room for a batch.
                let _ = transfers.push(&Transfer { tag, operation });
            }
            left -= disk.exchange(&transfers, false, &mut inbox, &mut ended)?.completed;
        }
        mark_begin();
        grants.kill.kill()?;
        transfers.clear();
        while left > 0 {
            left -= disk.exchange(&transfers, true, &mut inbox, &mut ended)?.completed;
        }
        mark_end();
    }
    if failed > 0 {
        return Err(Stop::new(format_args!("{failed} reads failed")));
    }
    task::log!(grants.log, "recovered kills={KILLS} in_flight={SHARE_MAX}");
    Ok(())
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let disk = Disk::new(grants.disk, PATIENCE);
    disk.open()?;
    disk.read(0, 8, 0)?;
    if environment.setting("load").is_some() {
        under_load(&disk, &grants)?;
        task::ready(Started::Well);
        task::idle()
    }
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
