//! What NVMe controllers and namespaces answer to Identify, as items.

use abi::evidence::{Item, SeenBy, text};
use abi::system_call::PciAddress;
use nvme_spec::identify::{Controller, LbaFormat, Namespace, NamespaceList};
use zerocopy::FromBytes;

/// Identify's data as an item; `namespaces` is the number of active ones. `None` if it is too short.
pub fn controller(address: PciAddress, data: &[u8], namespaces: u32) -> Option<Item> {
    let (controller, _) = Controller::ref_from_prefix(data).ok()?;
    Some(Item::Controller {
        seen_by: SeenBy::Firmware,
        address,
        model: text(&controller.model),
        serial: text(&controller.serial),
        firmware: text(&controller.firmware),
        namespaces,
    })
}

/// NN, the highest namespace identifier.
pub fn highest_namespace(data: &[u8]) -> Option<u32> {
    Controller::ref_from_prefix(data).ok().map(|(controller, _)| controller.namespaces.get())
}

/// The active namespaces of a list.
pub fn list(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    NamespaceList::ref_from_prefix(data).ok().into_iter().flat_map(|(list, _)| list.iter())
}

/// A namespace as an item; `None` if it is not active.
pub fn namespace(address: PciAddress, nsid: u32, data: &[u8]) -> Option<Item> {
    let (namespace, _) = Namespace::ref_from_prefix(data).ok()?;
    let blocks = namespace.size.get();
    if blocks == 0 {
        return None;
    }
    let shift = namespace.format().map_or(0, |LbaFormat { block_shift, .. }| u32::from(block_shift));
    let block_bytes = if shift == 0 { 0 } else { 1_u32.checked_shl(shift).unwrap_or(0) };
    let seen_by = SeenBy::Firmware;
    Some(Item::Namespace { seen_by, address, nsid, blocks, block_bytes, vendor_area: vendor_area(&namespace.vendor) })
}

/// The text that the vendor-specific area begins with, if it is text.
fn vendor_area(bytes: &[u8]) -> abi::evidence::Text {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let is_text = bytes[..end].iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if is_text { text(&bytes[..end]) } else { text(&[]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;
    use zerocopy::IntoBytes;

    const ADDRESS: PciAddress = PciAddress { segment: 0, bus: 0, device: 4, function: 0 };

    #[test]
    fn a_controller_is_told_without_its_padding() {
        let mut data = Controller::new_zeroed();
        data.model = [b' '; 40];
        data.model[..26].copy_from_slice(b"MSFT NVMe Accelerator v1.0");
        data.serial[..10].copy_from_slice(b"SN: 000001");
        data.firmware = *b"v1.00000";
        data.namespaces = 16.into();
        let Some(Item::Controller { model, serial, firmware, namespaces, .. }) =
            controller(ADDRESS, data.as_bytes(), 2)
        else {
            panic!("a controller");
        };
        assert_eq!(model.as_str(), "MSFT NVMe Accelerator v1.0");
        assert_eq!((serial.as_str(), firmware.as_str(), namespaces), ("SN: 000001", "v1.00000", 2));
        assert_eq!(highest_namespace(data.as_bytes()), Some(16));
        assert_eq!(controller(ADDRESS, &[0; 100], 1), None);
    }

    #[test]
    fn a_namespace_is_told_with_the_text_of_its_vendor_area() {
        let mut data = Namespace::new_zeroed();
        assert_eq!(namespace(ADDRESS, 1, data.as_bytes()), None, "not active");
        data.size = 1000.into();
        data.formats[0].block_shift = 9;
        data.vendor[..35].copy_from_slice(b"type=local,index=1,name=nvme-300G-1");
        let item = |data: &Namespace| match namespace(ADDRESS, 1, data.as_bytes()) {
            Some(Item::Namespace { blocks, block_bytes, vendor_area, .. }) => (blocks, block_bytes, vendor_area),
            other => panic!("{other:?}"),
        };
        assert_eq!(item(&data), (1000, 512, text(b"type=local,index=1,name=nvme-300G-1")));
        data.vendor[3] = 0xf0;
        data.formats[0].block_shift = 77;
        assert_eq!(item(&data), (1000, 0, text(b"")), "binary data is no text");
    }

    #[test]
    fn a_list_ends_at_zero() {
        let mut data = NamespaceList::new_zeroed();
        data.0[0] = 1.into();
        data.0[1] = 7.into();
        data.0[3] = 9.into();
        assert!(list(data.as_bytes()).eq([1, 7]));
        assert_eq!(list(&[1, 0, 0, 0]).count(), 0, "too short");
    }
}
