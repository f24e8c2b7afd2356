//! What the machine tells of itself, collected by the UEFI application before it leaves firmware, because only there
//! all of it is at hand.
//!
//! Evidence is a list of [`Item`]s, each a fact with its source, and never a conclusion: `servers/classify` draws those.
//! What could not be had is an item too ([`Item::Unavailable`]). No item holds an address of memory.
//!
//! In memory it is [`EVIDENCE_BYTES`] bytes: a header (magic, version, number of items, number of items that found no
//! room, all little-endian), then the items in postcard, one after the other, so that a reader without a heap holds one
//! at a time. The kernel maps the pages read-only into the tasks that the charter grants `evidence`, and nowhere else.

use heapless::String;
use serde::{Deserialize, Serialize};

use crate::named::named;
use crate::system_call::PciAddress;

/// Bytes of evidence, whole pages.
pub const EVIDENCE_BYTES: usize = 4 * crate::layout::PAGE_BYTES as usize;
/// First bytes of evidence.
pub const MAGIC: [u8; 4] = *b"EVID";
/// Version of the form.
pub const VERSION: u16 = 1;
/// Bytes before the items: magic, version (u16), items (u16), items left out (u16), two zeroes.
pub const HEADER_BYTES: usize = 12;
/// Most items that a reader needs to be prepared for.
pub const ITEMS_MAX: usize = 96;

/// A value of SMBIOS, a model, a reason: printable ASCII, see [`text`].
pub type Text = String<64>;

/// One fact and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A CPUID leaf.
    Processor {
        /// Which leaf.
        leaf: u32,
        /// `eax`, `ebx`, `ecx`, `edx`.
        registers: [u32; 4],
    },
    /// A string of SMBIOS.
    Smbios {
        /// Which one.
        field: SmbiosField,
        /// Its value; empty strings are left out.
        value: Text,
    },
    /// An ACPI table's header.
    AcpiTable {
        /// Its signature.
        signature: String<4>,
        /// Its OEM id, without trailing spaces.
        oem: String<6>,
        /// Its OEM table id, without trailing spaces.
        oem_table: String<8>,
    },
    /// The hardware id of a device that occurs in a DSDT or SSDT.
    AcpiDevice {
        /// The table.
        table: String<4>,
        /// The hardware id.
        id: String<8>,
    },
    /// A PCI function.
    Function {
        /// Who found it.
        seen_by: SeenBy,
        /// Where it is.
        address: PciAddress,
        /// Vendor identifier.
        vendor: u16,
        /// Device identifier.
        device: u16,
        /// Subsystem vendor and subsystem identifier, where they were read.
        subsystem: Option<(u16, u16)>,
        /// Class, subclass, programming interface.
        class: (u8, u8, u8),
        /// Whether a driver of this system has bound it; firmware's functions are not.
        bound: bool,
    },
    /// What an NVMe controller says of itself (NVMe base 2.0, figure 275).
    Controller {
        /// Who asked it: firmware, or the driver, on the bus.
        seen_by: SeenBy,
        /// Where it is.
        address: PciAddress,
        /// Model number.
        model: String<40>,
        /// Serial number.
        serial: String<20>,
        /// Firmware revision.
        firmware: String<8>,
        /// Active namespaces.
        namespaces: u32,
    },
    /// What an NVMe namespace says of itself (NVMe NVM command set 1.0, figure 97).
    Namespace {
        /// Who asked.
        seen_by: SeenBy,
        /// Where its controller is.
        address: PciAddress,
        /// Its identifier.
        nsid: u32,
        /// Its size in logical blocks.
        blocks: u64,
        /// Bytes in a logical block; 0 if it has no usable format.
        block_bytes: u32,
        /// The text at the start of its vendor-specific area (bytes 384 and on), empty if there is none.
        vendor_area: Text,
    },
    /// Evidence that could not be had.
    Unavailable {
        /// Of which kind.
        topic: Topic,
        /// Of which device, if it is one's.
        address: Option<PciAddress>,
        /// Why.
        reason: Text,
    },
}

/// Who saw a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeenBy {
    /// Firmware, before it was left.
    Firmware,
    /// This system, on a bus that it enumerates.
    Bus,
}

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    /// CPUID's hypervisor leaves.
    Processor,
    /// SMBIOS strings.
    Smbios,
    /// ACPI tables.
    Acpi,
    /// PCI functions.
    Pci,
    /// What NVMe controllers and namespaces say.
    Identify,
}

/// A string of SMBIOS (SMBIOS reference specification 3.7, 7.1 to 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SmbiosField {
    /// Type 0, vendor.
    BiosVendor,
    /// Type 0, version.
    BiosVersion,
    /// Type 1, manufacturer.
    SystemManufacturer,
    /// Type 1, product name.
    SystemProduct,
    /// Type 1, version.
    SystemVersion,
    /// Type 1, UUID, written in lower case; all zeroes and all ones (no UUID) are left out.
    SystemUuid,
    /// Type 2, manufacturer.
    BoardManufacturer,
    /// Type 2, product.
    BoardProduct,
    /// Type 2, asset tag.
    BoardAssetTag,
    /// Type 3, manufacturer.
    ChassisManufacturer,
    /// Type 3, asset tag number.
    ChassisAssetTag,
}

named! { SeenBy: Firmware "firmware", Bus "bus", }
named! { Topic:
    Processor "cpuid",
    Smbios "smbios",
    Acpi "acpi",
    Pci "pci",
    Identify "identify",
}
named! { SmbiosField:
    BiosVendor "bios-vendor",
    BiosVersion "bios-version",
    SystemManufacturer "system-manufacturer",
    SystemProduct "system-product",
    SystemVersion "system-version",
    SystemUuid "system-uuid",
    BoardManufacturer "board-manufacturer",
    BoardProduct "board-product",
    BoardAssetTag "board-asset-tag",
    ChassisManufacturer "chassis-manufacturer",
    ChassisAssetTag "chassis-asset-tag",
}

/// Bytes that others wrote, as text: up to the first zero, `?` for what is not printable ASCII, without spaces at
/// either end, cut where there is no more room.
pub fn text<const N: usize>(bytes: &[u8]) -> String<N> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    let mut text = String::new();
    for byte in bytes {
        let character = if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' };
        if text.push(character).is_err() {
            break;
        }
    }
    text
}

/// Writes evidence.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    used: usize,
    items: u16,
    left_out: u16,
}

impl<'a> Writer<'a> {
    /// Begins with no items.
    ///
    /// # Panics
    /// If there is no room for the header.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        bytes.fill(0);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        Self { bytes, used: HEADER_BYTES, items: 0, left_out: 0 }
    }

    /// Adds an item. One that finds no room is left out and counted.
    pub fn add(&mut self, item: &Item) {
        let room = &mut self.bytes[self.used..];
        match postcard::to_slice(item, room) {
            Ok(written) if usize::from(self.items) < ITEMS_MAX => {
                self.used += written.len();
                self.items += 1;
            }
            Ok(_) | Err(_) => {
                self.bytes[self.used..].fill(0);
                self.left_out = self.left_out.saturating_add(1);
            }
        }
        self.bytes[6..8].copy_from_slice(&self.items.to_le_bytes());
        self.bytes[8..10].copy_from_slice(&self.left_out.to_le_bytes());
    }

    /// Bytes used.
    pub fn used(&self) -> usize {
        self.used
    }
}

/// Why bytes are no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// They do not begin as evidence does: the UEFI application collected none.
    #[error("none was collected")]
    Magic,
    /// They are of another version.
    #[error("evidence of version {0}, expected {VERSION}")]
    Version(u16),
}

/// Evidence, as its reader finds it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    items: &'a [u8],
    count: u16,
    left_out: u16,
}

impl<'a> Evidence<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is not one of this version.
    pub fn open(bytes: &'a [u8]) -> Result<Self, EvidenceError> {
        let (header, items) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(EvidenceError::Magic)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        if header[..4] != MAGIC {
            return Err(EvidenceError::Magic);
        }
        if half(4) != VERSION {
            return Err(EvidenceError::Version(half(4)));
        }
        Ok(Self { items, count: half(6), left_out: half(8) })
    }

    /// Items that found no room when they were collected.
    pub fn left_out(&self) -> u16 {
        self.left_out
    }

    /// The items, in the order in which they were collected. Ends early where the bytes are damaged.
    pub fn items(&self) -> impl Iterator<Item = Item> + use<'a> {
        let mut bytes = self.items;
        (0..self.count).map_while(move |_| {
            let (item, rest) = postcard::take_from_bytes(bytes).ok()?;
            bytes = rest;
            Some(item)
        })
    }
}

#[cfg(test)]
mod tests;
