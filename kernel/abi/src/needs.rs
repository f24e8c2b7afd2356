//! What a task says it must be granted, carried in its ELF file.
//!
//! The section [`SECTION`] holds any number of [`Need`] records, one after the other, in the byte form of
//! [`Need::encode`]. The image builder reads it and matches each record to a grant of that name and kind, so a missing
//! grant is found on the host. A record is made at compile time, without relocations.

/// Name of the ELF section.
pub const SECTION: &str = ".charter.needs";
/// Name of the ELF section that says how many bytes of its stack a program was seen to use: a number in 4 bytes, low one
/// first, or no section where that is not known.
pub const STACK_SECTION: &str = ".charter.stack";
/// Bytes of one record.
pub const NEED_BYTES: usize = 32;
/// Longest name of a need, in bytes of ASCII.
pub const NAME_BYTES_MAX: usize = 28;
/// Version of the record's form, its first byte.
pub const VERSION: u8 = 1;

/// The kinds of grant, as a need asks for them; see [`crate::start::Granted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Calls an endpoint.
    Call = 1,
    /// Receives on an endpoint.
    Receive = 2,
    /// Sets another task's notification bits.
    Signal = 3,
    /// Uses a device's registers (a BAR).
    Registers = 4,
    /// Is told of an interrupt.
    Interrupt = 5,
    /// Asks what a device is.
    DeviceInformation = 6,
    /// Owns a DMA region.
    Dma = 7,
    /// Uses a part of another task's DMA region.
    Window = 8,
    /// Writes to the log under a component name.
    Log = 9,
    /// Reads what the machine tells of itself.
    Evidence = 10,
    /// Reads what is typed on the serial port and writes text there.
    Console = 11,
    /// Asks the kernel what it knows of the system.
    Inspect = 12,
    /// Switches the machine off or resets it.
    Power = 13,
    /// Watches over a task and restarts it.
    Supervise = 14,
    /// Stops a task.
    Kill = 15,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Call,
        Self::Receive,
        Self::Signal,
        Self::Registers,
        Self::Interrupt,
        Self::DeviceInformation,
        Self::Dma,
        Self::Window,
        Self::Log,
        Self::Evidence,
        Self::Console,
        Self::Inspect,
        Self::Power,
        Self::Supervise,
        Self::Kill,
    ];

    /// The kind with this code, if there is one.
    pub fn new(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// The key that grants this kind in `system.toml`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Receive => "receive",
            Self::Signal => "signal",
            Self::Registers => "registers",
            Self::Interrupt => "interrupt",
            Self::DeviceInformation => "information",
            Self::Dma => "dma",
            Self::Window => "window",
            Self::Log => "log",
            Self::Evidence => "evidence",
            Self::Console => "console",
            Self::Inspect => "inspect",
            Self::Power => "power",
            Self::Supervise => "supervise",
            Self::Kill => "kill",
        }
    }
}

/// One need: a grant of this name and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The kind of grant.
    pub kind: Kind,
    /// Whether the task also runs without it.
    pub optional: bool,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Need<'a> {
    /// The record's bytes: version, kind, optional (0 or 1), length of the name, the name, zeroes.
    ///
    /// # Panics
    /// At compile time, if the name is empty, longer than [`NAME_BYTES_MAX`] or not ASCII.
    pub const fn encode(&self) -> [u8; NEED_BYTES] {
        let name = self.name.as_bytes();
        assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "a need's name has 1 to 28 bytes");
        let mut bytes = [0; NEED_BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.kind as u8;
        bytes[2] = self.optional as u8;
        bytes[3] = name.len() as u8;
        let mut index = 0;
        while index < name.len() {
            assert!(name[index].is_ascii_graphic(), "a need's name is ASCII");
            bytes[4 + index] = name[index];
            index += 1;
        }
        bytes
    }

    /// Reads one record; `None` if it is not one.
    pub fn decode(bytes: &'a [u8; NEED_BYTES]) -> Option<Self> {
        let name = bytes[4..].get(..usize::from(bytes[3]))?;
        if bytes[0] != VERSION || bytes[2] > 1 || name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        Some(Self { kind: Kind::new(bytes[1])?, optional: bytes[2] == 1, name: core::str::from_utf8(name).ok()? })
    }
}

/// Reads every record of a needs section; an item is `None` where the bytes are no record.
pub fn decode_all(section: &[u8]) -> impl Iterator<Item = Option<Need<'_>>> {
    section.chunks(NEED_BYTES).map(|bytes| Need::decode(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_survives_its_record() {
        for kind in Kind::ALL {
            let need = Need { kind, optional: kind == Kind::Log, name: "requests" };
            assert_eq!(Need::decode(&need.encode()), Some(need));
        }
    }

    #[test]
    fn what_is_no_record_is_not_decoded() {
        let good = Need { kind: Kind::Dma, optional: false, name: "data" }.encode();
        for (index, value) in [(0, 9), (1, 0), (1, 200), (2, 2), (3, 0), (3, 29), (4, b'\n')] {
            let mut bytes = good;
            bytes[index] = value;
            assert_eq!(Need::decode(&bytes), None, "byte {index} = {value}");
        }
        assert_eq!(decode_all(&good[..31]).next(), Some(None));
    }
}
