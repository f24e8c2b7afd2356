use super::*;
use crate::policy::Policy;
use core::fmt;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec as List;
use task::abi::Error;
use task::abi::crash::{Record, Registers};
use task::abi::supervision::{GiveUp, Progress, Restart, Supervised};

const MILLISECOND: u64 = 1_000_000;

/// A task as the kernel has it.
#[derive(Clone, Debug)]
struct Task {
    progress: Progress,
    counts: Supervised,
    /// What the next orders to restart it answer, before it runs.
    obstacles: List<Progress>,
    given_up: bool,
}

#[derive(Default)]
struct Model {
    tasks: List<Task>,
    lines: List<String>,
    /// Of the first tasks.
    records: List<Record>,
}

impl Model {
    fn new(count: usize) -> Self {
        let counts = Supervised { generation: 1, ..Supervised::default() };
        let task = Task { progress: Progress::Runs, counts, obstacles: List::new(), given_up: false };
        Self { tasks: std::vec![task; count], lines: List::new(), records: List::new() }
    }

    fn fail(&mut self, task: usize, count: impl FnOnce(&mut Supervised) -> &mut u64) {
        *count(&mut self.tasks[task].counts) += 1;
        self.tasks[task].progress = Progress::Stopped;
    }

    fn fault(&mut self, task: usize) {
        self.fail(task, |counts| &mut counts.faults);
    }
}

impl Kernel for Model {
    fn order(&mut self, position: usize, order: Order) -> Result<(Progress, Supervised), Error> {
        let task = &mut self.tasks[position];
        match (order, task.progress) {
            (Order::Look | Order::Record, _) => {}
            (Order::Restart | Order::GiveUp, Progress::Runs) => return Err(Error::Invalid),
            (Order::Stop, Progress::Runs) => {
                task.counts.kills += 1;
                task.progress = Progress::Stopped;
            }
            (Order::Stop, _) => return Err(Error::Invalid),
            (Order::GiveUp, _) => task.given_up = true,
            (Order::Restart, _) => match task.obstacles.pop() {
                Some(obstacle) => task.progress = obstacle,
                None => {
                    task.progress = Progress::Runs;
                    task.counts.generation += 1;
                }
            },
        }
        Ok((task.progress, task.counts))
    }

    fn record(&mut self, position: usize) -> Option<Record> {
        self.records.get(position).cloned()
    }

    fn log(&mut self, line: fmt::Arguments<'_>) {
        self.lines.push(format!("{line}"));
    }
}

fn supervisor(policies: &[Restart]) -> Supervisor {
    let mut supervisor = Supervisor::default();
    for (number, restart) in policies.iter().enumerate() {
        let name = format!("task{number}").as_str().try_into().unwrap();
        // Each later task calls the first.
        let dependants = if number == 0 { !1 } else { 0 };
        supervisor.watch(Watched { watch: Watch::new(name, Policy::new(*restart)), task: number as u16, dependants });
    }
    supervisor
}

fn policy(limit: u8, give_up: GiveUp) -> Restart {
    Restart { limit, within: 1000, back_off: 10, give_up }
}

#[test]
fn whoever_is_given_up_is_told_of_with_the_record_of_how_it_stopped() {
    let mut model = Model::new(2);
    let registers = Registers { rip: 0x40_c0f2, ..Registers::ZERO };
    model.records = [Record { sequence: 9, registers, ..Record::EMPTY }].into();
    let mut supervisor = supervisor(&[policy(0, GiveUp::Degrade); 2]);
    model.fault(0);
    model.fault(1);
    assert_eq!(supervisor.step(&mut model, 0), Ok(None));
    let given_up = |task| format!("gave up task=task{task} cause=fault reason=never-restarted then=degrade");
    assert_eq!(model.lines, [format!("{} record=9 instruction=0x40c0f2", given_up(0)), given_up(1)]);
}

#[test]
fn a_task_that_fails_is_restarted_and_it_is_told_why() {
    let (mut supervisor, mut kernel) = (supervisor(&[policy(2, GiveUp::Degrade)]), Model::new(1));
    assert_eq!(supervisor.step(&mut kernel, 0), Ok(None));
    kernel.fault(0);
    kernel.tasks[0].obstacles = std::vec![Progress::Loading, Progress::Loading];
    assert_eq!(supervisor.step(&mut kernel, 5), Ok(None));
    kernel.fail(0, |counts| &mut counts.silences);
    assert_eq!(supervisor.step(&mut kernel, 6), Ok(Some(6 + 10 * MILLISECOND)), "the second one waits");
    assert_eq!(supervisor.step(&mut kernel, 7), Ok(Some(6 + 10 * MILLISECOND)), "and goes on waiting");
    assert_eq!(supervisor.step(&mut kernel, 6 + 10 * MILLISECOND), Ok(None));
    kernel.fail(0, |counts| &mut counts.exits);
    assert_eq!(supervisor.step(&mut kernel, 20 * MILLISECOND), Ok(None));
    assert!(kernel.tasks[0].given_up);
    assert_eq!(
        kernel.lines,
        [
            "restarted task=task0 generation=2 cause=fault restarts=1 limit=2",
            "restart delayed task=task0 cause=no-heartbeat delay_ms=10",
            "restarted task=task0 generation=3 cause=no-heartbeat restarts=2 limit=2",
            "gave up task=task0 cause=exit reason=limit then=degrade",
        ]
    );
    assert_eq!(supervisor.step(&mut kernel, 5000 * MILLISECOND), Ok(None), "for good");
    assert_eq!(kernel.lines.len(), 4);
}

#[test]
fn kills_use_up_nothing_of_the_policy() {
    let (mut supervisor, mut kernel) = (supervisor(&[policy(1, GiveUp::Reboot)]), Model::new(1));
    for generation in 2..1000 {
        kernel.fail(0, |counts| &mut counts.kills);
        assert_eq!(supervisor.step(&mut kernel, 1), Ok(None));
        assert_eq!((kernel.tasks[0].progress, kernel.tasks[0].counts.generation), (Progress::Runs, generation));
    }
    let (mut supervisor, mut kernel) = (self::supervisor(&[policy(0, GiveUp::Degrade)]), Model::new(1));
    kernel.fail(0, |counts| &mut counts.kills);
    assert_eq!(supervisor.step(&mut kernel, 1), Ok(None));
    assert_eq!(kernel.lines, ["gave up task=task0 cause=killed reason=never-restarted then=degrade"]);
}

#[test]
fn a_device_that_takes_its_time_is_waited_for_and_one_that_never_stops_is_given_up() {
    let (mut supervisor, mut kernel) = (supervisor(&[policy(3, GiveUp::Reboot)]), Model::new(1));
    kernel.fault(0);
    kernel.tasks[0].obstacles = std::vec![Progress::Quarantined, Progress::Quiescing, Progress::Quiescing];
    assert_eq!(supervisor.step(&mut kernel, 0), Ok(Some(MILLISECOND)));
    assert_eq!(supervisor.step(&mut kernel, MILLISECOND), Ok(Some(2 * MILLISECOND)));
    assert_eq!(supervisor.step(&mut kernel, 2 * MILLISECOND), Ok(None));
    assert_eq!(kernel.lines, ["gave up task=task0 cause=fault reason=device-quarantined then=degrade"]);
    assert!(kernel.tasks[0].given_up);
}

#[test]
fn dependants_are_restarted_with_the_task_and_others_are_not_touched() {
    let policies = [policy(1, GiveUp::RestartDependants); 2];
    let (mut supervisor, mut kernel) = (supervisor(&policies), Model::new(2));
    for now in [0, 1] {
        kernel.fault(0);
        while supervisor.step(&mut kernel, now).unwrap().is_some() {}
    }
    assert_eq!([0, 1].map(|task| kernel.tasks[task].counts.generation), [3, 2]);
    assert!(kernel.tasks.iter().all(|task| task.progress == Progress::Runs));
    kernel.fault(0);
    assert_eq!(supervisor.step(&mut kernel, 2), Ok(None));
    assert_eq!(kernel.lines.last().unwrap(), "gave up task=task0 cause=fault reason=limit then=degrade");
}

#[test]
fn the_machine_is_reset_where_the_charter_says_so() {
    let (mut supervisor, mut kernel) = (supervisor(&[policy(0, GiveUp::Reboot)]), Model::new(1));
    kernel.fault(0);
    assert_eq!(supervisor.step(&mut kernel, 0), Err(Reboot("task0".try_into().unwrap())));
}

proptest! {
    /// Whatever fails whenever: the supervisor always comes to rest, and each task either runs, waits for its back-off,
    /// or was given up and told so.
    #[test]
    fn a_crash_loop_of_some_starves_no_other(
        failures in prop::collection::vec((0..4usize, 0..500u64), 1..300),
        limit in 1..5u8,
    ) {
        let (mut supervisor, mut kernel) = (supervisor(&[policy(limit, GiveUp::Degrade); 4]), Model::new(4));
        let mut now = 0;
        for (task, wait) in failures {
            if kernel.tasks[task].progress == Progress::Runs {
                kernel.fault(task);
            }
            let orders = kernel.lines.len();
            let next = supervisor.step(&mut kernel, now).unwrap();
            prop_assert!(kernel.lines.len() - orders <= 8, "bounded work a step");
            prop_assert!(next.is_none_or(|next| next > now), "it waits, and others run");
            for task in &kernel.tasks {
                prop_assert!(task.progress == Progress::Runs || task.given_up || next.is_some());
            }
            now += wait * MILLISECOND;
        }
    }
}

#[test]
fn what_an_iommu_blocked_of_a_tasks_device_is_said_and_the_task_goes_on() {
    let (mut supervisor, mut kernel) = (supervisor(&[policy(1, GiveUp::Reboot)]), Model::new(1));
    kernel.tasks[0].counts.blocked = 4;
    assert_eq!(supervisor.step(&mut kernel, 0), Ok(None));
    assert_eq!(kernel.lines, ["device reached beyond its own task=task0 requests=4"]);
    assert_eq!(supervisor.step(&mut kernel, 1), Ok(None));
    assert_eq!((kernel.lines.len(), kernel.tasks[0].progress), (1, Progress::Runs), "once");
    // A task that stops as well is restarted as ever.
    kernel.tasks[0].counts.blocked = 8;
    kernel.fault(0);
    while supervisor.step(&mut kernel, MILLISECOND).expect("no reboot").is_some() {}
    assert_eq!(kernel.lines[1], "device reached beyond its own task=task0 requests=8");
    assert!(kernel.lines[2].starts_with("restarted task=task0"), "{:?}", kernel.lines);
}
