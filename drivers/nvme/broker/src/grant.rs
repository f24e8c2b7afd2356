//! What the ledger grants: memory, and ranges of namespaces.

use abi::package::Command;
use broker::{Ledger, Region};
use checks::{Check, holds};
use nvme_spec::nvm::BlockRange;

use crate::reason::Reason;

/// Whether some limit grants any of this namespace.
pub fn namespace(ledger: &Ledger, nsid: u32) -> Result<(), Reason> {
    let granted = ledger.limits.iter().any(|limit| limit.namespace.is_none_or(|granted| granted == nsid));
    if holds(Check::Namespace, granted) { Ok(()) } else { Err(Reason::NamespaceNotGranted) }
}

/// Whether some limit grants every namespace.
pub fn every_namespace(ledger: &Ledger) -> bool {
    ledger.limits.iter().any(|limit| limit.namespace.is_none() && limit.first_block == 0 && limit.blocks.is_none())
}

/// Whether some limit of this namespace lists a command that names no blocks.
pub fn command(ledger: &Ledger, nsid: u32, command: Command) -> Result<(), Reason> {
    namespace(ledger, nsid)?;
    let listed = ledger
        .limits
        .iter()
        .any(|limit| limit.namespace.is_none_or(|granted| granted == nsid) && limit.commands.contains(command));
    if holds(Check::ListedCommands, listed) { Ok(()) } else { Err(Reason::CommandNotListed) }
}

/// Blocks from `first` up to and without `end`.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    pub first: u64,
    pub end: u64,
}

/// The blocks around these on which one limit grants this command.
pub fn blocks(ledger: &Ledger, nsid: u32, range: BlockRange, command: Command) -> Result<Blocks, Reason> {
    let Some(end) = range.first.checked_add(u64::from(range.count)) else {
        namespace(ledger, nsid)?;
        return Err(Reason::BlocksBeyondEnd);
    };
    let granted = ledger.limits.iter().filter(|limit| {
        limit.namespace.is_none_or(|granted| granted == nsid)
            && limit.first_block <= range.first
            && limit.blocks.is_none_or(|blocks| end <= limit.first_block.saturating_add(blocks))
    });
    let (mut is_covered, mut is_directed) = (false, false);
    for limit in granted {
        let directed = holds(Check::Direction, limit.writable || !command.changes_blocks());
        if directed && holds(Check::ListedCommands, limit.commands.contains(command)) {
            let first = limit.first_block;
            return Ok(Blocks { first, end: limit.blocks.map_or(u64::MAX, |blocks| first.saturating_add(blocks)) });
        }
        is_covered = true;
        is_directed |= directed;
    }
    match (is_covered, is_directed) {
        (true, true) => Err(Reason::CommandNotListed),
        (true, false) => Err(Reason::WriteNotGranted),
        // Not these blocks, or none of the namespace.
        (false, _) => {
            namespace(ledger, nsid)?;
            let asked = Blocks { first: range.first, end };
            if holds(Check::BlockRange, false) { Ok(asked) } else { Err(Reason::BlocksNotGranted) }
        }
    }
}

/// The physical address of `bytes` at an offset in a region.
#[inline(always)]
pub fn memory(ledger: &Ledger, region: u64, offset: u64, bytes: u32) -> Result<u64, Reason> {
    let index = usize::try_from(region).map_err(|_| Reason::RegionUnknown)?;
    let Region { base, bytes: size } = *ledger.regions.get(index).ok_or(Reason::RegionUnknown)?;
    if offset & 0b11 != 0 {
        return Err(Reason::OffsetUnaligned);
    }
    let is_inside = match offset.checked_add(u64::from(bytes)) {
        Some(end) => holds(Check::RangeEnd, end <= size),
        None => holds(Check::LengthWrap, false),
    };
    if is_inside { Ok(base.wrapping_add(offset)) } else { Err(Reason::BeyondRegion) }
}

/// Whether a register write of `bytes` at `offset` stays inside the BAR and off the MSI-X table.
pub fn register(ledger: &Ledger, offset: u64, bytes: u32) -> Result<u32, Reason> {
    let end = offset + u64::from(bytes);
    let reserved = ledger
        .reserved
        .iter()
        .any(|(first, length)| offset < u64::from(*first) + u64::from(*length) && u64::from(*first) < end);
    if reserved || end > u64::from(ledger.register_bytes) {
        return Err(Reason::DoorbellOutside);
    }
    u32::try_from(offset).map_err(|_| Reason::DoorbellOutside)
}
