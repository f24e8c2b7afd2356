//! A device that this task drives directly: its registers, and memory for rings, mapped here.

use abi::Error;
use abi::direct::DirectInformation;
#[cfg(target_os = "none")]
use abi::layout::DIRECT_REGISTERS;
use abi::package::DEVICE_REGIONS_MAX;
use abi::system_call::Number;

use crate::device::Registers;
use crate::memory::Window;
use crate::raw::{Frame, system_call};

/// What this task has of a device that it drives directly.
#[derive(Debug)]
pub struct Direct {
    /// Its registers, from the first page of the BAR on.
    pub registers: DeviceRegisters,
    /// Memory for rings, zeroed when the task starts.
    pub rings: Window,
    /// Where the device finds the rings: an address of its own domain.
    pub rings_at: u64,
    /// Where the device finds its DMA regions, by their number in commands; 0 for none.
    pub regions: [u64; DEVICE_REGIONS_MAX],
}

impl Registers {
    /// What this task has of the device, if it drives it directly.
    ///
    /// # Errors
    /// Busy as long as it is not known whether it does; invalid if the lane is brokered: then the other calls are the way
    /// to the device.
    pub fn direct(&self) -> Result<Direct, Error> {
        let after = system_call(Frame::new(Number::DeviceDirect, [self.handle().into(), 0, 0, 0])).result()?;
        let information = DirectInformation::from_words(after.words);
        let part = after.arguments[0];
        Ok(Direct {
            registers: DeviceRegisters::mapped(part, information.register_bytes),
            rings: Window::granted(part, information.ring_bytes.into(), true, 0),
            rings_at: information.rings,
            regions: information.regions,
        })
    }
}

/// A device's registers, mapped uncached. Every access is volatile, inside, and one access of the device; one that is not
/// inside, or not on a multiple of its width, answers all ones as an absent device does, or is dropped.
#[derive(Debug)]
pub struct DeviceRegisters {
    base: *mut u8,
    bytes: u32,
}

impl DeviceRegisters {
    #[cfg(target_os = "none")]
    fn mapped(part: u64, bytes: u32) -> Self {
        let address = (part + DIRECT_REGISTERS) as usize;
        Self { base: core::ptr::with_exposed_provenance_mut(address), bytes }
    }

    #[cfg(not(target_os = "none"))]
    fn mapped(_part: u64, bytes: u32) -> Self {
        Self::host(bytes)
    }

    /// For tests, with memory of its own, which is never freed.
    #[cfg(not(target_os = "none"))]
    pub fn host(bytes: u32) -> Self {
        let words = std::vec![0_u64; (bytes as usize).div_ceil(8)];
        Self { base: std::vec::Vec::leak(words).as_mut_ptr().cast(), bytes }
    }

    /// How many bytes of registers there are.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    fn at<T>(&self, offset: u32) -> Option<*mut T> {
        let width = size_of::<T>() as u32;
        let inside = offset.checked_add(width).is_some_and(|end| end <= self.bytes);
        (inside && offset.is_multiple_of(width)).then(|| self.base.wrapping_add(offset as usize).cast())
    }

    /// Reads 32 bits at this byte offset.
    pub fn read_u32(&self, offset: u32) -> u32 {
        // SAFETY: `at` has checked that it lies in the registers and is aligned, as they begin on a page; they stay mapped
        // for the task's whole life, and no reference to them exists.
        self.at::<u32>(offset).map_or(u32::MAX, |register| unsafe { register.read_volatile() })
    }

    /// Reads 64 bits.
    pub fn read_u64(&self, offset: u32) -> u64 {
        // SAFETY: as above.
        self.at::<u64>(offset).map_or(u64::MAX, |register| unsafe { register.read_volatile() })
    }

    /// Writes 32 bits.
    pub fn write_u32(&mut self, offset: u32, value: u32) {
        if let Some(register) = self.at::<u32>(offset) {
            // SAFETY: as above, and they are mapped for writing. What the device does then reaches memory of its domain
            // alone: DMA regions and rings, of which no reference exists.
            unsafe { register.write_volatile(value) }
        }
    }

    /// Writes 64 bits.
    pub fn write_u64(&mut self, offset: u32, value: u64) {
        if let Some(register) = self.at::<u64>(offset) {
            // SAFETY: as for 32 bits.
            unsafe { register.write_volatile(value) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn nothing_but_the_registers_is_touched() {
        let mut registers = DeviceRegisters::host(16);
        registers.write_u32(4, 0x1234_5678);
        registers.write_u64(8, 1 << 40);
        assert_eq!((registers.read_u32(4), registers.read_u64(0)), (0x1234_5678, 0x1234_5678 << 32));
        for offset in [2, 14, 16, 12 + 8, u32::MAX, u32::MAX - 3] {
            registers.write_u32(offset, 7);
            assert_eq!(registers.read_u32(offset), u32::MAX, "{offset}");
        }
        for offset in [4, 12, 16, u32::MAX - 7] {
            registers.write_u64(offset, 7);
            assert_eq!(registers.read_u64(offset), u64::MAX, "{offset}");
        }
        assert_eq!((registers.read_u64(0), registers.read_u64(8)), (0x1234_5678 << 32, 1 << 40));
    }

    #[test]
    fn a_task_learns_where_the_device_finds_what_is_its() {
        let told = DirectInformation { ring_bytes: 0x3000, register_bytes: 0x2000, rings: 1 << 38, regions: [5; 4] };
        let kernel = move |frame: &mut Frame, _: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0]), (Number::DeviceDirect as u64, 4));
            frame.words = told.to_words();
        };
        let direct = host::with(kernel, || Registers { handle: 4 }.direct()).expect("it is direct");
        assert_eq!((direct.registers.bytes(), direct.rings.bytes()), (0x2000, 0x3000));
        assert_eq!((direct.rings_at, direct.regions), (1 << 38, [5; 4]));
        let brokered = |frame: &mut Frame, _: &mut [u8]| host::fail(frame, Error::Invalid);
        assert_eq!(host::with(brokered, || Registers { handle: 4 }.direct()).err(), Some(Error::Invalid));
    }
}
