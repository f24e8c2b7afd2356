//! Which test notices that a check is gone, and by what.

use checks::Check;

/// A check that is switched off, and who notices.
pub struct Mutant {
    /// The check.
    pub check: Check,
    /// The file of the test in `qemu/tests`, and its name there.
    pub test: (&'static str, &'static str),
    /// What the failed test says: of an attempt that it had another answer, or what else is not as it must be.
    pub says: &'static str,
}

const HOSTILE: (&str, &str) =
    ("hostile", "boot::everything_that_a_hostile_driver_and_client_try_is_answered_as_the_table_says");
const DIRECT: (&str, &str) = (
    "hostile",
    "direct::everything_that_a_hostile_driver_with_its_own_rings_and_a_client_try_is_answered_as_the_table_says",
);
const BLOCK_SIZES: (&str, &str) = ("reads", "two_block_sizes_on_one_controller_read_as_the_files_are");
const CALLS: (&str, &str) = ("failures", "every_call_ends_however_the_server_behaves");
const LINES: (&str, &str) = ("log", "no_task_forges_or_breaks_lines");
const MAPPED: (&str, &str) = ("isolation", "tasks_map_what_is_granted_and_nothing_is_writable_and_executable");
const TEARDOWN: (&str, &str) = ("supervision", "a_controller_that_does_not_say_that_it_has_stopped_is_not_used_again");
const RESTARTS: (&str, &str) = ("supervision", "what_fails_is_restarted_as_the_charter_says_and_the_rest_goes_on");

const fn mutant(check: Check, test: (&'static str, &'static str), says: &'static str) -> Mutant {
    Mutant { check, test, says }
}

/// Every check that can be switched off.
pub const MUTANTS: &[Mutant] = &[
    mutant(Check::RangeEnd, HOSTILE, "name=data-behind-region answer=ok"),
    mutant(Check::LengthWrap, HOSTILE, "name=data-across-region-start answer=ok"),
    mutant(Check::BlockSize, BLOCK_SIZES, "read failed nsid=3"),
    mutant(Check::Direction, HOSTILE, "no block was written that is not granted for it"),
    mutant(Check::ListedCommands, HOSTILE, "no block was written that is not granted for it"),
    mutant(Check::BlockRange, HOSTILE, "name=blocks-not-granted answer=ok"),
    mutant(Check::Namespace, HOSTILE, "name=identify-foreign-namespace answer=ok"),
    mutant(Check::Opcode, HOSTILE, "name=io-opcodes answer=ok"),
    mutant(Check::ReservedFields, HOSTILE, "name=admin-metadata-pointer answer=ok"),
    mutant(Check::Configuration, HOSTILE, "name=cc-other-fields-with-shutdown answer=some"),
    mutant(Check::RegisterList, HOSTILE, "name=register-asq answer=ok"),
    mutant(Check::QueueSize, HOSTILE, "name=queue-size answer=ok"),
    mutant(Check::Vector, HOSTILE, "name=vector-not-granted answer=ok"),
    mutant(Check::Identifier, HOSTILE, "name=admin-identifier-in-flight answer=ok"),
    mutant(Check::DoorbellTail, BLOCK_SIZES, "completions dropped device=disk"),
    mutant(Check::OldQueues, HOSTILE, "name=complete-old-queue answer=ok"),
    mutant(Check::OldFacts, HOSTILE, "name=old-namespace answer=ok"),
    mutant(Check::Ready, TEARDOWN, "RDY=0 was not read"),
    mutant(Check::HandleBounds, HOSTILE, "name=handle-log answer=ok"),
    mutant(Check::HandleKind, HOSTILE, "name=handle-device-complete answer=ok"),
    mutant(Check::ReplyGeneration, CALLS, "`left == right` failed: forged"),
    mutant(Check::CallDeadline, CALLS, "no `charter: boot complete` line"),
    mutant(Check::MessageLength, HOSTILE, "name=message-too-long answer="),
    mutant(Check::LogText, LINES, "\"charter: boot complete tasks=99\""),
    mutant(Check::PageRights, MAPPED, "writable: true, executable: true"),
    mutant(Check::WindowRights, HOSTILE, "windows that are granted for reading, and can be written"),
    mutant(Check::MemoryAsNew, RESTARTS, "(\"made\", \"false\")"),
    mutant(Check::DomainEnd, DIRECT, "not blocked: data-behind-region"),
];
