//! What the programs of an image are called inside: the debug information of kernel and tasks, for
//! [`explain`](crate::explain).
//!
//! It is a file beside the EFI file, `\CHARTER.SYM`, which nothing loads at boot and nothing trusts: the boot package
//! holds its SHA-256, so what explains a crash can tell whether it is of that image. In it, after a header of magic and
//! version, is a zlib stream (RFC 1950) of one postcard message, [`Symbols`]: of each program the sections of its ELF
//! file that tell functions, lines and stack frames (DWARF 4 and 5), as the compiler wrote them.
//!
//! The same programs give the same bytes: the compiler is told to leave out where they were built (toolchain.sh).

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Its name in the root of the EFI system partition.
pub const FILE_NAME: &str = "CHARTER.SYM";
/// First bytes of the file.
const MAGIC: [u8; 8] = *b"CHARSYMS";
/// Version of its form.
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
/// More than any system's programs have, so that a damaged file takes no more memory.
const BYTES_MAX: usize = 1 << 30;
/// Quick: what is saved by more than this costs more time than a build has.
const COMPRESSION_LEVEL: u8 = 1;

/// The sections that are kept.
const SECTIONS: [&str; 11] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_frame",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// Each program once; the kernel first.
    pub programs: Vec<Program>,
    /// Each task of the charter, in its order: its name, and which of the programs it runs.
    pub tasks: Vec<(String, u32)>,
}

/// What is known of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Debug sections of its ELF file, those that it has: name and contents.
    pub sections: Vec<(String, Vec<u8>)>,
    /// Functions by ascending address: address, bytes, and name as the linker knows it.
    pub functions: Vec<(u64, u64, String)>,
}

/// Why a file of symbols cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolsError {
    /// It does not begin as one.
    #[error("not a file of symbols")]
    Magic,
    /// Of another version of this tool.
    #[error("symbols of version {0}, expected {VERSION}")]
    Version(u32),
    /// Its contents are damaged.
    #[error("damaged symbols")]
    Damaged,
    /// It could not be encoded.
    #[error("the image builder is at fault: symbols could not be encoded")]
    Encoding(#[from] postcard::Error),
}

impl Program {
    /// What an ELF file tells. A file without debug information, or none at all, tells nothing: it is no less an image.
    pub fn read(name: &str, elf: &[u8]) -> Self {
        let mut program = Self { name: name.to_owned(), ..Self::default() };
        let Ok(file) = ElfFile64::<object::Endianness>::parse(elf) else { return program };
        for name in SECTIONS {
            let section = file.section_by_name(name).and_then(|section| section.data().ok());
            program
                .sections
                .extend(section.filter(|data| !data.is_empty()).map(|data| (name.to_owned(), data.to_vec())));
        }
        let functions = file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text);
        let functions = functions.filter_map(|own| Some((own.address(), own.size(), own.name().ok()?.to_owned())));
        program.functions = functions.filter(|(_, _, name)| !name.is_empty()).collect();
        program.functions.sort();
        program
    }

    /// A section's contents, empty if the program has none of this name.
    pub fn section(&self, name: &str) -> &[u8] {
        self.sections.iter().find(|(own, _)| own == name).map_or(&[], |(_, data)| data)
    }
}

impl Symbols {
    /// The file.
    ///
    /// # Errors
    /// None, unless this builder is at fault.
    pub fn encode(&self) -> Result<Vec<u8>, SymbolsError> {
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.append(&mut compress_to_vec_zlib(&postcard::to_stdvec(self)?, COMPRESSION_LEVEL));
        Ok(file)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn decode(file: &[u8]) -> Result<Self, SymbolsError> {
        let (header, stream) = file.split_at_checked(HEADER_BYTES).ok_or(SymbolsError::Magic)?;
        let (magic, version) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(SymbolsError::Magic);
        }
        let version = version.try_into().map(u32::from_le_bytes).map_err(|_| SymbolsError::Magic)?;
        if version != VERSION {
            return Err(SymbolsError::Version(version));
        }
        let bytes = decompress_to_vec_zlib_with_limit(stream, BYTES_MAX).map_err(|_| SymbolsError::Damaged)?;
        postcard::from_bytes(&bytes).map_err(|_| SymbolsError::Damaged)
    }

    /// The program that a task runs.
    pub fn of_task(&self, task: &str) -> Option<&Program> {
        let (_, index) = self.tasks.iter().find(|(name, _)| name == task)?;
        self.programs.get(usize::try_from(*index).ok()?)
    }
}

/// The SHA-256 of a file, as the boot package holds it.
pub fn digest(file: &[u8]) -> [u8; 32] {
    Sha256::digest(file).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Symbols {
        let program = Program {
            name: "reader".into(),
            sections: vec![(".debug_line".into(), vec![7; 1000])],
            functions: vec![(0x40_0000, 16, "_start".into())],
        };
        Symbols { programs: vec![Program::default(), program], tasks: vec![("first".into(), 1), ("lost".into(), 9)] }
    }

    #[test]
    fn what_is_written_is_read_and_smaller() {
        let file = example().encode().unwrap();
        assert!(file.len() < 500);
        assert_eq!(Symbols::decode(&file), Ok(example()));
        assert_eq!(file, example().encode().unwrap());
        let symbols = example();
        assert_eq!(symbols.of_task("first").map(|program| program.section(".debug_line").len()), Some(1000));
        assert_eq!((symbols.of_task("lost"), symbols.of_task("none")), (None, None));
        assert!(symbols.programs[1].section(".debug_info").is_empty());
    }

    #[test]
    fn damage_is_told_apart() {
        let good = example().encode().unwrap();
        assert_eq!(Symbols::decode(b"CHARSYM"), Err(SymbolsError::Magic));
        assert_eq!(Symbols::decode(&[b"X", &good[1..]].concat()), Err(SymbolsError::Magic));
        let mut other = good.clone();
        other[8] = 9;
        assert_eq!(Symbols::decode(&other), Err(SymbolsError::Version(9)));
        assert_eq!(Symbols::decode(&good[..good.len() - 1]), Err(SymbolsError::Damaged));
        assert_eq!(Symbols::decode(&good[..HEADER_BYTES]), Err(SymbolsError::Damaged));
    }

    #[test]
    fn a_file_that_is_no_program_tells_nothing() {
        assert_eq!(Program::read("x", b"\x7fELF nonsense"), Program { name: "x".into(), ..Program::default() });
    }
}
