//! Watching over tasks, and stopping them.

use abi::Error;
use abi::crash::Cause;
use abi::package::Capability;
use abi::supervision::{Ending, Order};

use super::{finish, refuse};
use crate::objects::TaskId;
use crate::objects::task::State;
use crate::state::Kernel;
use crate::supervision::Death;

/// What became of the task is told after success, in the words; its name is in the buffer.
pub(super) fn supervise(kernel: &mut Kernel, current: TaskId, handle: u64, order: u64) {
    let watched = match kernel.objects.task(current).capability(handle) {
        Ok(Capability::Supervise { task, .. }) => TaskId::new(task.into()),
        _ => None,
    };
    let Some(watched) = watched else { return refuse(kernel, current, Error::Denied) };
    let order = Order::new(order);
    let outcome = order.ok_or(Error::Invalid).and_then(|order| kernel.supervise(watched, order));
    match outcome {
        Err(error) => refuse(kernel, current, error),
        Ok(progress) => {
            let words = kernel.supervised(watched).to_words();
            let bytes = match order {
                Some(Order::Record) => kernel.crashes.newest_of(watched, kernel.objects.buffer(current)) as u64,
                _ => put_name(kernel, current, watched),
            };
            finish(kernel, current, Ok([progress as u64, bytes, 0]));
            kernel.objects.task_mut(current).registers.set_words(words);
        }
    }
}

/// The current task stops another one, or itself.
pub(super) fn kill(kernel: &mut Kernel, current: TaskId, handle: u64, ending: u64) {
    let victim = match kernel.objects.task(current).capability(handle) {
        Ok(Capability::Kill { task }) => TaskId::new(task.into()),
        _ => None,
    };
    let Some(victim) = victim else { return refuse(kernel, current, Error::Denied) };
    #[cfg(feature = "test-faults")]
    if Ending::new(ending).is_none() {
        let registers = kernel.objects.task(current).registers;
        return match kernel.inject(victim, ending, registers.rdx, registers.r15) {
            Ok(results) => finish(kernel, current, Ok(results)),
            Err(error) => refuse(kernel, current, error),
        };
    }
    let Some(ending) = Ending::new(ending) else { return refuse(kernel, current, Error::Invalid) };
    let bytes = put_name(kernel, current, victim);
    if ending != Ending::Look && matches!(kernel.objects.task(victim).state, State::Empty | State::Stopped) {
        return refuse(kernel, current, Error::DeadPeer);
    }
    finish(kernel, current, Ok([0, bytes, 0]));
    match ending {
        Ending::Look => {}
        Ending::Kill => {
            kernel.tell_stopped(victim, |by| Cause::Killed { by });
            kernel.stop(victim, Death::Kill);
        }
        Ending::Report => {
            kernel.tell_stopped(victim, |by| Cause::Reported { by });
            kernel.stop(victim, Death::Fault);
        }
    }
}

/// Puts a task's name at the start of another one's IPC buffer; returns its length.
fn put_name(kernel: &mut Kernel, reader: TaskId, of: TaskId) -> u64 {
    let name = kernel.objects.task(of).name.clone();
    kernel.objects.buffer(reader)[..name.len()].copy_from_slice(name.as_bytes());
    name.len() as u64
}
