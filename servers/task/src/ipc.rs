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

    /// As [`Self::call`], for an answer that is read where it lies: its bytes.
    ///
    /// # Errors
    /// As [`Self::call`], but for a malformed answer.
    pub fn call_bytes<'i>(
        &self,
        request: &(impl Serialize + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<&'i [u8], CallError> {
        self.exchange(request, deadline, inbox)
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
        answer: &(impl Serialize + ?Sized),
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
        message: &(impl Serialize + ?Sized),
        deadline: Deadline,
        inbox: &'i mut Inbox,
    ) -> Result<Result<Event<'i>, Error>, TellError> {
        let Outgoing { words, length } = message::encode(message)?;
        let frame = Frame {
            code: Number::SignalReceive as u64,
            arguments: [signal.handle.into(), length, deadline.nanoseconds(), self.handle.into()],
            words,
        };
        match reply_receive(frame) {
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
        answer: &(impl Serialize + ?Sized),
        deadline: Deadline,
    ) -> Result<Result<Frame, Error>, ReplyError> {
        let Outgoing { words, length } = message::encode(answer)?;
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
mod tests {
    use std::rc::Rc;
    use std::string::String;
    use std::vec::Vec;

    use core::cell::RefCell;

    use super::*;
    use crate::host;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Request {
        Small(u32),
        Large(Vec<u64>),
    }

    impl Request {
        fn large() -> Self {
            Self::Large((0..300).collect())
        }
    }

    /// A kernel whose only server answers each call with its own message.
    fn echo(frame: &mut Frame, _: &mut [u8]) {
        assert_eq!((frame.code, frame.arguments[0]), (Number::Call as u64, 5));
    }

    #[test]
    fn calls_carry_small_and_large_messages() {
        host::with(echo, || {
            for request in [Request::Small(7), Request::large()] {
                assert_eq!(Call { handle: 5, bits: 0 }.call(&request, Deadline::NEVER), Ok(request));
            }
        });
    }

    #[test]
    fn an_answer_may_be_borrowed() {
        host::with(echo, || {
            let mut inbox = Inbox::new();
            let text = "x".repeat(100);
            let answer: Result<&str, _> = Call { handle: 5, bits: 0 }.call_borrowed(&text, Deadline::NEVER, &mut inbox);
            assert_eq!(answer, Ok(text.as_str()));
        });
    }

    #[test]
    fn each_failure_of_a_call_is_told_apart() {
        for error in [Error::Denied, Error::Invalid, Error::DeadPeer, Error::TimedOut, Error::Busy] {
            let kernel = move |frame: &mut Frame, _: &mut [u8]| host::fail(frame, error);
            let answer = host::with(kernel, || Call { handle: 5, bits: 0 }.call::<u8>(&1_u8, Deadline::NEVER));
            assert_eq!(answer, Err(CallError::Kernel(error)));
        }
        let answer = host::with(echo, || Call { handle: 5, bits: 0 }.call::<String>(&200_u8, Deadline::NEVER));
        assert_eq!(answer, Err(CallError::Malformed(Malformed)));
        let answer = host::with(echo, || Call { handle: 5, bits: 0 }.call::<u8>(&[0_u8; 5000][..], Deadline::NEVER));
        assert_eq!(answer, Err(CallError::TooLong(TooLong)));
    }

    #[test]
    fn the_deadline_reaches_the_kernel() {
        let kernel = |frame: &mut Frame, _: &mut [u8]| {
            if frame.code == Number::Clock as u64 {
                frame.arguments[0] = 1000;
            } else {
                assert_eq!(frame.arguments[2], 1500);
                host::fail(frame, Error::TimedOut);
            }
        };
        let deadline = || Deadline::after(core::time::Duration::from_nanos(500));
        let answer = host::with(kernel, || Call { handle: 5, bits: 0 }.call::<u8>(&1_u8, deadline()));
        assert_eq!(answer, Err(CallError::Kernel(Error::TimedOut)));
        assert_eq!(host::with(kernel, || wait(deadline())), Err(Error::TimedOut));
    }

    /// A kernel that delivers a large message from badge 9, then a notification; it keeps the arguments of each call.
    fn two_events(calls: Rc<RefCell<Vec<[u64; 4]>>>) -> impl host::Kernel {
        move |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!(frame.code, Number::ReplyReceive as u64);
            let mut calls = calls.borrow_mut();
            calls.push(frame.arguments);
            frame.arguments = if calls.len() == 1 {
                let length = postcard::to_slice(&Request::large(), buffer).unwrap().len();
                [0x77, length as u64, 9, 0]
            } else {
                [0, 0, 0b101, 0]
            };
        }
    }

    #[test]
    fn a_server_gets_messages_and_notifications() {
        let calls = Rc::new(RefCell::new(Vec::new()));
        host::with(two_events(calls.clone()), || {
            let (endpoint, mut inbox) = (Receive { handle: 2 }, Inbox::new());
            let Ok(Event::Message(message)) = endpoint.receive(Deadline::NEVER, &mut inbox) else {
                panic!("a message comes first");
            };
            assert_eq!((message.badge, message.reply.handle(), message.decode()), (9, 0x77, Ok(Request::large())));
            let reply = message.reply;
            match endpoint.reply_receive(reply, &300_u32, Deadline::NOW, &mut inbox) {
                Ok(Event::Notification(bits)) => assert_eq!(bits, 0b101),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(*calls.borrow(), [[0, 0, u64::MAX, 2], [0x77, 2, 0, 2]]);
    }

    #[test]
    fn a_client_that_is_gone_is_passed_over() {
        // It waits for something else, or has stopped.
        for error in [Error::Invalid, Error::DeadPeer] {
            passed_over(error);
        }
    }

    fn passed_over(error: Error) {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let kept = calls.clone();
        let kernel = move |frame: &mut Frame, _: &mut [u8]| {
            kept.borrow_mut().push(frame.arguments[0]);
            if frame.arguments[0] == 0x77 {
                host::fail(frame, error);
            } else {
                frame.arguments = [0, 0, 1, 0];
            }
        };
        host::with(kernel, || {
            let (endpoint, mut inbox) = (Receive { handle: 2 }, Inbox::new());
            let event = endpoint.reply_receive(Reply::from_handle(0x77), &1_u8, Deadline::NEVER, &mut inbox);
            assert!(matches!(event, Ok(Event::Notification(1))));
            assert_eq!(Reply::from_handle(0x77).send(&1_u8), Err(ReplyError::Gone));
        });
        assert_eq!(*calls.borrow(), [0x77, 0, 0x77]);
    }

    #[test]
    fn what_is_told_with_a_signal_arrives_or_is_known_not_to_have() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0], frame.arguments[3]), (Number::SignalReceive as u64, 9, 2));
            match frame.arguments[2] {
                // The other task's message, as the kernel would deliver this one.
                1 => frame.arguments = [0, frame.arguments[1], 0b100, 0],
                2 => host::fail(frame, Error::Busy),
                3 => host::fail(frame, Error::DeadPeer),
                _ => host::fail(frame, Error::TimedOut),
            }
            let _ = buffer;
        };
        host::with(kernel, || {
            let (endpoint, signal, mut inbox) = (Receive { handle: 2 }, Signal { handle: 9, badge: 0 }, Inbox::new());
            let mut tell = |until| {
                let deadline = Deadline::at(crate::Instant::at(until));
                endpoint.signal_receive(signal, &Request::large(), deadline, &mut inbox).map(|event| {
                    event.map(|event| match event {
                        Event::Told { bits, bytes } => (bits, decode::<Request>(bytes)),
                        other => panic!("{other:?}"),
                    })
                })
            };
            assert_eq!(tell(1), Ok(Ok((0b100, Ok(Request::large())))));
            assert_eq!(tell(2), Err(TellError::Busy));
            assert_eq!(tell(3), Err(TellError::Gone));
            assert_eq!(tell(4), Ok(Err(Error::TimedOut)));
            assert_eq!(signal.badge(), None);
        });
    }
}
