//! Commands for one submission, and the slots that they stand for.

use abi::system_call::DEVICE_COMMANDS_MAX;
use heapless::Vec;
use nvme_spec::nvm::{self, DatasetRange};
use nvme_spec::{SubmissionEntry, brokered};
use protocol::nvme::Operation;
use zerocopy::IntoBytes;

use crate::transfers::Part;

/// Units of a discard: the command, and its one range.
const UNITS_OF_DISCARD: usize = 1 + brokered::range_units(1);

/// Commands that are submitted together.
#[derive(Debug)]
pub struct Batch {
    /// Commands, each followed by its payload if it has one.
    pub commands: Vec<SubmissionEntry, DEVICE_COMMANDS_MAX>,
    /// The identifiers of the commands.
    pub identifiers: Vec<u16, DEVICE_COMMANDS_MAX>,
}

impl Batch {
    /// None.
    pub const fn new() -> Self {
        Self { commands: Vec::new(), identifiers: Vec::new() }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.commands.clear();
        self.identifiers.clear();
    }

    /// Whether one more command for this part fits.
    pub fn fits(&self, part: &Part) -> bool {
        self.commands.len() + units(part) <= DEVICE_COMMANDS_MAX
    }

    /// Adds a part's command: PRP entry 1 is the byte offset in the region, PRP entry 2 the region's number.
    pub fn push(&mut self, identifier: u16, part: &Part, region: u16) {
        let data = (part.offset, u64::from(region));
        let on_blocks = |opcode, flags, data| {
            let dword12 = part.blocks.wrapping_sub(1) & nvm::BLOCKS_MASK | flags;
            SubmissionEntry::transfer(opcode, identifier, part.nsid, part.first_block, dword12, data)
        };
        let command = match part.operation {
            Operation::Read => on_blocks(nvm::READ, 0, data),
            Operation::Write => on_blocks(nvm::WRITE, 0, data),
            Operation::DurableWrite => on_blocks(nvm::WRITE, nvm::FORCE_UNIT_ACCESS, data),
            Operation::Compare => on_blocks(nvm::COMPARE, 0, data),
            Operation::WriteZeroes => on_blocks(nvm::WRITE_ZEROES, 0, (0, 0)),
            Operation::Verify => on_blocks(nvm::VERIFY, 0, (0, 0)),
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
        let _ = self.identifiers.push(identifier);
    }

    /// How many commands were taken, if so many units were.
    pub fn taken(&self, accepted: usize) -> usize {
        if accepted >= self.commands.len() {
            return self.identifiers.len();
        }
        let (mut taken, mut end) = (0, 0);
        while let Some(command) = self.commands.get(end) {
            end += if command.opcode == nvm::DATASET_MANAGEMENT { UNITS_OF_DISCARD } else { 1 };
            if end > accepted {
                break;
            }
            taken += 1;
        }
        taken
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Units that a part's command takes in a submission.
fn units(part: &Part) -> usize {
    if part.operation == Operation::Discard { UNITS_OF_DISCARD } else { 1 }
}
