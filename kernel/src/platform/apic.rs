//! The local APIC: end of interrupt, and the timer that everything in the kernel which waits is driven by.
//!
//! In xAPIC mode its registers are one page; in x2APIC mode they are model-specific registers, which need no mapping
//! and are cheaper. The latter is used where firmware left it on or the CPU has it. The timer counts down once; with
//! the TSC-deadline mode it compares the time-stamp counter instead. Intel SDM volume 3A, chapter 11.
//!
//! Every local source but the timer is masked, the 8259 interrupt controllers as well, if there are any.

use core::arch::x86_64::_rdtsc;
use core::ptr::NonNull;
use heapless::Vec;
use raw_cpuid::CpuId;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

use super::Mapper;
use super::clock::Clock;
use super::registers::Registers;

/// Interrupt vector of the timer: above those of the devices.
pub const TIMER_VECTOR: u8 = 0xe0;
/// Interrupt vector of the serial port.
pub const SERIAL_VECTOR: u8 = 0xd0;
/// Interrupt vector of an interrupt that was withdrawn before it was delivered. It is not acknowledged.
pub const SPURIOUS_VECTOR: u8 = 0xff;

const APIC_BASE: u32 = 0x1b;
const TSC_DEADLINE: u32 = 0x6e0;
const X2APIC_FIRST: u32 = 0x800;

const BASE_ENABLED: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Offsets of the registers in xAPIC mode; in x2APIC mode the register number is a sixteenth of it.
mod register {
    pub(super) const ID: u32 = 0x20;
    pub(super) const VERSION: u32 = 0x30;
    pub(super) const TASK_PRIORITY: u32 = 0x80;
    pub(super) const END_OF_INTERRUPT: u32 = 0xb0;
    pub(super) const SPURIOUS: u32 = 0xf0;
    pub(super) const IN_SERVICE: u32 = 0x100;
    pub(super) const CORRECTED_ERRORS: u32 = 0x2f0;
    pub(super) const TIMER: u32 = 0x320;
    pub(super) const THERMAL: u32 = 0x330;
    pub(super) const PERFORMANCE: u32 = 0x340;
    pub(super) const LINT0: u32 = 0x350;
    pub(super) const LINT1: u32 = 0x360;
    pub(super) const ERROR: u32 = 0x370;
    pub(super) const INITIAL_COUNT: u32 = 0x380;
    pub(super) const CURRENT_COUNT: u32 = 0x390;
    pub(super) const DIVIDE: u32 = 0x3e0;
}

const MASKED: u32 = 1 << 16;
const TIMER_TSC_DEADLINE: u32 = 0b10 << 17;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const DIVIDE_BY_ONE: u32 = 0b1011;

/// How its registers are reached.
#[derive(Debug)]
enum Mode {
    /// One page of registers.
    Memory(Registers),
    /// Model-specific registers.
    ModelSpecific,
}

/// A CPU's local APIC.
#[derive(Debug)]
pub struct LocalApic {
    mode: Mode,
    id: u32,
    deadline: bool,
}

impl LocalApic {
    /// Switches this CPU's local APIC on, with every source masked. `None` if the CPU has none or there is no room to
    /// map it.
    pub fn start(mapper: &mut impl Mapper) -> Option<Self> {
        mask_legacy_controllers();
        let features = CpuId::new().get_feature_info()?;
        if !features.has_apic() {
            return None;
        }
        let (steps, base) = switching_on(read_msr(APIC_BASE), features.has_x2apic());
        steps.iter().for_each(|base| write_msr(APIC_BASE, *base));
        let mode = if base & BASE_X2APIC != 0 {
            Mode::ModelSpecific
        } else {
            let page: NonNull<u8> = mapper.map_device(base & BASE_ADDRESS, 4096)?;
            // SAFETY: `map_device` maps the page for ever, and it holds nothing but the APIC's registers.
            Mode::Memory(unsafe { Registers::new(page, 4096) })
        };
        let mut apic = Self { mode, id: 0, deadline: features.has_tsc_deadline() };
        apic.set_up();
        Some(apic)
    }

    fn set_up(&mut self) {
        self.id = match self.mode {
            Mode::Memory(_) => self.read(register::ID) >> 24,
            Mode::ModelSpecific => self.read(register::ID),
        };
        let last_entry = (self.read(register::VERSION) >> 16) & 0xff;
        self.write(register::SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
        self.write(register::TASK_PRIORITY, 0);
        for (entry, source) in [
            (0, register::TIMER),
            (1, register::LINT0),
            (2, register::LINT1),
            (3, register::ERROR),
            (4, register::PERFORMANCE),
            (5, register::THERMAL),
            (6, register::CORRECTED_ERRORS),
        ] {
            if entry <= last_entry {
                self.write(source, MASKED | u32::from(SPURIOUS_VECTOR));
            }
        }
        self.write(register::DIVIDE, DIVIDE_BY_ONE);
        self.write(register::INITIAL_COUNT, 0);
        // Whatever firmware was interrupted by and did not acknowledge: at most one for each priority class.
        for _ in 0..16 {
            if (0..8).all(|word| self.read(register::IN_SERVICE + 16 * word) == 0) {
                break;
            }
            self.end_of_interrupt();
        }
    }

    fn read(&self, offset: u32) -> u32 {
        match &self.mode {
            Mode::Memory(registers) => registers.read_u32(offset),
            Mode::ModelSpecific => read_msr(X2APIC_FIRST + offset / 16) as u32,
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        match &mut self.mode {
            Mode::Memory(registers) => registers.write_u32(offset, value),
            Mode::ModelSpecific => write_msr(X2APIC_FIRST + offset / 16, value.into()),
        }
    }

    /// The number under which interrupt messages reach this CPU.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether processors have numbers of 32 bits.
    pub fn is_extended(&self) -> bool {
        matches!(self.mode, Mode::ModelSpecific)
    }

    /// Acknowledges the interrupt that is being served.
    pub fn end_of_interrupt(&mut self) {
        self.write(register::END_OF_INTERRUPT, 0);
    }

    /// Whether this vector is being served and must be acknowledged: for vectors that nobody expects.
    pub fn is_in_service(&self, vector: u8) -> bool {
        let word = self.read(register::IN_SERVICE + 16 * u32::from(vector / 32));
        word & 1 << (vector % 32) != 0
    }

    /// Has the timer interrupt ([`TIMER_VECTOR`]) once, at `deadline`, in nanoseconds of `clock`, or right away if it
    /// has passed. An earlier deadline is replaced. A deadline that is too far away for the timer makes it interrupt
    /// early: compare the clock, and set it again.
    pub fn set_timer(&mut self, clock: &Clock, deadline: u64) {
        if self.deadline {
            self.write(register::TIMER, TIMER_TSC_DEADLINE | u32::from(TIMER_VECTOR));
            // The write to the timer's entry must be seen first (Intel SDM 3A, 11.5.4.1).
            core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
            // Zero would switch the timer off.
            write_msr(TSC_DEADLINE, clock.counter_at(deadline).max(1));
        } else {
            let count = clock.timer_count(deadline.saturating_sub(clock.now()));
            self.write(register::TIMER, u32::from(TIMER_VECTOR));
            self.write(register::INITIAL_COUNT, count);
        }
    }

    /// Switches the timer off. An interrupt that is on its way may still arrive.
    pub fn stop_timer(&mut self) {
        self.write(register::TIMER, MASKED | u32::from(TIMER_VECTOR));
        if self.deadline {
            write_msr(TSC_DEADLINE, 0);
        } else {
            self.write(register::INITIAL_COUNT, 0);
        }
    }

    /// How the timer works, for the log.
    pub fn timer_mode(&self) -> &'static str {
        if self.deadline { "tsc-deadline" } else { "one-shot" }
    }

    /// How the registers are reached, for the log.
    pub fn mode(&self) -> &'static str {
        match self.mode {
            Mode::Memory(_) => "xapic",
            Mode::ModelSpecific => "x2apic",
        }
    }
}

/// What is written to the base register, in this order, and what it then is. x2APIC mode is entered wherever the CPU
/// has it, and from the disabled mode by way of xAPIC mode (Intel SDM 3A, 11.12.5); where firmware has entered it, it is
/// never left, which only a reset may do.
fn switching_on(before: u64, has_x2apic: bool) -> (Vec<u64, 2>, u64) {
    let enabled = before | BASE_ENABLED;
    let last = if has_x2apic { enabled | BASE_X2APIC } else { enabled };
    let mut steps = Vec::new();
    for step in [enabled, last] {
        if steps.last() != Some(&step) {
            // There is room for both.
            let _ = steps.push(step);
        }
    }
    (steps, last)
}

/// The timer as something to measure: it counts down from its largest value, masked.
impl super::clock::Counter for LocalApic {
    fn restart(&mut self) {
        self.write(register::TIMER, MASKED | u32::from(TIMER_VECTOR));
        self.write(register::INITIAL_COUNT, u32::MAX);
    }

    fn elapsed(&mut self) -> u32 {
        u32::MAX - self.read(register::CURRENT_COUNT)
    }

    fn stop(&mut self) {
        self.stop_timer();
    }
}

/// Masks both 8259 interrupt controllers. Where there are none, nothing answers at these ports.
fn mask_legacy_controllers() {
    for port in [0x21, 0xa1] {
        // SAFETY: the masks of the 8259 controllers, which nobody uses (or nothing at all).
        unsafe { Port::<u8>::new(port).write(0xff) }
    }
}

/// The time-stamp counter.
pub fn time_stamp() -> u64 {
    // SAFETY: every x86-64 CPU has it, and the kernel may always read it.
    unsafe { _rdtsc() }
}

fn read_msr(number: u32) -> u64 {
    // SAFETY: only registers of the local APIC are read here, which CPUID says are there.
    unsafe { Msr::new(number).read() }
}

fn write_msr(number: u32, value: u64) {
    // SAFETY: as above; they direct interrupts, which are off meanwhile, to vectors that the kernel serves.
    unsafe { Msr::new(number).write(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u64 = 0xfee0_0000;
    const FIRST_CPU: u64 = 1 << 8;

    #[test]
    fn x2apic_mode_is_entered_where_the_cpu_has_it_by_way_of_xapic_mode() {
        let off = ADDRESS | FIRST_CPU;
        let on = off | BASE_ENABLED;
        let x2 = on | BASE_X2APIC;
        // What the register was, whether the CPU has the mode, what is written.
        for (before, has, written) in [
            (off, true, &[on, x2][..]),
            (on, true, &[on, x2]),
            (x2, true, &[x2]),
            (off, false, &[on]),
            (on, false, &[on]),
            (x2, false, &[x2]),
        ] {
            let (steps, last) = switching_on(before, has);
            assert_eq!((&steps[..], Some(&last)), (written, written.last()), "{before:#x} {has}");
        }
    }

    #[test]
    fn no_step_leaves_a_mode_that_only_a_reset_may_leave() {
        let disabled_with_x2 = BASE_X2APIC;
        for before in [0, BASE_ENABLED, BASE_ENABLED | BASE_X2APIC].map(|bits| ADDRESS | bits) {
            for has in [false, true] {
                let (steps, last) = switching_on(before, has);
                assert!(
                    steps
                        .iter()
                        .all(|step| step & BASE_ENABLED != 0 && step & disabled_with_x2 >= before & BASE_X2APIC)
                );
                assert_eq!(last & BASE_ADDRESS, ADDRESS);
            }
        }
    }
}
