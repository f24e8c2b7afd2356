//! Queues that are not this driver's, of other sizes, created twice, with a foreign vector, or deleted while in use.

use abi::system_call::{DEVICE_COMMANDS_MAX, Number};
use hostile::Answer;
use nvme_spec::SubmissionEntry;
use nvme_spec::admin::{QUEUE_CONTIGUOUS, QUEUE_INTERRUPTS, QueueCounts};
use task::Stop;

use super::device::{Device, ENTRIES};

/// An address that would do harm.
const HARM: u64 = 0xfee0_0000;

/// Creates the first pair of I/O queues, and tries what else one might create.
pub fn attempts(device: &mut Device) -> Result<(), Stop> {
    let vector = device.means.vector;
    let completion = |queue, entries, vector| SubmissionEntry::create_completion_queue(1, queue, entries, vector);
    let submission =
        |queue, entries, completion| SubmissionEntry::create_submission_queue(1, queue, entries, completion);
    let both = |queue, entries| [completion(queue, entries, vector), submission(queue, entries, queue)];

    device.attempt_each("create-before-granted", 0, both(1, ENTRIES));
    device.ask_for_queues()?;
    device.attempt_each("create-admin-queue", 0, both(0, ENTRIES));
    device.attempt_each("create-foreign-queue", 0, [3, 64, 0xffff].into_iter().flat_map(|queue| both(queue, ENTRIES)));
    device.attempt_each("queue-size", 0, [2, 127, 129, 256, 0x1_0000].into_iter().flat_map(|size| both(1, size)));
    device.attempt_each("queue-address", 0, both(1, ENTRIES).map(|entry| entry.with_data(HARM, 0)));
    device.attempt_each("vector-not-granted", 0, [2, 64, 0xffff].map(|vector| completion(1, ENTRIES, vector)));
    let attributes = [0, QUEUE_CONTIGUOUS, QUEUE_INTERRUPTS, QUEUE_CONTIGUOUS | QUEUE_INTERRUPTS | 4];
    device.attempt_each(
        "completion-queue-attributes",
        0,
        attributes.map(|bits| SubmissionEntry { dword11: bits.into(), ..completion(1, ENTRIES, vector) }),
    );
    device.attempt("submission-queue-without-completion-queue", 0, submission(1, ENTRIES, 1));
    device.attempt_each("foreign-completion-queue", 0, [0, 2, 0xffff].map(|queue| submission(1, ENTRIES, queue)));
    device.attempt("transfer-without-queue", 1, device.read(1, 0, 1, 0));

    device.create_queues()?;
    device.attempt_each("create-again", 0, both(1, ENTRIES));
    let counts = QueueCounts { submission: 1, completion: 1 };
    device.attempt("count-while-queues-exist", 0, SubmissionEntry::set_number_of_queues(1, counts));
    device.attempt("delete-completion-queue-in-use", 0, SubmissionEntry::delete_completion_queue(1, 1));
    device.attempt_each(
        "delete-foreign-queue",
        0,
        [0, 3, 0xffff].into_iter().flat_map(|queue| {
            [SubmissionEntry::delete_submission_queue(1, queue), SubmissionEntry::delete_completion_queue(1, queue)]
        }),
    );
    device.attempt("delete-absent-queue", 0, SubmissionEntry::delete_submission_queue(1, 2));

    let foreign = [2, 3, 64, 0x8001, 0xffff];
    device.tell_all("submit-to-foreign-queue", foreign.map(|queue| device.submit(queue, device.read(1, 0, 1, 0))));
    let complete = |queue: u16| Answer::frame(&device.call(Number::DeviceComplete, [queue.into(), 0, 0]));
    device.tell_all("complete-foreign-queue", foreign.map(complete));
    let beyond = [1 << 16, (1 << 16) + 1, 1 << 63, u64::MAX];
    device.tell_all("submit-to-queue-beyond-16-bits", beyond.map(|queue| code(device, queue, 1)));
    let counts = [DEVICE_COMMANDS_MAX as u64 + 1, 1 << 16, 1 << 32, u64::MAX];
    device.tell_all("more-commands-than-fit", counts.map(|count| code(device, 1, count)));
    let collect =
        |(queue, identifier): (u64, u64)| Answer::frame(&device.call(Number::DeviceCollect, [queue, identifier, 0]));
    // Whatever the last Identify left was not asked for; after it, nothing is left.
    let _ = collect((0, 1));
    let places = [(0, 0), (0, 1), (0, 8), (0, 63), (0, 0xffff), (1, 0), (1, 1), (2, 0), (0xffff, 0)];
    device.tell_all("collect-what-is-not-there", places.map(collect));
    Ok(())
}

fn code(device: &Device, queue: u64, commands: u64) -> Answer {
    Answer::frame(&device.call(Number::DeviceSubmit, [queue, commands, 0]))
}

/// A queue that was deleted takes nothing, and may be created anew.
pub fn deleted(device: &mut Device) -> Result<(), Stop> {
    device.must(0, SubmissionEntry::delete_submission_queue(1, 1))?;
    device.attempt("transfer-on-deleted-queue", 1, device.read(1, 0, 1, 0));
    device.must(0, SubmissionEntry::delete_completion_queue(1, 1))?;
    device.tell("complete-deleted-queue", Answer::frame(&device.call(Number::DeviceComplete, [1, 0, 0])));
    device.create_queues()
}
