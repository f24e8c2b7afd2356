//! `[devices.NAME]` and `[regions.NAME]`.

use abi::layout;

use super::reader::Table;
use crate::charter::values::{Broker, Class, Name, PciAddress, Size, identifier, remapping};
use crate::charter::{Device, Located, Region};
use crate::problem::{Kind, Problem};

/// Reads a device.
pub fn device(name: Located<Name>, table: &mut Table<'_>) -> Option<Device> {
    let class = table.optional("class", |value| value.text(Class::new));
    let vendor = table.optional("vendor", |value| value.number(identifier));
    let device = table.optional("device", |value| value.number(identifier));
    let address = table.optional("pci", |value| value.text(PciAddress::new));
    let selector_is_read = table.has("class") == class.is_some()
        && table.has("vendor") == vendor.is_some()
        && table.has("device") == device.is_some()
        && table.has("pci") == address.is_some();
    let broker = table.optional("broker", |value| value.text(Broker::new));
    let broker_is_named = table.has("broker");
    let remapping = table.optional("remapping", |value| value.text(remapping));
    if !["class", "vendor", "pci"].iter().any(|key| table.has(key)) {
        let message = format!("{} does not say which PCI function it is", table.subject());
        table.problem(
            Problem::new(Kind::BadSelector, message, table.span(), "any function could match")
                .help("add `class = \"nvme\"`, `vendor = 0x1b36` or `pci = \"0000:00:04.0\"`"),
        );
        return None;
    }
    Some(Device {
        name,
        class,
        vendor,
        device,
        address,
        selector_is_read,
        broker,
        broker_is_named,
        remapping: remapping.map(|remapping| remapping.value).unwrap_or_default(),
    })
}

/// Reads a region.
pub fn region(name: Located<Name>, table: &mut Table<'_>) -> Option<Region> {
    let device = table.required("device", "device = \"disk\"", |value| value.text(Name::new));
    let size =
        table.required("size", "size = \"4 MiB\"", |value| value.text(|text| Size::new(text, layout::WINDOW_STRIDE)));
    Some(Region { name, device, size })
}
