//! The driver: takes the controller up, serves its clients, and gives the controller up when it no longer works.
//!
//! It never waits. Interrupts and the clock enter through [`Driver::wake`], requests through [`Driver::answer`]; both
//! do what can be done and return. [`Driver::deadline`] tells when to come back.

use core::time::Duration;

use abi::start::CLIENTS_MAX;
use heapless::Vec;
use nvme_spec::admin::Event;
use protocol::nvme::Failure;

use crate::bring_up::{BringUp, Progress};
use crate::check::{Whole, check};
use crate::hardware::Hardware;
use crate::io::{self, After, Io, QUEUES_MAX};
use crate::place::Place;
use crate::trouble::Trouble;

mod clients;
mod overdue;

pub use clients::{AnswerRoom, Exchange};

/// Most resets in a row without a command that was answered between them.
const RESETS_MAX: u32 = 3;
/// How long commands that were asked to be aborted may take to end, before the controller is reset: a quarter of their
/// timeout, between these.
const GRACE_MIN: u64 = Duration::from_millis(100).as_nanos() as u64;
const GRACE_MAX: u64 = Duration::from_secs(10).as_nanos() as u64;
/// Most events written to the log one by one.
const EVENTS_LOGGED: u32 = 32;

/// What the charter says of this driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The DMA region's number in commands.
    pub region: u16,
    /// Its size in bytes.
    pub region_bytes: u64,
    /// The vector wished for each I/O queue.
    pub vectors: Vec<u16, QUEUES_MAX>,
    /// Nanoseconds that a command may take.
    pub timeout: u64,
    /// Transfers of each client that there is always room for; 0 if there may be none.
    pub room: u8,
}

/// Which interrupts came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// That of vector 0, which is the admin queue's.
    pub admin: bool,
    /// Those of the vectors in [`Settings`], in their order.
    pub io: [bool; QUEUES_MAX],
}

impl Interrupts {
    /// A bit for each: the lowest for that of vector 0.
    #[inline]
    fn bits(self) -> u8 {
        let bits = self.io.into_iter().rev().fold(0, |bits, raised| bits << 1 | u8::from(raised));
        bits << 1 | u8::from(self.admin)
    }
}

/// Where the driver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no controller, or it no longer works.
    Gone,
    /// The controller is taken up for the first time; no request has been answered yet.
    Starting,
    /// Transfers go through.
    Running,
    /// The controller is taken up again; transfers wait.
    Resetting,
    /// The controller was told to shut down.
    ShuttingDown,
    /// It has shut down, or has not in its time; it is not used again.
    ShutDown,
    /// The controller is stopped for good.
    Stopping,
}

/// The driver of one controller.
#[derive(Debug)]
pub struct Driver {
    settings: Settings,
    state: State,
    bring_up: BringUp,
    io: Io,
    resets: u32,
    /// When the last reset was decided: what was overdue then has timed out.
    overdue: u64,
    /// Until when overdue commands may still end, once they were asked to be aborted.
    grace: Option<u64>,
    bound: bool,
    news: bool,
    events: u32,
    /// The edition of namespaces that the client was last signalled of.
    edition: u32,
    /// A client asked for a shutdown: no transfer is taken any more.
    draining: bool,
    /// Which transfers are one command, on the namespace of the last one.
    whole: Whole,
    /// Which interrupts are those of each queue, as [`Interrupts::bits`].
    raised_by: [u8; QUEUES_MAX],
    /// What came of it.
    shut: Place<Result<(), Failure>>,
    /// Clients that have begun.
    begun: Vec<u32, CLIENTS_MAX>,
}

impl Driver {
    /// A driver that knows nothing of its controller yet.
    pub const fn new() -> Self {
        Self {
            settings: Settings { region: 0, region_bytes: 0, vectors: Vec::new(), timeout: 0, room: 0 },
            state: State::Gone,
            bring_up: BringUp::new(),
            io: Io::new(),
            resets: 0,
            overdue: 0,
            grace: None,
            bound: false,
            news: false,
            events: 0,
            edition: 0,
            draining: false,
            whole: Whole::NONE,
            raised_by: [0; QUEUES_MAX],
            shut: Place::Free,
            begun: Vec::new(),
        }
    }

    /// Begins to take the controller up, if there is one.
    pub fn start(&mut self, hardware: &mut impl Hardware, settings: Settings) {
        self.bring_up.configure(settings.timeout, settings.vectors.clone());
        self.io.configure(settings.region, settings.timeout);
        self.settings = settings;
        match hardware.information() {
            Ok(device) if device.present => {
                self.state = State::Starting;
                self.bring_up.begin(hardware, true);
                self.advance(hardware);
            }
            Ok(_) => hardware.log(format_args!("controller absent")),
            Err(error) => hardware.log(format_args!("controller absent error=\"{error}\"")),
        }
        // Its client may wait for this driver since an earlier life of it.
        self.news = self.state == State::Gone;
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// I/O queues in use.
    pub fn queues(&self) -> usize {
        self.bring_up.vectors().len()
    }

    /// Completions so far that were for no command in flight.
    pub fn stale(&self) -> u64 {
        self.io.stale()
    }

    /// When to call [`Driver::wake`] if nothing happens before, in nanoseconds of the monotonic clock.
    #[inline]
    pub fn deadline(&self) -> u64 {
        if self.state == State::Running && !self.bring_up.is_busy() { self.io_wake() } else { self.busy_deadline() }
    }

    /// [`Driver::deadline`] while something else is under way than transfers.
    #[inline(never)]
    fn busy_deadline(&self) -> u64 {
        match self.state {
            State::Starting | State::Resetting | State::Stopping | State::ShuttingDown => self.bring_up.wake(),
            State::Running => self.bring_up.wake().min(self.io_wake()),
            State::ShutDown | State::Gone => u64::MAX,
        }
    }

    /// When commands in flight want to be looked after.
    #[inline]
    fn io_wake(&self) -> u64 {
        match self.grace {
            // Commands that are overdue already would want it at once.
            Some(until) => self.io.look().min(until),
            None => self.io.wake(),
        }
    }

    /// Whether the client is to be signalled: transfers have ended since it last was, or namespaces have changed.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.news || self.edition != self.bring_up.edition()
    }

    /// As [`Driver::has_news`], of which the client is signalled now.
    pub fn take_news(&mut self) -> bool {
        let has_news = self.has_news();
        (self.news, self.edition) = (false, self.bring_up.edition());
        has_news
    }

    /// What came of the shutdown that was asked for, once that is known.
    pub fn shutdown_outcome(&self) -> Option<Result<(), Failure>> {
        self.shut.get()
    }

    /// Interrupts came, or the deadline passed.
    #[inline]
    pub fn wake(&mut self, hardware: &mut impl Hardware, interrupts: Interrupts) {
        if self.state == State::Running {
            if let Err(trouble) = self.serve(hardware, interrupts) {
                self.fail(hardware, trouble);
            }
            if self.draining {
                self.try_shutdown(hardware);
            }
        } else {
            self.advance(hardware);
        }
        self.news |= self.io.transfers.take_news();
    }

    /// Begins a shutdown, if none is under way; what came of it, `None` if that is yet to come: it is then told by
    /// [`Driver::shutdown_outcome`].
    pub fn shutdown(&mut self, hardware: &mut impl Hardware) -> Option<Result<(), Failure>> {
        self.draining = true;
        if self.state == State::Gone {
            self.shut = Place::Taken(Err(Failure::Gone));
        }
        self.try_shutdown(hardware);
        self.news |= self.io.transfers.take_news();
        self.shut.get()
    }

    /// Takes completions, and looks after what takes too long.
    fn serve(&mut self, hardware: &mut impl Hardware, interrupts: Interrupts) -> Result<(), Trouble> {
        let bits = interrupts.bits();
        let mut raised = false;
        for index in 0..QUEUES_MAX {
            if self.raised_by[index] & bits != 0 {
                raised = true;
                if self.io.drain(hardware, index)? > 0 {
                    self.resets = 0;
                }
            }
        }
        if interrupts.admin || self.bring_up.is_busy() {
            self.attend(hardware)?;
        }
        if raised && self.io.has_waiting() {
            self.pump(hardware)?;
        }
        let wake = self.io_wake();
        if wake == u64::MAX {
            return Ok(());
        }
        let now = hardware.now();
        if now < wake { Ok(()) } else { self.look(hardware, now) }
    }

    /// Which interrupts are those of the queue with this index, as [`Interrupts::bits`].
    fn raising(&self, index: usize) -> u8 {
        let Some(vector) = self.bring_up.vectors().get(index) else { return 0 };
        let wished = &self.settings.vectors;
        let io = core::array::from_fn(|index| wished.get(index) == Some(vector));
        Interrupts { admin: *vector == 0, io }.bits()
    }

    /// Takes what came on the admin queue, and goes on with what an event asked for.
    fn attend(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        self.bring_up.admin().drain(hardware)?;
        loop {
            if self.bring_up.is_busy() {
                match self.bring_up.advance(hardware) {
                    Progress::Running => self.rescanned(hardware)?,
                    Progress::Failed(trouble) => return Err(trouble),
                    _ => return Ok(()),
                }
            } else if let Some(event) = self.bring_up.admin().take_event() {
                self.happened(hardware, event);
            } else {
                return Ok(());
            }
        }
    }

    fn happened(&mut self, hardware: &mut impl Hardware, event: Event) {
        if self.events < EVENTS_LOGGED {
            self.events += 1;
            let (kind, information, page) = (event.kind(), event.information(), event.log_page());
            hardware.log(format_args!("event type={kind} information={information:#04x} log_page={page:#04x}"));
        }
        // Until they were identified again, the broker lets nothing through to namespaces that may have changed.
        self.io.hold(event.changes_namespaces());
        self.bring_up.attend(hardware, event);
    }

    /// Issues what can be issued. An event that came after namespaces were identified, and waits to be attended to, holds
    /// it back: the broker knows of it already.
    fn pump(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        self.hold_for_event();
        self.io.pump(hardware)
    }

    fn hold_for_event(&mut self) {
        if self.bring_up.admin().event().is_some_and(Event::changes_namespaces) {
            self.io.hold(true);
        }
    }

    /// What an event asked for is done.
    fn rescanned(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        self.io.hold(false);
        self.forget_impossible();
        self.pump(hardware)
    }

    /// Fails transfers that no longer make sense, because their namespace has changed or gone.
    fn forget_impossible(&mut self) {
        let (namespaces, region_bytes) = (self.bring_up.namespaces(), self.settings.region_bytes);
        self.io.fail_waiting(|rest| check(rest, namespaces, region_bytes).map(|_| ()));
    }

    fn reset(&mut self, hardware: &mut impl Hardware, now: u64, reason: &str) -> Result<(), Trouble> {
        hardware.log(format_args!("controller reset reason={reason} in_flight={}", self.io.in_flight()));
        self.overdue = now;
        self.resets += 1;
        if self.resets > RESETS_MAX {
            return Err(Trouble::TooManyResets);
        }
        self.state = State::Resetting;
        self.bring_up.begin(hardware, true);
        self.advance(hardware);
        Ok(())
    }

    /// Begins the shutdown that was asked for, once nothing is under way any more.
    fn try_shutdown(&mut self, hardware: &mut impl Hardware) {
        let idle = self.io.transfers.is_idle() && !self.bring_up.is_busy();
        if !self.draining || self.state != State::Running || !idle {
            return;
        }
        match self.bring_up.begin_shutdown(hardware) {
            Ok(()) => {
                self.state = State::ShuttingDown;
                self.advance(hardware);
            }
            Err(trouble) => self.fail(hardware, trouble),
        }
    }

    /// Goes on with taking the controller up, or stopping it.
    fn advance(&mut self, hardware: &mut impl Hardware) {
        while matches!(self.state, State::Starting | State::Resetting | State::Stopping | State::ShuttingDown) {
            match self.bring_up.advance(hardware) {
                Progress::Waiting => return,
                Progress::Stopped => self.stopped(hardware),
                Progress::Running => self.running(hardware),
                Progress::ShutDown => {
                    hardware.log(format_args!("controller shut down"));
                    self.shut = Place::Taken(Ok(()));
                    self.state = State::ShutDown;
                }
                Progress::Failed(trouble) => self.fail(hardware, trouble),
            }
        }
    }

    /// The controller has stopped: nothing that it was told is in flight any more.
    fn stopped(&mut self, hardware: &mut impl Hardware) {
        let stopping = self.state == State::Stopping;
        self.grace = None;
        self.io.end_in_flight(self.overdue, if stopping { After::Gone } else { After::Reset });
        if stopping {
            self.give_up(hardware);
        } else if !self.bound {
            self.bound = true;
            self.log_bound(hardware);
        }
    }

    fn log_bound(&self, hardware: &mut impl Hardware) {
        let Ok(device) = hardware.information() else { return };
        let (class, subclass, interface) = device.class;
        hardware.log(format_args!(
            "controller bound device={} pci_vendor={:#06x} pci_device_id={:#06x} class={class:#04x} \
             subclass={subclass:#04x} prog_if={interface:#04x} version={} lane={}",
            device.address,
            device.vendor,
            device.device,
            self.bring_up.version(),
            device.lane.name()
        ));
    }

    fn running(&mut self, hardware: &mut impl Hardware) {
        if self.state == State::Resetting {
            hardware.log(format_args!("controller ready after reset"));
        }
        self.state = State::Running;
        self.io.open(self.bring_up.vectors().len(), self.bring_up.depth());
        self.raised_by = core::array::from_fn(|index| self.raising(index));
        // The controller's limits may have changed while it was away.
        self.whole = Whole::NONE;
        // A namespace may have changed while it was away.
        self.forget_impossible();
        // Clients whose transfers found no room meanwhile try again.
        self.news = true;
        // An event may have come during the bring-up already.
        if let Err(trouble) = self.attend(hardware).and_then(|()| self.pump(hardware)) {
            self.fail(hardware, trouble);
        }
        self.try_shutdown(hardware);
    }

    /// The controller does not work: tries once more if that may help, else stops it for good.
    fn fail(&mut self, hardware: &mut impl Hardware, trouble: Trouble) {
        hardware.log(format_args!("controller failed {trouble}"));
        let running = self.state == State::Running;
        if trouble == Trouble::ShutdownTimeout {
            // It may still be at it: a reset would be worse.
            self.shut = Place::Taken(Err(Failure::TimedOut));
            self.state = State::ShutDown;
            return;
        }
        if matches!(trouble, Trouble::AdminTimeout { .. }) && self.resets < RESETS_MAX {
            self.resets += 1;
            if running {
                self.overdue = hardware.now();
                self.state = State::Resetting;
            }
            self.bring_up.begin(hardware, true);
            if running {
                self.advance(hardware);
            }
            return;
        }
        let unreachable =
            matches!(trouble, Trouble::Gone | Trouble::NotGranted(_) | Trouble::NotReady { enable: false });
        if unreachable || self.state == State::Stopping {
            self.io.end_in_flight(self.overdue, After::Gone);
            self.give_up(hardware);
            return;
        }
        self.state = State::Stopping;
        self.bring_up.begin(hardware, false);
        if running {
            self.advance(hardware);
        }
    }

    fn give_up(&mut self, hardware: &mut impl Hardware) {
        hardware.log(format_args!("device gone"));
        self.state = State::Gone;
        self.news = true;
        if self.draining {
            self.shut = Place::Taken(Err(Failure::Gone));
        }
    }
}

impl Default for Driver {
    fn default() -> Self {
        Self::new()
    }
}
