//! What is tried, by whom, and the one answer that it must get.

use std::fmt;

use abi::Error;
use broker::Reason as _;
use nvme_broker::Reason;

/// Who answers, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The broker refuses a command, for this reason.
    Broker(Reason),
    /// The broker refuses a register or a queue; the driver is told the error alone.
    Register(Reason),
    /// The kernel refuses before a broker or a server is asked.
    Kernel(Error),
    /// The block server refuses.
    Server(&'static str),
    /// The task's own library does.
    Library(&'static str),
    /// It is allowed, and this is what comes of it.
    Allowed(&'static str),
}
use Expected::{Allowed, Broker, Kernel, Library, Register, Server};

impl Expected {
    /// The answer and the reason's number, as the log has them.
    pub fn logged(self) -> (String, Option<u64>) {
        match self {
            Broker(reason) => (reason.error().to_string(), Some(reason.code().into())),
            Register(reason) => (reason.error().to_string(), None),
            Kernel(error) => (error.to_string().replace(' ', "-"), None),
            Server(word) | Library(word) | Allowed(word) => (word.to_owned(), None),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broker(reason) | Register(reason) => write!(f, "broker | {}: {reason}", reason.error()),
            Kernel(error) => write!(f, "kernel | {error}"),
            Server(word) => write!(f, "block server | {word}"),
            Library(word) => write!(f, "task library | {word}"),
            Allowed(word) => write!(f, "(allowed) | {word}"),
        }
    }
}

/// An attempt.
pub struct Attempt {
    /// Its name in the log.
    pub name: &'static str,
    /// What is tried, in how many ways.
    pub what: &'static str,
    /// What is answered, to each.
    pub expected: Expected,
}

const fn attempt(name: &'static str, expected: Expected, what: &'static str) -> Attempt {
    Attempt { name, what, expected }
}

/// What `hostile-driver` tries.
pub const DRIVER: &[Attempt] = &[
    // Registers.
    attempt(
        "read-every-register-off",
        Register(Reason::RegisterNotListed),
        "read every offset of the BAR and beyond, 4 and 8 bytes wide, but for CAP, VS, CC and CSTS; controller off",
    ),
    attempt("write-every-register-off", Register(Reason::RegisterNotListed), "write every offset but CC"),
    attempt("read-every-register-on", Register(Reason::RegisterNotListed), "the same, controller on"),
    attempt("write-every-register-on", Register(Reason::RegisterNotListed), "the same, controller on"),
    attempt("register-intms", Register(Reason::RegisterNotListed), "read and write INTMS"),
    attempt("register-intmc", Register(Reason::RegisterNotListed), "read and write INTMC"),
    attempt("register-nssr", Register(Reason::RegisterNotListed), "reset the subsystem"),
    attempt("register-aqa", Register(Reason::RegisterNotListed), "change the admin queues' sizes"),
    attempt(
        "register-asq",
        Register(Reason::RegisterNotListed),
        "read where the admin submission queue lies, or move it",
    ),
    attempt("register-acq", Register(Reason::RegisterNotListed), "the same for the completion queue"),
    attempt("register-cmbloc", Register(Reason::RegisterNotListed), "controller memory buffer"),
    attempt("register-cmbmsc", Register(Reason::RegisterNotListed), "its address"),
    attempt("register-bprsel", Register(Reason::RegisterNotListed), "read a boot partition into memory"),
    attempt("register-bpmbl", Register(Reason::RegisterNotListed), "where to"),
    attempt("register-pmrctl", Register(Reason::RegisterNotListed), "persistent memory region"),
    attempt("register-pmrmscl", Register(Reason::RegisterNotListed), "its address"),
    attempt("register-admin-tail", Register(Reason::RegisterNotListed), "ring the admin submission doorbell"),
    attempt("register-admin-head", Register(Reason::RegisterNotListed), "ring the admin completion doorbell"),
    attempt("register-own-tail", Register(Reason::RegisterNotListed), "ring its own queue's doorbell"),
    attempt("register-foreign-tail", Register(Reason::RegisterNotListed), "ring another queue's doorbell"),
    attempt("register-msix-address", Register(Reason::RegisterNotListed), "write an address into the MSI-X table"),
    attempt("register-msix-data", Register(Reason::RegisterNotListed), "write a vector into the MSI-X table"),
    attempt("write-cap", Register(Reason::RegisterNotListed), "write CAP"),
    attempt("write-vs", Register(Reason::RegisterNotListed), "write VS"),
    attempt("write-csts", Register(Reason::RegisterNotListed), "write CSTS"),
    attempt(
        "cc-other-fields",
        Allowed("ok"),
        "set every field of CC but SHN: page size, command set, arbitration, entry sizes",
    ),
    attempt("cc-other-fields-seen", Allowed("none"), "what of it is in CC afterwards"),
    attempt(
        "cc-other-fields-with-shutdown",
        Allowed("none"),
        "the same while shutting down, where CC is written: what of it is in CC afterwards",
    ),
    attempt("cc-shutdown-reserved", Register(Reason::ReservedShutdown), "CC.SHN = 3"),
    attempt("cc-shutdown-while-disabled", Register(Reason::ReservedShutdown), "shut a disabled controller down"),
    attempt("cc-other-width", Register(Reason::RegisterWidth), "write CC 0, 1, 2, 8, 16, 255 bytes wide"),
    attempt("cc-beyond-32-bits", Register(Reason::RegisterWidth), "write 33 bits to CC"),
    attempt("read-beyond-32-bits", Kernel(Error::Invalid), "offsets of which the low 32 bits are a register's"),
    attempt("write-beyond-32-bits", Kernel(Error::Invalid), "the same, written"),
    attempt("read-wide", Kernel(Error::Invalid), "widths beyond 255"),
    // States.
    attempt("submit-while-disabled", Broker(Reason::NotEnabled), "a command before the controller is enabled"),
    attempt("complete-while-disabled", Register(Reason::NotEnabled), "completions before that"),
    attempt("collect-while-disabled", Register(Reason::NoData), "data before that"),
    attempt("submit-after-shutdown", Broker(Reason::ShuttingDown), "a command after CC.SHN"),
    attempt("transfer-after-shutdown", Broker(Reason::ShuttingDown), "a read after CC.SHN"),
    // The admin queue.
    attempt(
        "admin-opcodes",
        Broker(Reason::OpcodeWithoutRule),
        "each of the 246 admin opcodes without a rule, with and without addresses: firmware, format, security, sanitize, namespace management, doorbell buffers, vendor's",
    ),
    attempt("get-features", Broker(Reason::FeatureWithoutRule), "each of the 253 features without a rule"),
    attempt(
        "set-features",
        Broker(Reason::FeatureWithoutRule),
        "the same, set, with and without addresses: host memory buffer, timestamp, interrupt coalescing",
    ),
    attempt("get-log-pages", Broker(Reason::LogPageWithoutRule), "each of the 252 log pages without a rule"),
    attempt("identify-structures", Broker(Reason::StructureWithoutRule), "each of the 252 structures without a rule"),
    attempt(
        "admin-data-pointer",
        Broker(Reason::FieldNotZero),
        "an address in PRP entry 1 of each command that there is a rule for",
    ),
    attempt("admin-second-data-pointer", Broker(Reason::FieldNotZero), "in PRP entry 2"),
    attempt("admin-metadata-pointer", Broker(Reason::FieldNotZero), "in the metadata pointer"),
    attempt("admin-fused", Broker(Reason::FieldNotZero), "fused"),
    attempt("admin-scatter-gather-list", Broker(Reason::FieldNotZero), "with a scatter-gather list"),
    attempt("admin-reserved-dwords", Broker(Reason::FieldNotZero), "with reserved dwords set"),
    attempt("admin-last-dword", Broker(Reason::FieldNotZero), "with dword 15 set"),
    attempt(
        "identify-foreign-namespace",
        Broker(Reason::NamespaceNotGranted),
        "Identify a namespace that is not granted",
    ),
    attempt("identify-broadcast", Broker(Reason::BroadcastNotHarmless), "Identify every namespace"),
    attempt("identify-no-namespace", Broker(Reason::NamespaceInvalid), "Identify namespace 0"),
    attempt(
        "identify-controller-of-namespace",
        Broker(Reason::NamespaceInvalid),
        "Identify Controller with a namespace",
    ),
    attempt("log-page-other-length", Broker(Reason::LogPageLength), "a log page in another length than it has"),
    attempt("log-page-length-beyond-16-bits", Broker(Reason::FieldNotZero), "256 KiB of a log page"),
    attempt("log-page-offset", Broker(Reason::FieldNotZero), "a log page from an offset"),
    attempt("log-page-of-namespace", Broker(Reason::NamespaceInvalid), "a log page of a namespace"),
    attempt("every-event", Broker(Reason::FeatureValue), "have every event reported"),
    attempt("write-cache-value", Broker(Reason::FeatureValue), "a reserved value of the write cache feature"),
    attempt("feature-saved", Broker(Reason::FieldNotZero), "have a feature kept beyond power-off"),
    attempt("too-many-queues", Broker(Reason::QueueCount), "more queues than the broker keeps"),
    attempt(
        "admin-identifier-beyond-slots",
        Broker(Reason::IdentifierOutOfRange),
        "a command in a slot that is not there",
    ),
    attempt("event-request", Allowed("ok"), "a command that stays in flight"),
    attempt("admin-identifier-in-flight", Broker(Reason::IdentifierInFlight), "its identifier again"),
    attempt(
        "admin-identifier-in-flight-renamed",
        Broker(Reason::IdentifierInFlight),
        "its slot under other identifiers",
    ),
    attempt("abort-what-is-not-in-flight", Broker(Reason::NotInFlight), "abort what was never submitted"),
    attempt("abort-on-no-queue", Broker(Reason::NoSuchQueue), "abort on queues that are not there"),
    // Queues.
    attempt("create-before-granted", Broker(Reason::QueueNotGranted), "create queues before their number was agreed"),
    attempt("create-admin-queue", Broker(Reason::QueueNotGranted), "create the admin queue anew"),
    attempt("create-foreign-queue", Broker(Reason::QueueNotGranted), "create queues beyond the number agreed"),
    attempt("queue-size", Broker(Reason::QueueSize), "queues of other sizes than the ring's, up to 65536"),
    attempt("queue-address", Broker(Reason::FieldNotZero), "queues at an address of its own"),
    attempt("vector-not-granted", Broker(Reason::VectorNotGranted), "completions on others' interrupt vectors"),
    attempt(
        "completion-queue-attributes",
        Broker(Reason::QueueAttributes),
        "queues that are not contiguous, or do not interrupt",
    ),
    attempt(
        "submission-queue-without-completion-queue",
        Broker(Reason::NoSuchQueue),
        "a submission queue without a completion queue",
    ),
    attempt("foreign-completion-queue", Broker(Reason::QueueAttributes), "one that completes on another queue"),
    attempt("transfer-without-queue", Broker(Reason::NoSuchQueue), "a read before there is a queue"),
    attempt("create-again", Broker(Reason::QueueExists), "create a queue that exists"),
    attempt("count-while-queues-exist", Broker(Reason::QueuesExist), "another number of queues while there are some"),
    attempt(
        "delete-completion-queue-in-use",
        Broker(Reason::QueueInUse),
        "delete a completion queue before its submission queue",
    ),
    attempt("delete-foreign-queue", Broker(Reason::NoSuchQueue), "delete the admin queue, and others' queues"),
    attempt("delete-absent-queue", Broker(Reason::NoSuchQueue), "delete a queue that was not created"),
    attempt(
        "delete-queue-with-commands",
        Broker(Reason::CommandsInFlight),
        "delete a queue whose commands are in flight",
    ),
    attempt("submit-to-foreign-queue", Broker(Reason::NoSuchQueue), "submit to queues that are not its own"),
    attempt("complete-foreign-queue", Register(Reason::NoSuchQueue), "take completions of such queues"),
    attempt(
        "submit-to-queue-beyond-16-bits",
        Kernel(Error::Invalid),
        "queue numbers of which the low 16 bits are its own",
    ),
    attempt("more-commands-than-fit", Kernel(Error::Invalid), "more commands than the message holds"),
    attempt(
        "collect-what-is-not-there",
        Register(Reason::NoData),
        "data of commands that left none, or of other queues",
    ),
    attempt("transfer-on-deleted-queue", Broker(Reason::NoSuchQueue), "a read on a queue that was deleted"),
    attempt("complete-deleted-queue", Register(Reason::NoSuchQueue), "completions of a queue that was deleted"),
    // Transfers.
    attempt(
        "namespace-not-identified",
        Broker(Reason::NamespaceNotLearned),
        "blocks of which the broker does not know the size",
    ),
    attempt(
        "controller-not-identified",
        Broker(Reason::ControllerNotIdentified),
        "transfers while the longest one is not known",
    ),
    attempt(
        "io-opcodes",
        Broker(Reason::OpcodeWithoutRule),
        "each of the 249 I/O opcodes without a rule, with and without addresses",
    ),
    attempt("data-behind-region", Broker(Reason::BeyondRegion), "read, write and compare behind the region"),
    attempt("data-far-behind-region", Broker(Reason::BeyondRegion), "1 MiB behind it"),
    attempt("data-across-region-end", Broker(Reason::BeyondRegion), "across its end"),
    attempt("data-long-across-region-end", Broker(Reason::BeyondRegion), "across its end, from its last page"),
    attempt("data-before-region", Broker(Reason::BeyondRegion), "before it"),
    attempt("data-across-region-start", Broker(Reason::BeyondRegion), "across its start"),
    attempt("data-length-wraps", Broker(Reason::BeyondRegion), "offset and length that add up to a small number"),
    attempt("data-at-apic", Broker(Reason::BeyondRegion), "the local APIC's address"),
    attempt("data-at-kernel", Broker(Reason::BeyondRegion), "low memory, where kernel and tasks lie"),
    attempt("data-at-top-half", Broker(Reason::BeyondRegion), "an address of the kernel's half"),
    attempt("data-unaligned", Broker(Reason::OffsetUnaligned), "an offset that is no multiple of 4"),
    attempt("data-in-foreign-region", Broker(Reason::RegionUnknown), "regions that are not its own"),
    attempt("blocks-not-granted", Broker(Reason::BlocksNotGranted), "blocks beyond the grant"),
    attempt("blocks-across-the-grants-end", Broker(Reason::BlocksNotGranted), "across its end"),
    attempt("blocks-across-two-limits", Broker(Reason::BlocksNotGranted), "across two of its limits"),
    attempt("blocks-beyond-the-disk", Broker(Reason::BlocksNotGranted), "beyond the disk's end"),
    attempt("blocks-wrap", Broker(Reason::BlocksBeyondEnd), "first block and length that add up to a small number"),
    attempt(
        "write-to-read-only-blocks",
        Broker(Reason::WriteNotGranted),
        "write, and write zeroes, where reading is granted",
    ),
    attempt("transfer-too-long", Broker(Reason::TransferTooLong), "more than one command may move"),
    attempt("foreign-namespace", Broker(Reason::NamespaceNotGranted), "blocks of a namespace that is not granted"),
    attempt("no-namespace", Broker(Reason::NamespaceNotGranted), "of namespace 0"),
    attempt("namespace-not-there", Broker(Reason::NamespaceNotGranted), "of one that is not there"),
    attempt("broadcast-namespace", Broker(Reason::BroadcastNotHarmless), "of every namespace at once"),
    attempt("flush-every-namespace", Broker(Reason::BroadcastNotHarmless), "flush every namespace"),
    attempt("flush-foreign-namespace", Broker(Reason::NamespaceNotGranted), "flush others' namespaces"),
    attempt("io-fused", Broker(Reason::FieldNotZero), "each I/O command fused, first"),
    attempt("io-fused-second", Broker(Reason::FieldNotZero), "fused, second"),
    attempt("io-scatter-gather-list", Broker(Reason::FieldNotZero), "with a scatter-gather list"),
    attempt("io-scatter-gather-metadata", Broker(Reason::FieldNotZero), "with one for metadata"),
    attempt("io-metadata-pointer", Broker(Reason::FieldNotZero), "with a metadata pointer"),
    attempt("io-reserved-dwords", Broker(Reason::FieldNotZero), "with reserved dwords set"),
    attempt("io-protection-information", Broker(Reason::FieldNotZero), "with protection information"),
    attempt("io-directive", Broker(Reason::FieldNotZero), "with a directive"),
    attempt("io-directive-value", Broker(Reason::FieldNotZero), "with a directive's value"),
    attempt("io-reference-tag", Broker(Reason::FieldNotZero), "with a reference tag"),
    attempt("io-application-tag", Broker(Reason::FieldNotZero), "with an application tag"),
    attempt("data-pointer-without-data", Broker(Reason::FieldNotZero), "an address in a command that has no data"),
    attempt("flush-with-data-pointer", Broker(Reason::FieldNotZero), "an address in a flush"),
    attempt("deallocate-blocks-not-granted", Broker(Reason::BlocksNotGranted), "deallocate blocks beyond the grant"),
    attempt("deallocate-read-only-blocks", Broker(Reason::WriteNotGranted), "where reading is granted"),
    attempt("deallocate-beyond-the-disk", Broker(Reason::BlocksNotGranted), "beyond the disk's end"),
    attempt("deallocate-wraps", Broker(Reason::BlocksBeyondEnd), "a range that wraps"),
    attempt("deallocate-no-blocks", Broker(Reason::NoBlocks), "a range of no blocks"),
    attempt("deallocate-second-range", Broker(Reason::BlocksNotGranted), "a good range, then a bad one"),
    attempt("deallocate-range-attributes", Broker(Reason::FieldNotZero), "attributes of a range"),
    attempt("deallocate-without-ranges", Broker(Reason::PayloadMissing), "ranges that do not follow"),
    attempt("deallocate-too-many-ranges", Broker(Reason::TooManyRanges), "more ranges than are taken"),
    attempt("deallocate-data-pointer", Broker(Reason::FieldNotZero), "ranges at an address of its own"),
    attempt(
        "deallocate-without-attribute",
        Broker(Reason::AttributesWithoutRule),
        "Dataset Management that says not what to do",
    ),
    attempt("deallocate-other-attributes", Broker(Reason::FieldNotZero), "Dataset Management with hints"),
    attempt("deallocate-foreign-namespace", Broker(Reason::NamespaceNotGranted), "of a namespace that is not granted"),
    attempt("deallocate-broadcast", Broker(Reason::BroadcastNotHarmless), "of every namespace"),
    // In flight.
    attempt("allowed-read", Allowed("ok"), "a read that is granted"),
    attempt(
        "identifier-in-flight",
        Broker(Reason::IdentifierInFlight),
        "its identifier again, before its completion was taken",
    ),
    attempt("slot-in-flight", Broker(Reason::IdentifierInFlight), "its slot, under each of 1023 other identifiers"),
    attempt(
        "identifier-twice-in-one-submission",
        Broker(Reason::IdentifierInFlight),
        "two commands of one identifier in one submission",
    ),
    attempt("abort-what-has-ended", Broker(Reason::NotInFlight), "abort a command that has ended"),
    attempt("rewritten-command", Allowed("ok"), "a read, changed 63 times after it was submitted"),
    attempt("rewritten-command-seen", Allowed("as-submitted"), "what the controller did"),
    attempt("interrupt-flood", Allowed("ok"), "4096 reads as fast as it can, no interrupt waited for"),
    // Stale.
    attempt("complete-after-reset", Register(Reason::NotEnabled), "completions of before a reset, controller off"),
    attempt("collect-after-reset", Register(Reason::NoData), "data of before a reset"),
    attempt("submit-after-reset", Broker(Reason::NotEnabled), "a read on a controller that is off"),
    attempt("old-queue", Broker(Reason::NoSuchQueue), "a queue of before a reset"),
    attempt("complete-old-queue", Register(Reason::NoSuchQueue), "its completions"),
    attempt("old-data", Register(Reason::NoData), "data of before a reset, controller on again"),
    attempt("abort-old-command", Broker(Reason::NotInFlight), "abort what was in flight before a reset"),
    attempt("old-queue-count", Broker(Reason::QueueNotGranted), "a number of queues agreed before a reset"),
    attempt("old-namespace", Broker(Reason::NamespaceNotLearned), "a block size of before a reset"),
    attempt("old-completions", Allowed("none"), "completions of what was in flight at the reset"),
    attempt("old-identifier", Allowed("ok"), "the identifier of a command that was in flight at the reset, used anew"),
    attempt("still-served", Allowed("ok"), "after all of that, reads that are granted"),
    attempt("rest-of-region", Allowed("untouched"), "the part of its region that no allowed command named"),
    // Handles.
    attempt("handle-call", Kernel(Error::Denied), "call with every number that may be a handle"),
    attempt("handle-signal", Kernel(Error::Denied), "signal with every number"),
    attempt("handle-signal-receive", Kernel(Error::Denied), "tell something along with a signal, with every number"),
    attempt("handle-log", Kernel(Error::Denied), "write to the log with every number but its own"),
    attempt("handle-device-information", Kernel(Error::Denied), "ask what a device is, likewise"),
    attempt("handle-device-read", Kernel(Error::Denied), "read registers, likewise"),
    attempt("handle-device-write", Kernel(Error::Denied), "write registers, likewise"),
    attempt("handle-device-submit", Kernel(Error::Denied), "submit commands, likewise"),
    attempt("handle-device-complete", Kernel(Error::Denied), "take completions, likewise"),
    attempt("handle-device-collect", Kernel(Error::Denied), "collect data, likewise"),
    attempt("handle-console-read", Kernel(Error::Denied), "read what was typed, with every number"),
    attempt("handle-console-write", Kernel(Error::Denied), "write to the console"),
    attempt("handle-inspect", Kernel(Error::Denied), "ask about the system"),
    attempt("handle-power", Kernel(Error::Denied), "switch the machine off"),
    attempt("handle-receive", Kernel(Error::Denied), "receive on others' endpoints"),
    attempt(
        "reply-to-nobody",
        Kernel(Error::Invalid),
        "answer calls that nobody made, or that others hold: every bit, every task's first calls",
    ),
    attempt("reply-to-nobody-and-receive", Kernel(Error::Invalid), "the same, and wait"),
    attempt("no-such-call", Kernel(Error::Invalid), "system calls that do not exist"),
];

/// What `hostile-client` tries.
pub const CLIENT: &[Attempt] = &[
    attempt("before-open", Server("not-open"), "a request before the disk was opened"),
    attempt("transfer-before-open", Server("not-open"), "a read before that"),
    attempt("malformed-before-open", Server("invalid"), "messages that are no request, before that"),
    attempt("open-other-version", Server("version"), "another version of the protocol"),
    attempt(
        "malformed",
        Server("invalid"),
        "messages that are no request: empty, unknown, cut, longer, with lengths that are not there, up to 4096 bytes",
    ),
    attempt("read-beyond-the-disk", Server("invalid"), "blocks beyond its disk's end, also by sums that wrap"),
    attempt("read-nothing", Server("invalid"), "no blocks"),
    attempt("read-beyond-the-window", Server("invalid"), "data beyond its window, before it, and at an address"),
    attempt("read-longer-than-the-window", Server("invalid"), "more than its window holds"),
    attempt("read-unaligned", Server("invalid"), "offsets that are no multiple of 4"),
    attempt("write-to-a-read-only-disk", Server("denied"), "write, discard and write zeroes"),
    attempt("load-without-slot", Server("denied"), "memory of the server's own, read"),
    attempt("store-without-slot", Server("denied"), "memory of the server's own, written"),
    attempt("shutdown-not-granted", Server("denied"), "shut the disk down"),
    attempt("batch-of-refused", Server("invalid"), "32 such transfers in one message"),
    attempt("batch-each-ends-once", Allowed("each"), "how often each of them ended"),
    attempt("batch-beyond-the-share", Allowed("share-alone"), "32 transfers of one tag at once, with a share of 8"),
    attempt("message-too-long", Kernel(Error::Invalid), "messages longer than the buffer"),
    attempt("call-what-is-not-granted", Kernel(Error::Denied), "call with every number but its own"),
    attempt("reply-as-a-client", Kernel(Error::Invalid), "answer calls that others received"),
    attempt("receive-as-a-client", Kernel(Error::Denied), "receive on others' endpoints"),
    attempt("device-as-a-client", Kernel(Error::Denied), "every device call with every number"),
    attempt("server-that-never-answers", Kernel(Error::TimedOut), "call a server that does not answer"),
    attempt("still-served", Allowed("ok"), "after all of that, reads that are granted"),
    attempt("window-read-only", Allowed("read-only"), "whether a window that is granted for reading can be written"),
    attempt("window-beyond-its-end", Library("out-of-range"), "read beyond its window"),
];
