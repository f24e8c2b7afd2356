//! The control registers that close what tasks must not have.
//!
//! No task (and no part of the kernel) uses vector or floating-point state, so a context switch saves none; therefore
//! executing such an instruction must fault. The same goes for everything else that could be seen from one task in
//! another.

use raw_cpuid::CpuId;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::Msr;

const SYSENTER_CODE_SEGMENT: u32 = 0x174;

/// What the CPU offers and what was switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Pages can be made non-executable.
    pub no_execute: bool,
    /// The kernel cannot execute tasks' pages.
    pub supervisor_execution_prevented: bool,
    /// The kernel cannot access tasks' pages unless it says so.
    pub supervisor_access_prevented: bool,
    /// Tasks cannot read descriptor-table addresses.
    pub instruction_prevention: bool,
}

impl Protection {
    /// What this CPU has.
    pub fn offered() -> Self {
        let cpu = CpuId::new();
        let extended = cpu.get_extended_feature_info();
        let has = |test: fn(&raw_cpuid::ExtendedFeatures) -> bool| extended.as_ref().is_some_and(test);
        Self {
            no_execute: cpu
                .get_extended_processor_and_feature_identifiers()
                .is_some_and(|features| features.has_execute_disable()),
            supervisor_execution_prevented: has(raw_cpuid::ExtendedFeatures::has_smep),
            supervisor_access_prevented: has(raw_cpuid::ExtendedFeatures::has_smap),
            instruction_prevention: has(raw_cpuid::ExtendedFeatures::has_umip),
        }
    }

    /// Sets CR0, CR4 and EFER, switches SYSENTER off, and returns what protects the kernel, for the log. First of all
    /// at start-up, in the address space that the UEFI application built.
    ///
    /// With SMAP on, every access of the kernel to a task's page faults; the kernel makes none. Machine checks begin to
    /// be reported; before there is a descriptor table for them they stop the machine, as without.
    pub fn switch_on() -> Self {
        let protection = Self::offered();
        // SAFETY: long mode, paging and the tables stay as they are. What the kernel executes is mapped executable and
        // not writable, and no page of it is a user's (`abi::handoff`), so write protection, no-execute, SMEP and SMAP
        // take nothing from it; it uses no vector state.
        unsafe {
            Efer::update(|flags| {
                let kept = *flags & (EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE);
                *flags = kept | EferFlags::SYSTEM_CALL_EXTENSIONS;
                flags.set(EferFlags::NO_EXECUTE_ENABLE, protection.no_execute);
            });
            Cr4::write_raw(protection.control_4(Cr4::read()).bits());
            Cr0::write_raw(Self::control_0().bits());
            Msr::new(SYSENTER_CODE_SEGMENT).write(0);
        }
        protection
    }

    /// What CR4 is to be, of what it was. Bits that no task may have are left out, those that protect are put in.
    ///
    /// Out: vector state (OSFXSR, OSXMMEXCPT, OSXSAVE), performance counters (PCE), FSGSBASE, and all that is not
    /// used. TSD stays out: tasks may read the time-stamp counter. Five-level paging cannot be changed here.
    fn control_4(self, before: Cr4Flags) -> Cr4Flags {
        let mut flags = before & Cr4Flags::L5_PAGING;
        flags |= Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
            | Cr4Flags::DEBUGGING_EXTENSIONS
            | Cr4Flags::MACHINE_CHECK_EXCEPTION
            | Cr4Flags::PAGE_GLOBAL;
        flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, self.supervisor_execution_prevented);
        flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, self.supervisor_access_prevented);
        flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, self.instruction_prevention);
        flags
    }

    /// What CR0 is to be. EM makes every x87, MMX and SSE instruction fault, TS with MP also WAIT.
    fn control_0() -> Cr0Flags {
        Cr0Flags::PROTECTED_MODE_ENABLE
            | Cr0Flags::MONITOR_COPROCESSOR
            | Cr0Flags::EMULATE_COPROCESSOR
            | Cr0Flags::TASK_SWITCHED
            | Cr0Flags::EXTENSION_TYPE
            | Cr0Flags::NUMERIC_ERROR
            | Cr0Flags::WRITE_PROTECT
            | Cr0Flags::PAGING
    }
}

impl core::fmt::Display for Protection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { no_execute, supervisor_execution_prevented, supervisor_access_prevented, instruction_prevention } =
            self;
        write!(
            f,
            "nx={no_execute} smep={supervisor_execution_prevented} smap={supervisor_access_prevented} \
             umip={instruction_prevention}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Protection = Protection {
        no_execute: true,
        supervisor_execution_prevented: true,
        supervisor_access_prevented: true,
        instruction_prevention: true,
    };
    const NONE: Protection = Protection {
        no_execute: false,
        supervisor_execution_prevented: false,
        supervisor_access_prevented: false,
        instruction_prevention: false,
    };

    #[test]
    fn whatever_firmware_left_on_nothing_opens_vector_state_or_counters_to_tasks() {
        for protection in [ALL, NONE] {
            let flags = protection.control_4(Cr4Flags::all());
            let closed = Cr4Flags::OSFXSR
                | Cr4Flags::OSXMMEXCPT_ENABLE
                | Cr4Flags::OSXSAVE
                | Cr4Flags::PERFORMANCE_MONITOR_COUNTER
                | Cr4Flags::FSGSBASE
                | Cr4Flags::TIMESTAMP_DISABLE
                | Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS
                | Cr4Flags::PCID;
            assert!((flags & closed).is_empty(), "{flags:?}");
            assert!(flags.contains(Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::L5_PAGING));
        }
    }

    #[test]
    fn protection_is_on_exactly_where_the_cpu_has_it() {
        let bits = Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION
            | Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION
            | Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION;
        assert!(ALL.control_4(Cr4Flags::empty()).contains(bits));
        assert!((NONE.control_4(Cr4Flags::all()) & bits).is_empty());
    }

    #[test]
    fn vector_instructions_fault_and_caches_stay_on() {
        let flags = Protection::control_0();
        assert!(flags.contains(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::WRITE_PROTECT));
        assert!((flags & (Cr0Flags::CACHE_DISABLE | Cr0Flags::NOT_WRITE_THROUGH)).is_empty());
        assert!(flags.contains(Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::TASK_SWITCHED));
    }
}
