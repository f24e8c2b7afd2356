//! The loop: receive, let the server work, answer, signal, log.

use core::time::Duration;

use heapless::Vec;
use protocol::block::{Answer, ClientGrant, Request};
use protocol::nvme::Notice;
use task::abi::start::{CLIENTS_MAX, Client};
use task::{
    Call, Deadline, Encoded, Environment, Event, Inbox, Instant, Log, Receive, Reply, Signal, Stop, Window, abi, log,
};

use crate::client::Named;
use crate::driver::Driver;
use crate::memory::Memory;
use crate::server::{AnswerRoom, Due, Said, Server};

/// How often to look whether something has completed although the driver has not signalled.
const LOOK: Duration = Duration::from_secs(1);
/// After how many events to look whether it is time to, if none of them was that it is.
const EVENTS: u32 = 256;
/// How long the driver may have a request, if the charter does not say: longer than a driver that has the timeout which it
/// has if the charter does not say takes for a command that is repeated after a reset.
const REQUEST_SECONDS: u32 = 900;
/// How long requests wait for a driver that has stopped, if the charter does not say.
const WAIT_SECONDS: u32 = 30;

/// What the server uses besides its driver.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Where clients call.
    pub requests: Receive,
    /// The driver: what it tells comes with its signal, and what may be is posted to it.
    pub driver: Call,
    /// Memory of its own.
    pub window: Option<Window>,
    /// Where lines go.
    pub log: Option<Log>,
}

/// Serves until the task is stopped.
///
/// # Errors
/// The charter's setting is wrong; the kernel refuses to let this task receive.
pub fn serve(driver: impl Driver, means: &Means, environment: &Environment) -> Result<(), Stop> {
    let wait = Duration::from_secs(seconds(environment, "driver_wait_seconds", WAIT_SECONDS)?.into());
    let clients: Vec<Named<'_>, CLIENTS_MAX> = environment.clients().iter().map(named).collect();
    let signals: Vec<Option<Signal>, CLIENTS_MAX> = clients
        .iter()
        .map(|client| client.grant.and_then(|grant| grant.signal).and_then(|name| environment.optional(name)))
        .collect();
    let copying = clients.iter().filter_map(|client| client.grant?.disk).filter(|disk| disk.window.is_none()).count();
    let mut server = Server::new(driver, Memory::new(means.window, copying), clients);
    // The first tick may come at once.
    server.expect_within(seconds(environment, "request_seconds", REQUEST_SECONDS)?.saturating_add(1));
    server.begin();
    tell(&mut server, means.log);
    task::ready(task::Started::Well);

    let (mut inbox, mut room) = (Inbox::new(), AnswerRoom::default());
    // When to look; asking the clock each time would cost more than looking once too early.
    let mut look = Deadline::NOW;
    // Events since it was last looked.
    let mut events = 0;
    // Until when requests wait for a driver, while there is none.
    let mut patience: Option<Instant> = None;
    loop {
        // All answers that are due but one go by themselves; that one goes along with the next wait.
        let mut last: Option<Due<Reply>> = server.take_due();
        while last.is_some()
            && let Some(due) = server.take_due()
            && let Some(earlier) = last.replace(due)
        {
            send(&mut server, earlier, &mut room);
        }
        signal(&mut server, &signals);
        let deadline = match patience {
            Some(until) => look.min(Deadline::at(until)),
            None if server.is_waiting() => look,
            None => Deadline::NEVER,
        };
        let event = match last {
            _ if server.has_to_post() => {
                if let Some(due) = last {
                    send(&mut server, due, &mut room);
                }
                let Some(message) = server.to_post() else { continue };
                let message = Encoded::new(message.bytes(), message.len());
                match means.requests.post_receive(means.driver, &message, deadline, &mut inbox) {
                    Ok(event) => {
                        server.posted();
                        event
                    }
                    // It does something else, or has stopped: asked, it says so, or does not answer.
                    Err(_) => {
                        server.exchange();
                        tell(&mut server, means.log);
                        continue;
                    }
                }
            }
            None => means.requests.receive(deadline, &mut inbox),
            Some(Due { reply, said: Said::Done }) => {
                let answer = Encoded::new(&Answer::DONE, Answer::DONE_LENGTH);
                means.requests.reply_receive(reply, &answer, deadline, &mut inbox)
            }
            Some(Due { reply, said: said @ Said::Exchanged { client, accepted } }) => {
                let message = server.exchanged(client, accepted, &mut room);
                let answer = Encoded::new(message.bytes(), message.len());
                match means.requests.try_reply_receive(reply, &answer, deadline, &mut inbox) {
                    Ok(event) => {
                        server.delivered(&said, &room);
                        event
                    }
                    // Its completions stay until it asks again.
                    Err(_) => means.requests.receive(deadline, &mut inbox),
                }
            }
            Some(Due { reply, said }) => {
                let answer = server.answer(&said, &mut room);
                means.requests.reply_receive(reply, &answer, deadline, &mut inbox)
            }
        };
        let mut is_time = false;
        match event {
            Ok(Event::Message(message)) => {
                let request = Request::read(message.bytes);
                server.request(message.badge, message.reply, request);
            }
            // The driver has something, or it has stopped, which it shows by not answering.
            Ok(Event::Told { bits, bytes }) if bits == means.driver.signal_bits() => server.told(Notice::read(bytes)),
            Ok(Event::Notification(_) | Event::Told { .. }) => server.exchange(),
            Err(abi::Error::TimedOut) => is_time = true,
            Err(error) => return Err(error.into()),
        }
        events += 1;
        if events >= EVENTS {
            events = 0;
            is_time |= look <= Deadline::at(Instant::now());
        }
        if is_time {
            look = Deadline::after(LOOK);
            server.tick();
            server.exchange();
        }
        patience = server.is_away().then(|| patience.unwrap_or_else(|| Instant::now().plus(wait)));
        if patience.is_some_and(|until| Instant::now() >= until) {
            server.give_up();
            patience = None;
        }
        tell(&mut server, means.log);
    }
}

/// A number of seconds from the charter.
fn seconds(environment: &Environment, name: &str, unless_set: u32) -> Result<u32, Stop> {
    let Some(setting) = environment.setting(name) else { return Ok(unless_set) };
    setting.parse().map_err(|_| Stop::new(format_args!("{name} is \"{setting}\", not a number of seconds")))
}

/// Answers a client. One that is gone, or has stopped waiting, is no concern of the others.
fn send<D: Driver>(server: &mut Server<'_, D, Reply>, due: Due<Reply>, room: &mut AnswerRoom) {
    let answer = server.answer(&due.said, room);
    if due.reply.send(&answer).is_ok() {
        server.delivered(&due.said, room);
    }
}

fn signal<D: Driver>(server: &mut Server<'_, D, Reply>, signals: &[Option<Signal>]) {
    let mut mask = server.take_signals();
    while mask != 0 {
        let position = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        if let Some(Some(signal)) = signals.get(position) {
            // A client that has stopped takes nothing any more.
            let _ = signal.send();
        }
    }
}

fn tell<D: Driver>(server: &mut Server<'_, D, Reply>, log: Option<Log>) {
    while let Some(note) = server.take_note() {
        if let Some(log) = log {
            log!(log, "{note}");
        }
    }
}

/// A client, and its grant from its parameters in the charter.
fn named<'g>(client: &Client<'g>) -> Named<'g> {
    let grant = match postcard::take_from_bytes::<ClientGrant<'g>>(client.parameters) {
        Ok((grant, [])) => Some(grant),
        _ => None,
    };
    Named { badge: client.badge, task: client.task, grant }
}

#[cfg(test)]
mod tests;
