//! Commands for one submission, and the slots and parts that they stand for.

use abi::system_call::DEVICE_COMMANDS_MAX;
use heapless::Vec;
use nvme_spec::nvm::{self, BlockRange, DatasetRange};
use nvme_spec::{SubmissionEntry, brokered};
use protocol::nvme::Operation;
use zerocopy::IntoBytes;

use crate::transfers::Part;

/// Commands that are submitted together.
#[derive(Debug)]
pub struct Batch {
    /// Commands, each followed by its payload if it has one.
    pub commands: Vec<SubmissionEntry, DEVICE_COMMANDS_MAX>,
    /// What they are, with their identifiers.
    pub parts: Vec<(u16, Part), DEVICE_COMMANDS_MAX>,
}

impl Batch {
    /// None.
    pub const fn new() -> Self {
        Self { commands: Vec::new(), parts: Vec::new() }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.commands.clear();
        self.parts.clear();
    }

    /// Whether one more command for this part fits.
    pub fn fits(&self, part: &Part) -> bool {
        self.commands.len() + units(part) <= DEVICE_COMMANDS_MAX
    }

    /// Adds a part's command: PRP entry 1 is the byte offset in the region, PRP entry 2 the region's number.
    pub fn push(&mut self, identifier: u16, part: &Part, region: u16) {
        let range = BlockRange { first: part.first_block, count: part.blocks };
        let on_blocks = |opcode| SubmissionEntry::on_blocks(opcode, identifier, part.nsid, range);
        let with_data = |opcode| on_blocks(opcode).with_data(part.offset, u64::from(region));
        let command = match part.operation {
            Operation::Read => with_data(nvm::READ),
            Operation::Write { durable: false } => with_data(nvm::WRITE),
            Operation::Write { durable: true } => with_data(nvm::WRITE).with_dword12(nvm::FORCE_UNIT_ACCESS),
            Operation::Compare => with_data(nvm::COMPARE),
            Operation::WriteZeroes => on_blocks(nvm::WRITE_ZEROES),
            Operation::Verify => on_blocks(nvm::VERIFY),
            Operation::Discard => SubmissionEntry::deallocate(identifier, part.nsid, 1),
            Operation::Flush => SubmissionEntry::flush(identifier, part.nsid),
        };
        // The caller adds no more than there is room for.
        let _ = self.commands.push(command);
        if part.operation == Operation::Discard {
            let mut payload = [0; SubmissionEntry::BYTES];
            let range = DatasetRange::new(part.first_block, part.blocks);
            payload[..DatasetRange::BYTES].copy_from_slice(range.as_bytes());
            let _ = self.commands.push(SubmissionEntry::from_bytes(payload));
        }
        let _ = self.parts.push((identifier, *part));
    }

    /// How many parts were taken, if so many units were.
    pub fn taken(&self, accepted: usize) -> usize {
        let mut end = 0;
        let fits = |(_, part): &&(u16, Part)| {
            end += units(part);
            end <= accepted
        };
        self.parts.iter().take_while(fits).count()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Units that a part's command takes in a submission.
fn units(part: &Part) -> usize {
    if part.operation == Operation::Discard { 1 + brokered::range_units(1) } else { 1 }
}
