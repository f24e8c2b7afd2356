//! The devices that the charter grants: each is a PCI function, its broker, and the state that they are in.
//!
//! A device is found by its selector ([`Devices::find`], [`Devices::add`]), made to stop whatever firmware left it
//! doing ([`State::Starting`]), and then used by its driver through the calls of this module, which hand everything
//! to the broker ([`broker::Broker`]). When its driver stops, the device is made to stop as well ([`Devices::stop`]);
//! a device that does not is put under quarantine until power-off.
//!
//! Nothing here waits: [`Devices::service`] takes a step and says when to come again.
//!
//! Indices are those of the boot package's devices, arguments those of the system calls, unchecked.

use abi::package::{BrokerKind, Commands, DEVICE_VECTORS_MAX, DEVICES_MAX};
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES, DeviceInformation, Lane, PciAddress};
use broker::Submitted;
use core::ptr::NonNull;
use heapless::Vec;
use nvme_broker::NvmeBroker;

use crate::platform::pci::{Found, Function, Handle, Inventory};
use crate::platform::vtd::{Place, Reason, Remapping};

mod confinement;
mod faults;
mod hardware;
mod lane;
mod no_broker;
mod opened;
mod reason;
mod start;
mod unit;

pub use opened::Opened;
pub use reason::Because;
pub use start::hidden_bytes;
pub use unit::State;

use confinement::Vouch;
use faults::Held;
use no_broker::NoBroker;
use unit::Unit;

/// Interrupt vector of the first device's first granted MSI-X entry. Each device has [`DEVICE_VECTORS_MAX`] of them.
pub const FIRST_VECTOR: u8 = 0x40;
/// First interrupt vector after those of the devices.
pub const END_VECTOR: u8 = FIRST_VECTOR + (DEVICES_MAX * DEVICE_VECTORS_MAX) as u8;

/// Why a device did not do what its driver asked: what the driver is told, and why, for the log.
pub type Refusal = broker::Refusal<Because>;

/// Memory for a broker that is mapped into no task: contiguous, zeroed, [`hidden_bytes`] long.
#[derive(Clone, Copy, Debug)]
pub struct Hidden {
    /// Physical address of its first byte, on a page.
    pub physical: u64,
    /// Where the kernel has mapped it, for ever: cacheable, writable, no-execute, used by nothing else.
    pub start: NonNull<u8>,
}

/// Every granted device, in the order of the boot package.
#[derive(Debug)]
pub struct Devices {
    entries: Vec<Entry, DEVICES_MAX>,
    inventory: Inventory,
    remapping: Remapping,
    /// Blocked requests of functions that are granted to nobody.
    stray_faults: u64,
    looks: faults::Looks,
}

/// A granted device.
#[derive(Debug)]
struct Entry {
    /// Its name in the charter, for the log.
    name: heapless::String<{ abi::package::NAME_BYTES_MAX }>,
    /// Its configuration space, if a function matched.
    function: Option<Handle>,
    /// The granted MSI-X table entries.
    vectors: Vec<u16, DEVICE_VECTORS_MAX>,
    /// What may be done with some of it.
    commands: Commands,
    /// Its place behind an IOMMU, if it has one.
    place: Option<Place>,
    /// Physical addresses of registers and rings, for a driver that is to have them mapped.
    direct: opened::Direct,
    /// Whether it was said if the IOMMU holds it.
    is_verdict_told: bool,
    /// Whether its driver is yet to be told that it cannot start.
    is_refused: bool,
    /// Requests of it that the IOMMU has blocked.
    faults: u64,
    /// The log was told of some since this was last asked.
    is_fault_told: bool,
    unit: AnyUnit,
}

/// A device and its broker, by the kind of broker: a number, which is looked at in each call.
#[derive(Debug)]
#[repr(u8)]
#[expect(clippy::large_enum_variant, reason = "there is no heap to box in, and most devices have a broker")]
enum AnyUnit {
    /// It cannot be used: no function matched, or what matched has no usable registers.
    Missing(State),
    /// `drivers/nvme/broker`.
    Nvme(Unit<NvmeBroker>),
    /// Nobody checks what it is told.
    NoBroker(Unit<NoBroker>),
}

/// Evaluates `$body` with whatever unit this is as `$unit`, or `$otherwise` if the device is missing.
macro_rules! any_unit {
    ($any:expr, $unit:ident => $body:expr, $otherwise:expr) => {
        match $any {
            AnyUnit::Missing(_) => $otherwise,
            AnyUnit::Nvme($unit) => $body,
            AnyUnit::NoBroker($unit) => $body,
        }
    };
}

impl AnyUnit {
    fn state(&self) -> State {
        match self {
            Self::Missing(state) => *state,
            Self::Nvme(unit) => unit.state(),
            Self::NoBroker(unit) => unit.state(),
        }
    }

    /// Why an IOMMU holds it, or why not, once that is known.
    fn verdict(&self) -> Option<Reason> {
        any_unit!(self, unit => unit.verdict(), None)
    }

    /// Bytes of registers that its driver has mapped, or why it has none; see [`Unit::lane`].
    fn lane(&self) -> Option<Result<u32, lane::Reason>> {
        any_unit!(self, unit => unit.lane(), None)
    }

    /// Bytes of memory for rings; `None` if there is no device.
    fn ring_bytes(&self) -> Option<u32> {
        match self {
            Self::Missing(_) => None,
            Self::Nvme(_) => Some(hidden_bytes(BrokerKind::Nvme)),
            Self::NoBroker(_) => Some(hidden_bytes(BrokerKind::None)),
        }
    }
}

/// Calls `$body` with the unit of an entry as `$unit` and its function as `$function`, whatever its broker is.
macro_rules! with_unit {
    ($entry:expr, $missing:ident => $otherwise:expr, $unit:ident, $function:ident => $body:expr) => {
        match ($entry.function.as_mut(), &mut $entry.unit) {
            (Some($function), AnyUnit::Nvme($unit)) => $body,
            (Some($function), AnyUnit::NoBroker($unit)) => $body,
            (None, AnyUnit::Nvme(_) | AnyUnit::NoBroker(_)) => {
                let $missing = State::Absent;
                $otherwise
            }
            (_, AnyUnit::Missing(state)) => {
                let $missing = *state;
                $otherwise
            }
        }
    };
}

impl Devices {
    /// No devices yet.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            inventory: Inventory::new(),
            remapping: Remapping::none(Reason::NoTable),
            stray_faults: 0,
            looks: faults::Looks::new(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The device's name in the charter; `?` for an index that does not exist.
    pub fn name(&self, index: usize) -> &str {
        self.entries.get(index).map_or("?", |entry| &entry.name)
    }

    /// The device's state; absent for an index that does not exist.
    pub fn state(&self, index: usize) -> State {
        self.entries.get(index).map_or(State::Absent, |entry| entry.unit.state())
    }

    /// What the device is, read from its configuration space now.
    pub fn information(&mut self, index: usize) -> DeviceInformation {
        let nothing = DeviceInformation {
            present: false,
            enabled: false,
            vendor: u16::MAX,
            device: u16::MAX,
            class: (u8::MAX, u8::MAX, u8::MAX),
            address: PciAddress { segment: 0, bus: 0, device: 0, function: 0 },
            lane: Lane::Brokered,
            commands: Commands::NONE,
        };
        let Some(entry) = self.entries.get_mut(index) else { return nothing };
        let Some(function) = entry.function.as_mut() else { return nothing };
        let lane = if matches!(entry.unit.lane(), Some(Ok(_))) { Lane::Direct } else { Lane::Brokered };
        let enabled = any_unit!(&mut entry.unit, unit => unit.is_enabled(function), false);
        let address = function.address();
        match crate::platform::pci::identity(function) {
            None => DeviceInformation { address, ..nothing },
            Some(identity) => DeviceInformation {
                present: true,
                enabled,
                vendor: identity.vendor,
                device: identity.device,
                class: identity.class,
                address,
                lane,
                commands: entry.commands,
            },
        }
    }

    /// The PCI function of this number, bridges last, and the charter's name of it if it is granted.
    pub fn found(&self, number: usize) -> Option<(Found, Option<&str>)> {
        let functions = self.inventory.functions();
        let bridge = |number: usize| {
            let bridge = self.inventory.bridges().get(number)?;
            Some(Found { address: bridge.address, identity: bridge.identity })
        };
        let found = functions.get(number).copied().or_else(|| bridge(number.checked_sub(functions.len())?))?;
        let is_it = |entry: &&Entry| entry.function.as_ref().is_some_and(|own| own.address() == found.address);
        Some((found, self.entries.iter().find(is_it).map(|entry| entry.name.as_str())))
    }

    /// Takes memory from every function, before the machine ends: only granted ones have had it since start-up.
    pub fn clear_bus_mastering(&mut self) {
        for function in self.entries.iter_mut().filter_map(|entry| entry.function.as_mut()) {
            function.set_bus_mastering(false);
        }
    }

    /// A register read by the driver.
    ///
    /// # Errors
    /// See [`abi::system_call::Number::DeviceRead`].
    pub fn read(&mut self, index: usize, offset: u64, bytes: u64) -> Result<u64, Refusal> {
        let entry = self.entries.get_mut(index).ok_or(Because::State(State::Absent))?;
        with_unit!(entry, state => Err(Because::State(state).into()), unit, function => unit.read(function, offset, bytes))
    }

    /// A register write by the driver.
    ///
    /// # Errors
    /// See [`abi::system_call::Number::DeviceWrite`].
    pub fn write(&mut self, index: usize, offset: u64, bytes: u64, value: u64) -> Result<(), Refusal> {
        let entry = self.entries.get_mut(index).ok_or(Because::State(State::Absent))?;
        with_unit!(entry, state => Err(Because::State(state).into()),
            unit, function => unit.write(function, offset, bytes, value))
    }

    /// Commands for a queue, already copied to where no task can change them.
    #[inline(always)]
    pub fn submit(&mut self, index: usize, queue: u64, commands: &[[u8; DEVICE_COMMAND_BYTES]]) -> Submitted<Because> {
        let refuse = |state| Submitted { accepted: 0, refused: Some(Because::State(state).into()) };
        let Some(entry) = self.entries.get_mut(index) else { return refuse(State::Absent) };
        with_unit!(entry, state => refuse(state), unit, function => unit.submit(function, queue, commands))
    }

    /// Takes completions of a queue; returns how many were put into `completions`.
    ///
    /// # Errors
    /// See [`abi::system_call::Number::DeviceComplete`].
    #[inline(always)]
    pub fn complete(
        &mut self,
        index: usize,
        queue: u64,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Refusal> {
        let entry = self.entries.get_mut(index).ok_or(Because::State(State::Absent))?;
        let name = entry.name.as_str();
        with_unit!(entry, state => Err(Because::State(state).into()),
            unit, function => unit.complete(name, function, queue, completions))
    }

    /// Copies a finished command's data out of hidden memory; returns its length in bytes.
    ///
    /// # Errors
    /// See [`abi::system_call::Number::DeviceCollect`].
    pub fn collect(&mut self, index: usize, queue: u64, identifier: u64, data: &mut [u8]) -> Result<usize, Refusal> {
        let entry = self.entries.get_mut(index).ok_or(Because::State(State::Absent))?;
        with_unit!(entry, state => Err(Because::State(state).into()),
            unit, function => unit.collect(function, queue, identifier, data))
    }

    /// Goes on with what takes a device time. Returns when to come again, in nanoseconds of the clock; `None` when
    /// there is nothing to wait for: [`Devices::state`] then says how it ended.
    ///
    /// To be called after [`Devices::add`] and [`Devices::stop`], and again at the time returned, or earlier.
    pub fn service(&mut self, index: usize, now: u64) -> Option<u64> {
        if self.remapping.is_probing() {
            self.count_faults();
        }
        let vouch = self.vouch(index);
        let entry = self.entries.get_mut(index)?;
        let name = entry.name.as_str();
        let before = entry.unit.state();
        let mut holder = Held { remapping: &mut self.remapping, place: entry.place.as_ref(), vouch };
        let again = with_unit!(entry, _missing => None,
            unit, function => unit.service(name, function, &mut holder, now));
        let (verdict, lane) = (entry.unit.verdict(), entry.unit.lane());
        let after = entry.unit.state();
        entry.is_refused |= after == State::Unconfined && before != after;
        entry.direct.is_opened |= after == State::Running && before != after;
        if let (Some(reason), false) = (verdict, entry.is_verdict_told) {
            entry.is_verdict_told = true;
            start::tell_backend(reason, Some(name));
            self.count_faults();
            self.remapping.await_faults();
        } else if let (Some(chosen), false) = (lane, entry.direct.is_told) {
            entry.direct.is_told = true;
            opened::tell_lane(chosen, name);
        }
        again
    }

    /// Whether the unit in front of a device vouches for it, by having held another device in this boot.
    fn vouch(&self, index: usize) -> Vouch {
        let place = self.entries.get(index).and_then(|entry| entry.place.as_ref());
        let Some(place) = place.filter(|place| place.refused.is_none()) else { return Vouch::Refused };
        let mut vouch = Vouch::Refused;
        for other in &self.entries {
            let AnyUnit::Nvme(unit) = &other.unit else { continue };
            if !other.place.as_ref().is_some_and(|other| other.shares_unit(place)) {
                continue;
            }
            match (unit.verdict(), unit.state()) {
                (Some(Reason::ProbePassed), _) => return Vouch::Given,
                (None, State::Starting | State::Stopping | State::Stopped) => vouch = Vouch::Pending,
                _ => {}
            }
        }
        vouch
    }

    /// Whether a device was found not to be usable because nothing holds it, since the last time that this was asked:
    /// its driver cannot start.
    pub fn take_refused(&mut self, index: usize) -> bool {
        self.entries.get_mut(index).is_some_and(|entry| core::mem::take(&mut entry.is_refused))
    }

    /// The task that used the device has stopped: from now on the device is made to stop, and nothing else is done
    /// with it. [`Devices::service`] follows; memory of its regions is free only in [`State::Stopped`].
    pub fn stop(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            any_unit!(&mut entry.unit, unit => unit.stop(), ());
        }
    }

    /// The task that uses the device runs again: the device is as it was when the task first ran. Nothing happens to a
    /// device that has not stopped.
    pub fn restart(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            any_unit!(&mut entry.unit, unit => unit.restart(), ());
        }
    }

    /// Which device and which of its MSI-X table entries an interrupt vector stands for.
    pub fn interrupt(&self, vector: u8) -> Option<(u16, u16)> {
        let number = usize::from(vector.checked_sub(FIRST_VECTOR)?);
        let (index, position) = (number / DEVICE_VECTORS_MAX, number % DEVICE_VECTORS_MAX);
        let entry = self.entries.get(index)?;
        entry.vectors.get(position).map(|granted| (index as u16, *granted))
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self::new()
    }
}
