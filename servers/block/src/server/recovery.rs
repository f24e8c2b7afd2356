//! A driver that stops, and the one that comes after it.
//!
//! While there is none, requests wait: those that the driver had ([`Requests::unsettle`](crate::requests::Requests)) and
//! those that come. The next one is begun with, must have the same namespaces, and is given all of it. If none comes in
//! time, which the loop watches, everyone is told that the driver is lost, until one comes all the same.

use core::time::Duration;

use protocol::block::Failure;

use super::{Doubt, Server};
use crate::driver::{Driver, Hello, Namespaces, START, Trouble};
use crate::note::Note;

/// How long to wait for a driver that has started and does not answer yet, before looking after clients again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the server and its driver stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The driver knows this server.
    Up,
    /// It has stopped, or does not answer: requests wait for the next one.
    Away,
    /// Whoever asks is told so.
    Lost(Failure),
}

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// Why nothing can be done, if so.
    pub fn lost(&self) -> Option<Failure> {
        match self.link {
            Link::Lost(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether requests wait for a driver to come: somebody is to look for it now and then, and to
    /// [give up](Self::give_up) some time.
    pub fn is_away(&self) -> bool {
        self.link == Link::Away
    }

    /// Begins with the driver. If it has nothing to tell of, the server serves all the same and says so to everyone.
    pub fn begin(&mut self) {
        match self.driver.begin(START) {
            Ok(hello) => {
                self.welcome(hello);
                self.exchange();
            }
            Err(Trouble::Away(failure)) => self.note(Note::Away { failure, requests: 0 }),
            Err(Trouble::Nonsense) => self.part(Trouble::Nonsense),
            Err(Trouble::Lost(failure)) => {
                let failure = if failure == Failure::Gone { Failure::NoDisk } else { failure };
                self.link = Link::Lost(failure);
                self.note(Note::NoDisk(failure));
            }
        }
    }

    /// The driver did not do what it was asked.
    #[cold]
    pub(super) fn part(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Lost(Failure::Gone) if self.insist(Failure::Gone) => {
                self.suspect(Doubt::Verdict(Failure::Gone));
            }
            Trouble::Lost(failure) => self.lose(failure),
            Trouble::Nonsense if self.driver.may_report() => self.suspect(Doubt::Answer),
            Trouble::Nonsense => self.part(Trouble::Away(Failure::DeadPeer)),
            Trouble::Away(Failure::TimedOut) if self.link == Link::Up && self.driver.may_report() => {
                self.suspect(Doubt::Silent);
            }
            Trouble::Away(failure) if self.link == Link::Up => {
                self.link = Link::Away;
                self.staged = false;
                let told = self.requests.unsettle();
                self.note(Note::Away { failure, requests: self.requests.undecided() });
                self.signal(told);
            }
            Trouble::Away(_) => {}
        }
    }

    /// Whether to have the next driver say the same, before this one is believed.
    fn insist(&mut self, failure: Failure) -> bool {
        self.driver.may_report() && self.insisted.replace(failure).is_none()
    }

    /// Looks for a driver. Whether there is one.
    #[cold]
    pub(super) fn recover(&mut self) -> bool {
        match self.driver.begin(PATIENCE) {
            Ok(hello) => self.welcome(hello),
            Err(trouble) => self.part(trouble),
        }
        self.link == Link::Up
    }

    /// A driver has begun with this server.
    fn welcome(&mut self, hello: Hello) {
        let Hello { controller, namespaces, room } = hello;
        let is_same = self.controller.as_ref().is_none_or(|old| *old == controller && self.namespaces == namespaces);
        // Other disks end what clients have under way: two drivers have to tell of them.
        if !is_same && self.insist(Failure::Changed) {
            self.note(Note::Failed { doubt: Doubt::Verdict(Failure::Changed), requests: self.requests.undecided() });
            self.link = Link::Away;
            self.driver.report();
            return;
        }
        self.link = Link::Up;
        self.room = room;
        (self.insisted, self.idle) = (None, 0);
        let told = self.requests.fail_overdue();
        self.signal(told);
        match self.controller.replace(controller) {
            None => self.settle_in(namespaces),
            Some(old) => {
                if self.controller.as_ref() != Some(&old) {
                    // What was asked of its disks is not for those of another controller.
                    self.replace(Namespaces::new());
                }
                self.replace(namespaces);
                self.note(Note::Back { requests: self.requests.undecided() });
            }
        }
    }

    /// No driver has come in time.
    pub fn give_up(&mut self) {
        if self.link != Link::Away {
            return;
        }
        // One that runs and does not let the server begin has failed.
        let reason = self.insisted.filter(|failure| *failure == Failure::Gone).unwrap_or(Failure::DeadPeer);
        if self.insist(reason) && self.driver.report() {
            self.note(Note::Failed { doubt: Doubt::Silent, requests: 0 });
            return;
        }
        // A device that is gone does not stop either, so that no driver comes.
        self.lose(reason);
    }

    /// The driver is lost: whoever waits is told, and whoever asks later.
    #[cold]
    pub(super) fn lose(&mut self, failure: Failure) {
        if self.lost().is_some() {
            return;
        }
        self.link = Link::Lost(failure);
        self.staged = false;
        self.note(Note::Lost(failure));
        self.requests.fail_all(failure);
        self.reading = None;
        self.signal(!0);
        self.own_ended();
        self.advance_power();
    }
}
