//! Controller registers and doorbells (base 2.0, 3.1.3 and, for PCI Express, the transport specification 1.0, 3.1).

use core::time::Duration;

use bitflags::bitflags;

/// Controller capabilities, 64 bits, read-only: [`Capabilities`].
pub const CAP: u32 = 0x00;
/// Version, 32 bits, read-only: [`Version`].
pub const VS: u32 = 0x08;
/// Interrupt mask set, 32 bits; not to be used with MSI-X.
pub const INTMS: u32 = 0x0c;
/// Interrupt mask clear, 32 bits; not to be used with MSI-X.
pub const INTMC: u32 = 0x10;
/// Controller configuration, 32 bits: [`Configuration`].
pub const CC: u32 = 0x14;
/// Controller status, 32 bits: [`ControllerStatus`].
pub const CSTS: u32 = 0x1c;
/// NVM subsystem reset, 32 bits; writing [`NSSR_RESET`] resets.
pub const NSSR: u32 = 0x20;
/// Admin queue attributes, 32 bits: see [`admin_queue_attributes`].
pub const AQA: u32 = 0x24;
/// Admin submission queue base address, 64 bits, on a page.
pub const ASQ: u32 = 0x28;
/// Admin completion queue base address, 64 bits, on a page.
pub const ACQ: u32 = 0x30;
/// Controller memory buffer location, 32 bits.
pub const CMBLOC: u32 = 0x38;
/// Controller memory buffer size, 32 bits.
pub const CMBSZ: u32 = 0x3c;
/// Boot partition information, 32 bits.
pub const BPINFO: u32 = 0x40;
/// Boot partition read select, 32 bits.
pub const BPRSEL: u32 = 0x44;
/// Boot partition memory buffer location, 64 bits.
pub const BPMBL: u32 = 0x48;
/// Controller memory buffer memory space control, 64 bits.
pub const CMBMSC: u32 = 0x50;
/// Controller memory buffer status, 32 bits.
pub const CMBSTS: u32 = 0x58;
/// First doorbell: the admin submission queue's tail.
pub const DOORBELLS: u32 = 0x1000;

/// What [`NSSR`] takes: "NVMe" in ASCII.
pub const NSSR_RESET: u32 = 0x4e56_4d65;
/// What every register of a function that is gone reads.
pub const ALL_ONES: u32 = 0xffff_ffff;

/// Most entries in an admin queue (base 2.0, 3.3.3.1: 12-bit size).
pub const ADMIN_ENTRIES_MAX: u16 = 4096;

/// The value of [`AQA`] for an admin submission and an admin completion queue with so many entries, 2 to
/// [`ADMIN_ENTRIES_MAX`] each (base 2.0, 3.1.3.8).
pub const fn admin_queue_attributes(submission_entries: u16, completion_entries: u16) -> u32 {
    ((submission_entries - 1) as u32 & 0xfff) | ((completion_entries - 1) as u32 & 0xfff) << 16
}

/// What a controller can do (base 2.0, 3.1.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// MQES: most entries in an I/O queue, 2 to 65,536.
    pub const fn queue_entries_max(self) -> u32 {
        (self.0 & 0xffff) as u32 + 1
    }

    /// CQR: I/O queues must be physically contiguous.
    pub const fn contiguous_queues_required(self) -> bool {
        self.0 & 1 << 16 != 0
    }

    /// TO: longest time from a change of CC.EN to the change of CSTS.RDY. In units of 500 ms on the wire; 0 there is
    /// taken as one unit.
    pub const fn timeout(self) -> Duration {
        let units = (self.0 >> 24) & 0xff;
        Duration::from_millis(500 * if units == 0 { 1 } else { units })
    }

    /// DSTRD: 0 to 15; doorbells are `4 << stride` bytes apart.
    pub const fn doorbell_stride(self) -> DoorbellStride {
        DoorbellStride(((self.0 >> 32) & 0xf) as u8)
    }

    /// NSSRS: there is an NVM subsystem reset.
    pub const fn subsystem_reset(self) -> bool {
        self.0 & 1 << 36 != 0
    }

    /// CSS bit 0: the NVM command set is supported.
    pub const fn nvm_command_set(self) -> bool {
        self.0 & 1 << 37 != 0
    }

    /// MPSMIN: smallest memory page is `4096 << this` bytes, 0 to 15.
    pub const fn page_shift_min(self) -> u8 {
        ((self.0 >> 48) & 0xf) as u8
    }

    /// MPSMAX: largest memory page is `4096 << this` bytes, 0 to 15.
    pub const fn page_shift_max(self) -> u8 {
        ((self.0 >> 52) & 0xf) as u8
    }
}

/// The version of the specification that a controller follows (base 2.0, 3.1.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}.{}", self.0 >> 16, (self.0 >> 8) & 0xff, self.0 & 0xff)
    }
}

/// CC.SHN: a request to shut down (base 2.0, 3.1.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ShutdownNotification {
    /// No shutdown.
    None = 0,
    /// Normal shutdown.
    Normal = 1,
    /// Abrupt shutdown.
    Abrupt = 2,
}

/// Controller configuration (base 2.0, 3.1.3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configuration(pub u32);

impl Configuration {
    /// EN: the controller works.
    pub const ENABLE: u32 = 1;
    /// SHN's place.
    pub const SHUTDOWN_MASK: u32 = 0b11 << 14;
    /// IOSQES = 6: I/O submission entries of 64 bytes.
    pub const SUBMISSION_ENTRIES_64: u32 = 6 << 16;
    /// IOCQES = 4: I/O completion entries of 16 bytes.
    pub const COMPLETION_ENTRIES_16: u32 = 4 << 20;

    /// Pages of 4 KiB, the NVM command set, round robin, entries of 64 and 16 bytes: the one configuration in which
    /// everything in this crate is right.
    pub const fn new(enable: bool, shutdown: ShutdownNotification) -> Self {
        Self(Self::SUBMISSION_ENTRIES_64 | Self::COMPLETION_ENTRIES_16 | (shutdown as u32) << 14 | enable as u32)
    }

    /// EN.
    pub const fn enable(self) -> bool {
        self.0 & Self::ENABLE != 0
    }

    /// SHN; `None` for the reserved value.
    pub const fn shutdown(self) -> Option<ShutdownNotification> {
        match (self.0 & Self::SHUTDOWN_MASK) >> 14 {
            0 => Some(ShutdownNotification::None),
            1 => Some(ShutdownNotification::Normal),
            2 => Some(ShutdownNotification::Abrupt),
            _ => None,
        }
    }

    /// CSS, 0 to 7: 0 is the NVM command set.
    pub const fn command_set(self) -> u8 {
        ((self.0 >> 4) & 0b111) as u8
    }

    /// MPS: memory pages are `4096 << this` bytes, 0 to 15.
    pub const fn page_shift(self) -> u8 {
        ((self.0 >> 7) & 0xf) as u8
    }

    /// AMS, 0 to 7: 0 is round robin.
    pub const fn arbitration(self) -> u8 {
        ((self.0 >> 11) & 0b111) as u8
    }

    /// IOSQES: I/O submission entries are `1 << this` bytes.
    pub const fn submission_entry_shift(self) -> u8 {
        ((self.0 >> 16) & 0xf) as u8
    }

    /// IOCQES: I/O completion entries are `1 << this` bytes.
    pub const fn completion_entry_shift(self) -> u8 {
        ((self.0 >> 20) & 0xf) as u8
    }
}

bitflags! {
    /// Controller status (base 2.0, 3.1.3.6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ControllerStatus: u32 {
        /// RDY: the controller takes commands.
        const READY = 1 << 0;
        /// CFS: the controller has failed, and wants a reset.
        const FATAL = 1 << 1;
        /// SHST = 1: it is shutting down.
        const SHUTDOWN_OCCURRING = 0b01 << 2;
        /// SHST = 2: it has shut down.
        const SHUTDOWN_COMPLETE = 0b10 << 2;
        /// SHST, both bits.
        const SHUTDOWN = 0b11 << 2;
        /// NSSRO: an NVM subsystem reset happened.
        const SUBSYSTEM_RESET = 1 << 4;
        /// PP: command processing is paused.
        const PAUSED = 1 << 5;
        const _ = !0;
    }
}

impl ControllerStatus {
    /// Whether this is what a function that is gone reads.
    pub const fn is_gone(self) -> bool {
        self.bits() == ALL_ONES
    }
}

/// DSTRD, 0 to 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorbellStride(u8);

impl DoorbellStride {
    /// Offset of a submission queue's tail doorbell in the register BAR (PCI Express transport 1.0, 3.1.2.1).
    pub const fn submission_tail(self, queue: u16) -> u64 {
        DOORBELLS as u64 + ((2 * queue as u64) << (2 + self.0))
    }

    /// Offset of a completion queue's head doorbell in the register BAR (PCI Express transport 1.0, 3.1.2.2).
    pub const fn completion_head(self, queue: u16) -> u64 {
        DOORBELLS as u64 + ((2 * queue as u64 + 1) << (2 + self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_qemu_read_as_documented() {
        // MQES 2047, CQR, TO 15, CSS NVM and admin, MPSMAX 4, as QEMU 7.2 reports them.
        let capabilities = Capabilities(0x0040_0020_0f01_07ff | 1 << 54);
        assert_eq!(capabilities.queue_entries_max(), 2048);
        assert!(capabilities.contiguous_queues_required());
        assert_eq!(capabilities.timeout(), Duration::from_millis(7500));
        assert_eq!(capabilities.doorbell_stride().submission_tail(1), 0x1008);
        assert!(capabilities.nvm_command_set());
        assert_eq!((capabilities.page_shift_min(), capabilities.page_shift_max()), (0, 4));
    }

    #[test]
    fn doorbells_are_a_stride_apart() {
        assert_eq!(DoorbellStride(0).submission_tail(0), 0x1000);
        assert_eq!(DoorbellStride(0).completion_head(0), 0x1004);
        assert_eq!(DoorbellStride(0).completion_head(1), 0x100c);
        assert_eq!(DoorbellStride(4).submission_tail(512), 0x11000);
        assert_eq!(DoorbellStride(0).submission_tail(512), 0x2000);
        assert_eq!(DoorbellStride(15).completion_head(u16::MAX), 0x1000 + 131_071 * (4 << 15));
    }

    #[test]
    fn configuration_reads_back_what_it_was_made_of() {
        let configuration = Configuration::new(true, ShutdownNotification::Normal);
        assert_eq!(configuration.0, 0x0046_4001);
        assert!(configuration.enable());
        assert_eq!(configuration.shutdown(), Some(ShutdownNotification::Normal));
        assert_eq!((configuration.submission_entry_shift(), configuration.completion_entry_shift()), (6, 4));
        assert_eq!((configuration.page_shift(), configuration.command_set(), configuration.arbitration()), (0, 0, 0));
        assert_eq!(Configuration(Configuration::SHUTDOWN_MASK).shutdown(), None);
    }

    #[test]
    fn admin_queue_attributes_are_zero_based() {
        assert_eq!(admin_queue_attributes(64, 32), 0x001f_003f);
        assert_eq!(admin_queue_attributes(4096, 4096), 0x0fff_0fff);
    }
}
