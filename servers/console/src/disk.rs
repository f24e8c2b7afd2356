//! The disk that this console is granted: what it is, what stands on it, whether all of it can be read.

use core::fmt;
use core::time::Duration;

use block_client::{Disk, Error};
use protocol::block::{Failure, Information};
use sha2::{Digest, Sha256};
use task::{Call, Instant, Window};

use crate::say;
use crate::terminal::Terminal;

/// How long one request may take: longer than the device's own time limits.
const PATIENCE: Duration = Duration::from_secs(300);
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
    served(disk).open()
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
    match disk.shut_down() {
        Err(Error::Server(Failure::Denied)) => disk.open().and_then(|_| disk.flush()),
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

/// A range of the disk, hashed as it is read through the window.
fn hash(disk: Call, data: &Window, block_bytes: u32, first: u64, count: u64) -> Result<[u8; 32], (u64, Error)> {
    let room = data.bytes().checked_div(block_bytes.into()).unwrap_or(0);
    let mut hasher = Sha256::new();
    let (mut block, mut left) = (first, count);
    while left > 0 {
        let blocks = u32::try_from(left.min(room)).unwrap_or(u32::MAX);
        if blocks == 0 {
            return Err((block, Error::Server(Failure::Invalid)));
        }
        read_blocks(disk, block, blocks).map_err(|trouble| (block, trouble))?;
        // The range is inside the window: `blocks` was chosen so.
        let _ = data.for_each_chunk(0, u64::from(blocks) * u64::from(block_bytes), |chunk| hasher.update(chunk));
        block = block.saturating_add(blocks.into());
        left -= u64::from(blocks);
    }
    Ok(hasher.finalize().into())
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
    match hash(disk, data, block_bytes, block, blocks.into()) {
        Err((at, trouble)) => say!(terminal, "read failed nsid={nsid} lba={at} error={trouble}"),
        Ok(sha256) => {
            let sha256 = Hexadecimal(sha256);
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

/// Reads a range of the disk twice and compares.
pub fn verify(disk: Call, data: &Window, block: u64, blocks: Option<u64>, terminal: &mut Terminal) {
    let information = match information(disk) {
        Ok(information) => information,
        Err(trouble) => return say!(terminal, "no disk error={trouble}"),
    };
    let Information { nsid, block_bytes, .. } = information;
    let count = blocks.unwrap_or(information.blocks.saturating_sub(block));
    let start = Instant::now();
    let [first, second] = [(); 2].map(|()| hash(disk, data, block_bytes, block, count));
    let milliseconds = Instant::now().since(start).as_millis();
    match (first, second) {
        (Ok(first), Ok(second)) if first == second => {
            let sha256 = Hexadecimal(first);
            say!(terminal, "verified nsid={nsid} lba={block} blocks={count} time_ms={milliseconds} sha256={sha256}");
        }
        (Ok(_), Ok(_)) => say!(terminal, "verify failed nsid={nsid} lba={block} blocks={count} error=different"),
        (Err((at, trouble)), _) | (_, Err((at, trouble))) => {
            say!(terminal, "verify failed nsid={nsid} lba={at} error={trouble}");
        }
    }
}
