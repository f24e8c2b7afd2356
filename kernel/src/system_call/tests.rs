//! System calls with wrong, boundary and right arguments, without hardware.

extern crate std;

use abi::Error;
use abi::inspect;
use abi::layout::IPC_BUFFER_BYTES;
use abi::package::{Capability, InspectTopic, PowerAction, TASKS_MAX};
use abi::system_call::{CONSOLE_BYTES_MAX, ConsoleState, LOG_BYTES_MAX, NO_DEADLINE, Number};
use std::boxed::Box;
use std::vec;

use super::handle;
use crate::log::refusals::Kind;
use crate::objects::registers::Registers;
use crate::objects::task::{State, Task};
use crate::objects::{EndpointId, TaskId};
use crate::state::Kernel;

/// A server (task 0) and a client (task 1) with one capability of each kind, handles 1 to 13.
fn kernel() -> Box<Kernel> {
    let mut kernel = Box::new(Kernel::new());
    kernel.objects.set_buffers(Box::leak(vec![[0; IPC_BUFFER_BYTES]; TASKS_MAX].into_boxed_slice()));
    let held = [
        Capability::Call { endpoint: 0, badge: 3 },
        Capability::Signal { task: 0, bits: 4 },
        Capability::Registers { device: 0 },
        Capability::DeviceInformation { device: 0 },
        Capability::Log { name: 0 },
        Capability::Interrupt { device: 0, vector: 0, bits: 1 },
        Capability::Console { bits: 8 },
        Capability::Inspect { topic: InspectTopic::Tasks },
        Capability::Inspect { topic: InspectTopic::Devices },
        Capability::Inspect { topic: InspectTopic::Log },
        Capability::Power { action: PowerAction::Off },
        Capability::Supervise { task: 2, bits: 16, heartbeat: 0 },
        Capability::Kill { task: 0 },
    ];
    let mut client = Task { priority: 1, ..Task::empty() };
    for (slot, capability) in client.capabilities.iter_mut().zip(held) {
        *slot = Some(capability);
    }
    client.log_names.push("client".try_into().unwrap()).unwrap();
    let mut server = Task { priority: 2, ..Task::empty() };
    server.capabilities[0] = Some(Capability::Receive { endpoint: 0 });
    let endpoint = EndpointId::new(0).unwrap();
    kernel.objects.endpoint_mut(endpoint).server = TaskId::new(0);
    kernel.objects.add(TaskId::new(0).unwrap(), server);
    kernel.objects.add(TaskId::new(1).unwrap(), client);
    kernel.objects.schedule(|| 0);
    ask(&mut kernel, Number::ReplyReceive as u64, [0, 0, NO_DEADLINE, 1]);
    kernel.objects.schedule(|| 0);
    assert_eq!(kernel.objects.current(), TaskId::new(1));
    kernel
}

/// The current task makes a system call; returns its registers afterwards.
fn ask(kernel: &mut Kernel, number: u64, [rdi, rsi, rdx, r15]: [u64; 4]) -> Registers {
    let current = kernel.objects.current().unwrap();
    let registers = &mut kernel.objects.task_mut(current).registers;
    *registers = Registers { rax: number, rdi, rsi, rdx, r15, r8: 0x88, r14: 0xee, rbx: 0xbb, ..*registers };
    handle(kernel);
    kernel.objects.task(current).registers
}

#[test]
fn every_result_register_is_defined_and_the_others_are_kept() {
    let mut kernel = kernel();
    let after = ask(&mut kernel, Number::Null as u64, [1, 2, 3, 4]);
    assert_eq!((after.rax, after.rdi, after.rsi, after.rdx, after.r15), (0, 0, 0, 0, 0));
    assert_eq!(after.words(), [0; 6]);
    assert_eq!(after.rbx, 0xbb);
}

#[test]
fn numbers_that_are_no_call_are_invalid() {
    let mut kernel = kernel();
    for number in [26, 27, 255, 1 << 32, u64::MAX] {
        assert_eq!(ask(&mut kernel, number, [1, 1, 1, 1]).rax, Error::Invalid as u64);
    }
}

#[test]
fn handles_of_another_kind_or_of_nothing_are_denied() {
    let mut kernel = kernel();
    let wrong =
        |good: u64| [0, 1, 2, 3, 4, 5, 6, 14, 32, 33, 1 << 32 | 1, u64::MAX].into_iter().filter(move |h| *h != good);
    for (number, good) in [
        (Number::Call, 1),
        (Number::Signal, 2),
        (Number::Log, 5),
        (Number::DeviceRead, 3),
        (Number::DeviceWrite, 3),
        (Number::DeviceSubmit, 3),
        (Number::DeviceComplete, 3),
        (Number::DeviceCollect, 3),
        (Number::ConsoleRead, 7),
        (Number::ConsoleWrite, 7),
        (Number::Inspect, 8),
        (Number::Power, 11),
        (Number::Supervise, 12),
        (Number::Kill, 13),
    ] {
        for handle in wrong(good) {
            assert_eq!(
                ask(&mut kernel, number as u64, [handle, 0, 4, 0]).rax,
                Error::Denied as u64,
                "{number:?} {handle}"
            );
        }
        let tries = wrong(good).count() as u32;
        assert_eq!(
            kernel.refusals.times(1, Kind::Call(number as u64, Error::Denied)),
            tries,
            "{number:?}: each counts"
        );
    }
    for handle in wrong(3).filter(|handle| *handle != 4) {
        assert_eq!(ask(&mut kernel, Number::DeviceInformation as u64, [handle, 0, 0, 0]).rax, Error::Denied as u64);
    }
    for handle in 1..15 {
        assert_eq!(ask(&mut kernel, Number::ReplyReceive as u64, [0, 0, 0, handle]).rax, Error::Denied as u64);
    }
}

#[test]
fn a_denied_receive_does_not_use_up_the_reply() {
    let mut kernel = kernel();
    ask(&mut kernel, Number::Call as u64, [1, 0, NO_DEADLINE, 0]);
    assert_eq!(kernel.objects.current(), TaskId::new(0));
    let handle = kernel.objects.task(TaskId::new(0).unwrap()).registers.rdi;
    assert_eq!(ask(&mut kernel, Number::ReplyReceive as u64, [handle, 0, 0, 9]).rax, Error::Denied as u64);
    assert_eq!(ask(&mut kernel, Number::Reply as u64, [handle, 0, 0, 0]).rax, 0);
    assert_eq!(ask(&mut kernel, Number::Reply as u64, [handle, 0, 0, 0]).rax, Error::Invalid as u64);
}

#[test]
fn lengths_are_compared_before_anything_is_done() {
    let mut kernel = kernel();
    for bytes in [IPC_BUFFER_BYTES as u64 + 1, 1 << 32, u64::MAX] {
        assert_eq!(ask(&mut kernel, Number::Call as u64, [1, bytes, 0, 0]).rax, Error::Invalid as u64);
        assert_eq!(ask(&mut kernel, Number::DeviceSubmit as u64, [3, 0, bytes, 0]).rax, Error::Invalid as u64);
    }
    assert_eq!(ask(&mut kernel, Number::Log as u64, [5, LOG_BYTES_MAX as u64 + 1, 0, 0]).rax, Error::Invalid as u64);
    assert_eq!(ask(&mut kernel, Number::Ready as u64, [2, 0, 0, 0]).rax, Error::Invalid as u64);
}

#[test]
fn the_console_takes_what_was_typed_and_writes_text_of_a_bounded_length() {
    let mut kernel = kernel();
    assert_eq!(ask(&mut kernel, Number::ConsoleWrite as u64, [7, CONSOLE_BYTES_MAX as u64 + 1, 0, 0]).rax, 2);
    assert_eq!(ask(&mut kernel, Number::ConsoleWrite as u64, [7, u64::MAX, 0, 0]).rax, Error::Invalid as u64);
    b"help\n".iter().for_each(|byte| kernel.input.put(*byte));
    let after = ask(&mut kernel, Number::ConsoleRead as u64, [7, 0, 0, 0]);
    assert_eq!((after.rax, ConsoleState::from_word(after.rdi).present, after.rsi, after.rdx), (0, false, 5, 0));
    assert_eq!(after.words()[0].to_le_bytes(), *b"help\n\0\0\0");
    assert_eq!(ask(&mut kernel, Number::ConsoleRead as u64, [7, 0, 0, 0]).rsi, 0);
}

#[test]
fn each_topic_is_told_entry_by_entry_and_ends() {
    let mut kernel = kernel();
    let current = kernel.objects.current().unwrap();
    let mut told = |handle: u64, number: u64| {
        let after = ask(&mut kernel, Number::Inspect as u64, [handle, number, 0, 0]);
        assert_eq!(after.rax, 0);
        kernel.objects.buffer(current)[..after.rsi as usize].to_vec()
    };
    let bytes = told(8, 0);
    let server: inspect::Task<'_> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((server.priority, server.state, server.started), (2, inspect::TaskState::Waiting, None));
    let bytes = told(8, 1);
    let client: inspect::Task<'_> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((client.priority, client.state), (1, inspect::TaskState::Ready));
    for (handle, number) in [(8, 2), (8, u64::MAX), (9, 0), (9, u64::MAX), (10, u64::MAX)] {
        assert_eq!(told(handle, number), [], "{handle} {number}");
    }
}

#[test]
fn without_a_machine_there_is_no_way_to_end_it() {
    let mut kernel = kernel();
    let after = ask(&mut kernel, Number::Power as u64, [11, 0, 0, 0]);
    assert_eq!((after.rax, after.rdi), (0, 0));
    for doit in [1, 2, u64::MAX] {
        assert_eq!(ask(&mut kernel, Number::Power as u64, [11, doit, 0, 0]).rax, Error::Invalid as u64);
    }
}

#[test]
fn orders_that_there_are_not_are_invalid_and_counted_and_the_dead_are_no_offence() {
    let mut kernel = kernel();
    kernel.objects.add(TaskId::new(2).unwrap(), Task { priority: 1, ..Task::empty() });
    for (number, handle) in [(Number::Supervise, 12), (Number::Kill, 13)] {
        for order in [99, 1 << 32, u64::MAX] {
            assert_eq!(ask(&mut kernel, number as u64, [handle, order, 0, 0]).rax, Error::Invalid as u64);
        }
        assert_eq!(kernel.refusals.times(1, Kind::Call(number as u64, Error::Invalid)), 3, "{number:?}");
    }
    // A task that runs cannot be restarted.
    assert_eq!(ask(&mut kernel, Number::Supervise as u64, [12, 1, 0, 0]).rax, Error::Invalid as u64);
    assert_eq!(kernel.refusals.times(1, Kind::Call(Number::Supervise as u64, Error::Invalid)), 4);
    assert_eq!(ask(&mut kernel, Number::Kill as u64, [13, 1, 0, 0]).rax, 0);
    assert_eq!(ask(&mut kernel, Number::Kill as u64, [13, 1, 0, 0]).rax, Error::DeadPeer as u64);
    for error in [Error::Denied, Error::DeadPeer] {
        assert_eq!(kernel.refusals.times(1, Kind::Call(Number::Kill as u64, error)), 0);
    }
    assert_eq!(kernel.refusals.times(1, Kind::Call(Number::Kill as u64, Error::Invalid)), 3);
}

#[test]
fn a_log_flood_is_busy_and_nobody_elses_loss() {
    let mut kernel = kernel();
    let mut busy = 0;
    for _ in 0..1000 {
        match ask(&mut kernel, Number::Log as u64, [5, 10, 0, 0]).rax {
            0 => {}
            code => {
                assert_eq!(code, Error::Busy as u64);
                busy += 1;
            }
        }
    }
    assert!(busy > 500, "{busy}");
}

#[test]
fn exit_stops_the_task_and_nothing_else() {
    let mut kernel = kernel();
    ask(&mut kernel, Number::Exit as u64, [7, u64::MAX, 0, 0]);
    assert_eq!(kernel.objects.current(), None);
    assert_eq!(kernel.objects.task(TaskId::new(1).unwrap()).state, State::Stopped);
    assert!(matches!(kernel.objects.task(TaskId::new(0).unwrap()).state, State::Receiving(_)));
}

proptest::proptest! {
    /// Random calls with random arguments never panic, and the caller's result registers are always defined.
    #[test]
    fn no_arguments_panic(calls in proptest::collection::vec((0u64..26, arguments()), 1..100)) {
        let mut kernel = kernel();
        for (number, arguments) in calls {
            kernel.objects.schedule(|| 0);
            if kernel.objects.current().is_none() {
                kernel.objects.expire(u64::MAX - 1);
                kernel.objects.signal(TaskId::new(0).unwrap(), 1);
                kernel.objects.schedule(|| 0);
            }
            if kernel.objects.current().is_none() {
                break;
            }
            ask(&mut kernel, number, arguments);
        }
    }
}

fn arguments() -> impl proptest::strategy::Strategy<Value = [u64; 4]> {
    use proptest::prelude::*;
    let value = prop_oneof![0u64..14, Just(48), Just(49), Just(4096), Just(4097), Just(u64::MAX), any::<u64>()];
    [value.clone(), value.clone(), value.clone(), value]
}
