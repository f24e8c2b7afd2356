//! Call, receive, reply, signal.
//!
//! Calls go only towards higher priority (the image builder refuses anything else), so a server that waits runs at
//! once when it is called, without asking the scheduler.

use abi::Error;
use abi::layout::IPC_BUFFER_BYTES;
use abi::system_call::{MESSAGE_REGISTER_BYTES, MESSAGE_WORDS, NO_DEADLINE, POSTED};
use checks::{Check, holds, kept};

use super::task::State;
use super::{EndpointId, Objects, TaskId};

/// Bits of a reply handle that hold the client; the rest is its generation, never zero.
pub(super) const CLIENT_BITS: u32 = 8;

impl Objects {
    /// The current task calls an endpoint. Its registers hold the message.
    ///
    /// # Errors
    /// Invalid length; dead peer if the server has stopped. The caller then goes on.
    #[inline]
    pub fn call(&mut self, endpoint: EndpointId, badge: u32, bytes: u64, deadline: u64) -> Result<(), Error> {
        let deadline = if kept(Check::CallDeadline) { deadline } else { NO_DEADLINE };
        if !holds(Check::MessageLength, bytes <= IPC_BUFFER_BYTES as u64) {
            return Err(Error::Invalid);
        }
        let Some(client) = self.current else { return Ok(()) };
        let Some(server) = self.endpoints[endpoint.index()].server else { return Err(Error::DeadPeer) };
        self.task_mut(client).calls += 1;
        match self.task(server).state {
            State::Receiving(waiting) if waiting == endpoint => {
                self.block_current(State::AwaitingReply(server), deadline);
                self.deliver(client, server, badge, bytes);
                self.unblock(server);
                if self.task(server).priority > self.task(client).priority {
                    // The current task was the highest ready one, and the server is above it.
                    self.current = Some(server);
                    self.slice_end = NO_DEADLINE;
                } else {
                    self.make_ready(server);
                }
            }
            State::Stopped => return Err(Error::DeadPeer),
            _ => {
                self.task_mut(client).registers.rdx = badge.into();
                self.block_current(State::Calling(endpoint), deadline);
                let queue = self.push(self.endpoints[endpoint.index()].callers, client);
                self.endpoint_mut(endpoint).callers = queue;
            }
        }
        Ok(())
    }

    /// The current task answers a caller; its registers hold the answer.
    ///
    /// # Errors
    /// Invalid if the handle is not, or no longer, good, or the length is not; dead peer if the caller has stopped since,
    /// whether it was restarted or not.
    pub fn reply(&mut self, handle: u64, bytes: u64) -> Result<(), Error> {
        if let Some(client) = self.answer(handle, bytes)? {
            self.make_ready(client);
        }
        Ok(())
    }

    /// The current task answers a caller and then waits, as [`Objects::reply`] and [`Objects::receive`] do. If nobody
    /// above the client is ready, the client runs at once, without the ready queue.
    ///
    /// # Errors
    /// As for [`Objects::reply`]; nothing is waited for then.
    #[inline]
    pub fn reply_receive(
        &mut self,
        handle: u64,
        bytes: u64,
        endpoint: Option<EndpointId>,
        deadline: u64,
    ) -> Result<(), Error> {
        let client = self.answer(handle, bytes)?;
        self.receive(endpoint, deadline);
        if let Some(client) = client {
            self.run_or_make_ready(client);
        }
        Ok(())
    }

    /// Gives the answer to the client, which is then ready, but in no queue.
    #[inline]
    fn answer(&mut self, handle: u64, bytes: u64) -> Result<Option<TaskId>, Error> {
        let Some(server) = self.current else { return Ok(None) };
        let client = TaskId::new((handle & ((1 << CLIENT_BITS) - 1)) as usize).ok_or(Error::Invalid)?;
        let task = self.task(client);
        let call = handle >> CLIENT_BITS;
        let is_for_this_call = holds(Check::ReplyGeneration, task.calls == call);
        if bytes > IPC_BUFFER_BYTES as u64 || task.state != State::AwaitingReply(server) || !is_for_this_call {
            let is_of_the_dead =
                call != 0 && call <= self.lives[client.index()].calls_of_the_dead && bytes <= IPC_BUFFER_BYTES as u64;
            return Err(if is_of_the_dead { Error::DeadPeer } else { Error::Invalid });
        }
        let words = self.copy(server, client, bytes);
        let registers = &mut self.task_mut(client).registers;
        registers.set_results(0, 0, bytes, 0);
        registers.set_words(words);
        self.unblock(client);
        Ok(Some(client))
    }

    /// The current task waits for a message on an endpoint or for a notification, whichever comes first; what is there
    /// already is taken at once.
    #[inline]
    pub fn receive(&mut self, endpoint: Option<EndpointId>, deadline: u64) {
        let Some(server) = self.current else { return };
        let bits = core::mem::take(&mut self.task_mut(server).notification);
        if bits != 0 {
            self.deliver_bits(server, bits);
            return;
        }
        if let Some(endpoint) = endpoint
            && let (queue, Some(client)) = self.pop(self.endpoints[endpoint.index()].callers)
        {
            self.endpoint_mut(endpoint).callers = queue;
            let registers = &self.task(client).registers;
            let (badge, bytes) = (registers.rdx as u32, registers.rsi);
            self.task_mut(client).state = State::AwaitingReply(server);
            self.deliver(client, server, badge, bytes);
            return;
        }
        self.block_current(State::receiving(endpoint), deadline);
    }

    /// Sets bits in a task's notification word, and wakes it if it waits for them.
    #[inline]
    pub fn signal(&mut self, id: TaskId, bits: u64) {
        let task = self.task_mut(id);
        match task.state {
            State::Empty | State::Stopped => {}
            State::Receiving(_) | State::Waiting => {
                self.unblock(id);
                self.deliver_bits(id, bits);
                self.make_ready(id);
            }
            _ => task.notification |= bits,
        }
    }

    /// As [`Objects::signal`], where probably nothing runs: then the task runs at once, without the ready queue. Apart from
    /// it, because an interrupt that strikes a task must not ask.
    pub fn signal_idle(&mut self, id: TaskId, bits: u64) {
        if !self.task(id).state.takes_notifications() {
            return self.signal(id, bits);
        }
        self.unblock(id);
        self.deliver_bits(id, bits);
        self.run_or_make_ready(id);
    }

    /// The current task, whose registers hold a message, gives it with `bits` to a task that waits on an endpoint, and then
    /// waits as [`Objects::receive`] does.
    ///
    /// # Errors
    /// Invalid length; dead peer if the target has stopped; busy if it does not wait on an endpoint. Nothing is told and
    /// nothing waited for then.
    pub fn signal_receive(
        &mut self,
        target: TaskId,
        bits: u64,
        bytes: u64,
        endpoint: Option<EndpointId>,
        deadline: u64,
    ) -> Result<(), Error> {
        self.give_and_receive(Some(target), None, [0, bytes, bits], endpoint, deadline)
    }

    /// The current task, whose registers hold a message, gives it to an endpoint whose server waits there, without waiting for
    /// an answer, and then waits as [`Objects::receive`] does, on `own`.
    ///
    /// # Errors
    /// Invalid length; dead peer if the server has stopped; busy if it does not wait on the endpoint. Nothing is given and
    /// nothing waited for then.
    pub fn post_receive(
        &mut self,
        endpoint: EndpointId,
        badge: u32,
        bytes: u64,
        own: Option<EndpointId>,
        deadline: u64,
    ) -> Result<(), Error> {
        let server = self.endpoints[endpoint.index()].server;
        self.give_and_receive(server, Some(endpoint), [POSTED, bytes, badge.into()], own, deadline)
    }

    /// The current task's message goes to a task that waits, on this endpoint or on any, with these results; then the
    /// current one waits, on `own`.
    fn give_and_receive(
        &mut self,
        to: Option<TaskId>,
        on: Option<EndpointId>,
        [first, bytes, third]: [u64; 3],
        own: Option<EndpointId>,
        deadline: u64,
    ) -> Result<(), Error> {
        let Some(sender) = self.current else { return Ok(()) };
        if bytes > IPC_BUFFER_BYTES as u64 {
            return Err(Error::Invalid);
        }
        let Some(to) = to else { return Err(Error::DeadPeer) };
        match self.task(to).state {
            State::Receiving(waiting) if on.is_none_or(|on| on == waiting) => {}
            State::Empty | State::Stopped => return Err(Error::DeadPeer),
            _ => return Err(Error::Busy),
        }
        let words = self.copy(sender, to, bytes);
        let registers = &mut self.task_mut(to).registers;
        registers.set_results(0, first, bytes, third);
        registers.set_words(words);
        self.unblock(to);
        self.receive(own, deadline);
        self.run_or_make_ready(to);
        Ok(())
    }

    /// Ends a task's waiting; its state is the caller's to set.
    #[inline]
    pub(super) fn unblock(&mut self, id: TaskId) {
        let task = self.task_mut(id);
        task.deadline = NO_DEADLINE;
        task.state = State::Ready;
    }

    /// Gives a client's message to its server, with a reply handle for this one call.
    #[inline]
    fn deliver(&mut self, client: TaskId, server: TaskId, badge: u32, bytes: u64) {
        let handle = self.task(client).calls << CLIENT_BITS | client.index() as u64;
        let words = self.copy(client, server, bytes);
        let registers = &mut self.task_mut(server).registers;
        registers.set_results(0, handle, bytes, badge.into());
        registers.set_words(words);
    }

    fn deliver_bits(&mut self, id: TaskId, bits: u64) {
        let registers = &mut self.task_mut(id).registers;
        registers.set_results(0, 0, 0, bits);
        registers.set_words([0; MESSAGE_WORDS]);
    }

    /// Copies a message between IPC buffers if it is long, and returns its register words, zero beyond its length.
    #[inline]
    fn copy(&mut self, from: TaskId, to: TaskId, bytes: u64) -> [u64; MESSAGE_WORDS] {
        if bytes > MESSAGE_REGISTER_BYTES as u64 {
            self.copy_buffer(from, to, bytes as usize);
            return [0; MESSAGE_WORDS];
        }
        let mut words = self.task(from).registers.words();
        for (index, word) in words.iter_mut().enumerate() {
            if index as u64 * 8 >= bytes {
                *word = 0;
            }
        }
        words
    }

    #[cold]
    fn copy_buffer(&mut self, from: TaskId, to: TaskId, bytes: usize) {
        if let Ok([from, to]) = self.buffers.get_disjoint_mut([from.index(), to.index()]) {
            let bytes = bytes.min(IPC_BUFFER_BYTES);
            to[..bytes].copy_from_slice(&from[..bytes]);
        }
    }
}
