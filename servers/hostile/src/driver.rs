//! What hostile drivers have of their controller, and how they wait for it.

use core::time::Duration;

use nvme_spec::registers::{Configuration, ShutdownNotification};
use task::abi::Error;
use task::{Deadline, Direct, Dma, Instant, Log, Receive, Registers, Stop};

/// CC.EN, with what the broker authors beside it.
pub const ENABLE: u32 = Configuration::new(true, ShutdownNotification::None).0;
/// How long the controller may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Completions at a time: as many as a message holds.
pub const ROOM: usize = 256;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// What attempts are made with.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// The controller.
    pub registers: Registers,
    /// Where its clients would call.
    pub requests: Receive,
    /// The log.
    pub log: Log,
    /// The region.
    pub data: Dma,
    /// The granted entry of the MSI-X table.
    pub vector: u16,
}

/// Waits a little. It ends by timing out, or by an interrupt.
pub fn pause() {
    pause_for(PAUSE);
}

/// Lets so much time pass. It ends likewise.
pub fn pause_for(time: Duration) {
    let _ = task::wait(Deadline::after(time));
}

/// What a driver has of its device on the direct lane; waits until the kernel knows.
///
/// # Errors
/// If it is another lane.
pub fn direct(registers: &Registers) -> Result<Direct, Stop> {
    loop {
        match registers.direct() {
            Ok(direct) => return Ok(direct),
            Err(Error::Busy) => pause(),
            Err(error) => return Err(Stop::new(format_args!("the lane is not direct: {error}"))),
        }
    }
}

/// Waits until this is so.
///
/// # Errors
/// If it does not come to be, or cannot be found out.
pub fn until(mut done: impl FnMut() -> Result<bool, Stop>) -> Result<(), Stop> {
    let start = Instant::now();
    while !done()? {
        if Instant::now().since(start) > PATIENCE {
            return Err(Stop::new(format_args!("the controller does not get there")));
        }
        pause();
    }
    Ok(())
}
