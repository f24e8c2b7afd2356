//! The short way of a call, an answer or a signal does what the long way does.

extern crate std;

use abi::layout::IPC_BUFFER_BYTES;
use abi::package::{Capability, TASKS_MAX};
use abi::system_call::{NO_DEADLINE, NO_HANDLE, Number, POSTED};
use proptest::prelude::*;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use super::{at_once, handle, signal_directly};
use crate::objects::direct::HandOver;
use crate::objects::task::{State, Task};
use crate::objects::{EndpointId, TaskId};
use crate::state::Kernel;

const TASKS: usize = 5;

fn id(index: usize) -> TaskId {
    TaskId::new(index).unwrap()
}

/// Two servers (tasks 0 and 1), who may signal each other, and three clients of both, who may signal them; the first
/// server may call the second. Two clients are equal.
fn kernel() -> Box<Kernel> {
    let mut kernel = Box::new(Kernel::new());
    kernel.objects.set_buffers(Box::leak(vec![[0; IPC_BUFFER_BYTES]; TASKS_MAX].into_boxed_slice()));
    for (index, priority) in [20, 30, 5, 5, 10].into_iter().enumerate() {
        let mut task = Task { priority, ..Task::empty() };
        let capabilities = [
            Capability::Call { endpoint: 0, badge: index as u32 },
            Capability::Call { endpoint: 1, badge: index as u32 },
            Capability::Receive { endpoint: index as u16 },
            Capability::Signal { task: 0, bits: 1 << index },
            Capability::Signal { task: 1, bits: 1 << index },
        ];
        for (slot, capability) in task.capabilities.iter_mut().zip(capabilities) {
            *slot = Some(capability);
        }
        if index < 2 {
            kernel.objects.endpoint_mut(EndpointId::new(index).unwrap()).server = TaskId::new(index);
        }
        kernel.objects.add(id(index), task);
    }
    kernel
}

/// What the entry code does with a system call of the current task, the short way where there is one, and what the
/// stubs do with the registers. Returns whether it was a short way.
fn enter(kernel: &mut Kernel) -> bool {
    let current = kernel.objects.current().unwrap();
    let registers = kernel.objects.task(current).registers;
    let (first, second, third, fourth) = (registers.rdi, registers.rsi, registers.rdx, registers.r15);
    let over = match Number::new(registers.rax) {
        Some(Number::Call) => kernel.objects.call_directly(first, second, third),
        Some(Number::ReplyReceive) => kernel.objects.reply_receive_directly(first, second, third, fourth),
        Some(Number::SignalReceive) => kernel.objects.signal_receive_directly(first, second, third, fourth),
        Some(Number::PostReceive) => kernel.objects.post_receive_directly(first, second, third, fourth),
        _ => None,
    };
    if let Some(over) = over {
        hand_over(kernel, over);
        return true;
    }
    if registers.rax == Number::ReplyReceive as u64
        && first == NO_HANDLE
        && kernel.objects.receive_directly(third, fourth)
    {
        assert_eq!(kernel.objects.current(), None);
        return true;
    }
    if let Some((status, [first, second, third])) = at_once(kernel, registers.rax) {
        let registers = &mut kernel.objects.task_mut(current).registers;
        registers.set_results(status, first, second, third);
        registers.set_words([0; 6]);
        return true;
    }
    if registers.rax == Number::Signal as u64
        && let Some(over) = signal_directly(kernel, first)
    {
        hand_over(kernel, over);
        return true;
    }
    handle(kernel);
    false
}

fn hand_over(kernel: &mut Kernel, over: HandOver) {
    let mut words = kernel.objects.task(over.from).registers.words();
    words[over.bytes.div_ceil(8) as usize..].fill(0);
    let registers = &mut kernel.objects.task_mut(over.to).registers;
    registers.set_results(0, over.first, over.bytes, over.third);
    registers.set_words(words);
    // Nobody is asked who is to run: nobody else may be.
    assert_eq!(kernel.objects.current(), Some(over.to));
    assert!(!kernel.objects.must_choose());
}

/// Everything that a task or the timer could see of it.
fn state(kernel: &Kernel) -> String {
    let tasks: Vec<_> = kernel
        .objects
        .tasks()
        .map(|(_, task)| (task.registers, task.state, task.deadline, task.calls, task.notification, task.next))
        .collect();
    format!("{:?} {} {tasks:#x?}", kernel.objects.current(), kernel.objects.next_event())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Two kernels do the same, one the long way; after every step they are in the same state.
    #[test]
    fn the_short_way_does_what_the_long_way_does(
        steps in proptest::collection::vec((0u64..10, 0u64..8, prop_oneof![0u64..60, Just(4096), Just(4097)], 0u64..4), 1..80)
    ) {
        let (mut short, mut long) = (kernel(), kernel());
        let mut now = 0;
        let mut handles = Vec::new();
        for (step, which, bytes, late) in steps {
            for kernel in [&mut short, &mut long] {
                kernel.objects.schedule(|| now);
                if kernel.objects.current().is_none() || step == 7 {
                    kernel.objects.expire(now + 10 * which);
                    kernel.objects.signal(id(which as usize % TASKS), 1);
                    kernel.objects.schedule(|| now);
                }
            }
            if step == 7 {
                now += 10 * which;
            }
            prop_assert_eq!(state(&short), state(&long));
            let Some(current) = short.objects.current() else { continue };
            let registers = short.objects.task(current).registers;
            if registers.rax == 0 && registers.rdi > 255 {
                handles.push(registers.rdi);
            }
            let reply = if late == 3 { handles.get(which as usize).copied().unwrap_or(0) } else { registers.rdi };
            let deadline = if late == 0 { NO_DEADLINE } else { now + 13 * late };
            let (number, [rdi, rsi, rdx, r15]) = match step {
                0..=2 => (Number::Call, [which % 3, bytes, deadline, 0]),
                3 => (Number::Signal, [which, 0, 0, 0]),
                4 => (Number::Yield, [0; 4]),
                9 => (Number::PostReceive, [which, bytes, deadline, if late == 2 { 0 } else { 3 }]),
                8 => (Number::SignalReceive, [which, bytes, deadline, if late == 2 { 0 } else { 3 }]),
                _ => (Number::ReplyReceive, [reply, bytes, deadline, if which == 7 { 0 } else { 3 }]),
            };
            for kernel in [&mut short, &mut long] {
                let registers = &mut kernel.objects.task_mut(current).registers;
                registers.set_results(number as u64, rdi, rsi, rdx);
                registers.r15 = r15;
                registers.set_words([now ^ 1, 2, 3, 4, 5, 6]);
            }
            enter(&mut short);
            handle(&mut long);
            for kernel in [&mut short, &mut long] {
                kernel.objects.schedule(|| now);
            }
            prop_assert_eq!(state(&short), state(&long));
        }
    }
}

/// The task that is expected to run makes a call. Whether that went the short way.
fn ask(kernel: &mut Kernel, expected: usize, number: Number, [rdi, rsi, rdx, r15]: [u64; 4]) -> bool {
    kernel.objects.schedule(|| 0);
    assert_eq!(kernel.objects.current(), TaskId::new(expected));
    let registers = &mut kernel.objects.task_mut(id(expected)).registers;
    registers.set_results(number as u64, rdi, rsi, rdx);
    registers.r15 = r15;
    enter(kernel)
}

#[test]
fn a_call_and_its_answer_and_a_signal_go_the_short_way() {
    let mut kernel = kernel();
    let mut ask = |expected, number, arguments| ask(&mut kernel, expected, number, arguments);
    assert!(!ask(1, Number::ReplyReceive, [0, 0, NO_DEADLINE, 3]), "nobody is answered");
    assert!(!ask(0, Number::ReplyReceive, [0, 0, NO_DEADLINE, 3]));
    assert!(ask(4, Number::Call, [1, 8, NO_DEADLINE, 0]));
    assert!(ask(0, Number::ReplyReceive, [1 << 8 | 4, 48, NO_DEADLINE, 3]));
    assert!(ask(4, Number::Signal, [4, 0, 0, 0]));
    assert!(!ask(0, Number::ReplyReceive, [0, 0, NO_DEADLINE, 3]));
    assert!(!ask(4, Number::Call, [1, 49, NO_DEADLINE, 0]), "a long message");
    assert!(!ask(0, Number::ReplyReceive, [0, 0, NO_DEADLINE, 3]), "no reply");
    assert!(ask(2, Number::SignalReceive, [4, 48, NO_DEADLINE, 3]), "the first server waits");
    assert!(!ask(0, Number::SignalReceive, [4, 8, NO_DEADLINE, 3]), "it does not any more");
    assert_eq!(kernel.objects.task(id(0)).registers.rax, abi::Error::Busy as u64);
}

#[test]
fn the_last_one_that_waits_goes_the_short_way_if_nothing_is_there_for_it() {
    let kernel = || {
        let mut kernel = kernel();
        for expected in [1, 0, 4, 2] {
            assert!(!ask(&mut kernel, expected, Number::ReplyReceive, [0, 0, 1000, 3]), "others are ready");
        }
        kernel
    };
    let wait = [0, 0, NO_DEADLINE, 3];
    let mut last = kernel();
    assert!(ask(&mut last, 3, Number::ReplyReceive, wait));
    assert_eq!(last.objects.task(id(3)).state, State::Receiving(EndpointId::new(3).unwrap()));
    assert!(!ask(&mut kernel(), 3, Number::ReplyReceive, [0, 0, 999, 3]), "the timer must be set");
    assert!(!ask(&mut kernel(), 3, Number::ReplyReceive, [0, 0, NO_DEADLINE, 0]), "it receives nowhere");
    let mut signalled = kernel();
    signalled.objects.signal(id(3), 1);
    assert!(!ask(&mut signalled, 3, Number::ReplyReceive, wait), "a signal is there");
    assert_eq!(signalled.objects.current(), TaskId::new(3));
    let mut busy = kernel();
    busy.objects.signal(id(0), 1);
    assert!(!ask(&mut busy, 0, Number::ReplyReceive, wait), "somebody is ready");
}

#[test]
fn what_is_posted_is_answered_by_nobody_and_its_sender_waits_meanwhile() {
    let mut kernel = kernel();
    let mut ask = |expected, number, arguments| {
        let directly = ask(&mut kernel, expected, number, arguments);
        let registers = kernel.objects.task(id(1)).registers;
        (directly, [registers.rax, registers.rdi, registers.rsi, registers.rdx])
    };
    ask(1, Number::ReplyReceive, [0, 0, NO_DEADLINE, 3]);
    let (directly, arrived) = ask(0, Number::PostReceive, [2, 48, NO_DEADLINE, 3]);
    assert!(directly);
    assert_eq!(arrived, [0, POSTED, 48, 0], "the badge is that of the first task");
    // There is nobody to answer.
    let invalid = abi::Error::Invalid as u64;
    assert_eq!(ask(1, Number::Reply, [POSTED, 8, 0, 0]), (false, [invalid, 0, 0, 0]));
    assert_eq!(ask(1, Number::ReplyReceive, [POSTED, 8, NO_DEADLINE, 3]), (false, [invalid, 0, 0, 0]));
    ask(1, Number::ReplyReceive, [0, 0, NO_DEADLINE, 3]);
    // The first server waits for its clients as before.
    assert!(ask(4, Number::Call, [1, 8, NO_DEADLINE, 0]).0);
    let (directly, arrived) = ask(0, Number::PostReceive, [2, 4096, NO_DEADLINE, 3]);
    assert!(!directly, "a long message");
    assert_eq!(arrived, [0, POSTED, 4096, 0]);
}

#[test]
fn nothing_is_posted_to_a_server_that_does_not_wait() {
    let mut kernel = kernel();
    kernel.objects.schedule(|| 0);
    // The second server waits for notifications only, and the first runs.
    let mut ask = |expected, number, arguments| {
        ask(&mut kernel, expected, number, arguments);
        kernel.objects.task(id(expected)).registers.rax
    };
    ask(1, Number::ReplyReceive, [0, 0, NO_DEADLINE, 0]);
    assert_eq!(ask(0, Number::PostReceive, [2, 8, NO_DEADLINE, 3]), abi::Error::Busy as u64);
    assert_eq!(ask(0, Number::PostReceive, [2, 4097, NO_DEADLINE, 3]), abi::Error::Invalid as u64);
    assert_eq!(ask(0, Number::PostReceive, [4, 8, NO_DEADLINE, 3]), abi::Error::Denied as u64, "a signal handle");
    assert_eq!(ask(0, Number::PostReceive, [1, 8, NO_DEADLINE, 3]), abi::Error::Busy as u64, "its own endpoint");
}
