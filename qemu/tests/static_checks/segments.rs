//! No part of the kernel or of a task is writable and executable, and the stack is not executable.

use std::fs;
use std::path::PathBuf;

use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader};
use qemu::harness::{bare_directory, build, root};

/// Every program that was built for the machine, and the kernel.
pub fn programs() -> Vec<PathBuf> {
    // Brings them up to date.
    build(&root().join("system.toml")).unwrap_or_else(|error| panic!("{error}"));
    let folder = bare_directory().join("x86_64-unknown-none/release");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut programs: Vec<_> = files.filter(|path| path.is_file() && path.extension().is_none()).collect();
    programs.retain(|path| fs::read(path).unwrap().starts_with(b"\x7fELF"));
    programs.sort();
    programs
}

#[test]
fn nothing_is_writable_and_executable() {
    let programs = programs();
    assert!(programs.len() > 10 && programs.iter().any(|path| path.ends_with("kernel")), "{programs:?}");
    for path in programs {
        let data = fs::read(&path).unwrap();
        let file = ElfFile64::<object::LittleEndian>::parse(&*data).unwrap();
        let endian = object::LittleEndian;
        let mut executable = 0;
        for header in file.elf_program_headers() {
            let flags = header.p_flags(endian);
            let both = elf::PF_W | elf::PF_X;
            assert!(flags & both != both, "{}: {header:?}", path.display());
            assert!(header.p_type(endian) != elf::PT_GNU_STACK || flags & elf::PF_X == 0, "{}", path.display());
            executable += usize::from(flags & elf::PF_X != 0);
        }
        assert_eq!(executable, 1, "{}: segments of code", path.display());
    }
}
