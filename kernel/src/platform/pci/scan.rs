//! The search for functions.
//!
//! Every device number of every bus number is looked at, whether or not a bridge leads there: root buses that only
//! AML describes are found as well, and no numbering of bridges, however wrong, makes the search miss a function or
//! go in circles. That is 8192 words to read for 256 buses (40 ms in QEMU without hardware virtualization).

use abi::package::Selector;
use abi::system_call::PciAddress;
use heapless::Vec;

use super::{At, BRIDGE_BUSES, BUS_MASTERING, Bus, Function, HEADER, INTX_DISABLED, Identity, identity};

/// Most functions and bridges that are remembered.
pub const FUNCTIONS_MAX: usize = 256;
/// See [`FUNCTIONS_MAX`].
pub const BRIDGES_MAX: usize = 64;

const HEADER_TYPE_BRIDGE: u8 = 1;
const HEADER_TYPE_CARDBUS: u8 = 2;
const MULTIPLE_FUNCTIONS: u8 = 0x80;

/// A function that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub address: PciAddress,
    /// What it is.
    pub identity: Identity,
}

/// A bridge that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Where it is.
    pub address: PciAddress,
    /// What it is.
    pub identity: Identity,
    /// The bus behind it.
    pub secondary: u8,
}

/// What the search found.
#[derive(Debug)]
pub struct Inventory {
    functions: Vec<Found, FUNCTIONS_MAX>,
    bridges: Vec<Bridge, BRIDGES_MAX>,
    masters: u32,
    unlisted: u32,
}

impl Inventory {
    /// Nothing.
    pub const fn new() -> Self {
        Self { functions: Vec::new(), bridges: Vec::new(), masters: 0, unlisted: 0 }
    }

    /// The functions that are no bridges, in ascending order within a segment.
    pub fn functions(&self) -> &[Found] {
        &self.functions
    }

    /// The bridges.
    pub fn bridges(&self) -> &[Bridge] {
        &self.bridges
    }

    /// How many functions firmware left with bus mastering on.
    pub fn masters(&self) -> u32 {
        self.masters
    }

    /// How many functions were found, and their bus mastering switched off, that there was no room to remember.
    pub fn unlisted(&self) -> u32 {
        self.unlisted
    }

    /// The function with the lowest address that the selector matches and that is not taken.
    pub fn select(&self, selector: &Selector, taken: impl Fn(PciAddress) -> bool) -> Option<Found> {
        let free = self.functions.iter().filter(|found| matches(selector, found) && !taken(found.address));
        free.min_by_key(|found| found.address).copied()
    }

    /// The bridges between a function and its root bus, the nearest one first.
    pub fn path(&self, address: PciAddress) -> impl Iterator<Item = PciAddress> + '_ {
        let behind = move |bus: PciAddress| {
            let leads_there = |bridge: &&Bridge| bridge.address.segment == bus.segment && bridge.secondary == bus.bus;
            self.bridges.iter().find(leads_there).map(|bridge| bridge.address)
        };
        // No path is longer than there are bridges; one that is goes in circles.
        core::iter::successors(behind(address), move |bridge| behind(*bridge)).take(self.bridges.len())
    }
}

impl Default for Inventory {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether every part that the selector gives matches.
fn matches(selector: &Selector, found: &Found) -> bool {
    let Selector { class, vendor, device, address } = *selector;
    class.is_none_or(|class| class == found.identity.class)
        && vendor.is_none_or(|vendor| vendor == found.identity.vendor)
        && device.is_none_or(|device| device == found.identity.device)
        && address.is_none_or(|address| address == found.address)
}

/// Looks at these buses of a segment, switches bus mastering and INTx off on every function that is no bridge, and
/// remembers what was found.
pub fn scan(bus: &mut impl Bus, segment: u16, first: u8, last: u8, inventory: &mut Inventory) {
    for number in first..=last {
        for device in 0..32 {
            let at = |function| PciAddress { segment, bus: number, device, function };
            let Some(header) = visit(bus, at(0), inventory) else { continue };
            if header & MULTIPLE_FUNCTIONS != 0 {
                for function in 1..8 {
                    visit(bus, at(function), inventory);
                }
            }
        }
    }
}

/// Looks at one function; returns its header type if there is one.
fn visit(bus: &mut impl Bus, address: PciAddress, inventory: &mut Inventory) -> Option<u8> {
    let mut function = At(bus, address);
    let identity = identity(&mut function)?;
    let [_, _, header, _] = function.read(HEADER).to_le_bytes();
    match header & !MULTIPLE_FUNCTIONS {
        HEADER_TYPE_BRIDGE => {
            let [_, secondary, _, _] = function.read(BRIDGE_BUSES).to_le_bytes();
            // A bridge beyond the room may stay closed; what is behind it has its bus mastering switched off anyway.
            let _ = inventory.bridges.push(Bridge { address, identity, secondary });
        }
        HEADER_TYPE_CARDBUS => {}
        _ => {
            let command = function.command();
            function.set_command(command & !BUS_MASTERING | INTX_DISABLED);
            inventory.masters += u32::from(command & BUS_MASTERING != 0);
            if inventory.functions.push(Found { address, identity }).is_err() {
                inventory.unlisted += 1;
            }
        }
    }
    Some(header)
}

#[cfg(test)]
mod tests;
