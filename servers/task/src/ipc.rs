//! Calls, receives and replies, with serde messages, and signals.

use core::fmt;

use abi::Error;
use abi::system_call::{NO_HANDLE, Number};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::message::{self, Inbox, Malformed, Outgoing, TooLong};
use crate::raw::{Frame, system_call};
use crate::time::Deadline;

/// May call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) handle: u32,
}

/// Why a call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The kernel's answer.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// The server's answer is no answer to this.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

impl Call {
    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// Dead peer if the server stopped, timed out if the deadline came first, and [`CallError`]'s other ways.
    pub fn call<A: DeserializeOwned>(
        &self,
        request: &(impl Serialize + ?Sized),
        deadline: Deadline,
    ) -> Result<A, CallError> {
        let mut inbox = Inbox::new();
        self.exchange(request, deadline, &mut inbox).and_then(|bytes| Ok(message::decode(bytes)?))
    }

    /// As [`Self::call`], for an answer that borrows from the message.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_borrowed<'i, A: Deserialize<'i>>(
        &self,
        request: &(impl Serialize + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<A, CallError> {
        self.exchange(request, deadline, inbox).and_then(|bytes| Ok(message::decode(bytes)?))
    }

    fn exchange<'i>(
        &self,
        request: &(impl Serialize + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<&'i [u8], CallError> {
        let Outgoing { words, length } = message::encode(request)?;
        let frame = Frame {
            code: Number::Call as u64,
            arguments: [self.handle.into(), length, deadline.nanoseconds(), 0],
            words,
        };
        let after = system_call(frame).result()?;
        Ok(inbox.take(after.arguments[1], &after.words))
    }
}

/// May set bits in another task's notification word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    pub(crate) handle: u32,
}

impl Signal {
    /// Sets the granted bits; the other task is woken if it waits.
    ///
    /// # Errors
    /// Dead peer if that task has stopped.
    pub fn send(&self) -> Result<(), Error> {
        system_call(Frame::new(Number::Signal, [self.handle.into(), 0, 0, 0])).result().map(|_| ())
    }
}

/// What a receive brought.
#[derive(Debug)]
pub enum Event<'i> {
    /// A client calls.
    Message(Message<'i>),
    /// Notification bits, now cleared; never zero.
    Notification(u64),
}

/// A client's call.
#[derive(Debug)]
pub struct Message<'i> {
    /// Answers it; may be kept and used later.
    pub reply: Reply,
    /// Who calls, see [`abi::start::Client`].
    pub badge: u32,
    /// What it says.
    pub bytes: &'i [u8],
}

impl<'i> Message<'i> {
    /// The request in it.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not exactly one request of this type.
    pub fn decode<R: Deserialize<'i>>(&self) -> Result<R, Malformed> {
        message::decode(self.bytes)
    }
}

/// Answers one call, once. Until it is used, the client waits: drop it only to let the client's own deadline pass.
#[must_use = "the client waits for the answer"]
pub struct Reply {
    handle: u64,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({:#x})", self.handle)
    }
}

/// Why an answer did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Nobody waits for it any more: the client stopped, or its deadline passed.
    #[error("nobody waits for this answer")]
    Gone,
    /// The answer is too long; the client still waits.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

impl Reply {
    /// Answers and goes on.
    ///
    /// # Errors
    /// See [`ReplyError`]; a server goes on either way.
    pub fn send(self, answer: &(impl Serialize + ?Sized)) -> Result<(), ReplyError> {
        let Outgoing { words, length } = message::encode(answer)?;
        let frame = Frame { code: Number::Reply as u64, arguments: [self.handle, length, 0, 0], words };
        system_call(frame).result().map(|_| ()).map_err(|_| ReplyError::Gone)
    }

    /// The kernel's number for it.
    pub fn handle(&self) -> u64 {
        self.handle
    }

    /// A reply with this number. The kernel answers invalid if it never was one, or is none any more.
    pub fn from_handle(handle: u64) -> Self {
        Self { handle }
    }
}

/// May receive on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    pub(crate) handle: u32,
}

impl Receive {
    /// Waits for a call or a notification; notifications go first.
    ///
    /// # Errors
    /// Timed out when the deadline came first.
    pub fn receive<'i>(&self, deadline: Deadline, inbox: &'i mut Inbox) -> Result<Event<'i>, Error> {
        reply_receive(Frame::new(Number::ReplyReceive, [NO_HANDLE, 0, deadline.nanoseconds(), self.handle.into()]))
            .map(|after| event(&after, inbox))
    }

    /// Answers a call and waits for the next, in one entry of the kernel. A client that is gone meanwhile, or an
    /// answer too long for a message, is passed over.
    ///
    /// # Errors
    /// Timed out when the deadline came first.
    pub fn reply_receive<'i>(
        &self,
        reply: Reply,
        answer: &(impl Serialize + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Event<'i>, Error> {
        let Ok(Outgoing { words, length }) = message::encode(answer) else {
            return self.receive(deadline, inbox);
        };
        let frame = Frame {
            code: Number::ReplyReceive as u64,
            arguments: [reply.handle, length, deadline.nanoseconds(), self.handle.into()],
            words,
        };
        match reply_receive(frame) {
            // Nobody waited for the answer, and the kernel has not waited for the next call.
            Err(Error::Invalid) => self.receive(deadline, inbox),
            result => result.map(|after| event(&after, inbox)),
        }
    }
}

/// Waits for a notification only, and returns its bits, now cleared, never zero.
///
/// # Errors
/// Timed out when the deadline came first.
pub fn wait(deadline: Deadline) -> Result<u64, Error> {
    reply_receive(Frame::new(Number::ReplyReceive, [NO_HANDLE, 0, deadline.nanoseconds(), NO_HANDLE]))
        .map(|after| after.arguments[2])
}

#[inline]
fn reply_receive(frame: Frame) -> Result<Frame, Error> {
    system_call(frame).result()
}

#[inline]
fn event<'i>(after: &Frame, inbox: &'i mut Inbox) -> Event<'i> {
    let [handle, length, who, _] = after.arguments;
    if handle == NO_HANDLE {
        return Event::Notification(who);
    }
    // A badge has 32 bits in the charter; the kernel delivers no other.
    Event::Message(Message { reply: Reply { handle }, badge: who as u32, bytes: inbox.take(length, &after.words) })
}
