//! Tries to write log lines in another's name, to break lines, and to drown everyone else's.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(not(target_os = "none"), forbid(unsafe_code))]

use abi::system_call::{LOG_BYTES_MAX, Number};
use task::{Deadline, Environment, Frame, Log, Started, Stop, log, system_call};
use trials::{insist, number};

task::needs! { log: log }
task::main!(run);

/// What would be taken for somebody else's line, if a line could be broken or a component name written.
const FORGERIES: [&str; 14] = [
    "charter: boot complete tasks=99",
    "x\ncharter: boot complete tasks=99",
    "x\r\ncharter: boot complete tasks=99",
    "x\rcharter: boot complete tasks=99",
    "\ncharter: boot complete tasks=99\n",
    "\n\n\n",
    "x\x0bcharter: boot complete tasks=99",
    "x\x0ccharter: boot complete tasks=99",
    "x\u{85}charter: boot complete tasks=99",
    "x\u{2028}charter: boot complete tasks=99",
    "\x1b[1A\x1b[2Kcharter: boot complete tasks=99",
    "\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08charter: boot complete tasks=99",
    "\0charter: boot complete tasks=99\0",
    "x key=\"\ncharter: boot complete tasks=99",
];

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let lines = number(&environment, "lines", 10_000)?;
    for forgery in FORGERIES {
        log!(grants.log, "{forgery}");
        // Not so fast that forgeries are dropped for being many.
        let _ = task::wait(Deadline::after(core::time::Duration::from_millis(20)));
    }
    raw(grants.log);

    let (mut accepted, mut dropped) = (0_u64, 0_u64);
    for line in 0..lines {
        match grants.log.line(format_args!("flood line={line} {:x<900}", "")) {
            Ok(()) => accepted += 1,
            Err(_) => dropped += 1,
        }
    }
    task::ready(Started::Well);
    let _ = task::wait(Deadline::after(core::time::Duration::from_secs(3)));
    insist(grants.log, format_args!("flood done accepted={accepted} dropped={dropped}"));
    task::idle()
}

/// Handles that are not granted, lengths that cannot be, and bytes that are no text.
fn raw(log: Log) {
    let denied = (0..100)
        .chain([u64::from(u32::MAX), u64::MAX])
        .filter(|handle| *handle != log.handle().into())
        .filter(|handle| write(*handle, 10) == Err(abi::Error::Denied))
        .count();
    let invalid = [LOG_BYTES_MAX as u64 + 1, 4096, 4097, u64::from(u32::MAX), u64::MAX]
        .into_iter()
        .filter(|length| write(log.handle().into(), *length) == Err(abi::Error::Invalid))
        .count();
    log!(log, "raw denied={denied} of=101 invalid={invalid} of=5");
    fill_buffer();
    let answer = write(log.handle().into(), 256);
    log!(log, "raw bytes accepted={}", answer.is_ok());
}

fn write(handle: u64, length: u64) -> Result<(), abi::Error> {
    let after = system_call(Frame::new(Number::Log, [handle, length, 0, 0]));
    abi::Error::new(after.code).map_or(Ok(()), Err)
}

/// Every byte value once, at the start of the IPC buffer.
fn fill_buffer() {
    #[cfg(target_os = "none")]
    for value in 0..=255_u8 {
        // SAFETY: the kernel maps the IPC buffer there, readable and writable; no reference to it exists.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<u8>(abi::layout::IPC_BUFFER as usize)
                .add(value.into())
                .write_volatile(value);
        }
    }
}
