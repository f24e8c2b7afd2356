//! The tables that a fuzzer begins with.

/// Power-management timer, reset register and their flags, as QEMU's FADT has them (ACPI 6.5, 5.2.9).
fn fadt() -> Vec<u8> {
    let mut body = vec![0; 244 - 36];
    for (at, bytes) in [(76, [8, 6, 0, 0]), (112, [0xa5, 0x84, 0, 0]), (116, [1, 8, 0, 1]), (120, [0xf9, 0xc, 0, 0])] {
        body[at - 36..][..4].copy_from_slice(&bytes);
    }
    body[128 - 36] = 0xf;
    body
}

/// A local APIC, an I/O APIC and an override (ACPI 6.5, 5.2.12).
fn madt() -> Vec<u8> {
    let mut body = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
    body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 9, 0, 0, 0, 13, 0]);
    body
}

/// One range of ECAM (PCI Firmware Specification 3.3, 4.1.2).
fn mcfg() -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(0xb000_0000_u64.to_le_bytes());
    body.extend([0, 0, 0, 0xff, 0, 0, 0, 0]);
    body
}

/// A unit in front of an I/O APIC and everything else, and memory that firmware keeps for a function (VT-d 4.1, chapter 8).
pub fn dmar() -> Vec<u8> {
    let mut body = vec![38, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend([0, 0, 24, 0, 1, 0, 0, 0]);
    body.extend(0xfed9_0000_u64.to_le_bytes());
    body.extend([3, 8, 0, 0, 0, 0xff, 0, 0]);
    body.extend([1, 0, 32, 0, 0, 0, 0, 0]);
    body.extend(0x7f00_0000_u64.to_le_bytes());
    body.extend(0x7f00_ffff_u64.to_le_bytes());
    body.extend([1, 8, 0, 0, 0, 0, 3, 0]);
    body
}

/// `\_S5_`: a package of four numbers (ACPI 6.5, 7.4.2 and 20.2).
fn definitions() -> Vec<u8> {
    vec![0x08, b'_', b'S', b'5', b'_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x0a, 0x05, 0x00, 0x00]
}

/// Tables as [`super::read`] takes them: signature, length, body.
fn join(bodies: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let one = |(signature, body): &(u8, Vec<u8>)| {
        let length = (body.len() as u16).to_le_bytes();
        [&[*signature, length[0], length[1]], body.as_slice()].concat()
    };
    bodies.iter().flat_map(one).collect()
}

/// One of each that is read.
pub fn tables() -> Vec<u8> {
    join(&[(0, fadt()), (1, madt()), (2, mcfg()), (3, dmar()), (4, definitions())])
}
