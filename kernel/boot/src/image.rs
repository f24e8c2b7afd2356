//! Finds a section in the headers of a loaded PE image (Microsoft PE/COFF specification, revision 11).
//!
//! Firmware has loaded the image and keeps its headers at its start. They are read again here, with every offset
//! checked, because what is found decides which memory becomes kernel.

use core::ops::Range;

/// Where the DOS header keeps the offset of the PE signature (4 bytes).
const PE_OFFSET: usize = 0x3c;
/// Bytes of signature and COFF file header.
const FILE_HEADER_BYTES: usize = 4 + 20;
/// Bytes of one section header.
const SECTION_HEADER_BYTES: usize = 40;

/// Why a section was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The headers are not those of a PE image, or longer than what was given of them.
    #[error("the headers of this image are not readable")]
    Headers,
    /// There is no such section: the image builder did not make this file.
    #[error("no section {0} in this image")]
    Missing(&'static str),
    /// The section does not lie in the image on a page boundary.
    #[error("section {0} does not lie on pages of this image")]
    Place(&'static str),
}

/// Where the section `name` lies, in bytes from the start of an image of `image_bytes` bytes. It begins on a page.
///
/// # Errors
/// If `headers`, the first bytes of the image, are damaged or name no such section.
pub fn section(headers: &[u8], image_bytes: usize, name: &'static str) -> Result<Range<usize>, ImageError> {
    if headers.get(..2) != Some(b"MZ") {
        return Err(ImageError::Headers);
    }
    let file_header = word(headers, PE_OFFSET)?;
    if headers.get(file_header..).and_then(|rest| rest.get(..4)) != Some(b"PE\0\0") {
        return Err(ImageError::Headers);
    }
    // All sums stay small: each operand is a position in `headers` or a 16-bit number.
    let sections = half(headers, file_header + 4 + 2)?;
    let optional_header_bytes = half(headers, file_header + 4 + 16)?;
    let table = file_header + FILE_HEADER_BYTES + optional_header_bytes;
    for index in 0..sections {
        let at = table + index * SECTION_HEADER_BYTES;
        let header = headers.get(at..at + SECTION_HEADER_BYTES).ok_or(ImageError::Headers)?;
        if !is_named(header, name) {
            continue;
        }
        let (bytes, start) = (word(header, 8)?, word(header, 12)?);
        let end = start.checked_add(bytes).ok_or(ImageError::Place(name))?;
        if !start.is_multiple_of(crate::PAGE) || end > image_bytes {
            return Err(ImageError::Place(name));
        }
        return Ok(start..end);
    }
    Err(ImageError::Missing(name))
}

/// Whether the name of a section header, eight bytes filled with zeroes, is `name`.
fn is_named(header: &[u8], name: &str) -> bool {
    header[..8].strip_prefix(name.as_bytes()).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

fn half(bytes: &[u8], at: usize) -> Result<usize, ImageError> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(ImageError::Headers)?;
    Ok(u16::from_le_bytes(*bytes).into())
}

fn word(bytes: &[u8], at: usize) -> Result<usize, ImageError> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(ImageError::Headers)?;
    Ok(u32::from_le_bytes(*bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    /// Headers with the given sections: name, size, address.
    fn headers(sections: &[(&str, u32, u32)]) -> Vec<u8> {
        let mut bytes = std::vec![0; 0x80];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[PE_OFFSET] = 0x80;
        bytes.extend_from_slice(b"PE\0\0");
        let mut file_header = [0; 20];
        file_header[2] = sections.len() as u8;
        file_header[16] = 240;
        bytes.extend_from_slice(&file_header);
        bytes.extend_from_slice(&[0; 240]);
        for (name, size, address) in sections {
            let mut header = [0; SECTION_HEADER_BYTES];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[8..12].copy_from_slice(&size.to_le_bytes());
            header[12..16].copy_from_slice(&address.to_le_bytes());
            bytes.extend_from_slice(&header);
        }
        bytes
    }

    #[test]
    fn a_section_is_found_by_its_whole_name() {
        let headers = headers(&[(".text", 0x500, 0x1000), (".kernel2", 7, 0x2000), (".kernel", 0x1234, 0x3000)]);
        assert_eq!(section(&headers, 0x5000, ".kernel"), Ok(0x3000..0x4234));
        assert_eq!(section(&headers, 0x5000, ".kernel2"), Ok(0x2000..0x2007));
        assert_eq!(section(&headers, 0x5000, ".package"), Err(ImageError::Missing(".package")));
    }

    #[test]
    fn a_section_outside_the_image_or_off_a_page_is_refused() {
        let refused = Err(ImageError::Place(".package"));
        for (size, address) in [(0x1001, 0x4000), (0x1000, 0x5000), (u32::MAX, u32::MAX - 0xfff), (16, 0x2008)] {
            assert_eq!(section(&headers(&[(".package", size, address)]), 0x5000, ".package"), refused);
        }
        assert_eq!(section(&headers(&[(".package", 0x1000, 0x4000)]), 0x5000, ".package"), Ok(0x4000..0x5000));
    }

    #[test]
    fn headers_cut_anywhere_are_refused() {
        let whole = headers(&[(".text", 0x500, 0x1000), (".kernel", 0x1000, 0x2000)]);
        for length in 0..whole.len() {
            assert_eq!(section(&whole[..length], 0x5000, ".kernel"), Err(ImageError::Headers), "{length} bytes");
        }
        assert!(section(&whole, 0x5000, ".kernel").is_ok());
    }

    #[test]
    fn wild_offsets_are_refused() {
        let mut wild = headers(&[(".kernel", 0x1000, 0x2000)]);
        wild[PE_OFFSET..PE_OFFSET + 4].fill(0xff);
        assert_eq!(section(&wild, 0x5000, ".kernel"), Err(ImageError::Headers));
        let mut wild = headers(&[(".text", 0x1000, 0x2000)]);
        wild[0x80 + 6..0x80 + 8].fill(0xff);
        assert_eq!(section(&wild, 0x5000, ".kernel"), Err(ImageError::Headers));
    }
}
