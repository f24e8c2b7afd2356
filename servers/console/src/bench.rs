//! What things cost on this machine: counts of the time-stamp counter, and nanoseconds. Under QEMU's `-icount shift=N`
//! the counts are guest instructions times 2^N.

use core::fmt;

use task::abi::system_call::Number;
use task::{Instant, measure};

use crate::terminal::Terminal;
use crate::{Granted, disk, say};

/// What one operation takes, in the mean.
struct Cost {
    counts: u64,
    nanoseconds: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tsc={} time_ns={}", self.counts, self.nanoseconds)
    }
}

fn cost(times: u32, mut operation: impl FnMut() -> bool) -> Option<Cost> {
    let (start, counts) = (Instant::now(), measure::time_stamp());
    for _ in 0..times {
        if !operation() {
            return None;
        }
    }
    let counts = measure::time_stamp().saturating_sub(counts);
    let nanoseconds = u64::try_from(Instant::now().since(start).as_nanos()).unwrap_or(u64::MAX);
    Some(Cost { counts: counts / u64::from(times), nanoseconds: nanoseconds / u64::from(times) })
}

/// Measures and shows.
pub fn run(granted: &Granted, terminal: &mut Terminal) {
    // Nothing of what was written is still on its way then, as far as this task can see to it.
    terminal.flush();
    let mut row = |what: &str, cost: Option<Cost>| match cost {
        Some(cost) => say!(terminal, "{what:18} {cost}"),
        None => say!(terminal, "{what:18} failed"),
    };
    let enter = || {
        measure::enter(Number::Null, [0; 4]);
        true
    };
    row("system-call", cost(1000, enter));
    if let Some((call, data)) = &granted.disk {
        row("call-and-reply", cost(200, || disk::information(*call).is_ok()));
        row("read-1-block", cost(50, || disk::read_blocks(*call, 0, 1).is_ok()));
        let blocks = disk::information(*call).ok().and_then(|information| {
            let most = data.bytes().min(128 * 1024).checked_div(information.block_bytes.into())?;
            u32::try_from(most.min(information.blocks)).ok()
        });
        row("read-128-KiB", cost(20, || blocks.is_some_and(|blocks| disk::read_blocks(*call, 0, blocks).is_ok())));
    }
}
