//! What the platform itself says of the frequencies of the time-stamp counter and the APIC timer.
//!
//! In this order, the first that says something: Hyper-V's registers, or its reference time page; the hypervisor leaf 0x40000010 (VMware's, which
//! KVM, QEMU and others took over); CPUID leaf 0x15 with a crystal frequency; leaf 0x15's ratio with leaf 0x16's base
//! frequency. A hypervisor goes first because the CPU's own leaves may be those of the physical CPU.

use raw_cpuid::{CpuId, CpuIdReader, CpuIdResult, Hypervisor};
use x86_64::registers::model_specific::Msr;

use super::reference::{Page, Reference};
use super::{Frequency, Source};
use crate::platform::Mapper;
use crate::platform::registers::Registers;

/// Hyper-V's identification leaf, and what it must answer (Hypervisor Top Level Functional Specification, 2.4).
const HYPERV_INTERFACE: u32 = 0x4000_0001;
const HYPERV_INTERFACE_SIGNATURE: u32 = u32::from_le_bytes(*b"Hv#1");
const HYPERV_FEATURES: u32 = 0x4000_0003;
/// EAX: the partition may read the frequency registers; EDX: they are there.
const ACCESS_FREQUENCY_REGISTERS: u32 = 1 << 11;
const FREQUENCY_REGISTERS_AVAILABLE: u32 = 1 << 8;
/// EAX: the partition may have the reference time page.
const ACCESS_REFERENCE_PAGE: u32 = 1 << 9;
/// Where it is told to appear: its physical address, and bit 0 to switch it on.
const HYPERV_REFERENCE_PAGE: u32 = 0x4000_0021;
const HYPERV_TSC_FREQUENCY: u32 = 0x4000_0022;
const HYPERV_APIC_FREQUENCY: u32 = 0x4000_0023;

/// What is asked of the processor; tests answer from a record.
pub trait Identification {
    /// A CPUID leaf.
    fn leaf(&self, leaf: u32, subleaf: u32) -> CpuIdResult;

    /// One of Hyper-V's frequency registers; read only where the leaves say that it may be.
    fn frequency_register(&self, number: u32) -> u64;
}

/// The processor this runs on.
#[derive(Clone, Copy, Debug)]
pub struct Processor;

impl Identification for Processor {
    fn leaf(&self, leaf: u32, subleaf: u32) -> CpuIdResult {
        raw_cpuid::CpuIdReaderNative.cpuid2(leaf, subleaf)
    }

    fn frequency_register(&self, number: u32) -> u64 {
        // SAFETY: `declared` asks only for the two frequency registers, after Hyper-V has said that they are there and
        // may be read; reading them has no effect.
        unsafe { Msr::new(number).read() }
    }
}

/// Whether Hyper-V says that the reference time page may be asked for.
pub fn has_reference_page(processor: &impl Identification) -> bool {
    let cpu = CpuId::with_cpuid_reader(|leaf, subleaf| processor.leaf(leaf, subleaf));
    cpu.get_hypervisor_info().is_some_and(|information| information.identify() == Hypervisor::HyperV)
        && processor.leaf(HYPERV_INTERFACE, 0).eax == HYPERV_INTERFACE_SIGNATURE
        && processor.leaf(HYPERV_FEATURES, 0).eax & ACCESS_REFERENCE_PAGE != 0
}

/// A page of memory as the reference time page.
struct Mapped(Registers);

impl Page for Mapped {
    fn sequence(&self) -> u32 {
        self.0.read_u32(0)
    }

    fn scale(&self) -> u64 {
        self.0.read_u64(8)
    }

    fn offset(&self) -> i64 {
        self.0.read_u64(16).cast_signed()
    }
}

/// The frequency of the time-stamp counter by the reference time page, which appears for a moment in a page of memory
/// that is then never used again. Only where [`has_reference_page`] says so.
pub fn from_reference_page(mapper: &mut impl Mapper) -> Option<Frequency> {
    let (start, physical) = mapper.give_page()?;
    // SAFETY: `give_page` maps this page for ever, and nothing else refers to it.
    let page = Mapped(unsafe { Registers::new(start, 4096) });
    let mut register = Msr::new(HYPERV_REFERENCE_PAGE);
    // SAFETY: Hyper-V has said that the register is there; the page that it shows itself in is nobody else's.
    unsafe { register.write(physical | 1) };
    let reference = Reference::read(&page);
    // SAFETY: as above; the page is memory again.
    unsafe { register.write(0) };
    reference.and_then(|reference| some(reference.tsc_hertz(), Source::ReferencePage))
}

/// What is declared; `None` where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Of the time-stamp counter.
    pub tsc: Option<Frequency>,
    /// Of the APIC timer, undivided.
    pub apic: Option<Frequency>,
}

/// A frequency that somebody declares; zero means that he does not.
fn some(hertz: u64, source: Source) -> Option<Frequency> {
    (hertz != 0).then_some(Frequency { hertz, source })
}

/// Asks the platform.
pub fn declared(processor: &impl Identification) -> Declared {
    let cpu = CpuId::with_cpuid_reader(|leaf, subleaf| processor.leaf(leaf, subleaf));
    let from_hypervisor = hypervisor(processor, &cpu);
    let from_cpu = native(&cpu);
    Declared { tsc: from_hypervisor.tsc.or(from_cpu.tsc), apic: from_hypervisor.apic.or(from_cpu.apic) }
}

fn hypervisor<R: CpuIdReader>(processor: &impl Identification, cpu: &CpuId<R>) -> Declared {
    let Some(information) = cpu.get_hypervisor_info() else { return Declared::default() };
    if information.identify() == Hypervisor::HyperV {
        let features = processor.leaf(HYPERV_FEATURES, 0);
        let readable = processor.leaf(HYPERV_INTERFACE, 0).eax == HYPERV_INTERFACE_SIGNATURE
            && features.eax & ACCESS_FREQUENCY_REGISTERS != 0
            && features.edx & FREQUENCY_REGISTERS_AVAILABLE != 0;
        if !readable {
            return Declared::default();
        }
        return Declared {
            tsc: some(processor.frequency_register(HYPERV_TSC_FREQUENCY), Source::HyperV),
            apic: some(processor.frequency_register(HYPERV_APIC_FREQUENCY), Source::HyperV),
        };
    }
    let hertz = |kilohertz: Option<u32>| u64::from(kilohertz.unwrap_or(0)) * 1000;
    Declared {
        tsc: some(hertz(information.tsc_frequency()), Source::HypervisorLeaf),
        apic: some(hertz(information.apic_frequency()), Source::HypervisorLeaf),
    }
}

/// The CPU's own leaves (Intel SDM 3B, 19.7.3). The APIC timer of a CPU with leaf 0x15 runs on the crystal.
fn native<R: CpuIdReader>(cpu: &CpuId<R>) -> Declared {
    let Some(ratio) = cpu.get_tsc_info() else { return Declared::default() };
    if let Some(hertz) = ratio.tsc_frequency() {
        return Declared {
            tsc: some(hertz, Source::CrystalRatio),
            apic: some(ratio.nominal_frequency().into(), Source::CrystalRatio),
        };
    }
    if ratio.numerator() == 0 || ratio.denominator() == 0 {
        return Declared::default();
    }
    // The crystal is not told: the base frequency is the time-stamp counter's, and gives the crystal by the ratio.
    let megahertz = cpu.get_processor_frequency_info().map_or(0, |information| information.processor_base_frequency());
    let tsc = u64::from(megahertz) * 1_000_000;
    let crystal = tsc * u64::from(ratio.denominator()) / u64::from(ratio.numerator());
    Declared { tsc: some(tsc, Source::BaseFrequency), apic: some(crystal, Source::BaseFrequency) }
}
