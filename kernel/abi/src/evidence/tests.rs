//! Evidence that is written is read, and what is none is refused.

use super::*;
extern crate std;
use std::vec::Vec;

const ADDRESS: PciAddress = PciAddress { segment: 0x15c4, bus: 0, device: 4, function: 1 };

fn items() -> Vec<Item> {
    std::vec![
        Item::Processor { leaf: 0x4000_0000, registers: [1, 2, 3, u32::MAX] },
        Item::Smbios { field: SmbiosField::ChassisAssetTag, value: text(b"7783-7084-3265-9085-8269-3286-77") },
        Item::AcpiTable { signature: text(b"FACP"), oem: text(b"BOCHS "), oem_table: text(b"BXPC    ") },
        Item::AcpiDevice { table: text(b"DSDT"), id: text(b"VMBUS") },
        Item::Function {
            seen_by: SeenBy::Firmware,
            address: ADDRESS,
            vendor: 0x1414,
            device: 0x00a9,
            subsystem: Some((0x1414, 1)),
            class: (1, 8, 2),
            bound: false,
        },
        Item::Controller {
            seen_by: SeenBy::Bus,
            address: ADDRESS,
            model: text(b"MSFT NVMe Accelerator v1.0   "),
            serial: text(b"SN: 000001"),
            firmware: text(b"v1.00000"),
            namespaces: 3,
        },
        Item::Namespace {
            seen_by: SeenBy::Firmware,
            address: ADDRESS,
            nsid: 1,
            blocks: 1 << 40,
            block_bytes: 512,
            vendor_area: text(b"type=local,index=1,name=nvme-300G-1"),
        },
        Item::Unavailable { topic: Topic::Identify, address: Some(ADDRESS), reason: text(b"timed out") },
    ]
}

#[test]
fn what_was_collected_is_read_back() {
    let mut bytes = std::vec![0xaa; EVIDENCE_BYTES];
    let mut writer = Writer::new(&mut bytes);
    items().iter().for_each(|item| writer.add(item));
    let used = writer.used();
    assert!(bytes[used..].iter().all(|byte| *byte == 0));
    let evidence = Evidence::open(&bytes).unwrap();
    assert!(evidence.items().eq(items()));
    assert_eq!(evidence.left_out(), 0);
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut bytes = std::vec![0; 64];
    let mut writer = Writer::new(&mut bytes);
    items().iter().for_each(|item| writer.add(item));
    let evidence = Evidence::open(&bytes).unwrap();
    let kept: Vec<_> = evidence.items().collect();
    assert!(!kept.is_empty() && kept.len() < items().len());
    assert!(kept.iter().all(|item| items().contains(item)));
    assert_eq!(kept.len() + usize::from(evidence.left_out()), items().len());

    let mut bytes = std::vec![0; EVIDENCE_BYTES];
    let mut writer = Writer::new(&mut bytes);
    let item = Item::Processor { leaf: 0, registers: [0; 4] };
    (0..ITEMS_MAX + 3).for_each(|_| writer.add(&item));
    let evidence = Evidence::open(&bytes).unwrap();
    assert_eq!((evidence.items().count(), evidence.left_out()), (ITEMS_MAX, 3));
}

#[test]
fn what_is_no_evidence_is_refused() {
    assert_eq!(Evidence::open(&[]).err(), Some(EvidenceError::Magic));
    assert_eq!(Evidence::open(&[0; EVIDENCE_BYTES]).err(), Some(EvidenceError::Magic));
    let mut bytes = [0; 64];
    Writer::new(&mut bytes);
    bytes[4] = 9;
    assert_eq!(Evidence::open(&bytes).err(), Some(EvidenceError::Version(9)));
}

#[test]
fn text_is_what_can_be_printed() {
    assert_eq!(text::<8>(b"  QEMU  ").as_str(), "QEMU");
    assert_eq!(text::<8>(b"a\nb\xffc\0rest").as_str(), "a?b?c");
    assert_eq!(text::<4>(b"longer").as_str(), "long");
    assert_eq!(text::<4>(b"").as_str(), "");
}

#[test]
fn every_name_is_its_own() {
    for field in SmbiosField::ALL {
        assert_eq!(SmbiosField::from_name(field.name()), Some(*field));
    }
    assert_eq!(Topic::from_name("identify"), Some(Topic::Identify));
    assert_eq!(SeenBy::from_name("nobody"), None);
}

proptest::proptest! {
    /// Damaged evidence gives fewer items, and nothing panics.
    #[test]
    fn no_bytes_panic(at in HEADER_BYTES - 6..200usize, value: u8, more in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        let mut bytes = std::vec![0; 512];
        let mut writer = Writer::new(&mut bytes);
        items().iter().for_each(|item| writer.add(item));
        bytes[at] = value;
        bytes[300..300 + more.len()].copy_from_slice(&more);
        if let Ok(evidence) = Evidence::open(&bytes) {
            proptest::prop_assert!(evidence.items().count() <= 0x1_0000);
        }
    }
}
