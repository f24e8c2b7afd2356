//! A stand-in for the kernel: passes the driver's device calls through the real broker to the model controller, or, on the
//! direct lane, through the driver's own rings.
//!
//! The memory that the controller reaches is what an IOMMU would let it reach on either lane, and what it tries beyond that
//! is recorded.

use abi::Error;
use abi::package::{Commands, Limit};
use abi::system_call::{DeviceInformation, Lane, PciAddress};
use broker::{Broker, Device, Ledger, Progress, Region};
use nvme::direct::{DirectLane, Parts};
use nvme::{Hardware, Submission};
use nvme_broker::NvmeBroker;
use nvme_spec::{CompletionEntry, SubmissionEntry};

use crate::controller::{Controller, Identity, MSIX_TABLE, REGISTER_BYTES};
use crate::faults::Registers;
use crate::memory::Memory;

/// Where hidden memory and the region lie, above 4 GiB and apart.
const HIDDEN: u64 = 0x1_2340_0000;
const REGION: u64 = 0x2_8000_0000;

/// The stand-in.
#[derive(Debug)]
pub struct Kernel {
    /// The real broker.
    broker: NvmeBroker,
    /// The driver's own rings, if the lane is direct.
    direct: Option<DirectLane>,
    /// The model controller.
    pub device: Controller,
    /// What the driver wrote to the log.
    pub log: Vec<String>,
    /// Whether a function was found.
    pub present: bool,
    /// Device submissions so far, and the commands in them that were accepted.
    pub submissions: (u64, u64),
    /// Most commands taken in one submission, as if there were no more room.
    pub room: usize,
    /// Looks at completion queues so far.
    pub looks: u64,
    /// Whether [`Kernel::quiesce`] has come to an end.
    quiesced: bool,
    /// Whether some limit allows writing.
    commands: Commands,
}

impl Kernel {
    /// A device with this identity, a region of so many bytes, and these granted vectors and limits.
    pub fn new(identity: Identity, region_bytes: u64, vectors: &[u16], limits: &[Limit]) -> Self {
        let hidden_bytes = u64::from(NvmeBroker::HIDDEN_BYTES);
        let memory = Memory::new(&[(HIDDEN, hidden_bytes), (REGION, region_bytes)]);
        let ledger = Ledger {
            regions: [Region { base: REGION, bytes: region_bytes }].into_iter().collect(),
            vectors: vectors.iter().copied().collect(),
            limits: limits.iter().copied().collect(),
            hidden: HIDDEN,
            register_bytes: REGISTER_BYTES,
            reserved: [MSIX_TABLE].into_iter().collect(),
        };
        Self {
            broker: NvmeBroker::new(ledger),
            direct: None,
            device: Controller::new(identity, memory, HIDDEN),
            log: Vec::new(),
            present: true,
            submissions: (0, 0),
            room: usize::MAX,
            looks: 0,
            quiesced: false,
            commands: Commands::allowed_by(limits),
        }
    }

    /// The same, on the direct lane.
    ///
    /// # Panics
    /// If there is not room for rings.
    pub fn direct(identity: Identity, region_bytes: u64, vectors: &[u16], limits: &[Limit]) -> Self {
        let parts = Parts {
            rings: HIDDEN,
            ring_bytes: NvmeBroker::HIDDEN_BYTES,
            regions: &[Region { base: REGION, bytes: region_bytes }],
            register_bytes: MSIX_TABLE.0,
            vectors,
        };
        let direct = DirectLane::new(&parts).expect("there is room");
        Self { direct: Some(direct), ..Self::new(identity, region_bytes, vectors, limits) }
    }

    /// The driver's rings and the device, as soon as it was handed over; `None` on the brokered lane.
    fn own(&mut self) -> Result<Option<(&mut DirectLane, Handed<'_>)>, Error> {
        match &mut self.direct {
            Some(_) if !self.quiesced => Err(Error::Busy),
            Some(lane) => Ok(Some((lane, Handed(&mut self.device)))),
            None => Ok(None),
        }
    }

    /// Goes on with stopping the device, as the kernel does at its start; when to ask again, if it is not over.
    pub fn quiesce(&mut self) -> Option<u64> {
        if self.quiesced {
            return None;
        }
        match self.broker.quiesce(&mut self.device) {
            Progress::Again(time) => Some(time),
            Progress::Done | Progress::Failed => {
                self.quiesced = true;
                if self.direct.is_some() {
                    self.device.set_interrupts(true);
                    self.device.set_bus_mastering(true);
                }
                None
            }
        }
    }

    /// What lies in the region.
    pub fn region(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        self.device.memory.read(REGION + offset, &mut content);
        content
    }

    /// Puts data into the region.
    pub fn put_region(&mut self, offset: u64, data: &[u8]) {
        self.device.memory.write(REGION + offset, data);
    }

    /// Overwrites the whole of a part of the region, so that stale data is not taken for fresh.
    pub fn fill_region(&mut self, offset: u64, bytes: usize, value: u8) {
        self.device.memory.write(REGION + offset, &vec![value; bytes]);
    }

    fn is_gone(&self) -> bool {
        !self.present || self.device.faults.registers == Registers::AllOnes
    }
}

impl Hardware for Kernel {
    fn information(&mut self) -> Result<DeviceInformation, Error> {
        Ok(DeviceInformation {
            present: !self.is_gone(),
            enabled: self.broker.is_enabled(),
            vendor: 0x1b36,
            device: 0x0010,
            class: (1, 8, 2),
            address: PciAddress { segment: 0, bus: 0, device: 4, function: 0 },
            lane: if self.direct.is_some() { Lane::Direct } else { Lane::Brokered },
            commands: self.commands,
        })
    }

    fn read_u32(&mut self, offset: u32) -> Result<u32, Error> {
        if let Some((lane, mut device)) = self.own()? {
            return lane.read(&mut device, offset, 4).map(|value| value as u32);
        }
        let value = self.broker.read(&mut self.device, offset, 4).map_err(|refusal| refusal.error)?;
        Ok(value as u32)
    }

    fn read_u64(&mut self, offset: u32) -> Result<u64, Error> {
        if let Some((lane, mut device)) = self.own()? {
            return lane.read(&mut device, offset, 8);
        }
        self.broker.read(&mut self.device, offset, 8).map_err(|refusal| refusal.error)
    }

    fn write_u32(&mut self, offset: u32, value: u32) -> Result<(), Error> {
        if let Some((lane, mut device)) = self.own()? {
            return lane.write_u32(&mut device, offset, value);
        }
        self.broker.write(&mut self.device, offset, 4, value.into()).map_err(|refusal| refusal.error)
    }

    fn submit(&mut self, queue: u16, commands: &[SubmissionEntry]) -> Submission {
        self.submissions.0 += 1;
        let commands: Vec<_> = commands.iter().take(self.room).map(|command| command.to_bytes()).collect();
        if let Ok(Some((lane, mut device))) = self.own() {
            let submission = lane.submit(&mut device, queue, &commands);
            self.submissions.1 += submission.accepted as u64;
            return submission;
        }
        let submitted = self.broker.submit(&mut self.device, queue, &commands);
        self.submissions.1 += submitted.accepted as u64;
        Submission {
            accepted: submitted.accepted,
            refused: submitted.refused.map(|refusal| (refusal.error, broker::Reason::code(refusal.because))),
        }
    }

    fn complete(&mut self, queue: u16, completions: &mut [CompletionEntry]) -> Result<usize, Error> {
        self.looks += 1;
        let mut bytes = vec![[0; CompletionEntry::BYTES]; completions.len()];
        let taken = match self.own()? {
            Some((lane, mut device)) => lane.complete(&mut device, queue, &mut bytes)?,
            None => self.broker.complete(&mut self.device, queue, &mut bytes).map_err(|refusal| refusal.error)?,
        };
        for (place, bytes) in completions.iter_mut().zip(&bytes[..taken]) {
            *place = CompletionEntry::from_bytes(*bytes);
        }
        Ok(taken)
    }

    fn collect(&mut self, queue: u16, identifier: u16, data: &mut [u8]) -> Result<usize, Error> {
        if let Some((lane, mut device)) = self.own()? {
            return lane.collect(&mut device, queue, identifier, data);
        }
        self.broker.collect(&mut self.device, queue, identifier, data).map_err(|refusal| refusal.error)
    }

    fn now(&mut self) -> u64 {
        broker::Device::now(&self.device)
    }

    fn log(&mut self, line: core::fmt::Arguments<'_>) {
        self.log.push(line.to_string());
    }
}

/// The controller as a driver has it on the direct lane: bus mastering and interrupts are the kernel's.
#[derive(Debug)]
struct Handed<'a>(&'a mut Controller);

impl Device for Handed<'_> {
    fn read_u32(&mut self, offset: u32) -> u32 {
        self.0.read_u32(offset)
    }

    fn read_u64(&mut self, offset: u32) -> u64 {
        self.0.read_u64(offset)
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        self.0.write_u32(offset, value);
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        self.0.write_u64(offset, value);
    }

    fn hidden_u32(&mut self, offset: u32) -> u32 {
        self.0.hidden_u32(offset)
    }

    fn read_hidden(&mut self, offset: u32, to: &mut [u8]) {
        self.0.read_hidden(offset, to);
    }

    fn write_hidden(&mut self, offset: u32, from: &[u8]) {
        self.0.write_hidden(offset, from);
    }

    fn set_bus_mastering(&mut self, _on: bool) {}

    fn set_interrupts(&mut self, _on: bool) {}

    fn now(&self) -> u64 {
        Device::now(&*self.0)
    }
}
