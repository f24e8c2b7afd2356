//! Tasks, endpoints and notifications, and who runs next.
//!
//! Pure state: nothing here touches hardware, so all of it is tested on the host. The current task is the one whose
//! registers the processor gets when the kernel is left; `None` means that the processor idles.
//!
//! - [`task`]: what the kernel knows of a task.
//! - [`registers`]: a task's registers while it does not run.
//! - [`messages`]: call, receive, reply, signal.
//! - [`direct`]: the same where the receiver waits and runs at once.
//! - [`scheduler`]: the ready queues.
//! - [`accounting`]: who has had the processor for how long.
//! - [`lifetime`]: deadlines, stopping, what a death does to others.

pub mod accounting;
pub mod direct;
pub mod lifetime;
pub mod messages;
pub mod registers;
pub mod scheduler;
pub mod task;
#[cfg(test)]
mod tests;

use abi::layout::IPC_BUFFER_BYTES;
use abi::package::{ENDPOINTS_MAX, TASKS_MAX};
use abi::system_call::NO_DEADLINE;
use accounting::Account;
use scheduler::ReadyQueues;
use task::{State, Task};

use crate::log::Allowance;

const _: () = assert!(TASKS_MAX.is_power_of_two() && ENDPOINTS_MAX.is_power_of_two() && TASKS_MAX <= 64);

/// A task's number. Indexing is masked, so no speculation goes beyond the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(u8);

impl TaskId {
    /// The task with this index; `None` beyond the table.
    pub const fn new(index: usize) -> Option<Self> {
        if index < TASKS_MAX { Some(Self((index & (TASKS_MAX - 1)) as u8)) } else { None }
    }

    /// Its index in the table.
    pub const fn index(self) -> usize {
        self.0 as usize & (TASKS_MAX - 1)
    }
}

/// An endpoint's number, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId(u8);

impl EndpointId {
    /// The endpoint with this index; `None` beyond the table.
    pub const fn new(index: usize) -> Option<Self> {
        if index < ENDPOINTS_MAX { Some(Self((index & (ENDPOINTS_MAX - 1)) as u8)) } else { None }
    }

    /// Its index in the table.
    pub const fn index(self) -> usize {
        self.0 as usize & (ENDPOINTS_MAX - 1)
    }
}

/// A first-in, first-out queue of tasks, linked through [`Task::next`]. A task is in at most one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    ends: Option<(TaskId, TaskId)>,
}

impl Queue {
    /// Whether nobody is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_none()
    }
}

/// Where messages for one task arrive. Of a size by which an endpoint is found in one instruction.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(8))]
pub struct Endpoint {
    /// The task that receives here.
    pub server: Option<TaskId>,
    /// Tasks that have called and were not received yet.
    pub callers: Queue,
}

const _: () = assert!(size_of::<Endpoint>() == 8);

/// Everything that tasks do with each other. In this order: what is zero at first comes last, as in
/// [`Kernel`](crate::state::Kernel).
#[repr(C)]
pub struct Objects {
    current: Option<TaskId>,
    /// No task's deadline is earlier than this.
    earliest_deadline: u64,
    /// When the current task must let an equal run; `NO_DEADLINE` while it has none ready.
    slice_end: u64,
    account: Account,
    buffers: &'static mut [[u8; IPC_BUFFER_BYTES]],
    ready: ReadyQueues,
    endpoints: [Endpoint; ENDPOINTS_MAX],
    /// Tasks that hold a call capability to each endpoint, a bit each.
    holders: [u64; ENDPOINTS_MAX],
    tasks: [Task; TASKS_MAX],
    lives: [Life; TASKS_MAX],
}

/// What outlives a generation of a task and nobody needs for a message: apart from [`Task`], whose size is chosen so that
/// a task is found in two instructions.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// How often it was restarted.
    restarts: u32,
    /// How many calls it had made when it last stopped: who answers one of these is told of a dead peer.
    calls_of_the_dead: u64,
}

impl Objects {
    /// No tasks.
    pub const fn new() -> Self {
        Self {
            tasks: [const { Task::empty() }; TASKS_MAX],
            lives: [Life { restarts: 0, calls_of_the_dead: 0 }; TASKS_MAX],
            endpoints: [Endpoint { server: None, callers: Queue { ends: None } }; ENDPOINTS_MAX],
            holders: [0; ENDPOINTS_MAX],
            ready: ReadyQueues::new(),
            current: None,
            earliest_deadline: NO_DEADLINE,
            slice_end: NO_DEADLINE,
            account: Account::new(),
            buffers: &mut [],
        }
    }

    /// Gives the kernel's mapping of the tasks' IPC buffers, one a task.
    pub fn set_buffers(&mut self, buffers: &'static mut [[u8; IPC_BUFFER_BYTES]]) {
        self.buffers = buffers;
    }

    /// Puts a task into the table and makes it ready.
    pub fn add(&mut self, id: TaskId, task: Task) {
        let allowance = Allowance::full();
        *self.task_mut(id) = Task { state: State::Ready, deadline: NO_DEADLINE, log_allowance: allowance, ..task };
        self.make_ready(id);
    }

    /// The task that runs, if any.
    pub fn current(&self) -> Option<TaskId> {
        self.current
    }

    /// A task.
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.index()]
    }

    /// A task.
    pub fn task_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.tasks[id.index()]
    }

    /// A task's generation: 1, and one more with each restart.
    pub fn generation(&self, id: TaskId) -> u32 {
        self.lives[id.index()].restarts.saturating_add(1)
    }

    /// An endpoint.
    pub fn endpoint_mut(&mut self, id: EndpointId) -> &mut Endpoint {
        &mut self.endpoints[id.index()]
    }

    /// A task may call an endpoint: it is signalled when its server stops.
    pub fn add_holder(&mut self, id: EndpointId, holder: TaskId) {
        self.holders[id.index()] |= 1 << holder.index();
    }

    /// The task that receives on an endpoint.
    pub fn server(&self, id: EndpointId) -> Option<TaskId> {
        self.endpoints[id.index()].server
    }

    /// Every task that the charter has, stopped ones too.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        (0..TASKS_MAX)
            .filter_map(TaskId::new)
            .map(|id| (id, self.task(id)))
            .filter(|(_, task)| task.state != State::Empty)
    }

    /// A task's IPC buffer.
    pub fn buffer(&mut self, id: TaskId) -> &mut [u8; IPC_BUFFER_BYTES] {
        &mut self.buffers[id.index()]
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self::new()
    }
}
