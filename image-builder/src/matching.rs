//! Which device each selector of a charter would pick on a machine whose devices were recorded: the kernel's own rule,
//! on the host.
//!
//! A recording is either a TOML list,
//!
//! ```toml
//! [[functions]]
//! address = "0000:00:04.0"
//! vendor = 0x1b36
//! device = 0x0010
//! class = "01/08/02"
//! ```
//!
//! or a serial log. A boot logs the functions that were granted (`charter: device found …`); the console's `devices`
//! lists all that the kernel saw (`> 0000:00:04.0 vendor=…`), also a kernel or task that logs `device: found address=…`
//! does. Such a line has the function's address, and `vendor=` or `pci_vendor=`, `device=` or `pci_device_id=`, `class=`,
//! `subclass=` and `prog_if=`. What is told of one address twice is one function.

use std::fmt;

use serde::Serialize;

use crate::charter::values::{Class, PciAddress, identifier};
use crate::charter::{Charter, Device, Span};
use crate::manifest::Table;
use crate::problem::{Kind, Problem, Problems};

/// A function of the recorded machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: PciAddress,
    /// Its vendor.
    pub vendor: u16,
    /// Which of the vendor's devices it is.
    pub device: u16,
    /// What it does.
    pub class: Class,
}

/// PCI-to-PCI bridges, which no selector picks (PCI code and ID assignment 1.11, base class 06h).
const BRIDGE: (u8, u8) = (0x06, 0x04);

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Class(class, subclass, interface) = self.class;
        write!(
            f,
            "{} vendor {:#06x} device {:#06x} class {class:02x}/{subclass:02x}/{interface:02x}",
            self.address.get(),
            self.vendor,
            self.device
        )
    }
}

impl Function {
    fn matches(&self, selector: &Device) -> bool {
        selector.class.is_none_or(|class| class.value == self.class)
            && selector.vendor.is_none_or(|vendor| vendor.value == self.vendor)
            && selector.device.is_none_or(|device| device.value == self.device)
            && selector.address.is_none_or(|address| address.value == self.address)
            && (self.class.0, self.class.1) != BRIDGE
    }

    fn order(&self) -> (u16, u8, u8, u8) {
        let address = self.address.get();
        (address.segment, address.bus, address.device, address.function)
    }

    fn of_log_line(line: &str) -> Option<Self> {
        let rest = ["charter: ", "device: ", "> "].iter().find_map(|start| line.trim_start().strip_prefix(start))?;
        let value = |key: &str| rest.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| u16::from_str_radix(value(key)?.strip_prefix("0x")?, 16).ok();
        let byte = |key: &str| u8::try_from(number(key)?).ok();
        let address = value("address").or_else(|| rest.split_whitespace().next())?;
        Some(Self {
            address: PciAddress::new(address).ok()?,
            vendor: number("pci_vendor").or_else(|| number("vendor"))?,
            device: number("pci_device_id").or_else(|| number("device"))?,
            class: Class(byte("class")?, byte("subclass")?, byte("prog_if")?),
        })
    }
}

/// Reads a recording; mistakes of a TOML list go to `problems`.
pub fn recording(text: &str, problems: &Problems) -> Vec<Function> {
    let mut of_log: Vec<Function> = Vec::new();
    for function in text.lines().filter_map(Function::of_log_line) {
        if !of_log.iter().any(|known| known.address == function.address) {
            of_log.push(function);
        }
    }
    if !of_log.is_empty() {
        return of_log;
    }
    let Some(root) = crate::manifest::parse(text, problems) else { return Vec::new() };
    let start = Span { start: 0, end: text.lines().next().map_or(0, str::len) };
    let mut root = Table::new("the recording".into(), start, root.get_ref(), problems);
    let functions = root.optional_tables("functions", "a function", function);
    if !root.has("functions") {
        let problem =
            Problem::new(Kind::MissingKey, "the recording has no functions", start, "nothing is recorded here");
        problems.add(problem.help("list them as [[functions]], or give the serial log of a boot"));
    }
    root.finish();
    functions.unwrap_or_default()
}

fn function(mut table: Table<'_>) -> Option<Function> {
    let address = table.required("address", "address = \"0000:00:04.0\"", |value| value.text(PciAddress::new));
    let vendor = table.required("vendor", "vendor = 0x1b36", |value| value.number(identifier));
    let device = table.required("device", "device = 0x0010", |value| value.number(identifier));
    let class = table.required("class", "class = \"01/08/02\"", |value| value.text(Class::new));
    table.finish();
    Some(Function { address: address?.value, vendor: vendor?.value, device: device?.value, class: class?.value })
}

/// What one selector would pick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pick {
    /// The device's name in the charter.
    pub device: String,
    /// What it would be.
    pub function: Option<String>,
    /// What it would not be, although it matches, and why.
    pub others: Vec<Other>,
}

/// A function that matches and is not picked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Which.
    pub function: String,
    /// Why not.
    pub because: String,
}

/// What every selector would pick, in the order in which they choose.
pub fn picks(charter: &Charter, functions: &[Function]) -> Vec<Pick> {
    let mut functions = functions.to_vec();
    functions.sort_by_key(Function::order);
    let mut taken: Vec<(PciAddress, &str)> = Vec::new();
    let mut picks = Vec::new();
    for device in crate::compile::in_order_of_choice(charter) {
        let (mut picked, mut others) = (None, Vec::new());
        for function in functions.iter().filter(|function| function.matches(device)) {
            let because = match (taken.iter().find(|(address, _)| *address == function.address), picked) {
                (Some((_, by)), _) => format!("device `{by}` took it"),
                (None, Some(_)) => "its address is higher".into(),
                (None, None) => {
                    picked = Some(*function);
                    continue;
                }
            };
            others.push(Other { function: function.to_string(), because });
        }
        taken.extend(picked.map(|function| (function.address, device.name.as_str())));
        picks.push(Pick {
            device: device.name.value.to_string(),
            function: picked.map(|function| function.to_string()),
            others,
        });
    }
    picks
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => write!(f, "✓ device `{}` is {function}", self.device)?,
            None => write!(f, "✗ device `{}` is absent: nothing is left that matches", self.device)?,
        }
        self.others.iter().try_for_each(|other| write!(f, "\n    not {}: {}", other.function, other.because))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_log_tells_of_functions_in_each_of_its_forms_and_of_each_once() {
        let log = "\
BdsDxe: loading Boot0001 from PciRoot(0x0)
charter: device found name=disk address=0000:00:01.0 pci_vendor=0x1b36 pci_device_id=0x0010 class=0x01 subclass=0x08 prog_if=0x02
nvme: controller bound device=0000:00:09.0 pci_vendor=0x1b36 pci_device_id=0x0010 class=0x01 subclass=0x08 prog_if=0x02
device: found address=0000:00:02.0 vendor=0x1414 device=0x00a9 class=0x01 subclass=0x08 prog_if=0x02
> 0000:00:01.0 vendor=0x1b36 device=0x0010 class=0x01 subclass=0x08 prog_if=0x02 granted=disk
> 0000:00:1f.2 vendor=0x8086 device=0x2922 class=0x01 subclass=0x06 prog_if=0x01 granted=no\r
> help
charter: device found address=0000:00:03.0 pci_vendor=0x1b36
";
        let problems = Problems::default();
        let found: Vec<_> = recording(log, &problems).iter().map(Function::to_string).collect();
        assert_eq!(
            found,
            [
                "0000:00:01.0 vendor 0x1b36 device 0x0010 class 01/08/02",
                "0000:00:02.0 vendor 0x1414 device 0x00a9 class 01/08/02",
                "0000:00:1f.2 vendor 0x8086 device 0x2922 class 01/06/01",
            ]
        );
        assert!(!problems.has_errors());
    }
}
