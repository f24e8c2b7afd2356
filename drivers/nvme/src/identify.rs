//! Reads what Identify returned, without believing it: the device wrote it.

use core::fmt;

use abi::package::{Command, Commands};
use heapless::String;
use nvme_spec::PAGE_BYTES;
use nvme_spec::identify;
use nvme_spec::nvm::optional;
use protocol::nvme::{Namespace, Operations};
use zerocopy::FromBytes;

/// What the driver keeps of Identify Controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    /// Model number.
    pub model: String<40>,
    /// Serial number.
    pub serial: String<20>,
    /// Firmware revision.
    pub firmware: String<8>,
    /// Largest transfer in one command as a power of two of the smallest memory page; 0 for no limit.
    pub transfer_shift_max: u8,
    /// Highest namespace identifier.
    pub namespaces_max: u32,
    /// ONCS: optional commands.
    pub optional_commands: u16,
    /// OAES: optional asynchronous events.
    pub optional_events: u32,
    /// Most Abort commands at a time, 1 to 256.
    pub aborts_max: u16,
    /// Microseconds that an orderly shutdown may take; 0 if it is not reported.
    pub shutdown_time: u32,
    /// There is a volatile write cache.
    pub volatile_cache: bool,
}

impl Controller {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            model: String::new(),
            serial: String::new(),
            firmware: String::new(),
            transfer_shift_max: 0,
            namespaces_max: 0,
            optional_commands: 0,
            optional_events: 0,
            aborts_max: 0,
            shutdown_time: 0,
            volatile_cache: false,
        }
    }
}

/// A namespace: what clients are told of it, and what only the driver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What clients are told.
    pub told: Namespace,
    /// NOIOB: blocks between boundaries that no read or write should cross; 0 if there are none.
    pub boundary: u16,
    /// It is write protected.
    pub protected: bool,
}

/// Why a namespace cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Its blocks carry metadata, inline or apart.
    Metadata(u16),
    /// Its blocks are smaller than 512 bytes or larger than a page.
    BlockSize(u8),
    /// Its current LBA format is none that it offers.
    Format,
    /// Identify was refused, or failed.
    NotIdentified,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(bytes) => write!(f, "reason=metadata metadata_bytes={bytes}"),
            Self::BlockSize(shift) => write!(f, "reason=block-size block_shift={shift}"),
            Self::Format => f.write_str("reason=format"),
            Self::NotIdentified => f.write_str("reason=not-identified"),
        }
    }
}

/// Smallest and largest block, as powers of two: 512 bytes (NVM command set 1.0, figure 98) to a page.
const BLOCK_SHIFTS: core::ops::RangeInclusive<u8> = 9..=12;

/// Reads Identify Controller.
pub fn controller(page: &[u8; PAGE_BYTES]) -> Option<Controller> {
    let identity = identify::Controller::ref_from_bytes(page).ok()?;
    Some(Controller {
        model: text(&identity.model),
        serial: text(&identity.serial),
        firmware: text(&identity.firmware),
        transfer_shift_max: identity.transfer_shift_max,
        namespaces_max: identity.namespaces.get(),
        optional_commands: identity.optional_commands.get(),
        optional_events: identity.optional_events.get(),
        aborts_max: u16::from(identity.abort_limit) + 1,
        shutdown_time: identity.shutdown_time.get(),
        volatile_cache: identity.volatile_write_cache & 1 != 0,
    })
}

/// Reads Identify Namespace: the namespace, and why it cannot be used if its `block_bytes` is 0. What it supports is
/// yet to be set, because that depends on the controller and the grant: [`supports`].
pub fn namespace(nsid: u32, page: &[u8; PAGE_BYTES]) -> (Known, Option<Unusable>) {
    let Ok(identity) = identify::Namespace::ref_from_bytes(page) else { return unusable(nsid, 0, Unusable::Format) };
    let blocks = identity.size.get();
    let Some(format) = identity.format() else { return unusable(nsid, blocks, Unusable::Format) };
    if format.metadata_bytes.get() != 0 {
        return unusable(nsid, blocks, Unusable::Metadata(format.metadata_bytes.get()));
    }
    if !BLOCK_SHIFTS.contains(&format.block_shift) {
        return unusable(nsid, blocks, Unusable::BlockSize(format.block_shift));
    }
    let told = Namespace {
        nsid,
        blocks,
        block_bytes: 1 << format.block_shift,
        supports: Operations::default(),
        volatile_cache: false,
    };
    (Known { told, boundary: identity.boundary.get(), protected: identity.attributes & 1 != 0 }, None)
}

/// What can be done with a namespace on this controller, if the grant allows these commands on some of it.
pub fn supports(known: &Known, controller: &Controller, granted: Commands) -> Operations {
    if known.told.block_bytes == 0 {
        return Operations::default();
    }
    let offers = |command: u16| controller.optional_commands & command != 0;
    let is_granted = |command: Command| granted.contains(command) && !(known.protected && command.changes_blocks());
    Operations {
        write: is_granted(Command::Write),
        discard: is_granted(Command::DatasetManagement) && offers(optional::DATASET_MANAGEMENT),
        write_zeroes: is_granted(Command::WriteZeroes) && offers(optional::WRITE_ZEROES),
        compare: is_granted(Command::Compare) && offers(optional::COMPARE),
        verify: is_granted(Command::Verify) && offers(optional::VERIFY),
    }
}

/// A namespace that cannot be used.
pub fn unusable(nsid: u32, blocks: u64, why: Unusable) -> (Known, Option<Unusable>) {
    let told = Namespace { nsid, blocks, block_bytes: 0, supports: Operations::default(), volatile_cache: false };
    (Known { told, boundary: 0, protected: false }, Some(why))
}

/// ASCII without its padding; `?` for what is not printable, and for what would end a quoted value in the log.
fn text<const N: usize>(bytes: &[u8]) -> String<N> {
    let end = bytes.iter().rposition(|byte| *byte != b' ' && *byte != 0).map_or(0, |last| last + 1);
    bytes[..end]
        .iter()
        .map(|byte| match byte {
            b'"' | b'\\' => '?',
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        })
        .take(N)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::package::Limit;
    use zerocopy::{FromZeros, IntoBytes};

    fn namespace_page(formatted_size: u8, formats: &[(u16, u8)]) -> [u8; PAGE_BYTES] {
        let mut identity = identify::Namespace::new_zeroed();
        identity.size = 1000.into();
        identity.lba_formats = formats.len() as u8 - 1;
        identity.formatted_size = formatted_size;
        for (format, (metadata, shift)) in identity.formats.iter_mut().zip(formats) {
            format.metadata_bytes = (*metadata).into();
            format.block_shift = *shift;
        }
        identity.as_bytes().try_into().unwrap()
    }

    #[test]
    fn every_block_size_from_512_to_a_page_is_taken() {
        for (shift, block_bytes) in [(9, 512), (10, 1024), (11, 2048), (12, 4096)] {
            let (namespace, why) = namespace(3, &namespace_page(0, &[(0, shift)]));
            let told = Namespace { block_bytes, ..unusable(3, 1000, Unusable::Format).0.told };
            assert_eq!((namespace.told, why), (told, None));
        }
    }

    #[test]
    fn the_format_in_use_counts_not_the_first() {
        let (namespace, why) = namespace(3, &namespace_page(1, &[(8, 9), (0, 12)]));
        assert_eq!((namespace.told.block_bytes, why), (4096, None));
    }

    #[test]
    fn metadata_and_odd_block_sizes_make_a_namespace_unusable() {
        for (page, why) in [
            (namespace_page(0, &[(8, 9)]), Unusable::Metadata(8)),
            (namespace_page(0, &[(0, 13)]), Unusable::BlockSize(13)),
            (namespace_page(0, &[(0, 0)]), Unusable::BlockSize(0)),
            (namespace_page(0, &[(0, 255)]), Unusable::BlockSize(255)),
            (namespace_page(2, &[(0, 9)]), Unusable::Format),
        ] {
            assert_eq!(namespace(1, &page), unusable(1, 1000, why));
        }
    }

    #[test]
    fn a_namespace_supports_what_controller_grant_and_protection_leave() {
        let (known, _) = namespace(1, &namespace_page(0, &[(0, 9)]));
        let every = Controller { optional_commands: u16::MAX, ..Controller::default() };
        let all = Operations { write: true, discard: true, write_zeroes: true, compare: true, verify: true };
        let reading = Operations { compare: true, verify: true, ..Operations::default() };
        assert_eq!(supports(&known, &every, Commands::ALL), all);
        let to_read = Commands::allowed_by(&[Limit { writable: false, ..Limit::WHOLE_DEVICE }]);
        assert_eq!(supports(&known, &every, to_read), reading);
        assert_eq!(supports(&Known { protected: true, ..known }, &every, Commands::ALL), reading);
        assert_eq!(
            supports(&known, &Controller::default(), Commands::ALL),
            Operations { write: true, ..Default::default() }
        );
        assert_eq!(supports(&unusable(1, 1, Unusable::Format).0, &every, Commands::ALL), Operations::default());
        let listed = Commands::NONE.with(Command::Read).with(Command::WriteZeroes);
        assert_eq!(supports(&known, &every, listed), Operations { write_zeroes: true, ..Default::default() });
    }

    #[test]
    fn text_keeps_nothing_that_could_break_a_log_line() {
        assert_eq!(text::<40>(b"QEMU NVMe Ctrl      "), "QEMU NVMe Ctrl");
        assert_eq!(text::<8>(b"a\"b\\\n\xff "), "a?b???");
        assert_eq!(text::<8>(b"        "), "");
        assert_eq!(text::<8>(&[0; 8]), "");
    }
}
