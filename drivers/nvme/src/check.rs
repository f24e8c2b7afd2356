//! Whether a transfer makes sense on the namespaces that there are, and how it is cut.

use protocol::nvme::{Failure, Namespace, Operation, Transfer};

use crate::identify::Known;
use crate::limits::Limits;
use crate::transfers::Cut;

/// Whether a transfer makes sense on this controller; its namespace.
///
/// # Errors
/// Invalid, or unsupported by the namespace.
pub fn check<'a>(transfer: &Transfer, namespaces: &'a [Known], region_bytes: u64) -> Result<&'a Known, Failure> {
    let known = namespaces.iter().find(|known| known.told.nsid == transfer.nsid);
    let known = known.filter(|known| known.told.block_bytes > 0).ok_or(Failure::Invalid)?;
    let Namespace { blocks, block_bytes, supports, .. } = known.told;
    let (supported, has_data) = match transfer.operation {
        Operation::Flush => return Ok(known),
        Operation::Read => (true, true),
        Operation::Write | Operation::DurableWrite => (supports.write, true),
        Operation::Compare => (supports.compare, true),
        Operation::Discard => (supports.discard, false),
        Operation::WriteZeroes => (supports.write_zeroes, false),
        Operation::Verify => (supports.verify, false),
    };
    if !supported {
        return Err(Failure::Unsupported);
    }
    let bytes = if has_data { u64::from(transfer.blocks) * u64::from(block_bytes) } else { 0 };
    let in_namespace = transfer.first_block.checked_add(u64::from(transfer.blocks));
    let in_region = if has_data { transfer.offset.checked_add(bytes) } else { Some(0) };
    let fits = transfer.blocks > 0
        && (!has_data || transfer.offset.is_multiple_of(4))
        && in_namespace.is_some_and(|end| end <= blocks)
        && in_region.is_some_and(|end| end <= region_bytes);
    if fits { Ok(known) } else { Err(Failure::Invalid) }
}

/// How a transfer on this namespace is cut.
pub fn cut(operation: Operation, known: &Known, limits: &Limits) -> Cut {
    let block_bytes = known.told.block_bytes;
    // Boundaries are of the medium: they matter where data is moved.
    let boundary = match operation {
        Operation::Read | Operation::Write | Operation::DurableWrite => known.boundary.into(),
        _ => 0,
    };
    Cut { block_bytes, blocks: limits.blocks(operation, block_bytes), boundary }
}
