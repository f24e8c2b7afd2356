//! What the log is told.

use core::fmt;

use protocol::block::Failure;

use crate::disk::Unusable;
use crate::server::Doubt;
use crate::table::{Copy, Damage};

/// A line of the log. Clients are named by their tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'g> {
    /// A namespace is served.
    Ready {
        /// The namespace.
        nsid: u32,
        /// Its blocks.
        blocks: u64,
        /// Bytes of a block.
        block_bytes: u32,
        /// Whether the controller's namespaces are Azure's disks.
        is_azure: bool,
    },
    /// There is nothing to serve.
    NoDisk(Failure),
    /// A client has no disk.
    Unusable {
        /// The client.
        client: &'g str,
        /// Why.
        reason: Unusable,
    },
    /// A client's partition was found.
    Partition {
        /// The client.
        client: &'g str,
        /// The namespace.
        nsid: u32,
        /// Its first block.
        first_block: u64,
        /// Its blocks.
        blocks: u64,
        /// In which of the tables.
        table: Copy,
    },
    /// A partition table is damaged.
    Damaged {
        /// The namespace.
        nsid: u32,
        /// Which table.
        table: Copy,
        /// What is wrong.
        damage: Damage,
    },
    /// The charter lets a client write, the device does not.
    WriteProtected {
        /// The client.
        client: &'g str,
        /// The namespace.
        nsid: u32,
    },
    /// A client's disk has changed or gone.
    Changed {
        /// The client.
        client: &'g str,
        /// The namespace.
        nsid: u32,
    },
    /// The driver has stopped, or does not answer: requests wait for it.
    Away {
        /// What was seen of it.
        failure: Failure,
        /// Requests that it had.
        requests: usize,
    },
    /// The driver goes on and must have failed all the same: it is stopped.
    Failed {
        /// What tells that.
        doubt: Doubt,
        /// Requests that it has.
        requests: usize,
    },
    /// The driver is there again, and is given what it had before once more.
    Back {
        /// Requests that it had.
        requests: usize,
    },
    /// The driver is lost.
    Lost(Failure),
    /// A client has asked for the end.
    ShuttingDown {
        /// The client.
        client: &'g str,
    },
    /// Power may be cut.
    Down(Result<(), Failure>),
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ready { nsid, blocks, block_bytes, is_azure } => {
                write!(f, "ready nsid={nsid} blocks={blocks} block_bytes={block_bytes}")?;
                match nsid {
                    _ if !is_azure => Ok(()),
                    0 => Ok(()),
                    1 => write!(f, " disk=os"),
                    _ => write!(f, " lun={}", nsid - 2),
                }
            }
            Self::NoDisk(failure) => write!(f, "no disk reason={failure}"),
            Self::Unusable { client, reason } => write!(f, "{reason} client={client}"),
            Self::Partition { client, nsid, first_block, blocks, table } => write!(
                f,
                "partition nsid={nsid} first_block={first_block} blocks={blocks} table={table} client={client}"
            ),
            Self::Damaged { nsid, table, damage } => {
                write!(f, "partition table damaged nsid={nsid} table={table} reason={damage}")
            }
            Self::WriteProtected { client, nsid } => write!(f, "write protected nsid={nsid} client={client}"),
            Self::Changed { client, nsid } => write!(f, "disk changed nsid={nsid} client={client}"),
            Self::Away { failure, requests } => write!(f, "driver away reason={failure} requests={requests}"),
            Self::Failed { doubt, requests } => write!(f, "driver failed reason={doubt} requests={requests}"),
            Self::Back { requests } => write!(f, "driver back requests={requests}"),
            Self::Lost(failure) => write!(f, "driver lost reason={failure}"),
            Self::ShuttingDown { client } => write!(f, "shutting down client={client}"),
            Self::Down(Ok(())) => write!(f, "shut down"),
            Self::Down(Err(failure)) => write!(f, "shut down failed error={failure}"),
        }
    }
}
