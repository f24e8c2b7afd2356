use super::*;
use proptest::prelude::*;

extern crate std;
use std::vec::Vec as List;

/// QEMU 7.2, `-machine q35 -device intel-iommu,intremap=on`, a controller behind a root port beside it.
const RECORDED: &[u8] = b"DMAR\x68\0\0\0\x01\x42BOCHS BXPC    \x01\0\0\0BXPC\x01\0\0\0\
    \x26\x01\0\0\0\0\0\0\0\0\0\0\
    \0\0\x38\0\x01\0\0\0\0\0\xd9\xfe\0\0\0\0\
    \x03\x08\0\0\0\xff\0\0\
    \x01\x08\0\0\0\0\0\0\x01\x08\0\0\0\0\x1f\0\x01\x08\0\0\0\0\x1f\x02\x01\x08\0\0\0\0\x1f\x03";

fn table(flags: u8, structures: &[&[u8]]) -> List<u8> {
    let mut table = List::from([0; HEADER_BYTES + FIXED_BYTES]);
    table[HEADER_BYTES + 1] = flags;
    structures.iter().for_each(|structure| table.extend(*structure));
    table
}

fn structure(kind: u16, body: &[u8]) -> List<u8> {
    let mut structure = List::from(kind.to_le_bytes());
    structure.extend((body.len() as u16 + 4).to_le_bytes());
    structure.extend(body);
    structure
}

fn unit(flags: u8, segment: u16, address: u64, scopes: &[u8]) -> List<u8> {
    let mut body = List::from([flags, 0]);
    body.extend(segment.to_le_bytes());
    body.extend(address.to_le_bytes());
    body.extend(scopes);
    structure(0, &body)
}

fn reserved(segment: u16, scopes: &[u8]) -> List<u8> {
    let mut body = List::from([0, 0]);
    body.extend(segment.to_le_bytes());
    body.extend([0; 16]);
    body.extend(scopes);
    structure(1, &body)
}

#[test]
fn a_recorded_table_is_read() {
    let dmar = Dmar::read(RECORDED).unwrap();
    assert!(dmar.interrupt_remapping && dmar.reserved.is_empty());
    let [unit] = &dmar.units[..] else { panic!("{dmar:?}") };
    assert_eq!((unit.address, unit.segment, unit.every_other), (0xfed9_0000, 0, true));
    let kinds: List<_> = unit.scopes.iter().map(|scope| (scope.kind, scope.bus, scope.path[0])).collect();
    assert_eq!(kinds[0], (ScopeKind::IoApic, 0xff, (0, 0)));
    assert_eq!(kinds[3], (ScopeKind::Endpoint, 0, (0x1f, 2)));
    assert_eq!(dmar.io_apic(0), Some((0, 0xff00)));
    assert_eq!(dmar.io_apic(1), None);
}

#[test]
fn every_way_to_be_wrong_has_its_name() {
    let good = unit(0, 0, 0xfed9_0000, &[1, 8, 0, 0, 0, 3, 2, 1]);
    assert!(Dmar::read(&table(0, &[&good])).is_ok());
    let endless = [0u8, 0, 3, 0];
    let short_scope = unit(0, 0, 0xfed9_0000, &[1, 6, 0, 0, 0, 0]);
    let scope_beyond = unit(0, 0, 0xfed9_0000, &[1, 10, 0, 0, 0, 0, 1, 0]);
    let scope_rest = unit(0, 0, 0xfed9_0000, &[1]);
    let far = unit(0, 0, 1 << 52, &[]);
    let off_page = unit(0, 0, 0xfed9_0010, &[]);
    let deep = unit(0, 0, 0xfed9_0000, &[2, 16, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
    let rest = unit(1, 0, 0xfed9_0000, &[]);
    let cases: [(&[&[u8]], DmarError); 11] = [
        (&[], DmarError::NoUnit),
        (&[&endless], DmarError::Short),
        (&[&good[..10]], DmarError::Short),
        (&[&structure(0, &[0; 4])], DmarError::Short),
        (&[&short_scope], DmarError::Short),
        (&[&scope_beyond], DmarError::Short),
        (&[&scope_rest], DmarError::Short),
        (&[&far], DmarError::Address),
        (&[&off_page], DmarError::Address),
        (&[&deep], DmarError::TooMany("steps to a function")),
        (&[&rest, &rest], DmarError::TwoForTheRest),
    ];
    for (structures, error) in cases {
        assert_eq!(Dmar::read(&table(0, structures)), Err(error), "{structures:?}");
    }
    assert_eq!(Dmar::read(&table(0, &[&good[..]; 9])), Err(DmarError::TooMany("units")));
    let many = [1, 8, 0, 0, 0, 0, 1, 0].repeat(17);
    assert_eq!(Dmar::read(&table(0, &[&unit(0, 0, 0x1000, &many)])), Err(DmarError::TooMany("scopes")));
    let reserved = reserved(0, &[]);
    let mut many: List<&[u8]> = List::from([&good[..]]);
    many.extend(std::iter::repeat_n(&reserved[..], 9));
    assert_eq!(Dmar::read(&table(0, &many)), Err(DmarError::TooMany("reserved regions")));
    assert_eq!(Dmar::read(&RECORDED[..HEADER_BYTES + 4]), Err(DmarError::Short));
}

#[test]
fn reserved_memory_names_its_functions() {
    let table = table(1, &[&unit(1, 0, 0xfed9_0000, &[]), &reserved(0, &[1, 8, 0, 0, 0, 0, 0x14, 0])]);
    let dmar = Dmar::read(&table).unwrap();
    assert_eq!(dmar.reserved[0].scopes[0].path[..], [(0x14, 0)]);
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(dmar) = Dmar::read(&bytes) {
            prop_assert!(!dmar.units.is_empty());
            for unit in &dmar.units {
                prop_assert!(unit.address != 0 && unit.address % 4096 == 0);
                prop_assert!(unit.scopes.iter().all(|scope| !scope.path.is_empty()));
            }
        }
    }

    #[test]
    fn a_damaged_recording_ends(at in 48usize..104, value: u8) {
        let mut bytes = List::from(RECORDED);
        bytes[at] = value;
        let _ = Dmar::read(&bytes);
    }

    #[test]
    fn random_structures_end(parts in prop::collection::vec((0u16..5, prop::collection::vec(any::<u8>(), 0..80)), 0..12)) {
        let parts: List<_> = parts.iter().map(|(kind, body)| structure(*kind, body)).collect();
        let parts: List<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        let _ = Dmar::read(&table(0, &parts));
    }
}
