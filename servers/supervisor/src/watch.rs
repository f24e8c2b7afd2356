//! One task that is watched over: what happened to it, and what is done about it.

use core::fmt;

use task::Name;
use task::abi::crash::Record;
use task::abi::supervision::{GiveUp, Order, Progress, Supervised};

use crate::Kernel;
use crate::policy::{Decision, Policy};

/// How long a device that is being made to stop is left alone between two looks, in nanoseconds.
const LOOK_AGAIN: u64 = 1_000_000;

/// Why a task has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By an exception.
    Fault,
    /// By itself.
    Exit,
    /// It no longer said that it was alive.
    NoHeartbeat,
    /// Somebody stopped it, which is no failure of its own.
    Killed,
}

impl Cause {
    /// What has happened between two looks. A task stops once a generation, and nobody else restarts it, so it is one
    /// thing.
    fn between(before: Supervised, after: Supervised) -> Option<Self> {
        let causes = [
            (before.faults, after.faults, Self::Fault),
            (before.exits, after.exits, Self::Exit),
            (before.silences, after.silences, Self::NoHeartbeat),
            (before.kills, after.kills, Self::Killed),
        ];
        causes.into_iter().find(|(before, after, _)| after > before).map(|(_, _, cause)| cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "fault",
            Self::Exit => "exit",
            Self::NoHeartbeat => "no-heartbeat",
            Self::Killed => "killed",
        })
    }
}

/// What is being done about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing: it runs.
    Running,
    /// It is restarted at this time.
    BackOff(u64, Cause),
    /// It is restarted now.
    Restarting(Cause),
    /// Nothing more.
    GivenUp,
}

/// What is to happen beyond one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look at it again at this time, at the latest; `None` if nothing is under way.
    Look(Option<u64>),
    /// Every task that depends on it is to be restarted; it restarts itself.
    RestartDependants,
    /// The machine is to be reset.
    Reboot,
}

/// A task that is watched over.
#[derive(Clone, Debug)]
pub struct Watch {
    name: Name,
    policy: Policy,
    seen: Supervised,
    phase: Phase,
}

impl Watch {
    /// A task that runs.
    pub fn new(name: Name, policy: Policy) -> Self {
        Self { name, policy, seen: Supervised::default(), phase: Phase::Running }
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks at it, and does what is due.
    pub fn step(&mut self, kernel: &mut impl Kernel, position: usize, now: u64) -> Step {
        let Ok((progress, supervised)) = kernel.order(position, Order::Look) else { return Step::Look(None) };
        if supervised.blocked > self.seen.blocked {
            // Its device reaches nothing that is not its own; whether that is worth more than a line, people decide.
            kernel
                .log(format_args!("device reached beyond its own task={} requests={}", self.name, supervised.blocked));
            self.seen.blocked = supervised.blocked;
        }
        if let Some(cause) = Cause::between(self.seen, supervised) {
            self.seen = supervised;
            if let Some(step) = self.stopped(kernel, position, now, cause) {
                return step;
            }
        }
        match self.phase {
            Phase::BackOff(at, cause) if at <= now => self.phase = Phase::Restarting(cause),
            Phase::BackOff(at, _) => return Step::Look(Some(at)),
            Phase::GivenUp if progress == Progress::Runs => self.phase = Phase::Running,
            Phase::Running | Phase::Restarting(_) | Phase::GivenUp => {}
        }
        match self.phase {
            Phase::Restarting(cause) => self.restart(kernel, position, now, cause),
            _ => Step::Look(None),
        }
    }

    /// Decides what to do about it. A task that was killed is restarted at once, unless it is never restarted: nothing
    /// of its policy is used up by what it cannot help.
    fn stopped(&mut self, kernel: &mut impl Kernel, position: usize, now: u64, cause: Cause) -> Option<Step> {
        if cause == Cause::Killed && self.policy.limit() > 0 {
            self.phase = Phase::Restarting(cause);
            return None;
        }
        match self.policy.failed(now) {
            Decision::Restart(at) => {
                if at > now {
                    kernel.log(format_args!(
                        "restart delayed task={} cause={cause} delay_ms={}",
                        self.name,
                        (at - now) / 1_000_000
                    ));
                }
                self.phase = Phase::BackOff(at, cause);
                None
            }
            Decision::GiveUp(GiveUp::RestartDependants) => {
                self.tell_given_up(kernel, position, cause, "limit", GiveUp::RestartDependants);
                self.phase = Phase::Restarting(cause);
                Some(Step::RestartDependants)
            }
            Decision::GiveUp(then) => {
                let reason = if self.policy.limit() == 0 { "never-restarted" } else { "limit" };
                self.give_up(kernel, position, cause, reason, then);
                Some(if then == GiveUp::Reboot { Step::Reboot } else { Step::Look(None) })
            }
        }
    }

    fn give_up(&mut self, kernel: &mut impl Kernel, position: usize, cause: Cause, reason: &str, then: GiveUp) {
        self.tell_given_up(kernel, position, cause, reason, then);
        self.phase = Phase::GivenUp;
        // It has stopped, so the kernel takes the order.
        let _ = kernel.order(position, Order::GiveUp);
    }

    /// With what is kept of its last stop, so that the record and the place in the program are found.
    fn tell_given_up(&self, kernel: &mut impl Kernel, position: usize, cause: Cause, reason: &str, then: GiveUp) {
        let (name, then) = (&self.name, then.name());
        match kernel.record(position) {
            None => kernel.log(format_args!("gave up task={name} cause={cause} reason={reason} then={then}")),
            Some(Record { sequence, registers, .. }) => kernel.log(format_args!(
                "gave up task={name} cause={cause} reason={reason} then={then} record={sequence} instruction={:#x}",
                registers.rip
            )),
        }
    }

    /// Takes steps of the restart, as many as there are without waiting.
    fn restart(&mut self, kernel: &mut impl Kernel, position: usize, now: u64, cause: Cause) -> Step {
        loop {
            match kernel.order(position, Order::Restart) {
                Ok((Progress::Loading, _)) => {}
                Ok((Progress::Runs, supervised)) => {
                    if cause != Cause::Killed {
                        self.policy.restarted(now);
                    }
                    self.phase = Phase::Running;
                    kernel.log(format_args!(
                        "restarted task={} generation={} cause={cause} restarts={} limit={}",
                        self.name,
                        supervised.generation,
                        self.policy.used(),
                        self.policy.limit()
                    ));
                    return Step::Look(None);
                }
                Ok((Progress::Stopped | Progress::Quiescing, _)) => return Step::Look(Some(now + LOOK_AGAIN)),
                // Its device may still write to its memory: no restart mends that, nor one of the machine's tasks.
                Ok((Progress::Quarantined, _)) => {
                    self.give_up(kernel, position, cause, "device-quarantined", GiveUp::Degrade);
                    return Step::Look(None);
                }
                // It runs: somebody else's restart would have to be seen here, and there is nobody else.
                Err(_) => {
                    self.phase = Phase::Running;
                    return Step::Look(None);
                }
            }
        }
    }
}
