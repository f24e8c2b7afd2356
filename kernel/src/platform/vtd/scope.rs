//! Which unit is in front of a function, and whether the unit can tell it from every other: pure, over what the search
//! of the buses found.

use abi::system_call::PciAddress;
use heapless::Vec;

use super::Reason;
use super::interrupts::Sender;
use crate::platform::acpi::dmar::{Dmar, Scope, ScopeKind};
use crate::platform::pci::Inventory;
use crate::platform::pci::scan::BRIDGES_MAX;

/// How a bridge passes on what comes from behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// A port of PCI Express: with the requester's own number.
    Transparent,
    /// Any other bridge: possibly as its own, or as function 0 of the bus behind it.
    Opaque,
}

/// The bridges between a function and its root bus, the nearest one first.
pub type Way = Vec<(PciAddress, Passage), BRIDGES_MAX>;

/// A function as a unit sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The requesters that it may appear as; its own first. No more than there is room for.
    pub requesters: Vec<u16, 8>,
    /// Who its interrupts come from.
    pub sender: Sender,
}

/// The number by which requests name a function.
pub fn requester(address: PciAddress) -> u16 {
    u16::from(address.bus) << 8 | u16::from(address.device & 31) << 3 | u16::from(address.function & 7)
}

/// The function with this requester's number, in segment 0.
pub fn address(requester: u16) -> PciAddress {
    let [low, bus] = requester.to_le_bytes();
    PciAddress { segment: 0, bus, device: low >> 3, function: low & 7 }
}

/// How a function is seen.
pub fn seen(address: PciAddress, way: &Way) -> Seen {
    let mut requesters = Vec::new();
    // A function has room, and its bridges as far as they go: what is left out cannot reach memory.
    let _ = requesters.push(requester(address));
    let mut sender = Sender::Requester(requester(address));
    let mut behind = address.bus;
    for (bridge, passage) in way {
        if *passage == Passage::Opaque {
            let _ = requesters.push(u16::from(behind) << 8);
            let _ = requesters.push(requester(*bridge));
            sender = Sender::Bus(behind);
        }
        behind = bridge.bus;
    }
    Seen { requesters, sender }
}

/// The unit in front of a function, by its index.
pub fn unit(dmar: &Dmar, inventory: &Inventory, address: PciAddress) -> Option<usize> {
    let names = |scopes: &[Scope]| scopes.iter().any(|scope| covers(scope, inventory, address));
    let mut of_segment = dmar.units.iter().enumerate().filter(|(_, unit)| unit.segment == address.segment);
    let named = of_segment.clone().find(|(_, unit)| !unit.every_other && names(&unit.scopes));
    named.or_else(|| of_segment.find(|(_, unit)| unit.every_other)).map(|(index, _)| index)
}

/// Why a unit cannot hold a function that is in front of it, if it cannot.
pub fn refuse(dmar: &Dmar, inventory: &Inventory, address: PciAddress, way: &Way) -> Option<Reason> {
    let reserved = dmar.reserved.iter().filter(|reserved| reserved.segment == address.segment);
    if reserved.flat_map(|reserved| &reserved.scopes).any(|scope| covers(scope, inventory, address)) {
        return Some(Reason::ReservedMemory);
    }
    if way.iter().any(|(_, passage)| *passage == Passage::Opaque) {
        return Some(Reason::BridgePath);
    }
    is_shared(inventory, address, way).then_some(Reason::IsolationGroup)
}

/// Whether another function is in the isolation group. Nothing is believed of access control between functions of one
/// device, or behind one root port: all of them count.
fn is_shared(inventory: &Inventory, address: PciAddress, way: &Way) -> bool {
    let same_device = |one: PciAddress, other: PciAddress| {
        (one.segment, one.bus, one.device) == (other.segment, other.bus, other.device)
    };
    // The function itself or, behind a root port, that port.
    let top = way.last().map_or(address, |(bridge, _)| *bridge);
    inventory.functions().iter().map(|found| found.address).filter(|other| *other != address).any(|other| {
        let end = inventory.path(other).last().unwrap_or(other);
        same_device(end, top) || same_device(other, address)
    })
}

/// Whether a scope names a function, or a bridge before it.
fn covers(scope: &Scope, inventory: &Inventory, address: PciAddress) -> bool {
    let Some(named) = resolve(scope, inventory, address.segment) else { return false };
    match scope.kind {
        ScopeKind::Endpoint => named == address,
        ScopeKind::Bridge => named == address || inventory.path(address).any(|bridge| bridge == named),
        ScopeKind::IoApic | ScopeKind::Other => false,
    }
}

/// The function that a scope names; `None` if a bridge on the way to it was not found.
fn resolve(scope: &Scope, inventory: &Inventory, segment: u16) -> Option<PciAddress> {
    let (last, way) = scope.path.split_last()?;
    let mut bus = scope.bus;
    for (device, function) in way {
        let at = PciAddress { segment, bus, device: *device, function: *function };
        bus = inventory.bridges().iter().find(|bridge| bridge.address == at)?.secondary;
    }
    Some(PciAddress { segment, bus, device: last.0, function: last.1 })
}

#[cfg(test)]
mod tests;
