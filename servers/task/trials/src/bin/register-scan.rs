//! Reads every register of a device through its broker, and says what came out. It takes the place of `nvme` in a
//! charter.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use abi::system_call::Number;
use task::{Deadline, Environment, Frame, Instant, Registers, Started, Stop, system_call};
use trials::{insist, number};

task::needs! {
    registers: registers,
    log: log,
    optional requests: receive,
    optional client: signal,
    optional completion: interrupt,
    optional admin: interrupt,
    optional data: dma,
}
task::main!(run);

/// Controller configuration and status (NVMe base 2.0, 3.1.4): where the device is switched on, if that is asked for.
const CONFIGURATION: u32 = 0x14;
const STATUS: u32 = 0x1c;
/// CC.EN with 64-byte submission and 16-byte completion entries.
const ENABLE: u32 = 0x0046_0001;
/// How long switching on may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often each answer came.
#[derive(Default)]
struct Tally {
    allowed: u32,
    denied: u32,
    invalid: u32,
    other: u32,
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let end = number(&environment, "bytes", 0x4000)?;
    until_quiet(grants.registers)?;
    scan(&grants, "off", end);
    if environment.setting("enable") == Some("true") {
        enable(grants.registers)?;
        scan(&grants, "on", end);
    }
    task::ready(Started::Well);
    task::idle()
}

fn scan(grants: &Grants, state: &str, end: u64) {
    let mut tally = Tally::default();
    // Every offset, also where no register begins, and places where a sum or a conversion could go wrong.
    let beyond = [
        u64::from(u32::MAX) - 7,
        u64::from(u32::MAX) - 3,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 32) + 0x1c,
        1 << 63,
        u64::MAX - 7,
        u64::MAX,
    ];
    for offset in (0..end).chain(beyond) {
        for bytes in [0, 1, 2, 4, 8, 16, u64::MAX] {
            // Odd places and widths only near the start: they are all refused alike.
            if (!offset.is_multiple_of(4) || !matches!(bytes, 4 | 8)) && offset > 0x80 && offset < end {
                continue;
            }
            match read(grants, offset, bytes) {
                Ok(value) => {
                    tally.allowed += 1;
                    insist(
                        grants.log,
                        format_args!("register state={state} offset={offset:#x} bytes={bytes} value={value:#x}"),
                    );
                }
                Err(abi::Error::Denied) => tally.denied += 1,
                Err(abi::Error::Invalid) => tally.invalid += 1,
                Err(_) => tally.other += 1,
            }
        }
    }
    let Tally { allowed, denied, invalid, other } = tally;
    insist(
        grants.log,
        format_args!("scan done state={state} allowed={allowed} denied={denied} invalid={invalid} other={other}"),
    );
}

/// As [`Registers`] does, but with any offset and width.
fn read(grants: &Grants, offset: u64, bytes: u64) -> Result<u64, abi::Error> {
    let arguments = [grants.registers.handle().into(), offset, bytes, 0];
    let after = system_call(Frame::new(Number::DeviceRead, arguments));
    abi::Error::new(after.code).map_or(Ok(after.arguments[0]), Err)
}

/// Waits until the kernel has stopped what firmware left running: until then every read is answered with busy.
fn until_quiet(registers: Registers) -> Result<(), Stop> {
    let start = Instant::now();
    while let Err(error) = registers.read_u32(STATUS) {
        if error != abi::Error::Busy || Instant::now().since(start) > PATIENCE {
            return Err(error.into());
        }
        // A pause ends by timing out.
        let _ = task::wait(Deadline::after(Duration::from_millis(5)));
    }
    Ok(())
}

/// Switches the device on, as a driver does.
fn enable(registers: Registers) -> Result<(), Stop> {
    let start = Instant::now();
    let late = || Instant::now().since(start) > PATIENCE;
    let pause = || task::wait(Deadline::after(Duration::from_millis(5)));
    while let Err(error) = registers.write_u32(CONFIGURATION, ENABLE) {
        if error != abi::Error::Busy || late() {
            return Err(error.into());
        }
        // A pause ends by timing out.
        let _ = pause();
    }
    while registers.read_u32(STATUS)? & 1 == 0 {
        if late() {
            return Err(Stop::new(format_args!("the device does not become ready")));
        }
        let _ = pause();
    }
    Ok(())
}
