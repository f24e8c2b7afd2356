//! The driver's surroundings on the machine: the kernel's device calls, or, on the direct lane, the controller itself.
//!
//! Which lane it is, is known when the kernel has tried the IOMMU; until then everything is busy, as it is while the kernel
//! stops what firmware left running.

use core::fmt::Arguments;
use core::sync::atomic::{Ordering, fence};

use abi::Error;
use abi::package::{DEVICE_REGIONS_MAX, DEVICE_VECTORS_MAX};
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES, DeviceInformation};
use broker::{Device, Region};
use heapless::Vec;
use nvme_spec::{CompletionEntry, SubmissionEntry};
use task::{Dma, Instant, log};
use zerocopy::IntoBytes;

use crate::direct::{DirectLane, Parts};
use crate::hardware::{Hardware, Submission};

/// What the charter grants of the device.
#[derive(Debug)]
pub struct Granted {
    /// The device.
    pub registers: task::Registers,
    /// The region that transfers lie in.
    pub data: Dma,
    /// The MSI-X table entries.
    pub vectors: Vec<u16, DEVICE_VECTORS_MAX>,
    /// The log.
    pub log: task::Log,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    granted: Granted,
    lane: Lane,
}

/// How commands reach the controller.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Lane {
    /// The kernel does not know yet.
    Unknown,
    /// Through the kernel's broker.
    Brokered,
    /// Through rings of this task.
    Direct(DirectLane, Own),
}

/// What this task has of the controller on the direct lane.
#[derive(Debug)]
struct Own {
    registers: task::DeviceRegisters,
    rings: task::Window,
}

impl Machine {
    /// With these grants.
    pub const fn new(granted: Granted) -> Self {
        Self { granted, lane: Lane::Unknown }
    }

    /// The lane, as soon as it is known.
    #[cold]
    #[inline(never)]
    fn find_lane(&mut self) -> Result<(), Error> {
        self.lane = match self.granted.registers.direct() {
            Ok(direct) => {
                let mut regions = [Region { base: 0, bytes: 0 }; DEVICE_REGIONS_MAX];
                for (region, base) in regions.iter_mut().zip(direct.regions) {
                    region.base = base;
                }
                if let Some(own) = regions.get_mut(usize::from(self.granted.data.region)) {
                    own.bytes = self.granted.data.window.bytes();
                }
                let parts = Parts {
                    rings: direct.rings_at,
                    ring_bytes: u32::try_from(direct.rings.bytes()).unwrap_or(u32::MAX),
                    regions: &regions,
                    register_bytes: direct.registers.bytes(),
                    vectors: &self.granted.vectors,
                };
                Lane::Direct(DirectLane::new(&parts)?, Own { registers: direct.registers, rings: direct.rings })
            }
            Err(Error::Busy) => return Err(Error::Busy),
            Err(_) => Lane::Brokered,
        };
        Ok(())
    }

    /// The rings of this task, on the direct lane.
    fn direct(&mut self) -> Result<Option<(&mut DirectLane, &mut Own)>, Error> {
        if let Lane::Unknown = self.lane {
            self.find_lane()?;
        }
        Ok(match &mut self.lane {
            Lane::Direct(lane, own) => Some((lane, own)),
            Lane::Unknown | Lane::Brokered => None,
        })
    }
}

impl Hardware for Machine {
    fn information(&mut self) -> Result<DeviceInformation, Error> {
        self.granted.registers.information()
    }

    fn read_u32(&mut self, offset: u32) -> Result<u32, Error> {
        match self.direct()? {
            Some((lane, own)) => lane.read(own, offset, 4).map(|value| value as u32),
            None => self.granted.registers.read_u32(offset),
        }
    }

    fn read_u64(&mut self, offset: u32) -> Result<u64, Error> {
        match self.direct()? {
            Some((lane, own)) => lane.read(own, offset, 8),
            None => self.granted.registers.read_u64(offset),
        }
    }

    fn write_u32(&mut self, offset: u32, value: u32) -> Result<(), Error> {
        match self.direct()? {
            Some((lane, own)) => lane.write_u32(own, offset, value),
            None => self.granted.registers.write_u32(offset, value),
        }
    }

    #[inline]
    fn submit(&mut self, queue: u16, commands: &[SubmissionEntry]) -> Submission {
        let bytes = commands.as_bytes().as_chunks().0;
        if let Lane::Direct(lane, own) = &mut self.lane {
            return submit_directly(lane, own, queue, bytes);
        }
        let task::Submission { accepted, refused } = self.granted.registers.submit(queue, bytes);
        Submission { accepted, refused: refused.map(|(error, reason)| (error, reason as u16)) }
    }

    #[inline]
    fn complete(&mut self, queue: u16, completions: &mut [CompletionEntry]) -> Result<usize, Error> {
        let room = completions.len();
        let bytes = completions.as_mut_bytes().as_chunks_mut().0;
        if let Lane::Direct(lane, own) = &mut self.lane {
            return complete_directly(lane, own, queue, bytes);
        }
        // Fewer are in flight than there is room for.
        Ok(self.granted.registers.complete(queue, bytes)?.min(room))
    }

    fn collect(&mut self, queue: u16, identifier: u16, data: &mut [u8]) -> Result<usize, Error> {
        if let Lane::Direct(lane, own) = &mut self.lane {
            return lane.collect(own, queue, identifier, data);
        }
        self.granted.registers.collect(queue, identifier, data)
    }

    fn now(&mut self) -> u64 {
        Instant::now().nanoseconds()
    }

    fn log(&mut self, line: Arguments<'_>) {
        log!(self.granted.log, "{line}");
    }
}

/// [`DirectLane::submit`], kept apart from the other lane's way, which is short.
#[inline(never)]
fn submit_directly(
    lane: &mut DirectLane,
    own: &mut Own,
    queue: u16,
    commands: &[[u8; DEVICE_COMMAND_BYTES]],
) -> Submission {
    lane.submit(own, queue, commands)
}

/// [`DirectLane::complete`], likewise.
#[inline(never)]
fn complete_directly(
    lane: &mut DirectLane,
    own: &mut Own,
    queue: u16,
    completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
) -> Result<usize, Error> {
    lane.complete(own, queue, completions)
}

/// Offsets in the rings are the lane's own and lie inside them; one that does not is as an absent device.
impl Device for Own {
    fn read_u32(&mut self, offset: u32) -> u32 {
        self.registers.read_u32(offset)
    }

    fn read_u64(&mut self, offset: u32) -> u64 {
        self.registers.read_u64(offset)
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        // x86 keeps the order of stores (Intel SDM 3A, 9.2.2); this keeps the compiler's.
        fence(Ordering::Release);
        self.registers.write_u32(offset, value);
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        fence(Ordering::Release);
        self.registers.write_u64(offset, value);
    }

    fn hidden_u32(&mut self, offset: u32) -> u32 {
        let value = self.rings.read_u32(offset.into()).unwrap_or(u32::MAX);
        fence(Ordering::Acquire);
        value
    }

    fn hidden_u64(&mut self, offset: u32) -> u64 {
        let value = self.rings.read_u64(offset.into()).unwrap_or(u64::MAX);
        fence(Ordering::Acquire);
        value
    }

    fn read_hidden(&mut self, offset: u32, to: &mut [u8]) {
        if self.rings.copy_to(offset.into(), to).is_err() {
            to.fill(u8::MAX);
        }
    }

    fn write_hidden(&mut self, offset: u32, from: &[u8]) {
        let _ = self.rings.copy_from(offset.into(), from);
    }

    fn write_hidden_series(&mut self, offset: u32, first: u64, step: u64, count: u32) {
        let _ = self.rings.write_series(offset.into(), first, step, count);
    }

    /// The kernel's, and on.
    fn set_bus_mastering(&mut self, _on: bool) {}

    /// The kernel's, and on.
    fn set_interrupts(&mut self, _on: bool) {}

    fn now(&self) -> u64 {
        Instant::now().nanoseconds()
    }
}
