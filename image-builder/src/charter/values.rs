//! Values of the charter, of types that cannot hold a wrong one.
//!
//! Each is made from what the manifest says, or answers a [`ValueError`] that says what is wrong and what would be right.

use abi::package::{Command, RemappingPolicy};
use abi::{layout, package};

use crate::problem::{Kind, closest};

/// Why a value is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// The kind of mistake.
    pub kind: Kind,
    /// What is wrong, in a few words that fit under the value.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl ValueError {
    fn new(kind: Kind, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: Some(help.into()) }
    }
}

/// Makes a type of text that holds only certain characters, and so many.
macro_rules! text {
    ($(#[$documentation:meta])* $type:ident, $what:literal, $most:expr, $extra:pat, $help:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// From text.
            ///
            /// # Errors
            /// If the text is empty, too long, or has another character.
            pub fn new(text: &str) -> Result<Self, ValueError> {
                let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, $extra);
                characters(text, $what, $most, good).map_err(|what| {
                    let is_path = $what == "program's name" && text.contains('/');
                    let kind = match text.len() > $most {
                        _ if is_path => Kind::ProgramPath,
                        true => Kind::LongName,
                        false => Kind::BadName,
                    };
                    ValueError::new(kind, what, $help)
                })?;
                Ok(Self(text.into()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// Name of a task, device, region, endpoint, grant or log component: 1 to 28 characters of `a-z`, `0-9`, `-`.
    Name, "name", package::NAME_BYTES_MAX, b'-', "a name has 1 to 28 characters: a-z, 0-9 and -"
}
text! {
    /// Key of a setting: 1 to 28 characters of `a-z`, `0-9`, `-`, `_`.
    SettingName, "setting's key", package::NAME_BYTES_MAX, b'-' | b'_',
    "the key of a setting has 1 to 28 characters: a-z, 0-9, - and _"
}
text! {
    /// File name of a program: 1 to 64 characters of `a-z`, `0-9`, `-`, `_`; never a path.
    ProgramName, "program's name", 64, b'-' | b'_',
    "a program is a file name of 1 to 64 characters: a-z, 0-9, - and _; --programs says where to look"
}

fn characters(text: &str, what: &str, most: usize, good: impl Fn(u8) -> bool) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("a {what} is not empty"));
    }
    if let Some(bad) = text.chars().find(|character| !u8::try_from(*character).is_ok_and(&good)) {
        return Err(format!("{bad:?} is not allowed in a {what}"));
    }
    if text.len() > most {
        return Err(format!("{} characters, at most {most} fit", text.len()));
    }
    Ok(())
}

/// Reads `4 MiB` and the like: a whole number and one of `B`, `KiB`, `MiB`, `GiB`; `0` needs no unit.
///
/// # Errors
/// If it is not of that form, or beyond 2^64 bytes.
pub fn bytes(text: &str) -> Result<u64, ValueError> {
    let help = "a size is a whole number and B, KiB, MiB or GiB, as in \"4 MiB\"";
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..split], text[split..].trim_start());
    if digits.is_empty() {
        return Err(ValueError::new(Kind::BadSize, "not a size", help));
    }
    let beyond = || ValueError::new(Kind::TooLarge, "beyond 2^64 bytes", help);
    let number: u64 = digits.parse().map_err(|_| beyond())?;
    let scale = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" if number == 0 => 1,
        "" => return Err(ValueError::new(Kind::MissingUnit, "a number without a unit", help)),
        _ => {
            let meant = match unit.to_ascii_lowercase().as_str() {
                "b" | "byte" | "bytes" => Some("B"),
                "k" | "kb" | "kib" => Some("KiB"),
                "m" | "mb" | "mib" => Some("MiB"),
                "g" | "gb" | "gib" => Some("GiB"),
                _ => None,
            };
            let help = meant.map_or(help.into(), |meant| format!("did you mean \"{number} {meant}\"?"));
            return Err(ValueError::new(Kind::UnknownUnit, format!("unknown unit {unit:?}"), help));
        }
    };
    number.checked_mul(scale).ok_or_else(beyond)
}

fn pages(text: &str) -> Result<u64, ValueError> {
    let bytes = bytes(text)?;
    if !bytes.is_multiple_of(layout::PAGE_BYTES) {
        let rule = "memory is granted in pages of 4 KiB";
        let help = match bytes.checked_next_multiple_of(layout::PAGE_BYTES) {
            Some(next) => format!("{rule}; the next one is \"{}\"", Bytes(next)),
            None => rule.into(),
        };
        return Err(ValueError::new(Kind::Misaligned, "not a multiple of 4 KiB", help));
    }
    Ok(bytes)
}

/// Size of memory: whole pages, at least one, at most 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// The stack of a task that does not say.
    pub const STACK_DEFAULT: Self = Self(64 << 10);

    /// The size that this text is, at most `most` bytes.
    ///
    /// # Errors
    /// If it is no size, not in whole pages, zero, or more than that.
    pub fn new(text: &str, most: u64) -> Result<Self, ValueError> {
        let most = most.min(layout::WINDOW_STRIDE);
        let help = || format!("from \"4 KiB\" to \"{}\"", Bytes(most));
        match pages(text)? {
            0 => Err(ValueError::new(Kind::NoMemory, "no memory at all", help())),
            bytes if bytes > most => Err(ValueError::new(Kind::TooLarge, format!("more than {}", Bytes(most)), help())),
            bytes => Ok(Self(bytes)),
        }
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// Place in a region: whole pages from its start, less than 1 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(u64);

impl Offset {
    /// The offset that this text is.
    ///
    /// # Errors
    /// If it is no size, not in whole pages, or 1 GiB or more.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        match pages(text)? {
            bytes if bytes >= layout::WINDOW_STRIDE => {
                Err(ValueError::new(Kind::TooLarge, "no region is that large", "a region has at most \"1 GiB\""))
            }
            bytes => Ok(Self(bytes)),
        }
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// Bytes, shown with the largest unit that divides them.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.iter().find(|(shift, _)| self.0 != 0 && self.0.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None if self.0 == 0 => f.write_str("0"),
            None => write!(f, "{} B", self.0),
        }
    }
}

fn ranged(value: u64, least: u64, most: u64, what: &str) -> Result<u64, ValueError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ValueError::new(Kind::OutOfRange, "out of range", format!("{what} is a number from {least} to {most}")))
}

/// Priority of a task, 0 to 63; higher runs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// From a number.
    ///
    /// # Errors
    /// Beyond 63.
    pub fn new(value: u64) -> Result<Self, ValueError> {
        ranged(value, 0, package::PRIORITY_MAX.into(), "a priority").map(|value| Self(value as u8))
    }

    /// As a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A system's own version, 0 to 2^31 − 1 (what Azure's galleries take): a later one is larger. 0 is that of a system
/// whose charter gives none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SystemVersion(u32);

impl SystemVersion {
    /// From a number.
    ///
    /// # Errors
    /// Beyond 2^31 − 1.
    pub fn new(value: u64) -> Result<Self, ValueError> {
        ranged(value, 0, i32::MAX as u64, "a system's version").map(|value| Self(value as u32))
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Base address register of a PCI function, 0 to 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar(u8);

impl Bar {
    /// From a number.
    ///
    /// # Errors
    /// Beyond 5.
    pub fn new(value: u64) -> Result<Self, ValueError> {
        ranged(value, 0, 5, "a base address register").map(|value| Self(value as u8))
    }

    /// As a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Entry of an MSI-X table, 0 to 2047 (PCI Express base 6.0, 7.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vector(u16);

impl Vector {
    /// From a number.
    ///
    /// # Errors
    /// Beyond 2047.
    pub fn new(value: u64) -> Result<Self, ValueError> {
        ranged(value, 0, 2047, "an MSI-X vector").map(|value| Self(value as u16))
    }

    /// As a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// NVMe namespace identifier, 1 to 0xfffffffe: neither none nor the broadcast one (NVMe base 2.0, 3.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace(u32);

impl Namespace {
    /// From a number.
    ///
    /// # Errors
    /// Zero, or beyond 0xfffffffe.
    pub fn new(value: u64) -> Result<Self, ValueError> {
        ranged(value, 1, 0xffff_fffe, "a namespace identifier").map(|value| Self(value as u32))
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// PCI vendor or device identifier: 16 bits, not the 0xffff that an empty slot answers.
///
/// # Errors
/// Beyond 0xfffe.
pub fn identifier(value: u64) -> Result<u16, ValueError> {
    let help = "a PCI identifier is a number from 0 to 0xfffe";
    let beyond = || ValueError::new(Kind::OutOfRange, "out of range", help);
    u16::try_from(value).ok().filter(|value| *value != 0xffff).ok_or_else(beyond)
}

/// Place of a PCI function, `SSSS:BB:DD.F` in hexadecimal; the segment may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddress(abi::system_call::PciAddress);

impl PciAddress {
    /// The address that this text is.
    ///
    /// # Errors
    /// If it is not of that form, or device or function do not exist (beyond 1f and 7).
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let wrong = |message: &str| {
            let help = "segment, bus, device and function in hexadecimal, as in \"0000:00:04.0\"";
            ValueError::new(Kind::BadPciAddress, message, help)
        };
        let number = |digits: &str, length: usize| {
            let good = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            if good { u16::from_str_radix(digits, 16).ok() } else { None }
        };
        let parse = || {
            let (segment, rest) = match text.matches(':').count() {
                1 => (0, text),
                _ => text
                    .split_once(':')
                    .map(|(segment, rest)| (number(segment, 4), rest))
                    .and_then(|(s, r)| Some((s?, r)))?,
            };
            let (bus, rest) = rest.split_once(':')?;
            let (device, function) = rest.split_once('.')?;
            Some((segment, number(bus, 2)?, number(device, 2)?, number(function, 1)?))
        };
        let (segment, bus, device, function) = parse().ok_or_else(|| wrong("not a PCI address"))?;
        if device > 0x1f {
            return Err(wrong("device beyond 1f"));
        }
        if function > 7 {
            return Err(wrong("function beyond 7"));
        }
        Ok(Self(abi::system_call::PciAddress {
            segment,
            bus: bus as u8,
            device: device as u8,
            function: function as u8,
        }))
    }

    /// As the kernel takes it.
    pub fn get(self) -> abi::system_call::PciAddress {
        self.0
    }
}

/// PCI class, subclass and programming interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(pub u8, pub u8, pub u8);

impl Class {
    /// Classes that have a name.
    pub const NAMES: [(&str, Self); 1] = [("nvme", Self(0x01, 0x08, 0x02))];

    /// The class of this name, or of this form: `01/08/02`, hexadecimal.
    ///
    /// # Errors
    /// If it is neither.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        if let Some((_, class)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*class);
        }
        let part = |part: &str| {
            let good = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            if good { u8::from_str_radix(part, 16).ok() } else { None }
        };
        let parts: Option<Vec<u8>> = text.split('/').map(part).collect();
        match parts.as_deref() {
            Some([class, subclass, interface]) => Ok(Self(*class, *subclass, *interface)),
            _ => {
                let help = "\"nvme\", or class, subclass and interface in hexadecimal, as in \"01/08/02\"";
                Err(ValueError::new(Kind::BadValue, "not a PCI class", help))
            }
        }
    }
}

/// In which direction something may be used. Reading is always allowed; writing is more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Only read. What the charter does not say otherwise is this.
    #[default]
    ReadOnly,
    /// Read and written.
    ReadWrite,
}

impl Access {
    /// From its name.
    ///
    /// # Errors
    /// If it is neither `read-only` nor `read-write`.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        match text {
            "read-only" => Ok(Self::ReadOnly),
            "read-write" => Ok(Self::ReadWrite),
            _ => Err(ValueError::new(Kind::BadValue, "not an access", "\"read-only\" or \"read-write\"")),
        }
    }

    /// Whether it may be written.
    pub fn is_writable(self) -> bool {
        self == Self::ReadWrite
    }
}

/// What a device's `remapping` says.
///
/// # Errors
/// If it is no such word.
pub fn remapping(text: &str) -> Result<RemappingPolicy, ValueError> {
    RemappingPolicy::from_name(text)
        .ok_or_else(|| ValueError::new(Kind::BadValue, "no such policy", "\"allow\", \"forbid\" or \"require\""))
}

/// A command that a limit of a device lists.
///
/// # Errors
/// If there is no command of this name.
pub fn opcode(text: &str) -> Result<Command, ValueError> {
    Command::from_name(text).ok_or_else(|| {
        let names = || Command::ALL.iter().map(|command| command.name());
        let help = match closest(text, names()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "),
        };
        ValueError::new(Kind::BadValue, "no such command", help)
    })
}

/// The trusted half of a driver, linked into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// `drivers/nvme/broker`.
    Nvme,
    /// None: an IOMMU alone holds the device.
    None,
}

impl Broker {
    /// Every broker's name.
    pub const NAMES: [&str; 2] = ["nvme", "none"];

    /// From its name.
    ///
    /// # Errors
    /// If there is no broker of this name.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        match text {
            "nvme" => Ok(Self::Nvme),
            "none" => Ok(Self::None),
            _ => {
                let help = "the kernel has one broker: \"nvme\"; \"none\" is for a device that an IOMMU alone holds";
                Err(ValueError::new(Kind::UnknownBroker, "no such broker", help))
            }
        }
    }

    /// As the kernel takes it.
    pub fn kind(self) -> package::BrokerKind {
        match self {
            Self::Nvme => package::BrokerKind::Nvme,
            Self::None => package::BrokerKind::None,
        }
    }
}

#[cfg(test)]
mod tests;
