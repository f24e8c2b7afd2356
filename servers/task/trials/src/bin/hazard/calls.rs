//! System calls that do not exist, and arguments that make no sense. Each must be answered.

use abi::layout::{IPC_BUFFER, PAGE_BYTES};
use abi::system_call::{MESSAGE_WORDS, Number};
use task::{Frame, system_call};

use super::Outcome;

/// Numbers where a check could go wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    31,
    32,
    33,
    48,
    49,
    PAGE_BYTES,
    PAGE_BYTES + 1,
    u32::MAX as u64,
    1 << 32,
    1 << 63,
    IPC_BUFFER,
    0xffff_ffff_8000_0000,
    u64::MAX,
];

/// Makes the calls of this name.
pub fn attempt(name: &str, log: u64) -> Option<Outcome> {
    Some(match name {
        "numbers" => numbers(),
        "arguments" => arguments(log),
        "exit" => task::exit(7, "asked to"),
        "exit-text" => task::exit(8, "asked to\ncharter: boot complete tasks=99"),
        "panic" => panic!("asked to"),
        _ => return None,
    })
}

/// Every call that does not exist: answered with an error, and with no words.
fn numbers() -> Outcome {
    let (mut calls, mut wrong) = (0, 0);
    let first = (0..).find(|number| Number::new(*number).is_none()).unwrap_or(0);
    let powers = (5..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    for number in (first..4096).chain(powers).chain(EDGES).chain([u64::MAX - 1]) {
        if Number::new(number).is_some() {
            continue;
        }
        let frame = Frame { code: number, arguments: [u64::MAX; 4], words: [u64::MAX; MESSAGE_WORDS] };
        let after = system_call(frame);
        calls += 1;
        if abi::Error::new(after.code).is_none() || after.words != [0; MESSAGE_WORDS] {
            wrong += 1;
        }
    }
    Outcome::answered(("calls", calls), ("wrong", wrong))
}

/// Every call that exists, with every pair of edges as its first arguments: answered with success or an error that
/// exists. Waiting ones get a deadline that has passed; those that end this task are left out.
fn arguments(log: u64) -> Outcome {
    let (mut calls, mut wrong) = (0, 0);
    for number in 0..64 {
        let Some(number) = Number::new(number).filter(|number| *number != Number::Exit) else {
            continue;
        };
        let waits = matches!(number, Number::Call | Number::ReplyReceive);
        for first in EDGES {
            // Lines that may be written would only fill the log.
            if number == Number::Log && first == log {
                continue;
            }
            for second in EDGES {
                for third in if waits { &[0, 1][..] } else { &[0, 4, 8, u64::MAX][..] } {
                    for fourth in [0, u64::MAX] {
                        let frame = Frame {
                            code: number as u64,
                            arguments: [first, second, *third, fourth],
                            words: [u64::MAX; MESSAGE_WORDS],
                        };
                        let after = system_call(frame);
                        calls += 1;
                        if after.code != 0 && abi::Error::new(after.code).is_none() {
                            wrong += 1;
                        }
                    }
                }
            }
        }
    }
    Outcome::answered(("calls", calls), ("wrong", wrong))
}
