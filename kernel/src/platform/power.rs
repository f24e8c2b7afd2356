//! Switching the machine off and resetting it: the last thing that the kernel does.
//!
//! Off is ACPI's state S5, through the control registers (ACPI 6.5, 4.8.3.2) or, on hardware-reduced machines, the sleep
//! control register (4.8.3.7); both as firmware's tables name them. A reset goes through the reset register that they
//! name, then the one of PCI chipsets at port 0xcf9, then a fault without a descriptor table, which resets every CPU.
//! The keyboard controller is not asked: Generation 2 machines have none.

use super::Mapper;
use super::acpi::Firmware;
use super::acpi::fadt::Register;
use super::registers::Registers;

/// In a control register: the machine is in ACPI's hands.
const CONTROL_ENABLED: u16 = 1 << 0;
const CONTROL_TYPE_SHIFT: u32 = 10;
const CONTROL_TYPE: u16 = 7 << CONTROL_TYPE_SHIFT;
const CONTROL_ENTER: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u32 = 2;
const SLEEP_ENTER: u8 = 1 << 5;
/// The chipset's reset port and what it takes: choose a hard reset, then do it.
const CHIPSET_RESET: u16 = 0xcf9;
const CHIPSET_RESET_VALUES: [u8; 2] = [0x02, 0x06];
/// Reads of a control register until the machine must be in ACPI's hands: a second or so.
const READS_MAX: u32 = 1_000_000;

/// I/O ports; tests stand in for them.
pub trait Ports {
    /// Reads 16 bits.
    fn read_u16(&mut self, port: u16) -> u16;
    /// Writes 16 bits.
    fn write_u16(&mut self, port: u16, value: u16);
    /// Writes a byte.
    fn write_u8(&mut self, port: u16, value: u8);
}

/// A register one byte wide.
#[derive(Debug)]
enum Place {
    Port(u16),
    Memory(Registers, u32),
}

impl Place {
    fn new(mapper: &mut impl Mapper, register: Register) -> Option<Self> {
        match register {
            Register::Port(port) => Some(Self::Port(port)),
            Register::Memory(address) => {
                let within = address % 8;
                let start = mapper.map_device(address - within, 8)?;
                // SAFETY: `map_device` maps these bytes for ever, on a multiple of eight as the address is; firmware
                // names a register there.
                Some(Self::Memory(unsafe { Registers::new(start, 8) }, within as u32))
            }
        }
    }

    fn write(&mut self, ports: &mut impl Ports, value: u8) {
        match self {
            Self::Port(port) => ports.write_u8(*port, value),
            Self::Memory(registers, offset) => registers.write_u8(*offset, value),
        }
    }
}

/// How to switch the machine off.
#[derive(Debug)]
enum Off {
    /// Through one or two control registers, each with what is written to its sleep type.
    Control { registers: [Option<(u16, u8)>; 2], hand_over: Option<(u16, u8)> },
    /// Through the sleep control register.
    Sleep(Place, u8),
}

/// How the machine is switched off and reset.
#[derive(Debug)]
pub struct Power {
    off: Option<Off>,
    reset: Option<(Place, u8)>,
}

impl Power {
    /// Takes from firmware's tables what is needed, and maps it.
    pub fn new(mapper: &mut impl Mapper, firmware: &Firmware) -> Self {
        let registers = firmware.power;
        let off = firmware.off.and_then(|types| match registers.sleep_control {
            Some(register) => Some(Off::Sleep(Place::new(mapper, register)?, types.a)),
            None => {
                let control = |register, kind| match register {
                    Some(Register::Port(port)) => Some((port, kind)),
                    // No machine is known that has these in memory.
                    Some(Register::Memory(_)) | None => None,
                };
                let [a, b] = registers.control;
                let first = control(a, types.a)?;
                let registers = [Some(first), control(b, types.b)];
                Some(Off::Control { registers, hand_over: firmware.power.hand_over })
            }
        });
        let reset = registers.reset.and_then(|reset| Some((Place::new(mapper, reset.register)?, reset.value)));
        Self { off, reset }
    }

    /// How the machine would be switched off, for the log; `None` if there is no way.
    pub fn off_method(&self) -> Option<&'static str> {
        self.off.as_ref().map(|off| match off {
            Off::Control { .. } => "acpi-s5",
            Off::Sleep(..) => "acpi-sleep-control",
        })
    }

    /// How the machine would be reset first of all, for the log. There is always a way.
    pub fn reset_method(&self) -> &'static str {
        if self.reset.is_some() { "acpi-reset-register" } else { "chipset-reset" }
    }

    /// Switches the machine off. Comes back if there is no way, or before the machine is off.
    pub fn switch_off(&mut self, ports: &mut impl Ports) {
        match &mut self.off {
            None => {}
            Some(Off::Sleep(place, kind)) => place.write(ports, *kind << SLEEP_TYPE_SHIFT | SLEEP_ENTER),
            Some(Off::Control { registers, hand_over }) => {
                if let ([Some((first, _)), _], Some((command, value))) = (*registers, *hand_over)
                    && ports.read_u16(first) & CONTROL_ENABLED == 0
                {
                    ports.write_u8(command, value);
                    // This machine ends here, so waiting keeps nobody from anything.
                    let _ = (0..READS_MAX).any(|_| ports.read_u16(first) & CONTROL_ENABLED != 0);
                }
                for (port, kind) in registers.iter().flatten() {
                    let kept = ports.read_u16(*port) & !(CONTROL_TYPE | CONTROL_ENTER);
                    ports.write_u16(*port, kept | u16::from(*kind) << CONTROL_TYPE_SHIFT | CONTROL_ENTER);
                }
            }
        }
    }

    /// Resets the machine, as far as registers can. `wait` gives each way the time to have its effect; comes back if
    /// none has.
    pub fn reset<P: Ports>(&mut self, ports: &mut P, mut wait: impl FnMut(&mut P)) {
        if let Some((place, value)) = &mut self.reset {
            place.write(ports, *value);
            wait(ports);
        }
        CHIPSET_RESET_VALUES.iter().for_each(|value| ports.write_u8(CHIPSET_RESET, *value));
        wait(ports);
    }
}

/// The machine's own ports.
#[derive(Clone, Copy, Debug)]
pub struct MachinePorts;

impl Ports for MachinePorts {
    fn read_u16(&mut self, port: u16) -> u16 {
        // SAFETY: firmware's tables name a power-management control register there; reading it has no effect.
        unsafe { x86_64::instructions::port::Port::new(port).read() }
    }

    fn write_u16(&mut self, port: u16, value: u16) {
        // SAFETY: as above; the write ends this machine's run, which is what the caller is there for.
        unsafe { x86_64::instructions::port::Port::new(port).write(value) }
    }

    fn write_u8(&mut self, port: u16, value: u8) {
        // SAFETY: as above, or the chipset's reset port.
        unsafe { x86_64::instructions::port::Port::new(port).write(value) }
    }
}

/// Resets the CPU by a fault that it cannot deliver: for machines on which nothing else did.
#[cfg(target_os = "none")]
pub fn fault_for_ever() -> ! {
    use x86_64::structures::DescriptorTablePointer;
    let nothing = DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: no interrupt or exception can be served any more, which is what it is for; nothing goes on after this.
    unsafe { x86_64::instructions::tables::lidt(&nothing) };
    loop {
        x86_64::instructions::interrupts::int3();
    }
}

#[cfg(test)]
mod tests {
    use super::super::acpi::fadt::{PowerRegisters, Reset};
    use super::super::acpi::sleep::SleepTypes;
    use super::*;
    use core::ptr::NonNull;

    extern crate std;
    use std::vec::Vec;

    /// Keeps what is written; a control register comes into ACPI's hands when `hand_over` is written, if ever.
    #[derive(Default)]
    struct Recorder {
        written: Vec<(u16, u16)>,
        enabled: bool,
        enables: bool,
    }

    impl Ports for Recorder {
        fn read_u16(&mut self, _: u16) -> u16 {
            // With a sleep type left over from somebody else.
            0x1c02 | u16::from(self.enabled)
        }

        fn write_u16(&mut self, port: u16, value: u16) {
            self.written.push((port, value));
        }

        fn write_u8(&mut self, port: u16, value: u8) {
            self.written.push((port, value.into()));
            self.enabled |= self.enables && port == 0xb2;
        }
    }

    /// A page of registers.
    struct Memory(&'static mut [u64; 512]);

    impl Mapper for Memory {
        fn map_device(&mut self, physical: u64, _: u64) -> Option<NonNull<u8>> {
            let word = physical.checked_sub(0xfed0_0000)? as usize / 8;
            Some(NonNull::from(self.0.get_mut(word)?).cast())
        }

        fn map_firmware(&mut self, _: u64, _: u64) -> Option<NonNull<u8>> {
            None
        }

        fn map_transient(&mut self, _: u64) -> Option<NonNull<u8>> {
            None
        }

        fn give_page(&mut self) -> Option<(NonNull<u8>, u64)> {
            None
        }
    }

    fn memory() -> Memory {
        Memory(std::boxed::Box::leak(std::boxed::Box::new([0; 512])))
    }

    const TYPES: Option<SleepTypes> = Some(SleepTypes { a: 5, b: 6 });

    fn firmware(power: PowerRegisters, off: Option<SleepTypes>) -> Firmware {
        Firmware { power, off, ..Firmware::default() }
    }

    fn control() -> PowerRegisters {
        PowerRegisters {
            control: [Some(Register::Port(0x604)), Some(Register::Port(0x704))],
            hand_over: Some((0xb2, 2)),
            ..PowerRegisters::default()
        }
    }

    #[test]
    fn both_control_registers_get_their_type_and_keep_their_other_bits() {
        let mut power = Power::new(&mut memory(), &firmware(control(), TYPES));
        assert_eq!(power.off_method(), Some("acpi-s5"));
        let mut ports = Recorder { enabled: true, ..Recorder::default() };
        power.switch_off(&mut ports);
        assert_eq!(ports.written, [(0x604, 5 << 10 | 0x2003), (0x704, 6 << 10 | 0x2003)]);
    }

    #[test]
    fn a_machine_in_firmwares_hands_is_taken_over_first() {
        let mut power = Power::new(&mut memory(), &firmware(control(), TYPES));
        let mut ports = Recorder { enables: true, ..Recorder::default() };
        power.switch_off(&mut ports);
        assert_eq!(ports.written[..2], [(0xb2, 2), (0x604, 5 << 10 | 0x2003)]);
        // One that does not hand over is tried all the same, after a bounded time.
        let mut ports = Recorder::default();
        power.switch_off(&mut ports);
        assert_eq!(ports.written.len(), 3);
    }

    #[test]
    fn a_reduced_machine_sleeps_through_its_one_register_in_memory_or_at_a_port() {
        let reduced = |register| PowerRegisters { sleep_control: Some(register), ..PowerRegisters::default() };
        let mut ports = Recorder::default();
        let mut power = Power::new(&mut memory(), &firmware(reduced(Register::Port(0x604)), TYPES));
        assert_eq!(power.off_method(), Some("acpi-sleep-control"));
        power.switch_off(&mut ports);
        assert_eq!(ports.written, [(0x604, 5 << 2 | 0x20)]);

        let mut memory = memory();
        let mut power = Power::new(&mut memory, &firmware(reduced(Register::Memory(0xfed0_0013)), TYPES));
        power.switch_off(&mut ports);
        assert_eq!(memory.0[2].to_le_bytes()[3], 5 << 2 | 0x20);
    }

    #[test]
    fn without_types_or_registers_there_is_no_way_off() {
        for firmware in [firmware(control(), None), firmware(PowerRegisters::default(), TYPES)] {
            let mut power = Power::new(&mut memory(), &firmware);
            assert_eq!(power.off_method(), None);
            let mut ports = Recorder::default();
            power.switch_off(&mut ports);
            assert!(ports.written.is_empty());
        }
    }

    #[test]
    fn a_reset_goes_through_the_register_then_the_chipset() {
        let reset = |register| PowerRegisters { reset: Some(Reset { register, value: 0x0f }), ..control() };
        let mut ports = Recorder::default();
        Power::new(&mut memory(), &firmware(reset(Register::Port(0xcf9)), TYPES))
            .reset(&mut ports, |ports| ports.written.push((0, 0)));
        assert_eq!(ports.written, [(0xcf9, 0x0f), (0, 0), (0xcf9, 2), (0xcf9, 6), (0, 0)]);
        let mut ports = Recorder::default();
        let mut memory = memory();
        Power::new(&mut memory, &firmware(reset(Register::Memory(0xfed0_0020)), TYPES)).reset(&mut ports, |_| ());
        assert_eq!((memory.0[4], ports.written.len()), (0x0f, 2));
        let mut power = Power::new(&mut memory, &firmware(control(), None));
        assert_eq!(power.reset_method(), "chipset-reset");
        power.reset(&mut ports, |_| ());
        assert_eq!(ports.written.len(), 4);
    }
}
