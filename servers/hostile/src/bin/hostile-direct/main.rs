//! A driver of a whole NVMe controller, on the direct lane, that has it reach for memory that is not its own: with data, in
//! PRP lists, and with its queues. It takes the place of `nvme` in a charter, with the same grants. Nobody reads its
//! commands, and what it tries is not answered: what came of it is seen from outside, in QEMU's trace and in memory. Each
//! attempt has a line `attempt name=… commands=… ended=… address=…`, and the last line is `attempts done`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

mod controller;

use abi::Error;
use hostile::pattern;
use nvme_spec::admin::QueueCounts;
use nvme_spec::admin::log::HEALTH;
use nvme_spec::identify::Structure;
use nvme_spec::nvm::BlockRange;
use nvme_spec::registers::{ACQ, ASQ, CC, CSTS, DOORBELLS};
use nvme_spec::{CompletionEntry, SubmissionEntry};
use task::{Dma, Environment, Log, Receive, Registers, Started, Stop, log};
use trials::insist;

use controller::{Controller, IO_COMPLETION, IO_SUBMISSION, LIST, OWN_PAGE, Ran};

task::needs! {
    registers: registers,
    log: log,
    data: dma,
    requests: receive,
    optional completion: interrupt,
    optional admin: interrupt,
}
task::main!(run);

/// What the region is filled with.
const SALT: u64 = 0xbad_d41e4;
const PAGE: u64 = 4096;
/// The memory that the machine of the test has, in bytes.
const MEMORY: u64 = 256 << 20;
/// Where that machine's device registers may lie, and bytes from there on. The range of interrupts, which IOMMUs treat on
/// their own, is left out, and so are the controller's own, which QEMU's refuses by itself.
const REGISTERS: [(u64, u64); 4] =
    [(0xfe00_0000, 0xe0_0000), (0xfef0_0000, 0x10_0000), (0x8_0000_0000, 0x10_0000), (0xe0_0000_4000, 0xf_c000)];
/// Blocks of a read that needs a PRP list.
const LONG: u32 = 64;

struct Hostile {
    log: Log,
    controller: Controller,
    /// Where the controller finds the region, and its bytes.
    region: u64,
    bytes: u64,
}

fn run(environment: Environment) -> Result<(), Stop> {
    let Grants { registers, log, data, requests, .. } = Grants::find(&environment)?;
    let _: Receive = requests;
    pattern::fill(&data.window, SALT, 0, data.window.bytes())?;
    task::ready(Started::Well);
    let direct = loop {
        match registers.direct() {
            Ok(direct) => break direct,
            Err(Error::Busy) => controller::pause(),
            Err(error) => return Err(Stop::new(format_args!("the lane is not direct: {error}"))),
        }
    };
    brokered(log, registers);
    let Dma { region, window } = data;
    let region = direct.regions.get(usize::from(region)).copied().unwrap_or_default();
    let mut hostile = Hostile { log, controller: Controller::new(direct), region, bytes: window.bytes() };
    hostile.every_register("registers-off");
    hostile.controller.enable()?;
    hostile.own_page()?;
    hostile.data()?;
    hostile.sweep()?;
    hostile.lists()?;
    hostile.queues()?;
    hostile.every_register("registers-on");
    hostile.controller.disable()?;
    hostile.controller.enable()?;
    hostile.own_page()?;
    insist(log, format_args!("attempts done"));
    task::idle()
}

/// The calls of the other lane: the kernel's broker has its rings where this task has its own.
fn brokered(log: Log, registers: Registers) {
    let answers = [
        registers.read_u32(CSTS).err(),
        registers.write_u32(CC, 1).err(),
        registers.submit(0, &[[0; 64]]).refused.map(|(error, _)| error),
        registers.complete(0, &mut []).err(),
        registers.collect(0, 0, &mut []).err(),
    ];
    for answer in answers {
        match answer {
            Some(error) => log!(log, "brokered call answer=\"{error}\""),
            None => log!(log, "brokered call answer=ok"),
        }
    }
}

impl Hostile {
    fn tell(&self, name: &str, address: u64, ran: Ran) {
        let Ran { commands, ended } = ran;
        insist(self.log, format_args!("attempt name={name} commands={commands} ended={ended} address={address:#x}"));
    }

    /// An Identify, which the controller answers with a page of data.
    fn identify(first: u64, second: u64) -> SubmissionEntry {
        SubmissionEntry::identify(0, Structure::Controller, 0).with_data(first, second)
    }

    /// What is its own, it reaches: else the rest would prove nothing.
    fn own_page(&mut self) -> Result<(), Stop> {
        let rings = self.controller.rings_at();
        let ran = self.controller.run([Self::identify(rings + OWN_PAGE, 0)])?;
        let is_written = self.controller.word(OWN_PAGE) != 0;
        insist(self.log, format_args!("own page ended={} written={is_written}", ran.ended));
        Ok(())
    }

    /// Data before, behind and across the ends of what is its own, and where something else may be.
    fn data(&mut self) -> Result<(), Stop> {
        let (region, bytes, rings) = (self.region, self.bytes, self.controller.rings_at());
        for (name, first, second) in [
            ("data-before-region", region - PAGE, 0),
            ("data-behind-region", region + bytes, 0),
            ("data-far-behind-region", region + bytes + (1 << 20), 0),
            ("data-across-region-end", region + bytes - PAGE / 2, region + bytes),
            ("data-before-rings", rings - PAGE, 0),
            ("data-behind-rings", rings + self.controller.ring_bytes(), 0),
            ("data-at-page-0", 0, 0),
            ("data-at-kernel", 0x10_0000, 0),
            ("data-at-top-half", 0xffff_ffff_8000_0000, 0),
            ("data-beyond-the-domain", 1 << 47, 0),
        ] {
            let ran = self.controller.run([Self::identify(first, second)])?;
            self.tell(name, if second == 0 { first } else { second }, ran);
        }
        Ok(())
    }

    /// Every page of memory, and of where registers may be, the controller's own MSI-X table among them: by the addresses
    /// that they have without an IOMMU. It is also a storm of what the IOMMU has to record.
    fn sweep(&mut self) -> Result<(), Stop> {
        for (name, first, bytes) in [("sweep-memory", 0, MEMORY)]
            .into_iter()
            .chain(REGISTERS.map(|(first, bytes)| ("sweep-registers", first, bytes)))
        {
            let pages = (0..bytes).step_by(PAGE as usize);
            // One word each: QEMU's IOMMU blocks word by word.
            let word = SubmissionEntry::get_log_page(0, HEALTH, 4);
            let ran = self.controller.run(pages.map(|offset| word.with_data(first + offset, 0)))?;
            self.tell(name, first, ran);
        }
        Ok(())
    }

    /// PRP lists that are elsewhere, and entries of its own list that lead elsewhere.
    fn lists(&mut self) -> Result<(), Stop> {
        let (region, bytes, rings) = (self.region, self.bytes, self.controller.rings_at());
        let counts = QueueCounts { submission: 1, completion: 1 };
        let create = [
            SubmissionEntry::set_number_of_queues(0, counts),
            SubmissionEntry::create_completion_queue(0, 1, 32, 1).with_data(rings + IO_COMPLETION, 0),
            SubmissionEntry::create_submission_queue(0, 1, 32, 1).with_data(rings + IO_SUBMISSION, 0),
        ];
        for command in create {
            self.controller.run([command])?;
        }
        let read = SubmissionEntry::read(0, 2, BlockRange { first: 0, count: LONG });
        for (name, list) in [
            ("list-behind-region", region + bytes),
            ("list-at-page-0", 0),
            ("list-at-kernel", 0x20_0000),
            ("list-before-rings", rings - PAGE),
        ] {
            let ran = self.controller.run_io(read.with_data(region, list))?;
            self.tell(name, list, ran);
        }
        for (name, target) in [("entry-behind-region", region + bytes), ("entry-at-kernel", 0x30_0000)] {
            for entry in 0..u64::from(LONG) / 8 {
                self.controller.set_word(LIST + entry * 8, target);
            }
            let ran = self.controller.run_io(read.with_data(region, rings + LIST))?;
            self.tell(name, target, ran);
        }
        Ok(())
    }

    /// Queues that are elsewhere: the controller fetches commands from there, and puts completions there.
    fn queues(&mut self) -> Result<(), Stop> {
        let (behind, rings) = (self.region + self.bytes + PAGE, self.controller.rings_at());
        for (name, submission, completion, address) in [
            ("submission-queue-behind-region", behind, rings + PAGE, behind),
            ("submission-queue-at-kernel", 0x40_0000, rings + PAGE, 0x40_0000),
            ("completion-queue-behind-region", rings, behind, behind),
            ("completion-queue-at-kernel", rings, 0x50_0000, 0x50_0000),
        ] {
            self.controller.disable()?;
            self.controller.enable_with(submission, completion)?;
            let ran = self.controller.run([Self::identify(rings + OWN_PAGE, 0)])?;
            self.tell(name, address, ran);
        }
        self.controller.disable()?;
        self.controller.enable()
    }

    /// Each register that is mapped is written, but for the one that resets the controller and those that must then be
    /// right; doorbells of queues that do not exist among them.
    fn every_register(&mut self, name: &str) {
        let registers = self.controller.registers();
        let mut written = 0;
        for offset in (0..registers.bytes()).step_by(4) {
            let is_kept = offset == CC || (ASQ..ACQ + 8).contains(&offset);
            if !is_kept && !(DOORBELLS..DOORBELLS + 8).contains(&offset) {
                registers.write_u32(offset, u32::MAX);
                written += 1;
            }
        }
        insist(self.log, format_args!("attempt name={name} commands={written} ended=0 address=0x0"));
    }
}

const _: () = assert!(size_of::<CompletionEntry>() == 16);
