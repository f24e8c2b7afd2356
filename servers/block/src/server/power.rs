//! The end: nothing new is taken, what is under way ends, everything is made durable, the device is shut down.

use protocol::block::Failure;
use protocol::nvme::{Operation, Transfer};

use super::{Due, Said, Server};
use crate::driver::Driver;
use crate::note::Note;
use crate::requests::{Origin, SERVER};

/// How far the end is.
#[derive(Debug)]
pub enum Power<R> {
    /// Nobody has asked for it.
    On,
    /// What is under way ends.
    Draining {
        /// Who asked.
        asker: R,
    },
    /// What was written is made durable.
    Flushing {
        /// Who asked.
        asker: R,
        /// What went wrong.
        outcome: Result<(), Failure>,
    },
    /// It is over; the asker is not told yet.
    Down(R, Result<(), Failure>),
    /// It is over.
    Off(Result<(), Failure>),
}

impl<R> Power<R> {
    /// Why nothing is taken any more.
    pub fn refuses(&self) -> Option<Failure> {
        match self {
            Self::On => None,
            _ => Some(Failure::Stopped),
        }
    }

    /// The answer to who asked.
    pub fn take_due(&mut self) -> Option<Due<R>> {
        match core::mem::replace(self, Self::On) {
            Self::Down(reply, outcome) => {
                *self = Self::Off(outcome);
                Some(Due { reply, said: said(outcome) })
            }
            other => {
                *self = other;
                None
            }
        }
    }
}

fn said(outcome: Result<(), Failure>) -> Said {
    outcome.map_or_else(Said::Failed, |()| Said::Done)
}

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// A client asks for the end.
    pub(super) fn shut_down(&mut self, client: usize, reply: R) -> Result<(), (R, Said)> {
        let named = self.clients[client].named;
        if !named.grant.is_some_and(|grant| grant.shutdown) {
            return Err((reply, Said::Failed(Failure::Denied)));
        }
        match &self.power {
            Power::On => {}
            Power::Off(outcome) => return Err((reply, said(*outcome))),
            _ => return Err((reply, Said::Failed(Failure::Busy))),
        }
        self.note(Note::ShuttingDown { client: named.task });
        self.reading = None;
        self.power = Power::Draining { asker: reply };
        self.advance_power();
        Ok(())
    }

    /// Goes on with the end, as far as it can.
    pub(super) fn advance_power(&mut self) {
        if matches!(self.power, Power::On | Power::Off(_)) || self.requests.is_in_flight() || self.requests.is_waiting()
        {
            return;
        }
        self.power = match core::mem::replace(&mut self.power, Power::On) {
            Power::Draining { asker } => {
                self.flush_everything();
                Power::Flushing { asker, outcome: self.lost().map_or(Ok(()), Err) }
            }
            other => other,
        };
        if self.requests.is_waiting() || self.is_away() {
            return;
        }
        self.power = match core::mem::replace(&mut self.power, Power::On) {
            Power::Flushing { asker, outcome } => {
                let down = match self.lost() {
                    Some(_) => Ok(Ok(())),
                    None => self.driver.shutdown(),
                };
                match down {
                    Ok(down) => {
                        let outcome = outcome.and(down);
                        self.note(Note::Down(outcome));
                        Power::Down(asker, outcome)
                    }
                    // The next driver is asked again.
                    Err(trouble) => {
                        self.power = Power::Flushing { asker, outcome };
                        return self.part(trouble);
                    }
                }
            }
            other => other,
        };
    }

    /// One flush for each namespace that somebody may have written and that has a volatile cache.
    fn flush_everything(&mut self) {
        if self.lost().is_some() {
            return;
        }
        for namespace in &self.namespaces {
            let is_written = self.clients.iter().filter_map(|client| client.disk()).any(|disk| {
                let information = disk.information();
                information.nsid == namespace.nsid && information.supports.write
            });
            if is_written && namespace.volatile_cache {
                let nsid = namespace.nsid;
                let flush =
                    Transfer { tag: 0, operation: Operation::Flush, nsid, first_block: 0, blocks: 1, offset: 0 };
                // The server's own requests have room besides everybody's; the driver's shutdown flushes too.
                let _ = self.requests.admit(SERVER, Origin::Tag(nsid), flush, 0);
            }
        }
    }

    /// A flush of [`Self::flush_everything`] has ended.
    pub(super) fn flushed(&mut self, result: Result<(), Failure>) {
        if let Power::Flushing { outcome, .. } = &mut self.power {
            *outcome = outcome.and(result);
        }
    }
}
