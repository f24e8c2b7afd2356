//! What a driver that drives its device directly is given, once: where registers and rings are to be mapped.

use abi::Error;
use abi::direct::DirectInformation;
use abi::package::DEVICE_REGIONS_MAX;
use abi::system_call::Lane;

use super::{Devices, State, lane};
use crate::log;

/// What is known of a device that may be driven directly.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Direct {
    /// Physical address of the registers.
    pub registers: u64,
    /// Physical address of the rings: the memory that is hidden on the brokered lane.
    pub rings: u64,
    /// The charter's grant, and the device's place behind an IOMMU, do not speak against it.
    pub is_candidate: bool,
    /// Which lane it has was said.
    pub is_told: bool,
    /// Its driver may use it since this was last asked.
    pub is_opened: bool,
}

/// Physical memory that is to be mapped into the driver of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where its registers begin, on a page.
    pub registers: u64,
    /// Bytes of them, whole pages.
    pub register_bytes: u64,
    /// Where its memory for rings begins, on a page.
    pub rings: u64,
    /// Bytes of it, whole pages.
    pub ring_bytes: u64,
}

/// Which lane a device that is held has, and why.
pub(super) fn tell_lane(chosen: Result<u32, lane::Reason>, name: &str) {
    let (lane, reason) = match chosen {
        Ok(_) => (Lane::Direct, lane::Reason::WholeDevice),
        Err(reason) => (Lane::Brokered, reason),
    };
    log!("dma", "lane selection lane={} reason={reason} device={name}", lane.name());
}

impl Devices {
    /// Whether its driver may come to have this device's registers mapped: its page tables are made at start-up.
    pub fn may_be_direct(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.direct.is_candidate)
    }

    /// What is to be mapped into the driver of a device that was handed over since this was last asked.
    pub fn take_opened(&mut self, index: usize) -> Option<Opened> {
        let entry = self.entries.get_mut(index)?;
        let is_opened = core::mem::take(&mut entry.direct.is_opened);
        let register_bytes = entry.unit.lane()?.ok().filter(|_| is_opened)?;
        Some(Opened {
            registers: entry.direct.registers,
            register_bytes: register_bytes.into(),
            rings: entry.direct.rings,
            ring_bytes: entry.unit.ring_bytes()?.into(),
        })
    }

    /// What the driver of a device learns that it drives directly.
    ///
    /// # Errors
    /// See [`abi::system_call::Number::DeviceDirect`].
    pub fn direct(&self, index: usize) -> Result<DirectInformation, Error> {
        let entry = self.entries.get(index).ok_or(Error::Invalid)?;
        let ring_bytes = entry.unit.ring_bytes().ok_or(Error::Invalid)?;
        match (entry.unit.state(), entry.unit.lane(), &entry.place) {
            (State::Starting, ..) => Err(Error::Busy),
            (State::Running, Some(Ok(register_bytes)), Some(place)) => {
                // Of the runs of memory in its domain, that of the rings is the first.
                let mut seen = place.seen.iter().copied();
                let rings = seen.next().ok_or(Error::Invalid)?;
                let mut regions = [0; DEVICE_REGIONS_MAX];
                for (region, seen) in regions.iter_mut().zip(seen) {
                    *region = seen;
                }
                Ok(DirectInformation { ring_bytes, register_bytes, rings, regions })
            }
            _ => Err(Error::Invalid),
        }
    }
}
