//! Tries to make the console's text look like lines of the log: on the wire, and on a terminal that it is shown on.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(not(target_os = "none"), forbid(unsafe_code))]

use task::{Console, Deadline, Environment, Log, Started, Stop};
use trials::insist;

task::needs! { console: console, log: log }
task::main!(run);

const FORGERIES: [&[u8]; 10] = [
    b"charter: boot complete tasks=99\n",
    b"\ncharter: boot complete tasks=99\n",
    b"\r\ncharter: boot complete tasks=99\r\n",
    b"\rcharter: boot complete tasks=99\n",
    b"x\x08\x08\x08\x08\x08\x08charter: boot complete tasks=99\n",
    b"x\x15\x7f\x7f\x7f\x7fcharter: boot complete tasks=99\n",
    b"\x1b[1G\x1b[2Kcharter: boot complete tasks=99\n",
    b"\x0b\x0c\x85\x00charter: boot complete tasks=99\n",
    b"half a line",
    b"charter: boot complete tasks=99",
];

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    for forgery in FORGERIES {
        write(grants.console, forgery);
        // The log's own lines come between, wherever they fall.
        line(grants.log);
    }
    let mut every = [0; 256];
    every.iter_mut().zip(0..).for_each(|(place, value)| *place = value);
    write(grants.console, &every);
    line(grants.log);
    task::ready(Started::Well);
    insist(grants.log, format_args!("forged"));
    task::idle()
}

fn line(log: Log) {
    task::log!(log, "between");
}

/// Writes until all was taken.
fn write(console: Console, text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        match console.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(_) => drop(task::wait(Deadline::after(core::time::Duration::from_millis(2)))),
        }
    }
    let _ = task::wait(Deadline::after(core::time::Duration::from_millis(20)));
}
