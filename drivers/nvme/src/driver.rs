//! The driver: takes the controller up, serves its clients, and gives the controller up when it no longer works.
//!
//! It never waits. Interrupts and the clock enter through [`Driver::wake`], requests through [`Driver::answer`]; both
//! do what can be done and return. [`Driver::deadline`] tells when to come back.

use heapless::Vec;
use protocol::nvme::{Answer, BATCH_MAX, Completion, Controller, Failure, Namespace, Operation, Request, Transfer};

use crate::bring_up::{BringUp, Progress};
use crate::hardware::Hardware;
use crate::identify::Known;
use crate::io::{self, Io};
use crate::limits::Limits;
use crate::transfers::Cut;
use crate::trouble::Trouble;

/// Most resets in a row without a command that was answered between them.
const RESETS_MAX: u32 = 3;

/// What the charter says of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The DMA region's number in commands.
    pub region: u16,
    /// Its size in bytes.
    pub region_bytes: u64,
    /// The vector wished for I/O completions.
    pub vector: u16,
    /// Nanoseconds that a command may take.
    pub timeout: u64,
}

/// Which interrupts came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// That of vector 0, which is the admin queue's.
    pub admin: bool,
    /// That of the vector in [`Settings`].
    pub io: bool,
}

/// Where the driver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The controller is taken up for the first time; no request has been answered yet.
    Starting,
    /// Transfers go through.
    Running,
    /// The controller is taken up again; transfers wait.
    Resetting,
    /// The controller is stopped for good.
    Stopping,
    /// There is no controller, or it no longer works.
    Gone,
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
    bound: bool,
    news: bool,
}

impl Driver {
    /// A driver that knows nothing of its controller yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Gone,
            bring_up: BringUp::new(settings.timeout, settings.vector),
            io: Io::new(settings.region, settings.timeout),
            resets: 0,
            overdue: 0,
            bound: false,
            news: false,
        }
    }

    /// Begins to take the controller up, if there is one.
    pub fn start(&mut self, hardware: &mut impl Hardware) {
        match hardware.information() {
            Ok(device) if device.present => {
                self.state = State::Starting;
                self.bring_up.begin(hardware, true);
                self.advance(hardware);
            }
            Ok(_) => hardware.log(format_args!("controller absent")),
            Err(error) => hardware.log(format_args!("controller absent error=\"{error}\"")),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When to call [`Driver::wake`] if nothing happens before, in nanoseconds of the monotonic clock.
    pub fn deadline(&self) -> u64 {
        match self.state {
            State::Starting | State::Resetting | State::Stopping => self.bring_up.wake(),
            State::Running => self.io.wake(),
            State::Gone => u64::MAX,
        }
    }

    /// Whether the client is to be signalled: transfers have ended since it was last asked.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    /// Interrupts came, or the deadline passed.
    pub fn wake(&mut self, hardware: &mut impl Hardware, interrupts: Interrupts) {
        match self.state {
            State::Starting | State::Resetting | State::Stopping => self.advance(hardware),
            State::Running => {
                if let Err(trouble) = self.serve(hardware, interrupts) {
                    self.fail(hardware, trouble);
                }
            }
            State::Gone => {}
        }
        self.news |= self.io.transfers.take_news();
    }

    /// Answers a client.
    pub fn answer(&mut self, hardware: &mut impl Hardware, badge: u32, request: &Request) -> Answer {
        match request {
            Request::Exchange(transfers) => self.exchange(hardware, badge, transfers),
            _ if self.state == State::Gone => Answer::NoController,
            Request::Shutdown => Answer::Shutdown(Err(Failure::Unsupported)),
            Request::Controller => Answer::Controller(self.controller()),
            Request::Namespaces => {
                Answer::Namespaces(self.bring_up.namespaces().iter().map(|known| known.told).collect())
            }
        }
    }

    fn controller(&self) -> Controller {
        let identity = self.bring_up.controller();
        Controller {
            model: identity.model.clone(),
            serial: identity.serial.clone(),
            firmware: identity.firmware.clone(),
            version: self.bring_up.version().0,
            namespaces: self.bring_up.active(),
            transfer_bytes_max: self.bring_up.limits().data,
        }
    }

    fn exchange(&mut self, hardware: &mut impl Hardware, badge: u32, transfers: &[Transfer]) -> Answer {
        let mut accepted = 0;
        let mut completions = Vec::<Completion, BATCH_MAX>::new();
        if self.state == State::Gone || self.state == State::Stopping {
            self.io.transfers.take_ended(badge, &mut completions);
            if self.state == State::Gone {
                if completions.is_empty() {
                    return Answer::NoController;
                }
                // The client is to come once more, and learn that nothing is taken any more.
                self.news = true;
            }
        } else {
            accepted = transfers.iter().take_while(|transfer| self.accept(badge, transfer)).count();
            if self.state == State::Running
                && let Err(trouble) = self.io.pump(hardware)
            {
                self.fail(hardware, trouble);
            }
            self.io.transfers.take_ended(badge, &mut completions);
        }
        // What ended just now went along. A signal is due for what did not fit, and for what ended of other clients: not
        // for what they have not taken yet, or one client that takes nothing would have another signalled for ever.
        let ended = self.io.transfers.take_news();
        self.news |= (ended || completions.is_full()) && self.io.transfers.has_ended();
        Answer::Exchanged { accepted: accepted as u8, completions, namespaces: 0 }
    }

    /// Whether there was room for the transfer.
    fn accept(&mut self, badge: u32, transfer: &Transfer) -> bool {
        match check(transfer, self.bring_up.namespaces(), self.settings.region_bytes) {
            Ok(known) => {
                let cut = cut(transfer.operation, known, &self.bring_up.limits());
                self.io.transfers.accept(badge, *transfer, cut)
            }
            Err(failure) => self.io.transfers.accept_failed(badge, *transfer, failure),
        }
    }

    /// Takes completions, and looks after what takes too long.
    fn serve(&mut self, hardware: &mut impl Hardware, interrupts: Interrupts) -> Result<(), Trouble> {
        let shared = self.bring_up.vector() != self.settings.vector;
        if interrupts.io || interrupts.admin && shared {
            if self.io.drain(hardware)? > 0 {
                self.resets = 0;
            }
            self.io.pump(hardware)?;
        }
        if interrupts.admin && !shared {
            self.bring_up.unexpected(hardware)?;
        }
        if self.io.wake() == u64::MAX {
            return Ok(());
        }
        let now = hardware.now();
        if now < self.io.wake() {
            return Ok(());
        }
        self.look(hardware, now)
    }

    /// The controller has been silent: is it still there, and is a command overdue?
    fn look(&mut self, hardware: &mut impl Hardware, now: u64) -> Result<(), Trouble> {
        let silent = self.io.drain(hardware)?;
        if silent > 0 {
            hardware.log(format_args!("completions without interrupt count={silent}"));
        }
        io::alive(hardware)?;
        self.io.seen(now);
        if !self.io.is_overdue(now) {
            return self.io.pump(hardware);
        }
        hardware.log(format_args!("controller reset reason=timeout in_flight={}", self.io.in_flight()));
        self.reset(hardware, now)
    }

    fn reset(&mut self, hardware: &mut impl Hardware, now: u64) -> Result<(), Trouble> {
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

    /// Goes on with taking the controller up, or stopping it.
    fn advance(&mut self, hardware: &mut impl Hardware) {
        while matches!(self.state, State::Starting | State::Resetting | State::Stopping) {
            match self.bring_up.advance(hardware) {
                Progress::Waiting => return,
                Progress::Stopped => self.stopped(hardware),
                Progress::Running => self.running(hardware),
                Progress::Failed(trouble) => self.fail(hardware, trouble),
            }
        }
    }

    /// The controller has stopped: nothing that it was told is in flight any more.
    fn stopped(&mut self, hardware: &mut impl Hardware) {
        self.io.abort_in_flight(self.overdue);
        if self.state == State::Stopping {
            self.give_up();
        } else if !self.bound {
            self.bound = true;
            self.log_bound(hardware);
        }
    }

    fn log_bound(&self, hardware: &mut impl Hardware) {
        let Ok(device) = hardware.information() else { return };
        let (class, subclass, interface) = device.class;
        let lane = match device.lane {
            abi::system_call::Lane::Brokered => "brokered",
            abi::system_call::Lane::Direct => "direct",
        };
        hardware.log(format_args!(
            "controller bound device={} pci_vendor={:#06x} pci_device_id={:#06x} class={class:#04x} \
             subclass={subclass:#04x} prog_if={interface:#04x} version={} lane={lane}",
            device.address,
            device.vendor,
            device.device,
            self.bring_up.version()
        ));
    }

    fn running(&mut self, hardware: &mut impl Hardware) {
        if self.state == State::Resetting {
            hardware.log(format_args!("controller ready after reset"));
        }
        self.state = State::Running;
        self.io.open(self.bring_up.depth());
        // A namespace may have changed while it was away.
        let (namespaces, region_bytes) = (self.bring_up.namespaces(), self.settings.region_bytes);
        self.io.transfers.fail_waiting(|rest| check(rest, namespaces, region_bytes).map(|_| ()));
        // Clients whose transfers found no room meanwhile try again.
        self.news = true;
        if let Err(trouble) = self.io.pump(hardware) {
            self.fail(hardware, trouble);
        }
    }

    /// The controller does not work: tries once more if that may help, else stops it for good.
    fn fail(&mut self, hardware: &mut impl Hardware, trouble: Trouble) {
        hardware.log(format_args!("controller failed {trouble}"));
        if matches!(trouble, Trouble::AdminTimeout { .. }) && self.resets < RESETS_MAX {
            self.resets += 1;
            self.bring_up.begin(hardware, true);
            return;
        }
        let unreachable =
            matches!(trouble, Trouble::Gone | Trouble::NotGranted(_) | Trouble::NotReady { enable: false });
        if unreachable || self.state == State::Stopping {
            self.io.abort_in_flight(self.overdue);
            self.give_up();
            return;
        }
        let running = self.state == State::Running;
        self.state = State::Stopping;
        self.bring_up.begin(hardware, false);
        if running {
            self.advance(hardware);
        }
    }

    fn give_up(&mut self) {
        self.io.transfers.fail_waiting(|_| Err(Failure::Aborted));
        self.state = State::Gone;
        self.news = true;
    }
}

/// Whether a transfer makes sense on this controller; its namespace.
fn check<'a>(transfer: &Transfer, namespaces: &'a [Known], region_bytes: u64) -> Result<&'a Known, Failure> {
    let known = namespaces.iter().find(|known| known.told.nsid == transfer.nsid);
    let known = known.filter(|known| known.told.block_bytes > 0).ok_or(Failure::Invalid)?;
    let Namespace { blocks, block_bytes, supports, .. } = known.told;
    let (supported, has_data) = match transfer.operation {
        Operation::Flush => return Ok(known),
        Operation::Read => (true, true),
        Operation::Write { .. } => (supports.write, true),
        Operation::Compare => (supports.compare, true),
        Operation::Discard => (supports.discard, false),
        Operation::WriteZeroes => (supports.write_zeroes, false),
        Operation::Verify => (supports.verify, false),
    };
    if !supported {
        return Err(Failure::Unsupported);
    }
    let bytes = if has_data { u64::from(transfer.blocks) * u64::from(block_bytes) } else { 0 };
    let in_namespace = transfer.first_block.checked_add(u64::from(transfer.blocks));
    let in_region = if has_data { transfer.offset.checked_add(bytes) } else { Some(0) };
    let fits = transfer.blocks > 0
        && (!has_data || transfer.offset.is_multiple_of(4))
        && in_namespace.is_some_and(|end| end <= blocks)
        && in_region.is_some_and(|end| end <= region_bytes);
    if fits { Ok(known) } else { Err(Failure::Invalid) }
}

/// How a transfer on this namespace is cut.
fn cut(operation: Operation, known: &Known, limits: &Limits) -> Cut {
    let block_bytes = known.told.block_bytes;
    // Boundaries are of the medium: they matter where data is moved.
    let boundary = match operation {
        Operation::Read | Operation::Write { .. } => known.boundary.into(),
        _ => 0,
    };
    Cut { block_bytes, blocks: limits.blocks(operation, block_bytes), boundary }
}
