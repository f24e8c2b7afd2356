//! The machine around the CPU: firmware's tables, PCI, interrupts, time and the serial port.
//!
//! - [`acpi`]: what firmware's tables say of the machine.
//! - [`pci`]: finds functions, switches bus mastering off, reads BARs and capabilities.
//! - [`msix`]: the MSI-X tables, which are the kernel's alone.
//! - [`apic`] and [`ioapic`]: the local APIC with its timer; every other interrupt source is masked, but the serial
//!   port's if a task may read it.
//! - [`vtd`]: the IOMMUs.
//! - [`power`]: switching the machine off, resetting it.
//! - [`clock`]: monotonic nanoseconds from the time-stamp counter.
//! - [`serial`]: the first serial port.
//! - [`cpu`]: the control registers that close what tasks must not have.
//! - [`registers`]: bounds-checked volatile access, under all of them.
//!
//! Nothing here needs a PIT, PIC, HPET or legacy PCI; they are masked or used where they are.

use core::ptr::NonNull;

pub mod acpi;
pub mod apic;
pub mod clock;
pub mod cpu;
pub mod ioapic;
pub mod msix;
pub mod pci;
pub mod power;
pub mod registers;
pub mod serial;
pub mod vtd;

pub use apic::time_stamp;

/// What the platform needs of memory. The kernel maps nothing else than what is asked for here.
pub trait Mapper {
    /// Maps device registers for ever: uncached, writable, supervisor, no-execute. The result points to the byte at
    /// `physical`, which need not begin a page. `None` if there is no room.
    fn map_device(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>>;

    /// Maps firmware's tables, read-only, until start-up ends. The result points to the byte at `physical`. `None` if
    /// there is no room.
    fn map_firmware(&mut self, physical: u64, bytes: u64) -> Option<NonNull<u8>>;

    /// Maps one page of device registers, as [`Mapper::map_device`] does, until the next call: for the search of the
    /// buses, which looks at far more pages than it keeps. `physical` is a multiple of the page.
    fn map_transient(&mut self, physical: u64) -> Option<NonNull<u8>>;

    /// Gives a page of memory for ever, mapped and zeroed, and its physical address. `None` if there is no room.
    fn give_page(&mut self) -> Option<(NonNull<u8>, u64)>;
}

/// What start-up found out about the machine.
#[derive(Debug)]
pub struct Platform {
    /// What firmware's tables say.
    pub firmware: acpi::Firmware,
    /// This CPU's local APIC, with its timer.
    pub apic: apic::LocalApic,
    /// Time.
    pub clock: clock::Clock,
    /// The way to configuration space.
    pub pci: pci::Access,
    /// The I/O APICs, all masked.
    pub io_apics: ioapic::IoApics,
    /// How the machine is switched off and reset.
    pub power: power::Power,
}

/// Reads firmware's tables, masks every interrupt source, starts the clock. `acpi_root` is the physical address of
/// the root pointer, 0 if firmware gave none.
///
/// Returns `None` if the CPU has no local APIC that can be reached: without a timer nothing can run.
pub fn start(mapper: &mut impl Mapper, acpi_root: u64) -> Option<Platform> {
    let firmware = acpi::Firmware::read(mapper, acpi_root);
    let mut apic = apic::LocalApic::start(mapper)?;
    let io_apics = ioapic::IoApics::start(mapper, &firmware.io_apics);
    let clock = clock::start(mapper, &mut apic, firmware.power_timer);
    let pci = pci::Access::new(&firmware.ecam);
    let power = power::Power::new(mapper, &firmware);
    Some(Platform { firmware, apic, clock, pci, io_apics, power })
}
