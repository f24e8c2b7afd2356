//! The device calls: the holder of a device's registers asks, the broker decides.

use abi::Error;
use abi::layout::IPC_BUFFER_BYTES;
use abi::package::Capability;
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use checks::{Check, holds};

use super::{Arguments, Results, finish};
use crate::devices::Refusal;
use crate::log;
use crate::log::refusals::Kind;
use crate::objects::TaskId;
use crate::state::Kernel;

/// The device behind a registers handle.
fn owned(kernel: &Kernel, current: TaskId, handle: u64) -> Result<usize, Error> {
    match kernel.objects.task(current).capability(handle)? {
        Capability::Registers { device } => Ok(device.into()),
        _ if holds(Check::HandleKind, false) => Ok(0),
        _ => Err(Error::Denied),
    }
}

/// Why a device call was not done.
enum Fault {
    /// The call makes no sense, or its handle none.
    Call(Error),
    /// The broker of this device, or its state, says no.
    Device(usize, Refusal),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

/// Answers a device call.
fn answer(kernel: &mut Kernel, current: TaskId, result: Result<Results, Fault>) {
    match result {
        Ok(results) => finish(kernel, current, Ok(results)),
        Err(Fault::Call(error)) => super::refuse(kernel, current, error),
        Err(Fault::Device(device, refusal)) => {
            tell(kernel, current, device, refusal);
            finish(kernel, current, Err(refusal.error));
        }
    }
}

/// Counts what a broker refused, for the log.
#[cold]
#[inline(never)]
fn tell(kernel: &mut Kernel, current: TaskId, device: usize, refusal: Refusal) {
    let mut name = heapless::String::<{ abi::package::NAME_BYTES_MAX }>::new();
    // It is as long as a name of the charter.
    let _ = name.push_str(kernel.devices.name(device));
    let Refusal { error, because } = refusal;
    super::count_refusal(kernel, current, Kind::Device(refusal), |task, times| {
        log::task_line(
            "dma",
            format_args!("command refused task={task} device={name} error={error} because=\"{because}\" times={times}"),
        )
    });
}

pub(super) fn information(kernel: &mut Kernel, current: TaskId, handle: u64) {
    let device = match kernel.objects.task(current).capability(handle) {
        Ok(Capability::Registers { device } | Capability::DeviceInformation { device }) => device,
        _ => return super::refuse(kernel, current, Error::Denied),
    };
    let words = kernel.devices.information(device.into()).to_words();
    finish(kernel, current, Ok([0; 3]));
    kernel.objects.task_mut(current).registers.set_words(words);
}

pub(super) fn direct(kernel: &mut Kernel, current: TaskId, handle: u64) {
    let told = owned(kernel, current, handle).and_then(|device| Ok((device, kernel.devices.direct(device)?)));
    match told {
        Ok((device, information)) => {
            finish(kernel, current, Ok([abi::direct::part(device as u16), 0, 0]));
            kernel.objects.task_mut(current).registers.set_words(information.to_words());
        }
        // To ask is no offence: a driver finds out which lane it has.
        Err(error @ (Error::Busy | Error::Invalid)) => finish(kernel, current, Err(error)),
        Err(error) => super::refuse(kernel, current, error),
    }
}

pub(super) fn read(kernel: &mut Kernel, current: TaskId, [handle, offset, bytes, _]: Arguments) {
    let result = owned(kernel, current, handle).map_err(Fault::from).and_then(|device| {
        let value = kernel.devices.read(device, offset, bytes);
        value.map(|value| [value, 0, 0]).map_err(|refusal| Fault::Device(device, refusal))
    });
    answer(kernel, current, result);
}

pub(super) fn write(kernel: &mut Kernel, current: TaskId, [handle, offset, bytes, value]: Arguments) {
    let result = owned(kernel, current, handle).map_err(Fault::from).and_then(|device| {
        let done = kernel.devices.write(device, offset, bytes, value);
        done.map(|()| [0; 3]).map_err(|refusal| Fault::Device(device, refusal))
    });
    answer(kernel, current, result);
}

// The two calls by which commands move end at once, and nobody else is to run: the entry code asks for their status and
// results.

/// Submits commands. Results are set also when a command was refused: how many were accepted before it, and the reason's
/// code.
#[inline(always)]
pub fn submit(kernel: &mut Kernel, handle: u64, queue: u64, count: u64) -> (u64, Results) {
    let (current, device) = match of_current(kernel, handle) {
        Ok(found) => found,
        Err(status) => return (status, [0; 3]),
    };
    let buffer = kernel.objects.buffer(current);
    let (commands, _) = buffer.as_chunks::<DEVICE_COMMAND_BYTES>();
    let Some((commands, _)) = usize::try_from(count).ok().and_then(|count| commands.split_at_checked(count)) else {
        return (refused(kernel, current, Error::Invalid), [0; 3]);
    };
    // No device writes the IPC buffer and its only task waits in this call, so what is checked is what is sent.
    let submitted = kernel.devices.submit(device, queue, commands);
    let accepted = submitted.accepted as u64;
    match submitted.refused {
        None => (0, [accepted, 0, 0]),
        Some(refusal) => {
            tell(kernel, current, device, refusal);
            (refusal.error as u64, [accepted, refusal.because.code().into(), 0])
        }
    }
}

/// Takes completions.
#[inline(always)]
pub fn complete(kernel: &mut Kernel, handle: u64, queue: u64) -> (u64, Results) {
    let (current, device) = match of_current(kernel, handle) {
        Ok(found) => found,
        Err(status) => return (status, [0; 3]),
    };
    let buffer = kernel.objects.buffer(current);
    let (completions, _) = buffer.as_chunks_mut::<DEVICE_COMPLETION_BYTES>();
    match kernel.devices.complete(device, queue, completions) {
        Ok(count) => (0, [count as u64, 0, 0]),
        Err(refusal) => {
            tell(kernel, current, device, refusal);
            (refusal.error as u64, [0; 3])
        }
    }
}

/// The current task, and the device behind its registers handle; else the status of its call.
#[inline(always)]
fn of_current(kernel: &mut Kernel, handle: u64) -> Result<(TaskId, usize), u64> {
    let Some(current) = kernel.objects.current() else { return Err(Error::Denied as u64) };
    match owned(kernel, current, handle) {
        Ok(device) => Ok((current, device)),
        Err(error) => Err(refused(kernel, current, error)),
    }
}

/// The status of a call that makes no sense, or whose handle is none.
#[cold]
#[inline(never)]
fn refused(kernel: &mut Kernel, current: TaskId, error: Error) -> u64 {
    super::refuse(kernel, current, error);
    error as u64
}

pub(super) fn collect(kernel: &mut Kernel, current: TaskId, [handle, queue, identifier, _]: Arguments) {
    let result = owned(kernel, current, handle).map_err(Fault::from).and_then(|device| {
        let buffer: &mut [u8; IPC_BUFFER_BYTES] = kernel.objects.buffer(current);
        let bytes = kernel.devices.collect(device, queue, identifier, buffer);
        bytes.map(|bytes| [bytes as u64, 0, 0]).map_err(|refusal| Fault::Device(device, refusal))
    });
    answer(kernel, current, result);
}
