//! What a disk was told, in order: the log that QEMU's `blklogwrites` driver writes.
//!
//! The format is that of Linux's dm-log-writes (`drivers/md/dm-log-writes.c`): a superblock in the first sector, then
//! one entry after the other, each a sector that describes the operation, followed by the data if it has any. QEMU
//! takes an operation into the log when the disk below has finished it and before the guest is told so. Therefore
//! everything that the guest was told at some moment stands in the part of the log that was written by then, and the
//! order of the log is the order in which the disk finished.
//!
//! The superblock's count of entries lags behind if QEMU is killed, so the log is read to its end instead; its last
//! entry is left out if QEMU was killed while it wrote it. [`crate::faults`] makes QEMU write its log in order, so
//! that no earlier entry can be missing.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Bytes in a sector of the log, and the unit of its positions.
pub const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1 << 0;
const DISCARD: u64 = 1 << 2;
/// Flush, Force Unit Access, discard, mark.
const FLAGS: u64 = 0xf;

/// A whole log.
#[derive(Clone, Debug)]
pub struct WriteLog {
    file: Vec<u8>,
    entries: Vec<Entry>,
}

/// One finished operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins in the log, in bytes: an operation that was finished when the log had `length` bytes has a
    /// smaller one.
    pub position: u64,
    /// What was done.
    pub operation: Operation,
}

/// What a disk was told to do. Positions and lengths are bytes of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make durable what was finished before.
    Flush,
    /// Write, zeroes included.
    Write {
        /// Where on the disk.
        at: u64,
        /// Which bytes of the log are the data.
        data: Range<usize>,
    },
    /// These bytes are no longer needed.
    Discard {
        /// Where on the disk.
        at: u64,
        /// How many.
        bytes: u64,
    },
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file.
    #[error("write log: {0}")]
    File(#[from] io::Error),
    /// It does not begin with a superblock of this format.
    #[error("write log: no superblock of dm-log-writes version 1 with sectors of 512 bytes")]
    NoLog,
    /// What stands at a place is no entry.
    #[error("write log: no entry at byte {position}: sector {sector:#x}, {sectors:#x} sectors, flags {flags:#x}")]
    NoEntry {
        /// Where in the log, in bytes.
        position: u64,
        /// Its first field.
        sector: u64,
        /// Its second field.
        sectors: u64,
        /// Its third field.
        flags: u64,
    },
}

impl WriteLog {
    /// Reads the log in this file.
    ///
    /// # Errors
    /// If the file is no such log.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        Self::parse(fs::read(path)?)
    }

    /// Takes the bytes of a log. No bytes are a log without entries: QEMU writes the superblock along with the first.
    ///
    /// # Errors
    /// If they are no such log.
    pub fn parse(file: Vec<u8>) -> Result<Self, LogError> {
        let mut entries = Vec::new();
        if file.is_empty() {
            return Ok(Self { file, entries });
        }
        // The superblock follows the first entry, and a killed QEMU may not have come to it.
        let unwritten = file.get(..SECTOR as usize).is_some_and(|sector| sector.iter().all(|&byte| byte == 0));
        let version = (word(&file, 0), word(&file, 8), word(&file, 24).map(|word| word & 0xffff_ffff));
        if !unwritten && version != (Some(MAGIC), Some(VERSION), Some(SECTOR)) {
            return Err(LogError::NoLog);
        }
        let mut position = SECTOR;
        while let Some((entry, end)) = entry(&file, position)? {
            entries.push(entry);
            position = end;
        }
        Ok(Self { file, entries })
    }

    /// What was done, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same log, of a disk that was told to flush nothing.
    #[must_use]
    pub fn without_flushes(&self) -> Self {
        let entries = self.entries.iter().filter(|entry| entry.operation != Operation::Flush).cloned();
        Self { file: self.file.clone(), entries: entries.collect() }
    }

    /// A write's data.
    ///
    /// # Panics
    /// If the range is not that of an entry of this log.
    pub fn data(&self, data: &Range<usize>) -> &[u8] {
        &self.file[data.clone()]
    }

    /// How many entries stand in the first `length` bytes of the log, begun or whole.
    pub fn entries_within(&self, length: u64) -> usize {
        self.entries.partition_point(|entry| entry.position < length)
    }
}

fn word(file: &[u8], position: u64) -> Option<u64> {
    let bytes = file.get(usize::try_from(position).ok()?..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The entry at a position and where the next one begins; `None` where the log ends, within an entry or after one.
fn entry(file: &[u8], position: u64) -> Result<Option<(Entry, u64)>, LogError> {
    let fields = [0, 8, 16, 24].map(|offset| word(file, position + offset));
    let [Some(sector), Some(sectors), Some(flags), Some(_)] = fields else { return Ok(None) };
    let no_entry = LogError::NoEntry { position, sector, sectors, flags };
    if flags & !FLAGS != 0 || sector >= 1 << 54 || sectors >= 1 << 32 || (flags & FLUSH == 0 && sectors == 0) {
        return Err(no_entry);
    }
    let (at, bytes) = (sector * SECTOR, sectors * SECTOR);
    let begin = position + SECTOR;
    let (operation, end) = if flags & DISCARD != 0 {
        (Operation::Discard { at, bytes }, begin)
    } else if flags & FLUSH != 0 && bytes == 0 {
        (Operation::Flush, begin)
    } else {
        let end = begin + bytes;
        (Operation::Write { at, data: begin as usize..end as usize }, end)
    };
    // The description of an entry without data is one sector; only its first bytes are certain to be there.
    if end > (file.len() as u64).next_multiple_of(SECTOR) {
        return Ok(None);
    }
    if let Operation::Write { data, .. } = &operation
        && data.end > file.len()
    {
        return Ok(None);
    }
    Ok(Some((Entry { position, operation }, end)))
}

/// A log made by hand, for tests of what reads logs.
#[cfg(test)]
pub(crate) mod made {
    use super::*;

    /// Builds a log's bytes.
    pub(crate) struct Maker {
        pub(crate) bytes: Vec<u8>,
    }

    impl Maker {
        pub(crate) fn new() -> Self {
            let mut bytes = vec![0; SECTOR as usize];
            bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
            bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
            bytes[24..28].copy_from_slice(&(SECTOR as u32).to_le_bytes());
            Self { bytes }
        }

        fn describe(&mut self, sector: u64, sectors: u64, flags: u64) {
            let mut description = [0; SECTOR as usize];
            for (place, value) in description.chunks_mut(8).zip([sector, sectors, flags]) {
                place.copy_from_slice(&value.to_le_bytes());
            }
            self.bytes.extend_from_slice(&description);
        }

        pub(crate) fn flush(&mut self) {
            self.describe(0, 0, FLUSH);
        }

        pub(crate) fn discard(&mut self, sector: u64, sectors: u64) {
            self.describe(sector, sectors, DISCARD);
        }

        pub(crate) fn write(&mut self, sector: u64, data: &[u8]) {
            self.describe(sector, data.len() as u64 / SECTOR, 0);
            self.bytes.extend_from_slice(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::made::Maker;
    use super::*;

    #[test]
    fn every_kind_of_entry_is_read_in_order() {
        let mut maker = Maker::new();
        maker.write(3, &[7; 1024]);
        maker.flush();
        maker.discard(8, 2);
        maker.write(0, &[9; 512]);
        let log = WriteLog::parse(maker.bytes).unwrap();
        let [write, flush, discard, last] = log.entries() else { panic!("{log:?}") };
        let Operation::Write { at: 1536, data } = &write.operation else { panic!("{write:?}") };
        assert_eq!(log.data(data), [7; 1024]);
        assert_eq!(flush.operation, Operation::Flush);
        assert_eq!(discard.operation, Operation::Discard { at: 4096, bytes: 1024 });
        assert_eq!((write.position, flush.position, discard.position, last.position), (512, 2048, 2560, 3072));
        assert_eq!([0, 512, 513, 2048, 2049, 9999].map(|length| log.entries_within(length)), [0, 0, 1, 1, 2, 4]);
    }

    #[test]
    fn an_entry_that_qemu_did_not_finish_is_left_out() {
        let mut maker = Maker::new();
        maker.flush();
        maker.write(0, &[9; 1024]);
        for length in 1024 + 8..maker.bytes.len() {
            let log = WriteLog::parse(maker.bytes[..length].to_vec()).unwrap();
            assert_eq!(log.entries().len(), 1, "{length} bytes");
        }
        assert_eq!(WriteLog::parse(maker.bytes).unwrap().entries().len(), 2);
        assert!(WriteLog::parse(Vec::new()).unwrap().entries().is_empty());
    }

    #[test]
    fn what_is_no_log_or_no_entry_is_refused() {
        assert!(matches!(WriteLog::parse(vec![1; 4096]), Err(LogError::NoLog)));
        for (offset, value) in [(16, 0x10_u64), (8, 0), (8, 1 << 40), (0, 1 << 60)] {
            let mut maker = Maker::new();
            maker.write(1, &[1; 512]);
            maker.bytes[512 + offset..][..8].copy_from_slice(&value.to_le_bytes());
            let error = WriteLog::parse(maker.bytes).unwrap_err();
            assert!(matches!(error, LogError::NoEntry { position: 512, .. }), "{offset} {value:#x}: {error}");
        }
    }
}
