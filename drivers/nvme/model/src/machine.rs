//! A whole machine: driver, broker, controller, a client, and the passing of time.

use std::collections::BTreeMap;

use abi::package::Limit;
use broker::Device;
use nvme::{AnswerRoom, Driver, Interrupts, Settings, State};
use protocol::nvme::{Answer, BATCH_MAX, Batch, BatchRoom, Completion, Failure, Notice, Operation, Request, Transfer};

use crate::controller::Identity;
use crate::kernel::Kernel;

/// How a transfer ended.
pub type Outcome = Result<(), Failure>;

/// The client's badge.
const BADGE: u32 = 7;
/// Steps after which a run is taken to go on for ever.
const STEPS_MAX: u32 = 200_000;

/// The machine, in which the driver's lane is direct, or brokered.
#[derive(Debug)]
pub struct Machine<const DIRECT: bool> {
    /// Kernel stand-in, broker and controller.
    pub kernel: Kernel,
    /// The driver.
    pub driver: Driver,
    /// What each transfer of the client ended as, by tag.
    pub outcomes: BTreeMap<u32, Outcome>,
    /// Signals that the client got.
    pub signals: u64,
    /// Times that the driver was woken.
    pub wakes: u64,
    /// Transfers that the client wants done and the driver has not taken.
    backlog: Vec<Transfer>,
    /// Tags taken and not ended.
    pub in_flight: Vec<u32>,
    signalled: bool,
    /// What the charter would say.
    pub settings: Settings,
    /// Vectors wished for queues.
    vectors: Vec<u16>,
    /// The editions of namespaces that the client was told of.
    pub editions: Vec<u32>,
    asked: bool,
    /// What the client was answered that asked for a shutdown.
    pub shut: Option<Outcome>,
    room: AnswerRoom,
}

impl<const DIRECT: bool> Machine<DIRECT> {
    /// A machine with this controller, a region of 4 MiB and a command timeout of 30 s; nothing has been started.
    pub fn new(identity: Identity) -> Self {
        Self::with(identity, &[0, 1], &[Limit::WHOLE_DEVICE])
    }

    /// Likewise, with these granted vectors and limits. The driver wishes one queue, on vector 1.
    pub fn with(identity: Identity, vectors: &[u16], limits: &[Limit]) -> Self {
        Self::with_queues(identity, vectors, limits, &[1])
    }

    /// Likewise; the driver wishes a queue on each of the last vectors.
    pub fn with_queues(identity: Identity, vectors: &[u16], limits: &[Limit], queues: &[u16]) -> Self {
        let region_bytes = 4 << 20;
        let wished = queues.iter().copied().collect();
        let settings = Settings { region: 0, region_bytes, vectors: wished, timeout: 30_000_000_000, room: 128 };
        let mut driver = Driver::new();
        driver.begin(BADGE);
        let kernel = if DIRECT { Kernel::direct } else { Kernel::new };
        Self {
            kernel: kernel(identity, region_bytes, vectors, limits),
            vectors: queues.to_vec(),
            driver,
            settings,
            outcomes: BTreeMap::new(),
            signals: 0,
            wakes: 0,
            backlog: Vec::new(),
            in_flight: Vec::new(),
            signalled: false,
            editions: Vec::new(),
            asked: false,
            shut: None,
            room: AnswerRoom::new(),
        }
    }

    /// A machine whose driver has been started and has come to an end with that, well or not.
    pub fn started(identity: Identity) -> Self {
        let mut machine = Self::new(identity);
        machine.start();
        machine
    }

    /// Starts the driver and lets time pass until it runs or has given up.
    pub fn start(&mut self) {
        self.driver.start(&mut self.kernel, self.settings.clone());
        self.run_until(|machine| matches!(machine.driver.state(), State::Running | State::Gone));
    }

    /// Whether the controller is disabled, and on the brokered lane reaches no memory: on the other one, that is the
    /// kernel's to say when the driver has stopped.
    pub fn is_off(&self) -> bool {
        let device = &self.kernel.device;
        (DIRECT || !device.is_bus_master()) && !device.is_enabled()
    }

    /// The time, in nanoseconds.
    pub fn now(&self) -> u64 {
        Device::now(&self.kernel.device)
    }

    /// Lets one thing happen: the next event of the device, or the driver's deadline. Whether there was any.
    pub fn step(&mut self) -> bool {
        let quiesce = self.kernel.quiesce();
        let deadline = Some(self.driver.deadline()).filter(|deadline| *deadline != u64::MAX);
        let raised = self.kernel.device.has_interrupts().then(|| self.now());
        let Some(next) = [quiesce, deadline, raised, self.kernel.device.next_event()].into_iter().flatten().min()
        else {
            return self.serve_client();
        };
        self.kernel.device.advance(next.max(self.now()));
        let raised = self.kernel.device.take_interrupts();
        if !raised.is_empty() || self.driver.deadline() <= self.now() {
            self.wakes += 1;
            let mut interrupts = Interrupts { admin: raised.contains(&0), ..Interrupts::default() };
            for (raised_io, vector) in interrupts.io.iter_mut().zip(&self.vectors) {
                *raised_io = raised.contains(vector);
            }
            self.driver.wake(&mut self.kernel, interrupts);
            if self.shut.is_none() && self.asked {
                self.shut = self.driver.shutdown_outcome();
            }
        }
        self.serve_client();
        true
    }

    /// Lets things happen until this is so.
    ///
    /// # Panics
    /// If nothing happens any more before it is so, or it takes too many steps.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            assert!(self.step() || done(self), "nothing happens any more:\n{}", self.kernel.log.join("\n"));
        }
        panic!("it goes on for ever:\n{}", self.kernel.log.join("\n"));
    }

    /// Hands transfers to the driver, as far as it takes them; the rest follows when it signals.
    pub fn submit(&mut self, transfers: &[Transfer]) {
        self.backlog.extend_from_slice(transfers);
        self.exchange();
    }

    /// Reads, waits, and returns how it ended and what lies in the region.
    pub fn read(
        &mut self,
        tag: u32,
        nsid: u32,
        first_block: u64,
        blocks: u32,
        offset: u64,
        bytes: usize,
    ) -> (Outcome, Vec<u8>) {
        self.kernel.fill_region(offset, bytes, 0xee);
        self.submit(&[read(tag, nsid, first_block, blocks, offset)]);
        self.run_until(|machine| machine.outcomes.contains_key(&tag));
        (self.outcomes[&tag], self.kernel.region(offset, bytes))
    }

    /// Has one transfer done, and returns how it ended.
    pub fn done(&mut self, transfer: Transfer) -> Outcome {
        self.submit(&[transfer]);
        self.run_until(|machine| machine.outcomes.contains_key(&transfer.tag));
        self.outcomes[&transfer.tag]
    }

    /// Lets things happen until every transfer has ended.
    pub fn finish(&mut self) {
        self.run_until(|machine| machine.in_flight.is_empty() && machine.backlog.is_empty());
    }

    /// Asks for a shutdown; [`Machine::shut`] is the answer when it has come.
    pub fn ask_shutdown(&mut self) {
        self.asked = true;
        self.shut = self.shut.or(self.driver.shutdown(&mut self.kernel));
    }

    /// What the driver answers.
    pub fn ask(&mut self, request: &Request<'_>) -> Answer<'_> {
        self.driver.answer(&mut self.kernel, BADGE, request, &mut self.room)
    }

    /// What the client does when it is signalled. Whether it was.
    fn serve_client(&mut self) -> bool {
        if self.driver.take_news() {
            self.signals += 1;
            self.signalled = true;
        }
        let signalled = std::mem::take(&mut self.signalled);
        // Every other time it waits, and is told along with the signal.
        if signalled && !(self.signals.is_multiple_of(2) && self.is_told()) {
            self.exchange();
        }
        signalled
    }

    /// Whether it was told along with the signal what has ended, and has nothing else to ask.
    fn is_told(&mut self) -> bool {
        let mut room = BatchRoom::new();
        let Some(notice) = self.driver.notice(BADGE, &mut room) else { return false };
        let bytes = &notice.bytes()[..notice.len()];
        let Notice { completions, namespaces } = Notice::read(bytes).expect("a notice is one");
        self.driver.told(BADGE, completions.len());
        self.take(completions, namespaces);
        self.backlog.is_empty()
    }

    fn take(&mut self, completions: Batch<'_, Completion>, namespaces: u32) {
        if self.editions.last() != Some(&namespaces) {
            self.editions.push(namespaces);
        }
        for completion in completions {
            let place = self.in_flight.iter().position(|tag| *tag == completion.tag);
            let place = place.expect("a transfer ends that is not in flight");
            self.in_flight.remove(place);
            let before = self.outcomes.insert(completion.tag, completion.outcome);
            assert_eq!(before, None, "transfer {} has ended twice", completion.tag);
        }
    }

    fn exchange(&mut self) {
        loop {
            let batch: BatchRoom<Transfer> = self.backlog.iter().copied().collect();
            let offered = batch.len();
            let mut room = AnswerRoom::new();
            match self.driver.answer(&mut self.kernel, BADGE, &Request::Exchange(batch.batch()), &mut room) {
                Answer::Exchanged { accepted, completions, namespaces } => {
                    let taken = self.backlog.drain(..usize::from(accepted));
                    self.in_flight.extend(taken.map(|transfer| transfer.tag));
                    self.take(completions, namespaces);
                    let more =
                        completions.len() == BATCH_MAX || usize::from(accepted) == offered && !self.backlog.is_empty();
                    if !more {
                        return;
                    }
                }
                Answer::NoController => {
                    assert!(self.in_flight.is_empty(), "the driver owes {:?}", self.in_flight);
                    for transfer in self.backlog.drain(..) {
                        self.outcomes.insert(transfer.tag, Err(Failure::Gone));
                    }
                    return;
                }
                answer => panic!("{answer:?} to an exchange"),
            }
        }
    }

    /// Asserts that controller and broker were never led astray, whatever the transfers ended as.
    ///
    /// # Panics
    /// If they were.
    pub fn assert_sound(&self) {
        let device = &self.kernel.device;
        assert_eq!(device.memory.outside, [], "the device was led outside its memory");
        assert_eq!(device.violations, Vec::<String>::new());
    }
}

/// No test ends well with a device that was led astray.
impl<const DIRECT: bool> Drop for Machine<DIRECT> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_sound();
        }
    }
}

/// A read.
pub const fn read(tag: u32, nsid: u32, first_block: u64, blocks: u32, offset: u64) -> Transfer {
    Transfer { tag, operation: Operation::Read, nsid, first_block, blocks, offset }
}

/// A write.
pub const fn write(tag: u32, nsid: u32, first_block: u64, blocks: u32, offset: u64) -> Transfer {
    transfer(Operation::Write, tag, nsid, first_block, blocks, offset)
}

/// Any transfer.
pub const fn transfer(
    operation: Operation,
    tag: u32,
    nsid: u32,
    first_block: u64,
    blocks: u32,
    offset: u64,
) -> Transfer {
    Transfer { tag, operation, nsid, first_block, blocks, offset }
}

/// A flush.
pub const fn flush(tag: u32, nsid: u32) -> Transfer {
    Transfer { tag, operation: Operation::Flush, nsid, first_block: 0, blocks: 0, offset: 0 }
}
