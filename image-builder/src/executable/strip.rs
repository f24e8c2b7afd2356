//! An executable's file without what is never loaded: no sections, no symbols, no notes.

use abi::package::Access;

use super::{Executable, PROGRAM_HEADER_BYTES};

/// Bytes of the file header (ELF-64 object file format, figure 2).
const FILE_HEADER_BYTES: u64 = 64;

/// Contents begin at multiples of this.
const ALIGNMENT: u64 = 16;

/// Writes a new ELF file that holds exactly the segments of `executable`. Their contents lie close together: the
/// UEFI application copies them, nobody maps the file.
pub fn strip(executable: &Executable) -> Vec<u8> {
    let segments = &executable.segments;
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF");
    // 64-bit, little-endian, version 1, System V, eight zeroes.
    file.extend_from_slice(&[2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put16(&mut file, &[2, 62]); // ET_EXEC, EM_X86_64
    put32(&mut file, &[1]);
    put64(&mut file, &[executable.entry, FILE_HEADER_BYTES, 0]);
    put32(&mut file, &[0]);
    put16(&mut file, &[FILE_HEADER_BYTES as u16, PROGRAM_HEADER_BYTES, segments.len() as u16, 0, 0, 0]);
    let mut offset =
        (FILE_HEADER_BYTES + segments.len() as u64 * u64::from(PROGRAM_HEADER_BYTES)).next_multiple_of(ALIGNMENT);
    for segment in segments {
        let flags = match segment.access {
            Access::Read => 4,
            Access::ReadWrite => 6,
            Access::ReadExecute => 5,
        };
        put32(&mut file, &[1, flags]); // PT_LOAD
        let data = segment.data.len() as u64;
        put64(&mut file, &[offset, segment.address, segment.address, data, segment.bytes, ALIGNMENT]);
        offset = (offset + data).next_multiple_of(ALIGNMENT);
    }
    for segment in segments {
        file.resize(file.len().next_multiple_of(ALIGNMENT as usize), 0);
        file.extend_from_slice(&segment.data);
    }
    file
}

fn put16(file: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
}

fn put32(file: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
}

fn put64(file: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
}
