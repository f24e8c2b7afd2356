//! Tiny ELF files, good and bad.

use super::*;

const CODE: u64 = layout::PROGRAM_START;

fn segment(address: u64, bytes: u64, access: Access) -> Segment {
    Segment { address, bytes, access, data: vec![0x90; 100] }
}

fn program(segments: Vec<Segment>) -> Executable {
    Executable { entry: CODE + 16, segments, needs: Vec::new(), stack_seen: None }
}

fn good() -> Executable {
    program(vec![segment(CODE, 0x1800, Access::ReadExecute), segment(CODE + 0x2000, 0x5000, Access::ReadWrite)])
}

fn refused(executable: &Executable, error: ExecutableError) {
    assert_eq!(read(&strip(executable), Room::Task), Err(error));
}

#[test]
fn what_was_stripped_is_read_back() {
    assert_eq!(read(&strip(&good()), Room::Task), Ok(good()));
}

#[test]
fn segments_that_cannot_be_mapped_are_refused() {
    let code = segment(CODE, 0x1800, Access::ReadExecute);
    let with = |other| program(vec![code.clone(), other]);
    refused(&with(segment(CODE + 0x1800, 16, Access::Read)), ExecutableError::Misaligned(CODE + 0x1800));
    refused(&with(segment(CODE + 0x1000, 200, Access::Read)), ExecutableError::Overlap(CODE, CODE + 0x1000));
    for (address, bytes) in [(0x1000, 200), (layout::PROGRAM_END, 200), (CODE, u64::MAX), (u64::MAX - 0xfff, 0x1000)] {
        let outside = ExecutableError::OutsideRoom { address, room: Room::Task };
        refused(&with(segment(address, bytes, Access::Read)), outside);
    }
    refused(&program(vec![segment(CODE, 200, Access::Read)]), ExecutableError::Entry(CODE + 16));
    refused(&program(vec![]), ExecutableError::Empty);
    refused(&with(segment(CODE + 0x2000, 10, Access::Read)), ExecutableError::Malformed("segment's contents"));
    let many: Vec<_> = (0..9).map(|index| segment(CODE + index * 0x1000, 200, Access::ReadExecute)).collect();
    refused(&program(many), ExecutableError::TooManySegments(9));
}

#[test]
fn code_is_never_writable() {
    let mut file = strip(&good());
    file[64 + 4] |= 2; // the first segment's flags
    assert_eq!(read(&file, Room::Task), Err(ExecutableError::WritableCode(CODE)));
}

#[test]
fn only_fixed_x86_64_executables_are_read() {
    let mut file = strip(&good());
    file[16] = 3; // ET_DYN
    let error = read(&file, Room::Task).unwrap_err();
    assert_eq!(error, ExecutableError::NotFixed);
    assert!(error.to_string().contains("RUSTFLAGS"));
    let mut file = strip(&good());
    file[18] = 183; // EM_AARCH64
    assert_eq!(read(&file, Room::Task), Err(ExecutableError::Machine));
    let mut file = strip(&good());
    file[64 + 56] = 7; // PT_TLS
    assert_eq!(read(&file, Room::Task), Err(ExecutableError::ThreadLocal));
    assert_eq!(
        read(&strip(&good()), Room::Kernel),
        Err(ExecutableError::OutsideRoom { address: CODE, room: Room::Kernel })
    );
}
