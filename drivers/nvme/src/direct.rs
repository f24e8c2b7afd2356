//! The direct lane: the driver's own rings and registers, behind an IOMMU that was seen to hold the controller.
//!
//! What the controller is told is authored by the same code as on the brokered lane, the crate `nvme-broker`: where rings
//! and lists lie, PRP entries, doorbells, the enable transaction. There it runs in the kernel and is what the kernel trusts.
//! Here it runs in this task, and nothing trusts it: addresses are those of the controller's own domain, and whatever is
//! written instead, the IOMMU lets the controller reach what the domain holds and nothing else.
//!
//! The kernel keeps bus mastering and the MSI-X table: both are on while this lane is.

use abi::Error;
use abi::package::Limit;
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use broker::{Broker, Device, Ledger, Progress, Reason, Region};
use heapless::Vec;
use nvme_broker::NvmeBroker;

use crate::hardware::Submission;

/// What the lane is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Where the controller finds the memory for rings.
    pub rings: u64,
    /// Bytes of it.
    pub ring_bytes: u32,
    /// Where the controller finds the driver's regions, by their number, and their bytes.
    pub regions: &'a [Region],
    /// Bytes of registers.
    pub register_bytes: u32,
    /// The granted MSI-X table entries.
    pub vectors: &'a [u16],
}

/// A controller's queues and lists, as its driver keeps them.
#[derive(Debug)]
pub struct DirectLane {
    author: NvmeBroker,
    /// The controller was seen to have stopped: what it knew before, it has forgotten.
    has_stopped: bool,
}

impl DirectLane {
    /// A lane whose controller has yet to be looked at.
    ///
    /// # Errors
    /// Invalid if there is not room for the rings.
    pub fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        if parts.ring_bytes < NvmeBroker::HIDDEN_BYTES {
            return Err(Error::Invalid);
        }
        let ledger = Ledger {
            regions: parts.regions.iter().copied().collect(),
            vectors: parts.vectors.iter().copied().collect(),
            // What this lane is for.
            limits: Vec::from_iter([Limit::WHOLE_DEVICE]),
            hidden: parts.rings,
            register_bytes: parts.register_bytes,
            // No page with anything else in it is mapped.
            reserved: Vec::new(),
        };
        Ok(Self { author: NvmeBroker::new(ledger), has_stopped: false })
    }

    /// The lane, once the controller has been seen to have stopped; the kernel has seen it before.
    fn stopped(&mut self, device: &mut impl Device) -> Result<&mut NvmeBroker, Error> {
        if !self.has_stopped {
            match self.author.quiesce(device) {
                Progress::Done => self.has_stopped = true,
                Progress::Again(_) => return Err(Error::Busy),
                Progress::Failed => return Err(Error::Invalid),
            }
        }
        Ok(&mut self.author)
    }

    /// Reads a register of 4 or 8 bytes.
    ///
    /// # Errors
    /// As [`crate::Hardware::read_u32`].
    pub fn read(&mut self, device: &mut impl Device, offset: u32, bytes: u8) -> Result<u64, Error> {
        self.stopped(device)?.read(device, offset, bytes).map_err(|refusal| refusal.error)
    }

    /// Writes a register of 4 bytes.
    ///
    /// # Errors
    /// As [`crate::Hardware::write_u32`].
    pub fn write_u32(&mut self, device: &mut impl Device, offset: u32, value: u32) -> Result<(), Error> {
        self.stopped(device)?.write(device, offset, 4, value.into()).map_err(|refusal| refusal.error)
    }

    /// Puts commands into a queue's ring and rings its doorbell once.
    pub fn submit(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submission {
        let submitted = self.author.submit(device, queue, commands);
        Submission {
            accepted: submitted.accepted,
            refused: submitted.refused.map(|refusal| (refusal.error, refusal.because.code())),
        }
    }

    /// Takes completions from a queue's ring; returns how many.
    ///
    /// # Errors
    /// As [`crate::Hardware::complete`].
    pub fn complete(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Error> {
        self.author.complete(device, queue, completions).map_err(|refusal| refusal.error)
    }

    /// Copies what a finished command left; returns its length in bytes.
    ///
    /// # Errors
    /// As [`crate::Hardware::collect`].
    pub fn collect(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        identifier: u16,
        data: &mut [u8],
    ) -> Result<usize, Error> {
        self.author.collect(device, queue, identifier, data).map_err(|refusal| refusal.error)
    }
}
