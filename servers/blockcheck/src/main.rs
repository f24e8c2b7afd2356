//! The program that tries a disk.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use block_client::Error;
use blockcheck::expected::Content;
use blockcheck::plan::Plan;
use blockcheck::run::{Contents, Disk, Run};
use blockcheck::settings::{BLOCKS_MAX, Settings};
use protocol::block::{BatchRoom, Completion, Failure, Information, Transfer};
use task::{Environment, Inbox, Instant, Started, Stop, log};

task::needs! { disk: call, data: window, log: log }
task::main!(run);

/// What each block should read as.
static CONTENTS: [AtomicU32; BLOCKS_MAX as usize] = [const { AtomicU32::new(0) }; BLOCKS_MAX as usize];

struct Table;

impl Contents for Table {
    fn get(&self, block: u64) -> Content {
        let entry = CONTENTS.get(block as usize);
        entry.map_or(Content::Unknown, |entry| Content::decode(entry.load(Ordering::Relaxed)))
    }

    fn set(&mut self, block: u64, content: Content) {
        if let Some(entry) = CONTENTS.get(block as usize) {
            entry.store(content.encode(), Ordering::Relaxed);
        }
    }
}

struct Served {
    disk: block_client::Disk,
    information: Information,
    inbox: Inbox,
}

impl Disk for Served {
    fn exchange(&mut self, transfers: &BatchRoom<Transfer>, each: &mut dyn FnMut(Completion)) -> Result<usize, Error> {
        self.disk.exchange(transfers, true, &mut self.inbox, each).map(|exchanged| exchanged.accepted)
    }

    fn resume(&mut self) -> Result<(), Error> {
        match self.disk.resume()? {
            information if information == self.information => Ok(()),
            _ => Err(Error::Server(Failure::Changed)),
        }
    }
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let settings = Settings::new(|key| environment.setting(key))?;
    let disk = block_client::Disk::new(grants.disk, settings.patience);
    let information = match disk.open() {
        Ok(information) => information,
        Err(error) => {
            log!(grants.log, "disk unavailable error={error}");
            task::ready(Started::Failed);
            task::idle()
        }
    };
    let (plan, depth) = fit(&settings, &information, grants.data.bytes())?;
    let Plan { seed, blocks, blocks_max, flush_every, mix } = plan;
    let Information { nsid, first_block, block_bytes, .. } = information;
    log!(
        grants.log,
        "started nsid={nsid} lba={first_block} blocks={blocks} block_bytes={block_bytes} seed={seed} \
         requests={} depth={depth} blocks_max={blocks_max} flush_every={flush_every} write={} durable={} discard={} \
         zeroes={}",
        settings.requests.unwrap_or(0),
        mix.write,
        mix.durable,
        mix.discard,
        mix.zeroes
    );
    task::ready(Started::Well);
    let mut tell = |line| log!(grants.log, "{line}");
    let begun = Instant::now();
    let served = Served { disk, information, inbox: Inbox::new() };
    let run = Run::new(served, Table, &grants.data, plan, block_bytes, depth, &mut tell);
    match run.go(settings.requests) {
        Ok(tally) => {
            let milliseconds = u64::try_from(Instant::now().since(begun).as_millis()).unwrap_or(u64::MAX).max(1);
            let iops = tally.requests.saturating_mul(1000) / milliseconds;
            let kib_per_second = (tally.bytes >> 10).saturating_mul(1000) / milliseconds;
            log!(grants.log, "done {tally} milliseconds={milliseconds} iops={iops} kib_per_second={kib_per_second}");
        }
        Err(error) => log!(grants.log, "stopped error={error}"),
    }
    task::idle()
}

/// The plan and the number of operations under way that this disk and this window have room for.
fn fit(settings: &Settings, information: &Information, window_bytes: u64) -> Result<(Plan, u32), Stop> {
    let blocks = settings.blocks.min(information.blocks);
    let window_blocks = window_bytes.min(information.window_bytes) / u64::from(information.block_bytes.max(1));
    let blocks_max = u64::from(settings.blocks_max).min(blocks).min(window_blocks) as u32;
    if blocks_max == 0 {
        return Err(Stop::new(format_args!("the window does not hold one block")));
    }
    let depth = (window_blocks / u64::from(blocks_max)).min(settings.depth.min(information.share.into()).into()) as u32;
    // What the device does not have is left out, and the rest reads.
    let (mut mix, supports) = (settings.mix, information.supports);
    if !supports.write {
        (mix.write, mix.durable) = (0, 0);
    }
    mix.discard = if supports.discard { mix.discard } else { 0 };
    mix.zeroes = if supports.write_zeroes { mix.zeroes } else { 0 };
    Ok((Plan { seed: settings.seed, blocks, blocks_max, flush_every: settings.flush_every, mix }, depth))
}
