//! What the broker knows of controller and namespaces because it read it itself, from pages that no task can write.

use core::mem::offset_of;

use broker::Device;
use nvme_spec::brokered;
use nvme_spec::identify::{Controller, LbaFormat, Namespace, flush_takes_broadcast, format_index};

use crate::extents::Extents;
use crate::reason::Reason;

/// Namespaces that facts are kept of; a power of two. Beyond them nothing is learned, and so nothing is allowed.
pub const NAMESPACES_KEPT: usize = 128;
/// Block sizes that are supported, as powers of two: 512 bytes to 64 KiB.
const BLOCK_SHIFTS: core::ops::RangeInclusive<u8> = 9..=16;

/// A namespace whose every block is a block of data, and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its size in blocks.
    pub blocks: u64,
    /// A block is `1 << this` bytes.
    pub block_shift: u8,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// 0 in an entry without a namespace.
    nsid: u32,
    /// `None` if it was identified and cannot be used.
    facts: Option<NamespaceFacts>,
}

/// What was learned since the last reset.
#[derive(Debug)]
pub struct Facts {
    controller: Option<ControllerFacts>,
    namespaces: [Known; NAMESPACES_KEPT],
    /// Found from the above, and forgotten whenever that changes.
    pub extents: Extents,
}

/// What Identify Controller said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerFacts {
    /// Most bytes of one transfer.
    pub transfer_bytes_max: u32,
    /// Flush with the broadcast identifier flushes all namespaces.
    pub flush_takes_broadcast: bool,
}

impl Facts {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            controller: None,
            namespaces: [Known { nsid: 0, facts: None }; NAMESPACES_KEPT],
            extents: Extents::new(),
        }
    }

    /// Back to nothing.
    pub fn forget(&mut self) {
        *self = Self::new();
    }

    /// Namespaces may be others than they were.
    pub fn forget_namespaces(&mut self) {
        self.namespaces = [Known { nsid: 0, facts: None }; NAMESPACES_KEPT];
        self.extents.forget();
    }

    /// What is known of the controller.
    pub fn controller(&self) -> Result<ControllerFacts, Reason> {
        self.controller.ok_or(Reason::ControllerNotIdentified)
    }

    /// What is known of a namespace, if it can be used.
    pub fn namespace(&self, nsid: u32) -> Result<NamespaceFacts, Reason> {
        let place = self.place(nsid).ok_or(Reason::NamespaceNotLearned)?;
        let known = &self.namespaces[place];
        if known.nsid != nsid || nsid == 0 {
            return Err(Reason::NamespaceNotLearned);
        }
        known.facts.ok_or(Reason::NamespaceUnusable)
    }

    /// Learns from the Identify Controller structure at a hidden offset.
    pub fn learn_controller(&mut self, device: &mut impl Device, page: u32) {
        let [transfer_shift_max] = field(device, page, offset_of!(Controller, transfer_shift_max));
        let [volatile_write_cache] = field(device, page, offset_of!(Controller, volatile_write_cache));
        self.controller = Some(ControllerFacts {
            transfer_bytes_max: brokered::transfer_bytes_max(transfer_shift_max),
            flush_takes_broadcast: flush_takes_broadcast(volatile_write_cache),
        });
        self.extents.forget();
    }

    /// Learns from the Identify Namespace structure at a hidden offset.
    pub fn learn_namespace(&mut self, device: &mut impl Device, page: u32, nsid: u32) {
        let facts = read_namespace(device, page);
        self.set(nsid, facts);
    }

    /// The controller did not identify this namespace: what was known of it no longer holds.
    pub fn distrust(&mut self, nsid: u32) {
        if self.namespace(nsid).is_ok() {
            self.set(nsid, None);
        }
    }

    fn set(&mut self, nsid: u32, facts: Option<NamespaceFacts>) {
        if let Some(place) = self.place(nsid) {
            self.namespaces[place] = Known { nsid, facts };
            self.extents.forget();
        }
    }

    /// The entry that holds this namespace or is free for it; `None` if all hold others. Identifiers are usually small
    /// and dense, so the first try is nearly always right.
    fn place(&self, nsid: u32) -> Option<usize> {
        let start = nsid as usize;
        (0..NAMESPACES_KEPT)
            .map(|step| (start + step) & (NAMESPACES_KEPT - 1))
            .find(|place| self.namespaces[*place].nsid == nsid || self.namespaces[*place].nsid == 0)
    }
}

fn field<const BYTES: usize>(device: &mut impl Device, page: u32, offset: usize) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    device.read_hidden(page + offset as u32, &mut bytes);
    bytes
}

fn read_namespace(device: &mut impl Device, page: u32) -> Option<NamespaceFacts> {
    let blocks = u64::from_le_bytes(field(device, page, offset_of!(Namespace, size)));
    let [lba_formats] = field(device, page, offset_of!(Namespace, lba_formats));
    let [formatted_size] = field(device, page, offset_of!(Namespace, formatted_size));
    let index = format_index(lba_formats, formatted_size)?;
    let format: LbaFormat = zerocopy::transmute!(field::<{ size_of::<LbaFormat>() }>(
        device,
        page,
        offset_of!(Namespace, formats) + index * size_of::<LbaFormat>()
    ));
    // Any metadata, inline or apart: the controller would move more bytes than the blocks have, or to an address that
    // no command here carries.
    let usable = blocks != 0 && format.metadata_bytes.get() == 0 && BLOCK_SHIFTS.contains(&format.block_shift);
    usable.then_some(NamespaceFacts { blocks, block_shift: format.block_shift })
}
