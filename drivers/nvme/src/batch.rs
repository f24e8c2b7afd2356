//! Commands for one submission.

use abi::system_call::DEVICE_COMMANDS_MAX;
use heapless::Vec;
use nvme_spec::nvm::{self, DatasetRange};
use nvme_spec::{SubmissionEntry, brokered};
use protocol::nvme::Operation;
use zerocopy::IntoBytes;

use crate::part::Part;

/// Units of a discard: the command, and its one range.
const UNITS_OF_DISCARD: usize = 1 + brokered::range_units(1);

/// Commands that are submitted together.
#[derive(Debug)]
pub struct Batch {
    /// Commands, each followed by its payload if it has one.
    units: Vec<SubmissionEntry, DEVICE_COMMANDS_MAX>,
    /// How many of these are payload.
    payload: usize,
}

impl Batch {
    /// None.
    pub const fn new() -> Self {
        Self { units: Vec::new(), payload: 0 }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.units.clear();
        self.payload = 0;
    }

    /// Commands, each followed by its payload if it has one.
    pub fn units(&self) -> &[SubmissionEntry] {
        &self.units
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.units.len() - self.payload
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Whether one more command for this part fits.
    pub fn fits(&self, part: &Part) -> bool {
        let units = if part.operation == Operation::Discard { UNITS_OF_DISCARD } else { 1 };
        self.units.len() + units <= DEVICE_COMMANDS_MAX
    }

    /// Adds a part's command: PRP entry 1 is the byte offset in the region, PRP entry 2 the region's number.
    #[inline]
    pub fn push(&mut self, identifier: u16, part: &Part, region: u16) {
        let data = (part.offset, u64::from(region));
        let (opcode, flags, data) = match part.operation {
            Operation::Read => (nvm::READ, 0, data),
            Operation::Write => (nvm::WRITE, 0, data),
            Operation::DurableWrite => (nvm::WRITE, nvm::FORCE_UNIT_ACCESS, data),
            Operation::Compare => (nvm::COMPARE, 0, data),
            Operation::WriteZeroes => (nvm::WRITE_ZEROES, 0, (0, 0)),
            Operation::Verify => (nvm::VERIFY, 0, (0, 0)),
            Operation::Discard => return self.push_discard(identifier, part),
            Operation::Flush => return self.push_unit(SubmissionEntry::flush(identifier, part.nsid)),
        };
        let dword12 = part.blocks.wrapping_sub(1) & nvm::BLOCKS_MASK | flags;
        self.push_unit(SubmissionEntry::transfer(opcode, identifier, part.nsid, part.first_block, dword12, data));
    }

    #[cold]
    fn push_discard(&mut self, identifier: u16, part: &Part) {
        let mut payload = [0; SubmissionEntry::BYTES];
        let range = DatasetRange::new(part.first_block, part.blocks);
        payload[..DatasetRange::BYTES].copy_from_slice(range.as_bytes());
        self.push_unit(SubmissionEntry::deallocate(identifier, part.nsid, 1));
        self.push_unit(SubmissionEntry::from_bytes(payload));
        self.payload += UNITS_OF_DISCARD - 1;
    }

    #[inline(always)]
    fn push_unit(&mut self, unit: SubmissionEntry) {
        // The caller adds no more than there is room for.
        let _ = self.units.push(unit);
    }

    /// Takes the last command out, and its payload; its identifier.
    #[cold]
    pub fn pop(&mut self) -> Option<u16> {
        let (command, units) = self.commands().last()?;
        let identifier = command.identifier.get();
        self.payload -= units - 1;
        self.units.truncate(self.units.len() - units);
        Some(identifier)
    }

    /// How many commands were taken, if so many units were.
    #[inline]
    pub fn taken(&self, accepted: usize) -> usize {
        if accepted >= self.units.len() { self.len() } else { self.taken_of(accepted) }
    }

    #[cold]
    fn taken_of(&self, accepted: usize) -> usize {
        let ends = self.commands().scan(0, |end, (_, units)| {
            *end += units;
            Some(*end)
        });
        ends.take_while(|end| *end <= accepted).count()
    }

    /// The commands, and how many units each takes.
    fn commands(&self) -> impl Iterator<Item = (&SubmissionEntry, usize)> {
        let mut rest = self.units.as_slice();
        core::iter::from_fn(move || {
            let command = rest.first()?;
            let units = if command.opcode == nvm::DATASET_MANAGEMENT { UNITS_OF_DISCARD } else { 1 };
            rest = rest.get(units..)?;
            Some((command, units))
        })
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(operation: Operation) -> Part {
        Part { transfer: 0, operation, nsid: 1, first_block: 0, blocks: 8, offset: 0, again: false }
    }

    #[test]
    fn a_command_and_its_payload_are_taken_and_taken_back_together() {
        let mut batch = Batch::new();
        for (identifier, operation) in [(1, Operation::Read), (2, Operation::Discard), (3, Operation::Flush)] {
            assert!(batch.fits(&part(operation)));
            batch.push(identifier, &part(operation), 0);
        }
        assert_eq!((batch.len(), batch.units().len()), (3, 2 + UNITS_OF_DISCARD));
        assert_eq!([0, 1, 2, 3, 4, 5].map(|accepted| batch.taken(accepted)), [0, 1, 1, 2, 3, 3]);
        assert_eq!([batch.pop(), batch.pop()], [Some(3), Some(2)]);
        assert_eq!((batch.len(), batch.units().len()), (1, 1));
        assert_eq!([batch.pop(), batch.pop()], [Some(1), None]);
        assert!(batch.is_empty());
    }
}
