//! Requests, transfers in flight, and answers. Pure: the driver and the reply handles are behind traits.
//!
//! Every request is answered exactly once. A client has at most one request here, because it waits for the answer; if
//! its deadline passes and it asks again while its transfer is still under way, the new request is answered *busy*:
//! the device may still write into the window.

use heapless::Vec;
use protocol::block::{Answer, DiskGrant, Failure, Request};
use protocol::nvme::{BATCH_MAX, Completion, Transfer};
use task::abi::start::CLIENTS_MAX;

use crate::disk::{Disk, Unusable};
use crate::driver::{Driver, failure};

/// Exchanges in one go, so that a driver which always has something to say does not keep the server from its clients.
const ROUNDS: usize = 16;

/// A client's transfer.
struct Pending<R> {
    reply: R,
    transfer: Transfer,
    /// Whether the driver has it.
    in_flight: bool,
}

struct Client<R> {
    badge: u32,
    disk: Result<Disk, Unusable>,
    pending: Option<Pending<R>>,
}

/// An answer that is due.
pub type Due<R> = (R, Answer);

/// The server's state. `D` is the driver, `R` a reply handle.
pub struct Server<D, R> {
    driver: D,
    clients: Vec<Client<R>, CLIENTS_MAX>,
    /// Why nothing can be done any more, once that is so.
    lost: Option<Failure>,
    sequence: u32,
    due: Vec<Due<R>, { 2 * CLIENTS_MAX }>,
}

impl<D: Driver, R> Server<D, R> {
    /// A server for these clients: badge and grant, `None` for a client whose grant is not a disk. Asks the driver for
    /// its namespaces; if it has none to tell of, the server serves all the same and says so to everyone.
    pub fn new(mut driver: D, clients: impl IntoIterator<Item = (u32, Option<DiskGrant>)>) -> Self {
        let (namespaces, lost) = match driver.namespaces() {
            Ok(namespaces) => (namespaces, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let clients = clients
            .into_iter()
            .take(CLIENTS_MAX)
            .map(|(badge, grant)| Client {
                badge,
                disk: grant.ok_or(Unusable::NoGrant).and_then(|grant| Disk::new(&grant, &namespaces)),
                pending: None,
            })
            .collect();
        Self { driver, clients, lost, sequence: 0, due: Vec::new() }
    }

    /// Why nothing can be done, if so.
    pub fn lost(&self) -> Option<Failure> {
        self.lost
    }

    /// Each client's disk, by badge.
    pub fn disks(&self) -> impl Iterator<Item = (u32, Result<Disk, Unusable>)> {
        self.clients.iter().map(|client| (client.badge, client.disk))
    }

    /// Whether an answer from the driver is awaited.
    pub fn is_waiting(&self) -> bool {
        self.clients.iter().any(|client| client.pending.is_some())
    }

    /// A client's request; `None` if it was malformed.
    pub fn request(&mut self, badge: u32, reply: R, request: Option<Request>) {
        match self.accept(badge, request) {
            Ok((index, transfer)) => {
                self.clients[index].pending = Some(Pending { reply, transfer, in_flight: false });
                self.exchange();
            }
            Err(answer) => self.answer(reply, answer),
        }
    }

    /// The driver has signalled, or it is time to look.
    pub fn exchange(&mut self) {
        for _ in 0..ROUNDS {
            if self.lost.is_some() {
                return;
            }
            let batch: Vec<Transfer, BATCH_MAX> = self
                .clients
                .iter()
                .filter_map(|client| client.pending.as_ref())
                .filter(|pending| !pending.in_flight)
                .map(|pending| pending.transfer)
                .collect();
            let exchanged = match self.driver.exchange(batch.clone()) {
                Ok(exchanged) => exchanged,
                Err(failure) => return self.lose(failure),
            };
            for transfer in batch.iter().take(exchanged.accepted) {
                if let Some(pending) = self.pending(transfer.tag) {
                    pending.in_flight = true;
                }
            }
            for completion in &exchanged.completions {
                self.complete(completion);
            }
            if exchanged.completions.len() < BATCH_MAX {
                return;
            }
        }
    }

    /// The driver is lost: whoever waits is told, and whoever asks later.
    pub fn lose(&mut self, failure: Failure) {
        self.lost = Some(self.lost.unwrap_or(failure));
        for index in 0..self.clients.len() {
            if let Some(pending) = self.clients[index].pending.take() {
                self.answer(pending.reply, Answer::Failed(failure));
            }
        }
    }

    /// Takes an answer that is due.
    pub fn take_due(&mut self) -> Option<Due<R>> {
        self.due.pop()
    }

    /// Finds out what a request asks of the driver, or answers it.
    fn accept(&mut self, badge: u32, request: Option<Request>) -> Result<(usize, Transfer), Answer> {
        let failed = |failure| Err(Answer::Failed(failure));
        let Some(index) = self.clients.iter().position(|client| client.badge == badge) else {
            return failed(Failure::Denied);
        };
        let Some(request) = request else {
            return failed(Failure::Invalid);
        };
        if let Some(failure) = self.lost {
            return failed(failure);
        }
        let client = &self.clients[index];
        let disk = match client.disk {
            Ok(disk) => disk,
            Err(Unusable::NoGrant) => return failed(Failure::Denied),
            Err(_) => return failed(Failure::NoDisk),
        };
        if request == Request::Information {
            return Err(Answer::Information(disk.information()));
        }
        if client.pending.is_some() {
            return failed(Failure::Busy);
        }
        let tag = self.next_tag(index);
        match request {
            Request::Read { first_block, blocks, offset } => {
                disk.read(tag, first_block, blocks, offset).map(|transfer| (index, transfer)).map_err(Answer::Failed)
            }
            Request::Flush => Ok((index, disk.flush(tag))),
            Request::Information => Err(Answer::Information(disk.information())),
        }
    }

    /// A number for a transfer: the client in the low bits, and a sequence number above, so that a completion which
    /// comes twice is not taken for the next transfer's.
    fn next_tag(&mut self, index: usize) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        // An index is below CLIENTS_MAX, 16.
        self.sequence << 4 | index as u32
    }

    fn pending(&mut self, tag: u32) -> Option<&mut Pending<R>> {
        let client = self.clients.get_mut((tag & 0xf) as usize)?;
        client.pending.as_mut().filter(|pending| pending.transfer.tag == tag)
    }

    /// Answers the client of a completed transfer. Completions of transfers that are not in flight are nobody's.
    fn complete(&mut self, completion: &Completion) {
        if !self.pending(completion.tag).is_some_and(|pending| pending.in_flight) {
            return;
        }
        if let Some(pending) = self.clients[(completion.tag & 0xf) as usize].pending.take() {
            let answer = match completion.outcome {
                Ok(()) => Answer::Done,
                Err(reason) => Answer::Failed(failure(reason)),
            };
            self.answer(pending.reply, answer);
        }
    }

    fn answer(&mut self, reply: R, answer: Answer) {
        // There is room: between two calls of the loop at most each client's held request and one new one are
        // answered. Should that ever be wrong, the client's own deadline ends its wait.
        let _ = self.due.push((reply, answer));
    }
}

const _: () = assert!(CLIENTS_MAX <= 16 && CLIENTS_MAX <= BATCH_MAX, "a tag has 4 bits for the client");

#[cfg(test)]
mod tests;
