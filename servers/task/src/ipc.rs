//! Calls, receives and replies, with serde messages, and signals.

use core::fmt;

use abi::Error;
use abi::system_call::{NO_HANDLE, Number, POSTED};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::message::{self, Inbox, Malformed, Outgoing, Send, TooLong};
use crate::raw::{Frame, system_call};
use crate::time::Deadline;

/// May call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) handle: u32,
    pub(crate) bits: u64,
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
    /// The kernel's number for it.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// The notification bits by which the task behind it signals this one; 0 if it does not.
    pub fn signal_bits(&self) -> u64 {
        self.bits
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// Dead peer if the server stopped, timed out if the deadline came first, and [`CallError`]'s other ways.
    pub fn call<A: DeserializeOwned>(
        &self,
        request: &(impl Send + ?Sized),
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
        request: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<A, CallError> {
        self.exchange(request, deadline, inbox).and_then(|bytes| Ok(message::decode(bytes)?))
    }

    /// As [`Self::call`], for an answer that is read where it lies: its bytes.
    ///
    /// # Errors
    /// As [`Self::call`], but for a malformed answer.
    pub fn call_bytes<'i>(
        &self,
        request: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<&'i [u8], CallError> {
        self.exchange(request, deadline, inbox)
    }

    fn exchange<'i>(
        &self,
        request: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<&'i [u8], CallError> {
        let Outgoing { words, length } = request.outgoing()?;
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
    pub(crate) badge: u32,
}

impl Signal {
    /// The kernel's number for it.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// The badge with which the other task's calls arrive at this one; `None` if it makes none, or with several badges.
    pub fn badge(&self) -> Option<u32> {
        (self.badge != 0).then_some(self.badge)
    }

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
    /// One signal's bits, and what its sender says with them ([`Receive::signal_receive`]). Who sent it, the bits tell
    /// ([`Call::signal_bits`]). Whoever does not understand it may take it for the notification.
    Told {
        /// The bits.
        bits: u64,
        /// What it says.
        bytes: &'i [u8],
    },
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

/// What came with a signal.
///
/// # Errors
/// [`Malformed`] if the bytes are not exactly one message of this type.
pub fn decode<'i, T: Deserialize<'i>>(bytes: &'i [u8]) -> Result<T, Malformed> {
    message::decode(bytes)
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
    /// Whether somebody waits for the answer: not, if the message was posted. Then answering it does nothing.
    pub fn is_awaited(&self) -> bool {
        self.handle != POSTED
    }

    /// Answers and goes on.
    ///
    /// # Errors
    /// See [`ReplyError`]; a server goes on either way.
    pub fn send(self, answer: &(impl Send + ?Sized)) -> Result<(), ReplyError> {
        if !self.is_awaited() {
            return Ok(());
        }
        let Outgoing { words, length } = answer.outgoing()?;
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

/// Why something was not told with a signal. Nothing was waited for then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// The other task does not wait on an endpoint: it is to be signalled.
    #[error("the other task does not wait")]
    Busy,
    /// The other task has stopped.
    #[error("the other task has stopped")]
    Gone,
    /// It is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// May receive on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    pub(crate) handle: u32,
}

impl Receive {
    /// The kernel's number for it.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Waits for a call or a notification; notifications go first.
    ///
    /// # Errors
    /// Timed out when the deadline came first.
    #[inline]
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
        answer: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Event<'i>, Error> {
        if !reply.is_awaited() {
            return self.receive(deadline, inbox);
        }
        match self.deliver(reply, answer, deadline) {
            Ok(result) => result.map(|after| event(&after, inbox)),
            Err(_) => self.receive(deadline, inbox),
        }
    }

    /// As [`Self::reply_receive`], for a server that must know whether its answer arrived.
    ///
    /// # Errors
    /// The outer one if it did not: then no call was waited for. The inner one as for [`Self::receive`].
    pub fn try_reply_receive<'i>(
        &self,
        reply: Reply,
        answer: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Result<Event<'i>, Error>, ReplyError> {
        self.deliver(reply, answer, deadline).map(|result| result.map(|after| event(&after, inbox)))
    }

    /// Tells something to a task along with a signal, if that task waits on an endpoint, and waits for the next event, in
    /// one entry of the kernel.
    ///
    /// # Errors
    /// The outer one if nothing was told. The inner one as for [`Self::receive`].
    pub fn signal_receive<'i>(
        &self,
        signal: Signal,
        message: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Result<Event<'i>, Error>, TellError> {
        self.give(Number::SignalReceive, signal.handle, message, deadline, inbox)
    }

    /// Gives a message to a server that waits on its endpoint, without waiting for an answer, and waits for the next event, in
    /// one entry of the kernel. What the server has to say to it, it says with a signal.
    ///
    /// # Errors
    /// The outer one if nothing was given: [`TellError::Busy`] if the server does not wait there. The inner one as for
    /// [`Self::receive`].
    pub fn post_receive<'i>(
        &self,
        server: Call,
        message: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Result<Event<'i>, Error>, TellError> {
        self.give(Number::PostReceive, server.handle, message, deadline, inbox)
    }

    fn give<'i>(
        &self,
        number: Number,
        handle: u32,
        message: &(impl Send + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Result<Event<'i>, Error>, TellError> {
        let Outgoing { words, length } = message.outgoing()?;
        let arguments = [handle.into(), length, deadline.nanoseconds(), self.handle.into()];
        match reply_receive(Frame { code: number as u64, arguments, words }) {
            Err(Error::Busy) => Err(TellError::Busy),
            Err(Error::DeadPeer) => Err(TellError::Gone),
            result => Ok(result.map(|after| event(&after, inbox))),
        }
    }

    /// Answers and waits, in one entry of the kernel.
    #[inline]
    fn deliver(
        &self,
        reply: Reply,
        answer: &(impl Send + ?Sized),
        deadline: Deadline,
    ) -> Result<Result<Frame, Error>, ReplyError> {
        let Outgoing { words, length } = answer.outgoing()?;
        let frame = Frame {
            code: Number::ReplyReceive as u64,
            arguments: [reply.handle, length, deadline.nanoseconds(), self.handle.into()],
            words,
        };
        match reply_receive(frame) {
            // Nobody waited for the answer, and the kernel has not waited for the next call.
            Err(Error::Invalid | Error::DeadPeer) => Err(ReplyError::Gone),
            result => Ok(result),
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
        return match length {
            0 => Event::Notification(who),
            _ => Event::Told { bits: who, bytes: inbox.take(length, &after.words) },
        };
    }
    // A badge has 32 bits in the charter; the kernel delivers no other.
    Event::Message(Message { reply: Reply { handle }, badge: who as u32, bytes: inbox.take(length, &after.words) })
}

#[cfg(test)]
mod tests;
