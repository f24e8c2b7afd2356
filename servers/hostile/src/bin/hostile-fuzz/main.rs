//! A driver of an NVMe controller that makes system calls and submits commands at random, as its setting `seed` says:
//! `count` of them, of which most commands are nearly right, so that they come far. It takes the place of `nvme` in a
//! charter, with the same grants, and tells at the end how often each rule refused, and what was accepted.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

mod calls;
mod commands;
mod device;

use hostile::driver::Means;
use hostile::random::Random;
use task::{Environment, Interrupt, Started, Stop};
use trials::{insist, number};

use device::{Device, Recovery};

task::needs! {
    registers: registers,
    log: log,
    data: dma,
    requests: receive,
    optional completion: interrupt,
    optional admin: interrupt,
}
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let (seed, count) = (number(&environment, "seed", 1)?, number(&environment, "count", 10_000)?);
    let means = Means {
        registers: grants.registers,
        requests: grants.requests,
        log: grants.log,
        data: grants.data,
        vector: grants.completion.map_or(0, |Interrupt { vector, .. }| vector),
    };
    task::ready(Started::Well);
    let mut random = Random::new(seed);
    let mut device = Device::new(means);
    device.bring_up(&mut random)?;
    let mut calls = 0;
    while device.tally.submitted + calls < count {
        if random.percent(30) {
            let burst = 1 + random.below(16);
            for _ in 0..burst {
                calls::make(&mut random, &means);
            }
            calls += burst;
        } else if random.below(1000) == 0 {
            device.write_configuration(&mut random);
            calls += 1;
        } else {
            let queue = if random.percent(85) { 1 } else { 0 };
            if device.submit(&mut random, queue) == Recovery::Wanted {
                device.bring_up(&mut random)?;
            }
            calls += 1;
        }
    }
    device.tally.tell(means.log);
    insist(means.log, format_args!("fuzz done seed={seed} calls={calls} {}", device.tally));
    task::idle()
}
