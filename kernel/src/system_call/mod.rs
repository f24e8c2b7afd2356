//! What each system call does: from the caller's registers to its result registers.
//!
//! See [`abi::system_call`] for the calls. Every argument is a number that a task chose: handles are looked up, lengths
//! compared, and no address is ever taken.

mod console;
mod device;
mod inspect;
mod log;
mod power;
mod supervise;

pub use device::{complete as device_complete, submit as device_submit};
pub(crate) use power::end as end_machine;

use abi::Error;
use abi::crash::Cause;
use abi::package::Capability;
use abi::system_call::{MESSAGE_WORDS, NO_HANDLE, Number};

use crate::crash;
use crate::log as write_log;
use crate::log::refusals::{Kind, Name};
use crate::objects::direct::HandOver;
use crate::objects::task::Started;
use crate::objects::{EndpointId, TaskId};
use crate::state::Kernel;
use crate::supervision::Death;

/// Results in `rdi`, `rsi`, `rdx`.
pub type Results = [u64; 3];
/// Arguments in `rdi`, `rsi`, `rdx`, `r15`.
type Arguments = [u64; 4];

/// The answer to a call that changes nothing, so that its task goes on: status and results. `None` for the others.
#[inline(always)]
pub fn at_once(kernel: &Kernel, number: u64) -> Option<(u64, Results)> {
    if number == Number::Null as u64 {
        return Some((0, [0; 3]));
    }
    (number == Number::Clock as u64).then(|| (0, [kernel.now(), kernel.halted, 0]))
}

/// Gives the current task's signal to a task that runs at once, if it is of that kind; else it is for [`handle`].
#[inline(always)]
pub fn signal_directly(kernel: &mut Kernel, handle: u64) -> Option<HandOver> {
    let over = kernel.objects.signal_directly(handle)?;
    finish(kernel, over.from, Ok([0; 3]));
    Some(over)
}

/// Does what the current task asks for. Its result registers are set unless it waits now.
#[inline(always)]
pub fn handle(kernel: &mut Kernel) {
    let Some(current) = kernel.objects.current() else { return };
    let registers = &kernel.objects.task(current).registers;
    let (number, handle, bytes, deadline) = (registers.rax, registers.rdi, registers.rsi, registers.rdx);
    match Number::new(number) {
        Some(Number::Call) => call(kernel, current, handle, bytes, deadline),
        Some(Number::ReplyReceive) => reply_receive(kernel, current, handle, bytes, deadline),
        Some(other) => rest(kernel, current, other),
        None => refuse(kernel, current, Error::Invalid),
    }
}

/// Answers the current task's call with an error, and counts it for the log. Its registers are still those of the call.
#[cold]
fn refuse(kernel: &mut Kernel, current: TaskId, error: Error) {
    let number = kernel.objects.task(current).registers.rax;
    count_refusal(kernel, current, Kind::Call(number, error), |task, times| {
        let call = Name(number);
        write_log::task_line("kernel", format_args!("call refused task={task} call={call} error={error} times={times}"))
    });
    finish(kernel, current, Err(error));
}

/// Counts what a task was refused; `tell` writes the line, if it is time for one.
#[cold]
fn count_refusal(kernel: &mut Kernel, current: TaskId, kind: Kind, tell: impl FnOnce(&str, u32) -> bool) {
    let name = &kernel.objects.task(current).name;
    let mut told = false;
    kernel.refusals.count(current.index(), kind, |times| {
        told = true;
        tell(name, times)
    });
    if told {
        let now = kernel.now();
        kernel.drain_log_soon(now);
    }
}

/// Sets the result registers of a call without a message.
#[inline]
fn finish(kernel: &mut Kernel, current: TaskId, result: Result<Results, Error>) {
    let registers = &mut kernel.objects.task_mut(current).registers;
    match result {
        Ok([rdi, rsi, rdx]) => registers.set_results(0, rdi, rsi, rdx),
        Err(error) => registers.set_results(error as u64, 0, 0, 0),
    }
    registers.set_words([0; MESSAGE_WORDS]);
}

#[inline]
fn call(kernel: &mut Kernel, current: TaskId, handle: u64, bytes: u64, deadline: u64) {
    let result = match kernel.objects.task(current).capability(handle) {
        Ok(Capability::Call { endpoint, badge }) => match EndpointId::new(endpoint.into()) {
            Some(endpoint) => kernel.objects.call(endpoint, badge, bytes, deadline),
            None => Err(Error::Denied),
        },
        _ => Err(Error::Denied),
    };
    if let Err(error) = result {
        refuse(kernel, current, error);
    }
}

#[inline]
fn reply_receive(kernel: &mut Kernel, current: TaskId, reply: u64, bytes: u64, deadline: u64) {
    let receive = kernel.objects.task(current).registers.r15;
    let endpoint = match endpoint_of(kernel, current, receive) {
        Ok(endpoint) => endpoint,
        Err(error) => return refuse(kernel, current, error),
    };
    if reply == NO_HANDLE {
        return kernel.objects.receive(endpoint, deadline);
    }
    if let Err(error) = kernel.objects.reply_receive(reply, bytes, endpoint, deadline) {
        refuse(kernel, current, error);
    }
}

/// The endpoint to wait on: none without a handle.
#[inline]
fn endpoint_of(kernel: &Kernel, current: TaskId, receive: u64) -> Result<Option<EndpointId>, Error> {
    match receive {
        NO_HANDLE => Ok(None),
        handle => match kernel.objects.task(current).capability(handle) {
            Ok(Capability::Receive { endpoint }) => Ok(EndpointId::new(endpoint.into())),
            _ => Err(Error::Denied),
        },
    }
}

fn signal_receive(kernel: &mut Kernel, current: TaskId, [signal, bytes, deadline, receive]: Arguments) {
    let told = kernel.objects.task(current).capability(signal).and_then(|capability| {
        let Capability::Signal { task, bits } = capability else { return Err(Error::Denied) };
        let target = TaskId::new(task.into()).ok_or(Error::Denied)?;
        let endpoint = endpoint_of(kernel, current, receive)?;
        kernel.objects.signal_receive(target, bits, bytes, endpoint, deadline)
    });
    waits_or_not(kernel, current, told);
}

fn post_receive(kernel: &mut Kernel, current: TaskId, [call, bytes, deadline, receive]: Arguments) {
    let given = kernel.objects.task(current).capability(call).and_then(|capability| {
        let Capability::Call { endpoint, badge } = capability else { return Err(Error::Denied) };
        let endpoint = EndpointId::new(endpoint.into()).ok_or(Error::Denied)?;
        let own = endpoint_of(kernel, current, receive)?;
        kernel.objects.post_receive(endpoint, badge, bytes, own, deadline)
    });
    waits_or_not(kernel, current, given);
}

/// The current task waits now, having given something to another one, unless that was an error.
fn waits_or_not(kernel: &mut Kernel, current: TaskId, given: Result<(), Error>) {
    match given {
        Ok(()) => {}
        // No mistake of the caller: the other task does something else just now.
        Err(Error::Busy) => finish(kernel, current, Err(Error::Busy)),
        Err(error) => refuse(kernel, current, error),
    }
}

/// The calls that are not on the way of every message. Apart from them, because they need room on the stack.
#[inline(never)]
fn rest(kernel: &mut Kernel, current: TaskId, number: Number) {
    let registers = &kernel.objects.task(current).registers;
    let arguments @ [first, second, ..] = [registers.rdi, registers.rsi, registers.rdx, registers.r15];
    match number {
        Number::Exit => return exit(kernel, current, first, second),
        Number::Yield => {
            finish(kernel, current, Ok([0; 3]));
            return kernel.objects.yield_current();
        }
        Number::DeviceInformation => return device::information(kernel, current, first),
        Number::DeviceDirect => return device::direct(kernel, current, first),
        Number::DeviceRead => return device::read(kernel, current, arguments),
        Number::DeviceWrite => return device::write(kernel, current, arguments),
        // On the machine the entry code answers these.
        #[cfg(not(target_os = "none"))]
        Number::DeviceSubmit | Number::DeviceComplete => {
            let [handle, queue, count, _] = arguments;
            let (status, [first, second, third]) = match number {
                Number::DeviceSubmit => device_submit(kernel, handle, queue, count),
                _ => device_complete(kernel, handle, queue),
            };
            let registers = &mut kernel.objects.task_mut(current).registers;
            registers.set_results(status, first, second, third);
            return registers.set_words([0; MESSAGE_WORDS]);
        }
        Number::DeviceCollect => return device::collect(kernel, current, arguments),
        Number::ConsoleRead => return console::read(kernel, current, first),
        Number::SignalReceive => return signal_receive(kernel, current, arguments),
        Number::PostReceive => return post_receive(kernel, current, arguments),
        _ => {}
    }
    let result = match number {
        Number::Null => Ok([0; 3]),
        Number::Clock => Ok([kernel.now(), kernel.halted, 0]),
        Number::Signal => signal(kernel, current, first),
        Number::Reply => kernel.objects.reply(first, second).map(|()| [0; 3]),
        Number::Log => log::write(kernel, current, first, second),
        Number::Ready => ready(kernel, current, first),
        Number::ConsoleWrite => console::write(kernel, current, first, second),
        Number::Inspect => inspect::inspect(kernel, current, first, second),
        Number::Power => power::power(kernel, current, first, second),
        Number::Supervise => return supervise::supervise(kernel, current, first, second),
        Number::Kill => return supervise::kill(kernel, current, first, second),
        Number::Alive => Ok([kernel.alive(current), 0, 0]),
        _ => Err(Error::Invalid),
    };
    match result {
        Ok(results) => finish(kernel, current, Ok(results)),
        Err(error) => refuse(kernel, current, error),
    }
}

fn signal(kernel: &mut Kernel, current: TaskId, handle: u64) -> Result<Results, Error> {
    match kernel.objects.task(current).capability(handle)? {
        Capability::Signal { task, bits } => {
            let target = TaskId::new(task.into()).ok_or(Error::Denied)?;
            kernel.objects.signal(target, bits);
            Ok([0; 3])
        }
        _ => Err(Error::Denied),
    }
}

fn ready(kernel: &mut Kernel, current: TaskId, failed: u64) -> Result<Results, Error> {
    let task = kernel.objects.task_mut(current);
    if failed > 1 {
        return Err(Error::Invalid);
    }
    if task.started == Started::Unknown {
        task.started = if failed == 0 { Started::Ready } else { Started::Failed };
        kernel.tell_boot();
    }
    Ok([0; 3])
}

fn exit(kernel: &mut Kernel, current: TaskId, code: u64, bytes: u64) {
    let reason = log::Text::copy(&kernel.objects.buffer(current)[..], bytes).without_quotes();
    crash::report(kernel, current, Cause::Exit { code, reason: crash::reason(reason) });
    kernel.stop(current, Death::Exit);
}

#[cfg(test)]
mod direct_tests;
#[cfg(test)]
mod tests;
