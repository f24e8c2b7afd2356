//! The supervisor's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::fmt;

use heapless::Vec;
use supervisor::Kernel;
use supervisor::policy::Policy;
use supervisor::supervisor::{Reboot, Supervisor, Watched};
use supervisor::watch::Watch;
use task::abi::Error;
use task::abi::crash::Record;
use task::abi::start::GRANTS_MAX;
use task::abi::supervision::{Order, Progress, Supervised};
use task::{Deadline, Environment, Instant, Log, Started, Stop, Supervise, log};

task::needs! {
    optional watch: supervise,
    log: log,
}
task::main!(run);
task::stack!(16_640);

/// The kernel's calls.
struct Calls {
    watched: Vec<Supervise, GRANTS_MAX>,
    log: Log,
}

impl Kernel for Calls {
    fn order(&mut self, position: usize, order: Order) -> Result<(Progress, Supervised), Error> {
        self.watched.get(position).ok_or(Error::Invalid)?.order(order)
    }

    fn record(&mut self, position: usize) -> Option<Record> {
        self.watched.get(position)?.record().ok().flatten()
    }

    fn log(&mut self, line: fmt::Arguments<'_>) {
        log!(self.log, "{line}");
    }
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let mut calls = Calls { watched: environment.all().collect(), log: grants.log };
    let mut supervisor = Supervisor::default();
    for own in &calls.watched {
        let watch = Watch::new(own.name(), Policy::new(own.restart));
        supervisor.watch(Watched { watch, task: own.task, dependants: own.dependants });
    }
    log!(grants.log, "watching tasks={}", supervisor.count());
    task::ready(Started::Well);
    loop {
        let deadline = match supervisor.step(&mut calls, Instant::now().nanoseconds()) {
            Ok(Some(at)) => Deadline::at(Instant::at(at)),
            Ok(None) => Deadline::NEVER,
            // The kernel resets a machine whose supervisor stops.
            Err(Reboot(task)) => return Err(Stop::new(format_args!("task {task} cannot be restarted"))),
        };
        match task::wait(deadline) {
            Ok(_) | Err(Error::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
