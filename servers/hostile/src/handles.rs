//! What a driver of either lane tries with handles of another kind, of nothing, and of others.

use abi::system_call::{MESSAGE_WORDS, NO_DEADLINE, Number};
use task::{Frame, Log, Receive, Registers, system_call};

use crate::{Answer, Tally};

/// Numbers that are no handle of this task.
const EDGES: [u64; 6] = [0xff, 0x1_0000_0001, u32::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];

/// Makes system calls with every handle but those that this task holds, and with answers to calls that nobody made.
pub fn attempts(registers: Registers, requests: Receive, own_log: Log) {
    let (registers, log) = (u64::from(registers.handle()), u64::from(own_log.handle()));
    let requests = u64::from(requests.handle());
    let tell = |name: &str, answers: &mut dyn Iterator<Item = Answer>| Tally::of(answers).tell(own_log, name);
    // Each call with what it is granted for, if this task holds such a thing.
    let calls = [
        ("handle-call", Number::Call, 0),
        ("handle-signal", Number::Signal, 0),
        ("handle-signal-receive", Number::SignalReceive, 0),
        ("handle-post-receive", Number::PostReceive, 0),
        ("handle-log", Number::Log, log),
        ("handle-device-information", Number::DeviceInformation, registers),
        ("handle-device-direct", Number::DeviceDirect, registers),
        ("handle-device-read", Number::DeviceRead, registers),
        ("handle-device-write", Number::DeviceWrite, registers),
        ("handle-device-submit", Number::DeviceSubmit, registers),
        ("handle-device-complete", Number::DeviceComplete, registers),
        ("handle-device-collect", Number::DeviceCollect, registers),
        ("handle-console-read", Number::ConsoleRead, 0),
        ("handle-console-write", Number::ConsoleWrite, 0),
        ("handle-inspect", Number::Inspect, 0),
        ("handle-power", Number::Power, 0),
        ("handle-supervise", Number::Supervise, 0),
        ("handle-kill", Number::Kill, 0),
    ];
    for (name, number, own) in calls {
        let others = (0..64).chain(EDGES).filter(|handle| *handle != own || own == 0);
        tell(name, &mut others.map(|handle| answer(number, [handle, 1, 1, 0])));
    }
    let others = (1..64).chain(EDGES).filter(|handle| *handle != requests);
    tell("handle-receive", &mut others.map(|handle| answer(Number::ReplyReceive, [0, 0, 0, handle])));
    // Nobody calls: no number is a reply.
    let replies = (0..64).chain((0..64).map(|bit| 1 << bit)).chain(EDGES).chain(calls_of_others());
    tell("reply-to-nobody", &mut replies.clone().map(|reply| answer(Number::Reply, [reply, 8, 0, 0])));
    let and_wait = |reply| answer(Number::ReplyReceive, [reply, 8, NO_DEADLINE, requests]);
    tell("reply-to-nobody-and-receive", &mut replies.filter(|reply| *reply != 0).map(and_wait));
    let numbers = (40..256).chain((8..64).map(|bit| 1 << bit)).chain([u64::MAX]);
    tell("no-such-call", &mut numbers.map(|code| Answer::frame(&system_call(Frame { code, ..frame([0; 4]) }))));
}

/// Reply handles as other servers hold them: every task, in its first calls.
fn calls_of_others() -> impl Iterator<Item = u64> + Clone {
    (0..8).flat_map(|task| (1..32).map(move |generation| generation << 8 | task))
}

fn frame(arguments: [u64; 4]) -> Frame {
    Frame { code: 0, arguments, words: [!0; MESSAGE_WORDS] }
}

fn answer(number: Number, arguments: [u64; 4]) -> Answer {
    Answer::frame(&system_call(Frame { code: number as u64, ..frame(arguments) }))
}
