//! Kernels that may be loaded, and what is refused.

use super::*;
extern crate std;
use std::vec::Vec as StdVec;

const R: u32 = 4;
const RW: u32 = 6;
const RX: u32 = 5;
const CODE: [u64; 5] = [RX as u64, KERNEL_IMAGE, 0x1000, 0x10, 0x800];

/// An ELF file in memory on 8 bytes; segments are flags, address, offset, file size and memory size.
struct File(StdVec<u64>, usize);

impl File {
    fn new(entry: u64, segments: &[[u64; 5]]) -> Self {
        let mut bytes = StdVec::new();
        bytes.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
        bytes.extend_from_slice(&entry.to_le_bytes());
        bytes.extend_from_slice(&64u64.to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
        for half in [64, 56, segments.len() as u16, 64, 0, 0] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        for [flags, address, offset, file_size, memory_size] in segments {
            bytes.extend_from_slice(&1u32.to_le_bytes());
            bytes.extend_from_slice(&(*flags as u32).to_le_bytes());
            for word in [*offset, *address, *address, *file_size, *memory_size, 0x1000] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        bytes.resize(0x3000, 0xaa);
        let words = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect();
        Self(words, bytes.len())
    }

    fn set(&mut self, at: usize, value: u8) {
        let mut word = self.0[at / 8].to_le_bytes();
        word[at % 8] = value;
        self.0[at / 8] = u64::from_le_bytes(word);
    }

    fn bytes(&self) -> &[u8] {
        &zerocopy::IntoBytes::as_bytes(self.0.as_slice())[..self.1]
    }
}

fn refused(segments: &[[u64; 5]]) -> KernelError {
    Kernel::read(File::new(KERNEL_IMAGE, segments).bytes()).unwrap_err()
}

#[test]
fn segments_are_read_with_their_rights_and_contents() {
    let file = File::new(
        KERNEL_IMAGE + 0x10,
        &[
            CODE_FULL,
            [R.into(), KERNEL_IMAGE + 0x2040, 0x2040, 0x100, 0x100],
            [RW.into(), KERNEL_IMAGE + 0x3ff8, 0x2ff8, 8, 0x2000],
            [RW.into(), KERNEL_IMAGE + 0x8000, 0, 0, 0x1000],
        ],
    );
    let bytes = file.bytes();
    let kernel = Kernel::read(bytes).unwrap();
    assert_eq!(kernel.entry, KERNEL_IMAGE + 0x10);
    let seen: StdVec<_> = kernel.segments.iter().map(|s| (s.first_page(), s.pages(), s.access, s.data)).collect();
    assert_eq!(
        seen,
        [
            (KERNEL_IMAGE, 2, Access::ReadExecute, &bytes[0x1000..0x2800]),
            (KERNEL_IMAGE + 0x2000, 1, Access::Read, &bytes[0x2040..0x2140]),
            (KERNEL_IMAGE + 0x3000, 3, Access::ReadWrite, &bytes[0x2ff8..0x3000]),
            (KERNEL_IMAGE + 0x8000, 1, Access::ReadWrite, &[]),
        ]
    );
    assert_eq!(kernel.pages(), 7);
}

const CODE_FULL: [u64; 5] = [RX as u64, KERNEL_IMAGE, 0x1000, 0x1800, 0x1800];

#[test]
fn writable_code_is_refused() {
    assert_eq!(refused(&[[7, KERNEL_IMAGE, 0x1000, 0x10, 0x10]]), KernelError::WritableCode(KERNEL_IMAGE));
}

#[test]
fn segments_outside_the_kernels_room_are_refused() {
    let last = KERNEL_IMAGE_END - 0x1000;
    for (address, bytes) in [
        (0x40_0000, 0x10),
        (KERNEL_IMAGE - 0x10, 0x20),
        (KERNEL_IMAGE_END, 0x10),
        (last, 0x1001),
        (KERNEL_IMAGE + 0x1000, u64::MAX),
        (u64::MAX, 1),
    ] {
        assert_eq!(refused(&[CODE, [RW.into(), address, 0, 0, bytes]]), KernelError::Place(address), "{address:#x}");
    }
    assert!(Kernel::read(File::new(KERNEL_IMAGE, &[CODE, [RW.into(), last, 0, 0, 0x1000]]).bytes()).is_ok());
}

#[test]
fn segments_that_share_a_page_or_descend_are_refused() {
    let shares = KERNEL_IMAGE + 0x800;
    assert_eq!(refused(&[CODE, [R.into(), shares, 0x1800, 0x10, 0x10]]), KernelError::Place(shares));
    let high = [R.into(), KERNEL_IMAGE + 0x1000, 0, 0, 0x10];
    assert_eq!(refused(&[high, CODE]), KernelError::Place(KERNEL_IMAGE));
}

#[test]
fn contents_outside_the_file_or_longer_than_the_memory_are_refused() {
    let wrong = KernelError::Contents(KERNEL_IMAGE);
    for (offset, file_size, memory_size) in [(0x2fff, 2, 2), (u64::MAX, 1, 1), (0, u64::MAX, 0x10), (0, 0x11, 0x10)] {
        assert_eq!(refused(&[[RX.into(), KERNEL_IMAGE, offset, file_size, memory_size]]), wrong);
    }
}

#[test]
fn an_entry_point_outside_code_is_refused() {
    let data = [RW.into(), KERNEL_IMAGE + 0x1000, 0x1000, 0x10, 0x10];
    for entry in [0, KERNEL_IMAGE + 0x800, KERNEL_IMAGE + 0x1000] {
        let file = File::new(entry, &[CODE, data]);
        assert_eq!(Kernel::read(file.bytes()).unwrap_err(), KernelError::Entry(entry));
    }
}

#[test]
fn too_many_segments_are_refused() {
    let segments: StdVec<_> =
        (0..=SEGMENTS_MAX as u64).map(|i| [RX.into(), KERNEL_IMAGE + i * 0x1000, 0, 0x10, 0x10]).collect();
    assert_eq!(refused(&segments), KernelError::TooMany);
    assert!(
        Kernel::read(File::new(KERNEL_IMAGE, &segments[1..]).bytes())
            .is_err_and(|e| e == KernelError::Entry(KERNEL_IMAGE))
    );
    assert!(Kernel::read(File::new(KERNEL_IMAGE, &segments[..SEGMENTS_MAX]).bytes()).is_ok());
}

#[test]
fn files_for_something_else_are_refused() {
    // Class, byte order, type and machine, each made another.
    for (at, value) in [(4, 1), (5, 2), (16, 3), (18, 3)] {
        let mut file = File::new(KERNEL_IMAGE, &[CODE]);
        file.set(at, value);
        assert_eq!(Kernel::read(file.bytes()).unwrap_err(), KernelError::Kind, "byte {at}");
    }
    let mut file = File::new(KERNEL_IMAGE, &[CODE]);
    file.set(0, 0);
    assert!(matches!(Kernel::read(file.bytes()), Err(KernelError::NotElf(_))));
}

#[test]
fn a_file_cut_anywhere_or_with_any_byte_of_its_headers_changed_is_answered() {
    let file = File::new(KERNEL_IMAGE, &[CODE_FULL, [RW.into(), KERNEL_IMAGE + 0x4000, 0, 0, 0x10]]);
    for length in 0..0x2800 {
        assert!(Kernel::read(&file.bytes()[..length]).is_err(), "{length} bytes");
    }
    for at in 0..64 + 2 * PROGRAM_HEADER_BYTES {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut file = File::new(KERNEL_IMAGE, &[CODE_FULL]);
            file.set(at, value);
            // Whatever the answer is, what is accepted lies in its room.
            if let Ok(kernel) = Kernel::read(file.bytes()) {
                let inside = |s: &Segment<'_>| s.address >= KERNEL_IMAGE && s.address + s.bytes <= KERNEL_IMAGE_END;
                assert!(kernel.segments.iter().all(inside), "byte {at}");
            }
        }
    }
}
