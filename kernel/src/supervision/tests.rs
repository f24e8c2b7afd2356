extern crate std;

use std::boxed::Box;
use std::vec;

use abi::layout::IPC_BUFFER_BYTES;
use abi::system_call::PEER_STOPPED;

use super::*;
use crate::objects::EndpointId;
use crate::objects::task::Task;

const ENDPOINT: EndpointId = EndpointId::new(0).unwrap();

fn id(index: usize) -> TaskId {
    TaskId::new(index).unwrap()
}

/// A supervisor (task 0) of a server (task 1), and the server's client (task 2).
fn kernel() -> Box<Kernel> {
    let mut kernel = Box::new(Kernel::new());
    kernel.objects.set_buffers(Box::leak(vec![[0; IPC_BUFFER_BYTES]; TASKS_MAX].into_boxed_slice()));
    kernel.objects.endpoint_mut(ENDPOINT).server = Some(id(1));
    kernel.objects.add_holder(ENDPOINT, id(2));
    for (index, priority) in [9, 5, 1].into_iter().enumerate() {
        let mut task = Task { priority, required: true, ..Task::empty() };
        if index == 0 {
            task.capabilities[0] = Some(Capability::Supervise { task: 1, bits: 4, heartbeat: 8 });
        }
        kernel.objects.add(id(index), task);
    }
    kernel.supervision.watch(id(1), Supervisor { task: id(0), bits: 4 }, 8);
    wait_all(&mut kernel);
    kernel
}

/// Supervisor and server wait.
fn wait_all(kernel: &mut Kernel) {
    kernel.objects.schedule(|| 0);
    kernel.objects.receive(None, NO_DEADLINE);
    kernel.objects.schedule(|| 0);
    kernel.objects.receive(Some(ENDPOINT), NO_DEADLINE);
    kernel.objects.schedule(|| 0);
    assert_eq!(kernel.objects.current(), Some(id(2)));
}

#[test]
fn every_death_is_counted_and_told_however_often_the_supervisor_looks() {
    let mut kernel = kernel();
    for (turn, why) in [Death::Fault, Death::Exit, Death::Silence, Death::Kill, Death::Fault].into_iter().enumerate() {
        kernel.stop(id(1), why);
        kernel.stop(id(1), why);
        assert_eq!(kernel.progress(id(1)), Progress::Stopped);
        assert_eq!(kernel.supervise(id(1), Order::Restart), Ok(Progress::Runs));
        assert_eq!(kernel.supervised(id(1)).generation, turn as u64 + 2);
    }
    let told = kernel.supervised(id(1));
    assert_eq!((told.faults, told.exits, told.silences, told.kills), (2, 1, 1, 1), "a task stops once a generation");
    let supervisor = kernel.objects.task(id(0));
    assert_eq!((supervisor.state, supervisor.registers.rdx), (State::Ready, 4), "it was woken by its bits");
    assert_eq!(supervisor.notification, 4, "and told again");
}

#[test]
fn a_restarted_task_knows_nothing_of_the_generation_before() {
    let mut kernel = kernel();
    kernel.objects.buffer(id(1)).fill(0xaa);
    kernel.objects.task_mut(id(1)).registers.rbx = 7;
    kernel.objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    let handle = kernel.objects.task(id(1)).registers.rdi;
    kernel.objects.signal(id(1), 2);
    assert_eq!(kernel.objects.current(), Some(id(1)));

    kernel.stop(id(1), Death::Fault);
    assert_eq!(kernel.objects.task(id(2)).registers.rax, Error::DeadPeer as u64, "its caller is told");
    assert_eq!(kernel.objects.task(id(2)).notification, PEER_STOPPED);
    assert_eq!(kernel.supervise(id(1), Order::Restart), Ok(Progress::Runs));
    let task = kernel.objects.task(id(1));
    assert_eq!((task.notification, task.registers.rbx, task.started), (0, 0, Started::Unknown));
    assert!(kernel.objects.buffer(id(1)).iter().all(|byte| *byte == 0));
    kernel.objects.schedule(|| 0);
    kernel.objects.receive(None, NO_DEADLINE);
    kernel.objects.schedule(|| 0);
    assert_eq!(kernel.objects.current(), Some(id(1)), "it runs");
    assert_eq!(kernel.objects.reply(handle, 0), Err(Error::Invalid), "the handle is of the generation before");
}

#[test]
fn answers_to_a_caller_that_died_name_that() {
    let mut kernel = kernel();
    kernel.supervision.watch(id(2), Supervisor { task: id(0), bits: 8 }, 0);
    kernel.objects.call(ENDPOINT, 0, 0, NO_DEADLINE).unwrap();
    let handle = kernel.objects.task(id(1)).registers.rdi;
    kernel.stop(id(2), Death::Fault);
    kernel.objects.receive(None, NO_DEADLINE);
    kernel.objects.schedule(|| 0);
    assert_eq!(kernel.objects.reply(handle, 0), Err(Error::DeadPeer));
    assert_eq!(kernel.supervise(id(2), Order::Restart), Ok(Progress::Runs));
    assert_eq!(kernel.objects.reply(handle, 0), Err(Error::DeadPeer), "not for the next generation either");
    assert_eq!(kernel.objects.reply(handle + (1 << 8), 0), Err(Error::Invalid), "a call that was never made");
}

#[test]
fn orders_fit_the_state_or_are_invalid() {
    let mut kernel = kernel();
    for order in [Order::Restart, Order::GiveUp] {
        assert_eq!(kernel.supervise(id(1), order), Err(Error::Invalid), "it runs");
    }
    assert_eq!(kernel.supervise(id(1), Order::Look), Ok(Progress::Runs));
    assert_eq!(kernel.supervise(id(1), Order::Stop), Ok(Progress::Stopped));
    assert_eq!(kernel.supervise(id(1), Order::Stop), Err(Error::Invalid), "it has stopped");
    assert_eq!(kernel.supervised(id(1)).kills, 1);
    assert!(!kernel.boot_told, "whether it starts is not known before it is given up");
    assert_eq!(kernel.supervise(id(1), Order::GiveUp), Ok(Progress::Stopped));
    assert!(kernel.boot_told);
    assert_eq!(kernel.supervise(id(1), Order::Restart), Ok(Progress::Runs), "taken back");
}

#[test]
fn a_large_task_is_restarted_in_steps_that_are_bounded() {
    let mut kernel = kernel();
    let data = [1; 64];
    let segment = abi::package::Segment {
        address: 0x40_0000,
        bytes: 30 * 4096,
        access: abi::package::Access::ReadExecute,
        data: &data,
    };
    let packed = abi::package::Task {
        name: "server",
        priority: 5,
        required: true,
        entry: 0x40_0000,
        stack_bytes: 8 * 4096,
        log_names: heapless::Vec::new(),
        segments: heapless::Vec::from_slice(&[segment]).unwrap(),
        windows: heapless::Vec::new(),
        capabilities: heapless::Vec::new(),
        start_info: &data,
    };
    kernel.supervision.watches[1].image = Image::new(&packed, &data);
    kernel.stop(id(1), Death::Fault);
    // 30 pages of program, one of start information, 8 of stack.
    let steps = 39_usize.div_ceil(PAGES_AT_ONCE);
    for _ in 1..steps {
        assert_eq!(kernel.supervise(id(1), Order::Restart), Ok(Progress::Loading));
        assert_eq!(kernel.objects.task(id(1)).state, State::Stopped);
    }
    assert_eq!(kernel.supervise(id(1), Order::Restart), Ok(Progress::Runs));
    assert_eq!(kernel.objects.task(id(1)).registers.rip, 0x40_0000);
}

#[test]
fn who_is_silent_is_stopped_and_who_is_heard_is_not() {
    let mut kernel = kernel();
    kernel.objects.task_mut(id(1)).started = Started::Ready;
    kernel.start_heartbeats(0);
    for look in 1..100 {
        assert_eq!(kernel.alive(id(1)), 2_000_000);
        kernel.look_for_silence(look * 2_000_000);
    }
    assert_eq!(kernel.alive(id(2)), 0, "nobody listens");
    for look in 100..=103 {
        assert_eq!(kernel.supervised(id(1)).silences, 0);
        kernel.look_for_silence(look * 2_000_000);
    }
    assert_eq!(kernel.supervised(id(1)).silences, 1);
    assert_eq!(kernel.progress(id(1)), Progress::Stopped);
    assert_eq!(kernel.supervision.look_at(), NO_DEADLINE, "nobody else must be heard");
}
