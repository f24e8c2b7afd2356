//! The sleep types of a DSDT or SSDT, found by their bytes.
//!
//! There is no interpreter of AML here. The object `\\_S5_` is a package of constants in every machine's tables (ACPI
//! 6.5, 7.4.2), so its name is looked for behind the opcode that defines a name, and what follows must be such a package:
//! opcode, length, count, then integers (20.2.2 to 20.2.5). Anything else is passed over.

/// The state in which the machine is off.
pub const OFF: &[u8; 4] = b"_S5_";

/// What is written to the sleep type fields of the two control registers, 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepTypes {
    /// For the first control register, and for the sleep control register.
    pub a: u8,
    /// For the second.
    pub b: u8,
}

const NAME: u8 = 0x08;
const PACKAGE: u8 = 0x12;

/// The sleep types of the state of this name, if these definitions name them.
pub fn types(definitions: &[u8], state: &[u8; 4]) -> Option<SleepTypes> {
    let mut rest = definitions;
    loop {
        let at = rest.windows(state.len()).position(|bytes| bytes == state)?;
        let (before, after) = rest.split_at(at);
        let after = &after[state.len()..];
        if let [.., NAME] | [.., NAME, b'\\'] = before
            && let Some(types) = package(after)
        {
            return Some(types);
        }
        rest = after;
    }
}

/// The first two integers of a package.
fn package(bytes: &[u8]) -> Option<SleepTypes> {
    let (&PACKAGE, rest) = bytes.split_first()? else { return None };
    // The lead byte of the length says how many bytes follow it (20.2.4).
    let lead = *rest.first()?;
    let (head, low) = match lead >> 6 {
        0 => (1, usize::from(lead)),
        more => {
            let more = usize::from(more);
            let high = rest.get(1..=more)?.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte));
            (1 + more, high << 4 | usize::from(lead & 0xf))
        }
    };
    // The length counts its own bytes.
    let contents = rest.get(head..low)?;
    let (count, mut elements) = contents.split_first()?;
    if *count < 2 {
        // QEMU's microvm has four; a package of one packs both types into it.
        let value = integer(&mut elements).filter(|_| *count == 1)?;
        return types_of(value & 0xff, value >> 8 & 0xff);
    }
    let a = integer(&mut elements)?;
    types_of(a, integer(&mut elements)?)
}

fn types_of(a: u64, b: u64) -> Option<SleepTypes> {
    let small = |value: u64| u8::try_from(value).ok().filter(|value| *value < 8);
    Some(SleepTypes { a: small(a)?, b: small(b)? })
}

/// Takes an integer constant off the front.
fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let (opcode, rest) = bytes.split_first()?;
    let width = match opcode {
        0x00 | 0x01 => 0,
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(width)?;
    *bytes = rest;
    if width == 0 {
        return Some(u64::from(*opcode));
    }
    Some(value.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As QEMU 7.2 has it for q35, between two other names.
    const QEMU: &[u8] = b"\x08_S3_\x12\x06\x04\x01\x01\x00\x00\x08_S4_\x12\x08\x04\x0a\x02\x0a\x02\x00\x00\
                          \x08_S5_\x12\x06\x04\x00\x00\x00\x00\x10\x49\x04_SB_";

    fn off(definitions: &[u8]) -> Option<(u8, u8)> {
        types(definitions, OFF).map(|types| (types.a, types.b))
    }

    #[test]
    fn recorded_tables_name_their_types() {
        assert_eq!(off(QEMU), Some((0, 0)));
        assert_eq!(types(QEMU, b"_S4_"), Some(SleepTypes { a: 2, b: 2 }));
        // The forms in which machines write it: byte constants, with a root prefix, with a length of two bytes, words.
        assert_eq!(off(b"\x08_S5_\x12\x05\x04\x0a\x05\x0a\x05\x00\x00"), None, "the length cuts the second off");
        assert_eq!(off(b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00"), Some((5, 6)));
        assert_eq!(off(b"\x08\\_S5_\x12\x06\x04\x01\x00\x00\x00"), Some((1, 0)));
        assert_eq!(off(b"\x08_S5_\x12\x49\x00\x04\x0a\x07\x0a\x07\x00\x00"), Some((7, 7)));
        assert_eq!(off(b"\x08_S5_\x12\x09\x02\x0b\x05\x00\x0b\x05\x00"), None, "cut short by a byte");
        assert_eq!(off(b"\x08_S5_\x12\x08\x02\x0b\x05\x00\x0b\x05\x00"), Some((5, 5)));
        assert_eq!(off(b"\x08_S5_\x12\x05\x01\x0b\x05\x06"), Some((5, 6)), "both in one");
    }

    #[test]
    fn a_name_that_is_only_used_or_is_no_package_of_constants_is_passed_over() {
        assert_eq!(off(b""), None);
        assert_eq!(off(b"_S5_\x12\x06\x04\x00\x00\x00\x00"), None, "not defined here");
        assert_eq!(off(b"\x08_S5_"), None);
        assert_eq!(off(b"\x08_S5_\x12"), None);
        assert_eq!(off(b"\x08_S5_\x0d\x06\x04\x00\x00\x00\x00"), None, "not a package");
        assert_eq!(off(b"\x08_S5_\x12\x06\x04\x70\x68\x00\x00"), None, "not constants");
        assert_eq!(off(b"\x08_S5_\x12\x08\x04\x0a\x08\x0a\x00\x00\x00"), None, "not a sleep type");
        assert_eq!(off(b"\x08_S5_\x12\xc6\xff\xff\xff\x04\x00"), None, "longer than the table");
        assert_eq!(
            off(b"\x70_S5_ \x08_S5_\x12\x06\x04\x03\x00\x00\x00\x08_S5_\x12\x06\x04\x00\x01\x00\x00"),
            Some((0, 1))
        );
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..64), tail in prop::collection::vec(any::<u8>(), 0..64)) {
            bytes.extend(b"\x08_S5_");
            bytes.extend(tail);
            if let Some((a, b)) = off(&bytes) {
                prop_assert!(a < 8 && b < 8);
            }
        }

        #[test]
        fn every_cut_of_a_table_is_harmless(length in 0..QEMU.len(), at in 0..QEMU.len(), value in any::<u8>()) {
            let _ = off(&QEMU[..length]);
            let mut changed = std::vec::Vec::from(QEMU);
            changed[at] = value;
            let _ = off(&changed);
        }
    }
    extern crate std;
}
