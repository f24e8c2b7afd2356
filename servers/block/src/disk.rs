//! A client's disk: a range of a namespace, and the checks of an operation on it.

use core::fmt;

use protocol::block::{Extent, Failure, Information, Place, Plain, Supports, VERSION};
use protocol::nvme::{self, Namespace, Transfer};

use crate::table::Damage;

/// A client's disk, and the memory that its data lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    information: Information,
    window_offset: u64,
    /// Operations that it has, a bit each.
    allowed: u8,
}

/// What a disk is made of, besides its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether the charter lets the client write.
    pub writable: bool,
    /// Where the client's data lies in the driver's region.
    pub place: Place,
    /// Whether that is a slot of the server's.
    pub is_slot: bool,
    /// Operations under way at a time.
    pub share: u8,
}

/// Why a client has no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Its grant is not one of this server's, or has no disk.
    NoGrant,
    /// It has no window, and the server has no room for it.
    NoSlot,
    /// The server has no window to read the partition table into.
    NoTable,
    /// The driver tells of no namespaces.
    Lost(Failure),
    /// The controller has no such namespace.
    NotFound {
        /// The namespace.
        nsid: u32,
    },
    /// The driver cannot use the namespace's format.
    Format {
        /// The namespace.
        nsid: u32,
    },
    /// The granted range does not lie in the namespace.
    Beyond {
        /// The namespace.
        nsid: u32,
        /// Its blocks.
        blocks: u64,
        /// First block of the range.
        first_block: u64,
        /// Blocks of the range; 0 if it is given without an end.
        range_blocks: u64,
    },
    /// The namespace has no partition table that can be used: what is wrong with the backup, which was read last.
    Table {
        /// The namespace.
        nsid: u32,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The partition table has no such partition.
    NoPartition {
        /// The namespace.
        nsid: u32,
    },
    /// It has several.
    SeveralPartitions {
        /// The namespace.
        nsid: u32,
    },
    /// The partition does not lie where the table says that partitions lie.
    Misplaced {
        /// The namespace.
        nsid: u32,
    },
    /// Another task may write some of the same blocks.
    Overlap {
        /// The namespace.
        nsid: u32,
    },
}

impl fmt::Display for Unusable {
    /// As the words and values of a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoGrant => write!(f, "grant without a disk"),
            Self::NoSlot => write!(f, "no disk reason=no-slot"),
            Self::NoTable => write!(f, "no disk reason=no-window-for-partition-table"),
            Self::Lost(failure) => write!(f, "no disk reason={failure}"),
            Self::NotFound { nsid } => write!(f, "namespace not found nsid={nsid}"),
            Self::Format { nsid } => write!(f, "namespace format not usable nsid={nsid}"),
            Self::Beyond { nsid, blocks, first_block, range_blocks } => write!(
                f,
                "granted range beyond namespace nsid={nsid} blocks={blocks} first_block={first_block} \
                 range_blocks={range_blocks}"
            ),
            Self::Table { nsid, damage } => write!(f, "no disk nsid={nsid} reason=no-partition-table backup={damage}"),
            Self::NoPartition { nsid } => write!(f, "no disk nsid={nsid} reason=no-such-partition"),
            Self::SeveralPartitions { nsid } => write!(f, "no disk nsid={nsid} reason=several-such-partitions"),
            Self::Misplaced { nsid } => write!(f, "no disk nsid={nsid} reason=partition-misplaced"),
            Self::Overlap { nsid } => write!(f, "no disk nsid={nsid} reason=written-by-another-task"),
        }
    }
}

/// The namespace of this number, if its format can be used.
///
/// # Errors
/// That it is not there, or of no use.
pub fn namespace(namespaces: &[Namespace], nsid: u32) -> Result<&Namespace, Unusable> {
    let namespace = namespaces.iter().find(|namespace| namespace.nsid == nsid).ok_or(Unusable::NotFound { nsid })?;
    if namespace.block_bytes == 0 { Err(Unusable::Format { nsid }) } else { Ok(namespace) }
}

impl Disk {
    /// The disk that blocks of a namespace make: `blocks` from `first_block`, or all up to the end.
    ///
    /// # Errors
    /// They do not lie in the namespace.
    pub fn new(namespace: &Namespace, first_block: u64, blocks: Option<u64>, terms: &Terms) -> Result<Self, Unusable> {
        let nsid = namespace.nsid;
        let range_blocks = blocks.unwrap_or(0);
        let beyond = Unusable::Beyond { nsid, blocks: namespace.blocks, first_block, range_blocks };
        let left = namespace.blocks.checked_sub(first_block).ok_or(beyond)?;
        let blocks = blocks.unwrap_or(left);
        if blocks == 0 || blocks > left {
            return Err(beyond);
        }
        // Each of them may be granted without the others.
        let (writable, device) = (terms.writable, namespace.supports);
        let supports = Supports {
            write: writable && device.write,
            discard: writable && device.discard,
            write_zeroes: writable && device.write_zeroes,
            compare: device.compare,
            verify: device.verify,
            volatile_cache: namespace.volatile_cache,
        };
        let information = Information {
            version: VERSION,
            nsid,
            first_block,
            blocks,
            block_bytes: namespace.block_bytes,
            supports,
            window_bytes: terms.place.bytes,
            is_slot: terms.is_slot,
            share: terms.share,
        };
        let allowed = allowed(&information.supports);
        Ok(Self { information, window_offset: terms.place.offset, allowed })
    }

    /// The disk that `extent` means, unless it is a partition.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_extent(namespace: &Namespace, extent: &Extent<'_>, terms: &Terms) -> Option<Result<Self, Unusable>> {
        match *extent {
            Extent::Blocks { first_block, blocks } => Some(Self::new(namespace, first_block, blocks, terms)),
            Extent::Partition(_) => None,
        }
    }

    /// What the client is told of it.
    pub fn information(&self) -> &Information {
        &self.information
    }

    /// Whether both have some blocks in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = (&self.information, &other.information);
        // Both lie in the namespace, so no end is beyond 64 bits.
        let end = |of: &Information| of.first_block + of.blocks;
        one.nsid == other.nsid && one.first_block < end(other) && other.first_block < end(one)
    }

    /// The transfer that an operation means, without its tag, and the bytes that it moves. `None` if it cannot be, for
    /// [this reason](Self::refusal): one that need not be carried through the books of all those that can.
    #[inline(always)]
    pub fn transfer(&self, asked: &Plain) -> Option<(Transfer, u64)> {
        let Plain { operation, first_block, blocks, offset } = *asked;
        let Information { nsid, first_block: first, .. } = self.information;
        if self.allowed & operation.bit() == 0 {
            return None;
        }
        let end = first_block.checked_add(blocks.into())?;
        if blocks == 0 || end > self.information.blocks {
            // A flush is of all blocks.
            let flush = Transfer { tag: 0, operation, nsid, first_block: 0, blocks: 1, offset: 0 };
            return (operation == nvme::Operation::Flush).then_some((flush, 0));
        }
        let (offset, bytes) = if operation.has_data() { self.place(offset, blocks)? } else { (0, 0) };
        // In the namespace, because the disk is.
        Some((Transfer { tag: 0, operation, nsid, first_block: first + first_block, blocks, offset }, bytes))
    }

    /// Why there is no [transfer](Self::transfer): [`Failure::Denied`] for a change of a disk that the client may not write;
    /// [`Failure::Unsupported`]; else [`Failure::Invalid`], because it is not in the disk or the window, or its offset is no
    /// multiple of 4.
    #[cold]
    pub fn refusal(&self, asked: &Plain) -> Failure {
        if asked.operation.changes_blocks() && !self.information.supports.write {
            Failure::Denied
        } else if self.allowed & asked.operation.bit() == 0 {
            Failure::Unsupported
        } else {
            Failure::Invalid
        }
    }

    /// Where `offset` of the window lies in the region, if `blocks` fit from there; and their bytes.
    #[inline(always)]
    fn place(&self, offset: u64, blocks: u32) -> Option<(u64, u64)> {
        // Both factors have 32 bits.
        let bytes = u64::from(blocks) * u64::from(self.information.block_bytes);
        let end = offset.checked_add(bytes)?;
        if !offset.is_multiple_of(4) || end > self.information.window_bytes {
            return None;
        }
        // A window that does not fit in 64 bits is no window.
        Some((self.window_offset.checked_add(offset)?, bytes))
    }
}

/// A bit for each operation that a disk with this support has.
fn allowed(supports: &Supports) -> u8 {
    let is_allowed = |operation: &nvme::Operation| match operation {
        nvme::Operation::Read | nvme::Operation::Flush => true,
        nvme::Operation::Write | nvme::Operation::DurableWrite => supports.write,
        nvme::Operation::Discard => supports.write && supports.discard,
        nvme::Operation::WriteZeroes => supports.write && supports.write_zeroes,
        nvme::Operation::Compare => supports.compare,
        nvme::Operation::Verify => supports.verify,
    };
    let all = nvme::Operation::ALL.into_iter();
    all.filter(is_allowed).fold(0, |bits, operation| bits | operation.bit())
}

#[cfg(test)]
mod tests;
