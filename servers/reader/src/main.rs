//! The reader's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use reader::run::round;
use reader::settings::Settings;
use task::{Deadline, Environment, Started, Stop};

task::needs! { disk: call, data: window, log: log }
task::main!(run);
task::stack!(14_104);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let settings = Settings::new(|key| environment.setting(key))?;
    let mut disk = block_client::Disk::new(grants.disk, settings.patience);
    let mut known = None;
    let mut left = settings.rounds;
    while left != Some(0) {
        let tally = round(
            &mut disk,
            &mut known,
            &grants.data,
            &settings,
            &mut |line| task::log!(grants.log, "{line}"),
            &mut || pause(settings.pause),
        );
        // The first round counts for the kernel; it ignores what is said later.
        task::ready(if tally.failed == 0 { Started::Well } else { Started::Failed });
        left = left.map(|rounds| rounds - 1);
        if left != Some(0) {
            pause(settings.pause);
        }
    }
    task::idle()
}

/// Waits; a notification (the block server has stopped) ends a pause early, and the next read tells of it.
fn pause(length: core::time::Duration) {
    if !length.is_zero() {
        // Timing out is what a pause is for.
        let _ = task::wait(Deadline::after(length));
    }
}
