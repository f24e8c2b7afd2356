//! What the kernel tells: tasks, devices, log; and the machine's end.

use core::fmt;
use core::time::Duration;

use task::abi::Error;
use task::abi::inspect::{ENTRY_BYTES_MAX, Function, Task, TaskState};
use task::{Call, Deadline, Inspect, Power, Window};

use crate::terminal::Terminal;
use crate::{Kills, disk, say};

/// Shows every task.
pub fn tasks(tasks: Inspect, terminal: &mut Terminal) {
    let mut room = [0; ENTRY_BYTES_MAX];
    say!(
        terminal,
        "{:12} {:>8} {:22} {:8} {:>10} {:>8} {:>15} {:>9} {:>8}",
        "task",
        "priority",
        "state",
        "started",
        "generation",
        "restarts",
        "time",
        "calls",
        "memory"
    );
    for number in 0.. {
        let Some(task) = tasks.task(number, &mut room) else { break };
        let Task { name, state, priority, started, time, calls, generation, memory } = task;
        let started = started.map_or("no", |well| if well { "well" } else { "failed" });
        say!(
            terminal,
            "{name:12} {priority:>8} {:22} {started:8} {generation:>10} {:>8} {:>9}.{:03}ms {calls:>9} {:>5}KiB",
            State(state),
            generation.saturating_sub(1),
            time / 1_000_000,
            time / 1000 % 1000,
            memory / 1024
        );
    }
}

struct State<'a>(TaskState<'a>);

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, whom) = match self.0 {
            TaskState::Ready => ("ready", ""),
            TaskState::Calling(task) => ("calls ", task),
            TaskState::AwaitingReply(task) => ("answered by ", task),
            TaskState::Waiting => ("waits", ""),
            TaskState::Stopped => ("stopped", ""),
        };
        let padding = f.width().unwrap_or(0).saturating_sub(word.len() + whom.len());
        write!(f, "{word}{whom}{:padding$}", "")
    }
}

/// Stops the task of this name, if it may be.
pub fn kill(kills: &Kills, task: &str, terminal: &mut Terminal) {
    let Some(kill) = kills.iter().flatten().find(|kill| kill.name() == task) else {
        say!(terminal, "task `{task}` may not be stopped from here");
        return;
    };
    match kill.kill() {
        Ok(()) => say!(terminal, "task `{task}` is stopped"),
        Err(Error::DeadPeer) => say!(terminal, "task `{task}` has stopped already"),
        Err(error) => say!(terminal, "the kernel answers: {error}"),
    }
}

/// Shows every PCI function.
pub fn devices(devices: Inspect, terminal: &mut Terminal) {
    let mut room = [0; ENTRY_BYTES_MAX];
    for number in 0.. {
        let Some(function) = devices.function(number, &mut room) else { break };
        let Function { address, vendor, device, class: (class, subclass, interface), granted } = function;
        say!(
            terminal,
            "{address} vendor={vendor:#06x} device={device:#06x} class={class:#04x} subclass={subclass:#04x} \
             prog_if={interface:#04x} granted={}",
            granted.unwrap_or("no")
        );
    }
}

/// Bytes of the log that are looked at at a time.
const PART_BYTES: usize = 512;

/// Shows the last lines of the log.
pub fn log(log: Inspect, lines: u32, terminal: &mut Terminal) {
    let mut part = [0; PART_BYTES];
    // The first time through counts lines, the second shows them.
    let (mut total, mut end) = (0, 0);
    each_part(log, 0, u64::MAX, &mut part, |place, bytes| {
        total += bytes.iter().filter(|byte| **byte == b'\n').count();
        end = place + bytes.len() as u64;
    });
    let mut skip = total.saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
    each_part(log, 0, end, &mut part, |_, bytes| {
        for byte in bytes {
            if skip > 0 {
                skip -= usize::from(*byte == b'\n');
            } else {
                terminal.text(char::from(*byte).encode_utf8(&mut [0; 4]));
            }
        }
    });
}

fn each_part(log: Inspect, from: u64, to: u64, part: &mut [u8], mut each: impl FnMut(u64, &[u8])) {
    let mut place = from;
    while place < to {
        let (start, count) = log.log(place, part);
        let count = count.min(usize::try_from(to.saturating_sub(start)).unwrap_or(usize::MAX));
        if count == 0 {
            break;
        }
        each(start, &part[..count]);
        place = start + count as u64;
    }
}

/// How long the text that was written may take to the port before the machine ends.
const PAUSE: Duration = Duration::from_millis(50);

/// Flushes the disk, then ends the machine.
pub fn end(power: Power, disk: Option<(Call, Window)>, terminal: &mut Terminal) {
    match power.is_possible() {
        Ok(true) => {}
        Ok(false) => return say!(terminal, "this machine names no way to do it"),
        Err(error) => return say!(terminal, "the kernel answers: {error}"),
    }
    if let Some((call, _)) = disk
        && let Err(reason) = disk::shut_down(call)
    {
        say!(terminal, "the disk is not flushed: {reason}");
        return;
    }
    terminal.flush();
    // What stands here already comes out before the kernel's own last line.
    let _ = task::wait(Deadline::after(PAUSE));
    if let Err(error) = power.end_machine() {
        say!(terminal, "the kernel answers: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::everything;
    use crate::terminal::tests::written;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use task::Frame;
    use task::abi::inspect::encode;
    use task::abi::system_call::{Number, PciAddress};

    fn put(frame: &mut Frame, buffer: &mut [u8], place: u64, bytes: &[u8]) {
        buffer[..bytes.len()].copy_from_slice(bytes);
        frame.arguments = [place, bytes.len() as u64, 0, 0];
    }

    #[test]
    fn tasks_and_devices_are_shown_a_line_each() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!(frame.code, Number::Inspect as u64);
            let mut room = [0; ENTRY_BYTES_MAX];
            let task = Task {
                name: "block",
                state: TaskState::AwaitingReply("nvme"),
                priority: 20,
                started: Some(true),
                time: 12_345_678,
                calls: 9,
                generation: 3,
                memory: 65536,
            };
            let address = PciAddress { segment: 0, bus: 0, device: 1, function: 0 };
            let function = Function { address, vendor: 0x1b36, device: 0x10, class: (1, 8, 2), granted: Some("disk") };
            let length = match (frame.arguments[0], frame.arguments[1]) {
                (1, 0) => encode(&task, &mut room).unwrap(),
                (2, 0) => encode(&function, &mut room).unwrap(),
                _ => 0,
            };
            put(frame, buffer, 0, &room[..length]);
        };
        let text = written(kernel, |terminal| {
            tasks(everything().tasks.unwrap(), terminal);
            devices(everything().devices.unwrap(), terminal);
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let words: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(words, ["block", "20", "answered", "by", "nvme", "well", "3", "2", "12.345ms", "9", "64KiB"]);
        assert_eq!(lines[0].len(), lines[1].len());
        assert_eq!(
            lines[2],
            "0000:00:01.0 vendor=0x1b36 device=0x0010 class=0x01 subclass=0x08 prog_if=0x02 granted=disk"
        );
    }

    #[test]
    fn a_task_is_stopped_by_its_name_if_it_may_be() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0]), (Number::Kill as u64, 8));
            match frame.arguments[1] {
                0 => put(frame, buffer, 0, b"nvme"),
                _ => task::host::fail(frame, Error::DeadPeer),
            }
        };
        let text = written(kernel, |terminal| {
            kill(&everything().kills, "block", terminal);
            kill(&everything().kills, "nvme", terminal);
        });
        assert_eq!(text, "task `block` may not be stopped from here\ntask `nvme` has stopped already\n");
    }

    #[test]
    fn the_last_lines_of_the_log_are_shown() {
        const LOG: &str = "a: one\nb: two\nc: three\n";
        let shown = |lines| {
            let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
                // The first 100 bytes of the log are forgotten.
                let place = frame.arguments[1].max(100);
                let rest = &LOG.as_bytes()[(place as usize - 100).min(LOG.len())..];
                put(frame, buffer, place, &rest[..rest.len().min(5)]);
            };
            written(kernel, move |terminal| log(everything().history.unwrap(), lines, terminal))
        };
        assert_eq!(shown(2), "b: two\nc: three\n");
        assert_eq!(shown(99), LOG);
        assert_eq!(shown(0), String::new());
    }

    #[test]
    fn states_are_padded() {
        assert_eq!(std::format!("{:10}|", State(TaskState::Waiting)), "waits     |");
        assert_eq!(std::format!("{:3}|", State(TaskState::Calling("nvme"))), "calls nvme|");
        assert_eq!(State(TaskState::Ready).to_string(), "ready");
    }
}
