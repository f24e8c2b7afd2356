//! A domain: the memory that a device reaches, in second-level tables (VT-d specification 4.1, 3.7 and 9.8).
//!
//! Tables are made at start-up and never change.

use checks::{Check, kept};

use super::page::{PAGE, Page};
use super::{Capabilities, Reason};
use crate::platform::Mapper;

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const LEVELS_MAX: usize = 4;

/// A run of memory and where the device finds it. All are whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The address that the device uses.
    pub seen: u64,
    /// Where it is.
    pub physical: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A finished domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Physical address of its topmost table.
    pub root: u64,
    /// Levels of its tables.
    pub levels: u8,
    /// Its number.
    pub number: u16,
}

impl Domain {
    /// Builds the tables of a domain that holds these runs, which ascend in the addresses that the device uses.
    ///
    /// # Errors
    /// If there is no memory, or a run is not within what the unit translates.
    pub fn build(
        mapper: &mut impl Mapper,
        capabilities: &Capabilities,
        number: u16,
        runs: &[Run],
    ) -> Result<Self, Reason> {
        let end = 1u64 << capabilities.address_bits;
        let mut tables = Tables::new(mapper, capabilities.levels)?;
        for run in runs {
            let beyond = if kept(Check::DomainEnd) { 0 } else { PAGE.into() };
            for offset in (0..run.bytes + beyond).step_by(PAGE as usize) {
                let seen = run.seen.checked_add(offset).filter(|seen| *seen < end).ok_or(Reason::AddressWidth)?;
                tables.map(mapper, seen, run.physical + offset)?;
            }
        }
        Ok(Self { root: tables.root, levels: capabilities.levels, number })
    }
}

/// Tables under construction: the way to the page that was mapped last. Addresses ascend, so what lies left of the way
/// is finished.
struct Tables {
    root: u64,
    levels: usize,
    /// The table of each level and the first address that it is for; the lowest level first.
    way: [Option<(u64, Page)>; LEVELS_MAX],
}

impl Tables {
    fn new(mapper: &mut impl Mapper, levels: u8) -> Result<Self, Reason> {
        let levels = usize::from(levels).min(LEVELS_MAX);
        let root = Page::new(mapper)?;
        let mut tables = Self { root: root.physical(), levels, way: [const { None }; LEVELS_MAX] };
        if let Some(top) = tables.way[..levels].last_mut() {
            *top = Some((0, root));
        }
        Ok(tables)
    }

    fn map(&mut self, mapper: &mut impl Mapper, seen: u64, physical: u64) -> Result<(), Reason> {
        for level in (0..self.levels).rev() {
            let first = seen & !(span(level + 1) - 1);
            if self.way[level].as_ref().is_none_or(|(own, _)| *own != first && level + 1 < self.levels) {
                let table = Page::new(mapper)?;
                if let Some(Some((_, above))) = self.way.get_mut(level + 1) {
                    above.write(index(level + 1, seen), table.physical() | READ | WRITE);
                }
                self.way[level] = Some((first, table));
            }
        }
        if let Some((_, table)) = &mut self.way[0] {
            table.write(index(0, seen), physical | READ | WRITE);
        }
        Ok(())
    }
}

/// Bytes that an entry of a table of this level, from 0, is for.
fn span(level: usize) -> u64 {
    1 << (12 + 9 * level)
}

/// Offset of an address's entry in its table of this level.
fn index(level: usize, seen: u64) -> u32 {
    ((seen / span(level)) as u32 & 511) * 8
}
