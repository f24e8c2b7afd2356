//! QEMU's `edu` device as a DMA engine: it copies bytes between memory and a buffer of its own.

use core::time::Duration;

use hostile::driver::pause_for;
use task::{DeviceRegisters, Direct, Instant, Stop};

const IDENTIFICATION: u32 = 0x00;
const RAISE: u32 = 0x60;
const LOWER: u32 = 0x64;
const SOURCE: u32 = 0x80;
const DESTINATION: u32 = 0x88;
const COUNT: u32 = 0x90;
const COMMAND: u32 = 0x98;

const RUN: u32 = 1;
const TO_MEMORY: u32 = 2;

/// Where its buffer begins, by its own addresses. Beyond it QEMU ends.
const BUFFER: u64 = 0x4_0000;
/// Bytes of its buffer that are used, whole words: with all 4096 at once QEMU 7.2 ends, too.
pub const BUFFER_BYTES: u64 = 4088;
/// A copy takes it a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// The device.
pub struct Engine {
    registers: DeviceRegisters,
}

impl Engine {
    /// From what the driver has of it, if it is one.
    pub fn new(direct: Direct) -> Option<Self> {
        let registers = direct.registers;
        // Version 1.0 of "edu".
        (registers.read_u32(IDENTIFICATION) == 0x0100_00ed).then_some(Self { registers })
    }

    /// Bytes of registers.
    pub fn register_bytes(&self) -> u32 {
        self.registers.bytes()
    }

    /// Copies from its buffer, from this place in it, to memory.
    pub fn write(&mut self, place: u64, address: u64, bytes: u64) -> Result<(), Stop> {
        self.copy(BUFFER + place, address, bytes, TO_MEMORY)
    }

    /// Copies from memory to the start of its buffer.
    pub fn read(&mut self, address: u64, bytes: u64) -> Result<(), Stop> {
        self.copy(address, BUFFER, bytes, 0)
    }

    fn copy(&mut self, source: u64, destination: u64, bytes: u64, direction: u32) -> Result<(), Stop> {
        assert!(bytes <= BUFFER_BYTES);
        self.registers.write_u64(SOURCE, source);
        self.registers.write_u64(DESTINATION, destination);
        self.registers.write_u64(COUNT, bytes);
        self.registers.write_u32(COMMAND, RUN | direction);
        let start = Instant::now();
        while self.registers.read_u32(COMMAND) & RUN != 0 {
            if Instant::now().since(start) > PATIENCE {
                return Err(Stop::new(format_args!("the engine does not end")));
            }
            pause_for(PAUSE);
        }
        Ok(())
    }

    /// Interrupts as it was told to, if it was.
    pub fn interrupt(&mut self) {
        self.registers.write_u32(RAISE, 1);
        self.registers.write_u32(LOWER, 1);
    }
}
