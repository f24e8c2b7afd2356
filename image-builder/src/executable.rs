//! Reads ELF files of kernel and tasks, and refuses those that could not be mapped as they are: every segment whole
//! pages, in its room, apart from the others, and never both writable and executable.
//!
//! Every offset in the file is checked before it is followed: a damaged file is refused, it does not panic.

mod strip;

use std::fmt;

use abi::needs::{self, Need};
use abi::package::{Access, SEGMENTS_MAX};
use abi::{handoff, layout};
use xmas_elf::ElfFile;
use xmas_elf::header::{Class, Machine, Type as FileType};
use xmas_elf::program::{ProgramHeader, Type as SegmentType};
use zerocopy::IntoBytes;

pub use strip::strip;

/// Bytes of a program header (ELF-64 object file format, figure 6).
const PROGRAM_HEADER_BYTES: u16 = 56;
/// Bytes of a section header (ELF-64 object file format, figure 3).
const SECTION_HEADER_BYTES: u16 = 64;

/// Where the segments of an executable may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A task's: from [`layout::PROGRAM_START`] to [`layout::PROGRAM_END`].
    Task,
    /// The kernel's: from [`handoff::KERNEL_IMAGE`] to [`handoff::KERNEL_IMAGE_END`].
    Kernel,
}

impl Room {
    fn range(self) -> std::ops::Range<u64> {
        match self {
            Self::Task => layout::PROGRAM_START..layout::PROGRAM_END,
            Self::Kernel => handoff::KERNEL_IMAGE..handoff::KERNEL_IMAGE_END,
        }
    }
}

/// A checked executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Address of the first instruction, in an executable segment.
    pub entry: u64,
    /// What is loaded, by ascending address.
    pub segments: Vec<Segment>,
    /// What its needs section asks for.
    pub needs: Vec<OwnedNeed>,
    /// How many bytes of its stack it was seen to use, if it says so.
    pub stack_seen: Option<u32>,
}

/// What is loaded at one place.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// First address, on a page.
    pub address: u64,
    /// Bytes in memory; those beyond `data` are zero.
    pub bytes: u64,
    /// How it is mapped.
    pub access: Access,
    /// Contents.
    pub data: Vec<u8>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x} {:?}", self.address, self.bytes, self.access)
    }
}

/// A [`Need`] that owns its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedNeed {
    /// The kind of grant.
    pub kind: needs::Kind,
    /// Whether the task also runs without it.
    pub optional: bool,
    /// Its name.
    pub name: String,
}

impl From<Need<'_>> for OwnedNeed {
    fn from(need: Need<'_>) -> Self {
        Self { kind: need.kind, optional: need.optional, name: need.name.to_owned() }
    }
}

/// Why a file is not an executable of this system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecutableError {
    /// The ELF structure itself is wrong.
    #[error("not a whole ELF file: {0}")]
    Malformed(&'static str),
    /// For another machine.
    #[error("not for x86-64")]
    Machine,
    /// Position-independent or an object file.
    #[error(
        "not linked at a fixed address (its ELF type is not ET_EXEC): RUSTFLAGS in the environment replaces the flags \
         of .cargo/config.toml"
    )]
    NotFixed,
    /// Thread-local data, for which nothing is set up here.
    #[error("it has thread-local data")]
    ThreadLocal,
    /// No segment is loaded.
    #[error("nothing in it is loaded")]
    Empty,
    /// More segments than a package holds.
    #[error("{0} loadable segments, at most {SEGMENTS_MAX} fit")]
    TooManySegments(usize),
    /// A segment that does not start on a page.
    #[error("the segment at {0:#x} does not start on a page")]
    Misaligned(u64),
    /// A segment that is writable and executable.
    #[error("the segment at {0:#x} is writable and executable")]
    WritableCode(u64),
    /// A segment outside the room for it.
    #[error("the segment at {address:#x} is outside {:#x} to {:#x}", .room.range().start, .room.range().end)]
    OutsideRoom {
        /// Where the segment starts.
        address: u64,
        /// Where it may lie.
        room: Room,
    },
    /// Two segments in one page.
    #[error("the segments at {0:#x} and {1:#x} share a page")]
    Overlap(u64, u64),
    /// The first instruction is in no executable segment.
    #[error("its entry {0:#x} is not in code")]
    Entry(u64),
    /// The needs section holds something else, or two needs of one name.
    #[error("its section {} is malformed at record {record}", needs::SECTION)]
    Needs {
        /// Which record, from 0.
        record: usize,
    },
    /// The section that tells of its stack holds something else than a number.
    #[error("its section {} is not a number in 4 bytes", needs::STACK_SECTION)]
    Stack,
}

/// The features of a kernel that are for tests only, as its constants say ([`abi::features::MARK`]); a product's
/// has none. `kernel` is its ELF file, whole or stripped.
pub fn test_features(kernel: &[u8]) -> Vec<String> {
    let mark = abi::features::MARK.as_bytes();
    let marks = kernel.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark);
    let names = marks.filter_map(|(at, _)| kernel[at + mark.len()..].split(|byte| *byte == 0).next());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Reads and checks an executable.
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read(bytes: &[u8], room: Room) -> Result<Executable, ExecutableError> {
    let storage = aligned(bytes);
    let file = open(&storage.as_bytes()[..bytes.len()])?;
    let mut segments = Vec::new();
    for header in file.program_iter() {
        match header.get_type().map_err(ExecutableError::Malformed)? {
            SegmentType::Load if header.mem_size() > 0 => segments.push(segment(&file, &header, room)?),
            SegmentType::Tls => return Err(ExecutableError::ThreadLocal),
            _ => {}
        }
    }
    segments.sort_by_key(|segment| segment.address);
    if segments.is_empty() {
        return Err(ExecutableError::Empty);
    }
    if segments.len() > SEGMENTS_MAX {
        return Err(ExecutableError::TooManySegments(segments.len()));
    }
    for pair in segments.windows(2) {
        let end = (pair[0].address + pair[0].bytes).next_multiple_of(layout::PAGE_BYTES);
        if end > pair[1].address {
            return Err(ExecutableError::Overlap(pair[0].address, pair[1].address));
        }
    }
    let entry = file.header.pt2.entry_point();
    let code = |segment: &Segment| {
        segment.access == Access::ReadExecute && (segment.address..segment.address + segment.bytes).contains(&entry)
    };
    if !segments.iter().any(code) {
        return Err(ExecutableError::Entry(entry));
    }
    Ok(Executable { entry, segments, needs: needs_of(&file)?, stack_seen: stack_of(&file)? })
}

/// The same bytes where every ELF structure is aligned, which `xmas-elf` insists on.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

/// Opens an ELF file whose header tables lie inside it, so that `xmas-elf` can be let loose on them.
fn open(bytes: &[u8]) -> Result<ElfFile<'_>, ExecutableError> {
    let file = ElfFile::new(bytes).map_err(ExecutableError::Malformed)?;
    if file.header.pt1.class() != Class::SixtyFour || file.header.pt2.machine().as_machine() != Machine::X86_64 {
        return Err(ExecutableError::Machine);
    }
    if file.header.pt2.type_().as_type() != FileType::Executable {
        return Err(ExecutableError::NotFixed);
    }
    let header = file.header.pt2;
    let tables = [
        (header.ph_offset(), header.ph_count(), header.ph_entry_size(), PROGRAM_HEADER_BYTES),
        (header.sh_offset(), header.sh_count(), header.sh_entry_size(), SECTION_HEADER_BYTES),
    ];
    for (offset, count, entry_bytes, expected) in tables {
        let bytes_of_table = u64::from(count) * u64::from(expected);
        let end = offset.checked_add(bytes_of_table).filter(|end| *end <= bytes.len() as u64);
        if count > 0 && (entry_bytes != expected || end.is_none() || !offset.is_multiple_of(8)) {
            return Err(ExecutableError::Malformed("header tables"));
        }
    }
    Ok(file)
}

fn segment(file: &ElfFile<'_>, header: &ProgramHeader<'_>, room: Room) -> Result<Segment, ExecutableError> {
    let (address, bytes) = (header.virtual_addr(), header.mem_size());
    if !address.is_multiple_of(layout::PAGE_BYTES) {
        return Err(ExecutableError::Misaligned(address));
    }
    let end = address.checked_add(bytes);
    if address < room.range().start || end.is_none_or(|end| end > room.range().end) {
        return Err(ExecutableError::OutsideRoom { address, room });
    }
    let access = match (header.flags().is_write(), header.flags().is_execute()) {
        (true, true) => return Err(ExecutableError::WritableCode(address)),
        (true, false) => Access::ReadWrite,
        (false, true) => Access::ReadExecute,
        (false, false) => Access::Read,
    };
    let data = slice(file.input, header.offset(), header.file_size())
        .filter(|data| data.len() as u64 <= bytes)
        .ok_or(ExecutableError::Malformed("segment's contents"))?;
    // Zeroes at the end need not be in any file: what lies beyond the data is zero.
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(Segment { address, bytes, access, data: data[..end].to_vec() })
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

fn needs_of(file: &ElfFile<'_>) -> Result<Vec<OwnedNeed>, ExecutableError> {
    let mut needs: Vec<OwnedNeed> = Vec::new();
    let Some(section) = section(file, needs::SECTION) else { return Ok(needs) };
    for (position, need) in needs::decode_all(section).enumerate() {
        let need = OwnedNeed::from(need.ok_or(ExecutableError::Needs { record: position })?);
        match needs.iter().find(|earlier| earlier.name == need.name) {
            Some(earlier) if *earlier == need => {}
            Some(_) => return Err(ExecutableError::Needs { record: position }),
            None => needs.push(need),
        }
    }
    Ok(needs)
}

fn stack_of(file: &ElfFile<'_>) -> Result<Option<u32>, ExecutableError> {
    let bytes = |section: &[u8]| section.try_into().map(u32::from_le_bytes).map_err(|_| ExecutableError::Stack);
    section(file, needs::STACK_SECTION).map(bytes).transpose()
}

fn section<'a>(file: &ElfFile<'a>, name: &str) -> Option<&'a [u8]> {
    let count = file.header.pt2.sh_count();
    let names = file.header.pt2.sh_str_index();
    if names >= count {
        return None;
    }
    let names = file.section_header(names).ok()?;
    let names = slice(file.input, names.offset(), names.size())?;
    let header = file.section_iter().find(|header| {
        let rest = names.get(header.name() as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next() == Some(name.as_bytes())
    })?;
    slice(file.input, header.offset(), header.size())
}

#[cfg(test)]
mod tests;
