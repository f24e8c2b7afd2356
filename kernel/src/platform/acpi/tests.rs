use super::fadt::{Register, Reset};
use super::madt::Trigger;
use super::*;
use proptest::prelude::*;

extern crate std;
use std::vec::Vec;

mod firmware;
use firmware::{BASE, Memory, machine, make, sum_up};

fn read(revision: u8, tables: &[Vec<u8>]) -> Firmware {
    let (memory, root) = machine(revision, tables);
    Firmware::read(&mut Memory(memory), root)
}

fn mcfg(ranges: &[(u64, u16, u8, u8)]) -> Vec<u8> {
    let mut body = Vec::from([0; 8]);
    for (base, segment, first, last) in ranges {
        body.extend(base.to_le_bytes());
        body.extend(segment.to_le_bytes());
        body.extend([*first, *last, 0, 0, 0, 0]);
    }
    make(b"MCFG", &body)
}

fn fadt(flags: u32) -> Vec<u8> {
    let mut body = Vec::from([0; 244 - HEADER_BYTES]);
    let mut put = |at: usize, bytes: &[u8]| body[at - HEADER_BYTES..][..bytes.len()].copy_from_slice(bytes);
    put(76, &0x608u32.to_le_bytes());
    put(112, &flags.to_le_bytes());
    put(116, &[1, 8, 0, 1]);
    put(120, &0xcf9u64.to_le_bytes());
    put(128, &[0xf]);
    make(b"FACP", &body)
}

fn madt(entries: &[u8]) -> Vec<u8> {
    let mut body = Vec::from(0xfee0_0000u32.to_le_bytes());
    body.extend([1, 0, 0, 0]);
    body.extend(entries);
    make(b"APIC", &body)
}

#[test]
fn everything_is_found_under_both_kinds_of_root() {
    let io_apic = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
    let tables = [
        make(b"SSDT", &[1; 90]),
        mcfg(&[(0xb000_0000, 0, 0, 255)]),
        fadt(1 << 10),
        madt(&io_apic),
        make(b"DMAR", &[0; 12]),
    ];
    for revision in [0, 2] {
        let firmware = read(revision, &tables);
        let range = EcamRange { base: 0xb000_0000, segment: 0, first_bus: 0, last_bus: 255 };
        assert_eq!(firmware.ecam[..], [range]);
        assert_eq!(firmware.power_timer, Some(PowerTimer { port: 0x608, is_wide: false }));
        assert_eq!(firmware.power.reset, Some(Reset { register: Register::Port(0xcf9), value: 0xf }));
        assert_eq!(firmware.local_apic, Some(0xfee0_0000));
        assert_eq!(firmware.io_apics[..], [IoApic { number: 0, address: 0xfec0_0000, first_input: 0 }]);
        assert_eq!(firmware.dmar, Some(Err(DmarError::NoUnit)));
    }
}

#[test]
fn without_root_or_tables_all_is_absent() {
    assert_eq!(Firmware::read(&mut Memory(Vec::new()), 0), Firmware::default());
    assert_eq!(Firmware::read(&mut Memory(Vec::from([0; 64])), BASE), Firmware::default());
    assert_eq!(read(2, &[]), Firmware::default());
}

#[test]
fn a_wide_timer_is_seen_and_a_reduced_machine_has_none() {
    assert_eq!(read(2, &[fadt(1 << 8)]).power_timer, Some(PowerTimer { port: 0x608, is_wide: true }));
    assert_eq!(read(2, &[fadt(1 << 20)]).power_timer, None);
    assert_eq!(read(2, &[fadt(0)]).power.reset, None);
}

#[test]
fn a_table_with_a_wrong_checksum_is_left_out_and_the_others_count() {
    let mut bad = mcfg(&[(0xb000_0000, 0, 0, 255)]);
    bad[50] ^= 1;
    let firmware = read(2, &[bad, fadt(0)]);
    assert!(firmware.ecam.is_empty());
    assert!(firmware.power_timer.is_some());
}

#[test]
fn absurd_lengths_are_left_out() {
    for length in [0u32, 35, 0x20_0000, u32::MAX] {
        let mut bad = mcfg(&[(0xb000_0000, 0, 0, 255)]);
        bad[4..8].copy_from_slice(&length.to_le_bytes());
        sum_up(&mut bad, 9);
        assert_eq!(read(2, &[bad]), Firmware::default(), "{length:#x}");
    }
}

#[test]
fn ranges_that_make_no_sense_or_overlap_are_left_out() {
    let firmware = read(
        2,
        &[mcfg(&[
            (0, 0, 0, 255),
            (0xb000_1000, 0, 0, 255),
            (0xb000_0000, 0, 9, 8),
            (u64::MAX << 20, 0, 0, 255),
            (0xc000_0000, 0, 0, 63),
            (0xd000_0000, 0, 63, 80),
            (0xd000_0000, 1, 63, 80),
        ])],
    );
    let kept: Vec<_> = firmware.ecam.iter().map(|range| (range.segment, range.first_bus)).collect();
    assert_eq!(kept, [(0, 0), (1, 63)]);
}

/// Puts a generic address structure into a table and makes its checksum good again.
fn put_register(table: &mut [u8], at: usize, space: u8, address: u64) {
    table[at] = space;
    table[at + 4..at + 12].copy_from_slice(&address.to_le_bytes());
    sum_up(table, 9);
}

#[test]
fn registers_of_the_machines_power_are_ports_or_memory_and_the_newer_field_goes_first() {
    let mut table = fadt(1 << 10);
    table[64..68].copy_from_slice(&0x604u32.to_le_bytes());
    table[48..53].copy_from_slice(&[0xb2, 0, 0, 0, 2]);
    sum_up(&mut table, 9);
    let power = read(2, &[table.clone()]).power;
    assert_eq!(power.control, [Some(Register::Port(0x604)), None]);
    assert_eq!((power.hand_over, power.sleep_control), (Some((0xb2, 2)), None));
    put_register(&mut table, 172, 1, 0x1804);
    put_register(&mut table, 116, 0, 0xfed0_0010);
    let power = read(2, &[table.clone()]).power;
    assert_eq!(power.control[0], Some(Register::Port(0x1804)));
    assert_eq!(power.reset, Some(Reset { register: Register::Memory(0xfed0_0010), value: 0xf }));
    // A space that the kernel does not speak, and a port beyond the last, are none.
    put_register(&mut table, 116, 2, 0xf9);
    assert_eq!(read(2, &[table.clone()]).power.reset, None);
    put_register(&mut table, 116, 1, 0x1_0cf9);
    assert_eq!(read(2, &[table.clone()]).power.reset, None);

    let mut reduced = make(b"FACP", &[0; 268 - HEADER_BYTES]);
    reduced[112..116].copy_from_slice(&(1u32 << 20).to_le_bytes());
    reduced[64..68].copy_from_slice(&0x604u32.to_le_bytes());
    put_register(&mut reduced, 244, 0, 0xfea0_0000);
    let power = read(2, &[reduced]).power;
    assert_eq!((power.control, power.sleep_control), ([None; 2], Some(Register::Memory(0xfea0_0000))));
}

#[test]
fn what_switches_the_machine_off_is_found_in_the_dsdt_or_an_ssdt() {
    const SHORT: &[u8] = b"\x08_S5_\x12\x04\x04\x01\x0a\x02\x00\x00";
    const NOTHING: &[u8] = b"\x08_S4_\x12\x06\x04\x01\x01\x00\x00";
    let types = |tables: &[Vec<u8>]| read(2, tables).off.map(|types| (types.a, types.b));
    // The DSDT is not in the list: the FADT names it. The first table lies 64 bytes from the base.
    let mut table = fadt(0);
    table[40..44].copy_from_slice(&((BASE + 64) as u32).to_le_bytes());
    sum_up(&mut table, 9);
    let off = b"\x08_S5_\x12\x07\x04\x01\x0a\x02\x00\x00";
    assert_eq!(types(&[make(b"DSDT", off), table.clone()]), Some((1, 2)));
    assert_eq!(types(&[make(b"DSDT", NOTHING), table.clone(), make(b"SSDT", off)]), Some((1, 2)));
    assert_eq!(types(&[make(b"DSDT", NOTHING), table.clone()]), None);
    assert_eq!(types(&[make(b"DSDT", SHORT), table.clone()]), None, "cut short");
    let mut damaged = make(b"DSDT", off);
    damaged[40] ^= 1;
    assert_eq!(types(&[damaged, table]), None, "a table with a wrong checksum");
    assert_eq!(types(&[make(b"PSDT", off)]), None);
}

#[test]
fn interrupts_of_isa_arrive_where_the_tables_say() {
    let override_of = |bus, interrupt, input: u32, flags: u16| {
        let mut entry = Vec::from([2, 10, bus, interrupt]);
        entry.extend(input.to_le_bytes());
        entry.extend(flags.to_le_bytes());
        entry
    };
    let entries =
        [override_of(0, 0, 2, 0), override_of(0, 9, 9, 0xd), override_of(1, 4, 7, 0), override_of(0, 3, 20, 0xf)];
    let firmware = read(2, &[madt(&entries.concat())]);
    assert_eq!(firmware.isa_input(0), (2, Trigger::ISA));
    assert_eq!(firmware.isa_input(4), (4, Trigger::ISA), "another bus has no say");
    assert_eq!(firmware.isa_input(9), (9, Trigger { active_low: false, level: true }));
    assert_eq!(firmware.isa_input(3), (20, Trigger { active_low: true, level: true }));
}

#[test]
fn interrupt_entries_without_length_end_the_list() {
    for entries in [&[1u8, 0, 1, 0, 1, 1][..], &[1, 12, 0, 0], &[5, 255, 0, 0]] {
        let firmware = read(2, &[madt(entries)]);
        assert_eq!((firmware.local_apic, firmware.io_apics.len()), (Some(0xfee0_0000), 0));
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 64..400)) {
        bytes[..8].copy_from_slice(b"RSD PTR ");
        bytes[15] = 2;
        bytes[24..32].copy_from_slice(&(BASE + 40).to_le_bytes());
        sum_up(&mut bytes[..20], 8);
        sum_up(&mut bytes[..36], 32);
        let _ = Firmware::read(&mut Memory(bytes), BASE);
    }

    #[test]
    fn random_bodies_do_no_harm(bodies in prop::collection::vec((0usize..4, prop::collection::vec(any::<u8>(), 0..300)), 0..6)) {
        let tables: Vec<_> =
            bodies.iter().map(|(kind, body)| make([b"MCFG", b"FACP", b"APIC", b"SSDT"][*kind], body)).collect();
        let firmware = read(2, &tables);
        for range in &firmware.ecam {
            prop_assert!(range.first_bus <= range.last_bus && range.base != 0);
        }
    }
}
