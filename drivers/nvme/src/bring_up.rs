//! Takes a controller from any state to one that takes I/O commands, or to a stop.
//!
//! A state machine that never waits: [`BringUp::advance`] goes as far as it can and tells when to ask again. It is
//! asked when an interrupt came and when [`BringUp::wake`] has passed. Registers are polled with growing pauses until
//! the controller's own limit (CAP.TO); admin commands end by interrupt. The order is that of base 2.0, 3.5.1.

use core::time::Duration;

use abi::Error;
use abi::package::Commands;
use heapless::Vec;
use nvme_spec::admin::{EVENTS_HEALTH, EVENTS_NAMESPACES, Event, QueueCounts, log};
use nvme_spec::identify::Structure;
use nvme_spec::registers::{
    CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus, ShutdownNotification, VS, Version,
};
use nvme_spec::{PAGE_BYTES, SubmissionEntry, brokered};
use protocol::nvme::NAMESPACES_MAX;
use zerocopy::FromBytes;

use crate::admin::{self, Admin};
use crate::hardware::Hardware;
use crate::identify::{self, Controller, Known, Unusable};
use crate::io::QUEUES_MAX;
use crate::limits::Limits;
use crate::trouble::Trouble;

/// First pause between two looks at CSTS; each one is twice as long, up to [`PAUSE_MAX`].
const PAUSE_MIN: u64 = Duration::from_micros(100).as_nanos() as u64;
const PAUSE_MAX: u64 = Duration::from_millis(10).as_nanos() as u64;
/// Longest wait for the kernel to have stopped a controller that firmware left running: twice the longest CAP.TO, and
/// some.
const STOP_MAX: Duration = Duration::from_secs(300);
/// Most active namespace lists asked for: 65,536 namespaces.
const LISTS_MAX: u32 = 64;
/// The first version with active namespace lists (base 1.1).
const LISTS_SINCE: Version = Version(0x0001_0100);
/// The first version that may know limits of the NVM command set (TP 4056, with base 1.4).
const LIMITS_SINCE: Version = Version(0x0001_0400);

/// How long a controller that reports nothing, or nonsense, may take to shut down: as Linux takes it.
const SHUTDOWN_MIN: Duration = Duration::from_secs(5);
const SHUTDOWN_MAX: Duration = Duration::from_secs(60);

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: it runs, it has failed, or it was only to stop.
    Over,
    /// CC.EN = 0 is to be written.
    Disable,
    /// CSTS.RDY = 0 is awaited.
    Stopping,
    /// CC.EN = 1 is to be written.
    Enable,
    /// CSTS.RDY = 1 is awaited.
    Starting,
    IdentifyController,
    IdentifyControllerNvm,
    NumberOfQueues,
    /// Which events are to be told of.
    ConfigureEvents,
    /// The log page that an event names: reading it lets the next such event be told of.
    ReadLog(u8),
    /// The active namespaces with identifiers above this; `list` counts them.
    ActiveNamespaces {
        above: u32,
        list: u32,
    },
    /// The namespace at this place of the list.
    IdentifyNamespace(usize),
    CreateCompletionQueue {
        queue: u16,
        vector: u16,
    },
    CreateSubmissionQueue {
        queue: u16,
    },
    /// CSTS.SHST = 10b is awaited.
    ShuttingDown,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ask again at an interrupt or at [`BringUp::wake`].
    Waiting,
    /// CSTS.RDY = 0 was seen: nothing is in flight any more. Ask again at once.
    Stopped,
    /// The controller takes I/O commands; namespaces are known.
    Running,
    /// It has shut down.
    ShutDown,
    /// It does not work.
    Failed(Trouble),
}

/// Everything that is known of the controller, and where its bring-up stands.
#[derive(Debug)]
pub struct BringUp {
    step: Step,
    /// Whether to go on after the stop.
    restart: bool,
    /// When the step is overdue; admin commands have a deadline of their own.
    deadline: u64,
    pause: u64,
    wake: u64,
    /// Nanoseconds that an admin command may take.
    timeout: u64,
    /// The vectors wished for the completions of each queue, and those in use.
    wished: Vec<u16, QUEUES_MAX>,
    vectors: Vec<u16, QUEUES_MAX>,
    /// CAP, once it could be read.
    capabilities: Option<Capabilities>,
    version: Version,
    controller: Controller,
    admin: Admin,
    /// Identifiers of active namespaces, as many as there is room for.
    listed: Vec<u32, NAMESPACES_MAX>,
    /// How many there are in all.
    active: u32,
    /// The namespaces told of, and those of the bring-up under way: clients ask meanwhile.
    namespaces: Vec<Known, NAMESPACES_MAX>,
    found: Vec<Known, NAMESPACES_MAX>,
    limits: Limits,
    /// Changes whenever what clients are told of namespaces has changed.
    edition: u32,
    /// Only namespaces are looked at anew; the queues exist.
    rescan: bool,
    /// What the grant lets be done with some of it.
    commands: Commands,
}

impl BringUp {
    /// A controller of which nothing is known.
    pub const fn new() -> Self {
        Self {
            step: Step::Over,
            restart: false,
            deadline: 0,
            pause: 0,
            wake: 0,
            timeout: 0,
            wished: Vec::new(),
            vectors: Vec::new(),
            capabilities: None,
            version: Version(0),
            controller: Controller::new(),
            admin: Admin::new(),
            listed: Vec::new(),
            active: 0,
            namespaces: Vec::new(),
            found: Vec::new(),
            limits: Limits::UNKNOWN,
            edition: 0,
            rescan: false,
            commands: Commands::NONE,
        }
    }

    /// There is to be an I/O queue for each of these vectors, if the controller has so many. `timeout` is in nanoseconds.
    pub fn configure(&mut self, timeout: u64, wished: Vec<u16, QUEUES_MAX>) {
        (self.timeout, self.wished) = (timeout, wished);
    }

    /// Begins by stopping the controller, and starts it again if `restart` is set.
    pub fn begin(&mut self, hardware: &mut impl Hardware, restart: bool) {
        self.restart = restart;
        self.rescan = false;
        self.commands = hardware.information().map_or(Commands::NONE, |device| device.commands);
        self.enter(hardware, Step::Disable);
    }

    /// When to ask again if no interrupt comes before, in nanoseconds.
    pub fn wake(&self) -> u64 {
        self.wake
    }

    /// The version register.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What Identify Controller told.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Active namespaces in all, told of or not.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// The namespaces told of.
    pub fn namespaces(&self) -> &Vec<Known, NAMESPACES_MAX> {
        &self.namespaces
    }

    /// The vector that the completions of each I/O queue interrupt on.
    pub fn vectors(&self) -> &[u16] {
        &self.vectors
    }

    /// A number that changes whenever what clients are told of namespaces has changed.
    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// Whether the controller takes one more Abort now.
    pub fn may_abort(&self) -> bool {
        self.admin.may_abort(self.controller.aborts_max)
    }

    /// Whether something is under way.
    pub fn is_busy(&self) -> bool {
        self.step != Step::Over
    }

    /// The admin queue, for what is not part of the bring-up.
    pub fn admin(&mut self) -> &mut Admin {
        &mut self.admin
    }

    /// Begins what an event asks for, on a controller that runs: reading its log page, and looking at the namespaces
    /// anew if they have changed.
    pub fn attend(&mut self, hardware: &mut impl Hardware, event: Event) {
        self.restart = false;
        self.rescan = event.changes_namespaces();
        let step = match event.log_page() {
            _ if self.rescan => Step::ReadLog(log::CHANGED_NAMESPACES),
            page @ (log::ERRORS | log::HEALTH | log::FIRMWARE_SLOTS) => Step::ReadLog(page),
            // Of others there is no rule: the same event is not told of again.
            _ => return self.request_event(hardware),
        };
        self.enter(hardware, step);
    }

    /// Begins to shut the controller down (base 2.0, 3.6.1).
    ///
    /// # Errors
    /// If CC cannot be written.
    pub fn begin_shutdown(&mut self, hardware: &mut impl Hardware) -> Result<(), Trouble> {
        let notified = Configuration::new(true, ShutdownNotification::Normal).0;
        hardware.write_u32(CC, notified).map_err(|error| match error {
            Error::Invalid => Trouble::Gone,
            error => Trouble::NotGranted(error),
        })?;
        self.enter(hardware, Step::ShuttingDown);
        let reported = Duration::from_micros(self.controller.shutdown_time.into());
        let patience = reported.clamp(SHUTDOWN_MIN, SHUTDOWN_MAX).as_nanos() as u64;
        self.deadline = hardware.now().saturating_add(patience);
        Ok(())
    }

    /// Looks whether it has shut down.
    fn observe_shutdown(&mut self, hardware: &mut impl Hardware) -> Result<Progress, Trouble> {
        let now = hardware.now();
        let status = ControllerStatus::from_bits_retain(hardware.read_u32(CSTS).map_err(|_| Trouble::Gone)?);
        if status.is_gone() {
            return Err(Trouble::Gone);
        }
        if status & ControllerStatus::SHUTDOWN == ControllerStatus::SHUTDOWN_COMPLETE {
            self.step = Step::Over;
            self.wake = u64::MAX;
            return Ok(Progress::ShutDown);
        }
        if now >= self.deadline { Err(Trouble::ShutdownTimeout) } else { Ok(self.pause(now)) }
    }

    /// A controller that takes no event requests is none that cannot be used.
    fn request_event(&mut self, hardware: &mut impl Hardware) {
        if let Err(trouble) = self.admin.request_event(hardware) {
            hardware.log(format_args!("events not requested {trouble}"));
        }
    }

    /// Most commands in flight on the I/O queue: a queue with one entry left is full (base 2.0, 3.3.1.2).
    pub fn depth(&self) -> usize {
        (self.queue_entries() as usize - 1).min(usize::from(brokered::IO_COMMANDS))
    }

    /// How long single commands may be.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Goes as far as it can.
    pub fn advance(&mut self, hardware: &mut impl Hardware) -> Progress {
        let result = match self.step {
            Step::Disable | Step::Enable => self.write_enable(hardware),
            Step::Stopping | Step::Starting => self.observe(hardware),
            Step::ShuttingDown => self.observe_shutdown(hardware),
            Step::Over => Ok(Progress::Waiting),
            _ => self.command(hardware),
        };
        result.unwrap_or_else(|trouble| {
            self.step = Step::Over;
            self.wake = u64::MAX;
            self.admin.forget();
            Progress::Failed(trouble)
        })
    }

    fn enter(&mut self, hardware: &mut impl Hardware, step: Step) {
        self.step = step;
        self.pause = PAUSE_MIN;
        let now = hardware.now();
        let timeout = self.capabilities.map_or(STOP_MAX, Capabilities::timeout);
        self.deadline = now.saturating_add(timeout.as_nanos() as u64);
        self.wake = now;
    }

    /// Asks again a little later.
    fn pause(&mut self, now: u64) -> Progress {
        self.wake = now.saturating_add(self.pause).min(self.deadline);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Progress::Waiting
    }

    /// Writes CC.EN.
    fn write_enable(&mut self, hardware: &mut impl Hardware) -> Result<Progress, Trouble> {
        let enable = self.step == Step::Enable;
        let result = match self.read_capabilities(hardware) {
            Ok(()) => {
                self.check_capabilities()?;
                hardware.write_u32(CC, Configuration::new(enable, ShutdownNotification::None).0)
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                self.enter(hardware, if enable { Step::Starting } else { Step::Stopping });
                self.observe(hardware)
            }
            Err(Error::Busy) => {
                let now = hardware.now();
                if now >= self.deadline { Err(Trouble::NotReady { enable }) } else { Ok(self.pause(now)) }
            }
            Err(Error::Invalid) => Err(Trouble::Gone),
            Err(error) => Err(Trouble::NotGranted(error)),
        }
    }

    /// Busy as long as the kernel has not stopped what firmware left running.
    fn read_capabilities(&mut self, hardware: &mut impl Hardware) -> Result<(), Error> {
        self.capabilities = Some(Capabilities(hardware.read_u64(CAP)?));
        self.version = Version(hardware.read_u32(VS)?);
        Ok(())
    }

    fn check_capabilities(&self) -> Result<(), Trouble> {
        let Some(capabilities) = self.capabilities else { return Ok(()) };
        if capabilities.0 == u64::MAX {
            return Err(Trouble::Gone);
        }
        if !self.restart {
            return Ok(());
        }
        if !capabilities.nvm_command_set() {
            return Err(Trouble::Unsupported("nvm-command-set"));
        }
        if capabilities.page_shift_min() > 0 {
            return Err(Trouble::Unsupported("4-kib-pages"));
        }
        if capabilities.queue_entries_max() < 2 {
            return Err(Trouble::Unsupported("queue-entries"));
        }
        Ok(())
    }

    /// Looks at CSTS.
    fn observe(&mut self, hardware: &mut impl Hardware) -> Result<Progress, Trouble> {
        let enable = self.step == Step::Starting;
        let now = hardware.now();
        let status = ControllerStatus::from_bits_retain(hardware.read_u32(CSTS).map_err(|_| Trouble::Gone)?);
        if status.is_gone() {
            return Err(Trouble::Gone);
        }
        if status.contains(ControllerStatus::READY) == enable {
            if enable {
                self.enter(hardware, Step::IdentifyController);
                return self.command(hardware);
            }
            self.admin.forget();
            self.enter(hardware, if self.restart { Step::Enable } else { Step::Over });
            return Ok(Progress::Stopped);
        }
        if enable && status.contains(ControllerStatus::FATAL) {
            return Err(Trouble::Fatal);
        }
        if now >= self.deadline {
            return Err(Trouble::NotReady { enable });
        }
        Ok(self.pause(now))
    }

    /// Takes the completion of the step's command, and submits the next one.
    fn command(&mut self, hardware: &mut impl Hardware) -> Result<Progress, Trouble> {
        if self.admin.is_pending() {
            let Some(completion) = self.admin.complete(hardware)? else { return Ok(Progress::Waiting) };
            let mut page = [0; PAGE_BYTES];
            let status = completion.status();
            if self.leaves_data() && status.is_success() {
                let length = hardware.collect(admin::QUEUE, completion.identifier.get(), &mut page);
                if length != Ok(PAGE_BYTES) {
                    return Err(Trouble::Malformed("data-length"));
                }
            }
            let outcome = if status.is_success() { Ok(completion.dword0.get()) } else { Err(status) };
            self.step = self.next(hardware, outcome, &page)?;
        }
        if self.step != Step::Over {
            self.submit(hardware)?;
        }
        if self.step == Step::Over {
            self.wake = u64::MAX;
            return Ok(Progress::Running);
        }
        self.wake = self.admin.deadline().unwrap_or(u64::MAX);
        Ok(Progress::Waiting)
    }

    fn leaves_data(&self) -> bool {
        matches!(
            self.step,
            Step::IdentifyController
                | Step::IdentifyControllerNvm
                | Step::ReadLog(_)
                | Step::ActiveNamespaces { .. }
                | Step::IdentifyNamespace(_)
        )
    }
}

impl Default for BringUp {
    fn default() -> Self {
        Self::new()
    }
}

mod namespaces;
mod steps;
