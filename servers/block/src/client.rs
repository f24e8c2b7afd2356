//! A client: what the charter grants it, and where it stands.

use protocol::block::{ClientGrant, DiskGrant, Place};

use crate::disk::{Disk, Unusable};

/// What is known of a client's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The partition table is to be read first.
    Pending,
    /// It is there.
    Disk(Disk),
    /// There is none.
    Unusable(Unusable),
}

/// What a client knows of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it has not opened it.
    New,
    /// What it is now.
    Open,
    /// What it was before it changed.
    Changed,
}

/// A question that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<R> {
    /// What disk it is: once it is known and, for a client that begins, nothing of an earlier life is under way.
    Information {
        /// The question.
        reply: R,
        /// Whether the client begins.
        open: bool,
    },
    /// What has completed: once something has.
    Exchange {
        /// The question.
        reply: R,
        /// Transfers that were taken with it.
        accepted: u8,
        /// Whether it is answered even if nothing has.
        now: bool,
    },
}

/// A client that the image builder names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'g> {
    /// What its messages carry.
    pub badge: u32,
    /// The name of its task.
    pub task: &'g str,
    /// What the charter grants it; `None` if that is not for this server.
    pub grant: Option<ClientGrant<'g>>,
}

/// A client.
#[derive(Debug)]
pub struct Client<'g, R> {
    /// Who it is.
    pub named: Named<'g>,
    /// Where its data lies in the driver's region, and whether that is a slot of the server's own; `None` if there is
    /// no room for a slot.
    pub place: Option<(Place, bool)>,
    /// Its disk.
    pub state: State,
    /// What it knows of it.
    pub standing: Standing,
    /// Its question that is not answered yet. It has one at most: it waits for the answer.
    pub held: Option<Held<R>>,
    /// Whether it was signalled since it last took completions.
    pub signalled: bool,
}

impl<'g, R> Client<'g, R> {
    /// A client of which nothing is known but its name.
    pub fn new(named: Named<'g>, place: Option<(Place, bool)>) -> Self {
        Self {
            named,
            place,
            state: State::Unusable(Unusable::NoGrant),
            standing: Standing::New,
            held: None,
            signalled: false,
        }
    }

    /// The disk that it is granted.
    pub fn grant(&self) -> Option<&DiskGrant<'g>> {
        self.named.grant.as_ref().and_then(|grant| grant.disk.as_ref())
    }

    /// Its disk, if it is there.
    pub fn disk(&self) -> Option<&Disk> {
        match &self.state {
            State::Disk(disk) => Some(disk),
            _ => None,
        }
    }
}
