//! What Identify returns (base 2.0, 5.17.2; NVM command set 1.0, 4.1.5): 4096 bytes each.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of every structure that Identify returns.
pub const IDENTIFY_BYTES: usize = 4096;

/// CNS in dword 10 of Identify: which structure (base 2.0, figure 273).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Structure {
    /// [`Namespace`] of an active namespace.
    Namespace = 0x00,
    /// [`Controller`]; the namespace identifier is 0.
    Controller = 0x01,
    /// [`NamespaceList`] of active namespaces with identifiers greater than the command's.
    ActiveNamespaces = 0x02,
    /// Namespace identification descriptors.
    NamespaceDescriptors = 0x03,
    /// [`ControllerNvm`]: of the command set whose identifier is in dword 11, where 0 is the NVM command set.
    ControllerNvm = 0x06,
}

/// Identify Controller (base 2.0, figure 275), the fields used here.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Controller {
    /// VID: PCI vendor identifier.
    pub vendor: U16,
    /// SSVID: PCI subsystem vendor identifier.
    pub subsystem_vendor: U16,
    /// SN: serial number, ASCII, padded with spaces.
    pub serial: [u8; 20],
    /// MN: model number, ASCII, padded with spaces.
    pub model: [u8; 40],
    /// FR: firmware revision, ASCII, padded with spaces.
    pub firmware: [u8; 8],
    /// RAB: recommended arbitration burst, a power of two.
    pub arbitration_burst: u8,
    /// IEEE OUI.
    pub oui: [u8; 3],
    /// CMIC: multi-path and sharing capabilities.
    pub sharing: u8,
    /// MDTS: a command transfers at most `2^this` pages of CAP.MPSMIN's size; 0 means any.
    pub transfer_shift_max: u8,
    /// CNTLID.
    pub controller: U16,
    /// VER: as the register VS.
    pub version: U32,
    unused_84: [u8; 4],
    /// RTD3E: microseconds that an orderly shutdown may take; 0 if it is not reported.
    pub shutdown_time: U32,
    /// OAES: optional asynchronous events.
    pub optional_events: U32,
    unused_96: [u8; 162],
    /// ACL: most Abort commands at a time, 0's based.
    pub abort_limit: u8,
    /// AERL: most Asynchronous Event Requests at a time, 0's based.
    pub event_request_limit: u8,
    unused_260: [u8; 252],
    /// SQES: submission entry sizes, required in bits 3:0, largest in bits 7:4, as powers of two.
    pub submission_entry_sizes: u8,
    /// CQES: completion entry sizes, likewise.
    pub completion_entry_sizes: u8,
    /// MAXCMD: most outstanding commands.
    pub commands_max: U16,
    /// NN: the highest namespace identifier.
    pub namespaces: U32,
    /// ONCS: optional NVM commands.
    pub optional_commands: U16,
    /// FUSES: fused operations.
    pub fused_operations: U16,
    /// FNA: format attributes.
    pub format_attributes: u8,
    /// VWC: volatile write cache; present in bit 0, and in bits 2:1 whether Flush takes the broadcast identifier.
    pub volatile_write_cache: u8,
    unused_526: [u8; 10],
    /// SGLS: support for scatter gather lists.
    pub scatter_gather: U32,
    unused_540: [u8; 3556],
}

/// Whether VWC says in so many words (bits 2:1 are 11b) that Flush with the broadcast identifier flushes every namespace.
pub const fn flush_takes_broadcast(volatile_write_cache: u8) -> bool {
    (volatile_write_cache >> 1) & 0b11 == 0b11
}

/// An LBA format (NVM command set 1.0, figure 98).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LbaFormat {
    /// MS: bytes of metadata to each block.
    pub metadata_bytes: U16,
    /// LBADS: a block is `2^this` bytes, at least 9; 0 if the format is not available.
    pub block_shift: u8,
    /// RP: relative performance in bits 1:0.
    pub performance: u8,
}

/// Most LBA formats that a namespace can offer.
pub const LBA_FORMATS_MAX: usize = 64;

/// Identify Namespace for the NVM command set (NVM command set 1.0, figure 97), the fields used here.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Namespace {
    /// NSZE: size in logical blocks; 0 if the namespace is not active.
    pub size: U64,
    /// NCAP: capacity in logical blocks.
    pub capacity: U64,
    /// NUSE: utilization in logical blocks.
    pub utilization: U64,
    /// NSFEAT.
    pub features: u8,
    /// NLBAF: number of LBA formats, 0's based.
    pub lba_formats: u8,
    /// FLBAS: the current format: index in bits 3:0 and, above 16 formats, 6:5; metadata inline in bit 4.
    pub formatted_size: u8,
    /// MC: metadata capabilities.
    pub metadata_capabilities: u8,
    /// DPC: protection capabilities.
    pub protection_capabilities: u8,
    /// DPS: protection in use; type in bits 2:0.
    pub protection: u8,
    unused_30: [u8; 3],
    /// DLFEAT: what deallocated blocks read as in bits 2:0; whether Write Zeroes takes DEAC in bit 3.
    pub deallocation: u8,
    unused_34: [u8; 12],
    /// NOIOB: blocks between boundaries that commands should not cross; 0 if there are none.
    pub boundary: U16,
    unused_48: [u8; 51],
    /// NSATTR: write protected in bit 0.
    pub attributes: u8,
    unused_100: [u8; 28],
    /// LBAF0 to LBAF63.
    pub formats: [LbaFormat; LBA_FORMATS_MAX],
    /// Vendor specific.
    pub vendor: [u8; 3712],
}

impl Namespace {
    /// The format in use; `None` if FLBAS names none that the namespace offers.
    pub fn format(&self) -> Option<LbaFormat> {
        self.formats.get(format_index(self.lba_formats, self.formatted_size)?).copied()
    }
}

/// Identify Controller for the NVM command set (NVM command set 1.0, figure 102), the fields used here.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ControllerNvm {
    /// VSL: Verify covers at most `2^this` pages of CAP.MPSMIN's size; 0 means any.
    pub verify_shift_max: u8,
    /// WZSL: Write Zeroes, likewise.
    pub write_zeroes_shift_max: u8,
    /// WUSL: Write Uncorrectable, likewise.
    pub write_uncorrectable_shift_max: u8,
    /// DMRL: most ranges in one Dataset Management command; 0 means any.
    pub ranges_max: u8,
    /// DMRSL: most blocks in one of its ranges; 0 means any.
    pub range_blocks_max: U32,
    /// DMSL: most blocks in all of them together; 0 means any.
    pub deallocate_blocks_max: U64,
    unused_16: [u8; 4080],
}

/// FLBAS as an index into [`Namespace::formats`], from NLBAF and FLBAS; `None` if it names none that the namespace
/// offers. Bits 6:5 count only above 16 formats (NVM command set 1.0, figure 97): they were reserved before.
pub const fn format_index(lba_formats: u8, formatted_size: u8) -> Option<usize> {
    let high = if lba_formats >= 16 { (formatted_size >> 5) & 0b11 } else { 0 };
    let index = high << 4 | (formatted_size & 0xf);
    if index > lba_formats { None } else { Some(index as usize) }
}

/// Entries of a namespace list.
pub const NAMESPACE_LIST_ENTRIES: usize = 1024;

/// A list of namespace identifiers, ascending, ended by 0 unless it is full (base 2.0, 4.5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NamespaceList(pub [U32; NAMESPACE_LIST_ENTRIES]);

impl NamespaceList {
    /// The identifiers up to the end.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|nsid| nsid.get()).take_while(|nsid| *nsid != 0)
    }
}

const _: () = {
    assert!(size_of::<Controller>() == IDENTIFY_BYTES);
    assert!(size_of::<Namespace>() == IDENTIFY_BYTES);
    assert!(size_of::<ControllerNvm>() == IDENTIFY_BYTES);
    assert!(core::mem::offset_of!(Controller, shutdown_time) == 88);
    assert!(core::mem::offset_of!(Controller, abort_limit) == 258);
    assert!(core::mem::offset_of!(Controller, optional_commands) == 520);
    assert!(core::mem::offset_of!(Namespace, deallocation) == 33);
    assert!(core::mem::offset_of!(Namespace, boundary) == 46);
    assert!(core::mem::offset_of!(Namespace, attributes) == 99);
    assert!(size_of::<NamespaceList>() == IDENTIFY_BYTES);
    assert!(core::mem::offset_of!(Controller, transfer_shift_max) == 77);
    assert!(core::mem::offset_of!(Controller, submission_entry_sizes) == 512);
    assert!(core::mem::offset_of!(Controller, namespaces) == 516);
    assert!(core::mem::offset_of!(Controller, volatile_write_cache) == 525);
    assert!(core::mem::offset_of!(Controller, scatter_gather) == 536);
    assert!(core::mem::offset_of!(Namespace, formatted_size) == 26);
    assert!(core::mem::offset_of!(Namespace, formats) == 128);
    assert!(core::mem::offset_of!(Namespace, vendor) == 384);
};

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn the_high_index_bits_count_only_above_sixteen_formats() {
        assert_eq!(format_index(15, 0x7f), Some(15));
        assert_eq!(format_index(63, 0x7f), Some(63));
        assert_eq!(format_index(16, 0x7f), None);
        assert_eq!(format_index(0, 0x01), None);
    }

    #[test]
    fn a_namespace_list_ends_at_zero() {
        let mut list = NamespaceList::new_zeroed();
        list.0[0] = 1.into();
        list.0[1] = 7.into();
        list.0[3] = 9.into();
        assert!(list.iter().eq([1, 7]));
    }
}
