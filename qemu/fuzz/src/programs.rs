//! Programs and images of other makers, as the image builder reads them.

use image_builder::executable::{Room, read, test_features};
use image_builder::symbols::{Program, Symbols};
use image_builder::{efi, packed, signature, vhd};

/// Reads an ELF file; one that is good says where it may be loaded.
pub fn read_elf(bytes: &[u8]) {
    for room in [Room::Task, Room::Kernel] {
        if let Ok(executable) = read(bytes, room) {
            assert!(executable.segments.iter().all(|segment| segment.data.len() as u64 <= segment.bytes));
        }
    }
    let _ = test_features(bytes);
    let program = Program::read("program", bytes);
    assert!(program.sections.iter().all(|(_, data)| data.len() <= bytes.len()));
}

/// Most bytes of what is unpacked here.
const UNPACKED_MAX: u64 = 1 << 20;

/// Reads what lies around programs: a PE file with its signatures, a packed section, a VHD, a file of symbols.
pub fn read_file(bytes: &[u8]) {
    let signed = signature::signatures(bytes);
    if let (Ok(places), Ok(_)) = (efi::signature_places(bytes), signed) {
        assert!(!format!("{places:?}").is_empty());
    }
    if let Ok(disk) = vhd::disk(bytes) {
        assert!(vhd::is_vhd(bytes) && disk.len() < bytes.len());
    }
    if let Ok(contents) = packed::unpack(bytes, UNPACKED_MAX) {
        assert!(contents.len() as u64 <= UNPACKED_MAX);
    }
    let _ = Symbols::decode(bytes);
}
