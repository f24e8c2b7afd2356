//! What becomes of tasks that stop: who is told, how one is restarted, and who has to say that it is alive.
//!
//! The kernel decides nothing: a supervisor, a task that the charter grants it, says when to restart which task. Here is
//! what it can say ([`abi::supervision`]), each order bounded:
//! - [`image`]: what a task's memory is made of when it starts, page by page, from the boot package.
//! - [`heartbeat`]: who has not been heard for too long.
//! - this module: the counts that a supervisor is told, and the steps of a restart. The task's memory, which no
//!   generation leaves anything in, is made new a few pages an entry; its device has been seen to stop by then.
//!
//! A supervisor has none above it: when one stops, the machine is reset.

pub mod heartbeat;
pub mod image;

use abi::Error;
use abi::crash::Cause;
use abi::package::{Capability, PowerAction, TASKS_MAX};
use abi::supervision::{Order, Progress, Supervised};
use abi::system_call::NO_DEADLINE;
use checks::{Check, kept};
use heartbeat::Heartbeat;
use image::Image;

use crate::crash;
use crate::crash::kept::{RESETS_MAX, Verdict};
use crate::devices::State as DeviceState;
use crate::log;
use crate::objects::TaskId;
use crate::objects::task::{Name, Started, State};
use crate::state::Kernel;

/// Pages of a task that one entry makes new. A page takes about 800 instructions, and an entry is to take less than
/// 20,000.
pub const PAGES_AT_ONCE: usize = 12;

/// Why a task has stopped, as its supervisor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By an exception, or because who relies on it reported that it had failed.
    Fault,
    /// By itself.
    Exit,
    /// It had not been heard for too long.
    Silence,
    /// Somebody stopped it.
    Kill,
}

/// Who watches over a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// The task that does.
    pub task: TaskId,
    /// Which bits of its notification word tell it to look.
    pub bits: u64,
}

/// What is kept of each task. Zero in every byte at first, so that no image holds the empty table.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Who watches over it, if anybody does.
    pub supervisor: Option<Supervisor>,
    /// What its memory is made of.
    pub image: Image,
    /// Whether and when it must be heard.
    pub heartbeat: Heartbeat,
    /// How often it stopped, and why.
    deaths: Supervised,
    /// Pages of its memory that are new already, while it is being restarted.
    loaded: usize,
}

/// What is kept of all of them. Zero in every byte at first, likewise.
pub struct Supervision {
    /// When somebody may have been silent for too long; `None` if nobody must be heard.
    look_at: Option<u64>,
    /// A table of tasks.
    pub watches: [Watch; TASKS_MAX],
}

impl Supervision {
    /// Of no tasks.
    pub const fn new() -> Self {
        let watch = Watch {
            supervisor: None,
            image: Image::EMPTY,
            heartbeat: Heartbeat::NONE,
            deaths: Supervised { generation: 0, faults: 0, exits: 0, silences: 0, kills: 0, blocked: 0 },
            loaded: 0,
        };
        Self { watches: [watch; TASKS_MAX], look_at: None }
    }

    /// When somebody may have been silent for too long; `NO_DEADLINE` if nobody must be heard.
    pub fn look_at(&self) -> u64 {
        self.look_at.unwrap_or(NO_DEADLINE)
    }

    /// Looks at this time, or earlier.
    fn look_before(&mut self, at: u64) {
        self.look_at = Some(self.look_at().min(at));
    }

    /// Enters that a task is watched over, and how often it must be heard; `heartbeat` is in milliseconds, 0 for never.
    pub fn watch(&mut self, watched: TaskId, by: Supervisor, heartbeat: u32) {
        let watch = &mut self.watches[watched.index()];
        watch.supervisor = Some(by);
        watch.heartbeat = Heartbeat::every(heartbeat);
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel {
    /// Stops a task: its device first of all, then everything that waits for it is told, and who watches over it.
    pub fn stop(&mut self, id: TaskId, why: Death) {
        if matches!(self.objects.task(id).state, State::Empty | State::Stopped) {
            return;
        }
        let now = self.now();
        for index in 0..self.owners.len() {
            if self.owners[index].task == Some(id) {
                self.devices.stop(index);
                self.owners[index].service_at = now;
            }
        }
        self.serve_devices(now);
        self.drain_log_soon(now);
        self.objects.stop(id);
        if self.is_supervisor(id) {
            return self.end_unsupervised(id);
        }
        let watch = &mut self.supervision.watches[id.index()];
        watch.loaded = 0;
        watch.heartbeat.pause();
        let deaths = &mut watch.deaths;
        let count = match why {
            Death::Fault => &mut deaths.faults,
            Death::Exit => &mut deaths.exits,
            Death::Silence => &mut deaths.silences,
            Death::Kill => &mut deaths.kills,
        };
        *count = count.saturating_add(1);
        match watch.supervisor {
            Some(supervisor) => self.objects.signal(supervisor.task, supervisor.bits),
            None => self.fail_start(id),
        }
    }

    /// A task will not start: the boot is incomplete without it if it is required and has not said that it works.
    fn fail_start(&mut self, id: TaskId) {
        let task = self.objects.task_mut(id);
        if task.required && task.started == Started::Unknown {
            task.started = Started::Failed;
            self.tell_boot();
        }
    }

    fn is_supervisor(&self, id: TaskId) -> bool {
        let held = &self.objects.task(id).capabilities;
        held.iter().any(|capability| matches!(capability, Some(Capability::Supervise { .. })))
    }

    /// A supervisor has stopped, and nobody is left to restart what it watched over: the machine begins anew. Unless it
    /// did again and again: then it is of no use, and the machine is switched off.
    fn end_unsupervised(&mut self, id: TaskId) {
        let now = self.now();
        let Some(machine) = &self.machine else { return };
        let verdict = self.crashes.supervisor_stopped(now);
        let (reset, off) = (machine.power.reset_method(), machine.power.off_method().unwrap_or("none"));
        let name = &self.objects.task(id).name;
        let action = match verdict {
            Verdict::Reset => {
                log!("charter", "power reboot task={name} method={reset} reason=supervisor-stopped resets=unknown");
                PowerAction::Reboot
            }
            Verdict::CountedReset(count) => {
                log!(
                    "charter",
                    "power reboot task={name} method={reset} reason=supervisor-stopped resets={count} limit={RESETS_MAX}"
                );
                PowerAction::Reboot
            }
            Verdict::Off(count) => {
                log!(
                    "charter",
                    "power off task={name} method={off} reason=supervisor-stops-at-every-boot resets={count}"
                );
                PowerAction::Off
            }
        };
        crate::system_call::end_machine(self, action)
    }

    /// What a supervisor is told of a task.
    pub fn supervised(&self, id: TaskId) -> Supervised {
        let generation = u64::from(self.objects.generation(id));
        let devices = self.owners.iter().enumerate().filter(|(_, owner)| owner.task == Some(id));
        let blocked = devices.map(|(index, _)| self.devices.blocked(index)).sum();
        Supervised { generation, blocked, ..self.supervision.watches[id.index()].deaths }
    }

    /// Tells the supervisors of drivers whose devices an IOMMU has blocked so often that the log was told, too.
    pub fn tell_blocked(&mut self) {
        for index in 0..self.owners.len() {
            if let (true, Some(task)) = (self.devices.take_blocked(index), self.owners[index].task)
                && let Some(supervisor) = self.supervision.watches[task.index()].supervisor
            {
                self.objects.signal(supervisor.task, supervisor.bits);
            }
        }
    }

    /// How far a task is from running again.
    pub fn progress(&self, id: TaskId) -> Progress {
        let mut progress = match self.objects.task(id).state {
            State::Stopped if self.supervision.watches[id.index()].loaded > 0 => Progress::Loading,
            State::Stopped => Progress::Stopped,
            _ => return Progress::Runs,
        };
        for (index, _) in self.owners.iter().enumerate().filter(|(_, owner)| owner.task == Some(id)) {
            match self.devices.state(index) {
                // Nor is a device used again that is to be behind an IOMMU and is not.
                DeviceState::Quarantined | DeviceState::Unconfined => return Progress::Quarantined,
                DeviceState::Starting | DeviceState::Stopping => progress = Progress::Quiescing,
                DeviceState::Absent | DeviceState::Unusable | DeviceState::Running | DeviceState::Stopped => {}
            }
        }
        progress
    }

    /// Does what a supervisor says, as far as it fits into one entry.
    ///
    /// # Errors
    /// Invalid if the task is not in a state for it.
    pub fn supervise(&mut self, id: TaskId, order: Order) -> Result<Progress, Error> {
        match (order, self.progress(id)) {
            (Order::Look | Order::Record, progress) => Ok(progress),
            (Order::Stop, Progress::Runs) => {
                self.tell_stopped(id, |by| Cause::Killed { by });
                self.stop(id, Death::Kill);
                Ok(self.progress(id))
            }
            (Order::GiveUp, Progress::Runs) | (Order::Stop, _) | (Order::Restart, Progress::Runs) => {
                Err(Error::Invalid)
            }
            (Order::GiveUp, progress) => {
                self.fail_start(id);
                Ok(progress)
            }
            (Order::Restart, progress @ (Progress::Quiescing | Progress::Quarantined)) => Ok(progress),
            (Order::Restart, Progress::Stopped | Progress::Loading) => Ok(self.load(id)),
        }
    }

    /// Says in the log that the task which runs now stops one, and why.
    pub fn tell_stopped(&mut self, id: TaskId, cause: fn(Name) -> Cause) {
        let by = self.objects.current().map_or_else(Name::new, |by| self.objects.task(by).name.clone());
        crash::report(self, id, cause(by));
    }

    /// Makes the next pages of a task new; the task runs when all are.
    fn load(&mut self, id: TaskId) -> Progress {
        let root = self.objects.task(id).address_space;
        let watch = &mut self.supervision.watches[id.index()];
        let image = watch.image;
        let first = watch.loaded;
        let mut pages = image.pages().skip(first);
        for page in pages.by_ref().take(PAGES_AT_ONCE) {
            if let Some(memory) = self.memory.as_mut().filter(|_| kept(Check::MemoryAsNew)) {
                memory.load(root, &page);
            }
        }
        if let Some(memory) = &mut self.memory {
            memory.forget();
        }
        watch.loaded = first + PAGES_AT_ONCE;
        if pages.next().is_some() {
            return Progress::Loading;
        }
        watch.loaded = 0;
        self.run_again(id);
        Progress::Runs
    }

    /// Everything of a task is as it was at its first start: it runs.
    fn run_again(&mut self, id: TaskId) {
        self.objects.buffer(id).fill(0);
        for index in 0..self.owners.len() {
            if self.owners[index].task == Some(id) {
                self.devices.restart(index);
                self.owners[index].service_at = 0;
            }
        }
        let now = self.now();
        self.serve_devices(now);
        let clock = self.machine.as_ref().map(|machine| machine.clock.scale()).unwrap_or_default();
        let watch = &mut self.supervision.watches[id.index()];
        let registers = watch.image.registers(clock);
        if let Some(first) = watch.heartbeat.begin(now) {
            self.look_for_silence_at(first);
        }
        self.objects.restart(id, registers);
        let task = self.objects.task(id);
        log!("kernel", "task restarted task={} generation={}", task.name, self.objects.generation(id));
        self.drain_log_soon(now);
    }

    /// A task says that it is alive. Returns after how long it has to say so again, in nanoseconds; 0 if it need not.
    pub fn alive(&mut self, id: TaskId) -> u64 {
        self.supervision.watches[id.index()].heartbeat.heard()
    }

    /// Begins to listen for every heartbeat: tasks are about to run.
    pub fn start_heartbeats(&mut self, now: u64) {
        for index in 0..TASKS_MAX {
            if let Some(first) = self.supervision.watches[index].heartbeat.begin(now) {
                self.look_for_silence_at(first);
            }
        }
    }

    /// Stops every task that was silent for too long.
    pub fn look_for_silence(&mut self, now: u64) {
        if self.supervision.look_at() > now {
            return;
        }
        self.supervision.look_at = None;
        for id in (0..TASKS_MAX).filter_map(TaskId::new) {
            let task = self.objects.task(id);
            let watch = &mut self.supervision.watches[id.index()];
            if watch.heartbeat.is_silent(now, task.started == Started::Unknown) {
                let period = watch.heartbeat.period() / 1_000_000;
                crash::report(self, id, Cause::NoHeartbeat { period });
                self.stop(id, Death::Silence);
            }
            if let Some(next) = self.supervision.watches[id.index()].heartbeat.next_look() {
                self.supervision.look_before(next);
            }
        }
    }

    fn look_for_silence_at(&mut self, at: u64) {
        self.supervision.look_before(at);
        self.arm_timer_for(at);
    }
}

#[cfg(test)]
mod tests;
