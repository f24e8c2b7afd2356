//! A server, its driver and its clients.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

use protocol::block::{
    Answer, BatchRoom, ClientGrant, Completion, DiskGrant, Extent, Failure, Information, Operation, Place, Request,
    Transfer, VERSION,
};
use protocol::nvme::{self, Namespace, Operations};
use task::Window;

use crate::client::Named;
use crate::driver::{Completions, Driver, Exchanged, Hello, Identity, Namespaces, Trouble};
use crate::memory::Memory;
use crate::note::Note;
use crate::server::{AnswerRoom, Said, Server};

/// What the test and its driver share.
#[derive(Default)]
pub struct Model {
    pub namespaces: Vec<Namespace>,
    pub number: u32,
    pub is_azure: bool,
    /// The controller's serial number.
    pub serial: &'static str,
    /// Answers to who begins.
    pub no_namespaces: Option<Trouble>,
    /// Answers to everything.
    pub dead: Option<Trouble>,
    /// Whether the server has begun with this driver.
    pub begun: bool,
    pub begins: usize,
    pub dies_at_shutdown: bool,
    /// Transfers that it still takes.
    pub room: usize,
    /// Those that it lets be posted to it.
    pub posts: usize,
    /// Transfers that it has.
    pub taken: Vec<nvme::Transfer>,
    /// What it has to say.
    pub completions: Vec<nvme::Completion>,
    pub exchanges: usize,
    pub shutdowns: usize,
    /// Every transfer that it ever took.
    pub history: Vec<nvme::Transfer>,
    /// Whether the server may have it stopped.
    pub reportable: bool,
    /// How often it did.
    pub reports: usize,
    /// Transfers that it says to have taken beyond those that it was given.
    pub boasts: usize,
    /// Transfers that it has taken and does not say so.
    pub hides: usize,
}

impl Model {
    /// The driver stops, and its device with it.
    pub fn die(&mut self) {
        self.dead = Some(Trouble::Away(Failure::DeadPeer));
        self.taken.clear();
        self.completions.clear();
        self.begun = false;
    }

    /// Finishes every transfer that was taken.
    pub fn finish(&mut self, outcome: Result<(), nvme::Failure>) {
        for transfer in self.taken.drain(..) {
            self.completions.push(nvme::Completion { tag: transfer.tag, outcome });
        }
    }
}

#[derive(Clone)]
pub struct Shared(pub Rc<RefCell<Model>>);

impl Driver for Shared {
    fn begin(&mut self, _: Duration) -> Result<Hello, Trouble> {
        let mut model = self.0.borrow_mut();
        model.begins += 1;
        if let Some(trouble) = model.no_namespaces.or(model.dead) {
            return Err(trouble);
        }
        model.begun = true;
        let name = if model.is_azure { "MSFT NVMe Accelerator v1.0" } else { "model" };
        let controller = Identity { model: name.try_into().unwrap(), serial: model.serial.try_into().unwrap() };
        Ok(Hello { controller, namespaces: model.namespaces.iter().copied().collect(), room: model.posts })
    }

    fn namespaces(&mut self) -> Result<Namespaces, Trouble> {
        Ok(self.0.borrow().namespaces.iter().copied().collect())
    }

    fn exchange(
        &mut self,
        transfers: nvme::Batch<'_, nvme::Transfer>,
        completions: &mut Completions,
    ) -> Result<Exchanged, Trouble> {
        let transfers: Vec<_> = transfers.iter().collect();
        let mut model = self.0.borrow_mut();
        model.exchanges += 1;
        if let Some(trouble) = model.dead {
            return Err(trouble);
        }
        if !model.begun {
            return Err(Trouble::Away(Failure::DeadPeer));
        }
        let accepted = transfers.len().min(model.room);
        model.room -= accepted;
        model.taken.extend_from_slice(&transfers[..accepted]);
        model.history.extend_from_slice(&transfers[..accepted]);
        let told = model.completions.len().min(nvme::BATCH_MAX);
        completions.extend(model.completions.drain(..told));
        let accepted = accepted + core::mem::take(&mut model.boasts);
        let accepted = accepted - accepted.min(core::mem::take(&mut model.hides));
        Ok(Exchanged { accepted, namespaces: model.number })
    }

    fn shutdown(&mut self) -> Result<Result<(), Failure>, Trouble> {
        let mut model = self.0.borrow_mut();
        model.shutdowns += 1;
        if core::mem::take(&mut model.dies_at_shutdown) {
            model.die();
        }
        model.dead.map_or(Ok(Ok(())), Err)
    }

    fn may_report(&self) -> bool {
        self.0.borrow().reportable
    }

    fn report(&mut self) -> bool {
        let mut model = self.0.borrow_mut();
        let runs = model.dead.is_none();
        model.reports += 1;
        model.die();
        runs
    }
}

/// A reply handle: the number of the question.
pub type Question = u32;

/// An answer, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Version(u16),
    Information(Information),
    Done,
    Failed(Failure),
    Exchanged { accepted: u8, changed: bool, completions: Vec<Completion> },
    Data(Vec<u8>),
}

pub const fn namespace(nsid: u32, blocks: u64, block_bytes: u32) -> Namespace {
    let supports = Operations { write: true, discard: true, write_zeroes: true, compare: true, verify: true };
    Namespace { nsid, blocks, block_bytes, supports, volatile_cache: true }
}

/// Blocks of a namespace, writable, with a window of 1 MiB that begins at `window` MiB of the region.
pub fn blocks(nsid: u32, first_block: u64, blocks: Option<u64>, window: u64) -> DiskGrant<'static> {
    DiskGrant {
        nsid,
        extent: Extent::Blocks { first_block, blocks },
        writable: true,
        window: Some(Place { offset: window << 20, bytes: 1 << 20 }),
        share: 8,
    }
}

pub fn of(disk: DiskGrant<'_>) -> Option<ClientGrant<'_>> {
    Some(ClientGrant { disk: Some(disk), shutdown: false, signal: None })
}

/// A client of the task `client`.
pub fn named<'g>(badge: u32, client: &'g str, grant: Option<ClientGrant<'g>>) -> Named<'g> {
    Named { badge, task: client, grant }
}

pub struct Bench {
    pub model: Rc<RefCell<Model>>,
    pub server: Server<'static, Shared, Question>,
    /// The server's own.
    pub window: Window,
    pub asked: Question,
    pub notes: Vec<Note<'static>>,
    pub signals: u32,
    room: AnswerRoom,
}

/// Where the server's own window begins in the region.
pub const OWN: u64 = 64 << 20;

impl Bench {
    pub fn new(model: Model, window_bytes: u64, clients: Vec<Named<'static>>) -> Self {
        let model = Rc::new(RefCell::new(model));
        let window = Window::host_at(OWN, window_bytes);
        let copying = clients
            .iter()
            .filter(|client| client.grant.and_then(|grant| grant.disk).is_some_and(|disk| disk.window.is_none()));
        let memory = Memory::new((window_bytes > 0).then_some(window), copying.count());
        let mut server = Server::new(Shared(model.clone()), memory, clients);
        server.begin();
        let room = AnswerRoom::default();
        let mut bench = Self { model, server, window, asked: 0, notes: Vec::new(), signals: 0, room };
        bench.take_news();
        bench
    }

    /// Clients 1 to 3: all of namespace 1, a part of it, and a grant that is none. Clients 4 and 5: a namespace that
    /// does not exist, and one of no use.
    pub fn ready() -> Self {
        let namespaces = std::vec![namespace(1, 1000, 512), namespace(2, 1000, 0)];
        Self::new(Model { namespaces, room: usize::MAX, ..Model::default() }, 0, Self::clients())
    }

    pub fn clients() -> Vec<Named<'static>> {
        let mut part = blocks(1, 500, Some(100), 1);
        part.writable = false;
        let mut whole = blocks(1, 0, None, 0);
        whole.writable = false;
        std::vec![
            named(1, "one", of(whole)),
            named(2, "two", of(part)),
            named(3, "three", None),
            named(4, "four", of(blocks(9, 0, None, 2))),
            named(5, "five", of(blocks(2, 0, None, 3))),
        ]
    }

    /// As [`Self::ready`], with clients 1 and 2 opened.
    pub fn opened() -> Self {
        let mut bench = Self::ready();
        for badge in [1, 2] {
            bench.open(badge);
        }
        bench
    }

    pub fn open(&mut self, badge: u32) -> Told {
        let question = self.ask(badge, Request::Open { version: VERSION });
        let mut answers = self.answers();
        assert_eq!(answers.len(), 1, "{answers:?}");
        let (to, told) = answers.remove(0);
        assert_eq!(to, question);
        told
    }

    pub fn ask(&mut self, badge: u32, request: Request<'_>) -> Question {
        self.asked += 1;
        self.server.request(badge, self.asked, Some(request));
        self.take_news();
        self.asked
    }

    pub fn transfer(&mut self, badge: u32, operation: Operation) -> Question {
        self.ask(badge, Request::Transfer(operation.into()))
    }

    pub fn exchange(&mut self, badge: u32, transfers: &[Transfer], wait: bool) -> Question {
        let mut room = BatchRoom::new();
        transfers.iter().for_each(|transfer| room.push(transfer).unwrap());
        self.ask(badge, Request::Exchange { transfers: room.batch(), wait })
    }

    fn take_news(&mut self) {
        self.notes.extend(core::iter::from_fn(|| self.server.take_note()));
        self.signals |= self.server.take_signals();
    }

    /// Takes all answers that are due, in the order of their questions.
    pub fn answers(&mut self) -> Vec<(Question, Told)> {
        self.answers_if(|_| true)
    }

    /// As [`Self::answers`], where some clients have stopped waiting.
    pub fn answers_if(&mut self, waits: impl Fn(Question) -> bool) -> Vec<(Question, Told)> {
        let mut answers = BTreeMap::new();
        while let Some(due) = self.server.take_due() {
            let told = match self.server.answer(&due.said, &mut self.room) {
                Answer::Version { supported } => Told::Version(supported),
                Answer::Information(information) => Told::Information(information),
                Answer::Done => Told::Done,
                Answer::Failed(failure) => Told::Failed(failure),
                Answer::Exchanged { accepted, changed, completions } => {
                    Told::Exchanged { accepted, changed, completions: completions.iter().collect() }
                }
                Answer::Data(data) => Told::Data(data.to_vec()),
            };
            if waits(due.reply) {
                self.server.delivered(&due.said, &self.room);
                assert_eq!(answers.insert(due.reply, told), None, "answered twice");
            } else {
                assert!(!matches!(due.said, Said::Exchanged { .. }) || answers.len() < 1000, "no end");
            }
        }
        self.take_news();
        answers.into_iter().collect()
    }

    /// The driver finishes what it has, and signals.
    pub fn finish(&mut self, outcome: Result<(), nvme::Failure>) {
        self.model.borrow_mut().finish(outcome);
        self.server.exchange();
        self.take_news();
    }

    pub fn taken(&self) -> usize {
        self.model.borrow().taken.len()
    }

    pub fn lines(&self) -> Vec<std::string::String> {
        self.notes.iter().map(std::string::ToString::to_string).collect()
    }
}

pub fn read(first_block: u64) -> Operation {
    Operation::Read { first_block, blocks: 8, offset: 0 }
}

pub fn failed(failure: Failure) -> Told {
    Told::Failed(failure)
}
