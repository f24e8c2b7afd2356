//! Values of disks: which partition, which of Azure's disks, which share of the queue.

use std::fmt;

use protocol::block::{self, SHARE_DEFAULT, SHARE_MAX};

use super::values::{Namespace, ValueError};
use crate::problem::Kind;

/// Most characters of a partition's name: 36 UTF-16 code units (UEFI specification 2.10, table 5.6).
const NAME_UNITS_MAX: usize = 36;

/// A partition of a GUID partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partition {
    /// The one of this name.
    Name(String),
    /// The one of this type, as on the disk.
    Type([u8; 16]),
    /// The one with this unique GUID, as on the disk.
    Guid([u8; 16]),
}

impl Partition {
    /// By its name.
    ///
    /// # Errors
    /// Nothing, longer than a partition's name can be, or with characters that cannot be in one.
    pub fn name(text: &str) -> Result<Self, ValueError> {
        let is_name = !text.is_empty()
            && text.encode_utf16().count() <= NAME_UNITS_MAX
            && text.chars().all(|character| !character.is_control() && u32::from(character) < 0x1_0000);
        if is_name {
            return Ok(Self::Name(text.to_owned()));
        }
        Err(error(Kind::BadName, "not a partition's name", "the name of a partition has 1 to 36 characters"))
    }

    /// By its type.
    ///
    /// # Errors
    /// Not a GUID.
    pub fn kind(text: &str) -> Result<Self, ValueError> {
        guid(text).map(Self::Type)
    }

    /// By its unique GUID.
    ///
    /// # Errors
    /// Not a GUID.
    pub fn guid(text: &str) -> Result<Self, ValueError> {
        guid(text).map(Self::Guid)
    }
}

impl From<block::Partition<'_>> for Partition {
    fn from(partition: block::Partition<'_>) -> Self {
        match partition {
            block::Partition::Name(name) => Self::Name(name.to_owned()),
            block::Partition::Type(bytes) => Self::Type(bytes),
            block::Partition::Guid(bytes) => Self::Guid(bytes),
        }
    }
}

impl<'a> From<&'a Partition> for block::Partition<'a> {
    fn from(partition: &'a Partition) -> Self {
        match partition {
            Partition::Name(name) => Self::Name(name),
            Partition::Type(bytes) => Self::Type(*bytes),
            Partition::Guid(bytes) => Self::Guid(*bytes),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guid = |bytes: &[u8; 16]| uuid::Uuid::from_bytes_le(*bytes);
        match self {
            Self::Name(name) => write!(f, "partition {name:?}"),
            Self::Type(bytes) => write!(f, "partition of type {}", guid(bytes)),
            Self::Guid(bytes) => write!(f, "partition {}", guid(bytes)),
        }
    }
}

fn error(kind: Kind, message: &str, help: &str) -> ValueError {
    ValueError { kind, message: message.to_owned(), help: Some(help.to_owned()) }
}

/// A GUID as it lies on the disk: the first three fields little-endian.
fn guid(text: &str) -> Result<[u8; 16], ValueError> {
    let help = "a GUID has 32 hexadecimal digits: 0fc63daf-8483-4772-8e79-3d69d8477de4";
    match uuid::Uuid::try_parse(text) {
        Ok(own) if text.len() == 36 && !own.is_nil() => Ok(own.to_bytes_le()),
        _ => Err(error(Kind::BadValue, "not a GUID", help)),
    }
}

/// The namespace of Azure's data disk at this LUN (docs/devices/azure-disk.md).
///
/// # Errors
/// Beyond 63, the largest that Azure attaches.
pub fn lun(value: u64) -> Result<Namespace, ValueError> {
    match value {
        0..=63 => Namespace::new(value + 2),
        _ => Err(error(Kind::OutOfRange, "out of range", "a LUN is a number from 0 to 63")),
    }
}

/// The namespace of Azure's system disk.
///
/// # Errors
/// Another word.
pub fn system_disk(text: &str) -> Result<Namespace, ValueError> {
    match text {
        "os" => Namespace::new(1),
        _ => Err(error(Kind::BadValue, "not a disk", "\"os\" is the system disk; data disks are named by `lun`")),
    }
}

/// Most requests of a client at its block server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u8);

impl Default for Share {
    fn default() -> Self {
        Self(SHARE_DEFAULT)
    }
}

impl Share {
    /// From a number.
    ///
    /// # Errors
    /// None, or more than one client can have.
    pub fn new(value: u64) -> Result<Self, ValueError> {
        match u8::try_from(value) {
            Ok(share @ 1..=SHARE_MAX) => Ok(Self(share)),
            _ => {
                let help = format!("a share of the queue is a number from 1 to {SHARE_MAX}");
                Err(error(Kind::OutOfRange, "out of range", &help))
            }
        }
    }

    /// As a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_as_on_the_disk() {
        let linux = Partition::kind("0FC63DAF-8483-4772-8E79-3D69D8477DE4").unwrap();
        assert_eq!(linux.to_string(), "partition of type 0fc63daf-8483-4772-8e79-3d69d8477de4");
        let Partition::Type(bytes) = linux else { panic!() };
        assert_eq!(bytes[..8], [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47]);
        for wrong in ["", "0fc63daf", "0fc63daf848347728e793d69d8477de4", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(Partition::guid(wrong).unwrap_err().kind, Kind::BadValue);
        }
    }

    #[test]
    fn names_fit_into_a_table() {
        assert!(Partition::name(&"x".repeat(36)).is_ok() && Partition::name("daten-ü").is_ok());
        for wrong in ["", "a\nb", "\u{1f600}", &"x".repeat(37)] {
            assert_eq!(Partition::name(wrong).unwrap_err().kind, Kind::BadName);
        }
    }

    #[test]
    fn azures_disks_are_namespaces() {
        assert_eq!((lun(0).unwrap().get(), lun(5).unwrap().get()), (2, 7));
        assert_eq!(system_disk("os").unwrap().get(), 1);
        assert!(lun(64).is_err() && system_disk("data").is_err());
    }
}
