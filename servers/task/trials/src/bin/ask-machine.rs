//! Asks the classification task what this machine is, and logs its answers.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use protocol::classify::{Answer, Request};
use task::{Call, Deadline, Environment, Started, Stop, log};

task::needs! { machine: call, log: log }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let Answer::Verdict(verdict) = ask(grants.machine, &Request::Verdict)? else {
        return Err(Stop::new(format_args!("no verdict")));
    };
    log!(
        grants.log,
        "told provider={} confidence={} supporting={} against={}",
        verdict.provider,
        verdict.confidence,
        verdict.supporting.len(),
        verdict.against.len()
    );
    for number in 0.. {
        let Answer::Controller(Some(controller)) = ask(grants.machine, &Request::Controller(number))? else { break };
        log!(
            grants.log,
            "told device={} shape={} bound={} only_firmware={}",
            controller.address,
            controller.shape,
            controller.bound,
            controller.only_firmware
        );
    }
    let mut items = 0;
    while let Answer::Evidence(Some(_)) = ask(grants.machine, &Request::Evidence(items))? {
        items += 1;
    }
    // A message that is no request gets an answer too, and the task goes on.
    let nonsense: Answer = grants.machine.call(&[0xff_u8; 30], Deadline::NEVER)?;
    let goes_on = matches!(ask(grants.machine, &Request::Verdict)?, Answer::Verdict(_));
    log!(grants.log, "told items={items} malformed={} goes_on={goes_on}", nonsense == Answer::Malformed);
    task::ready(Started::Well);
    task::idle()
}

fn ask(machine: Call, request: &Request) -> Result<Answer, Stop> {
    Ok(machine.call(request, Deadline::NEVER)?)
}
