//! What is said to a client, and the message that it becomes.

use protocol::block::{Answer, BatchRoom, COPY_BYTES_MAX, Completion, Failure, Framed, VERSION};

use super::Server;
use crate::client::Standing;
use crate::driver::Driver;

/// What to say to a client; [`Server::answer`] makes the message of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The version that is spoken here.
    Version,
    /// What its disk is.
    Information {
        /// The client's position.
        client: usize,
    },
    /// It was done.
    Done,
    /// It was not done.
    Failed(Failure),
    /// What has completed.
    Exchanged {
        /// The client's position.
        client: usize,
        /// Transfers that were taken.
        accepted: u8,
    },
    /// Bytes of its slot.
    Data {
        /// Where they begin in the server's window.
        at: u64,
        /// How many.
        bytes: u16,
    },
}

/// An answer that is due.
#[derive(Debug)]
pub struct Due<R> {
    /// To whom.
    pub reply: R,
    /// What.
    pub said: Said,
}

/// Room for the longest answers.
pub struct AnswerRoom {
    completions: BatchRoom<Completion>,
    told: usize,
    data: [u8; COPY_BYTES_MAX],
}

impl Default for AnswerRoom {
    fn default() -> Self {
        Self { completions: BatchRoom::new(), told: 0, data: [0; COPY_BYTES_MAX] }
    }
}

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// The message of an answer.
    pub fn answer<'a>(&self, said: &Said, room: &'a mut AnswerRoom) -> Answer<'a> {
        match *said {
            Said::Version => Answer::Version { supported: VERSION },
            Said::Done => Answer::Done,
            Said::Failed(failure) => Answer::Failed(failure),
            Said::Information { client } => match self.clients[client].disk() {
                Some(disk) => Answer::Information(*disk.information()),
                None => Answer::Failed(Failure::NoDisk),
            },
            Said::Exchanged { client, accepted } => {
                let changed = self.tell_ended(client, room);
                Answer::Exchanged { accepted, changed, completions: room.completions.batch() }
            }
            Said::Data { at, bytes } => {
                let data = &mut room.data[..bytes.into()];
                if self.memory.load(at, data) { Answer::Data(data) } else { Answer::Failed(Failure::Invalid) }
            }
        }
    }

    /// The message of [`Said::Exchanged`], encoded.
    pub fn exchanged<'a>(&self, client: usize, accepted: u8, room: &'a mut AnswerRoom) -> Framed<'a> {
        let changed = self.tell_ended(client, room);
        Answer::exchanged(accepted, changed, &mut room.completions)
    }

    /// Puts into the room what has completed; whether the client's disk has changed.
    fn tell_ended(&self, client: usize, room: &mut AnswerRoom) -> bool {
        room.completions.clear();
        // What has no room is told the next time.
        self.requests.tell_ended(client, &mut room.completions);
        room.told = room.completions.len();
        self.clients[client].standing == Standing::Changed
    }

    /// The client has got the message that [`Self::answer`] put into the room: what it was told of is not told again.
    pub fn delivered(&mut self, said: &Said, room: &AnswerRoom) {
        if let Said::Exchanged { client, .. } = *said {
            self.requests.taken(client, room.told);
            if self.requests.has_ended(client) {
                // There was more than went along.
                self.clients[client].signalled = false;
                self.signal(1 << client);
            }
        }
    }
}
