//! What a client's grant means on the namespaces that there are.

use core::fmt;

use protocol::block::{DiskGrant, Failure, Information};
use protocol::nvme::{Namespace, Operation, Transfer};

/// A client's disk: a range of a namespace, and the window that its data lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    information: Information,
    namespace_blocks: u64,
    window_offset: u64,
    window_bytes: u64,
}

/// Why a client has no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Its grant is not one of this server's.
    NoGrant,
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
}

impl fmt::Display for Unusable {
    /// As the words and values of a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoGrant => write!(f, "grant without a disk"),
            Self::NotFound { nsid } => write!(f, "namespace not found nsid={nsid}"),
            Self::Format { nsid } => write!(f, "namespace format not usable nsid={nsid}"),
            Self::Beyond { nsid, blocks, first_block, range_blocks } => write!(
                f,
                "granted range beyond namespace nsid={nsid} blocks={blocks} first_block={first_block} \
                 range_blocks={range_blocks}"
            ),
        }
    }
}

impl Disk {
    /// The disk that `grant` means on these namespaces.
    ///
    /// # Errors
    /// Why there is none.
    pub fn new(grant: &DiskGrant, namespaces: &[Namespace]) -> Result<Self, Unusable> {
        let nsid = grant.nsid;
        let namespace =
            namespaces.iter().find(|namespace| namespace.nsid == nsid).ok_or(Unusable::NotFound { nsid })?;
        if namespace.block_bytes == 0 {
            return Err(Unusable::Format { nsid });
        }
        let beyond = Unusable::Beyond {
            nsid,
            blocks: namespace.blocks,
            first_block: grant.first_block,
            range_blocks: grant.blocks.unwrap_or(0),
        };
        let left = namespace.blocks.checked_sub(grant.first_block).ok_or(beyond)?;
        let blocks = grant.blocks.unwrap_or(left);
        if blocks == 0 || blocks > left {
            return Err(beyond);
        }
        Ok(Self {
            information: Information {
                nsid,
                first_block: grant.first_block,
                blocks,
                block_bytes: namespace.block_bytes,
                writable: grant.writable,
            },
            namespace_blocks: namespace.blocks,
            window_offset: grant.window_offset,
            window_bytes: grant.window_bytes,
        })
    }

    /// Blocks of the whole namespace that it is a part of.
    pub fn namespace_blocks(&self) -> u64 {
        self.namespace_blocks
    }

    /// What the client is told of it.
    pub fn information(&self) -> Information {
        self.information
    }

    /// The transfer that reads `blocks` from `first_block` of the range to `offset` in the client's window.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if either does not lie in its range, or the offset is no multiple of 4.
    pub fn read(&self, tag: u32, first_block: u64, blocks: u32, offset: u64) -> Result<Transfer, Failure> {
        let information = &self.information;
        let end = first_block.checked_add(blocks.into()).ok_or(Failure::Invalid)?;
        if blocks == 0 || end > information.blocks {
            return Err(Failure::Invalid);
        }
        // Both factors have 32 bits.
        let bytes = u64::from(blocks) * u64::from(information.block_bytes);
        let window_end = offset.checked_add(bytes).ok_or(Failure::Invalid)?;
        if !offset.is_multiple_of(4) || window_end > self.window_bytes {
            return Err(Failure::Invalid);
        }
        Ok(Transfer {
            tag,
            operation: Operation::Read,
            nsid: information.nsid,
            // In the namespace, because the range is; a window that does not fit in 64 bits is no window.
            first_block: information.first_block.checked_add(first_block).ok_or(Failure::Invalid)?,
            blocks,
            offset: self.window_offset.checked_add(offset).ok_or(Failure::Invalid)?,
        })
    }

    /// The transfer that makes everything written durable.
    pub fn flush(&self, tag: u32) -> Transfer {
        Transfer { tag, operation: Operation::Flush, nsid: self.information.nsid, first_block: 0, blocks: 1, offset: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::nvme::Operations;

    const NAMESPACES: [Namespace; 3] = [namespace(1, 1000, 512), namespace(2, 1 << 33, 4096), namespace(5, 77, 0)];

    const fn namespace(nsid: u32, blocks: u64, block_bytes: u32) -> Namespace {
        let supports = Operations { write: false, discard: false, write_zeroes: false, compare: false, verify: false };
        Namespace { nsid, blocks, block_bytes, supports, volatile_cache: false }
    }

    fn grant(nsid: u32, first_block: u64, blocks: Option<u64>) -> DiskGrant {
        DiskGrant { nsid, first_block, blocks, writable: false, window_offset: 8192, window_bytes: 65536 }
    }

    #[test]
    fn a_range_without_end_goes_to_the_end_of_the_namespace() {
        let disk = Disk::new(&grant(1, 900, None), &NAMESPACES).unwrap();
        assert_eq!(disk.information().blocks, 100);
        assert_eq!(disk.information().first_block, 900);
    }

    #[test]
    fn a_range_that_is_not_in_the_namespace_is_no_disk() {
        for (first, blocks) in [(1000, None), (1001, None), (0, Some(1001)), (999, Some(2)), (5, Some(0))] {
            assert!(matches!(Disk::new(&grant(1, first, blocks), &NAMESPACES), Err(Unusable::Beyond { .. })));
        }
        assert!(matches!(Disk::new(&grant(1, u64::MAX, Some(u64::MAX)), &NAMESPACES), Err(Unusable::Beyond { .. })));
        assert_eq!(Disk::new(&grant(3, 0, None), &NAMESPACES), Err(Unusable::NotFound { nsid: 3 }));
        assert_eq!(Disk::new(&grant(5, 0, None), &NAMESPACES), Err(Unusable::Format { nsid: 5 }));
    }

    #[test]
    fn a_read_is_moved_into_range_and_window() {
        let disk = Disk::new(&grant(2, 1 << 32, Some(64)), &NAMESPACES).unwrap();
        let transfer = disk.read(9, 60, 4, 4096).unwrap();
        assert_eq!(
            transfer,
            Transfer {
                tag: 9,
                operation: Operation::Read,
                nsid: 2,
                first_block: (1 << 32) + 60,
                blocks: 4,
                offset: 12288
            }
        );
    }

    #[test]
    fn a_read_beyond_range_or_window_is_invalid() {
        let disk = Disk::new(&grant(2, 100, Some(64)), &NAMESPACES).unwrap();
        for (first, blocks, offset) in [
            (0, 0, 0),
            (64, 1, 0),
            (63, 2, 0),
            (u64::MAX, 1, 0),
            (u64::MAX - 1, 2, 0),
            (0, u32::MAX, 0),
            (0, 17, 0),
            (0, 16, 4),
            (0, 1, 65536),
            (0, 1, u64::MAX - 4095),
            (0, 1, 2),
        ] {
            assert_eq!(disk.read(0, first, blocks, offset), Err(Failure::Invalid), "{first}+{blocks} at {offset}");
        }
        assert!(disk.read(0, 0, 16, 0).is_ok());
    }
}
