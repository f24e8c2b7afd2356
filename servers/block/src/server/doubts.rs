//! Whether the driver can be right. One that is granted to be stopped by this server ([`Driver::may_report`]) is not
//! believed where a driver that works does not say such a thing: what it was asked was checked here, against what the
//! charter and itself had told. It is stopped, and the next one is asked the same; what that one says too is believed,
//! and told to the client. So is one stopped that forgets what it was asked, while it goes on and says that it is alive.
//!
//! Where nobody grants it, everything that can be understood is believed, and a request waits as long as the driver likes.

use core::fmt;

use protocol::block::Failure;
use protocol::nvme::{self, Operation};

use super::Server;
use super::recovery::Link;
use crate::driver::{Driver, Trouble, failure};
use crate::note::Note;
use crate::requests::SERVER;

/// Why the driver must have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It has had a request for longer than anything takes.
    Overdue,
    /// It has nothing, and for as long has taken nothing of what there is to do.
    TakesNothing,
    /// It says that something has ended which it was not given, or said so before.
    UnknownCompletion,
    /// Its answer is none to what it was asked.
    Answer,
    /// It does not answer.
    Silent,
    /// A request ended in a way in which it cannot end.
    Verdict(Failure),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overdue => f.write_str("request-overdue"),
            Self::TakesNothing => f.write_str("takes-nothing"),
            Self::UnknownCompletion => f.write_str("unknown-completion"),
            Self::Answer => f.write_str("malformed-answer"),
            Self::Silent => f.write_str("no-answer"),
            Self::Verdict(failure) => write!(f, "said-{failure}"),
        }
    }
}

/// Generic status codes of commands that should not have been sent like this (NVMe base 2.0, figure 96): Invalid Opcode,
/// Invalid Field, Invalid Namespace or Format, PRP Offset Invalid, LBA Out of Range.
const MISTAKES: [u8; 5] = [0x01, 0x02, 0x0b, 0x13, 0x80];

/// Whether a driver that works does not say this of an operation that was checked.
fn is_doubtful(said: nvme::Failure, operation: Operation) -> bool {
    match said {
        // The last three after a reset, which the driver has had for a reason of its own.
        nvme::Failure::Invalid
        | nvme::Failure::Denied
        | nvme::Failure::Unsupported
        | nvme::Failure::Stopped
        | nvme::Failure::Gone
        | nvme::Failure::Aborted
        | nvme::Failure::TimedOut => true,
        nvme::Failure::Different => operation != Operation::Compare,
        nvme::Failure::Device { kind, code } => kind == 0 && MISTAKES.contains(&code),
    }
}

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// Stops a driver that has a request for more than so many [ticks](Self::tick).
    pub fn expect_within(&mut self, ticks: u32) {
        self.patience = ticks;
    }

    /// Time passes: this is called about as often as [`Self::expect_within`] counts, and not more often.
    pub fn tick(&mut self) {
        self.requests.tick();
        if !self.driver.may_report() || self.link != Link::Up {
            return;
        }
        let is_idle = self.requests.is_waiting() && !self.requests.is_in_flight();
        self.idle = if is_idle { self.idle + 1 } else { 0 };
        if self.requests.doubt_overdue(self.patience) > 0 {
            self.suspect(Doubt::Overdue);
        } else if self.idle > self.patience {
            self.suspect(Doubt::TakesNothing);
        }
    }

    /// A transfer has failed, the driver says. Returns who is to be told, as for one that has not.
    ///
    /// # Errors
    /// Why that cannot be; it has not ended.
    #[cold]
    pub(super) fn fail(&mut self, tag: u32, said: nvme::Failure, changed: bool) -> Result<u32, Doubt> {
        let failure = self.believe(tag, said, changed)?;
        self.requests.complete(tag, Err(failure)).ok_or(Doubt::UnknownCompletion)
    }

    /// What to tell a client of a transfer that has failed, as the driver says.
    ///
    /// # Errors
    /// Why that cannot be.
    fn believe(&mut self, tag: u32, said: nvme::Failure, changed: bool) -> Result<Failure, Doubt> {
        let failure = failure(said);
        let Some((party, operation)) = self.requests.in_flight(tag) else { return Err(Doubt::UnknownCompletion) };
        // What namespaces have become may be the reason, and is no failure of the driver.
        let is_excused = changed
            && matches!(said, nvme::Failure::Invalid | nvme::Failure::Unsupported | nvme::Failure::Device { .. });
        let is_known = is_excused || self.convinced & 1 << party != 0;
        if is_known || !self.driver.may_report() || !is_doubtful(said, operation) {
            return Ok(failure);
        }
        if self.requests.doubt(tag) {
            if failure == Failure::Gone {
                self.insisted = Some(failure);
            }
            return Err(Doubt::Verdict(failure));
        }
        // Several drivers have said so. Or no client could ask for more than its disk allows, and have the driver of all
        // restarted each time.
        self.convinced |= 1 << party & !(1 << SERVER);
        Ok(failure)
    }

    /// The driver must have failed. It is stopped, if that is granted: what it had is then undecided.
    #[cold]
    pub(super) fn suspect(&mut self, doubt: Doubt) {
        if !self.driver.may_report() {
            return;
        }
        self.note(Note::Failed { doubt, requests: self.requests.count_in_flight() });
        self.idle = 0;
        self.driver.report();
        self.part(Trouble::Away(Failure::DeadPeer));
    }
}
