//! A driver of a whole NVMe controller, on the direct lane, that tries everything that it must not be able to do. It takes
//! the place of `nvme` in a charter, with the same grants. Nobody reads its commands there.
//!
//! What it has its controller reach for is not answered; it is seen from outside, in QEMU's trace and in memory: `attempt
//! name=… commands=… ended=… address=…`. What is answered has a line `attempt name=… answer=… times=…`. It dies with
//! commands in flight, once; the last line, of its second life, is `attempts done`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

mod controller;
mod life;
mod own;
mod reach;

use hostile::{Answer, Tally, driver, handles, pattern};
use nvme_spec::SubmissionEntry;
use nvme_spec::identify::Structure;
use nvme_spec::registers::{CC, CSTS};
use task::{Dma, Environment, Log, Registers, Started, Stop, Window};
use trials::insist;

use controller::{Controller, OWN_PAGE, On, PATIENTLY, Ran};

task::needs! {
    registers: registers,
    log: log,
    data: dma,
    requests: receive,
    optional completion: interrupt,
    optional admin: interrupt,
}
task::main!(run);

/// What the region is filled with, but for its last page.
const SALT: u64 = 0xbad_d41e4;
const PAGE: u64 = 4096;
/// The entry of the MSI-X table that is granted for completions.
const VECTOR: u16 = 1;

struct Hostile {
    log: Log,
    controller: Controller,
    /// The region, where the controller finds it, and its bytes.
    window: Window,
    region: u64,
    bytes: u64,
}

fn run(environment: Environment) -> Result<(), Stop> {
    let Grants { registers, log, data: Dma { region, window }, requests, .. } = Grants::find(&environment)?;
    let has_lived = life::has_lived(&window)?;
    pattern::fill(&window, SALT, 0, window.bytes() - PAGE)?;
    task::ready(Started::Well);
    let direct = driver::direct(&registers)?;
    let region = direct.regions.get(usize::from(region)).copied().unwrap_or_default();
    let mut hostile = Hostile { log, controller: Controller::new(direct), window, region, bytes: window.bytes() };
    if has_lived {
        life::again(&mut hostile)?;
        insist(log, format_args!("attempts done"));
        task::idle()
    }
    brokered(log, registers);
    own::every_register(&mut hostile, "registers-off");
    hostile.controller.enable()?;
    hostile.still_its_own("own-page")?;
    reach::data(&mut hostile)?;
    reach::sweep(&mut hostile)?;
    reach::lists(&mut hostile)?;
    reach::queues(&mut hostile)?;
    own::every_register(&mut hostile, "registers-on");
    hostile.reset()?;
    own::registers(&mut hostile)?;
    hostile.controller.create_io_queues(VECTOR)?;
    own::opcodes(&mut hostile)?;
    own::foreign_vectors(&mut hostile)?;
    hostile.controller.create_io_queues(VECTOR)?;
    own::rewritten(&mut hostile)?;
    own::flood(&mut hostile)?;
    own::other_namespace(&mut hostile)?;
    handles::attempts(registers, requests, log);
    hostile.still_its_own("still-served")?;
    Err(life::die(&mut hostile))
}

/// The calls of the other lane: the kernel's broker has its rings where this task has its own.
fn brokered(log: Log, registers: Registers) {
    for (name, answer) in [
        ("brokered-read", registers.read_u32(CSTS).err()),
        ("brokered-write", registers.write_u32(CC, 1).err()),
        ("brokered-submit", registers.submit(0, &[[0; 64]]).refused.map(|(error, _)| error)),
        ("brokered-complete", registers.complete(0, &mut []).err()),
        ("brokered-collect", registers.collect(0, 0, &mut []).err()),
    ] {
        Tally::of([Answer::from(answer.map_or(Ok(()), Err))]).tell(log, name);
    }
}

/// An Identify, which the controller answers with a page of data.
fn identify(first: u64, second: u64) -> SubmissionEntry {
    SubmissionEntry::identify(0, Structure::Controller, 0).with_data(first, second)
}

impl Hostile {
    /// Tells what an attempt was answered.
    fn tell(&self, name: &str, answer: Answer) {
        Tally::of([answer]).tell(self.log, name);
    }

    /// Tells what the controller was told to reach for.
    fn reached_for(&self, name: &str, address: u64, ran: Ran) {
        let Ran { commands, ended } = ran;
        insist(self.log, format_args!("attempt name={name} commands={commands} ended={ended} address={address:#x}"));
    }

    /// What is its own, it reaches: else the rest would prove nothing.
    fn still_its_own(&mut self, name: &str) -> Result<(), Stop> {
        let rings = self.controller.rings_at();
        self.controller.set_word(OWN_PAGE, 0);
        let ran = self.controller.run(On::Admin, [identify(rings + OWN_PAGE, 0)], PATIENTLY)?;
        let is_written = ran.ended == 1 && self.controller.word(OWN_PAGE) != 0;
        self.tell(name, Answer::word(if is_written { "own-page" } else { "nothing" }));
        Ok(())
    }

    /// Queues, identifiers and what is late begin anew.
    fn reset(&mut self) -> Result<(), Stop> {
        self.controller.disable()?;
        self.controller.enable()
    }
}
