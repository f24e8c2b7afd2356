//! The disk that this console is granted: what it is, what stands on it, whether all of it can be read.

use core::fmt;
use core::time::Duration;

use block_client::{Disk, Error};
use blockcheck::pattern::{self, Seen};
use protocol::block::{Failure, Information};
use sha2::{Digest, Sha256};
use task::{Call, Instant, Window};

use crate::say;
use crate::terminal::Terminal;

/// How long one request may take: longer than the device's own time limits.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long to wait for a block server that has stopped.
const RETURN: Duration = Duration::from_secs(30);
/// Bytes that are shown of what was read, and on a line.
const SHOWN_BYTES: u64 = 64;
const LINE_BYTES: usize = 16;

/// The disk that this console is granted.
fn served(call: Call) -> Disk {
    Disk::new(call, PATIENCE)
}

/// What disk it is.
///
/// # Errors
/// Why there is none.
pub fn information(disk: Call) -> Result<Information, Error> {
    match served(disk).open() {
        Err(Error::Restarted) => Disk::new(disk, RETURN).resume(),
        result => result,
    }
}

/// Reads blocks to the start of the window. [`information`] comes first.
///
/// # Errors
/// Why they are not there.
pub fn read_blocks(disk: Call, first_block: u64, blocks: u32) -> Result<(), Error> {
    served(disk).read(first_block, blocks, 0)
}

/// Makes everything written durable, before the machine ends: of all, if the charter lets this console shut storage
/// down, else on its own disk.
///
/// # Errors
/// Why it may not be.
pub fn shut_down(disk: Call) -> Result<(), Error> {
    let disk = served(disk);
    let outcome = match disk.shut_down() {
        Err(Error::Restarted) => disk.resume().and_then(|_| disk.shut_down()),
        outcome => outcome,
    };
    match outcome {
        Err(Error::Server(Failure::Denied)) => disk.open().and_then(|_| disk.flush()),
        // Everything was made durable; the driver only has no notice to give to its device.
        Err(Error::Server(Failure::Unsupported)) => Ok(()),
        result => result,
    }
}

/// Shows what disk it is.
pub fn show(disk: Call, terminal: &mut Terminal) {
    match information(disk) {
        Ok(Information { nsid, first_block, blocks, block_bytes, supports, .. }) => say!(
            terminal,
            "nsid={nsid} first_block={first_block} blocks={blocks} block_bytes={block_bytes} access={}",
            if supports.write { "read-write" } else { "read-only" }
        ),
        Err(trouble) => say!(terminal, "no disk error={trouble}"),
    }
}

/// Reads a range of the disk through the window, and shows each part to `each`: its first block, and its bytes from the
/// window's start.
fn each_part(
    disk: Call,
    data: &Window,
    block_bytes: u32,
    first: u64,
    count: u64,
    terminal: &mut Terminal,
    mut each: impl FnMut(u64, u64),
) -> Result<(), (u64, Error)> {
    let room = data.bytes().checked_div(block_bytes.into()).unwrap_or(0);
    let (mut block, mut left) = (first, count);
    while left > 0 {
        let blocks = u32::try_from(left.min(room)).unwrap_or(u32::MAX);
        if blocks == 0 {
            return Err((block, Error::Server(Failure::Invalid)));
        }
        if let Err(trouble) = read_blocks(disk, block, blocks) {
            if trouble != Error::Restarted {
                return Err((block, trouble));
            }
            say!(terminal, "block server restarted lba={block}");
            information(disk).map_err(|trouble| (block, trouble))?;
            continue;
        }
        each(block, u64::from(blocks) * u64::from(block_bytes));
        block = block.saturating_add(blocks.into());
        left -= u64::from(blocks);
    }
    Ok(())
}

/// A hash in hexadecimal.
struct Hexadecimal([u8; 32]);

impl fmt::Display for Hexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads blocks and shows their SHA-256 and the first bytes.
pub fn read(disk: Call, data: &Window, nsid: u32, block: u64, blocks: u32, terminal: &mut Terminal) {
    let information = match information(disk) {
        Ok(information) => information,
        Err(trouble) => return say!(terminal, "no disk error={trouble}"),
    };
    if information.nsid != nsid {
        return say!(terminal, "this console is granted nsid={} alone", information.nsid);
    }
    let block_bytes = information.block_bytes;
    // What lies behind the last one is for the server to refuse.
    let mut hasher = Sha256::new();
    // The range is inside the window: a part is no longer.
    let hash = |_, bytes| data.for_each_chunk(0, bytes, |chunk| hasher.update(chunk)).unwrap_or(());
    match each_part(disk, data, block_bytes, block, blocks.into(), terminal, hash) {
        Err((at, trouble)) => say!(terminal, "read failed nsid={nsid} lba={at} error={trouble}"),
        Ok(()) => {
            let sha256 = Hexadecimal(hasher.finalize().into());
            say!(terminal, "read nsid={nsid} lba={block} blocks={blocks} block_bytes={block_bytes} sha256={sha256}");
            if u64::from(blocks) * u64::from(block_bytes) <= data.bytes() {
                dump(data, SHOWN_BYTES.min(u64::from(blocks) * u64::from(block_bytes)), terminal);
            }
        }
    }
}

/// Shows the first bytes of the window.
fn dump(data: &Window, bytes: u64, terminal: &mut Terminal) {
    for offset in (0..bytes).step_by(LINE_BYTES) {
        let mut line = [0; LINE_BYTES];
        if data.copy_to(offset, &mut line).is_err() {
            break;
        }
        terminal.arguments(format_args!("{offset:04x} "));
        line.iter().for_each(|byte| terminal.arguments(format_args!(" {byte:02x}")));
        terminal.text("  ");
        for byte in line {
            let shown = if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
            terminal.text(shown.encode_utf8(&mut [0; 4]));
        }
        terminal.text("\n");
    }
}

/// What the blocks of a range say that carry `blockcheck`'s patterns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Patterns {
    /// Blocks with a pattern that is whole and in its place.
    whole: u64,
    /// Blocks with one that is not, and the first of them.
    damaged: u64,
    first_damaged: Option<(u64, Seen)>,
}

impl Patterns {
    /// Takes a block. May change its bytes.
    fn take(&mut self, block: u64, bytes: &mut [u8]) {
        // Whatever wrote it says in it who it was.
        let seed = bytes.get(8..16).and_then(|seed| seed.first_chunk()).map_or(0, |seed| u64::from_le_bytes(*seed));
        if !bytes.starts_with(&pattern::MAGIC) {
            return;
        }
        match pattern::judge(seed, block, bytes) {
            Seen::Written(_) => self.whole += 1,
            damaged => {
                self.damaged += 1;
                self.first_damaged.get_or_insert((block, damaged));
            }
        }
    }
}

/// Reads a range of the disk, hashes it, and judges the blocks that `blockcheck` has written.
pub fn verify(disk: Call, data: &Window, block: u64, blocks: Option<u64>, terminal: &mut Terminal) {
    let information = match information(disk) {
        Ok(information) => information,
        Err(trouble) => return say!(terminal, "no disk error={trouble}"),
    };
    let Information { nsid, block_bytes, .. } = information;
    let count = blocks.unwrap_or(information.blocks.saturating_sub(block));
    let (mut hasher, mut patterns) = (Sha256::new(), Patterns::default());
    let mut room = [0; pattern::BLOCK_BYTES_MAX];
    let judge = |first: u64, bytes: u64| {
        for (offset, number) in (0..bytes).step_by(block_bytes as usize).zip(first..) {
            let Some(one) = room.get_mut(..block_bytes as usize) else { continue };
            if data.copy_to(offset, one).is_ok() {
                hasher.update(&one);
                patterns.take(number, one);
            }
        }
    };
    let start = Instant::now();
    let read = each_part(disk, data, block_bytes, block, count, terminal, judge);
    let milliseconds = Instant::now().since(start).as_millis();
    let Patterns { whole, damaged, first_damaged } = patterns;
    match (read, first_damaged) {
        (Err((at, trouble)), _) => say!(terminal, "verify failed nsid={nsid} lba={at} error={trouble}"),
        (Ok(()), Some((at, seen))) => say!(
            terminal,
            "verify failed nsid={nsid} lba={at} error={seen} blocks={count} patterns={whole} damaged={damaged}"
        ),
        (Ok(()), None) => {
            let sha256 = Hexadecimal(hasher.finalize().into());
            say!(
                terminal,
                "verified nsid={nsid} lba={block} blocks={count} patterns={whole} time_ms={milliseconds} sha256={sha256}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_with_patterns_are_judged_and_others_are_not() {
        let mut patterns = Patterns::default();
        let mut bytes = [0; 512];
        patterns.take(4, &mut bytes);
        bytes[0] = 7;
        patterns.take(5, &mut bytes);
        assert_eq!(patterns, Patterns::default(), "zeroes and other data are nobody's");
        pattern::fill(99, 6, 3, &mut bytes);
        patterns.take(6, &mut bytes);
        assert_eq!((patterns.whole, patterns.damaged), (1, 0));
        pattern::fill(99, 7, 3, &mut bytes);
        bytes[300] ^= 1;
        patterns.take(7, &mut bytes);
        pattern::fill(99, 7, 3, &mut bytes);
        patterns.take(8, &mut bytes);
        let expected = Patterns { whole: 1, damaged: 2, first_damaged: Some((7, Seen::Torn)) };
        assert_eq!(patterns, expected);
    }
}
