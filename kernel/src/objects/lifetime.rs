//! Deadlines, stopping, and what a death does to others.

use abi::Error;
use abi::package::{ENDPOINTS_MAX, TASKS_MAX};
use abi::system_call::{MESSAGE_WORDS, NO_DEADLINE, PEER_STOPPED};

use super::registers::Registers;
use super::task::{Started, State};
use super::{EndpointId, Objects, TaskId};

impl Objects {
    /// Ends the waiting of every task whose deadline has come, and the time slice of the current one.
    pub fn expire(&mut self, now: u64) {
        if self.earliest_deadline <= now {
            self.expire_deadlines(now);
        }
        if self.slice_end <= now {
            self.slice_end = NO_DEADLINE;
            self.yield_current();
        }
    }

    fn expire_deadlines(&mut self, now: u64) {
        self.earliest_deadline = NO_DEADLINE;
        for id in (0..TASKS_MAX).filter_map(TaskId::new) {
            let deadline = self.task(id).deadline;
            if deadline <= now {
                self.fail_waiting(id, Error::TimedOut);
            } else {
                self.earliest_deadline = self.earliest_deadline.min(deadline);
            }
        }
    }

    /// Ends a task's waiting with an error, whatever it waits for.
    fn fail_waiting(&mut self, id: TaskId, error: Error) {
        match self.task(id).state {
            State::Empty | State::Ready | State::Stopped => return,
            State::Calling(endpoint) => {
                let queue = self.remove(self.endpoints[endpoint.index()].callers, id);
                self.endpoint_mut(endpoint).callers = queue;
            }
            State::AwaitingReply(_) | State::Receiving(_) | State::Waiting => {}
        }
        self.wake_with(id, error);
    }

    /// Makes a task that waits, and is in no queue, ready with an error.
    fn wake_with(&mut self, id: TaskId, error: Error) {
        self.unblock(id);
        let registers = &mut self.task_mut(id).registers;
        registers.set_results(error as u64, 0, 0, 0);
        registers.set_words([0; MESSAGE_WORDS]);
        self.make_ready(id);
    }

    /// Stops a task: it does not run again unless it is restarted; whoever waits for it, or calls it later, is told *dead peer*; whoever
    /// may call it is signalled; its reply handles and those to it are void.
    pub fn stop(&mut self, id: TaskId) {
        match self.task(id).state {
            State::Empty | State::Stopped => return,
            State::Ready if self.current == Some(id) => self.current = None,
            State::Ready => self.make_unready(id),
            State::Calling(endpoint) => {
                let queue = self.remove(self.endpoints[endpoint.index()].callers, id);
                self.endpoint_mut(endpoint).callers = queue;
            }
            State::AwaitingReply(_) | State::Receiving(_) | State::Waiting => {}
        }
        self.unblock(id);
        self.task_mut(id).state = State::Stopped;
        self.lives[id.index()].calls_of_the_dead = self.task(id).calls;
        for other in (0..TASKS_MAX).filter_map(TaskId::new) {
            if self.task(other).state == State::AwaitingReply(id) {
                self.fail_waiting(other, Error::DeadPeer);
            }
        }
        for endpoint in (0..ENDPOINTS_MAX).filter_map(EndpointId::new) {
            if self.endpoints[endpoint.index()].server == Some(id) {
                self.close(endpoint);
            }
        }
    }

    /// Lets a task that has stopped run again, from its beginning, with these registers. Nothing is left of what it was
    /// signalled or had said of its start; its calls are counted on, so that no reply handle is ever good for two.
    pub fn restart(&mut self, id: TaskId, registers: Registers) {
        let task = self.task_mut(id);
        if task.state != State::Stopped {
            return;
        }
        task.registers = registers;
        task.notification = 0;
        task.started = Started::Unknown;
        let life = &mut self.lives[id.index()];
        life.restarts = life.restarts.saturating_add(1);
        self.unblock(id);
        self.make_ready(id);
    }

    /// Tells everybody who waits at, or may call, an endpoint whose server has stopped.
    fn close(&mut self, endpoint: EndpointId) {
        while let (queue, Some(caller)) = self.pop(self.endpoints[endpoint.index()].callers) {
            self.endpoint_mut(endpoint).callers = queue;
            self.wake_with(caller, Error::DeadPeer);
        }
        let holders = self.holders[endpoint.index()];
        for holder in (0..TASKS_MAX).filter_map(TaskId::new) {
            if holders & (1 << holder.index()) != 0 {
                self.signal(holder, PEER_STOPPED);
            }
        }
    }
}
