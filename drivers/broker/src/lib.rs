//! What the kernel gives a broker, and what a broker answers.
//!
//! A driver has two halves. The untrusted half is a task. The trusted half is its **broker**: pure, safe code linked
//! into the kernel, which knows one kind of device. The task asks, the broker decides what the device may see, and the
//! kernel performs that through [`Device`]. No physical address passes in the other direction: a driver names memory
//! by region and offset, and the broker alone turns that into an address, from the [`Ledger`].
//!
//! The kernel knows no word of any device; the broker knows no word of the kernel. Nothing here waits: what takes time
//! is asked again ([`Progress::Again`]).
#![no_std]
#![forbid(unsafe_code)]

use abi::package::{DEVICE_REGIONS_MAX, DEVICE_VECTORS_MAX, LIMITS_MAX, Limit};
use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use heapless::Vec;

/// A DMA region that the device may be given addresses in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The address by which the device reaches its first byte, on a page: the physical one, or behind an IOMMU one of
    /// the device's domain.
    pub base: u64,
    /// Bytes, whole pages.
    pub bytes: u64,
}

/// What the kernel granted, and what it set aside: everything that a broker may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The regions, by the number that the driver uses for them.
    pub regions: Vec<Region, DEVICE_REGIONS_MAX>,
    /// The granted MSI-X table entries.
    pub vectors: Vec<u16, DEVICE_VECTORS_MAX>,
    /// What the device may be used for; never empty.
    pub limits: Vec<Limit, LIMITS_MAX>,
    /// Memory for rings, lists and learned pages that is mapped into no task: address of its first byte, on a page. Like those of the regions, the address is the device's. It is contiguous, zeroed, and of the size that [`Broker::HIDDEN_BYTES`] asked for.
    pub hidden: u64,
    /// Bytes of the register BAR that may be used.
    pub register_bytes: u32,
    /// Ranges of the register BAR (first byte, bytes) that hold the MSI-X table and pending bits: never to be written.
    pub reserved: Vec<(u32, u32), 2>,
}

/// What the kernel performs for a broker.
///
/// Register offsets are bytes in the granted BAR and multiples of the width; the kernel drops a write and answers all
/// ones to a read that is not inside the BAR. Hidden offsets are bytes from [`Ledger::hidden`].
pub trait Device {
    /// Reads a 32-bit register.
    fn read_u32(&mut self, offset: u32) -> u32;
    /// Reads a 64-bit register.
    fn read_u64(&mut self, offset: u32) -> u64;
    /// Writes a 32-bit register. Everything written to hidden memory before is visible to the device first.
    fn write_u32(&mut self, offset: u32, value: u32);
    /// Writes a 64-bit register, likewise.
    fn write_u64(&mut self, offset: u32, value: u64);
    /// Reads a little-endian word of hidden memory that the device may write meanwhile. What is read afterwards is at
    /// least as new.
    fn hidden_u32(&mut self, offset: u32) -> u32;
    /// Reads a little-endian word of eight bytes, on a multiple of eight, likewise: its upper half first, or all at once.
    fn hidden_u64(&mut self, offset: u32) -> u64 {
        let upper = self.hidden_u32(offset.saturating_add(4));
        u64::from(upper) << 32 | u64::from(self.hidden_u32(offset))
    }
    /// Copies hidden memory out.
    fn read_hidden(&mut self, offset: u32, to: &mut [u8]);
    /// Copies bytes into hidden memory.
    fn write_hidden(&mut self, offset: u32, from: &[u8]);
    /// Writes eight little-endian words of eight bytes to hidden memory, from a multiple of eight on.
    fn write_hidden_line(&mut self, offset: u32, words: [u64; 8]) {
        self.write_hidden(offset, words.map(u64::to_le_bytes).as_flattened());
    }
    /// Writes `count` little-endian words of eight bytes to hidden memory, from a multiple of eight on: `first`, and each
    /// further one by `step` more.
    fn write_hidden_series(&mut self, offset: u32, first: u64, step: u64, count: u32) {
        for index in 0..count {
            let word = first.wrapping_add(step.wrapping_mul(index.into()));
            self.write_hidden(offset.saturating_add(index * 8), &word.to_le_bytes());
        }
    }
    /// Lets the function read and write memory by itself, or not (PCI command register, bit 2).
    fn set_bus_mastering(&mut self, on: bool);
    /// Switches MSI-X on, with the granted table entries programmed and all others masked, or off.
    fn set_interrupts(&mut self, on: bool);
    /// The monotonic clock, in nanoseconds.
    fn now(&self) -> u64;
}

/// Why a broker did not do what a driver asked.
///
/// `R` is the broker's own list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<R> {
    /// What the driver is told.
    pub error: abi::Error,
    /// Why, for the log and for tests.
    pub because: R,
}

/// A reason in a broker's list of reasons: it reads as a sentence part, and has a number for the driver.
pub trait Reason: core::fmt::Display + Copy {
    /// The number, never zero.
    fn code(self) -> u16;
}

/// How far a piece of work has come that takes the device time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// Ask again at this time, in nanoseconds of [`Device::now`].
    Again(u64),
    /// It will never be done: the device did not answer in its time. Device and regions are not to be used again.
    Failed,
}

/// How far a broker has come with finding out whether an IOMMU holds its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Ask again at this time, in nanoseconds of [`Device::now`].
    Again(u64),
    /// What there was to do was done, or could not be. The device is to be quiesced.
    Ended(Result<(), ProbeFailure>),
}

/// Why a device could not be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// The broker knows nothing to try it with.
    Unsupported,
    /// The device did not become ready, or did not answer.
    Unanswered,
    /// What it was told to write into its own memory did not arrive.
    NotDelivered,
}

/// The outcome of a submission: how many commands were accepted, from the first, and why the next one was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted<R> {
    /// Commands that the device will see.
    pub accepted: usize,
    /// The refusal of the next one; `None` if all were accepted, or if the queue has no room for more right now.
    pub refused: Option<Refusal<R>>,
}

/// The trusted half of a driver.
pub trait Broker {
    /// Its reasons for refusing.
    type Reason: Reason;

    /// Bytes of hidden memory that it needs, contiguous, whole pages.
    const HIDDEN_BYTES: u32;

    /// Whether [`Broker::quiesce`] sees the device stop. Where it does not, the device is used behind an IOMMU only, which
    /// drains what the device may still have on its way before memory is used again.
    const SEES_STOP: bool = true;

    /// Makes a broker for a device whose bus mastering is off. Touches no hardware; [`Broker::quiesce`] follows until
    /// it is done, before anything else is asked.
    fn new(ledger: Ledger) -> Self;

    /// Whether the driver has switched the device on and it may master the bus.
    fn is_enabled(&self) -> bool;

    /// How often the device answered what nobody had asked; such answers are dropped, and change nothing.
    fn anomalies(&self) -> u64 {
        0
    }

    /// Has the device write into hidden memory, which must arrive, and then to the physical page `outside`, which the
    /// kernel has put outside of all that it may reach. Asked again and again until it has ended; only after
    /// [`Progress::Done`] of [`Broker::quiesce`], which follows again, and before anything else is asked.
    ///
    /// Never asked where there is no IOMMU.
    fn probe(&mut self, device: &mut impl Device, outside: u64) -> Probe {
        let _ = (device, outside);
        Probe::Ended(Err(ProbeFailure::Unsupported))
    }

    /// Bytes of registers, from the BAR's first on, that a driver needs which drives the device directly, with registers
    /// and rings of its own behind an IOMMU; `None` if there is no such driver. Asked of a device that has stopped.
    ///
    /// Such a driver has [`Broker::HIDDEN_BYTES`] of memory for its rings, and the broker is asked for nothing more than
    /// [`Broker::quiesce`] and [`Broker::is_on`].
    fn direct_registers(&self, device: &mut impl Device) -> Option<u32> {
        let _ = device;
        None
    }

    /// Whether a driver that drives the device directly has switched it on.
    fn is_on(&self, device: &mut impl Device) -> bool {
        let _ = device;
        false
    }

    /// A register read by the driver: 4 or 8 bytes.
    ///
    /// # Errors
    /// Denied for registers that are not on the broker's list.
    fn read(&mut self, device: &mut impl Device, offset: u32, bytes: u8) -> Result<u64, Refusal<Self::Reason>>;

    /// A register write by the driver: 4 or 8 bytes. What it means is authored by the broker.
    ///
    /// # Errors
    /// Denied for registers that are not on the list, busy when the device is not in a state for it yet.
    fn write(
        &mut self,
        device: &mut impl Device,
        offset: u32,
        bytes: u8,
        value: u64,
    ) -> Result<(), Refusal<Self::Reason>>;

    /// Commands for a queue, a copy that nobody else can change. Those that are accepted are authored, and the
    /// doorbell is rung once.
    fn submit(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Self::Reason>;

    /// Takes completions that the device has written, retires their commands and tells the device. Returns how many
    /// were put into `completions`.
    ///
    /// # Errors
    /// Invalid for a queue that does not exist.
    fn complete(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Refusal<Self::Reason>>;

    /// Copies a retired command's data from hidden memory; once. Returns its length in bytes.
    ///
    /// # Errors
    /// Invalid if this command left no data.
    fn collect(
        &mut self,
        device: &mut impl Device,
        queue: u16,
        identifier: u16,
        data: &mut [u8],
    ) -> Result<usize, Refusal<Self::Reason>>;

    /// Makes the device stop and forget, whatever it does: bus mastering off, then its own reset, seen. Asked again
    /// and again until it is done or failed; after [`Progress::Done`] nothing is in flight and every address is
    /// forgotten.
    fn quiesce(&mut self, device: &mut impl Device) -> Progress;
}
