//! What the charter grants a client. The image builder writes a [`ClientGrant`] as the parameters of each `call` grant.

use serde::{Deserialize, Serialize};

/// What the charter grants a client at the block server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientGrant<'a> {
    /// Its disk; none for a client that may only shut down.
    #[serde(borrow)]
    pub disk: Option<DiskGrant<'a>>,
    /// Whether it may ask for [`Request::Shutdown`](super::Request::Shutdown).
    pub shutdown: bool,
    /// The name of the server's own `signal` grant that reaches this client, if there is one.
    pub signal: Option<&'a str>,
}

/// A disk: a part of a namespace, a direction, the memory that its data passes through, and a share of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskGrant<'a> {
    /// Namespace identifier.
    pub nsid: u32,
    /// Which part of it.
    #[serde(borrow)]
    pub extent: Extent<'a>,
    /// Whether it may also be written.
    pub writable: bool,
    /// The client's window; `None` for a client that copies through a slot of the server's.
    pub window: Option<Place>,
    /// Most operations under way at a time, 1 to [`SHARE_MAX`](super::SHARE_MAX).
    pub share: u8,
}

/// A part of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent<'a> {
    /// Logical blocks.
    Blocks {
        /// The first.
        first_block: u64,
        /// How many; `None` up to the end of the namespace.
        blocks: Option<u64>,
    },
    /// A partition of its GUID partition table.
    #[serde(borrow)]
    Partition(Partition<'a>),
}

/// Which partition: the only one to which this applies. GUIDs are as on the disk, the first three fields little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partition<'a> {
    /// The one of this name.
    Name(&'a str),
    /// The one of this partition type.
    Type([u8; 16]),
    /// The one with this unique GUID.
    Guid([u8; 16]),
}

/// A part of the driver's DMA region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
}
