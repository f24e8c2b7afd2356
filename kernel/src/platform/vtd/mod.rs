//! Intel VT-d: the IOMMUs between devices and memory, and between devices and interrupts (specification 4.1).
//!
//! From start-up on, before any function gets bus mastering back, every unit that can be used translates and remaps
//! with nothing in any domain. Then each granted device gets a domain of its own, with its regions and its broker's
//! hidden memory in it, at addresses that say nothing of where they are. Every other function stays without. Whether
//! that holds is not believed but tried: see [`Remapping::begin_probe`].
//!
//! - `capabilities`: what a unit can do, and what it must.
//! - `unit`: its registers. `queue`: its invalidations. `page`: memory that it reads.
//! - `domain`: second-level tables. `interrupts`: the interrupt remapping table.
//! - `scope`: which unit is in front of which function, and whom it cannot tell apart.
//! - `fault`: what it blocked. `reason`: why a device is protected as it is.

use abi::system_call::PciAddress;
use heapless::Vec;

use super::acpi::dmar::{UNITS_MAX, UnitDescription};
use super::msix::Message;
use super::pci::Inventory;
use super::registers::Registers;
use super::{Mapper, Platform};
use crate::log;

mod capabilities;
mod domain;
mod fault;
mod interrupts;
mod page;
mod queue;
mod reason;
mod scope;
#[cfg(test)]
mod tests;
mod unit;

pub use capabilities::Capabilities;
pub use domain::{Domain, Run};
pub use fault::Fault;
pub use interrupts::Sender;
pub use reason::Reason;
pub use scope::{Passage, Way};

use interrupts::{InterruptTable, Processors};
use page::Page;
use unit::Unit;

/// Interrupt vector of the units' faults: above those of the devices.
pub const FAULT_VECTOR: u8 = 0xd8;

/// Nanoseconds between two looks at the faults of units that had some: their interrupt is off meanwhile, so that a
/// storm of them takes no more of the processor than this.
pub const FAULTS_AGAIN: u64 = 10_000_000;

/// First address that devices use for what is in their domains: above all memory of nearly all machines. Where the
/// canary is there, it is the other one.
const SEEN: [u64; 2] = [1 << 38, 1 << 32];
/// Between two runs of a domain nothing is mapped.
const SEEN_ALIGNMENT: u64 = 2 << 20;

/// What the canary page holds.
const CANARY: u64 = 0x7972_616e_6163_2061;

/// All units of the machine. Where there are none it is zero in every byte, so that no image holds it.
#[derive(Debug)]
pub struct Remapping {
    /// In the order of the table; what cannot be used is off.
    units: Vec<Result<Unit<Registers>, Reason>, UNITS_MAX>,
    /// Why there are none, if there are none.
    reason: Reason,
    interrupts: Option<InterruptTable>,
    /// A page that is in no domain.
    canary: Option<Page>,
    /// Domains made so far; the first one is number 1.
    domains: u16,
    expected: Option<Expected>,
}

/// A fault that is provoked.
#[derive(Clone, Copy, Debug)]
struct Expected {
    requester: u16,
    /// How often it has come.
    seen: u16,
}

/// A device's place behind a unit.
#[derive(Clone, Debug)]
pub struct Place {
    unit: usize,
    requesters: Vec<u16, 8>,
    sender: Sender,
    /// The domain in which memory is where it is: for when remapping turns out not to hold.
    plain: Domain,
    /// Where the device finds hidden memory and its regions, in the order in which they were given.
    pub seen: Vec<u64, RUNS_MAX>,
    /// Why it is not worth trying, if it is not. Memory is where it is then.
    pub refused: Option<Reason>,
}

/// Most runs of memory of one device.
pub const RUNS_MAX: usize = abi::package::DEVICE_REGIONS_MAX + 1;

impl Place {
    /// Whether both are behind the same unit.
    pub fn shares_unit(&self, other: &Self) -> bool {
        self.unit == other.unit
    }

    /// The requester that the device is.
    fn requester(&self) -> u16 {
        self.requesters.first().copied().unwrap_or(0)
    }
}

impl Remapping {
    /// There are no units, because of this.
    pub const fn none(reason: Reason) -> Self {
        Self { units: Vec::new(), reason, interrupts: None, canary: None, domains: 0, expected: None }
    }

    /// Takes every unit over and, unless `wanted` says why not, switches it on. Those that cannot be used are left off,
    /// and said.
    pub fn start(mapper: &mut impl Mapper, platform: &Platform, wanted: Result<(), Reason>) -> Self {
        let dmar = match &platform.firmware.dmar {
            None => return Self::none(Reason::NoTable),
            Some(Err(_)) => return Self::none(Reason::TableMalformed),
            Some(Ok(dmar)) => dmar,
        };
        let forbidden = match (wanted, dmar.interrupt_remapping) {
            (Err(reason), _) => Some(reason),
            (Ok(()), false) => Some(Reason::InterruptRemappingOff),
            (Ok(()), true) => None,
        };
        let mut remapping = Self::none(forbidden.unwrap_or(Reason::NoUnit));
        let prepared = forbidden.map_or_else(|| remapping.prepare(mapper, platform), Err);
        for description in &dmar.units {
            let unit = match (open(mapper, description), &remapping.interrupts, prepared) {
                (Err(reason), ..) => Err(reason),
                (Ok((mut window, _)), _, Err(reason)) => {
                    // Firmware may have left it on.
                    Err(unit::stop(&mut window, &platform.clock).err().unwrap_or(reason))
                }
                (Ok((window, capabilities)), Some(interrupts), Ok(())) if description.segment == 0 => capabilities
                    .and_then(|capabilities| Unit::start(mapper, &platform.clock, window, capabilities, interrupts)),
                (Ok((mut window, _)), ..) => {
                    Err(unit::stop(&mut window, &platform.clock).err().unwrap_or(Reason::Segment))
                }
            };
            if let Err(reason) = &unit {
                log!("dma", "remapping unit off segment={:#06x} reason={reason}", description.segment);
            }
            // There are no more than were described.
            let _ = remapping.units.push(unit);
        }
        for unit in remapping.units.iter_mut().flatten() {
            let processor = platform.apic.id();
            unit.tell_faults(Message::to_cpu(processor, FAULT_VECTOR), processor & !0xff);
        }
        remapping
    }

    /// What all units need.
    fn prepare(&mut self, mapper: &mut impl Mapper, platform: &Platform) -> Result<(), Reason> {
        let processors = if platform.apic.is_extended() { Processors::Wide } else { Processors::Narrow };
        self.interrupts = Some(InterruptTable::new(mapper, processors)?);
        self.canary = Some(Page::new(mapper)?);
        Ok(())
    }

    /// Why no device is behind a unit, for a system without devices.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Gives a device a domain with these runs of memory, by where they are and their bytes; the first is its hidden
    /// memory. At start-up only.
    ///
    /// The inner error is why it is in none; what it uses as addresses are physical ones then.
    ///
    /// # Errors
    /// Why it reaches no memory at all: a unit is in front of it, and it could be given no domain.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "all of it is start-up's, and none of it is kept")]
    pub fn confine(
        &mut self,
        mapper: &mut impl Mapper,
        platform: &Platform,
        inventory: &Inventory,
        address: PciAddress,
        way: &Way,
        runs: &[(u64, u64)],
        allowed: bool,
    ) -> Result<Result<Place, Reason>, Reason> {
        let Some(Ok(dmar)) = &platform.firmware.dmar else { return Ok(Err(self.reason)) };
        if self.interrupts.is_none() {
            return Ok(Err(self.reason));
        }
        let Some(index) = scope::unit(dmar, inventory, address) else { return Ok(Err(Reason::NoUnit)) };
        let unit = match self.units.get_mut(index) {
            Some(Ok(unit)) => unit,
            Some(Err(reason)) => return Ok(Err(*reason)),
            None => return Ok(Err(Reason::NoUnit)),
        };
        let canary = self.canary.as_ref().map_or(0, Page::physical);
        let refused = scope::refuse(dmar, inventory, address, way).or((!allowed).then_some(Reason::CharterForbids));
        let (seen, moved) = moved(runs, canary);
        let mut plain: Vec<Run, RUNS_MAX> =
            runs.iter().map(|(physical, bytes)| Run { seen: *physical, physical: *physical, bytes: *bytes }).collect();
        plain.sort_unstable_by_key(|run| run.seen);
        let capabilities = *unit.capabilities();
        let plain = Domain::build(mapper, &capabilities, self.domains + 1, &plain)?;
        let own = Domain::build(mapper, &capabilities, self.domains + 2, &moved)?;
        self.domains += 2;
        let scope::Seen { requesters, sender } = scope::seen(address, way);
        for requester in &requesters {
            unit.give(mapper, *requester, if refused.is_some() { &plain } else { &own })?;
        }
        unit.settle(&platform.clock)?;
        Ok(Ok(Place { unit: index, requesters, sender, plain, seen, refused }))
    }

    /// The message by which a device in its place interrupts this processor. At start-up only.
    ///
    /// # Errors
    /// If the table has no entry for it.
    pub fn message(&mut self, place: &Place, platform: &Platform, vector: u8) -> Result<Message, Reason> {
        self.route(place.unit, place.sender, platform, vector, false).map(Message::remapped)
    }

    /// What an I/O APIC is to send for this processor to be interrupted: the number of an entry, or nothing of ours.
    /// `None` if there is no way. At start-up only.
    pub fn io_apic(&mut self, platform: &Platform, number: u8, vector: u8, level: bool) -> Option<Option<u16>> {
        let Some(Ok(dmar)) = &platform.firmware.dmar else { return Some(None) };
        if !self.units.iter().any(Result::is_ok) {
            return Some(None);
        }
        let (index, requester) = dmar.io_apic(number)?;
        match self.units.get(index)? {
            Err(_) => Some(None),
            Ok(_) => self.route(index, Sender::Requester(requester), platform, vector, level).ok().map(Some),
        }
    }

    fn route(
        &mut self,
        index: usize,
        sender: Sender,
        platform: &Platform,
        vector: u8,
        level: bool,
    ) -> Result<u16, Reason> {
        let table = self.interrupts.as_mut().ok_or(Reason::InterruptRemappingMissing)?;
        let entry = table.add(sender, platform.apic.id(), vector, level)?;
        if let Some(Ok(unit)) = self.units.get_mut(index) {
            unit.settle(&platform.clock)?;
        }
        Ok(entry)
    }

    /// Begins to try whether a device is held: returns the address of a page that is in no domain. What the device
    /// writes there must not arrive, and be recorded.
    pub fn begin_probe(&mut self, place: &Place) -> u64 {
        let Some(canary) = &mut self.canary else { return 0 };
        canary.fill(CANARY);
        self.expected = Some(Expected { requester: place.requester(), seen: 0 });
        canary.physical()
    }

    /// Whether a device was held, after it was told to write to that page and has done what it did, and
    /// [`Remapping::take_faults`].
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn end_probe(&mut self, place: &Place) -> Result<(), Reason> {
        let expected = self.expected.take().filter(|expected| expected.requester == place.requester());
        if !self.canary.as_ref().is_some_and(|canary| canary.is_filled(CANARY)) {
            return Err(Reason::CanaryWritten);
        }
        if expected.is_some_and(|expected| expected.seen > 0) { Ok(()) } else { Err(Reason::FaultNotRecorded) }
    }

    /// Whether a device is being tried.
    pub fn is_probing(&self) -> bool {
        self.expected.is_some()
    }

    /// Begins to let a device use memory where it is: for one that is not held.
    pub fn release(&mut self, place: &Place) {
        let Some(Ok(unit)) = self.units.get_mut(place.unit) else { return };
        for requester in &place.requesters {
            unit.replace(*requester, &place.plain);
        }
        unit.forget_everything();
    }

    /// Begins to have a device's unit forget what it remembers of domains.
    pub fn forget(&mut self, place: &Place) {
        if let Some(Ok(unit)) = self.units.get_mut(place.unit) {
            unit.forget_everything();
        }
    }

    /// Whether a device's unit has done what it was told.
    pub fn is_settled(&self, place: &Place) -> bool {
        self.units.get(place.unit).and_then(|unit| unit.as_ref().ok()).is_none_or(Unit::is_settled)
    }

    /// Takes what was blocked, but for what was provoked, and does not let the units interrupt again before
    /// [`Remapping::await_faults`].
    pub fn take_faults(&mut self, mut each: impl FnMut(Fault)) {
        let canary = self.canary.as_ref().map_or(0, Page::physical);
        let expected = &mut self.expected;
        for unit in self.units.iter_mut().flatten() {
            unit.set_fault_interrupt(false);
            unit.take_faults(|fault| match expected {
                Some(own) if own.requester == fault.requester && fault.write && fault.address == canary => {
                    own.seen = own.seen.saturating_add(1);
                }
                _ => each(fault),
            });
        }
    }

    /// Lets the units interrupt for faults.
    pub fn await_faults(&mut self) {
        self.units.iter_mut().flatten().for_each(|unit| unit.set_fault_interrupt(true));
    }
}

/// The function that made a blocked request.
pub fn culprit(fault: &Fault) -> PciAddress {
    scope::address(fault.requester)
}

/// Maps a unit's registers, and decodes what it can do.
fn open(
    mapper: &mut impl Mapper,
    description: &UnitDescription,
) -> Result<(Registers, Result<Capabilities, Reason>), Reason> {
    let map = |mapper: &mut _, bytes: u32| -> Result<Registers, Reason> {
        let start = Mapper::map_device(mapper, description.address, bytes.into()).ok_or(Reason::NoMemory)?;
        // SAFETY: `map_device` maps these bytes for ever; firmware says that a unit's registers are there.
        Ok(unsafe { Registers::new(start, bytes) })
    };
    let window = map(mapper, capabilities::REGISTER_BYTES)?;
    let read = |offset| window.read_u64(offset);
    let capabilities = Capabilities::new(read(unit::register::CAPABILITY), read(unit::register::EXTENDED_CAPABILITY));
    match capabilities {
        Err(Reason::UnitSilent) => Err(Reason::UnitSilent),
        Ok(own) if own.register_bytes() > window.bytes() => Ok((map(mapper, own.register_bytes())?, capabilities)),
        _ => Ok((window, capabilities)),
    }
}

/// Where a device finds runs of memory that are moved: nothing of it tells where they are, and the canary is not in it.
fn moved(runs: &[(u64, u64)], canary: u64) -> (Vec<u64, RUNS_MAX>, Vec<Run, RUNS_MAX>) {
    let [far, near] = SEEN;
    let mut next = if canary < far { far } else { near };
    let (mut seen, mut moved) = (Vec::new(), Vec::new());
    for (physical, bytes) in runs {
        // Both hold as many as a device can have.
        let _ = seen.push(next);
        let _ = moved.push(Run { seen: next, physical: *physical, bytes: *bytes });
        next = (next + bytes + 1).next_multiple_of(SEEN_ALIGNMENT);
    }
    (seen, moved)
}
