//! Segments, the task-state segment and the interrupt table.

use x86_64::VirtAddr;
#[cfg(target_os = "none")]
use x86_64::structures::gdt::GlobalDescriptorTable;
#[cfg(target_os = "none")]
use x86_64::structures::idt::{Entry, HandlerFunc};
use x86_64::structures::tss::TaskStateSegment;

/// Bytes of each stack of an exception that has one of its own.
pub const OWN_STACK_BYTES: u64 = 0x2000;
/// Exceptions with a stack of their own, in the order of the interrupt stack table: they may strike at an instruction
/// where the kernel's own stack is not good yet.
pub const OWN_STACKS: [u8; 4] = [
    super::exceptions::DEBUG,
    super::exceptions::NON_MASKABLE,
    super::exceptions::DOUBLE_FAULT,
    super::exceptions::MACHINE_CHECK,
];

/// What the stubs find through GS while the kernel runs.
#[repr(C, align(64))]
pub struct Cpu {
    /// The kernel's stack, empty but for the eight bytes that a function expects its return address in.
    pub kernel_stack: u64,
    /// A task's stack pointer, between SYSCALL and its place in the record.
    pub user_stack: u64,
    /// The level 4 table that is loaded, 0 before the first task.
    pub address_space: u64,
    /// RSP0 is the end of the current task's registers: interrupts push straight into them, and so do the stubs.
    pub task_state: TaskStateSegment,
}

impl Cpu {
    /// Before start-up.
    pub const fn new() -> Self {
        Self { kernel_stack: 0, user_stack: 0, address_space: 0, task_state: TaskStateSegment::new() }
    }

    /// Where the next entry stores the task's registers: the first address after them.
    #[inline]
    pub fn set_register_end(&mut self, end: u64) {
        // SAFETY: it is the address of a static record, which is canonical.
        self.task_state.privilege_stack_table[0] = unsafe { VirtAddr::new_unsafe(end) };
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

/// Byte offset of RSP0 in [`Cpu`].
pub const REGISTER_END: usize =
    core::mem::offset_of!(Cpu, task_state) + core::mem::offset_of!(TaskStateSegment, privilege_stack_table);

/// The descriptor tables.
#[cfg(target_os = "none")]
pub struct Tables {
    segments: GlobalDescriptorTable,
    interrupts: Gates,
}

/// The interrupt table. Every vector has a gate, also those that the processor keeps for itself: a device that sends
/// messages of its own choice can name any.
#[cfg(target_os = "none")]
#[repr(C, align(16))]
struct Gates([Entry<HandlerFunc>; 256]);

#[cfg(target_os = "none")]
impl Tables {
    /// Before start-up.
    pub const fn new() -> Self {
        Self { segments: GlobalDescriptorTable::new(), interrupts: Gates([Entry::missing(); 256]) }
    }
}

#[cfg(target_os = "none")]
impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

/// Loads segments, task state and interrupt table, and opens the SYSCALL entry, for the processor whose record this is.
///
/// # Safety
/// Once, at start-up; `own_stacks` are the ends of four stacks that nobody else uses, `kernel_stack` of the kernel's.
#[cfg(target_os = "none")]
pub unsafe fn load(cpu: &'static mut Cpu, tables: &'static mut Tables, kernel_stack: u64, own_stacks: [u64; 4]) {
    use crate::objects::registers::{USER_CODE_SEGMENT, USER_DATA_SEGMENT};
    use x86_64::PrivilegeLevel;
    use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
    use x86_64::instructions::tables::{lidt, load_tss};
    use x86_64::registers::model_specific::{Efer, EferFlags, GsBase, KernelGsBase, LStar, Msr, SFMask};
    use x86_64::registers::rflags::RFlags;
    use x86_64::structures::DescriptorTablePointer;
    use x86_64::structures::gdt::Descriptor;
    use x86_64::structures::gdt::SegmentSelector;

    // Functions are jumped to, and expect their stack aligned as by a call.
    cpu.kernel_stack = kernel_stack - 8;
    for (slot, stack) in own_stacks.into_iter().enumerate() {
        cpu.task_state.interrupt_stack_table[slot] = VirtAddr::new(stack);
    }
    let record = core::ptr::from_ref(cpu) as u64;
    let task_state: *const TaskStateSegment = &raw const cpu.task_state;

    let code = tables.segments.append(Descriptor::kernel_code_segment());
    let data = tables.segments.append(Descriptor::kernel_data_segment());
    let user_data = tables.segments.append(Descriptor::user_data_segment());
    let user_code = tables.segments.append(Descriptor::user_code_segment());
    // SAFETY: the task state lives as long as the machine.
    let state = tables.segments.append(unsafe { Descriptor::tss_segment_unchecked(task_state) });
    assert!(u64::from(user_data.0) == USER_DATA_SEGMENT && u64::from(user_code.0) == USER_CODE_SEGMENT);

    tables.segments.load();
    // SAFETY: the selectors are those of the table just loaded.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        for set in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
            set(SegmentSelector::NULL);
        }
        load_tss(state);
    }
    // Gates lead to the code segment that is loaded, so the kernel's must be.
    for vector in 0..=255u8 {
        let address = VirtAddr::new(super::stubs::interrupt_address(vector));
        // SAFETY: the stub for this vector; the stack index exists.
        unsafe { set_gate(&mut tables.interrupts.0[usize::from(vector)], vector, address) };
    }
    let gates = DescriptorTablePointer {
        limit: (size_of::<Gates>() - 1) as u16,
        base: VirtAddr::from_ptr(&raw const tables.interrupts),
    };
    // SAFETY: the table lives as long as the machine, and every gate in it leads to its stub.
    unsafe { lidt(&gates) };

    GsBase::write(VirtAddr::new(record));
    KernelGsBase::write(VirtAddr::zero());
    LStar::write(VirtAddr::new(super::stubs::system_call_address()));
    SFMask::write(
        RFlags::TRAP_FLAG
            | RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::IOPL_LOW
            | RFlags::IOPL_HIGH,
    );
    // STAR (Intel SDM volume 3, 5.8.8): SYSCALL loads CS and SS from `code` on; SYSRET SS from 8, and CS from 16, after
    // the second selector, with privilege 3.
    let star = u64::from(data.0 | PrivilegeLevel::Ring3 as u16) << 48 | u64::from(code.0) << 32;
    // SAFETY: the selectors are in the order that STAR wants; SYSENTER is closed (IA32_SYSENTER_CS = 0, 5.8.7.1).
    unsafe {
        Msr::new(0xc000_0081).write(star);
        Msr::new(0x174).write(0);
        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS));
    }
}

/// Points a gate at its stub. Every gate is closed to INT from tasks.
///
/// # Safety
/// `address` is the stub of this vector.
#[cfg(target_os = "none")]
unsafe fn set_gate(gate: &mut Entry<HandlerFunc>, vector: u8, address: VirtAddr) {
    // SAFETY: as the caller promises.
    let options = unsafe { gate.set_handler_addr(address) };
    if let Some(stack) = OWN_STACKS.iter().position(|own| *own == vector) {
        // SAFETY: this entry of the interrupt stack table is set.
        unsafe { options.set_stack_index(stack as u16) };
    }
}
