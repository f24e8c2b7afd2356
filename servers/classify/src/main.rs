//! The classification task's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

mod collect;

use classify::report::{Component, Findings, report};
use protocol::classify::{Answer, Request};
use task::{Deadline, Environment, Event, Inbox, Receive, Started, Stop, log};

use collect::Items;

task::needs! {
    optional evidence: evidence,
    optional controller: information,
    optional driver: call,
    optional controller2: information,
    optional driver2: call,
    optional controller3: information,
    optional driver3: call,
    optional controller4: information,
    optional driver4: call,
    optional requests: receive,
    log: log,
    optional cloud: log,
}
task::main!(run);
task::stack!(38_392);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let mut items = Items::new();
    collect::machine(grants.evidence, &mut items);
    let controllers = [
        ("controller", grants.controller, grants.driver),
        ("controller2", grants.controller2, grants.driver2),
        ("controller3", grants.controller3, grants.driver3),
        ("controller4", grants.controller4, grants.driver4),
    ];
    for (grant, controller, driver) in controllers {
        if let Some(controller) = controller {
            collect::controller(grant, controller, driver, &mut items, grants.log)?;
        }
    }
    let findings = report(&items, |component, line| match (component, grants.cloud) {
        (Component::Nvme, _) => log!(grants.log, "{line}"),
        (Component::Cloud, Some(cloud)) => log!(cloud, "{line}"),
        (Component::Cloud, None) => {}
    });
    let nothing_granted = controllers.iter().all(|(_, controller, _)| controller.is_none());
    if nothing_granted && findings.controllers.is_empty() {
        log!(grants.log, "cloud shape none reason=not-granted");
    }
    // It has said what there is, also if that is nothing. That a disk is missing is the driver's to report.
    task::ready(Started::Well);
    match grants.requests {
        Some(requests) => serve(requests, &findings, &items),
        None => task::idle(),
    }
}

/// Tells other tasks, for ever.
fn serve(requests: Receive, findings: &Findings, items: &Items) -> Result<(), Stop> {
    let mut inbox = Inbox::new();
    let mut event = requests.receive(Deadline::NEVER, &mut inbox);
    loop {
        let next = match event {
            Ok(Event::Message(message)) => {
                let answer = match message.decode() {
                    Ok(Request::Verdict) => Answer::Verdict(findings.verdict.clone()),
                    Ok(Request::Controller(number)) => Answer::Controller(findings.controller(number)),
                    Ok(Request::Evidence(number)) => Answer::Evidence(items.get(usize::from(number)).cloned()),
                    Err(_) => Answer::Malformed,
                };
                Some((message.reply, answer))
            }
            Ok(Event::Notification(_) | Event::Told { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        event = match next {
            Some((reply, answer)) => requests.reply_receive(reply, &answer, Deadline::NEVER, &mut inbox),
            None => requests.receive(Deadline::NEVER, &mut inbox),
        };
    }
}
