//! What the hostile client of the block server tries, on any lane.

use abi::Error;

use super::{Allowed, Attempt, Kernel, Library, Server, attempt};

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
