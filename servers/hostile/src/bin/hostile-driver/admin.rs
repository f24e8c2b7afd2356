//! The admin queue: every opcode, feature, log page and Identify structure, and the fields that carry addresses.

use nvme_spec::admin::{
    ABORT, ASYNCHRONOUS_EVENT_REQUEST, CREATE_COMPLETION_QUEUE, CREATE_SUBMISSION_QUEUE, DELETE_COMPLETION_QUEUE,
    DELETE_SUBMISSION_QUEUE, GET_FEATURES, GET_LOG_PAGE, IDENTIFY, QueueCounts, SET_FEATURES, feature, log,
};
use nvme_spec::identify::Structure;
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};
use task::Stop;

use super::device::{Device, FOREIGN_NSID, NSID};

const OPCODES: [u8; 10] = [
    IDENTIFY,
    GET_LOG_PAGE,
    SET_FEATURES,
    GET_FEATURES,
    ASYNCHRONOUS_EVENT_REQUEST,
    ABORT,
    CREATE_COMPLETION_QUEUE,
    CREATE_SUBMISSION_QUEUE,
    DELETE_SUBMISSION_QUEUE,
    DELETE_COMPLETION_QUEUE,
];
const FEATURES: [u8; 3] =
    [feature::NUMBER_OF_QUEUES, feature::VOLATILE_WRITE_CACHE, feature::ASYNCHRONOUS_EVENT_CONFIGURATION];
const LOG_PAGES: [u8; 4] = [log::ERRORS, log::HEALTH, log::FIRMWARE_SLOTS, log::CHANGED_NAMESPACES];
const STRUCTURES: [u8; 4] = [0, 1, 2, 6];
/// An address that would do harm.
const HARM: u64 = 0xfee0_0000;

pub fn attempts(device: &mut Device) -> Result<(), Stop> {
    let others = |listed: &'static [u8]| (0..=u8::MAX).filter(|number| !listed.contains(number));
    let harmful = |entry: SubmissionEntry| entry.with_data(HARM, HARM);
    device.attempt_each(
        "admin-opcodes",
        0,
        others(&OPCODES).flat_map(|opcode| {
            let entry = SubmissionEntry::new(opcode, 1, NSID);
            [entry, harmful(entry)]
        }),
    );
    device.attempt_each("get-features", 0, others(&FEATURES).map(|id| SubmissionEntry::get_feature(1, id)));
    device.attempt_each(
        "set-features",
        0,
        others(&FEATURES).flat_map(|id| {
            let entry = SubmissionEntry::set_feature(1, id, !0);
            [entry, harmful(entry)]
        }),
    );
    device.attempt_each("get-log-pages", 0, others(&LOG_PAGES).map(|id| SubmissionEntry::get_log_page(1, id, 512)));
    device.attempt_each(
        "identify-structures",
        0,
        others(&STRUCTURES).map(|structure| SubmissionEntry {
            dword10: u32::from(structure).into(),
            ..SubmissionEntry::new(IDENTIFY, 1, NSID)
        }),
    );
    fields(device);
    values(device);

    device.attempt("admin-identifier-beyond-slots", 0, SubmissionEntry::identify(8, Structure::Controller, 0));
    // One that stays in flight until the reset.
    let event = SubmissionEntry::asynchronous_event_request(7);
    device.tell("event-request", device.submit(0, event));
    device.attempt_each(
        "admin-identifier-in-flight",
        0,
        [event, SubmissionEntry::identify(7, Structure::Controller, 0)],
    );
    device.attempt_each(
        "admin-identifier-in-flight-renamed",
        0,
        (1..4).map(|sequence| SubmissionEntry::identify(sequence << 6 | 7, Structure::Controller, 0)),
    );
    let aborts = [(0, 5), (0, 7 | 1 << 6), (0, 0xffff)];
    device.attempt_each(
        "abort-what-is-not-in-flight",
        0,
        aborts.map(|(queue, aborted)| SubmissionEntry::abort(1, queue, aborted)),
    );
    device.attempt_each("abort-on-no-queue", 0, [1, 2, 3, 0xffff].map(|queue| SubmissionEntry::abort(1, queue, 0)));
    Ok(())
}

/// Flags, reserved fields and pointers of each command that there is a rule for.
fn fields(device: &Device) {
    let commands = [
        SubmissionEntry::identify(1, Structure::Controller, 0),
        SubmissionEntry::get_log_page(1, log::HEALTH, log::HEALTH_BYTES),
        SubmissionEntry::set_feature(1, feature::VOLATILE_WRITE_CACHE, 1),
        SubmissionEntry::get_feature(1, feature::VOLATILE_WRITE_CACHE),
        SubmissionEntry::asynchronous_event_request(1),
        SubmissionEntry::abort(1, 0, 7),
        SubmissionEntry::delete_completion_queue(1, 1),
    ];
    let each = |name, change: &dyn Fn(SubmissionEntry) -> SubmissionEntry| {
        device.attempt_each(name, 0, commands.map(change));
    };
    each("admin-data-pointer", &|entry| entry.with_data(HARM, 0));
    each("admin-second-data-pointer", &|entry| entry.with_data(0, HARM));
    each("admin-metadata-pointer", &|entry| SubmissionEntry { metadata_pointer: HARM.into(), ..entry });
    each("admin-fused", &|entry| SubmissionEntry { flags: 1, ..entry });
    each("admin-scatter-gather-list", &|entry| SubmissionEntry { flags: 0x40, ..entry });
    each("admin-reserved-dwords", &|entry| SubmissionEntry { dword3: 1.into(), ..entry });
    each("admin-last-dword", &|entry| SubmissionEntry { dword15: 1.into(), ..entry });
}

/// Values that a rule does not allow.
fn values(device: &Device) {
    let identify = |structure, nsid| SubmissionEntry::identify(1, structure, nsid);
    device.attempt("identify-foreign-namespace", 0, identify(Structure::Namespace, FOREIGN_NSID));
    device.attempt("identify-broadcast", 0, identify(Structure::Namespace, BROADCAST_NSID));
    device.attempt("identify-no-namespace", 0, identify(Structure::Namespace, 0));
    device.attempt("identify-controller-of-namespace", 0, identify(Structure::Controller, NSID));
    let lengths = [4, 508, 516, 1024, 4096].map(|bytes| SubmissionEntry::get_log_page(1, log::HEALTH, bytes));
    device.attempt_each("log-page-other-length", 0, lengths);
    let page = SubmissionEntry::get_log_page(1, log::HEALTH, log::HEALTH_BYTES);
    device.attempt("log-page-length-beyond-16-bits", 0, SubmissionEntry { dword11: 1.into(), ..page });
    device.attempt("log-page-offset", 0, SubmissionEntry { dword12: 4096.into(), ..page });
    device.attempt("log-page-of-namespace", 0, SubmissionEntry { nsid: NSID.into(), ..page });
    let events = SubmissionEntry::set_feature(1, feature::ASYNCHRONOUS_EVENT_CONFIGURATION, !0);
    device.attempt("every-event", 0, events);
    let cache = SubmissionEntry::set_feature(1, feature::VOLATILE_WRITE_CACHE, 2);
    device.attempt("write-cache-value", 0, cache);
    let saved = SubmissionEntry { dword10: (u32::from(feature::VOLATILE_WRITE_CACHE) | 1 << 31).into(), ..cache };
    device.attempt("feature-saved", 0, SubmissionEntry { dword11: 1.into(), ..saved });
    let counts = [(3, 1), (1, 3), (64, 64), (0x1_0000, 0x1_0000)];
    device.attempt_each(
        "too-many-queues",
        0,
        counts.map(|(submission, completion)| {
            SubmissionEntry::set_number_of_queues(1, QueueCounts { submission, completion })
        }),
    );
}
