//! This task dies with commands in flight, and in its next life finds nothing of them.

use core::time::Duration;

use hostile::{Answer, pattern};
use nvme_spec::SubmissionEntry;
use nvme_spec::nvm::BlockRange;
use nvme_spec::registers::DOORBELLS;
use task::{Deadline, Stop, Window};
use trials::insist;

use super::controller::{BRIEFLY, On};
use super::{Hostile, SALT};

/// What a life leaves at the end of the region for the next one: the region stays as it is.
const LIVED: [u8; 8] = *b"I lived.";
/// A command that has not ended after this long is in flight: the test has seen to it that the disk stands still.
const STANDS_STILL: Duration = Duration::from_secs(1);
/// How long to wait for what must not come.
const WHILE: Duration = Duration::from_millis(300);

/// Whether there was a life before.
pub fn has_lived(window: &Window) -> Result<bool, Stop> {
    let mut found = [0; LIVED.len()];
    window.copy_to(window.bytes() - LIVED.len() as u64, &mut found)?;
    Ok(found == LIVED)
}

/// A read into the region that is as long as one page.
fn read(hostile: &Hostile, page: u64) -> SubmissionEntry {
    SubmissionEntry::read(0, 2, BlockRange { first: page * 8, count: 8 })
        .with_data(hostile.region + page * super::PAGE, 0)
}

/// Reads until the disk stands still, and dies with as many reads in flight as the queue takes.
pub fn die(hostile: &mut Hostile) -> Stop {
    insist(hostile.log, format_args!("reading until the disk stands still"));
    let stop = |hostile: &mut Hostile| {
        while hostile.controller.run(On::Io, [read(hostile, 0)], STANDS_STILL)?.ended > 0 {}
        for page in 1..16 {
            let command = read(hostile, page);
            hostile.controller.push(On::Io, SubmissionEntry { identifier: (page as u16).into(), ..command })?;
        }
        hostile.controller.submit(On::Io);
        hostile.window.copy_from(hostile.bytes - LIVED.len() as u64, &LIVED)?;
        Ok(Stop::new(format_args!("as agreed, with commands in flight")))
    };
    stop(hostile).unwrap_or_else(|stop| stop)
}

/// What is left of the life before: nothing. The controller is off, as it was found.
pub fn again(hostile: &mut Hostile) -> Result<(), Stop> {
    let bytes = hostile.controller.ring_bytes();
    let is_zero = (0..bytes).step_by(8).all(|offset| hostile.controller.word(offset) == 0);
    hostile.tell("restarted-rings", Answer::word(if is_zero { "zero" } else { "old" }));
    let is_off = hostile.controller.is_off();
    hostile.tell("restarted-controller", Answer::word(if is_off { "off" } else { "on" }));
    for doorbell in (DOORBELLS..DOORBELLS + 16).step_by(4) {
        hostile.controller.registers().write_u32(doorbell, 7);
    }
    untouched(hostile, "restarted-region")?;

    hostile.controller.enable()?;
    let command = read(hostile, 2);
    hostile.controller.push(On::Io, command)?;
    hostile.controller.submit(On::Io);
    hostile.controller.take(On::Io, 1, BRIEFLY)?;
    untouched(hostile, "restarted-old-queue")?;
    hostile.still_its_own("restarted-served")
}

/// Whether nothing is written to the region for a while.
fn untouched(hostile: &Hostile, name: &str) -> Result<(), Stop> {
    let end = Deadline::after(WHILE);
    while task::wait(end).is_ok() {}
    let wrong = pattern::wrong(&hostile.window, SALT, 0, hostile.bytes - super::PAGE)?;
    hostile.tell(name, Answer::word(if wrong == 0 { "untouched" } else { "written" }));
    Ok(())
}
