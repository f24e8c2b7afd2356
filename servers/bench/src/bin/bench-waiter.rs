//! Waits for signals and adds up the times at which it was woken; a call takes the sum.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use task::measure::time_stamp;
use task::{Deadline, Environment, Event, Inbox, Started, Stop};

task::needs! { requests: receive }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    task::ready(Started::Well);
    let mut inbox = Inbox::new();
    let mut sum = 0u64;
    loop {
        let event = grants.requests.receive(Deadline::NEVER, &mut inbox);
        let now = time_stamp();
        match event {
            Ok(Event::Notification(_) | Event::Told { .. }) => sum = sum.wrapping_add(now),
            // A client that is gone meanwhile is no concern of ours.
            Ok(Event::Message(message)) => drop(message.reply.send(&core::mem::take(&mut sum))),
            Err(_) => {}
        }
    }
}
