//! What the kernel tells of the system: one entry a call, so that each call is bounded.

use abi::Error;
use abi::inspect::{ENTRY_BYTES_MAX, Function, Task, TaskState, encode};
use abi::package::{Capability, InspectTopic};

use super::Results;
use crate::log;
use crate::objects::task::{Started, State};
use crate::objects::{Objects, TaskId};
use crate::platform;
use crate::state::Kernel;

pub(super) fn inspect(kernel: &mut Kernel, current: TaskId, handle: u64, number: u64) -> Result<Results, Error> {
    let Capability::Inspect { topic } = kernel.objects.task(current).capability(handle)? else {
        return Err(Error::Denied);
    };
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    let mut entry = [0; ENTRY_BYTES_MAX];
    let length = match topic {
        InspectTopic::Log => {
            let (place, count) = log::remembered(number, kernel.objects.buffer(current));
            return Ok([place, count as u64, 0]);
        }
        InspectTopic::Tasks => task(kernel, index, &mut entry),
        InspectTopic::Devices => function(kernel, index, &mut entry),
    };
    let length = length.unwrap_or(0);
    kernel.objects.buffer(current)[..length].copy_from_slice(&entry[..length]);
    Ok([0, length as u64, 0])
}

fn task(kernel: &mut Kernel, index: usize, to: &mut [u8; ENTRY_BYTES_MAX]) -> Option<usize> {
    kernel.objects.charge_current(platform::time_stamp());
    let objects = &kernel.objects;
    let (id, task) = objects.tasks().nth(index)?;
    let nanoseconds = |counts| kernel.machine.as_ref().map_or(0, |machine| machine.clock.nanoseconds(counts));
    let entry = Task {
        name: &task.name,
        state: state(objects, task.state),
        priority: task.priority,
        started: match task.started {
            Started::Unknown => None,
            Started::Ready => Some(true),
            Started::Failed => Some(false),
        },
        time: nanoseconds(task.time),
        calls: task.calls,
        generation: objects.generation(id),
        memory: task.memory,
    };
    encode(&entry, to)
}

fn state(objects: &Objects, state: State) -> TaskState<'_> {
    match state {
        State::Empty | State::Stopped => TaskState::Stopped,
        State::Ready => TaskState::Ready,
        State::Calling(endpoint) => {
            TaskState::Calling(objects.server(endpoint).map_or("?", |id| &objects.task(id).name))
        }
        State::AwaitingReply(server) => TaskState::AwaitingReply(&objects.task(server).name),
        State::Receiving(_) | State::Waiting => TaskState::Waiting,
    }
}

fn function(kernel: &Kernel, index: usize, to: &mut [u8; ENTRY_BYTES_MAX]) -> Option<usize> {
    let (found, granted) = kernel.devices.found(index)?;
    let identity = found.identity;
    let (vendor, device, class) = (identity.vendor, identity.device, identity.class);
    encode(&Function { address: found.address, vendor, device, class, granted }, to)
}
