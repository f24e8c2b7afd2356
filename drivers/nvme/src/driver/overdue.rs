//! Looking after what takes too long: is the controller still there, and is a command overdue?

use super::*;

impl Driver {
    /// The controller has been silent: is it still there, and is a command overdue?
    pub(super) fn look(&mut self, hardware: &mut impl Hardware, now: u64) -> Result<(), Trouble> {
        let silent = self.io.drain_all(hardware)?;
        if silent > 0 {
            hardware.log(format_args!("completions without interrupt count={silent}"));
        }
        io::alive(hardware)?;
        self.io.seen(now);
        if self.io.is_stuck(now) {
            return self.reset(hardware, now, "queue-full");
        }
        if !self.io.is_overdue(now) {
            self.grace = None;
            return self.pump(hardware);
        }
        match self.grace {
            Some(until) if now >= until => return self.reset(hardware, now, "timeout"),
            Some(_) => {}
            None => {
                let grace = (self.settings.timeout / 4).clamp(GRACE_MIN, GRACE_MAX);
                self.grace = Some(now.saturating_add(grace));
                hardware.log(format_args!("commands overdue in_flight={}", self.io.in_flight()));
            }
        }
        self.abort_overdue(hardware, now)?;
        self.pump(hardware)
    }

    /// Asks the controller to abort what is overdue, as many at a time as it takes.
    fn abort_overdue(&mut self, hardware: &mut impl Hardware, now: u64) -> Result<(), Trouble> {
        self.attend(hardware)?;
        while self.bring_up.may_abort() {
            let Some((queue, identifier)) = self.io.next_to_abort(now) else { break };
            if let Err(trouble) = self.bring_up.admin().abort(hardware, queue, identifier) {
                // The reset that follows makes up for it.
                hardware.log(format_args!("command not aborted {trouble}"));
                break;
            }
        }
        Ok(())
    }
}
