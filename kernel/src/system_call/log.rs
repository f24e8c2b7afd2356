//! Writing to the log, and text that a task left in its IPC buffer.

use core::fmt;

use abi::Error;
use abi::package::Capability;
use abi::system_call::LOG_BYTES_MAX;

use super::Results;
use crate::log::{self as kernel_log, Verdict};
use crate::objects::TaskId;
use crate::state::Kernel;

/// A copy of a task's text. What is not UTF-8 shows as `?`; the log takes out control characters.
pub(super) struct Text {
    bytes: [u8; LOG_BYTES_MAX],
    length: usize,
}

impl Text {
    /// Copies the first `length` bytes of a buffer, at most [`LOG_BYTES_MAX`].
    pub(super) fn copy(buffer: &[u8], length: u64) -> Self {
        let length = usize::try_from(length).unwrap_or(LOG_BYTES_MAX).min(LOG_BYTES_MAX).min(buffer.len());
        let mut bytes = [0; LOG_BYTES_MAX];
        bytes[..length].copy_from_slice(&buffer[..length]);
        Self { bytes, length }
    }

    /// With `"` replaced, so that it can stand between quotes in a kernel line.
    pub(super) fn without_quotes(mut self) -> Self {
        self.bytes[..self.length].iter_mut().filter(|byte| **byte == b'"').for_each(|byte| *byte = b'\'');
        self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes[..self.length].utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("?")?;
            }
        }
        Ok(())
    }
}

/// One line under one of the task's component names.
pub(super) fn write(kernel: &mut Kernel, current: TaskId, handle: u64, bytes: u64) -> Result<Results, Error> {
    let Capability::Log { name } = kernel.objects.task(current).capability(handle)? else {
        return Err(Error::Denied);
    };
    if bytes > LOG_BYTES_MAX as u64 {
        return Err(Error::Invalid);
    }
    let now = kernel.now();
    let dropped = match kernel.objects.task_mut(current).log_allowance.take(now) {
        Verdict::Write { dropped } => dropped,
        Verdict::Drop => return Err(Error::Busy),
    };
    let text = Text::copy(&kernel.objects.buffer(current)[..], bytes);
    let task = kernel.objects.task(current);
    if dropped > 0 {
        crate::log!("kernel", "log limited task={} dropped_lines={dropped}", task.name);
    }
    let component = task.log_names.get(usize::from(name)).ok_or(Error::Denied)?;
    let written = kernel_log::task_line(component, format_args!("{text}"));
    kernel.drain_log_soon(now);
    if written { Ok([0; 3]) } else { Err(Error::Busy) }
}
