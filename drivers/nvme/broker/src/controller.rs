//! The controller as a whole: its registers, its resets, and how it is stopped (base 2.0, 3.1.3 and 3.5).

use broker::{Device, Ledger, Progress};
use checks::{Check, holds, kept};
use nvme_spec::brokered;
use nvme_spec::registers::{
    ACQ, AQA, ASQ, CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus, DoorbellStride, ShutdownNotification,
    VS, admin_queue_attributes,
};

use crate::layout::{ADMIN_COMPLETION, ADMIN_ENTRIES, ADMIN_SUBMISSION};
use crate::queue::Shape;
use crate::{NvmeBroker, Reason, grant};

/// Time between two looks at CSTS while quiescing, in nanoseconds.
const LOOK_AGAIN: u64 = 1_000_000;

/// How far the controller is between off and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// RDY=0 was read after EN=0.
    Disabled,
    /// EN=1 was written.
    Enabling,
    /// RDY=1 was read after EN=1.
    Ready,
    /// EN=0 was written.
    Disabling,
    /// The kernel is stopping it, or has yet to.
    Stopping(Stop),
    /// It did not stop.
    Quarantined,
}

/// How far [`NvmeBroker::quiesce_step`] has come. Times are deadlines in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Begin,
    /// Somebody enabled it and it is not ready yet: clearing EN now would be undefined.
    AwaitReady(u64),
    AwaitDisabled(u64),
}

/// The controller's state.
#[derive(Debug)]
pub struct Controller {
    stage: Stage,
    /// SHN was written since EN=1.
    shutting_down: bool,
    /// Why nothing more is to be had of it before it is stopped.
    fault: Option<Reason>,
    stride: DoorbellStride,
    io_entries: u16,
}

impl Controller {
    pub fn new(ledger: &Ledger) -> Self {
        // Everything up to the queue addresses is written; a BAR in which that is not ours is not used at all.
        let registers = grant::register(ledger, 0, ACQ + 8);
        let stage = if registers.is_ok() { Stage::Stopping(Stop::Begin) } else { Stage::Quarantined };
        Self { stage, shutting_down: false, fault: None, stride: DoorbellStride::default(), io_entries: 0 }
    }

    pub const fn is_enabled(&self) -> bool {
        matches!(self.stage, Stage::Enabling | Stage::Ready | Stage::Disabling)
    }

    /// Entries of every I/O ring.
    pub const fn io_entries(&self) -> u16 {
        self.io_entries
    }

    /// Register offsets of a queue's tail and head doorbell.
    pub fn doorbells(&self, ledger: &Ledger, queue: u16) -> Result<(u32, u32), Reason> {
        let tail = grant::register(ledger, self.stride.submission_tail(queue), 4)?;
        let head = grant::register(ledger, self.stride.completion_head(queue), 4)?;
        Ok((tail, head))
    }

    /// Whether the driver may work with the device at all.
    fn is_drivers(&self) -> Result<(), Reason> {
        match self.stage {
            Stage::Stopping(_) => Err(Reason::NotQuiesced),
            Stage::Quarantined => Err(Reason::Quarantined),
            _ => Ok(()),
        }
    }
}

/// Bytes of registers up to the last doorbell that a driver rings; `None` if the controller does not answer.
pub fn direct_registers(device: &mut impl Device) -> Option<u32> {
    let capabilities = Capabilities(device.read_u64(CAP));
    let end = capabilities.doorbell_stride().completion_head(brokered::IO_QUEUES_MAX) + 4;
    if capabilities.0 == u64::MAX { None } else { u32::try_from(end).ok() }
}

/// Whether somebody has enabled the controller.
pub fn is_on(device: &mut impl Device) -> bool {
    let configuration = device.read_u32(CC);
    configuration != u32::MAX && Configuration(configuration).enable()
}

impl NvmeBroker {
    /// The register list for reads: none of these can hold an address.
    pub(crate) fn read_register(&mut self, device: &mut impl Device, offset: u32, bytes: u8) -> Result<u64, Reason> {
        let width = match offset {
            CAP => 8,
            VS | CC | CSTS => 4,
            _ if holds(Check::RegisterList, false) => bytes,
            _ => return Err(Reason::RegisterNotListed),
        };
        if bytes != width {
            return Err(Reason::RegisterWidth);
        }
        self.controller.is_drivers()?;
        Ok(match offset {
            CAP => device.read_u64(CAP),
            CSTS => u64::from(self.look(device).bits()),
            _ => u64::from(device.read_u32(offset)),
        })
    }

    /// The register list for writes: CC.
    pub(crate) fn write_register(
        &mut self,
        device: &mut impl Device,
        offset: u32,
        bytes: u8,
        value: u64,
    ) -> Result<(), Reason> {
        if offset != CC {
            return Err(Reason::RegisterNotListed);
        }
        if bytes != 4 {
            return Err(Reason::RegisterWidth);
        }
        let asked = Configuration(u32::try_from(value).map_err(|_| Reason::RegisterWidth)?);
        let shutdown = asked.shutdown().ok_or(Reason::ReservedShutdown)?;
        self.controller.is_drivers()?;
        let status = self.look(device);
        if status.is_gone() {
            return Err(Reason::DeviceGone);
        }
        let authored = if kept(Check::Configuration) { Configuration::new(asked.enable(), shutdown) } else { asked };
        let asks_shutdown = shutdown != ShutdownNotification::None;
        match (self.controller.stage, asked.enable()) {
            (Stage::Disabled, _) if asks_shutdown => Err(Reason::ReservedShutdown),
            (Stage::Disabled, true) => self.enable(device, status),
            (Stage::Enabling | Stage::Ready, true) => {
                if asks_shutdown {
                    self.controller.shutting_down = true;
                    device.write_u32(CC, authored.0);
                }
                Ok(())
            }
            (Stage::Enabling | Stage::Ready, false) => {
                self.controller.stage = Stage::Disabling;
                device.write_u32(CC, authored.0);
                Ok(())
            }
            (Stage::Disabling, true) => Err(Reason::Resetting),
            (Stage::Disabled | Stage::Disabling, false) => Ok(()),
            (Stage::Stopping(_), _) => Err(Reason::NotQuiesced),
            (Stage::Quarantined, _) => Err(Reason::Quarantined),
        }
    }

    /// CC.EN from 0 to 1, as one transaction.
    fn enable(&mut self, device: &mut impl Device, status: ControllerStatus) -> Result<(), Reason> {
        if status.contains(ControllerStatus::READY) {
            return Err(Reason::Resetting);
        }
        let capabilities = Capabilities(device.read_u64(CAP));
        if capabilities.page_shift_min() != 0 || !capabilities.nvm_command_set() {
            return Err(Reason::UnsupportedController);
        }
        self.controller.stride = capabilities.doorbell_stride();
        let (tail_doorbell, head_doorbell) = self.controller.doorbells(&self.ledger, 0)?;
        self.controller.io_entries = brokered::io_queue_entries(capabilities) as u16;
        self.controller.shutting_down = false;
        self.controller.fault = None;
        self.forget();
        let shape = Shape {
            submission: ADMIN_SUBMISSION,
            completion: ADMIN_COMPLETION,
            tail_doorbell,
            head_doorbell,
            entries: ADMIN_ENTRIES,
        };
        self.admin.queue.begin(device, shape);
        device.write_u32(AQA, admin_queue_attributes(ADMIN_ENTRIES, ADMIN_ENTRIES));
        device.write_u64(ASQ, self.ledger.hidden + u64::from(ADMIN_SUBMISSION));
        device.write_u64(ACQ, self.ledger.hidden + u64::from(ADMIN_COMPLETION));
        // Before EN: a controller may look up its vectors when it is enabled.
        device.set_interrupts(true);
        device.write_u32(CC, Configuration::new(true, ShutdownNotification::None).0);
        device.set_bus_mastering(true);
        self.controller.stage = Stage::Enabling;
        Ok(())
    }

    /// Reads CSTS, and draws the conclusions.
    fn look(&mut self, device: &mut impl Device) -> ControllerStatus {
        let status = ControllerStatus::from_bits_retain(device.read_u32(CSTS));
        if status.is_gone() {
            // Nothing is known of what it still does: all that is in flight stays so.
            self.controller.fault = Some(Reason::DeviceGone);
            return status;
        }
        let ready = status.contains(ControllerStatus::READY);
        match self.controller.stage {
            Stage::Enabling if ready => self.controller.stage = Stage::Ready,
            // It was reset by somebody else; only a reset of our own says that it is over.
            Stage::Ready if !ready => self.controller.fault = Some(Reason::DeviceFailed),
            Stage::Disabling if !ready => {
                device.set_bus_mastering(false);
                device.set_interrupts(false);
                self.controller.stage = Stage::Disabled;
                self.controller.fault = None;
                self.forget();
            }
            _ => {}
        }
        if self.controller.is_enabled() && status.contains(ControllerStatus::FATAL) {
            self.controller.fault = Some(Reason::DeviceFailed);
        }
        status
    }

    /// Whether commands may be submitted now.
    #[inline(always)]
    pub(crate) fn takes_commands(&mut self, device: &mut impl Device) -> Result<(), Reason> {
        self.gives_completions(device)?;
        if let Some(fault) = self.controller.fault {
            return Err(fault);
        }
        if self.controller.shutting_down { Err(Reason::ShuttingDown) } else { Ok(()) }
    }

    /// Whether there may be completions now.
    #[inline(always)]
    pub(crate) fn gives_completions(&mut self, device: &mut impl Device) -> Result<(), Reason> {
        if self.controller.stage == Stage::Ready { Ok(()) } else { self.gets_ready(device) }
    }

    /// Whether a controller that was not ready is, or why not.
    #[cold]
    #[inline(never)]
    fn gets_ready(&mut self, device: &mut impl Device) -> Result<(), Reason> {
        if matches!(self.controller.stage, Stage::Enabling | Stage::Disabling) {
            self.look(device);
        }
        self.controller.is_drivers()?;
        match self.controller.stage {
            Stage::Ready => Ok(()),
            Stage::Disabled => Err(Reason::NotEnabled),
            Stage::Enabling => Err(self.controller.fault.unwrap_or(Reason::NotReady)),
            _ => Err(self.controller.fault.unwrap_or(Reason::Resetting)),
        }
    }

    /// One look at a controller that is to stop; see [`broker::Broker::quiesce`].
    ///
    /// Bus mastering goes first, so that nothing new reaches memory, but that is no fence: done is only when RDY=0 was
    /// read after EN=0.
    pub(crate) fn quiesce_step(&mut self, device: &mut impl Device) -> Progress {
        let stop = match self.controller.stage {
            Stage::Quarantined => return Progress::Failed,
            Stage::Stopping(stop) => stop,
            _ => Stop::Begin,
        };
        if stop == Stop::Begin {
            device.set_bus_mastering(false);
            device.set_interrupts(false);
        }
        let status = ControllerStatus::from_bits_retain(device.read_u32(CSTS));
        if status.is_gone() {
            return self.quarantine();
        }
        let ready = status.contains(ControllerStatus::READY);
        let now = device.now();
        let stop = match stop {
            Stop::Begin => {
                let enabled = Configuration(device.read_u32(CC)).enable();
                let stuck = status.contains(ControllerStatus::FATAL);
                match (enabled, ready || stuck) {
                    (true, true) => Self::clear_enable(device),
                    (true, false) => Stop::AwaitReady(Self::deadline(device)),
                    (false, _) if ready => Stop::AwaitDisabled(Self::deadline(device)),
                    (false, _) => return self.stopped(device),
                }
            }
            Stop::AwaitReady(deadline) => {
                if ready || status.contains(ControllerStatus::FATAL) || now >= deadline {
                    Self::clear_enable(device)
                } else {
                    stop
                }
            }
            Stop::AwaitDisabled(_) if holds(Check::Ready, !ready) => return self.stopped(device),
            Stop::AwaitDisabled(deadline) if now >= deadline => return self.quarantine(),
            Stop::AwaitDisabled(_) => stop,
        };
        self.controller.stage = Stage::Stopping(stop);
        Progress::Again(now + LOOK_AGAIN)
    }

    /// EN=0, and all else as whoever enabled it left it: those fields may not change while it is enabled.
    fn clear_enable(device: &mut impl Device) -> Stop {
        let left = device.read_u32(CC) & !(Configuration::ENABLE | Configuration::SHUTDOWN_MASK);
        device.write_u32(CC, left);
        Stop::AwaitDisabled(Self::deadline(device))
    }

    fn deadline(device: &mut impl Device) -> u64 {
        let timeout = Capabilities(device.read_u64(CAP)).timeout();
        device.now() + timeout.as_nanos() as u64
    }

    fn stopped(&mut self, device: &mut impl Device) -> Progress {
        // Firmware's addresses, or ours of before, are nobody's now.
        device.write_u64(ASQ, 0);
        device.write_u64(ACQ, 0);
        self.controller.stage = Stage::Disabled;
        self.controller.shutting_down = false;
        self.controller.fault = None;
        self.forget();
        Progress::Done
    }

    fn quarantine(&mut self) -> Progress {
        self.controller.stage = Stage::Quarantined;
        Progress::Failed
    }
}
