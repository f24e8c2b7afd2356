use super::calibration::{Measured, Reference, measure};
use super::source::{Identification, declared, has_reference_page};
use super::*;
use proptest::prelude::*;
use raw_cpuid::CpuIdResult;

const MANUFACTURER: (u32, [u32; 4]) = (0, [0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]);
const UNDER_HYPERVISOR: (u32, [u32; 4]) = (1, [0x000a_0671, 0, 1 << 31, 0]);
const BARE: (u32, [u32; 4]) = (1, [0x000a_0671, 0, 0, 0]);

/// Leaves as recorded: number, then EAX, EBX, ECX, EDX. What is not recorded is zero.
struct Record<'a> {
    leaves: &'a [(u32, [u32; 4])],
    registers: Option<(u64, u64)>,
}

impl Identification for Record<'_> {
    fn leaf(&self, leaf: u32, _: u32) -> CpuIdResult {
        let [eax, ebx, ecx, edx] =
            self.leaves.iter().find(|(number, _)| *number == leaf).map_or([0; 4], |(_, values)| *values);
        CpuIdResult { eax, ebx, ecx, edx }
    }

    fn frequency_register(&self, number: u32) -> u64 {
        let (tsc, apic) = self.registers.expect("frequency registers must not be read here");
        match number {
            0x4000_0022 => tsc,
            0x4000_0023 => apic,
            _ => panic!("not a frequency register: {number:#x}"),
        }
    }
}

fn declares(leaves: &[(u32, [u32; 4])], registers: Option<(u64, u64)>) -> (Option<Frequency>, Option<Frequency>) {
    let declared = declared(&Record { leaves, registers });
    (declared.tsc, declared.apic)
}

fn frequency(hertz: u64, source: Source) -> Option<Frequency> {
    Some(Frequency { hertz, source })
}

fn signature(text: [u8; 12], leaves: u32) -> (u32, [u32; 4]) {
    let word = |at: usize| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    (0x4000_0000, [leaves, word(0), word(4), word(8)])
}

#[test]
fn bare_cpu_with_crystal_frequency() {
    let leaves = [MANUFACTURER, BARE, (0x15, [2, 216, 24_000_000, 0])];
    let expected = (frequency(2_592_000_000, Source::CrystalRatio), frequency(24_000_000, Source::CrystalRatio));
    assert_eq!(declares(&leaves, None), expected);
}

#[test]
fn bare_cpu_without_crystal_frequency_uses_its_base_frequency() {
    let leaves = [MANUFACTURER, BARE, (0x15, [2, 250, 0, 0]), (0x16, [3000, 4000, 100, 0])];
    let expected = (frequency(3_000_000_000, Source::BaseFrequency), frequency(24_000_000, Source::BaseFrequency));
    assert_eq!(declares(&leaves, None), expected);
}

#[test]
fn cpu_that_says_nothing_is_measured() {
    assert_eq!(declares(&[MANUFACTURER, BARE], None), (None, None));
    let qemu =
        [(0, [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65]), UNDER_HYPERVISOR, signature(*b"TCGTCGTCGTCG", 0x4000_0001)];
    assert_eq!(declares(&qemu, None), (None, None));
    let zeroes = [MANUFACTURER, BARE, (0x15, [0, 0, 0, 0]), (0x16, [0, 0, 0, 0])];
    assert_eq!(declares(&zeroes, None), (None, None));
}

#[test]
fn hypervisor_leaf_goes_before_the_cpus_own() {
    let leaves = [
        MANUFACTURER,
        UNDER_HYPERVISOR,
        (0x15, [2, 216, 24_000_000, 0]),
        signature(*b"KVMKVMKVM\0\0\0", 0x4000_0010),
        (0x4000_0010, [2_095_078, 1_000_000, 0, 0]),
    ];
    let expected = (frequency(2_095_078_000, Source::HypervisorLeaf), frequency(1_000_000_000, Source::HypervisorLeaf));
    assert_eq!(declares(&leaves, None), expected);
}

#[test]
fn hyper_v_frequency_registers() {
    let hyper_v = |eax, edx| {
        [
            MANUFACTURER,
            UNDER_HYPERVISOR,
            signature(*b"Microsoft Hv", 0x4000_000b),
            (0x4000_0001, [0x3123_7648, 0, 0, 0]),
            (0x4000_0003, [eax, 0, 0, edx]),
        ]
    };
    let readable = hyper_v(1 << 11, 1 << 8);
    let expected = (frequency(2_445_424_000, Source::HyperV), frequency(200_000_000, Source::HyperV));
    assert_eq!(declares(&readable, Some((2_445_424_000, 200_000_000))), expected);
    assert_eq!(declares(&readable, Some((0, 0))), (None, None));
    // The record panics when a register is read that is not said to be there.
    for leaves in [hyper_v(0, 1 << 8), hyper_v(1 << 11, 0), hyper_v(0, 0)] {
        assert_eq!(declares(&leaves, None), (None, None));
    }
}

#[test]
fn the_reference_page_is_asked_for_only_where_hyper_v_gives_it() {
    let page = |vendor: &[u8; 12], interface, eax| {
        let leaves = [
            MANUFACTURER,
            UNDER_HYPERVISOR,
            signature(*vendor, 0x4000_000b),
            (0x4000_0001, [interface, 0, 0, 0]),
            (0x4000_0003, [eax, 0, 0, 0]),
        ];
        has_reference_page(&Record { leaves: &leaves, registers: None })
    };
    assert!(page(b"Microsoft Hv", 0x3123_7648, 1 << 9));
    assert!(!page(b"Microsoft Hv", 0x3123_7648, !(1 << 9)), "not given");
    assert!(!page(b"Microsoft Hv", 0, 1 << 9), "another interface");
    assert!(!page(b"KVMKVMKVM\0\0\0", 0x3123_7648, 1 << 9), "an imitation");
    let bare = [MANUFACTURER, BARE, signature(*b"Microsoft Hv", 0x4000_000b)];
    assert!(!has_reference_page(&Record { leaves: &bare, registers: None }));
}

#[test]
fn hypervisor_leaves_count_only_under_a_hypervisor() {
    let leaves =
        [MANUFACTURER, BARE, signature(*b"KVMKVMKVM\0\0\0", 0x4000_0010), (0x4000_0010, [2_095_078, 1_000_000, 0, 0])];
    assert_eq!(declares(&leaves, None), (None, None));
}

#[test]
fn declared_goes_before_measured_and_measured_before_assumed() {
    let measured = Measured { tsc_hertz: 2_000, apic_hertz: 100 };
    let nothing = Declared::default();
    let told = Declared { tsc: frequency(7, Source::HyperV), apic: None };
    let (tsc, apic) = choose(told, Some(measured));
    assert_eq!((tsc.source, apic.source, apic.hertz), (Source::HyperV, Source::PowerTimer, 100));
    let (tsc, apic) = choose(nothing, None);
    assert_eq!((tsc.source, apic.source), (Source::Assumed, Source::Assumed));
}

/// A machine whose timers run exactly: each read of a port takes `read` nanoseconds.
struct Machine {
    now: u128,
    read: u128,
    wide: bool,
    offset: u64,
    tsc_hertz: u128,
    stands_still: bool,
    reads: u32,
}

impl Reference for Machine {
    fn read(&mut self) -> u32 {
        self.reads += 1;
        self.now += self.read;
        let elapsed = if self.stands_still { 0 } else { self.now };
        let count = (self.offset + (elapsed * 3_579_545 / 1_000_000_000) as u64) as u32;
        // What lies above a 24-bit counter is not defined.
        if self.wide { count } else { count | 0xab00_0000 }
    }

    fn mask(&self) -> u32 {
        if self.wide { u32::MAX } else { 0x00ff_ffff }
    }

    fn time_stamp(&mut self) -> u64 {
        (self.now * self.tsc_hertz / 1_000_000_000) as u64
    }
}

/// An APIC timer that always counts the same.
struct Timer(u32, bool);

impl Counter for Timer {
    fn restart(&mut self) {
        self.1 = true;
    }

    fn elapsed(&mut self) -> u32 {
        self.0
    }

    fn stop(&mut self) {
        self.1 = false;
    }
}

fn machine(offset: u64, wide: bool) -> Machine {
    Machine { now: 0, read: 700, wide, offset, tsc_hertz: 2_500_000_000, stands_still: false, reads: 0 }
}

#[test]
fn calibration_is_right_also_when_the_counter_wraps() {
    for (offset, wide) in [(0, false), (0x00ff_f000, false), (0xffff_f000, true), (0x00ff_ff00, true)] {
        let mut timer = Timer(2_793_652, false);
        let measured = measure(&mut machine(offset, wide), &mut timer).expect("the timer runs");
        let error = measured.tsc_hertz.abs_diff(2_500_000_000);
        assert!(error < 2_500_000, "offset {offset:#x} wide {wide}: {measured:?}");
        assert!(measured.apic_hertz.abs_diff(1_000_000_000) < 1_000_000, "{measured:?}");
        assert!(!timer.1, "the timer is off again");
    }
}

#[test]
fn calibration_ends_when_the_reference_stands_still() {
    let mut still = Machine { stands_still: true, ..machine(5, true) };
    assert_eq!(measure(&mut still, &mut Timer(1, false)), None);
    assert!(still.reads < 1_000_000);
}

#[test]
fn calibration_fails_when_a_timer_that_is_measured_stands_still() {
    assert_eq!(measure(&mut machine(0, true), &mut Timer(0, false)), None);
    let mut still = Machine { tsc_hertz: 0, ..machine(0, true) };
    assert_eq!(measure(&mut still, &mut Timer(5, false)), None);
}

fn clock(hertz: u64) -> Clock {
    let tsc = Frequency { hertz, source: Source::Assumed };
    Clock::new(1_000, tsc, Frequency { hertz: 1_000_000_000, source: Source::Assumed })
}

#[test]
fn a_hundred_years_do_not_overflow() {
    const CENTURY: u64 = 100 * 366 * 24 * 3600;
    for hertz in [1_000_000_000, 2_445_424_000, 5_500_000_000] {
        let clock = clock(hertz);
        let counter = 1_000u128 + u128::from(hertz) * u128::from(CENTURY);
        let counter = u64::try_from(counter).expect("the counter itself lasts that long");
        let error = clock.at(counter).abs_diff(CENTURY * 1_000_000_000);
        assert!(error / CENTURY < 10, "{hertz}: {error} ns in a century");
    }
}

#[test]
fn a_clock_read_before_its_start_says_zero() {
    assert_eq!(clock(2_000_000_000).at(0), 0);
}

#[test]
fn far_deadlines_fill_the_timer_and_none_is_lost() {
    let clock = clock(2_000_000_000);
    assert_eq!(clock.timer_count(u64::MAX), u32::MAX);
    assert_eq!(clock.timer_count(0), 1);
    assert_eq!(clock.counter_at(u64::MAX), u64::MAX);
}

proptest! {
    #[test]
    fn time_never_goes_back(hertz in 1_000_000u64..10_000_000_000, a: u64, b: u64) {
        let clock = clock(hertz);
        prop_assert!(clock.at(a.min(b)) <= clock.at(a.max(b)));
    }

    #[test]
    fn a_deadline_has_come_when_its_counter_has(hertz in 100_000_000u64..10_000_000_000, time in 0u64..10_000_000_000_000) {
        let clock = clock(hertz);
        let at = clock.at(clock.counter_at(time));
        // Nanoseconds a second, and a count's length.
        prop_assert!(at.abs_diff(time) <= 2 + time / 50_000_000 + 1_000_000_000 / hertz, "{at} {time}");
    }

    #[test]
    fn no_leaf_makes_the_decision_fail(
        values in prop::array::uniform32(any::<u32>()),
        hyper_v: bool,
    ) {
        let leaf = |at: usize| [values[at], values[at + 1], values[at + 2], values[at + 3]];
        let name = if hyper_v { *b"Microsoft Hv" } else { *b"KVMKVMKVM\0\0\0" };
        let leaves = [
            MANUFACTURER, UNDER_HYPERVISOR, signature(name, values[31]),
            (0x15, leaf(0)), (0x16, leaf(4)), (0x4000_0001, leaf(8)), (0x4000_0003, leaf(12)), (0x4000_0010, leaf(16)),
        ];
        let declared = declared(&Record { leaves: &leaves, registers: Some((1, 1)) });
        for frequency in [declared.tsc, declared.apic].into_iter().flatten() {
            prop_assert!(frequency.hertz != 0);
        }
    }
}
