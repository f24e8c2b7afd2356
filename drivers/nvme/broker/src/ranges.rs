//! Dataset Management: a command whose payload names blocks.
//!
//! The ranges follow their command in the submission, four to a unit of 64 bytes, and are authored anew in hidden
//! memory: where the controller reads them, no task writes.

use abi::package::Command;
use abi::system_call::DEVICE_COMMAND_BYTES;
use broker::{Device, Ledger};
use nvme_spec::brokered::{RANGES_IN_UNIT, RANGES_MAX, range_units};
use nvme_spec::nvm::{ATTRIBUTE_DEALLOCATE, BlockRange, DATASET_MANAGEMENT, DatasetRange};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};
use zerocopy::{FromBytes, IntoBytes};

use crate::facts::Facts;
use crate::io::{check_common, check_no_data, operands_from_12};
use crate::prp::List;
use crate::{Authored, Reason, grant, layout};

/// What a range counts for in the bound on a submission: it is checked against every limit.
const WEIGHT: u32 = 64;

/// The units that follow a command and belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a>(&'a [[u8; DEVICE_COMMAND_BYTES]]);

impl<'a> Payload<'a> {
    /// The payload of a command on an I/O queue; `following` are the units that were submitted after it.
    pub fn of(command: &SubmissionEntry, following: &'a [[u8; DEVICE_COMMAND_BYTES]]) -> Result<Self, Reason> {
        if command.opcode != DATASET_MANAGEMENT {
            return Ok(Self(&[]));
        }
        following.get(..range_units(ranges(command))).map(Self).ok_or(Reason::PayloadMissing)
    }

    /// Units of 64 bytes.
    pub const fn units(self) -> usize {
        self.0.len()
    }

    /// The command that the controller may see for this one. Its ranges are written to `list`.
    pub fn author(
        self,
        device: &mut impl Device,
        ledger: &Ledger,
        facts: &Facts,
        command: &SubmissionEntry,
        list: &List,
    ) -> Result<Authored, Reason> {
        let reserved = command.dword10.get() & !0xff | command.dword11.get() & !ATTRIBUTE_DEALLOCATE;
        check_common(command, reserved | operands_from_12(command))?;
        check_no_data(command)?;
        if command.dword11.get() != ATTRIBUTE_DEALLOCATE {
            // Hints of integral datasets: nobody asks for them.
            return Err(Reason::AttributesWithoutRule);
        }
        let nsid = command.nsid.get();
        if nsid == BROADCAST_NSID {
            return Err(Reason::BroadcastNotHarmless);
        }
        let count = ranges(command);
        if count > RANGES_MAX {
            return Err(Reason::TooManyRanges);
        }
        grant::namespace(ledger, nsid)?;
        let namespace = facts.namespace(nsid)?;
        let mut authored = [DatasetRange::default(); RANGES_MAX];
        for (index, place) in authored.iter_mut().enumerate().take(count) {
            let range = self.range(index)?;
            if range.attributes.get() != 0 {
                return Err(Reason::FieldNotZero);
            }
            let range = BlockRange { first: range.first.get(), count: range.blocks.get() };
            if range.count == 0 {
                return Err(Reason::NoBlocks);
            }
            grant::blocks(ledger, nsid, range, Command::DatasetManagement)?;
            match range.first.checked_add(u64::from(range.count)) {
                Some(end) if end <= namespace.blocks => {}
                _ => return Err(Reason::BlocksBeyondEnd),
            }
            *place = DatasetRange::new(range.first, range.count);
        }
        device.write_hidden(list.offset, authored[..count].as_bytes());
        let entry = SubmissionEntry::deallocate(command.identifier.get(), nsid, count).with_data(list.address, 0);
        Ok(Authored { entry, written: count as u32 * WEIGHT })
    }

    fn range(self, index: usize) -> Result<DatasetRange, Reason> {
        let unit = self.0.get(index / RANGES_IN_UNIT).ok_or(Reason::PayloadMissing)?;
        let at = index % RANGES_IN_UNIT * DatasetRange::BYTES;
        DatasetRange::read_from_bytes(&unit[at..at + DatasetRange::BYTES]).map_err(|_| Reason::PayloadMissing)
    }
}

/// Ranges that a command has, by its own account: 1 to 256.
const fn ranges(command: &SubmissionEntry) -> usize {
    (command.dword10.get() & 0xff) as usize + 1
}

// They lie in one page, where the first PRP entry alone reaches them.
const _: () = assert!(RANGES_MAX * DatasetRange::BYTES <= layout::LIST_BYTES as usize);
