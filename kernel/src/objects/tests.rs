//! Messages, notifications, priorities and deaths, without hardware.

extern crate std;

use abi::Error;
use abi::layout::IPC_BUFFER_BYTES;
use abi::package::TASKS_MAX;
use abi::system_call::{NO_DEADLINE, PEER_STOPPED};
use std::boxed::Box;
use std::vec;

use super::task::{State, Task};
use super::{EndpointId, Objects, TaskId};

const ENDPOINT: EndpointId = EndpointId(0);

fn id(index: usize) -> TaskId {
    TaskId::new(index).unwrap()
}

/// A server (task 0, priority 9) that receives on the endpoint, and clients of the given priorities that may call it.
fn system(clients: &[u8]) -> Objects {
    let mut objects = Objects::new();
    objects.set_buffers(Box::leak(vec![[0; IPC_BUFFER_BYTES]; TASKS_MAX].into_boxed_slice()));
    objects.endpoint_mut(ENDPOINT).server = Some(id(0));
    for (index, priority) in [9].iter().chain(clients).enumerate() {
        objects.add(id(index), Task { priority: *priority, ..Task::empty() });
        if index > 0 {
            objects.add_holder(ENDPOINT, id(index));
        }
    }
    run(&mut objects, 0);
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    objects
}

/// The scheduler must choose this task.
fn run(objects: &mut Objects, expected: usize) {
    objects.schedule(|| 0);
    assert_eq!(objects.current(), TaskId::new(expected));
}

fn set_message(objects: &mut Objects, task: usize, words: [u64; 6]) {
    objects.task_mut(id(task)).registers.set_words(words);
}

fn status(objects: &Objects, task: usize) -> u64 {
    objects.task(id(task)).registers.rax
}

#[test]
fn a_call_and_its_answer_arrive_in_registers() {
    let mut objects = system(&[5]);
    run(&mut objects, 1);
    set_message(&mut objects, 1, [1, 2, 3, 4, 5, 6]);
    objects.call(ENDPOINT, 77, 20, NO_DEADLINE).unwrap();
    assert_eq!(objects.current(), TaskId::new(0), "the server runs at once");
    let received = objects.task(id(0)).registers;
    assert_eq!(received.words(), [1, 2, 3, 0, 0, 0], "words beyond the length are zero");
    assert_eq!((received.rax, received.rsi, received.rdx), (0, 20, 77));
    set_message(&mut objects, 0, [9, 8, 7, 6, 5, 4]);
    objects.reply(received.rdi, 48).unwrap();
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    run(&mut objects, 1);
    let answered = objects.task(id(1)).registers;
    assert_eq!(answered.words(), [9, 8, 7, 6, 5, 4]);
    assert_eq!((answered.rax, answered.rdi, answered.rsi, answered.rdx, answered.r15), (0, 0, 48, 0, 0));
}

#[test]
fn long_messages_go_through_the_buffers() {
    let mut objects = system(&[5]);
    run(&mut objects, 1);
    objects.buffer(id(1)).fill(0xab);
    set_message(&mut objects, 1, [1; 6]);
    objects.call(ENDPOINT, 0, 100, NO_DEADLINE).unwrap();
    assert_eq!(objects.task(id(0)).registers.words(), [0; 6]);
    assert_eq!(objects.buffer(id(0))[..100], [0xab; 100]);
    assert_eq!(objects.buffer(id(0))[100..], [0; IPC_BUFFER_BYTES - 100], "nothing beyond the length");
    assert_eq!(objects.call(ENDPOINT, 0, IPC_BUFFER_BYTES as u64 + 1, NO_DEADLINE), Err(Error::Invalid));
}

#[test]
fn a_reply_handle_is_good_once_and_for_its_server_alone() {
    let mut objects = system(&[5, 6]);
    run(&mut objects, 2);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    let handle = objects.task(id(0)).registers.rdi;
    for forged in [0, 1, handle + 1, handle + 256, handle ^ 3, u64::MAX, 255] {
        assert_eq!(objects.reply(forged, 0), Err(Error::Invalid), "{forged:#x}");
    }
    assert_eq!(objects.reply(handle, IPC_BUFFER_BYTES as u64 + 1), Err(Error::Invalid));
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    run(&mut objects, 1);
    assert_eq!(objects.reply(handle, 0), Err(Error::Invalid), "another task's handle");
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    objects.reply(handle, 0).unwrap();
    assert_eq!(objects.reply(handle, 0), Err(Error::Invalid), "used up");
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    run(&mut objects, 2);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    assert_eq!(objects.reply(handle, 0), Err(Error::Invalid), "of an earlier call");
}

#[test]
fn callers_queue_in_order() {
    let mut objects = system(&[5, 5, 5]);
    for client in 1..=3 {
        run(&mut objects, client);
        objects.call(ENDPOINT, client as u32, 0, NO_DEADLINE).unwrap();
        if client == 1 {
            // The server waits for something else meanwhile.
            objects.receive(None, NO_DEADLINE);
        }
    }
    objects.signal(id(0), 1);
    run(&mut objects, 0);
    for client in 2..=3 {
        objects.receive(Some(ENDPOINT), NO_DEADLINE);
        assert_eq!(objects.task(id(0)).registers.rdx, client);
    }
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    assert_eq!(objects.task(id(0)).state, State::Receiving(ENDPOINT));
}

#[test]
fn a_deadline_ends_a_call_wherever_it_stands() {
    let mut objects = system(&[5, 4]);
    run(&mut objects, 1);
    objects.call(ENDPOINT, 0, 0, 100).unwrap();
    let handle = objects.task(id(0)).registers.rdi;
    objects.receive(None, NO_DEADLINE);
    run(&mut objects, 2);
    objects.call(ENDPOINT, 0, 0, 50).unwrap();
    assert_eq!(objects.next_event(), 50);
    objects.expire(49);
    assert_eq!(objects.current(), None);
    objects.expire(50);
    run(&mut objects, 2);
    assert_eq!(status(&objects, 2), Error::TimedOut as u64);
    assert_eq!(objects.next_event(), 100);
    objects.expire(100);
    run(&mut objects, 1);
    assert_eq!(status(&objects, 1), Error::TimedOut as u64);
    objects.signal(id(0), 1);
    run(&mut objects, 0);
    assert_eq!(objects.reply(handle, 0), Err(Error::Invalid), "a late answer");
    objects.receive(Some(ENDPOINT), 200);
    assert_eq!(objects.task(id(0)).state, State::Receiving(ENDPOINT), "the caller that gave up is not received");
    objects.expire(200);
    assert_eq!(status(&objects, 0), Error::TimedOut as u64);
}

#[test]
fn a_servers_death_reaches_everybody_who_waits_or_may_call() {
    let mut objects = system(&[5, 4, 3]);
    run(&mut objects, 1);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    objects.receive(None, NO_DEADLINE);
    run(&mut objects, 2);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    run(&mut objects, 3);
    objects.stop(id(0));
    assert_eq!(objects.call(ENDPOINT, 0, 0, NO_DEADLINE), Err(Error::DeadPeer));
    run(&mut objects, 1);
    assert_eq!(status(&objects, 1), Error::DeadPeer as u64, "its call was received");
    assert_eq!(status(&objects, 2), Error::DeadPeer as u64, "its call was queued");
    objects.receive(None, NO_DEADLINE);
    assert_eq!(objects.task(id(1)).registers.rdx, PEER_STOPPED);
    objects.signal(id(0), 1);
    assert_eq!(objects.task(id(0)).state, State::Stopped, "nothing wakes the dead");
}

#[test]
fn a_clients_death_voids_its_reply_handle_and_its_place_in_the_queue() {
    let mut objects = system(&[5, 4]);
    run(&mut objects, 1);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    let handle = objects.task(id(0)).registers.rdi;
    objects.receive(None, NO_DEADLINE);
    run(&mut objects, 2);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    objects.stop(id(1));
    objects.stop(id(2));
    objects.signal(id(0), 1);
    run(&mut objects, 0);
    assert_eq!(objects.reply(handle, 0), Err(Error::DeadPeer));
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    assert_eq!(objects.task(id(0)).state, State::Receiving(ENDPOINT));
    run_nobody(&mut objects);
}

fn run_nobody(objects: &mut Objects) {
    objects.schedule(|| 0);
    assert_eq!(objects.current(), None);
}

#[test]
fn notifications_gather_and_go_before_messages() {
    let mut objects = system(&[5]);
    run(&mut objects, 1);
    objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    objects.signal(id(0), 0b01);
    objects.signal(id(0), 0b10);
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    let registers = objects.task(id(0)).registers;
    assert_eq!((registers.rax, registers.rdi, registers.rdx), (0, 0, 0b11));
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    assert_eq!(objects.task(id(0)).state, State::Receiving(ENDPOINT), "bits are taken once");
}

#[test]
fn equals_take_turns_and_the_preempted_goes_first() {
    let mut objects = system(&[5, 5]);
    run(&mut objects, 1);
    let slice = objects.next_event();
    assert_ne!(slice, NO_DEADLINE, "an equal is ready");
    objects.expire(slice);
    run(&mut objects, 2);
    objects.expire(objects.next_event());
    run(&mut objects, 1);
    objects.signal(id(0), 1);
    run(&mut objects, 0);
    objects.receive(Some(ENDPOINT), NO_DEADLINE);
    run(&mut objects, 1);
    objects.yield_current();
    run(&mut objects, 2);
    objects.stop(id(1));
    run(&mut objects, 2);
    assert_eq!(objects.next_event(), objects.slice_end);
    objects.receive(None, NO_DEADLINE);
    run_nobody(&mut objects);
}

proptest::proptest! {
    /// Whatever tasks do, in any order: a task is in one place, nobody waits for the dead, and a reply handle never
    /// answers twice.
    #[test]
    fn no_sequence_breaks_the_tables(steps in proptest::collection::vec((0u8..8, 0u64..6, 0u64..60), 1..200)) {
        let mut objects = system(&[5, 5, 4, 3]);
        let mut handles = vec![];
        let mut now = 0;
        for (step, which, bytes) in steps {
            objects.schedule(|| now);
            let Some(current) = objects.current() else {
                now += 10;
                objects.expire(now);
                objects.signal(id(which as usize % 5), 1);
                continue;
            };
            match step {
                0 | 1 if current.index() != 0 => {
                    let _ = objects.call(ENDPOINT, 0, bytes, now + which * 7);
                }
                2 if current.index() == 0 => {
                    let handle = objects.task(current).registers.rdi;
                    if objects.reply(handle, bytes).is_ok() {
                        proptest::prop_assert!(!handles.contains(&handle));
                        handles.push(handle);
                    }
                }
                3 => objects.receive((current.index() == 0).then_some(ENDPOINT), now + which * 11),
                4 => objects.signal(id(which as usize % 5), 1 << which),
                5 => objects.yield_current(),
                6 if which == 5 && bytes == 0 => objects.stop(current),
                _ => {
                    now += bytes;
                    objects.expire(now);
                }
            }
            check(&mut objects);
        }
    }
}

/// Every queue holds exactly the tasks that say they are in it.
fn check(objects: &mut Objects) {
    let mut ready = vec![];
    for priority in 0..64 {
        let mut queue = objects.ready.queue(priority);
        while let Some((first, last)) = queue.ends {
            assert_eq!(usize::from(objects.task(first).priority), priority);
            ready.push(first);
            queue.ends = objects.task(first).next.map(|next| (next, last));
        }
    }
    let mut calling = vec![];
    let mut queue = objects.endpoints[0].callers;
    while let Some((first, last)) = queue.ends {
        calling.push(first);
        queue.ends = objects.task(first).next.map(|next| (next, last));
    }
    for (task, record) in objects.tasks() {
        let runs = objects.current() == Some(task);
        assert_eq!(record.state == State::Ready, runs || ready.contains(&task), "{task:?}");
        assert_eq!(matches!(record.state, State::Calling(_)), calling.contains(&task), "{task:?}");
        if let State::AwaitingReply(server) = record.state {
            assert_ne!(objects.task(server).state, State::Stopped);
        }
    }
    assert_eq!(ready.len() + calling.len(), {
        let mut all = ready.clone();
        all.extend(&calling);
        all.sort_by_key(|task| task.index());
        all.dedup();
        all.len()
    });
}
