//! Every instruction, interrupt and access that a task must not get away with: each task that tries one is stopped or
//! answered, and nothing else happens. Meanwhile the rest of the system goes on reading its disk.

use std::fs;
use std::path::Path;

use qemu::harness::{Bench, Log, root};
use qemu::machine::Machine;
use qemu::nvme::Namespace;
use qemu::serial::Event;

/// What must come of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// The task is stopped.
    Stopped,
    /// The task is stopped for this cause.
    Because(&'static str),
    /// Nothing happens.
    Survived,
    /// One of the two: processors differ.
    Either,
    /// A system call is answered, with these values.
    Answered(&'static [(&'static str, u64)]),
}
use Outcome::{Answered, Because, Either, Stopped, Survived};

/// Attempts that fit into one system beside the default one.
const BATCH: usize = 28;

const PRIVILEGED: &str = "hlt cli sti in-byte in-word in-immediate out-byte out-word out-immediate in-string out-string \
    rdmsr rdmsr-apic wrmsr wrmsr-efer mov-from-cr0 mov-from-cr2 mov-from-cr3 mov-from-cr4 mov-from-cr8 mov-to-cr0 \
    mov-to-cr2 mov-to-cr3 mov-to-cr4 mov-to-cr8 mov-from-dr0 mov-from-dr7 mov-to-dr0 mov-to-dr7 clts lmsw lgdt lidt \
    lldt ltr invlpg invd wbinvd invpcid swapgs clac stac sysret sysexit sysenter iret-kernel iret-kernel-code \
    iret-non-canonical iret-io-privilege ret-far-kernel call-far-kernel mov-ss-kernel mov-ss-null mov-ds-kernel \
    mov-gs-task-state rdpmc rdfsbase rdgsbase wrfsbase wrgsbase xgetbv xsetbv monitor mwait vmcall vmmcall vmxon vmrun \
    rsm wrpkru ud2";
const DESCRIBING: &str = "sgdt sidt sldt str smsw";
const VECTOR: &str = "x87-load x87-initialize x87-control x87-wait x87-environment x87-save mmx-move sse-move \
    sse-store sse2-xor sse-control sse-load-control sse-fxsave sse-fxrstor sse4-crc aes avx-xor avx-zero avx2-add xsave \
    xrstor";
const MEMORY: &str = "read-null read-low read-kernel read-kernel-handoff read-kernel-dynamic read-non-canonical \
    read-non-canonical-high read-last-page read-across-the-end read-below-stack read-above-stack read-before-buffer \
    read-after-buffer read-before-program write-null write-kernel write-non-canonical write-code write-constant \
    write-start-info execute-null execute-kernel execute-non-canonical execute-last-byte execute-last-page execute-data \
    execute-constant execute-stack execute-buffer execute-start-info syscall-last-bytes syscall-last-page";
const FAULTS: &str = "lock-invalid long-instruction endless-string single-step";
const FLAGS: &str = "direction-syscall nested-syscall alignment-syscall io-privilege-syscall resume-syscall \
    identification-syscall all-flags-syscall";
const STACKS: &str = "stack-kernel-syscall stack-null-syscall stack-non-canonical-syscall";

fn each(names: &'static str, outcome: Outcome) -> impl Iterator<Item = (String, Outcome)> {
    names.split_whitespace().map(move |name| (name.to_owned(), outcome))
}

/// A task's name for an attempt.
fn task(attempt: &str) -> String {
    attempt.replace(':', "-")
}

/// Boots the base charter with a task for each attempt, as many systems as it takes.
fn attempt_all(attempts: &[(String, Outcome)], change: impl Fn(&mut Machine)) {
    let base = fs::read_to_string(root().join("qemu/tests/charters/base.toml")).unwrap();
    for batch in attempts.chunks(BATCH) {
        let mut text = base.clone();
        for (attempt, _) in batch {
            let task = task(attempt);
            text += &format!(
                "\n[tasks.{task}]\nprogram = \"hazard\"\npriority = 10\nsettings = {{ attempt = \"{attempt}\" }}\n\
                 [tasks.{task}.grants]\nlog = {{ log = \"{task}\" }}\n"
            );
        }
        let bench = Bench::from_text(&text);
        let disk = bench.disk("disk.img", 16 << 20);
        let mut machine = bench.machine([Namespace::file(2, &disk)]);
        change(&mut machine);
        let mut system = bench.boot(&machine);
        system.wait_complete();
        for (attempt, expected) in batch {
            let task = task(attempt);
            let ended = system.expect_where(&format!("the end of {task} ({expected:?})"), |event| ends(event, &task));
            check(attempt, *expected, &ended);
        }
        system.expect_next("block", "read");
        let log = system.end();
        nothing_else_happened(&log, batch, &disk);
    }
}

fn ends(event: &Event, task: &str) -> bool {
    (event.is("kernel", "task stopped") && event.get("task") == Some(task))
        || (event.component == task && matches!(event.event.as_str(), "survived" | "answered"))
}

fn check(attempt: &str, expected: Outcome, ended: &Event) {
    let stopped = ended.component == "kernel";
    let good = match expected {
        Stopped => stopped,
        Because(cause) => stopped && ended.get("cause") == Some(cause),
        Survived => ended.event == "survived",
        Either => stopped || ended.event == "survived",
        Answered(values) => {
            ended.event == "answered" && values.iter().all(|(key, value)| ended.number(key) == Ok(*value))
        }
    };
    assert!(good, "{attempt}: expected {expected:?}, not `{ended}`");
    if stopped {
        for key in ["cause", "address", "instruction"] {
            assert!(ended.get(key).is_some(), "{attempt}: `{ended}` has no {key}");
        }
    }
}

/// Only those tasks ended that tried something, each once; the disk was read as it is.
fn nothing_else_happened(log: &Log, batch: &[(String, Outcome)], disk: &Path) {
    let mut stopped: Vec<_> = log.all("kernel", "task stopped").map(|line| line.text("task").unwrap()).collect();
    stopped.sort_unstable();
    let count = stopped.len();
    stopped.dedup();
    assert_eq!(stopped.len(), count, "a task is stopped once");
    for name in stopped {
        assert!(batch.iter().any(|(attempt, _)| task(attempt) == name), "{name} was stopped");
    }
    assert_eq!(log.all("charter", "boot complete").count(), 1);
    log.check_reads(&[(2, disk)]);
}

#[test]
fn the_trial_itself_works() {
    attempt_all(&each("nop cpuid pause", Survived).collect::<Vec<_>>(), |_| {});
}

#[test]
fn privileged_instructions() {
    attempt_all(&each(PRIVILEGED, Stopped).collect::<Vec<_>>(), |_| {});
}

#[test]
fn vector_and_floating_point_instructions() {
    // QEMU 7.2 executes EMMS whatever CR0.EM says. It changes nothing that any task could use.
    let attempts: Vec<_> = each(VECTOR, Stopped).chain(each("mmx-empty", Either)).collect();
    attempt_all(&attempts, |_| {});
}

#[test]
fn software_interrupts() {
    let numbers = (0..256).map(|number| (format!("int:{number}"), Stopped));
    attempt_all(&numbers.chain(each("int3 int1 into", Stopped)).collect::<Vec<_>>(), |_| {});
}

#[test]
fn memory_that_is_not_granted() {
    attempt_all(&each(MEMORY, Stopped).collect::<Vec<_>>(), |_| {});
}

#[test]
fn faults_and_exits() {
    let attempts: Vec<_> = each(FAULTS, Stopped)
        .chain(each("divide divide-overflow", Because("divide-error")))
        .chain(each("stack-overflow", Because("stack-overflow")))
        .chain(each("exit exit-text panic", Because("exit")))
        .chain(each("alignment", Either))
        .collect();
    attempt_all(&attempts, |_| {});
}

#[test]
fn entering_the_kernel_in_a_strange_state() {
    let attempts: Vec<_> = each("mov-ss-trap-syscall trap-syscall mov-ss-interrupt", Either)
        .chain(each(FLAGS, Answered(&[("error", 0), ("flags_changed", 0)])))
        .chain(each(STACKS, Answered(&[("error", 0), ("stack_changed", 0)])))
        .chain(each("registers-after", Answered(&[("error", 0), ("wrong", 0)])))
        .chain(each("segments-syscall", Answered(&[("error", 0)])))
        .chain(each("numbers arguments", Answered(&[("wrong", 0)])))
        .collect();
    attempt_all(&attempts, |_| {});
}

#[test]
fn instructions_that_describe_the_kernel() {
    attempt_all(&each(DESCRIBING, Stopped).collect::<Vec<_>>(), |_| {});
}

/// A processor without SMEP, SMAP and UMIP.
#[test]
fn a_processor_without_the_newer_protections() {
    let attempts: Vec<_> = each(DESCRIBING, Survived)
        .chain(each("hlt sse-move stack-overflow read-kernel syscall-last-page lgdt", Stopped))
        .collect();
    attempt_all(&attempts, |machine| machine.cpu_model = "qemu64".into());
}
