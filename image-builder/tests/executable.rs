//! ELF files with needs, whole and damaged.

mod common;

use abi::needs::{self, Need};
use common::{need, program};
use image_builder::executable::{ExecutableError, Room, read, strip};
use proptest::prelude::any;

#[test]
fn needs_are_read() {
    let optional = Need { kind: needs::Kind::Window, optional: true, name: "data" };
    let needs = [need("log", needs::Kind::Log), optional, need("log", needs::Kind::Log)];
    let executable = read(&program(&needs), Room::Task).unwrap();
    let read: Vec<_> = executable.needs.iter().map(|need| (need.name.as_str(), need.kind, need.optional)).collect();
    assert_eq!(read, [("log", needs::Kind::Log, false), ("data", needs::Kind::Window, true)]);
}

#[test]
fn two_needs_of_one_name_are_refused() {
    let needs = [need("log", needs::Kind::Log), need("log", needs::Kind::Dma)];
    assert_eq!(read(&program(&needs), Room::Task), Err(ExecutableError::Needs { record: 1 }));
}

#[test]
fn a_stripped_file_holds_what_is_loaded_and_no_more() {
    let file = program(&[need("log", needs::Kind::Log)]);
    let mut whole = read(&file, Room::Task).unwrap();
    let stripped = strip(&whole);
    assert!(stripped.len() < file.len());
    whole.needs.clear();
    assert_eq!(read(&stripped, Room::Task), Ok(whole));
}

proptest::proptest! {
    /// No file panics, however its headers were changed and wherever it was cut.
    #[test]
    fn no_file_panics(
        changes in proptest::collection::vec((0usize..520, any::<u8>()), 0..6),
        cut in proptest::option::of(0usize..0x3000),
    ) {
        let mut file = program(&[need("log", needs::Kind::Log)]);
        // The header tables are at the front and at the end.
        let tail = file.len() - 288;
        for (at, value) in changes {
            let at = if at < 232 { at } else { tail + (at - 232) };
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(cut);
        }
        let _ = read(&file, Room::Task);
    }
}
