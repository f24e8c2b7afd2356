//! Records of crashes as bytes: `vectors/crash.txt` has one a line, name and hexadecimal bytes. Each record here encodes
//! to its line, and its line decodes to it. A change of a line is a new version: see `abi::crash`.

use std::collections::BTreeMap;

use abi::crash::memory::{BYTES, Boots, HEADER_BYTES, MAGIC, RECORDS, SLOT_BYTES, contents, open, seal, slot_of};
use abi::crash::{Access, Cause, REASON_BYTES_MAX, RETURNS_MAX, Record, Registers, StackWord};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const VECTORS: &str = include_str!("vectors/crash.txt");

/// Each line once.
struct Held(BTreeMap<&'static str, Vec<u8>>);

impl Held {
    fn all() -> Self {
        let parse = |line: &'static str| {
            let (name, digits) = line.split_once(' ').expect("a name and bytes");
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hexadecimal");
            (name, digits.as_bytes().chunks(2).map(byte).collect())
        };
        Self(VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse).collect())
    }

    /// Holds a slot with this in it against the line, and takes the line.
    fn against<T>(&mut self, name: &str, value: &T)
    where
        T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug,
    {
        let mut slot = [0xaa; SLOT_BYTES];
        let used = seal(value, &mut slot).expect("it has room");
        let digits: String = slot[..used].iter().map(|byte| format!("{byte:02x}")).collect();
        let line = self.0.remove(name).unwrap_or_else(|| panic!("no line `{name} {digits}`"));
        assert_eq!(slot[..used], line, "{name} is now {digits}");
        assert!(slot[used..].iter().all(|byte| *byte == 0xaa));
        assert_eq!(open::<T>(&line).as_ref(), Some(value), "{name}");
    }
}

fn record(sequence: u64, cause: Cause) -> Record {
    Record {
        sequence,
        boot: 2,
        package: 0x2f5b_91c4,
        time: 4_584_000_000,
        task: "nvme".try_into().unwrap(),
        generation: 3,
        cause,
        last_call: Some(2),
        registers: Registers { rip: 0x40_c0f2, rsp: 0x3fef_d1c8, rflags: 0x202, r15: 1, ..Registers::ZERO },
        returns: [(8, 0x40_4212), (0x60, 0x40_b003)].map(|(above, value)| StackWord { above, value }).into(),
    }
}

/// As large as one can be.
fn largest() -> Record {
    let ones = u64::MAX;
    let register = Registers {
        rip: ones,
        rflags: ones,
        rsp: ones,
        rbp: ones,
        rax: ones,
        rbx: ones,
        rcx: ones,
        rdx: ones,
        rsi: ones,
        rdi: ones,
        r8: ones,
        r9: ones,
        r10: ones,
        r11: ones,
        r12: ones,
        r13: ones,
        r14: ones,
        r15: ones,
    };
    Record {
        sequence: ones,
        boot: u32::MAX,
        package: u32::MAX,
        time: ones,
        task: "n".repeat(28).as_str().try_into().unwrap(),
        generation: u32::MAX,
        cause: Cause::Exit { code: ones, reason: "r".repeat(REASON_BYTES_MAX).as_str().try_into().unwrap() },
        last_call: Some(ones),
        registers: register,
        returns: [StackWord { above: u32::MAX, value: ones }; RETURNS_MAX].into(),
    }
}

fn name(text: &str) -> abi::crash::Name {
    text.try_into().unwrap()
}

#[test]
fn records_and_boots_are_the_bytes_that_they_were() {
    let mut held = Held::all();
    held.against("boots", &Boots { boot: 2, told: 8, resets: 1 });
    held.against("page-fault", &record(1, Cause::PageFault { address: 0x10, access: Access::Write }));
    held.against("stack-overflow", &record(2, Cause::StackOverflow { address: 0x3fef_0000 }));
    held.against("exception", &record(3, Cause::Exception { vector: 13, error_code: 0x402 }));
    let reason = "panicked".try_into().unwrap();
    held.against("exit", &record(4, Cause::Exit { code: 101, reason }));
    held.against("killed", &record(5, Cause::Killed { by: name("console") }));
    held.against("no-heartbeat", &record(6, Cause::NoHeartbeat { period: 2000 }));
    held.against("reported", &record(8, Cause::Reported { by: name("block") }));
    let new = Record { last_call: None, returns: heapless::Vec::new(), ..record(7, Cause::Killed { by: name("") }) };
    held.against("without-calls", &new);
    held.against("largest", &largest());
    assert!(held.0.is_empty(), "lines that nothing is held against: {:?}", held.0.keys());
}

#[test]
fn the_line_of_a_record_is_that_of_a_task_that_stopped() {
    let line = |cause| record(1, cause).to_string();
    let rest = "instruction=0x40c0f2 last_call=reply-receive stack=0x3fefd1c8 frame=0x0 backtrace=+0x8:0x404212,+0x60:0x40b003";
    for (cause, told) in [
        (Cause::PageFault { address: 16, access: Access::Execute }, "cause=page-fault access=execute address=0x10"),
        (Cause::StackOverflow { address: 0x1000 }, "cause=stack-overflow address=0x1000"),
        (Cause::Exception { vector: 0, error_code: 0 }, "cause=divide-error error_code=0x0 address=none"),
        (
            Cause::Exit { code: 1, reason: "no disk".try_into().unwrap() },
            "cause=exit code=1 reason=\"no disk\" address=none",
        ),
        (Cause::Killed { by: name("console") }, "cause=killed by=console address=none"),
        (Cause::Reported { by: name("block") }, "cause=reported by=block address=none"),
        (Cause::NoHeartbeat { period: 200 }, "cause=no-heartbeat period_ms=200 address=none"),
    ] {
        assert_eq!(line(cause), format!("task=nvme generation=3 {told} {rest}"));
    }
    let bare = Record { last_call: None, returns: heapless::Vec::new(), ..record(1, Cause::Killed { by: name("x") }) };
    assert!(bare.to_string().ends_with(" last_call=none stack=0x3fefd1c8 frame=0x0 backtrace=none"));
    let strange = Record { last_call: Some(u64::MAX), ..bare };
    assert!(strange.to_string().contains(" last_call=unknown "));
}

#[test]
fn the_newest_records_share_the_slots_after_the_first() {
    let slots: Vec<_> = (1..=2 * RECORDS as u64).map(slot_of).collect();
    let ring: Vec<_> = (1..=RECORDS).chain(1..=RECORDS).collect();
    assert_eq!((slots, BYTES), (ring, (RECORDS + 1) * SLOT_BYTES));
    assert!((1..=RECORDS).contains(&slot_of(0)) && (1..=RECORDS).contains(&slot_of(u64::MAX)));
}

#[test]
fn what_is_not_whole_is_not_believed() {
    let mut slot = [0; SLOT_BYTES];
    let used = seal(&record(1, Cause::StackOverflow { address: 1 }), &mut slot).unwrap();
    assert!(open::<Record>(&slot).is_some());
    // Any bit of it.
    for bit in 0..used * 8 {
        let mut changed = slot;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open::<Record>(&changed), None, "bit {bit}");
    }
    for length in 0..used {
        assert_eq!(open::<Record>(&slot[..length]), None, "cut at {length}");
    }
    // Whole, and something else.
    assert_eq!(open::<Boots>(&slot), None);
    for byte in [0, 0xaf, 0xff] {
        assert_eq!(contents(&[byte; SLOT_BYTES]), None);
    }
    let mut endless = slot;
    endless[8..12].fill(0xff);
    assert_eq!(contents(&endless), None);
    assert_eq!((slot[..8].to_vec(), HEADER_BYTES), (MAGIC.to_vec(), 16));
}

proptest! {
    /// Whatever the memory holds after power-on.
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..2 * SLOT_BYTES), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() >= MAGIC.len() {
            bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        }
        let _ = (open::<Record>(&bytes), open::<Boots>(&bytes));
    }
}
