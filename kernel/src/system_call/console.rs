//! The console: what was typed, and text for the serial port.

use abi::Error;
use abi::package::Capability;
use abi::system_call::{CONSOLE_BYTES_MAX, ConsoleState, MESSAGE_WORDS};

use super::{Results, finish};
use crate::log;
use crate::objects::TaskId;
use crate::state::Kernel;

fn check(kernel: &Kernel, current: TaskId, handle: u64) -> Result<(), Error> {
    match kernel.objects.task(current).capability(handle)? {
        Capability::Console { .. } => Ok(()),
        _ => Err(Error::Denied),
    }
}

pub(super) fn read(kernel: &mut Kernel, current: TaskId, handle: u64) {
    if let Err(error) = check(kernel, current, handle) {
        return super::refuse(kernel, current, error);
    }
    kernel.input.is_told = false;
    let state = ConsoleState {
        present: kernel.machine.as_ref().is_some_and(|machine| machine.serial.is_present()),
        boot_told: kernel.boot_told,
        interrupted: log::console_interrupted(true),
    };
    let taken = kernel.input.take();
    let mut words = [0; MESSAGE_WORDS];
    for (word, bytes) in words.iter_mut().zip(taken.bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    finish(kernel, current, Ok([state.to_word(), taken.count as u64, taken.lost]));
    kernel.objects.task_mut(current).registers.set_words(words);
}

pub(super) fn write(kernel: &mut Kernel, current: TaskId, handle: u64, bytes: u64) -> Result<Results, Error> {
    check(kernel, current, handle)?;
    let length = usize::try_from(bytes).ok().filter(|bytes| *bytes <= CONSOLE_BYTES_MAX).ok_or(Error::Invalid)?;
    let written = log::console_text(&kernel.objects.buffer(current)[..length]);
    let now = kernel.now();
    kernel.drain_log_soon(now);
    if written { Ok([0; 3]) } else { Err(Error::Busy) }
}
