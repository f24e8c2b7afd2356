//! The DMA remapping table: which IOMMUs there are, which functions each of them is in front of, and which functions
//! firmware wants to keep memory for (VT-d specification 4.1, chapter 8).
//!
//! A table that is wrong anywhere is wrong altogether: half a description would leave functions out of every IOMMU.

use heapless::Vec;

use super::{HEADER_BYTES, u16_at, u64_at};

/// Most remapping units, reserved regions, functions that one of them names, and steps to such a function.
pub const UNITS_MAX: usize = 8;
/// See [`UNITS_MAX`].
pub const RESERVED_MAX: usize = 8;
/// See [`UNITS_MAX`].
pub const SCOPES_MAX: usize = 16;
/// See [`UNITS_MAX`].
pub const STEPS_MAX: usize = 4;

/// Host address width and flags, beyond the header, and ten reserved bytes.
const FIXED_BYTES: usize = 12;
const INTERRUPT_REMAPPING: u8 = 1 << 0;
const EVERY_OTHER: u8 = 1 << 0;

/// Why the table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DmarError {
    /// Its length or its checksum is wrong.
    #[error("damaged")]
    Damaged,
    /// It, or a structure in it, ends too early.
    #[error("cut short")]
    Short,
    /// It describes more than the kernel has room for.
    #[error("more {0} than can be kept")]
    TooMany(&'static str),
    /// A unit's registers cannot lie there.
    #[error("a unit's registers at an impossible address")]
    Address,
    /// Two units say that they are in front of all that the others are not.
    #[error("two units in front of every other function of a segment")]
    TwoForTheRest,
    /// There is no unit in it.
    #[error("no unit")]
    NoUnit,
}

/// What the table says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dmar {
    /// Whether firmware lets interrupts be remapped.
    pub interrupt_remapping: bool,
    /// The units.
    pub units: Vec<UnitDescription, UNITS_MAX>,
    /// Memory that firmware wants some functions to keep.
    pub reserved: Vec<Reserved, RESERVED_MAX>,
}

/// A remapping unit (DRHD, 8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitDescription {
    /// Physical address of its registers, on a page.
    pub address: u64,
    /// PCI segment group.
    pub segment: u16,
    /// Whether it is in front of every function of the segment that no other unit names.
    pub every_other: bool,
    /// What it is in front of.
    pub scopes: Vec<Scope, SCOPES_MAX>,
}

/// Reserved memory (RMRR, 8.4): these functions use memory whatever the system does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// PCI segment group.
    pub segment: u16,
    /// Whose it is.
    pub scopes: Vec<Scope, SCOPES_MAX>,
}

/// What a scope names (8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// One function.
    Endpoint,
    /// A bridge and everything behind it.
    Bridge,
    /// An I/O APIC, by its number.
    IoApic,
    /// An HPET, a device that is no PCI function, or what later specifications add.
    Other,
}

/// A device scope: something, and the way to it from a root bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What it names.
    pub kind: ScopeKind,
    /// Number of an I/O APIC.
    pub number: u8,
    /// The bus where the way begins.
    pub bus: u8,
    /// Device and function of each bridge on the way, and of what is named: never empty.
    pub path: Vec<(u8, u8), STEPS_MAX, u8>,
}

impl Dmar {
    /// Reads a table whose length and checksum are right.
    ///
    /// # Errors
    /// See [`DmarError`].
    pub fn read(table: &[u8]) -> Result<Self, DmarError> {
        const UNIT: u16 = 0;
        const RESERVED: u16 = 1;
        let flags = *table.get(HEADER_BYTES + 1).ok_or(DmarError::Short)?;
        let mut dmar = Self { interrupt_remapping: flags & INTERRUPT_REMAPPING != 0, ..Self::default() };
        let mut rest = table.get(HEADER_BYTES + FIXED_BYTES..).ok_or(DmarError::Short)?;
        while !rest.is_empty() {
            let (Some(kind), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) else { return Err(DmarError::Short) };
            // A structure shorter than its own head would never end.
            if length < 4 {
                return Err(DmarError::Short);
            }
            let (structure, others) = rest.split_at_checked(length.into()).ok_or(DmarError::Short)?;
            rest = others;
            match kind {
                UNIT => dmar.add_unit(structure)?,
                RESERVED => dmar.add_reserved(structure)?,
                // ATS, affinities and names of other devices: nothing here relies on them.
                _ => {}
            }
        }
        if dmar.units.is_empty() { Err(DmarError::NoUnit) } else { Ok(dmar) }
    }

    fn add_unit(&mut self, structure: &[u8]) -> Result<(), DmarError> {
        let flags = *structure.get(4).ok_or(DmarError::Short)?;
        let (Some(segment), Some(address)) = (u16_at(structure, 6), u64_at(structure, 8)) else {
            return Err(DmarError::Short);
        };
        if address == 0 || !address.is_multiple_of(4096) || address >= 1 << 52 {
            return Err(DmarError::Address);
        }
        let every_other = flags & EVERY_OTHER != 0;
        if every_other && self.units.iter().any(|unit| unit.every_other && unit.segment == segment) {
            return Err(DmarError::TwoForTheRest);
        }
        let unit = UnitDescription { address, segment, every_other, scopes: scopes(&structure[16..])? };
        self.units.push(unit).map_err(|_| DmarError::TooMany("units"))
    }

    fn add_reserved(&mut self, structure: &[u8]) -> Result<(), DmarError> {
        let segment = u16_at(structure, 6).ok_or(DmarError::Short)?;
        let reserved = Reserved { segment, scopes: scopes(structure.get(24..).ok_or(DmarError::Short)?)? };
        self.reserved.push(reserved).map_err(|_| DmarError::TooMany("reserved regions"))
    }

    /// The unit that an I/O APIC of this number is behind, by its index, and the requester that its interrupts come
    /// from.
    pub fn io_apic(&self, number: u8) -> Option<(usize, u16)> {
        self.units.iter().enumerate().find_map(|(index, unit)| {
            let scope = unit.scopes.iter().find(|own| own.kind == ScopeKind::IoApic && own.number == number)?;
            let (device, function) = *scope.path.first().filter(|_| scope.path.len() == 1)?;
            Some((index, u16::from(scope.bus) << 8 | u16::from(device) << 3 | u16::from(function)))
        })
    }
}

fn scopes(mut bytes: &[u8]) -> Result<Vec<Scope, SCOPES_MAX>, DmarError> {
    /// Type, length, two reserved bytes, number, bus.
    const HEAD: usize = 6;
    let mut scopes = Vec::new();
    while let [kind, length, ..] = *bytes {
        let length = usize::from(length);
        // At least one step.
        if length < HEAD + 2 || !length.is_multiple_of(2) {
            return Err(DmarError::Short);
        }
        let (scope, others) = bytes.split_at_checked(length).ok_or(DmarError::Short)?;
        bytes = others;
        let mut path = Vec::new();
        for step in scope[HEAD..].chunks_exact(2) {
            path.push((step[0] & 31, step[1] & 7)).map_err(|_| DmarError::TooMany("steps to a function"))?;
        }
        let kind = match kind {
            1 => ScopeKind::Endpoint,
            2 => ScopeKind::Bridge,
            3 => ScopeKind::IoApic,
            _ => ScopeKind::Other,
        };
        let scope = Scope { kind, number: scope[4], bus: scope[5], path };
        scopes.push(scope).map_err(|_| DmarError::TooMany("scopes"))?;
    }
    if bytes.is_empty() { Ok(scopes) } else { Err(DmarError::Short) }
}

#[cfg(test)]
mod tests;
