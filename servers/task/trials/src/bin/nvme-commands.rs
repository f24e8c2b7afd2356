//! Has the NVMe driver do one of everything, and shut its controller down. It takes the place of `block` in a charter.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use protocol::nvme::{Answer, BatchRoom, Completion, Failure, Namespace, Operation, Request, Transfer};
use task::{Deadline, Environment, Inbox, Started, Stop, Window, log};
use trials::{milliseconds, number};

task::needs! { driver: call, data: window, log: log }
task::main!(run);

/// Between two looks whether something has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the driver may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Blocks of each transfer.
const BLOCKS: u32 = 16;

struct Trial {
    grants: Grants,
    nsid: u32,
    tag: u32,
    bytes: u64,
}

/// What lies at a place of a pattern.
fn byte(seed: u8, place: u64) -> u8 {
    (place as u8).wrapping_mul(7) ^ (place >> 8) as u8 ^ seed
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let nsid = number(&environment, "namespace", 2)? as u32;
    let before_shutdown = milliseconds(&environment, "shutdown_after_milliseconds", 0)?;
    let namespace = namespace(&grants, nsid)?;
    let mut trial = Trial { grants, nsid, tag: 0, bytes: u64::from(namespace.block_bytes) * u64::from(BLOCKS) };
    let supports = namespace.supports;
    log!(
        grants.log,
        "namespace nsid={nsid} write={} discard={} write_zeroes={} compare={} verify={} volatile_cache={}",
        supports.write,
        supports.discard,
        supports.write_zeroes,
        supports.compare,
        supports.verify,
        namespace.volatile_cache
    );
    task::ready(Started::Well);
    if !matches!(trial.ask(&Request::Begin, &mut Inbox::new())?, Answer::Begun { .. }) {
        return Err(Stop::new(format_args!("the driver does not let this client begin")));
    }
    trial.commands()?;
    // Whatever happens meanwhile, the driver tells of.
    let _ = task::wait(Deadline::after(before_shutdown));
    match trial.ask(&Request::Shutdown, &mut Inbox::new())? {
        Answer::Shutdown(outcome) => log!(grants.log, "shutdown outcome=\"{outcome:?}\""),
        answer => log!(grants.log, "shutdown answer=\"{answer:?}\""),
    }
    trial.step("read-after-shutdown", Operation::Read, 0, 0)?;
    task::idle()
}

fn namespace(grants: &Grants, nsid: u32) -> Result<Namespace, Stop> {
    match grants.driver.call_borrowed(&Request::Namespaces, Deadline::after(PATIENCE), &mut Inbox::new()) {
        Ok(Answer::Namespaces(all)) => all
            .iter()
            .find(|namespace| namespace.nsid == nsid)
            .ok_or_else(|| Stop::new(format_args!("no namespace {nsid}"))),
        _ => Err(Stop::new(format_args!("no namespaces"))),
    }
}

impl Trial {
    /// One of everything. The disk holds afterwards: 16 blocks of pattern 1, 16 of pattern 2, 16 of zeroes, 16 that were
    /// discarded; the rest as it was.
    fn commands(&mut self) -> Result<(), Stop> {
        let block = u64::from(BLOCKS);
        self.fill(0, 1)?;
        self.step("write", Operation::Write, 0, 0)?;
        self.fill(self.bytes, 2)?;
        self.step("write-durable", Operation::DurableWrite, block, self.bytes)?;
        self.step("write-zeroes", Operation::WriteZeroes, 2 * block, 0)?;
        self.step("discard", Operation::Discard, 3 * block, 0)?;
        self.step("flush", Operation::Flush, 0, 0)?;
        self.step("verify", Operation::Verify, 0, 0)?;
        self.step("compare-same", Operation::Compare, 0, 0)?;
        self.step("compare-different", Operation::Compare, block, 0)?;
        self.fill(2 * self.bytes, 3)?;
        self.step("read", Operation::Read, block, 2 * self.bytes)?;
        let wrong = self.wrong(2 * self.bytes, 2)?;
        log!(self.grants.log, "read back wrong_bytes={wrong}");
        self.step("write-beyond", Operation::Write, u64::MAX - 3, 0)?;
        self.step("write-nowhere", Operation::Write, 0, u64::MAX - 3)
    }

    fn step(&mut self, name: &str, operation: Operation, first_block: u64, offset: u64) -> Result<(), Stop> {
        self.tag += 1;
        let transfer = Transfer { tag: self.tag, operation, nsid: self.nsid, first_block, blocks: BLOCKS, offset };
        let (mut batch, mut inbox) = (BatchRoom::new(), Inbox::new());
        let _ = batch.push(&transfer);
        loop {
            let answer = self.ask(&Request::Exchange(batch.batch()), &mut inbox)?;
            batch.clear();
            match answer {
                Answer::Exchanged { completions, .. } => {
                    if let Some(Completion { tag, outcome }) = completions.iter().next() {
                        log!(self.grants.log, "ended name={name} tag={tag} outcome={}", word(outcome));
                        return Ok(());
                    }
                }
                Answer::NoController => {
                    log!(self.grants.log, "ended name={name} tag={} outcome=no-controller", self.tag);
                    return Ok(());
                }
                answer => return Err(Stop::new(format_args!("{answer:?} to an exchange"))),
            }
            let _ = task::wait(Deadline::after(PAUSE));
        }
    }

    fn ask<'i>(&self, request: &Request<'_>, inbox: &'i mut Inbox) -> Result<Answer<'i>, Stop> {
        let answer = self.grants.driver.call_borrowed(request, Deadline::after(PATIENCE), inbox);
        answer.map_err(|error| Stop::new(format_args!("the driver does not answer: {error}")))
    }

    fn fill(&self, offset: u64, seed: u8) -> Result<(), Stop> {
        self.each(offset, |window, at, place| {
            let piece: [u8; 16] = core::array::from_fn(|index| byte(seed, place + index as u64));
            window.copy_from(at, &piece).is_ok()
        })
    }

    fn wrong(&self, offset: u64, seed: u8) -> Result<u64, Stop> {
        let mut wrong = 0;
        self.each(offset, |window, at, place| {
            let mut piece = [0; 16];
            let copied = window.copy_to(at, &mut piece).is_ok();
            let expected = |(index, found): &(usize, u8)| *found != byte(seed, place + *index as u64);
            wrong += piece.into_iter().enumerate().filter(expected).count() as u64;
            copied
        })?;
        Ok(wrong)
    }

    fn each(&self, offset: u64, mut each: impl FnMut(&Window, u64, u64) -> bool) -> Result<(), Stop> {
        let good = (0..self.bytes).step_by(16).all(|place| each(&self.grants.data, offset + place, place));
        if good { Ok(()) } else { Err(Stop::new(format_args!("the window is too small"))) }
    }
}

/// An outcome as a value of the log.
fn word(outcome: Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "ok",
        Err(Failure::Invalid) => "invalid",
        Err(Failure::Denied) => "denied",
        Err(Failure::Unsupported) => "unsupported",
        Err(Failure::Stopped) => "stopped",
        Err(Failure::Different) => "different",
        Err(Failure::Device { .. }) => "device",
        Err(Failure::Aborted) => "aborted",
        Err(Failure::TimedOut) => "timed-out",
        Err(Failure::Gone) => "gone",
    }
}
