//! What the hostile driver tries on the direct lane, where it has registers and rings of its own, and what becomes there of
//! each attempt of the brokered lane.

use abi::Error;

use super::brokered::BROKERED;
use super::{Attempt, Blocked, Kept, Kernel, Own, Reach, attempt};

/// What `hostile-direct` tries, without what it has in common with the brokered lane's driver.
pub const DIRECT: &[Attempt] = &[
    // Calls of the other lane.
    attempt("brokered-read", Kernel(Error::Denied), "read a register through the broker"),
    attempt("brokered-write", Kernel(Error::Denied), "write one"),
    attempt("brokered-submit", Kernel(Error::Denied), "submit a command through the broker"),
    attempt("brokered-complete", Kernel(Error::Denied), "take completions through the broker"),
    attempt("brokered-collect", Kernel(Error::Denied), "collect data through the broker"),
    // What its controller reaches for.
    attempt("own-page", Own("own-page"), "data to a page of its own: else the rest would prove nothing"),
    attempt("data-before-region", Blocked(Reach::Write), "data to the page before its region"),
    attempt("data-behind-region", Blocked(Reach::Write), "to the page behind it"),
    attempt("data-far-behind-region", Blocked(Reach::Write), "1 MiB behind it"),
    attempt("data-across-region-end", Blocked(Reach::Write), "across its end"),
    attempt("data-before-rings", Blocked(Reach::Write), "to the page before its rings"),
    attempt("data-behind-rings", Blocked(Reach::Write), "to the page behind them"),
    attempt("data-at-page-0", Blocked(Reach::Write), "to physical page 0"),
    attempt("data-at-kernel", Blocked(Reach::Write), "to low memory, where kernel and tasks lie"),
    attempt("data-at-top-half", Blocked(Reach::Write), "to an address of the kernel's half"),
    attempt("data-beyond-the-domain", Blocked(Reach::Write), "beyond every address of its domain"),
    attempt("sweep-memory", Blocked(Reach::Write), "to each page of the machine's memory, one after the other"),
    attempt(
        "sweep-registers",
        Blocked(Reach::Write),
        "to each page where devices' registers may be, others' MSI-X tables among them",
    ),
    attempt("list-behind-region", Blocked(Reach::Read), "a PRP list behind its region"),
    attempt("list-at-page-0", Blocked(Reach::Read), "in page 0"),
    attempt("list-at-kernel", Blocked(Reach::Read), "in low memory"),
    attempt("list-before-rings", Blocked(Reach::Read), "before its rings"),
    attempt("entry-behind-region", Blocked(Reach::Write), "entries of its own PRP list that lead behind its region"),
    attempt("entry-at-kernel", Blocked(Reach::Write), "that lead to low memory"),
    attempt("submission-queue-behind-region", Blocked(Reach::Read), "the admin submission queue behind its region"),
    attempt("submission-queue-at-kernel", Blocked(Reach::Read), "in low memory"),
    attempt("completion-queue-behind-region", Blocked(Reach::Write), "the admin completion queue behind its region"),
    attempt("completion-queue-at-kernel", Blocked(Reach::Write), "in low memory"),
    attempt(
        "admin-opcodes",
        Blocked(Reach::Write),
        "every admin opcode, with data in low memory; but for those that create and delete queues or wait",
    ),
    attempt("io-opcodes", Blocked(Reach::Write), "every I/O opcode, likewise"),
    attempt("set-timestamp", Blocked(Reach::Read), "a feature's value from low memory"),
    attempt("get-timestamp", Blocked(Reach::Write), "a feature's value to low memory"),
    attempt("doorbell-buffer", Blocked(Reach::Read), "have the controller take doorbells from low memory"),
    // Its own device.
    attempt("host-memory-buffer", Own("own-page"), "lend the controller low memory as a buffer"),
    attempt("registers-off", Own("written"), "write each register that is mapped; controller off"),
    attempt("registers-on", Own("written"), "the same; controller on"),
    attempt("register-intms", Own("own-page"), "mask interrupts in the controller"),
    attempt("register-intmc", Own("own-page"), "unmask them"),
    attempt("register-nssr", Own("own-page"), "reset the subsystem: this controller has no such reset"),
    attempt("register-cmbmsc", Own("own-page"), "a controller memory buffer in low memory"),
    attempt("register-bprsel", Own("own-page"), "read a boot partition into low memory"),
    attempt("register-pmrctl", Own("own-page"), "a persistent memory region in low memory"),
    attempt("register-aqa", Own("own-page"), "change the admin queues' sizes while they are used"),
    attempt("register-asq", Own("own-page"), "move the admin submission queue to low memory while it is used"),
    attempt("register-acq", Own("own-page"), "move the completion queue"),
    attempt("doorbell-foreign-queue", Own("own-page"), "ring doorbells of queues that are not there"),
    attempt("doorbell-beyond-the-ring", Own("own-page"), "ring its own beyond the end of their rings"),
    attempt(
        "vector-not-granted",
        Own("ended"),
        "completions on interrupt vectors that are not granted: they stay masked",
    ),
    attempt(
        "rewritten-command",
        Own("ended"),
        "64 commands that are led to low memory after they were submitted: the controller takes the one or the other",
    ),
    attempt("interrupt-flood", Own("ok"), "4096 reads as fast as it can, no interrupt waited for"),
    attempt("foreign-namespace", Own("ok"), "write a namespace that the other lane's grant does not name"),
    attempt("still-served", Own("own-page"), "after all of that, its own page"),
    // Its next life, after it died with commands in flight.
    attempt("restarted-rings", Kept("zero"), "what its rings held in the life before"),
    attempt("restarted-controller", Kept("off"), "whether its controller goes on from the life before"),
    attempt(
        "restarted-region",
        Kept("untouched"),
        "whether a command of the life before still writes; old doorbells rung",
    ),
    attempt("restarted-old-queue", Kept("untouched"), "whether an I/O queue of the life before takes commands"),
    attempt("restarted-served", Own("own-page"), "its own page, in the next life"),
];

/// What is seen from outside, in the page tables: none of this is mapped into it.
pub const NOT_MAPPED: &[(&str, &str)] = &[
    ("msix-tables", "read and write the MSI-X table of its own controller, or of the other one"),
    ("other-controller", "the other controller's registers and doorbells"),
    ("configuration-space", "configuration space of any function"),
    ("iommu", "the IOMMU's registers"),
    ("interrupt-controllers", "local and I/O APIC"),
    ("others-windows", "others' DMA memory"),
    ("others-rings", "the other controller's rings"),
];

/// Those attempts of the brokered lane that the driver of this lane makes in the same words, and gets the same answers to.
pub fn in_common() -> impl Iterator<Item = &'static Attempt> {
    BROKERED.iter().filter(|attempt| matches!(on_direct(attempt.name), OnDirect::Same))
}

/// What becomes of an attempt of the brokered lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDirect {
    /// It is made, and answered the same.
    Same,
    /// One of the same name is made, with the means of this lane.
    Alike,
    /// These are made instead.
    Instead(&'static [&'static str]),
    /// It has no meaning there, because of this.
    Meaningless(&'static str),
}
use OnDirect::{Alike, Instead, Meaningless, Same};

const WHOLE: OnDirect = Meaningless("the whole device is granted (`foreign-namespace`)");
const RINGS: OnDirect = Meaningless("identifiers and slots are those of its own rings");

/// What becomes of the attempt of this name.
pub fn on_direct(name: &str) -> OnDirect {
    match name {
        "register-intms" | "register-intmc" | "register-nssr" | "register-aqa" | "register-asq" | "register-acq"
        | "register-cmbmsc" | "register-bprsel" | "register-pmrctl" => Alike,
        "register-bpmbl" => Instead(&["register-bprsel"]),
        "register-pmrmscl" => Instead(&["register-pmrctl"]),
        "register-msix-address" | "register-msix-data" => Instead(&["msix-tables"]),
        "register-foreign-tail" => Instead(&["doorbell-foreign-queue"]),
        "register-admin-tail" | "register-admin-head" | "register-own-tail" => Instead(&["doorbell-beyond-the-ring"]),
        "read-every-register-off" | "write-every-register-off" => Instead(&["registers-off"]),
        "read-every-register-on"
        | "write-every-register-on"
        | "register-cmbloc"
        | "write-cap"
        | "write-vs"
        | "write-csts" => Instead(&["registers-on"]),
        "read-wide" | "read-beyond-32-bits" => Instead(&["brokered-read"]),
        "write-beyond-32-bits" => Instead(&["brokered-write"]),
        "data-behind-region"
        | "data-far-behind-region"
        | "data-across-region-end"
        | "data-before-region"
        | "data-at-kernel"
        | "data-at-top-half" => Alike,
        "data-long-across-region-end" => Instead(&["data-across-region-end"]),
        "data-across-region-start" => Instead(&["data-before-region"]),
        "data-in-foreign-region" => Instead(&["sweep-memory"]),
        "data-length-wraps" => Meaningless("a command names pages, no offset and length"),
        "data-unaligned" => Meaningless("where in its own pages data lies is its own affair"),
        "data-at-apic" => Meaningless("the range of interrupts: see [the two lanes](#the-two-lanes)"),
        "admin-data-pointer"
        | "admin-second-data-pointer"
        | "admin-metadata-pointer"
        | "identify-structures"
        | "identify-foreign-namespace"
        | "identify-broadcast"
        | "identify-no-namespace"
        | "identify-controller-of-namespace"
        | "get-log-pages" => Instead(&["admin-opcodes"]),
        "get-features" => Instead(&["get-timestamp"]),
        "set-features" => Instead(&["set-timestamp", "host-memory-buffer", "doorbell-buffer"]),
        "admin-opcodes" | "io-opcodes" => Alike,
        "queue-address" | "foreign-completion-queue" => {
            Instead(&["submission-queue-behind-region", "completion-queue-behind-region"])
        }
        "vector-not-granted" | "rewritten-command" | "interrupt-flood" | "still-served" | "foreign-namespace" => Alike,
        "rewritten-command-seen" => Instead(&["rewritten-command"]),
        "allowed-read" | "event-request" => Instead(&["own-page"]),
        "rest-of-region" => Instead(&["restarted-region"]),
        "old-queue" | "complete-old-queue" | "old-queue-count" => Instead(&["restarted-old-queue"]),
        "old-data" | "old-completions" | "collect-after-reset" | "complete-after-reset" => {
            Instead(&["restarted-region", "restarted-rings"])
        }
        "abort-old-command" | "old-identifier" | "old-namespace" => Instead(&["restarted-controller"]),
        "more-commands-than-fit" | "submit-to-queue-beyond-16-bits" | "submit-to-foreign-queue" => {
            Instead(&["brokered-submit"])
        }
        "complete-foreign-queue" | "complete-deleted-queue" | "complete-while-disabled" => {
            Instead(&["brokered-complete"])
        }
        "collect-what-is-not-there" | "collect-while-disabled" => Instead(&["brokered-collect"]),
        _ if name.starts_with("cc-other-fields") => {
            Meaningless("CC is its own controller's; where data leads then, the IOMMU decides")
        }
        _ if name.starts_with("cc-") => Instead(&["brokered-write"]),
        _ if name.starts_with("handle-") || name.starts_with("reply-") || name == "no-such-call" => Same,
        _ if name.starts_with("submit-") || name.starts_with("transfer-after") => Instead(&["brokered-submit"]),
        _ if ["identifier-", "slot-", "abort-", "admin-identifier-"].iter().any(|start| name.starts_with(start)) => {
            RINGS
        }
        _ if name.starts_with("admin-") || name.starts_with("log-page-") => Instead(&["admin-opcodes"]),
        "every-event" | "write-cache-value" | "feature-saved" => Instead(&["admin-opcodes"]),
        _ if name.starts_with("io-") || name.contains("data-pointer") => Instead(&["io-opcodes"]),
        _ if name.contains("blocks") || name.contains("namespace") || name.starts_with("deallocate-") => WHOLE,
        "command-not-listed" | "command-listed-elsewhere" => WHOLE,
        "transfer-too-long" | "controller-not-identified" => {
            Meaningless("lengths are checked by its controller; where they lead, by the IOMMU (`entry-at-kernel`)")
        }
        _ => Meaningless("queues lie in its own rings, and their number and kind are its own controller's affair"),
    }
}
