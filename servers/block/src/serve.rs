//! The loop: receive, let the server work, answer.

use core::time::Duration;

use heapless::Vec;
use protocol::block::{DiskGrant, Failure};
use task::abi::start::{CLIENTS_MAX, Client};
use task::abi::system_call::PEER_STOPPED;
use task::{Deadline, Event, Inbox, Log, Receive, Reply, Stop, abi, log};

use crate::driver::Driver;
use crate::server::Server;

/// How often to look whether something has completed although the driver has not signalled.
const LOOK: Duration = Duration::from_secs(1);

/// Serves until the task is stopped.
///
/// # Errors
/// The kernel refuses to let this task receive.
pub fn serve(driver: impl Driver, requests: Receive, clients: &[Client<'_>], log: Option<Log>) -> Result<(), Stop> {
    let mut server = Server::new(driver, clients.iter().map(|client| (client.badge, grant(client.parameters))));
    if let Some(log) = log {
        report(&server, clients, log);
    }
    task::ready(task::Started::Well);

    let mut inbox = Inbox::new();
    let mut lost = server.lost();
    loop {
        if let (None, Some(failure)) = (lost, server.lost()) {
            lost = Some(failure);
            if let Some(log) = log {
                log!(log, "driver lost reason={failure}");
            }
        }
        let deadline = if server.is_waiting() { Deadline::after(LOOK) } else { Deadline::NEVER };
        // All answers that are due but one go by themselves; that one goes along with the next wait.
        let last = server.take_due();
        while let Some((reply, answer)) = server.take_due() {
            send(reply, &answer);
        }
        let event = match last {
            Some((reply, answer)) => requests.reply_receive(reply, &answer, deadline, &mut inbox),
            None => requests.receive(deadline, &mut inbox),
        };
        match event {
            Ok(Event::Message(message)) => {
                let request = message.decode().ok();
                server.request(message.badge, message.reply, request);
            }
            Ok(Event::Notification(bits)) => {
                if bits & PEER_STOPPED != 0 {
                    server.lose(Failure::DeadPeer);
                } else {
                    server.exchange();
                }
            }
            Err(abi::Error::TimedOut) => server.exchange(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Answers a client. One that is gone, or has stopped waiting, is no concern of the others.
fn send(reply: Reply, answer: &protocol::block::Answer) {
    let _ = reply.send(answer);
}

/// Says which namespaces are served, and what is wrong with a client's disk.
fn report<D: Driver>(server: &Server<D, Reply>, clients: &[Client<'_>], log: Log) {
    if let Some(failure) = server.lost() {
        log!(log, "no disk reason={failure}");
        return;
    }
    let mut told: Vec<u32, CLIENTS_MAX> = Vec::new();
    for (badge, disk) in server.disks() {
        let name = clients.iter().find(|client| client.badge == badge).map_or("", |client| client.task);
        match disk {
            Err(reason) => log!(log, "{reason} client={name}"),
            Ok(disk) => {
                let information = disk.information();
                if !told.contains(&information.nsid) {
                    // There is room for every client's.
                    let _ = told.push(information.nsid);
                    let blocks = disk.namespace_blocks();
                    log!(
                        log,
                        "ready nsid={} blocks={blocks} block_bytes={}",
                        information.nsid,
                        information.block_bytes
                    );
                }
            }
        }
    }
}

/// The grant of a client, from its parameters in the charter.
fn grant(parameters: &[u8]) -> Option<DiskGrant> {
    match postcard::take_from_bytes(parameters) {
        Ok((grant, [])) => Some(grant),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
