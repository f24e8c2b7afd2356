//! What each I/O command does, and how its data moves.

use nvme_spec::nvm::{COMPARE, DATASET_MANAGEMENT, DatasetRange, FLUSH, READ, VERIFY, WRITE, WRITE_ZEROES, optional};
use nvme_spec::{Status, SubmissionEntry};
use zerocopy::FromBytes;

use crate::controller::Controller;
use crate::namespace::Namespace;

const PAGE: u64 = 4096;

impl Controller {
    /// Executes a command of an I/O queue.
    pub(crate) fn execute_io(&mut self, command: &SubmissionEntry) -> Result<(), Status> {
        let offered = self.identity.optional_commands;
        let namespace = self.namespace(command.nsid.get())?;
        let write = matches!(command.opcode, WRITE | WRITE_ZEROES | DATASET_MANAGEMENT);
        if write && namespace.protected {
            return Err(Status::WRITE_PROTECTED);
        }
        match command.opcode {
            FLUSH => Ok(()),
            READ => {
                let content = self.blocks(&namespace, command, true)?;
                self.scatter(command, &content)
            }
            WRITE => {
                let length = self.blocks(&namespace, command, true)?.len();
                let data = self.gather(command, length)?;
                self.disk.write(&namespace, command.block_range().first, data);
                Ok(())
            }
            COMPARE if offered & optional::COMPARE != 0 => {
                let content = self.blocks(&namespace, command, true)?;
                let data = self.gather(command, content.len())?;
                if data == content { Ok(()) } else { Err(Status::COMPARE_FAILURE) }
            }
            VERIFY if offered & optional::VERIFY != 0 => self.blocks(&namespace, command, false).map(|_| ()),
            WRITE_ZEROES if offered & optional::WRITE_ZEROES != 0 => {
                let range = command.block_range();
                check_range(&namespace, range.first, range.count.into())?;
                self.disk.zero(&namespace, range.first, range.count.into());
                Ok(())
            }
            DATASET_MANAGEMENT if offered & optional::DATASET_MANAGEMENT != 0 => self.deallocate(&namespace, command),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// What the blocks of a command hold; `moved` says that they are transferred, and MDTS holds.
    fn blocks(&self, namespace: &Namespace, command: &SubmissionEntry, moved: bool) -> Result<Vec<u8>, Status> {
        let range = command.block_range();
        check_range(namespace, range.first, range.count.into())?;
        let bytes = u64::from(range.count) << namespace.block_shift;
        let shift = if moved { self.identity.transfer_shift_max } else { self.identity.verify_shift_max };
        if shift != 0 && bytes > PAGE << shift {
            return Err(Status::INVALID_FIELD);
        }
        if namespace.boundary != 0 && moved {
            let (first, last) = (range.first, range.first + u64::from(range.count) - 1);
            let boundary = u64::from(namespace.boundary);
            assert!(command.opcode == COMPARE || first / boundary == last / boundary, "a boundary is crossed");
        }
        Ok(self.disk.read(namespace, range.first, range.count.into()))
    }

    fn deallocate(&mut self, namespace: &Namespace, command: &SubmissionEntry) -> Result<(), Status> {
        let count = (command.dword10.get() & 0xff) as usize + 1;
        let payload = self.gather(command, count * DatasetRange::BYTES)?;
        let ranges: Vec<_> = payload
            .chunks(DatasetRange::BYTES)
            .filter_map(|bytes| DatasetRange::read_from_bytes(bytes).ok())
            .map(|range| (range.first.get(), u64::from(range.blocks.get())))
            .collect();
        for (first, blocks) in &ranges {
            check_range(namespace, *first, *blocks)?;
            let most = u64::from(self.identity.range_blocks_max);
            if most != 0 && *blocks > most {
                return Err(Status::INVALID_FIELD);
            }
        }
        for (first, blocks) in ranges {
            self.disk.zero(namespace, first, blocks);
        }
        Ok(())
    }

    /// Writes data to where the PRP entries point.
    pub(crate) fn scatter(&mut self, command: &SubmissionEntry, data: &[u8]) -> Result<(), Status> {
        let mut done = 0;
        for (address, bytes) in self.walk(command, data.len())? {
            self.memory.device_write(address, &data[done..done + bytes]);
            done += bytes;
        }
        Ok(())
    }

    /// Reads data from there.
    fn gather(&mut self, command: &SubmissionEntry, bytes: usize) -> Result<Vec<u8>, Status> {
        let mut data = Vec::with_capacity(bytes);
        for (address, bytes) in self.walk(command, bytes)? {
            let mut piece = vec![0; bytes];
            self.memory.device_read(address, &mut piece);
            data.extend(piece);
        }
        Ok(data)
    }

    /// The pieces of memory that a command's PRP entries describe (base 2.0, 4.1.1).
    fn walk(&mut self, command: &SubmissionEntry, bytes: usize) -> Result<Vec<(u64, usize)>, Status> {
        let (first, second) = (command.prp1.get(), command.prp2.get());
        if first & 0b11 != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let mut pieces = vec![(first, bytes.min((PAGE - first % PAGE) as usize))];
        let mut left = bytes - pieces[0].1;
        if left == 0 {
            return Ok(pieces);
        }
        if left <= PAGE as usize {
            pieces.push((on_page(second)?, left));
            return Ok(pieces);
        }
        if !second.is_multiple_of(8) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let mut place = second;
        while left > 0 {
            let mut entry = self.list_entry(place);
            place += 8;
            if place.is_multiple_of(PAGE) && left > PAGE as usize {
                // The last entry of a list page points to the next list page.
                place = entry + 8;
                entry = self.list_entry(entry);
            }
            let piece = left.min(PAGE as usize);
            pieces.push((on_page(entry)?, piece));
            left -= piece;
        }
        Ok(pieces)
    }

    fn list_entry(&mut self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.memory.device_read(address, &mut bytes);
        u64::from_le_bytes(bytes)
    }
}

fn check_range(namespace: &Namespace, first: u64, blocks: u64) -> Result<(), Status> {
    match first.checked_add(blocks) {
        Some(end) if end <= namespace.blocks => Ok(()),
        _ => Err(Status::LBA_OUT_OF_RANGE),
    }
}

fn on_page(address: u64) -> Result<u64, Status> {
    if address.is_multiple_of(PAGE) { Ok(address) } else { Err(Status::PRP_OFFSET_INVALID) }
}
