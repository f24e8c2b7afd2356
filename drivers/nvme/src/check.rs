//! Whether a transfer makes sense on the namespaces that there are, and how it is cut.

use protocol::nvme::{Failure, Namespace, Operation, Transfer};

use crate::identify::Known;
use crate::limits::Limits;
use crate::part::Cut;

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

/// What of a namespace decides whether a read or write of it makes sense and is one command.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Its identifier.
    pub nsid: u32,
    /// The edition of the namespaces that this is of.
    pub edition: u32,
    /// Its size in blocks.
    blocks: u64,
    block_bytes: u32,
    /// Most blocks in one command; 0 if none may be moved.
    most: u32,
    /// Blocks between boundaries that no command crosses; 0 if there are none.
    boundary: u32,
    /// It may be written.
    writes: bool,
    region_bytes: u64,
}

impl Whole {
    /// No namespace: nothing is one command.
    pub const NONE: Self =
        Self { nsid: 0, edition: 0, blocks: 0, block_bytes: 0, most: 0, boundary: 0, writes: false, region_bytes: 0 };

    /// Of this namespace, among these of this edition.
    pub fn new(nsid: u32, edition: u32, namespaces: &[Known], limits: &Limits, region_bytes: u64) -> Self {
        let known = namespaces.iter().find(|known| known.told.nsid == nsid && known.told.block_bytes > 0);
        let Some(known) = known else { return Self::NONE };
        let Namespace { blocks, supports, .. } = known.told;
        let Cut { block_bytes, blocks: most, boundary } = cut(Operation::Read, known, limits);
        Self { nsid, edition, blocks, block_bytes, most, boundary, writes: supports.write, region_bytes }
    }

    /// Whether a transfer of this namespace is a read or write that [`check`] finds nothing wrong with and that is not
    /// [`cut`].
    #[inline]
    pub fn is(&self, transfer: &Transfer) -> bool {
        let Transfer { operation, nsid, first_block, blocks, offset, .. } = *transfer;
        let may = match operation {
            Operation::Read => true,
            Operation::Write | Operation::DurableWrite => self.writes,
            _ => false,
        };
        // At most 2^16 blocks of at most 2^12 bytes.
        let bytes = u64::from(blocks) * u64::from(self.block_bytes);
        nsid == self.nsid
            && may
            && blocks.wrapping_sub(1) < self.most
            && first_block < self.blocks
            && u64::from(blocks) <= self.blocks - first_block
            && offset.is_multiple_of(4)
            && offset < self.region_bytes
            && bytes <= self.region_bytes - offset
            && (self.boundary == 0 || blocks <= self.within_boundary(first_block))
    }

    /// Blocks from this one up to the next boundary.
    #[inline(never)]
    fn within_boundary(&self, first_block: u64) -> u32 {
        // A remainder by 32 bits has 32 bits.
        self.boundary - (first_block % u64::from(self.boundary)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::nvme::Operations;

    const REGION_BYTES: u64 = 1 << 20;

    proptest! {
        /// What is taken for one command is a read or write that makes sense and that is not cut, and the other way round.
        #[test]
        fn one_command_is_what_makes_sense_and_is_not_cut(
            operation in proptest::sample::select(&Operation::ALL),
            nsid in 1_u32..3,
            first_block in prop_oneof![0_u64..300, u64::MAX - 40..=u64::MAX],
            blocks in prop_oneof![0_u32..40, any::<u32>()],
            offset in prop_oneof![0..REGION_BYTES + 8, REGION_BYTES - 20_000..REGION_BYTES, any::<u64>()],
            boundary in prop_oneof![Just(0), 1_u16..40],
            (size, block_bytes) in (prop_oneof![0_u64..300, Just(u64::MAX)], prop_oneof![Just(0), Just(512), Just(4096)]),
            write in any::<bool>(),
        ) {
            let supports = Operations { write, compare: true, verify: true, discard: true, write_zeroes: true };
            let told = Namespace { nsid: 1, blocks: size, block_bytes, supports, volatile_cache: false };
            let namespaces = [Known { told, boundary, protected: false }];
            let limits = Limits { data: 16_384, ..Limits::new(7) };
            let transfer = Transfer { tag: 0, operation, nsid, first_block, blocks, offset };
            let is_ordinary = matches!(operation, Operation::Read | Operation::Write | Operation::DurableWrite);
            let expected = is_ordinary
                && check(&transfer, &namespaces, REGION_BYTES)
                    .is_ok_and(|known| blocks <= cut(operation, known, &limits).most(first_block));
            let whole = Whole::new(nsid, 1, &namespaces, &limits, REGION_BYTES);
            prop_assert_eq!(whole.is(&transfer), expected);
            let other = Whole { nsid: 3, ..whole };
            prop_assert!(!other.is(&transfer));
        }
    }
}
