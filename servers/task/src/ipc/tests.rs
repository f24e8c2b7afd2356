//! Messages of each kind, against a kernel under the test's control.

use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use core::cell::RefCell;

use serde::{Deserialize, Serialize};

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
fn what_is_posted_has_nobody_to_be_answered() {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let kept = calls.clone();
    let kernel = move |frame: &mut Frame, _: &mut [u8]| {
        kept.borrow_mut().push((frame.code, frame.arguments));
        // The server's view of what the other task has posted.
        frame.arguments = [POSTED, frame.arguments[1], 7, 0];
    };
    host::with(kernel, || {
        let (endpoint, server, mut inbox) = (Receive { handle: 2 }, Call { handle: 9, bits: 0 }, Inbox::new());
        let event = endpoint.post_receive(server, &300_u32, Deadline::NEVER, &mut inbox);
        let Ok(Ok(Event::Message(message))) = event else { panic!("a message comes") };
        assert_eq!((message.badge, message.decode(), message.reply.is_awaited()), (7, Ok(300_u32), false));
        assert_eq!(message.reply.send(&1_u8), Ok(()));
        let _ = endpoint.reply_receive(Reply::from_handle(POSTED), &1_u8, Deadline::NOW, &mut inbox);
    });
    let (post, receive) = (Number::PostReceive as u64, Number::ReplyReceive as u64);
    assert_eq!(*calls.borrow(), [(post, [9, 2, u64::MAX, 2]), (receive, [0, 0, 0, 2])]);
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
