//! Reading a GUID partition table (UEFI specification 2.10, chapter 5): what to read next, and what was found.
//!
//! The primary header lies in block 1, the backup in the last block; each names the place of its own array of entries.
//! A header or an array that is damaged in any way is not used at all; then the backup is read. Pure: the server reads
//! the blocks, and this says which.

mod header;

use core::fmt;

use heapless::Vec;
use protocol::block::Partition;
use protocol::nvme::Namespace;
use task::Window;
use task::abi::start::CLIENTS_MAX;

use gpt_disk_types::{GptPartitionEntry, GptPartitionType};
use header::Header;

/// CRC-32 as the table's fields hold it (UEFI 2.10, 5.3.2). Its own table is 1 KiB.
pub(crate) static CRC32: crc::Crc<u32, crc::Table<1>> = crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);

/// Bytes of the server's window that a table is read into, at most. The entries of most tables fit.
pub const SCRATCH_BYTES: u64 = 16 << 10;

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// That at the start of the namespace.
    Primary,
    /// That at its end.
    Backup,
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// What is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It could not be read.
    Unreadable,
    /// There is no header: another signature.
    NoHeader,
    /// A revision other than 1.0, or a header of another size than there can be.
    Revision,
    /// The header's checksum is not that of its bytes.
    HeaderChecksum,
    /// The header says that it lies elsewhere, or names blocks that are not in the namespace or contradict each other.
    Places,
    /// Entries of a size that there cannot be, or more than this server reads.
    EntrySize,
    /// The checksum of the entries is not that of their bytes.
    EntriesChecksum,
}

impl fmt::Display for Damage {
    /// As the value of a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "unreadable",
            Self::NoHeader => "no-header",
            Self::Revision => "revision",
            Self::HeaderChecksum => "header-checksum",
            Self::Places => "places",
            Self::EntrySize => "entry-size",
            Self::EntriesChecksum => "entries-checksum",
        })
    }
}

/// What was found for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No such partition.
    Nothing,
    /// Its first and last block.
    One(u64, u64),
    /// One that does not lie among the blocks that the header gives to partitions.
    Misplaced,
    /// More than one.
    Several,
}

/// What a client asks for, and what was found so far.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'g> {
    /// The client's position.
    pub client: usize,
    /// Its partition.
    pub partition: Partition<'g>,
    /// What was found.
    pub found: Found,
}

/// Blocks to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The first.
    pub first_block: u64,
    /// How many; they fit into the scratch.
    pub blocks: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read these blocks to the start of the scratch.
    Read(Blocks),
    /// A table is damaged; read these blocks of the other one.
    Damaged(Copy, Damage, Blocks),
    /// The table of this copy was read: [`Reading::wanted`] has what was found.
    Done(Copy),
    /// Both tables are damaged: so is the backup.
    Failed(Damage),
}

/// Reading the table of one namespace.
#[derive(Clone, Debug)]
pub struct Reading<'g> {
    namespace: Namespace,
    scratch_bytes: u64,
    copy: Copy,
    /// The header, once it was read, and how far its entries were.
    entries: Option<Entries>,
    wanted: Vec<Wanted<'g>, CLIENTS_MAX>,
}

#[derive(Clone)]
struct Entries {
    header: Header,
    done: u64,
    checksum: crc::Digest<'static, u32, crc::Table<1>>,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("header", &self.header).field("done", &self.done).finish_non_exhaustive()
    }
}

impl<'g> Reading<'g> {
    /// Begins with the primary header. `scratch_bytes` is a multiple of 4096, at least that.
    pub fn new(namespace: &Namespace, scratch_bytes: u64, wanted: Vec<Wanted<'g>, CLIENTS_MAX>) -> (Self, Blocks) {
        let reading = Self { namespace: *namespace, scratch_bytes, copy: Copy::Primary, entries: None, wanted };
        (reading, Blocks { first_block: 1, blocks: 1 })
    }

    /// The namespace that it is of.
    pub fn nsid(&self) -> u32 {
        self.namespace.nsid
    }

    /// What clients ask for, and what was found for each.
    pub fn wanted(&self) -> &[Wanted<'g>] {
        &self.wanted
    }

    /// The blocks asked for are in the scratch at the start of `window`, or could not be read.
    pub fn advance(&mut self, window: &Window, readable: bool) -> Step {
        let next = if readable { self.take(window) } else { Err(Damage::Unreadable) };
        match (next, self.copy) {
            (Ok(Some(blocks)), _) => Step::Read(blocks),
            (Ok(None), copy) => Step::Done(copy),
            (Err(damage), Copy::Primary) => {
                self.copy = Copy::Backup;
                self.entries = None;
                self.wanted.iter_mut().for_each(|wanted| wanted.found = Found::Nothing);
                let last = self.namespace.blocks.saturating_sub(1);
                Step::Damaged(Copy::Primary, damage, Blocks { first_block: last, blocks: 1 })
            }
            (Err(damage), Copy::Backup) => Step::Failed(damage),
        }
    }

    /// Takes what was read; returns what to read next, or nothing when all entries were.
    fn take(&mut self, window: &Window) -> Result<Option<Blocks>, Damage> {
        let block_bytes = u64::from(self.namespace.block_bytes);
        match &mut self.entries {
            None => {
                let at = match self.copy {
                    Copy::Primary => 1,
                    Copy::Backup => self.namespace.blocks.saturating_sub(1),
                };
                let header = Header::read(window, &self.namespace, at)?;
                self.entries = Some(Entries { header, done: 0, checksum: CRC32.digest() });
            }
            Some(entries) => {
                let bytes = (entries.header.entries_bytes() - entries.done).min(self.scratch_bytes);
                window
                    .for_each_chunk(0, bytes, |chunk| entries.checksum.update(chunk))
                    .map_err(|_| Damage::Unreadable)?;
                for offset in (0..bytes).step_by(entries.header.entry_bytes as usize) {
                    let mut entry = [0; size_of::<GptPartitionEntry>()];
                    window.copy_to(offset, &mut entry).map_err(|_| Damage::Unreadable)?;
                    let entry = bytemuck::pod_read_unaligned(&entry);
                    self.wanted.iter_mut().for_each(|wanted| look(&entries.header, &entry, wanted));
                }
                entries.done += bytes;
            }
        }
        let Some(entries) = &self.entries else { return Err(Damage::NoHeader) };
        let left = entries.header.entries_bytes() - entries.done;
        if left == 0 {
            let checksum = entries.checksum.clone().finalize();
            return if checksum == entries.header.entries_checksum { Ok(None) } else { Err(Damage::EntriesChecksum) };
        }
        // The scratch is whole blocks, of which none is larger than a page.
        let first_block = entries.header.entries_block + entries.done / block_bytes;
        let blocks = left.min(self.scratch_bytes).div_ceil(block_bytes);
        Ok(Some(Blocks { first_block, blocks: blocks as u32 }))
    }
}

/// Whether an entry is the partition that a client asks for.
fn look(header: &Header, entry: &GptPartitionEntry, wanted: &mut Wanted<'_>) {
    if { entry.partition_type_guid } == GptPartitionType::UNUSED {
        return;
    }
    let is_it = match wanted.partition {
        Partition::Name(name) => {
            let own = entry.name;
            own.chars().eq(name.chars())
        }
        Partition::Type(guid) => { entry.partition_type_guid }.0.to_bytes() == guid,
        Partition::Guid(guid) => { entry.unique_partition_guid }.to_bytes() == guid,
    };
    if !is_it {
        return;
    }
    let (first, last) = ({ entry.starting_lba }.to_u64(), { entry.ending_lba }.to_u64());
    wanted.found = match wanted.found {
        Found::Nothing if header.usable.contains(&first) && header.usable.contains(&last) && first <= last => {
            Found::One(first, last)
        }
        Found::Nothing => Found::Misplaced,
        _ => Found::Several,
    };
}

#[cfg(test)]
pub(crate) mod tests;
