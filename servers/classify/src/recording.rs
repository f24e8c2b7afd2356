//! Evidence as text, one line an item, and back: the lines `cloud: evidence source=…` of a serial log are a recording of
//! the machine, which `image-builder classify` replays.

use core::fmt::{self, Write};
use core::str::FromStr;

use abi::evidence::{Item, SeenBy, SmbiosField, Topic};
use abi::system_call::PciAddress;
use heapless::{String, Vec};
use task::Quoted;

/// What such a line begins with, component included.
pub const PREFIX: &str = "cloud: evidence source=";

/// An item as a line of the log, from `source=` on.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(pub &'a Item);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Item::Processor { leaf, registers: [eax, ebx, ecx, edx] } => {
                write!(f, "source=cpuid leaf={leaf:#010x} eax={eax:#x} ebx={ebx:#x} ecx={ecx:#x} edx={edx:#x}")?;
                // For readers only: the registers say the same.
                let name =
                    if leaf & 0xff == 0 { crate::rules::hypervisor(core::slice::from_ref(self.0)) } else { None };
                name.map_or(Ok(()), |name| write!(f, " name={}", Quoted(&name)))
            }
            Item::Smbios { field, value } => {
                write!(f, "source=smbios field={} value={}", field.name(), Quoted(value))
            }
            Item::AcpiTable { signature, oem, oem_table } => {
                write!(f, "source=acpi table={} oem={} oem_table={}", Quoted(signature), Quoted(oem), Quoted(oem_table))
            }
            Item::AcpiDevice { table, id } => {
                write!(f, "source=acpi table={} hardware_id={}", Quoted(table), Quoted(id))
            }
            Item::Function { seen_by, address, vendor, device, subsystem, class, bound } => {
                write!(f, "source=pci seen_by={} device={address} ", seen_by.name())?;
                write!(f, "pci_vendor={vendor:#06x} pci_device_id={device:#06x} ")?;
                if let Some((vendor, identifier)) = subsystem {
                    write!(f, "subsystem_vendor={vendor:#06x} subsystem_id={identifier:#06x} ")?;
                }
                let (class, subclass, interface) = class;
                write!(f, "class={class:#04x} subclass={subclass:#04x} prog_if={interface:#04x} bound={bound}")
            }
            Item::Controller { seen_by, address, model, serial, firmware, namespaces } => write!(
                f,
                "source=identify seen_by={} device={address} model={} serial={} firmware={} namespaces={namespaces}",
                seen_by.name(),
                Quoted(model),
                Quoted(serial),
                Quoted(firmware)
            ),
            Item::Namespace { seen_by, address, nsid, blocks, block_bytes, vendor_area } => {
                write!(f, "source=namespace seen_by={} device={address} ", seen_by.name())?;
                write!(f, "nsid={nsid} blocks={blocks} block_bytes={block_bytes} vendor_area={}", Quoted(vendor_area))
            }
            Item::Unavailable { topic, address, reason } => {
                write!(f, "source={}", topic.name())?;
                if let Some(address) = address {
                    write!(f, " device={address}")?;
                }
                write!(f, " not_available={}", Quoted(reason))
            }
        }
    }
}

/// Why a line is no evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEvidence {
    /// It is not of the form `key=value key="value"`.
    #[error("not of the form key=value")]
    Form,
    /// It names no source of evidence.
    #[error("unknown source")]
    Source,
    /// A key is missing, or its value is no value of it.
    #[error("{0} is missing or wrong")]
    Key(&'static str),
}

/// The item of a line, from `source=` on.
///
/// # Errors
/// What is wrong with it.
pub fn parse(line: &str) -> Result<Item, NotEvidence> {
    let fields = Fields::new(line)?;
    let seen_by = || fields.choice("seen_by", SeenBy::from_name);
    let address = || fields.choice("device", address);
    let source = fields.get("source").ok_or(NotEvidence::Source)?;
    if fields.get("not_available").is_some() {
        let topic = Topic::from_name(source).ok_or(NotEvidence::Source)?;
        let address = fields.get("device").map(|_| address()).transpose()?;
        return Ok(Item::Unavailable { topic, address, reason: fields.text("not_available")? });
    }
    Ok(match source {
        "cpuid" => Item::Processor {
            leaf: fields.number("leaf")?,
            registers: [fields.number("eax")?, fields.number("ebx")?, fields.number("ecx")?, fields.number("edx")?],
        },
        "smbios" => {
            Item::Smbios { field: fields.choice("field", SmbiosField::from_name)?, value: fields.text("value")? }
        }
        "acpi" if fields.get("hardware_id").is_some() => {
            Item::AcpiDevice { table: fields.text("table")?, id: fields.text("hardware_id")? }
        }
        "acpi" => Item::AcpiTable {
            signature: fields.text("table")?,
            oem: fields.text("oem")?,
            oem_table: fields.text("oem_table")?,
        },
        "pci" => Item::Function {
            seen_by: seen_by()?,
            address: address()?,
            vendor: fields.number("pci_vendor")?,
            device: fields.number("pci_device_id")?,
            subsystem: match fields.get("subsystem_vendor") {
                Some(_) => Some((fields.number("subsystem_vendor")?, fields.number("subsystem_id")?)),
                None => None,
            },
            class: (fields.number("class")?, fields.number("subclass")?, fields.number("prog_if")?),
            bound: fields.choice("bound", |text| bool::from_str(text).ok())?,
        },
        "identify" => Item::Controller {
            seen_by: seen_by()?,
            address: address()?,
            model: fields.text("model")?,
            serial: fields.text("serial")?,
            firmware: fields.text("firmware")?,
            namespaces: fields.number("namespaces")?,
        },
        "namespace" => Item::Namespace {
            seen_by: seen_by()?,
            address: address()?,
            nsid: fields.number("nsid")?,
            blocks: fields.number("blocks")?,
            block_bytes: fields.number("block_bytes")?,
            vendor_area: fields.text("vendor_area")?,
        },
        _ => return Err(NotEvidence::Source),
    })
}

/// `SSSS:BB:DD.F`, hexadecimal, as [`PciAddress`] is written.
fn address(text: &str) -> Option<PciAddress> {
    let (segment, rest) = text.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let byte = |text| u8::from_str_radix(text, 16).ok();
    let segment = u16::from_str_radix(segment, 16).ok()?;
    let address = PciAddress { segment, bus: byte(bus)?, device: byte(device)?, function: byte(function)? };
    (address.device < 32 && address.function < 8).then_some(address)
}

/// Most keys on a line.
const KEYS_MAX: usize = 16;

/// Keys and values of a line.
struct Fields<'a>(Vec<(&'a str, String<96>), KEYS_MAX>);

impl<'a> Fields<'a> {
    fn new(line: &'a str) -> Result<Self, NotEvidence> {
        let mut fields = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').ok_or(NotEvidence::Form)?;
            let (value, after) = value(after).ok_or(NotEvidence::Form)?;
            fields.push((key, value)).map_err(|_| NotEvidence::Form)?;
            rest = after.trim_start();
        }
        Ok(Self(fields))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    fn choice<T>(&self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, NotEvidence> {
        self.get(key).and_then(read).ok_or(NotEvidence::Key(key))
    }

    fn text<const N: usize>(&self, key: &'static str) -> Result<String<N>, NotEvidence> {
        let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        self.choice(key, |text| String::try_from(text).ok().filter(|_| is_text(text)))
    }

    fn number<T: TryFrom<u64>>(&self, key: &'static str) -> Result<T, NotEvidence> {
        self.choice(key, task::number)
    }
}

/// The value at the start of the text, and what follows it.
fn value(text: &str) -> Option<(String<96>, &str)> {
    let mut value = String::new();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        value.push_str(&text[..end]).ok()?;
        return Some((value, &text[end..]));
    };
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.write_char(characters.next()?.1).ok()?,
            _ => value.write_char(character).ok()?,
        }
    }
    None
}

/// The evidence in a recording: the lines that hold some, with their numbers from 1. Everything else, also what stands
/// before it on its line (time stamps, prompts), is passed over.
pub fn items(recording: &str) -> impl Iterator<Item = (usize, Result<Item, NotEvidence>)> {
    recording.lines().enumerate().filter_map(|(index, line)| {
        let start = line.find(PREFIX)? + PREFIX.len() - "source=".len();
        Some((index + 1, parse(&line[start..])))
    })
}
