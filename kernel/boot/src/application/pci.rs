//! `EFI_PCI_IO_PROTOCOL` (UEFI 2.10, 14.4), as far as it is used here: configuration space and place of a function.

use core::ffi::c_void;

use abi::system_call::PciAddress;
use uefi::Status;
use uefi::proto::unsafe_protocol;

/// A PCI function, for one that only reads it.
#[repr(C)]
#[unsafe_protocol("4cf5b200-68b8-4ca5-9eec-b23e3f50029a")]
pub struct PciIo {
    /// PollMem, PollIo, Mem.Read, Mem.Write, Io.Read, Io.Write: not used.
    unused_first: [usize; 6],
    read_configuration: unsafe extern "efiapi" fn(
        this: *mut Self,
        width: u32,
        offset: u32,
        count: usize,
        buffer: *mut c_void,
    ) -> Status,
    /// Pci.Write, CopyMem, Map, Unmap, AllocateBuffer, FreeBuffer, Flush: not used.
    unused_then: [usize; 7],
    get_location: unsafe extern "efiapi" fn(
        this: *mut Self,
        segment: *mut usize,
        bus: *mut usize,
        device: *mut usize,
        function: *mut usize,
    ) -> Status,
    // What follows is not used.
}

/// EfiPciIoWidthUint32.
const WIDTH_32: u32 = 2;
/// Words of a type 0 header up to the subsystem identifiers (PCI local bus 3.0, 6.1).
const HEADER_WORDS: usize = 12;

/// What a function is.
pub struct Function {
    pub address: PciAddress,
    pub vendor: u16,
    pub device: u16,
    /// Vendor and identifier.
    pub subsystem: (u16, u16),
    /// Class, subclass, programming interface.
    pub class: (u8, u8, u8),
}

impl PciIo {
    /// Reads what the function is, or says why that cannot be.
    pub fn function(&mut self) -> Result<Function, &'static str> {
        let mut header = [0_u32; HEADER_WORDS];
        // SAFETY: the interface is firmware's; it writes the words of the buffer, which are as many as is said.
        let status =
            unsafe { (self.read_configuration)(&raw mut *self, WIDTH_32, 0, HEADER_WORDS, header.as_mut_ptr().cast()) };
        if status != Status::SUCCESS {
            return Err("configuration space cannot be read");
        }
        let halves = |word: u32| (word as u16, (word >> 16) as u16);
        let (vendor, device) = halves(header[0]);
        let [_, interface, subclass, class] = header[2].to_le_bytes();
        Ok(Function {
            address: self.location()?,
            vendor,
            device,
            subsystem: halves(header[11]),
            class: (class, subclass, interface),
        })
    }

    fn location(&mut self) -> Result<PciAddress, &'static str> {
        let (mut segment, mut bus, mut device, mut function) = (0, 0, 0, 0);
        let this = &raw mut *self;
        // SAFETY: the interface is firmware's; it writes the four numbers.
        let status =
            unsafe { (self.get_location)(this, &raw mut segment, &raw mut bus, &raw mut device, &raw mut function) };
        let parts = (u16::try_from(segment), u8::try_from(bus), u8::try_from(device), u8::try_from(function));
        match parts {
            (Ok(segment), Ok(bus), Ok(device), Ok(function)) if status == Status::SUCCESS => {
                Ok(PciAddress { segment, bus, device, function })
            }
            _ => Err("firmware does not say where the function is"),
        }
    }
}
