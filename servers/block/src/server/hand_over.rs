//! What goes to the driver and what comes from it: a batch is posted where the driver has promised room, and handed over in
//! an exchange where it has not; what has completed comes with the driver's signal, or with the answer.

use heapless::Vec;
use protocol::nvme;

use super::recovery::Link;
use super::{Doubt, Power, Server};
use crate::driver::{Driver, Trouble};
use crate::requests::SERVER;

/// Exchanges in one go, so that a driver which always has something to say does not keep the server from its clients.
pub(super) const ROUNDS: usize = 16;

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// Hands over what waits, and takes what has completed: the driver has signalled, or it is time to look.
    pub fn exchange(&mut self) {
        self.run(true);
    }

    /// As [`Self::exchange`], but asks the driver only if there is something to hand over, unless `look`.
    pub(super) fn run(&mut self, mut look: bool) {
        if self.link != Link::Up && !(look && self.recover()) {
            return;
        }
        for _ in 0..ROUNDS {
            self.begin_batch();
            self.requests.choose(&mut self.batch);
            let chosen = self.batch.len();
            if chosen == 0 && !look {
                break;
            }
            let is_all = !self.batch.is_full() || !self.requests.is_waiting();
            if is_all && !look && self.may_post() {
                // The loop posts it when it waits.
                self.staged = true;
                return;
            }
            self.staged = false;
            let mut completions = Vec::new();
            let exchanged = match self.driver.exchange(self.batch.batch(), &mut completions) {
                Ok(exchanged) => exchanged,
                Err(trouble) => {
                    self.part(trouble);
                    // It may be there again by now.
                    if !self.recover() {
                        return;
                    }
                    look = true;
                    continue;
                }
            };
            if exchanged.accepted < chosen {
                let rest: Vec<_, { nvme::BATCH_MAX }> = self.batch.batch().iter().skip(exchanged.accepted).collect();
                self.requests.not_taken(&rest);
            }
            self.take_completions(completions.iter().copied(), exchanged.namespaces);
            if exchanged.accepted > chosen {
                self.suspect(Doubt::Answer);
            }
            if self.link != Link::Up {
                return;
            }
            // A full answer may not have been all. What the driver did not take waits for its signal.
            look = completions.is_full();
            if exchanged.accepted < chosen && !look {
                break;
            }
        }
    }

    /// Whether the driver has promised room for all that it has and is to have.
    #[inline]
    pub(super) fn may_post(&self) -> bool {
        self.requests.count_in_flight() <= self.room
    }

    /// Empties the batch, unless the driver does not have what is in it yet.
    pub(super) fn begin_batch(&mut self) {
        if !self.staged {
            self.batch.clear();
        }
    }

    /// What is to be posted to the driver before anything else is waited for; [`Self::posted`] follows, or
    /// [`Self::exchange`] if the driver does not wait to be given it.
    pub fn to_post(&mut self) -> Option<nvme::Framed<'_>> {
        self.staged.then(|| nvme::Request::exchange(&mut self.batch))
    }

    /// Whether there is something.
    #[inline]
    pub fn has_to_post(&self) -> bool {
        self.staged
    }

    /// The driver was given [`Self::to_post`].
    pub fn posted(&mut self) {
        self.staged = false;
    }

    /// The driver has told what has completed, and its number for the namespaces.
    fn take_completions(&mut self, completions: impl Iterator<Item = nvme::Completion>, namespaces: u32) {
        let changed = namespaces != self.namespaces_number;
        let (mut touched, mut doubt) = (0, None);
        for completion in completions {
            let ended = match completion.outcome {
                Ok(()) => self.requests.complete(completion.tag, Ok(())).ok_or(Doubt::UnknownCompletion),
                Err(said) => self.fail(completion.tag, said, changed),
            };
            match ended {
                Ok(told) => touched |= told,
                // The rest is not believed either.
                Err(reason) if self.driver.may_report() => {
                    doubt = Some(reason);
                    break;
                }
                // What is nobody's is dropped.
                Err(_) => {}
            }
        }
        self.signal(touched);
        match doubt {
            Some(doubt) => self.suspect(doubt),
            None if changed => {
                self.namespaces_number = namespaces;
                self.refresh();
            }
            None => {}
        }
        if touched & 1 << SERVER != 0 {
            self.own_ended();
        }
        if !matches!(self.power, Power::On) {
            self.advance_power();
        }
    }

    /// The driver has told along with its signal what has completed; `None` if that was malformed.
    pub fn told(&mut self, notice: Option<nvme::Notice<'_>>) {
        match notice {
            _ if self.link != Link::Up => self.exchange(),
            Some(notice) => {
                self.take_completions(notice.completions.iter(), notice.namespaces);
                if self.requests.is_waiting() {
                    self.run(false);
                }
            }
            None => {
                // What it said is lost, and it will not say it again: it is asked to begin anew.
                self.part(Trouble::Nonsense);
                self.exchange();
            }
        }
    }
}
