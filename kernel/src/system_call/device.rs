//! The device calls: the holder of a device's registers asks, the broker decides.

use abi::Error;
use abi::layout::IPC_BUFFER_BYTES;
use abi::package::Capability;
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMMANDS_MAX, DEVICE_COMPLETION_BYTES};

use super::{Arguments, Results, finish};
use crate::devices::Refusal;
use crate::log::Verdict;
use crate::objects::TaskId;
use crate::state::Kernel;

/// The device behind a registers handle.
fn owned(kernel: &Kernel, current: TaskId, handle: u64) -> Result<usize, Error> {
    match kernel.objects.task(current).capability(handle)? {
        Capability::Registers { device } => Ok(device.into()),
        _ => Err(Error::Denied),
    }
}

/// Logs why a broker refused, within the task's allowance, and gives what the task is told.
fn refuse(kernel: &mut Kernel, current: TaskId, device: usize, refusal: &Refusal) -> Error {
    // Busy is no offence: the driver asks again.
    if refusal.error != Error::Busy {
        let now = kernel.now();
        let name = kernel.devices.name(device);
        let task = kernel.objects.task_mut(current);
        if let Verdict::Write { .. } = task.log_allowance.take(now) {
            crate::log!(
                "dma",
                "command refused task={} device={name} error={} because=\"{}\"",
                task.name,
                refusal.error,
                refusal.because
            );
        }
    }
    refusal.error
}

pub(super) fn information(kernel: &mut Kernel, current: TaskId, handle: u64) {
    let device = match kernel.objects.task(current).capability(handle) {
        Ok(Capability::Registers { device } | Capability::DeviceInformation { device }) => device,
        _ => return finish(kernel, current, Err(Error::Denied)),
    };
    let words = kernel.devices.information(device.into()).to_words();
    finish(kernel, current, Ok([0; 3]));
    kernel.objects.task_mut(current).registers.set_words(words);
}

pub(super) fn read(
    kernel: &mut Kernel,
    current: TaskId,
    [handle, offset, bytes, _]: Arguments,
) -> Result<Results, Error> {
    let device = owned(kernel, current, handle)?;
    match kernel.devices.read(device, offset, bytes) {
        Ok(value) => Ok([value, 0, 0]),
        Err(refusal) => Err(refuse(kernel, current, device, &refusal)),
    }
}

pub(super) fn write(
    kernel: &mut Kernel,
    current: TaskId,
    [handle, offset, bytes, value]: Arguments,
) -> Result<Results, Error> {
    let device = owned(kernel, current, handle)?;
    match kernel.devices.write(device, offset, bytes, value) {
        Ok(()) => Ok([0; 3]),
        Err(refusal) => Err(refuse(kernel, current, device, &refusal)),
    }
}

/// Results stay set when a command was refused: how many were accepted before it, and the reason's code.
pub(super) fn submit(kernel: &mut Kernel, current: TaskId, [handle, queue, count, _]: Arguments) {
    let device = match owned(kernel, current, handle) {
        Ok(device) => device,
        Err(error) => return finish(kernel, current, Err(error)),
    };
    if count > DEVICE_COMMANDS_MAX as u64 {
        return finish(kernel, current, Err(Error::Invalid));
    }
    let buffer = kernel.objects.buffer(current);
    let (commands, _) = buffer.as_chunks::<DEVICE_COMMAND_BYTES>();
    // No device writes the IPC buffer and its only task waits in this call, so what is checked is what is sent.
    let submitted = kernel.devices.submit(device, queue, &commands[..count as usize]);
    let accepted = submitted.accepted as u64;
    match submitted.refused {
        None => finish(kernel, current, Ok([accepted, 0, 0])),
        Some(refusal) => {
            let error = refuse(kernel, current, device, &refusal);
            finish(kernel, current, Err(error));
            let code = refusal.because.code();
            kernel.objects.task_mut(current).registers.set_results(error as u64, accepted, code.into(), 0);
        }
    }
}

pub(super) fn complete(kernel: &mut Kernel, current: TaskId, [handle, queue, ..]: Arguments) -> Result<Results, Error> {
    let device = owned(kernel, current, handle)?;
    let buffer = kernel.objects.buffer(current);
    let (completions, _) = buffer.as_chunks_mut::<DEVICE_COMPLETION_BYTES>();
    match kernel.devices.complete(device, queue, completions) {
        Ok(count) => Ok([count as u64, 0, 0]),
        Err(refusal) => Err(refuse(kernel, current, device, &refusal)),
    }
}

pub(super) fn collect(
    kernel: &mut Kernel,
    current: TaskId,
    [handle, queue, identifier, _]: Arguments,
) -> Result<Results, Error> {
    let device = owned(kernel, current, handle)?;
    let buffer: &mut [u8; IPC_BUFFER_BYTES] = kernel.objects.buffer(current);
    match kernel.devices.collect(device, queue, identifier, buffer) {
        Ok(bytes) => Ok([bytes as u64, 0, 0]),
        Err(refusal) => Err(refuse(kernel, current, device, &refusal)),
    }
}
