//! A server of bad manners: it does not answer, too late, twice, to nobody, or in the wrong order.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use abi::system_call::{MESSAGE_WORDS, Number};
use heapless::Vec;
use task::{
    Deadline, Environment, Event, Frame, Inbox, Log, Message, Reply, ReplyError, Started, Stop, log, system_call,
};
use trials::{milliseconds, number, wrong_setting};

task::needs! { requests: receive, log: log }
task::main!(run);

/// How to behave towards a caller.
enum Manner {
    /// Never answer.
    Silent,
    /// Answer after this while.
    Late(core::time::Duration),
    /// Answer, and answer again.
    Twice,
    /// Answer with handles that are nobody's, then properly.
    Forged,
    /// Hold so many callers, then answer the last one first.
    Hold(usize),
    /// Stop with the caller waiting.
    Die,
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let manner = match environment.setting("manner") {
        Some("silent") => Manner::Silent,
        Some("late") => Manner::Late(milliseconds(&environment, "delay_milliseconds", 300)?),
        Some("twice") => Manner::Twice,
        Some("forged") => Manner::Forged,
        Some("hold") => Manner::Hold(number(&environment, "callers", 2)? as usize),
        Some("die") => Manner::Die,
        _ => return Err(wrong_setting("manner", "silent, late, twice, forged, hold or die")),
    };
    task::ready(Started::Well);
    let mut held: Vec<(Reply, u64), 16> = Vec::new();
    let mut inbox = Inbox::new();
    loop {
        let Event::Message(message) = grants.requests.receive(Deadline::NEVER, &mut inbox)? else {
            continue;
        };
        let value: u64 = message.decode()?;
        let Message { reply, badge, .. } = message;
        log!(grants.log, "received badge={badge} value={value}");
        match manner {
            // The reply is never used: the caller waits until its deadline.
            Manner::Silent => drop(reply),
            Manner::Late(delay) => {
                // A pause ends by timing out.
                let _ = task::wait(Deadline::after(delay));
                told(grants.log, "late", reply.send(&value));
            }
            Manner::Twice => {
                let again = Reply::from_handle(reply.handle());
                told(grants.log, "first", reply.send(&value));
                told(grants.log, "second", again.send(&(value + 1)));
            }
            Manner::Forged => forge(grants.log, reply, value),
            Manner::Hold(callers) => {
                // There is room for every caller that can be granted.
                let _ = held.push((reply, value));
                if held.len() >= callers {
                    while let Some((reply, value)) = held.pop() {
                        told(grants.log, "held", reply.send(&value));
                    }
                }
            }
            Manner::Die => task::exit(9, "as the charter says"),
        }
    }
}

/// Answers callers that do not exist, with every number near the real one, and the real one last.
fn forge(log: Log, reply: Reply, value: u64) {
    let real = reply.handle();
    let near = (0..64).map(|bit| real ^ (1 << bit));
    let small = (1..64).filter(|handle| *handle != real);
    let mut arrived = 0;
    for handle in near.chain(small).chain([u64::MAX]) {
        // Asked of the kernel itself: what stands for a message that was posted, the library answers on its own.
        let frame = Frame { words: [u64::MAX; MESSAGE_WORDS], ..Frame::new(Number::Reply, [handle, 8, 0, 0]) };
        arrived += u64::from(handle != 0 && system_call(frame).code == 0);
    }
    log!(log, "forged replies arrived={arrived}");
    told(log, "real", reply.send(&value));
}

fn told(log: Log, which: &str, result: Result<(), ReplyError>) {
    match result {
        Ok(()) => log!(log, "{which} reply arrived"),
        Err(ReplyError::Gone) => log!(log, "{which} reply error=invalid"),
        Err(ReplyError::TooLong(_)) => log!(log, "{which} reply error=too-long"),
    }
}
