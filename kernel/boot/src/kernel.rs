//! The kernel's ELF file: which of its segments go where, with which rights, and that they may.

use abi::handoff::{KERNEL_IMAGE, KERNEL_IMAGE_END};
use abi::layout::PAGE_BYTES;
use abi::package::Access;
use heapless::Vec;
use xmas_elf::ElfFile;
use xmas_elf::header::{Class, Data, Machine, Type as FileType};
use xmas_elf::program::{ProgramHeader, ProgramHeader64, Type};

/// Most loadable segments of a kernel.
pub const SEGMENTS_MAX: usize = 8;
/// Bytes of one program header of a 64-bit file.
const PROGRAM_HEADER_BYTES: usize = size_of::<ProgramHeader64>();

/// Why a kernel was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// It is not an ELF file.
    #[error("{0}")]
    NotElf(&'static str),
    /// It is an ELF file for something else.
    #[error("not a 64-bit little-endian x86-64 executable with a fixed address")]
    Kind,
    /// Its program headers do not lie in the file.
    #[error("its program headers are cut short")]
    Headers,
    /// There are more segments than [`SEGMENTS_MAX`].
    #[error("more than {SEGMENTS_MAX} segments")]
    TooMany,
    /// A segment's contents do not lie in the file, or are more than its memory.
    #[error("segment at {0:#x}: its contents are cut short")]
    Contents(u64),
    /// A segment lies outside the room for the kernel's image, or not after the pages of the one before.
    #[error("segment at {0:#x} does not lie where a kernel's segment may")]
    Place(u64),
    /// A segment is writable and executable.
    #[error("segment at {0:#x} is writable and executable")]
    WritableCode(u64),
    /// The entry point is in no executable segment.
    #[error("entry point {0:#x} is not in code")]
    Entry(u64),
}

/// One part of the kernel in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// First address; not always on a page.
    pub address: u64,
    /// Bytes in memory; those beyond `data` are zero.
    pub bytes: u64,
    /// How it is mapped.
    pub access: Access,
    /// Contents.
    pub data: &'a [u8],
}

impl Segment<'_> {
    /// First address of its first page.
    pub fn first_page(&self) -> u64 {
        self.address - self.address % PAGE_BYTES
    }

    /// Number of pages that it touches.
    pub fn pages(&self) -> usize {
        // Checked when the segment was read: all addresses are below KERNEL_IMAGE_END, 1 GiB of room.
        ((self.address + self.bytes).next_multiple_of(PAGE_BYTES) - self.first_page()) as usize / crate::PAGE
    }
}

/// A kernel that may be loaded.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    /// First instruction.
    pub entry: u64,
    /// Ascending; no two share a page.
    pub segments: Vec<Segment<'a>, SEGMENTS_MAX>,
}

impl<'a> Kernel<'a> {
    /// Reads and checks an ELF file. `file` must be aligned to 8 bytes, as a section on a page is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(file: &'a [u8]) -> Result<Self, KernelError> {
        let elf = ElfFile::new(file).map_err(KernelError::NotElf)?;
        let header = &elf.header;
        let is_ours = header.pt1.class() == Class::SixtyFour
            && header.pt1.data() == Data::LittleEndian
            && header.pt2.machine().as_machine() == Machine::X86_64
            && header.pt2.type_().as_type() == FileType::Executable;
        if !is_ours {
            return Err(KernelError::Kind);
        }
        program_headers_are_inside(&elf)?;

        let mut segments = Vec::new();
        let mut end = KERNEL_IMAGE;
        for program in elf.program_iter() {
            if program.get_type() != Ok(Type::Load) || program.mem_size() == 0 {
                continue;
            }
            let segment = segment(file, &program, end)?;
            end = segment.first_page() + segment.pages() as u64 * PAGE_BYTES;
            segments.push(segment).map_err(|_| KernelError::TooMany)?;
        }

        let entry = header.pt2.entry_point();
        let is_code = |segment: &Segment<'_>| {
            segment.access == Access::ReadExecute && (segment.address..segment.address + segment.bytes).contains(&entry)
        };
        if segments.iter().any(is_code) { Ok(Self { entry, segments }) } else { Err(KernelError::Entry(entry)) }
    }

    /// Number of pages that the segments need.
    pub fn pages(&self) -> usize {
        self.segments.iter().map(Segment::pages).sum()
    }
}

/// Checked here because the reader takes it for granted: the table in the file, of the right size, on 8 bytes.
fn program_headers_are_inside(elf: &ElfFile<'_>) -> Result<(), KernelError> {
    let (offset, header) = (elf.header.pt2.ph_offset(), &elf.header.pt2);
    let end = offset.checked_add(u64::from(header.ph_count()) * PROGRAM_HEADER_BYTES as u64);
    let is_inside = end.is_some_and(|end| end <= elf.input.len() as u64);
    if is_inside && header.ph_entry_size() as usize == PROGRAM_HEADER_BYTES && offset.is_multiple_of(8) {
        Ok(())
    } else {
        Err(KernelError::Headers)
    }
}

/// Checks one segment, which must lie at or after `lowest`.
fn segment<'a>(file: &'a [u8], program: &ProgramHeader<'a>, lowest: u64) -> Result<Segment<'a>, KernelError> {
    let (address, bytes) = (program.virtual_addr(), program.mem_size());
    let last = address.checked_add(bytes).ok_or(KernelError::Place(address))?;
    if address - address % PAGE_BYTES < lowest || last > KERNEL_IMAGE_END {
        return Err(KernelError::Place(address));
    }
    let flags = program.flags();
    let access = match (flags.is_write(), flags.is_execute()) {
        (true, true) => return Err(KernelError::WritableCode(address)),
        (true, false) => Access::ReadWrite,
        (false, true) => Access::ReadExecute,
        (false, false) => Access::Read,
    };
    let data = usize::try_from(program.offset())
        .ok()
        .and_then(|offset| file.get(offset..))
        .and_then(|rest| rest.get(..program.file_size() as usize))
        .filter(|data| data.len() as u64 <= bytes)
        .ok_or(KernelError::Contents(address))?;
    Ok(Segment { address, bytes, access, data })
}

#[cfg(test)]
mod tests;
