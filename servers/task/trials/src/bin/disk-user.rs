//! Asks the block server for what it must not get, and for what it must: each line says what came of one thing.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use block_client::{Disk, Error};
use protocol::block::{Answer, BATCH_MAX, BatchRoom, Information, Operation, Request, Transfer, VERSION};
use task::{Call, Deadline, Environment, Inbox, Started, Stop, Window, log};
use trials::wrong_setting;

task::needs! { disk: call, optional data: window, log: log }
task::main!(run);

const PATIENCE: Duration = Duration::from_secs(60);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let disk = Disk::new(grants.disk, PATIENCE);
    let mut information = None;
    for name in environment.setting("do").unwrap_or("").split_whitespace() {
        let outcome = match (name, information) {
            ("version", _) => version(grants.disk),
            ("early", _) => disk.read(0, 1, 0),
            ("open", _) => disk.open().map(|own| information = Some(own)),
            (_, None) => return Err(wrong_setting("do", "open before what needs a disk")),
            ("write", _) => disk.write(0, 1, 0),
            ("discard", _) => disk.run(Operation::Discard { first_block: 0, blocks: 1 }),
            ("zeroes", _) => disk.run(Operation::WriteZeroes { first_block: 0, blocks: 1 }),
            ("beyond", Some(own)) => disk.read(own.blocks, 1, 0),
            ("window", Some(own)) => disk.read(0, 1, own.window_bytes),
            ("load", _) => disk.load(0, &mut [0; 8]),
            ("shutdown", _) => disk.shut_down(),
            ("batch", Some(own)) => batch(&disk, &own, grants.data),
            ("copy", Some(own)) => copy(&disk, &own),
            _ => return Err(wrong_setting("do", "names of what to do")),
        };
        match outcome {
            Ok(()) => log!(grants.log, "done name={name}"),
            Err(error) => log!(grants.log, "refused name={name} error={error}"),
        }
    }
    log!(grants.log, "finished");
    task::ready(Started::Well);
    task::idle()
}

/// Opens the disk in a version that no server speaks.
fn version(call: Call) -> Result<(), Error> {
    match call.call_borrowed(&Request::Open { version: VERSION + 7 }, Deadline::after(PATIENCE), &mut Inbox::new()) {
        Ok(Answer::Version { supported }) => Err(Error::Version { supported }),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Malformed),
    }
}

/// Reads 32 blocks with as many transfers in one message, and compares each with the block read alone.
fn batch(disk: &Disk, own: &Information, data: Option<Window>) -> Result<(), Error> {
    let Some(window) = data else { return Err(Error::Malformed) };
    let bytes = u64::from(own.block_bytes);
    let (mut room, mut inbox) = (BatchRoom::new(), Inbox::new());
    for tag in 0..BATCH_MAX as u32 {
        let (first_block, offset) = (u64::from(tag) * 7, u64::from(tag) * bytes);
        // A batch has room for so many.
        let _ = room.push(&Transfer { tag, operation: Operation::Read { first_block, blocks: 1, offset } });
    }
    let (mut done, mut failed) = (0_u32, 0);
    let taken = disk.exchange(&room, true, &mut inbox, |ended| {
        done |= 1 << ended.tag;
        failed += u32::from(ended.outcome.is_err());
    })?;
    while done != u32::MAX && taken.accepted == BATCH_MAX {
        disk.exchange(&BatchRoom::new(), true, &mut inbox, |ended| {
            done |= 1 << ended.tag;
            failed += u32::from(ended.outcome.is_err());
        })?;
    }
    let alone = BATCH_MAX as u64 * bytes;
    for tag in 0..BATCH_MAX as u64 {
        disk.read(tag * 7, 1, alone)?;
        let (mut one, mut other) = ([0; 64], [0; 64]);
        let read = window.copy_to(tag * bytes, &mut one).and_then(|()| window.copy_to(alone, &mut other));
        failed += u32::from(read.is_err() || one != other);
    }
    if failed == 0 && done == u32::MAX { Ok(()) } else { Err(Error::Malformed) }
}

/// Writes through the slot, reads back to another place of it, and compares.
fn copy(disk: &Disk, own: &Information) -> Result<(), Error> {
    let mut bytes = [0; 4096];
    bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = (index as u8).wrapping_mul(31) ^ 0x5a);
    let blocks = 4096 / own.block_bytes.max(1);
    disk.store(0, &bytes)?;
    disk.write(2, blocks, 0)?;
    disk.flush()?;
    let place = own.window_bytes - 4096;
    disk.read(2, blocks, place)?;
    let mut back = [0; 4096];
    disk.load(place, &mut back)?;
    if back == bytes { Ok(()) } else { Err(Error::Malformed) }
}
