//! Speaks the NVMe driver's protocol, without a device, and dies at a set point, or forgets what it was asked and lives on.
//! It takes the place of `nvme` in a charter.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use heapless::String;
use protocol::nvme::{Answer, Batch, BatchRoom, Completion, Controller, Namespace, Operations, Request};
use task::{Deadline, Environment, Event, Heartbeat, Inbox, Instant, Started, Stop, abi, log};
use trials::{milliseconds, wrong_setting};

task::needs! {
    requests: receive,
    optional client: signal,
    optional log: log,
    optional registers: registers,
    optional completion: interrupt,
    optional admin: interrupt,
    optional data: dma,
}
task::main!(run);

/// When to die.
#[derive(Clone, Copy, PartialEq)]
enum Die {
    Never,
    Idle,
    Queued,
    MidCall,
    /// Not at all: its first life forgets the first transfer.
    Forget,
}

/// What a life leaves at the end of the region for the next one: the region stays as it is.
const LIVED: [u8; 8] = *b"I lived.";

/// Whether this is not the first life; the next one will be told so.
fn has_lived(grants: &Grants) -> Result<bool, Stop> {
    let Some(data) = grants.data else { return Ok(false) };
    let (mut found, place) = ([0; LIVED.len()], data.window.bytes() - LIVED.len() as u64);
    let out_of_range = |error| Stop::new(format_args!("{error}"));
    data.window.copy_to(place, &mut found).map_err(out_of_range)?;
    data.window.copy_from(place, &LIVED).map_err(out_of_range)?;
    Ok(found == LIVED)
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let die = match environment.setting("die") {
        Some("never") => Die::Never,
        Some("idle") => Die::Idle,
        Some("queued") => Die::Queued,
        Some("mid-call") => Die::MidCall,
        Some("forget") => Die::Forget,
        _ => return Err(wrong_setting("die", "never, idle, queued, mid-call or forget")),
    };
    let mut forgets = die == Die::Forget && !has_lived(&grants)?;
    let after = milliseconds(&environment, "after_milliseconds", 500)?;
    task::ready(Started::Well);
    if let (Die::Forget, Some(client)) = (die, grants.client) {
        client.send()?;
    }

    let mut heart = Heartbeat::begin();
    let namespaces: BatchRoom<Namespace> = [1, 2].into_iter().map(namespace).collect();
    let mut inbox = Inbox::new();
    let mut death = Deadline::NEVER;
    let mut completions = BatchRoom::new();
    loop {
        let event = grants.requests.receive(heart.deadline(death), &mut inbox);
        heart.turn(matches!(event, Err(abi::Error::TimedOut)));
        let message = match event {
            Ok(Event::Message(message)) => message,
            Ok(Event::Notification(_) | Event::Told { .. }) => continue,
            Err(abi::Error::TimedOut) if Deadline::at(Instant::now()) < death => continue,
            Err(abi::Error::TimedOut) => end(&grants, &environment),
            Err(error) => return Err(error.into()),
        };
        let said = match message.decode()? {
            Request::Begin => Answer::Begun { room: 0 },
            Request::Shutdown => Answer::Shutdown(Ok(())),
            Request::Controller => Answer::Controller(controller()),
            Request::Namespaces => {
                if die == Die::Idle {
                    death = Deadline::after(after);
                }
                Answer::Namespaces(namespaces.batch())
            }
            Request::Exchange(transfers) => {
                if die == Die::MidCall && !transfers.is_empty() {
                    end(&grants, &environment);
                }
                if die == Die::Queued {
                    if death == Deadline::NEVER && !transfers.is_empty() {
                        death = Deadline::after(after);
                    }
                } else {
                    // Done at once, without any data. What completes now is told in the next exchange.
                    for transfer in transfers {
                        if core::mem::take(&mut forgets) {
                            continue;
                        }
                        // One client has never more under way than there is room for.
                        let _ = completions.push(&Completion { tag: transfer.tag, outcome: Ok(()) });
                    }
                }
                let told = if transfers.is_empty() { completions.batch() } else { Batch::EMPTY };
                if let (false, Some(client)) = (transfers.is_empty(), grants.client) {
                    client.send()?;
                }
                Answer::Exchanged { accepted: transfers.len() as u8, completions: told, namespaces: 0 }
            }
        };
        let tells = matches!(said, Answer::Exchanged { completions, .. } if !completions.is_empty());
        // A client that has stopped waiting needs no answer.
        let _ = message.reply.send(&said);
        if tells {
            completions.clear();
        }
    }
}

/// Dies in the way that the charter says.
fn end(grants: &Grants, environment: &Environment) -> ! {
    if let Some(log) = grants.log {
        log!(log, "trial driver dies");
    }
    match environment.setting("by") {
        Some("panic") => panic!("as the charter says"),
        _ => task::exit(9, "as the charter says"),
    }
}

fn controller() -> Controller {
    let text = "Trial without a device";
    Controller {
        model: String::try_from(text).unwrap_or_default(),
        serial: String::new(),
        firmware: String::new(),
        version: 0x0001_0400,
        namespaces: 2,
        transfer_bytes_max: 1 << 17,
    }
}

fn namespace(nsid: u32) -> Namespace {
    Namespace { nsid, blocks: 1 << 17, block_bytes: 512, supports: Operations::default(), volatile_cache: false }
}
