//! Going through the reads.

use core::fmt;

use block_client::Error;
use protocol::block::{Failure, Information};
use sha2::{Digest, Sha256};
use task::Window;

use crate::client::Disk;
use crate::reads::Read;
use crate::settings::Settings;

/// A SHA-256, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a read gave no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The disk does not give it.
    NoData(Error),
    /// It does not fit into the window, and splitting is not asked for.
    Window {
        /// Bytes of the window.
        bytes: u64,
    },
}

impl fmt::Display for ReadError {
    /// As the value of a log line, with its further keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData(reason) => reason.fmt(f),
            Self::Window { bytes } => write!(f, "larger-than-window window_bytes={bytes}"),
        }
    }
}

/// How a round went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reads that gave a hash.
    pub good: u32,
    /// Reads that did not.
    pub failed: u32,
}

/// Goes through the reads once. `known` is what the disk has told of itself, kept from round to round; `tell` writes a
/// log line; `between` is called between two reads.
pub fn round(
    disk: &mut impl Disk,
    known: &mut Option<Information>,
    window: &Window,
    settings: &Settings,
    tell: &mut impl FnMut(fmt::Arguments<'_>),
    between: &mut impl FnMut(),
) -> Tally {
    let mut tally = Tally::default();
    for (index, read) in settings.reads.iter().enumerate() {
        if index > 0 {
            between();
        }
        let information = match known.map_or_else(|| disk.information(), Ok) {
            Ok(information) => *known.insert(information),
            Err(reason) => {
                tell(format_args!("disk unavailable error={reason}"));
                tally.failed += 1;
                if settings.stop_after_failure {
                    break;
                }
                continue;
            }
        };
        let first = read.first_block(information.blocks);
        let (nsid, lba) = (information.nsid, information.first_block.saturating_add(first));
        let (blocks, block_bytes) = (read.count, information.block_bytes);
        let mut outcome = hash(disk, window, &information, read, settings.split);
        while outcome == Err(ReadError::NoData(Error::Restarted)) {
            tell(format_args!("block server restarted nsid={nsid} lba={lba}"));
            outcome = match disk.resume() {
                Ok(own) if own == information => hash(disk, window, &information, read, settings.split),
                Ok(_) => Err(ReadError::NoData(Error::Server(Failure::Changed))),
                // It does not come back.
                Err(Error::Restarted) => break,
                Err(reason) => Err(ReadError::NoData(reason)),
            };
        }
        match outcome {
            Ok(sha256) => {
                tell(format_args!(
                    "read nsid={nsid} lba={lba} blocks={blocks} block_bytes={block_bytes} sha256={sha256}"
                ));
                tally.good += 1;
            }
            Err(error) => {
                tell(format_args!("read failed nsid={nsid} lba={lba} blocks={blocks} error={error}"));
                tally.failed += 1;
                if matches!(error, ReadError::NoData(reason) if reason.is_cured_by_opening()) {
                    *known = None;
                }
                if settings.stop_after_failure {
                    break;
                }
            }
        }
    }
    tally
}

/// Reads and hashes, in as many requests as the window makes necessary.
fn hash(
    disk: &mut impl Disk,
    window: &Window,
    information: &Information,
    read: &Read,
    split: bool,
) -> Result<Hash, ReadError> {
    let too_large = ReadError::Window { bytes: window.bytes() };
    let block_bytes = u64::from(information.block_bytes);
    let room = window.bytes().checked_div(block_bytes).unwrap_or(0);
    if room == 0 || (u64::from(read.count) > room && !split) {
        return Err(too_large);
    }
    let mut hasher = Sha256::new();
    let mut block = read.first_block(information.blocks);
    let mut left = read.count;
    while left > 0 {
        let blocks = left.min(u32::try_from(room).unwrap_or(u32::MAX));
        disk.read(block, blocks, 0).map_err(ReadError::NoData)?;
        window
            .for_each_chunk(0, u64::from(blocks) * block_bytes, |chunk| hasher.update(chunk))
            .map_err(|_| too_large)?;
        left -= blocks;
        block = block.saturating_add(blocks.into());
    }
    Ok(Hash(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use protocol::block::{Supports, VERSION};

    use super::*;

    /// A disk of 512-byte blocks, each filled with its number in the namespace; it fails at one block.
    struct Model {
        window: Window,
        first_block: u64,
        blocks: u64,
        bad: Option<u64>,
        /// Which requests the block server does not survive.
        restarts: Vec<usize>,
        requests: Vec<(u64, u32)>,
    }

    impl Model {
        fn new(window_bytes: u64) -> Self {
            let window = Window::host(window_bytes, true);
            Self { window, first_block: 1000, blocks: 100, bad: None, restarts: Vec::new(), requests: Vec::new() }
        }

        fn data(&self, first: u64, blocks: u32) -> Vec<u8> {
            (first..first + u64::from(blocks)).flat_map(|block| [(self.first_block + block) as u8; 512]).collect()
        }

        fn run(mut self, reads: &str, split: &'static str) -> (Vec<String>, Tally, Vec<(u64, u32)>) {
            let settings = Settings::new(|key| match key {
                "reads" => Some(reads),
                "split" => Some(split),
                _ => None,
            })
            .unwrap();
            let mut lines = Vec::new();
            let window = self.window;
            let tally =
                round(&mut self, &mut None, &window, &settings, &mut |line| lines.push(line.to_string()), &mut || ());
            (lines, tally, self.requests)
        }
    }

    impl Disk for Model {
        fn information(&mut self) -> Result<Information, Error> {
            Ok(Information {
                version: VERSION,
                nsid: 2,
                first_block: self.first_block,
                blocks: self.blocks,
                block_bytes: 512,
                supports: Supports::default(),
                window_bytes: self.window.bytes(),
                is_slot: false,
                share: 1,
            })
        }

        fn resume(&mut self) -> Result<Information, Error> {
            self.information()
        }

        fn read(&mut self, first_block: u64, blocks: u32, offset: u64) -> Result<(), Error> {
            self.requests.push((first_block, blocks));
            if self.restarts.contains(&self.requests.len()) {
                return Err(Error::Restarted);
            }
            if self.bad.is_some_and(|bad| (first_block..first_block + u64::from(blocks)).contains(&bad)) {
                return Err(Error::Server(Failure::Device { kind: 2, code: 0x81 }));
            }
            self.window.copy_from(offset, &self.data(first_block, blocks)).unwrap();
            Ok(())
        }
    }

    #[test]
    fn the_hash_is_that_of_the_blocks_and_the_lba_that_of_the_namespace() {
        let model = Model::new(8192);
        let expected = Hash(Sha256::digest(model.data(98, 2)).into());
        let (lines, tally, _) = model.run("last+2", "false");
        assert_eq!(lines, [std::format!("read nsid=2 lba=1098 blocks=2 block_bytes=512 sha256={expected}")]);
        assert_eq!(tally, Tally { good: 1, failed: 0 });
    }

    #[test]
    fn a_read_larger_than_the_window_is_refused_unless_split() {
        let (lines, tally, requests) = Model::new(1024).run("first+5", "false");
        assert_eq!(lines, ["read failed nsid=2 lba=1000 blocks=5 error=larger-than-window window_bytes=1024"]);
        assert_eq!((tally.failed, requests.len()), (1, 0));

        let model = Model::new(1024);
        let expected = Hash(Sha256::digest(model.data(0, 5)).into());
        let (lines, _, requests) = model.run("first+5", "true");
        assert!(lines[0].ends_with(&expected.to_string()), "{lines:?}");
        assert_eq!(requests, [(0, 2), (2, 2), (4, 1)]);
    }

    #[test]
    fn a_block_server_that_restarts_is_told_of_and_the_read_begins_anew() {
        let mut model = Model::new(1024);
        model.restarts = std::vec![2, 3];
        let expected = Hash(Sha256::digest(model.data(0, 5)).into());
        let (lines, tally, requests) = model.run("first+5", "true");
        let restarted = "block server restarted nsid=2 lba=1000";
        let read = std::format!("read nsid=2 lba=1000 blocks=5 block_bytes=512 sha256={expected}");
        assert_eq!(lines, [restarted, restarted, &read]);
        assert_eq!(tally, Tally { good: 1, failed: 0 });
        assert_eq!(requests, [(0, 2), (2, 2), (0, 2), (0, 2), (2, 2), (4, 1)]);
    }

    #[test]
    fn a_failure_is_told_and_the_rest_still_read() {
        let mut model = Model::new(8192);
        model.bad = Some(50);
        let (lines, tally, _) = model.run("middle+1 first+1", "false");
        assert_eq!(
            lines[0],
            "read failed nsid=2 lba=1050 blocks=1 error=device status_type=0x2 status_code=0x81 by=server"
        );
        assert!(lines[1].starts_with("read nsid=2 lba=1000 "));
        assert_eq!(tally, Tally { good: 1, failed: 1 });
    }
}
