//! The shortest way of a message: from the task that runs straight to one that waits and is to run at once.
//!
//! Each function here asks whether its system call is of that kind, and if so does it, but for the registers, which the
//! entry code carries from one task to the other without the scheduler and without a copy in memory ([`HandOver`]). If
//! the call is of any other kind (a mistake, a long message, a deadline that the timer must be set for, somebody else who
//! is to run first, accounts to be kept), nothing has changed and [`messages`](super::messages) does it: what happens is
//! the same there, which the tests compare.
//!
//! Why no scheduler: the task that runs is as high as every ready one, so a receiver above it may run at once; a client
//! that is answered may run if nobody as high is ready, because its server waits from then on.

use abi::package::{Capability, PRIORITY_MAX};
use abi::system_call::{MESSAGE_REGISTER_BYTES, NO_DEADLINE, POSTED};
use checks::{Check, holds, kept};

use super::messages::CLIENT_BITS;
use super::task::State;
use super::{EndpointId, Objects, TaskId};

/// What is left to do: give `to` the processor, with these results and the message's words of `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Whose registers hold the words.
    pub from: TaskId,
    /// Who runs now. It waits in a system call, which succeeds.
    pub to: TaskId,
    /// Its `rdi`.
    pub first: u64,
    /// Its `rsi`: how many bytes of the words are the message's, at most [`MESSAGE_REGISTER_BYTES`].
    pub bytes: u64,
    /// Its `rdx`.
    pub third: u64,
}

impl Objects {
    /// The current task's call, if its server waits for it.
    #[inline(always)]
    pub fn call_directly(&mut self, handle: u64, bytes: u64, deadline: u64) -> Option<HandOver> {
        let deadline = if kept(Check::CallDeadline) { deadline } else { NO_DEADLINE };
        let client = self.current?;
        let Ok(Capability::Call { endpoint, badge }) = self.task(client).capability(handle) else { return None };
        let endpoint = EndpointId::new(endpoint.into())?;
        let server = self.endpoints[endpoint.index()].server?;
        if bytes > MESSAGE_REGISTER_BYTES as u64
            || deadline < self.earliest_deadline
            || self.keeps_accounts()
            || self.task(server).state != State::Receiving(endpoint)
            || self.task(server).priority <= self.task(client).priority
        {
            return None;
        }
        let task = self.task_mut(client);
        task.calls += 1;
        task.state = State::AwaitingReply(server);
        task.deadline = deadline;
        let first = task.calls << CLIENT_BITS | client.index() as u64;
        self.run_at_once(server);
        Some(HandOver { from: client, to: server, first, bytes, third: badge.into() })
    }

    /// The current task's answer to a client and its waiting for the next message, if the client is to run at once.
    #[inline(always)]
    pub fn reply_receive_directly(&mut self, reply: u64, bytes: u64, deadline: u64, receive: u64) -> Option<HandOver> {
        let server = self.current?;
        let client = TaskId::new((reply & ((1 << CLIENT_BITS) - 1)) as usize)?;
        let Ok(Capability::Receive { endpoint }) = self.task(server).capability(receive) else { return None };
        let endpoint = EndpointId::new(endpoint.into())?;
        let task = self.task(client);
        if task.state != State::AwaitingReply(server)
            || !holds(Check::ReplyGeneration, task.calls == reply >> CLIENT_BITS)
            || !self.may_leave_to(client, server, endpoint, bytes, deadline)
        {
            return None;
        }
        self.leave_to(client, server, endpoint, deadline);
        Some(HandOver { from: server, to: client, first: 0, bytes, third: 0 })
    }

    /// The current task's waiting with nobody to answer, if nothing is there for it and nobody else is ready. Returns
    /// whether it waits now, and nobody runs. The timer need not be set.
    #[inline(always)]
    pub fn receive_directly(&mut self, deadline: u64, receive: u64) -> bool {
        let Some(server) = self.current else { return false };
        let Ok(Capability::Receive { endpoint }) = self.task(server).capability(receive) else { return false };
        let Some(endpoint) = EndpointId::new(endpoint.into()) else { return false };
        if deadline < self.earliest_deadline
            || self.slice_end != NO_DEADLINE
            || self.ready.is_any_from(0)
            || self.task(server).notification != 0
            || !self.endpoints[endpoint.index()].callers.is_empty()
        {
            return false;
        }
        self.wait(server, endpoint, deadline);
        self.current = None;
        true
    }

    /// The current task's signal, if its target waits and is above it. The current task's own results must be set
    /// before it runs again.
    #[inline(always)]
    pub fn signal_directly(&mut self, handle: u64) -> Option<HandOver> {
        let sender = self.current?;
        let Ok(Capability::Signal { task, bits }) = self.task(sender).capability(handle) else { return None };
        let target = TaskId::new(task.into())?;
        let waits = self.task(target).state.takes_notifications();
        if !waits
            || self.keeps_accounts()
            || (self.task(target).priority & PRIORITY_MAX) <= (self.task(sender).priority & PRIORITY_MAX)
        {
            return None;
        }
        self.make_ready_first(sender);
        self.run_at_once(target);
        Some(HandOver { from: sender, to: target, first: 0, bytes: 0, third: bits })
    }

    /// What the current task tells with a signal, and its waiting, if the target waits on an endpoint and is to run at
    /// once.
    #[inline(always)]
    pub fn signal_receive_directly(
        &mut self,
        signal: u64,
        bytes: u64,
        deadline: u64,
        receive: u64,
    ) -> Option<HandOver> {
        let server = self.current?;
        let Ok(Capability::Signal { task, bits }) = self.task(server).capability(signal) else { return None };
        let target = TaskId::new(task.into())?;
        let Ok(Capability::Receive { endpoint }) = self.task(server).capability(receive) else { return None };
        let endpoint = EndpointId::new(endpoint.into())?;
        if !matches!(self.task(target).state, State::Receiving(_))
            || !self.may_leave_to(target, server, endpoint, bytes, deadline)
        {
            return None;
        }
        self.leave_to(target, server, endpoint, deadline);
        Some(HandOver { from: server, to: target, first: 0, bytes, third: bits })
    }

    /// What the current task posts to an endpoint, and its waiting, if the server there is to run at once.
    #[inline(always)]
    pub fn post_receive_directly(&mut self, handle: u64, bytes: u64, deadline: u64, receive: u64) -> Option<HandOver> {
        let sender = self.current?;
        let Ok(Capability::Call { endpoint, badge }) = self.task(sender).capability(handle) else { return None };
        let endpoint = EndpointId::new(endpoint.into())?;
        let server = self.endpoints[endpoint.index()].server?;
        let Ok(Capability::Receive { endpoint: own }) = self.task(sender).capability(receive) else { return None };
        let own = EndpointId::new(own.into())?;
        if self.task(server).state != State::Receiving(endpoint)
            || !self.may_leave_to(server, sender, own, bytes, deadline)
        {
            return None;
        }
        self.leave_to(server, sender, own, deadline);
        Some(HandOver { from: sender, to: server, first: POSTED, bytes, third: badge.into() })
    }

    /// Whether `server`, which runs, may wait on its endpoint, and `next` run at once with so many bytes of its message:
    /// nothing is there for the server, and nobody as high as `next` is ready.
    #[inline(always)]
    fn may_leave_to(&self, next: TaskId, server: TaskId, endpoint: EndpointId, bytes: u64, deadline: u64) -> bool {
        bytes <= MESSAGE_REGISTER_BYTES as u64
            && deadline >= self.earliest_deadline
            && !self.keeps_accounts()
            && !self.ready.is_any_from(self.task(next).priority)
            && self.task(server).notification == 0
            && self.endpoints[endpoint.index()].callers.is_empty()
    }

    /// Does so.
    #[inline(always)]
    fn leave_to(&mut self, next: TaskId, server: TaskId, endpoint: EndpointId, deadline: u64) {
        self.wait(server, endpoint, deadline);
        self.run_at_once(next);
    }

    #[inline(always)]
    fn wait(&mut self, server: TaskId, endpoint: EndpointId, deadline: u64) {
        let task = self.task_mut(server);
        task.state = State::Receiving(endpoint);
        task.deadline = deadline;
    }

    /// Makes a task that waits, and is in no queue, the one that runs.
    #[inline(always)]
    fn run_at_once(&mut self, id: TaskId) {
        self.unblock(id);
        self.current = Some(id);
        self.slice_end = NO_DEADLINE;
    }
}
