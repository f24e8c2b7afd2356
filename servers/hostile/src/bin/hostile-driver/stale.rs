//! What was from before a reset: queues, identifiers, data, and what the broker had learned.

use abi::system_call::Number;
use hostile::{Answer, pattern};
use nvme_spec::SubmissionEntry;
use nvme_spec::identify::Structure;
use task::Stop;

use super::device::{Device, SALT, SCRATCH};

pub fn attempts(device: &mut Device) -> Result<(), Stop> {
    // Data that is there to be collected, and a command in flight: the event request. None of the I/O queue: QEMU 7.2
    // frees queues at a reset from which its own threads go on fetching, and crashes now and then.
    device.identify_controller()?;
    device.disable()?;
    let complete = |queue| Answer::frame(&device.call(Number::DeviceComplete, [queue, 0, 0]));
    device.tell_all("complete-after-reset", [0, 1].map(complete));
    device.tell("collect-after-reset", Answer::frame(&device.call(Number::DeviceCollect, [0, 1, 0])));
    device.attempt("submit-after-reset", 1, device.read(1, 0, 1, 0));

    device.enable()?;
    device.attempt("old-queue", 1, device.read(1, 0, 1, 0));
    device.tell("complete-old-queue", Answer::frame(&device.call(Number::DeviceComplete, [1, 0, 0])));
    device.tell("old-data", Answer::frame(&device.call(Number::DeviceCollect, [0, 1, 0])));
    device.attempt("abort-old-command", 0, SubmissionEntry::abort(1, 0, 7));
    let grant = SubmissionEntry::create_completion_queue(1, 1, super::device::ENTRIES, device.means.vector);
    device.attempt("old-queue-count", 0, grant);
    device.ask_for_queues()?;
    device.create_queues()?;
    device.attempt("old-namespace", 1, device.read(1, 0, 1, 0));
    let old = device.take(0)? + device.take(1)?;
    device.tell("old-completions", Answer::word(if old == 0 { "none" } else { "some" }));
    let again = SubmissionEntry::identify(7, Structure::Controller, 0);
    device.tell("old-identifier", device.submit(0, again));
    device.ended(0, 7)?;

    // It was only a driver that was bad: with what it is granted it goes on.
    device.identify_namespace()?;
    device.must(0, SubmissionEntry::identify(1, Structure::ActiveNamespaces, 0))?;
    device.must(1, device.read(1, 0, 8, 0))?;
    device.tell("still-served", Answer::OK);
    let window = device.means.data.window;
    let wrong = pattern::wrong(&window, SALT, SCRATCH, window.bytes() - SCRATCH)?;
    device.tell("rest-of-region", Answer::word(if wrong == 0 { "untouched" } else { "changed" }));
    Ok(())
}
