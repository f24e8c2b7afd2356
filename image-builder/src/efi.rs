//! The unified EFI file: the UEFI application with kernel and boot package as further PE sections.
//!
//! One file to sign, one to measure, nothing else on the disk to trust. The application finds the sections through its
//! own section table. Layout as in the PE format specification of Microsoft, "COFF File Header" to "Section Table".

use std::ops::Range;

/// PE32+ of x86-64.
const MACHINE_X86_64: u16 = 0x8664;
/// Optional header of PE32+.
const OPTIONAL_MAGIC: u16 = 0x20b;
/// An EFI application.
const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
/// Bytes of a section header.
const SECTION_HEADER_BYTES: usize = 40;
/// Initialized data, readable.
const CHARACTERISTICS: u32 = 0x4000_0040;
/// The section that holds the text of the charter. The UEFI application does not look at it and the kernel does not map
/// it: it is there to be read from the file.
pub const CHARTER_SECTION: &str = ".charter";
/// Which data directory holds the signatures, and where the directories begin in the optional header.
const CERTIFICATE_DIRECTORY: u32 = 4;
const DIRECTORIES: usize = 112;

/// Why a file cannot carry further sections.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EfiError {
    /// Not a PE file, or one cut short.
    #[error("not a PE file: {0}")]
    NotPe(&'static str),
    /// A PE file of another kind.
    #[error("not a UEFI application for x86-64")]
    NotApplication,
    /// It is signed: the signature would no longer hold.
    #[error("it is signed already; sign the unified file instead")]
    Signed,
    /// It has a section of this name: it is a unified file itself.
    #[error("it has a section {0} already")]
    Repeated(String),
    /// There is no room for another section header.
    #[error("no room for another section header")]
    NoRoom,
    /// The name or contents of a section do not fit into the format.
    #[error("section {0} does not fit")]
    Section(String),
}

/// Appends read-only sections, in this order. The same inputs give the same bytes.
///
/// # Errors
/// If `application` is not an unsigned UEFI application with room for them.
pub fn unify(application: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>, EfiError> {
    let mut file = application.to_vec();
    let pe = Headers::read(&file)?;
    if pe.certificates.is_some_and(|(_, place, bytes)| place != 0 || bytes != 0) {
        return Err(EfiError::Signed);
    }
    let mut headers = pe.section_headers.clone();
    let mut end_of_image = pe.end_of_image(&file)?;
    let mut initialized = pe.initialized_data;
    for (name, contents) in sections {
        let does_not_fit = || EfiError::Section((*name).to_owned());
        if name.len() > 8 || contents.is_empty() {
            return Err(does_not_fit());
        }
        if pe.has_section(&file, name) {
            return Err(EfiError::Repeated((*name).to_owned()));
        }
        if headers.end + SECTION_HEADER_BYTES > pe.headers_end {
            return Err(EfiError::NoRoom);
        }
        let raw = file.len().next_multiple_of(pe.file_alignment as usize);
        let raw_bytes = contents.len().next_multiple_of(pe.file_alignment as usize);
        if raw + raw_bytes > i32::MAX as usize {
            return Err(does_not_fit());
        }
        let address = end_of_image.next_multiple_of(pe.section_alignment);
        file.resize(raw, 0);
        file.extend_from_slice(contents);
        file.resize(raw + raw_bytes, 0);
        let mut header = [0; SECTION_HEADER_BYTES];
        header[..name.len()].copy_from_slice(name.as_bytes());
        for (at, value) in [(8, contents.len() as u32), (12, address), (16, raw_bytes as u32), (20, raw as u32)] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        header[36..].copy_from_slice(&CHARACTERISTICS.to_le_bytes());
        file[headers.end..headers.end + SECTION_HEADER_BYTES].copy_from_slice(&header);
        headers.end += SECTION_HEADER_BYTES;
        end_of_image = address.checked_add(contents.len() as u32).ok_or_else(does_not_fit)?;
        initialized = initialized.checked_add(raw_bytes as u32).ok_or_else(does_not_fit)?;
    }
    let number = (headers.len() / SECTION_HEADER_BYTES) as u16;
    file[pe.coff + 2..pe.coff + 4].copy_from_slice(&number.to_le_bytes());
    let image_bytes = end_of_image.next_multiple_of(pe.section_alignment);
    for (at, value) in [(8, initialized), (56, image_bytes), (64, 0)] {
        // SizeOfInitializedData, SizeOfImage, CheckSum: only drivers of Windows need the last one.
        file[pe.optional + at..pe.optional + at + 4].copy_from_slice(&value.to_le_bytes());
    }
    Ok(file)
}

/// The parts of a file that its signatures do not cover, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignaturePlaces {
    /// The checksum in the headers.
    pub checksum: Range<usize>,
    /// Where the headers say where the signatures are.
    pub directory: Range<usize>,
    /// The signatures; empty, at the file's end, if there are none.
    pub certificates: Range<usize>,
}

/// Where a file's signatures are.
///
/// # Errors
/// If it is not a UEFI application with room for them, or if they are not at its end.
pub fn signature_places(file: &[u8]) -> Result<SignaturePlaces, EfiError> {
    let pe = Headers::read(file)?;
    let (directory, place, bytes) = pe.certificates.ok_or(EfiError::NotPe("no place for signatures"))?;
    let certificates = match (place, bytes) {
        (0, 0) => file.len()..file.len(),
        (place, bytes) => place as usize..place as usize + bytes as usize,
    };
    // Signatures are left out of what they sign: nothing else may hide there, or behind them.
    if certificates.start < pe.headers_end || certificates.end != file.len() {
        return Err(EfiError::NotPe("signatures that are not at its end"));
    }
    Ok(SignaturePlaces {
        checksum: pe.optional + 64..pe.optional + 68,
        directory: directory..directory + 8,
        certificates,
    })
}

/// What is needed of the headers.
struct Headers {
    /// Where the COFF file header begins.
    coff: usize,
    /// Where the optional header begins.
    optional: usize,
    section_alignment: u32,
    file_alignment: u32,
    initialized_data: u32,
    /// Where the directory entry of the signatures is, if there is one, and what it says: place in the file, bytes.
    certificates: Option<(usize, u32, u32)>,
    section_headers: Range<usize>,
    /// First byte that is no header's: of the first section, or of no section.
    headers_end: usize,
}

impl Headers {
    fn read(file: &[u8]) -> Result<Self, EfiError> {
        if file.get(..2) != Some(b"MZ") {
            return Err(EfiError::NotPe("no MZ header"));
        }
        let start = u32_at(file, 0x3c)? as usize;
        if file.get(start..start + 4) != Some(b"PE\0\0") {
            return Err(EfiError::NotPe("no PE header"));
        }
        let coff = start + 4;
        let optional = coff + 20;
        let optional_bytes = usize::from(u16_at(file, coff + 16)?);
        let is_application = u16_at(file, coff)? == MACHINE_X86_64
            && u16_at(file, optional)? == OPTIONAL_MAGIC
            && u16_at(file, optional + 68)? == SUBSYSTEM_EFI_APPLICATION;
        if !is_application || optional_bytes < DIRECTORIES {
            return Err(EfiError::NotApplication);
        }
        let mut certificates = None;
        if u32_at(file, optional + 108)? > CERTIFICATE_DIRECTORY {
            let directory = optional + DIRECTORIES + 8 * CERTIFICATE_DIRECTORY as usize;
            certificates = Some((directory, u32_at(file, directory)?, u32_at(file, directory + 4)?));
        }
        let (section_alignment, file_alignment) = (u32_at(file, optional + 32)?, u32_at(file, optional + 36)?);
        let good = |alignment: u32| alignment.is_power_of_two() && (512..=0x1_0000).contains(&alignment);
        if !good(section_alignment) || !good(file_alignment) {
            return Err(EfiError::NotPe("alignment"));
        }
        let first = optional + optional_bytes;
        let section_headers = first..first + usize::from(u16_at(file, coff + 2)?) * SECTION_HEADER_BYTES;
        let mut headers_end = u32_at(file, optional + 60)? as usize;
        for header in section_headers.clone().step_by(SECTION_HEADER_BYTES) {
            if u32_at(file, header + 16)? != 0 {
                headers_end = headers_end.min(u32_at(file, header + 20)? as usize);
            }
        }
        if section_headers.end > headers_end || headers_end > file.len() {
            return Err(EfiError::NotPe("section headers"));
        }
        let initialized_data = u32_at(file, optional + 8)?;
        Ok(Self {
            coff,
            optional,
            section_alignment,
            file_alignment,
            initialized_data,
            certificates,
            section_headers,
            headers_end,
        })
    }

    /// First address after the last section.
    fn end_of_image(&self, file: &[u8]) -> Result<u32, EfiError> {
        let mut end = self.headers_end as u32;
        for header in self.section_headers.clone().step_by(SECTION_HEADER_BYTES) {
            let bytes = u32_at(file, header + 8)?.max(u32_at(file, header + 16)?);
            let last = u32_at(file, header + 12)?.checked_add(bytes);
            end = end.max(last.filter(|last| *last < 1 << 31).ok_or(EfiError::NotPe("section's place"))?);
        }
        Ok(end)
    }

    fn has_section(&self, file: &[u8], name: &str) -> bool {
        let mut padded = [0; 8];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        self.section_headers.clone().step_by(SECTION_HEADER_BYTES).any(|at| file.get(at..at + 8) == Some(&padded))
    }
}

fn u16_at(file: &[u8], at: usize) -> Result<u16, EfiError> {
    let bytes = file.get(at..).and_then(|rest| rest.first_chunk()).ok_or(EfiError::NotPe("cut short"))?;
    Ok(u16::from_le_bytes(*bytes))
}

fn u32_at(file: &[u8], at: usize) -> Result<u32, EfiError> {
    let bytes = file.get(at..).and_then(|rest| rest.first_chunk()).ok_or(EfiError::NotPe("cut short"))?;
    Ok(u32::from_le_bytes(*bytes))
}
