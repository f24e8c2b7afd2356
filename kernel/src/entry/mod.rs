//! How the processor enters and leaves the kernel.
//!
//! - [`stubs`]: the instructions at each entry: registers into the task's record, the kernel's stack, a call.
//! - [`descriptors`]: segments, the task-state segment and the interrupt table that lead there.
//! - [`exceptions`]: which exception was what fault of a task.
//! - this module: takes the one mutable reference to the kernel at each entry, hands over to safe code, and leaves
//!   again to whichever task is current then, or idles.
//!
//! Interrupts are off in the kernel, and one processor runs it, so an entry is never interrupted by another; non-maskable
//! interrupts and machine checks touch nothing of the kernel's state.

pub mod descriptors;
pub mod exceptions;
#[cfg(target_os = "none")]
mod stubs;

#[cfg(target_os = "none")]
pub use running::{descriptor_tables, install, leave};

#[cfg(target_os = "none")]
mod running {
    use core::arch::asm;
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicU32, Ordering};

    use abi::system_call::{NO_HANDLE, Number};

    use super::descriptors::{Cpu, Tables};
    use super::{exceptions, stubs};
    use crate::crash;
    use crate::devices::{END_VECTOR, FIRST_VECTOR};
    use crate::log;
    use crate::objects::direct::HandOver;
    use crate::objects::registers::Registers;
    use crate::objects::task::Task;
    use crate::objects::{Objects, TaskId};
    use crate::platform;
    use crate::platform::apic::{SERIAL_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
    use crate::platform::vtd::FAULT_VECTOR;
    use crate::state::Kernel;
    use crate::supervision::Death;
    use crate::system_call;

    /// In this order: the kernel's end is zero at first, so that the image need not hold it.
    #[repr(C)]
    struct Global {
        cpu: UnsafeCell<Cpu>,
        tables: UnsafeCell<Tables>,
        kernel: UnsafeCell<Kernel>,
    }

    // SAFETY: one processor runs the kernel, interrupts are off in it, and each entry takes its reference once and
    // gives it up before it leaves (see `kernel`).
    unsafe impl Sync for Global {}

    static GLOBAL: Global = Global {
        kernel: UnsafeCell::new(Kernel::new()),
        cpu: UnsafeCell::new(Cpu::new()),
        tables: UnsafeCell::new(Tables::new()),
    };

    /// The interrupt that ended the last HLT, plus one; 0 for none. The entry code writes it.
    pub(super) static WOKEN_BY: AtomicU32 = AtomicU32::new(0);
    /// Non-maskable interrupts and debug exceptions that struck the kernel itself.
    static IGNORED: AtomicU32 = AtomicU32::new(0);

    /// The kernel's state.
    ///
    /// # Safety
    /// Once an entry, and not kept beyond it.
    unsafe fn kernel() -> &'static mut Kernel {
        // SAFETY: no other reference exists, as the caller promises.
        unsafe { &mut *GLOBAL.kernel.get() }
    }

    /// The descriptor tables and this processor's record, for start-up.
    ///
    /// # Safety
    /// At start-up only, before [`leave`], and once.
    pub unsafe fn descriptor_tables() -> (&'static mut Cpu, &'static mut Tables) {
        // SAFETY: start-up is alone, as the caller promises.
        unsafe { (&mut *GLOBAL.cpu.get(), &mut *GLOBAL.tables.get()) }
    }

    /// The kernel's state, for start-up to fill.
    ///
    /// # Safety
    /// At start-up only, before [`leave`], and once.
    pub unsafe fn install() -> &'static mut Kernel {
        // SAFETY: as for `kernel`.
        unsafe { kernel() }
    }

    /// Entered by SYSCALL for a call, on the kernel's stack; the task's registers are in its record too.
    pub(super) extern "C" fn enter_by_call(handle: u64, bytes: u64, deadline: u64) -> ! {
        // SAFETY: the one reference of this entry; where it goes on, it is given up.
        let kernel = unsafe { kernel() };
        #[cfg(feature = "test-faults")]
        kernel.corrupt_message();
        match kernel.objects.call_directly(handle, bytes, deadline) {
            Some(over) => hand_over(kernel, over),
            None => by_record(),
        }
    }

    /// Likewise for an answer and the waiting for the next message.
    pub(super) extern "C" fn enter_by_reply_receive(reply: u64, bytes: u64, deadline: u64, receive: u64) -> ! {
        // SAFETY: as in `enter_by_call`.
        let kernel = unsafe { kernel() };
        #[cfg(feature = "test-faults")]
        kernel.corrupt_message();
        match kernel.objects.reply_receive_directly(reply, bytes, deadline, receive) {
            Some(over) => hand_over(kernel, over),
            None => enter_by_receive(),
        }
    }

    /// Likewise where nobody is answered, or not at once, as the current task's record tells: what it tells is not kept in
    /// registers where somebody is.
    #[inline(never)]
    fn enter_by_receive() -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        if let Some(current) = kernel.objects.current() {
            let Registers { rdi: reply, rdx: deadline, r15: receive, .. } = kernel.objects.task(current).registers;
            if reply == NO_HANDLE && kernel.objects.receive_directly(deadline, receive) {
                idle_first()
            }
        }
        by_record()
    }

    /// Likewise for anything else. What needs room on the stack is apart, in functions that never return.
    pub(super) extern "C" fn enter_by_system_call(first: u64, second: u64, third: u64, fourth: u64, number: u64) -> ! {
        // SAFETY: as in `enter_by_call`.
        let kernel = unsafe { kernel() };
        if let Some((status, results)) = system_call::at_once(kernel, number) {
            answer(kernel, status, results);
        }
        if number == Number::Signal as u64 {
            enter_by_signal(first)
        }
        // The system calls of a driver and its client under load, and the rest.
        const SUBMIT: u64 = Number::DeviceSubmit as u64;
        const COMPLETE: u64 = Number::DeviceComplete as u64;
        const SIGNAL_RECEIVE: u64 = Number::SignalReceive as u64;
        const POST_RECEIVE: u64 = Number::PostReceive as u64;
        match number {
            SUBMIT => enter_by_device_submit(first, second, third),
            COMPLETE => enter_by_device_complete(first, second),
            SIGNAL_RECEIVE => enter_by_signal_receive(first, second, third, fourth),
            POST_RECEIVE => enter_by_post_receive(first, second, third, fourth),
            _ => by_record(),
        }
    }

    #[inline(never)]
    fn enter_by_signal(handle: u64) -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        match system_call::signal_directly(kernel, handle) {
            Some(over) => hand_over(kernel, over),
            None => by_record(),
        }
    }

    #[inline(never)]
    fn enter_by_signal_receive(signal: u64, bytes: u64, deadline: u64, receive: u64) -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        #[cfg(feature = "test-faults")]
        kernel.corrupt_message();
        match kernel.objects.signal_receive_directly(signal, bytes, deadline, receive) {
            Some(over) => hand_over(kernel, over),
            None => by_record(),
        }
    }

    #[inline(never)]
    fn enter_by_post_receive(call: u64, bytes: u64, deadline: u64, receive: u64) -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        #[cfg(feature = "test-faults")]
        kernel.corrupt_message();
        match kernel.objects.post_receive_directly(call, bytes, deadline, receive) {
            Some(over) => hand_over(kernel, over),
            None => by_record(),
        }
    }

    #[inline(never)]
    fn enter_by_device_submit(handle: u64, queue: u64, count: u64) -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        let (status, results) = system_call::device_submit(kernel, handle, queue, count);
        answer(kernel, status, results)
    }

    #[inline(never)]
    fn enter_by_device_complete(handle: u64, queue: u64) -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        let (status, results) = system_call::device_complete(kernel, handle, queue);
        answer(kernel, status, results)
    }

    /// The system call that the current task's record tells.
    #[inline(never)]
    fn by_record() -> ! {
        // SAFETY: the reference of this entry was given up by the caller.
        let kernel = unsafe { kernel() };
        #[cfg(feature = "test-faults")]
        kernel.corrupt_message();
        system_call::handle(kernel);
        leave()
    }

    /// Ends the current task's system call at once: nobody else is to run.
    #[inline(always)]
    fn answer(kernel: &Kernel, status: u64, results: [u64; 3]) -> ! {
        match kernel.objects.current() {
            // SAFETY: the current task has entered by SYSCALL, so its address space is loaded and its record is right.
            Some(current) => unsafe { stubs::answer(status, results, &kernel.objects.task(current).registers) },
            None => leave(),
        }
    }

    /// Gives the processor and a message to the task that waits for it.
    #[inline(always)]
    fn hand_over(kernel: &Kernel, over: HandOver) -> ! {
        let (from, to) = (kernel.objects.task(over.from), kernel.objects.task(over.to));
        activate(to);
        // SAFETY: a task that waits has entered by SYSCALL, so its record is right; its address space was loaded.
        unsafe { stubs::hand_over([over.first, over.bytes, over.third], &to.registers, &from.registers) }
    }

    /// Entered by an interrupt or exception that struck a task, likewise.
    pub(super) extern "C" fn enter_from_task() -> ! {
        // SAFETY: the one reference of this entry.
        let kernel = unsafe { kernel() };
        if let Some(current) = kernel.objects.current() {
            let vector = kernel.objects.task(current).registers.vector as u8;
            if vector < 32 && !kernel.is_sent(vector) {
                stop_for_exception(kernel, current);
            } else {
                interrupt(kernel, vector, Objects::signal);
            }
        }
        leave()
    }

    /// Entered by an exception with a stack of its own that struck a task; its registers are on that stack.
    pub(super) extern "C" fn enter_from_task_on_own_stack(registers: &Registers) -> ! {
        // SAFETY: the one reference of this entry.
        let kernel = unsafe { kernel() };
        match (registers.vector as u8, kernel.objects.current()) {
            (vector, Some(current)) if kernel.is_sent(vector) => {
                kernel.objects.task_mut(current).registers = *registers;
                interrupt(kernel, vector, Objects::signal);
            }
            (exceptions::DEBUG, Some(current)) => {
                kernel.objects.task_mut(current).registers = *registers;
                #[cfg(feature = "test-faults")]
                if kernel.stepped(current) {
                    leave();
                }
                stop_for_exception(kernel, current);
            }
            (vector, _) => panic!("vector {vector} at {:#x} of a task", registers.rip),
        }
        leave()
    }

    /// Struck the kernel itself, not where it waits for an interrupt: the end. A non-maskable interrupt is let go by
    /// wherever it strikes.
    pub(super) extern "C" fn enter_from_kernel(registers: &mut Registers) {
        const TRAP_FLAG: u64 = 1 << 8;
        let vector = registers.vector as u8;
        match vector {
            exceptions::NON_MASKABLE => {
                IGNORED.fetch_add(1, Ordering::Relaxed);
            }
            exceptions::DEBUG => {
                registers.rflags &= !TRAP_FLAG;
                IGNORED.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!(
                "{} in the kernel at {:#x}, error {:#x}, address {:#x}",
                abi::crash::exception(vector),
                registers.rip,
                registers.error_code,
                fault_address()
            ),
        }
    }

    fn fault_address() -> u64 {
        x86_64::registers::control::Cr2::read_raw()
    }

    fn stop_for_exception(kernel: &mut Kernel, current: TaskId) {
        let cause = {
            let task = kernel.objects.task(current);
            exceptions::cause(&task.registers, fault_address(), task.stack_bottom)
        };
        crash::report(kernel, current, cause);
        kernel.stop(current, Death::Fault);
    }

    /// A device's interrupt, the timer, or a stray one. Whatever was sent is acknowledged: what is not blocks all that is
    /// of no higher priority. `signal` is how a device's task is told of it.
    fn interrupt(kernel: &mut Kernel, vector: u8, signal: impl FnOnce(&mut Objects, TaskId, u64)) {
        match vector {
            // The processor's own is not acknowledged; one that a device sent is.
            SPURIOUS_VECTOR if !kernel.is_sent(vector) => return,
            TIMER_VECTOR => kernel.timer(),
            SERIAL_VECTOR => kernel.serial_interrupt(),
            FAULT_VECTOR => kernel.blocked_requests(),
            FIRST_VECTOR..END_VECTOR => {
                let told = kernel.interrupts[usize::from(vector - FIRST_VECTOR)];
                #[cfg(feature = "test-faults")]
                let told = told.filter(|told| !kernel.drops_interrupt(told.task));
                match told {
                    Some(told) => signal(&mut kernel.objects, told.task, told.bits),
                    None => kernel.stray(vector),
                }
            }
            0..32 if !kernel.is_sent(vector) => {
                panic!("{} while the kernel idled", abi::crash::exception(vector));
            }
            _ => kernel.stray(vector),
        }
        if let Some(machine) = &mut kernel.machine {
            machine.apic.end_of_interrupt();
        }
    }

    /// Leaves the kernel to the task that is to run now; idles until there is one.
    #[inline(always)]
    pub fn leave() -> ! {
        // SAFETY: the reference of this entry was given up by the caller; this one ends in `resume`, which leaves, or
        // before the next is taken.
        let kernel = unsafe { kernel() };
        if kernel.objects.must_choose() || kernel.objects.next_event() < kernel.armed {
            leave_slowly();
        }
        match kernel.objects.current() {
            Some(current) => resume(kernel, current),
            None => leave_slowly(),
        }
    }

    /// Leaves the kernel where somebody must be chosen, the timer set, or nothing is ready.
    #[inline(never)]
    fn leave_slowly() -> ! {
        loop {
            leave_if_ready();
            // SAFETY: the reference of this entry was given up by the caller; this one ends here.
            idle(unsafe { kernel() });
        }
    }

    /// Leaves the kernel where nobody is ready and the timer is set.
    fn idle_first() -> ! {
        // SAFETY: the reference of this entry was given up by the caller; this one ends here.
        idle(unsafe { kernel() });
        leave_slowly()
    }

    /// Leaves the kernel to the task that is to run, if there is one; the timer is set in any case.
    #[inline(always)]
    fn leave_if_ready() {
        // SAFETY: the reference of this entry was given up by the caller; this one ends with the function, or in `resume`,
        // which leaves.
        let kernel = unsafe { kernel() };
        let clock = kernel.machine.as_ref().map(|machine| &machine.clock);
        kernel.objects.schedule(|| clock.map_or(0, |clock| clock.now()));
        kernel.arm_timer();
        if let Some(current) = kernel.objects.current() {
            resume(kernel, current);
        }
    }

    /// Nothing is ready: writes the log, then halts until an interrupt, and serves it.
    #[inline(never)]
    fn idle(kernel: &mut Kernel) {
        if log::is_waiting() {
            if kernel.drain_log() {
                return;
            }
            kernel.drain_log_soon(kernel.now());
        }
        let before = platform::time_stamp();
        stubs::wait_for_interrupt();
        let after = platform::time_stamp();
        kernel.halted = kernel.halted.wrapping_add(after.wrapping_sub(before));
        kernel.objects.skip(before, after);
        let woken_by = WOKEN_BY.swap(0, Ordering::Relaxed);
        if let Some(vector) = woken_by.checked_sub(1) {
            interrupt(kernel, vector as u8, Objects::signal_idle);
        }
    }

    /// Loads a task's address space; its registers are stored into its record from then on.
    #[inline(always)]
    fn activate(task: &Task) {
        // SAFETY: no other reference to the processor's record exists while tasks run; the stubs read it.
        let cpu = unsafe { &mut *GLOBAL.cpu.get() };
        cpu.address_space = task.address_space;
        cpu.set_register_end(core::ptr::from_ref(&task.registers).wrapping_add(1) as u64);
        // SAFETY: the task's address space has the kernel's half, so the kernel goes on in it.
        unsafe { asm!("mov cr3, {}", in(reg) task.address_space, options(nostack, preserves_flags)) };
    }

    /// Gives the processor to a task.
    #[inline(always)]
    fn resume(kernel: &mut Kernel, id: TaskId) -> ! {
        // SAFETY: as in `activate`.
        let loaded = unsafe { &*GLOBAL.cpu.get() }.address_space;
        // Each task has an address space of its own, so where it is the same, so is the record.
        if loaded != kernel.objects.task(id).address_space {
            if kernel.objects.keeps_accounts() {
                kernel.objects.charge(id, platform::time_stamp());
            }
            activate(kernel.objects.task(id));
        }
        // SAFETY: the registers are a task's: user segments, interrupts on (only the kernel's code writes those).
        unsafe { stubs::resume(&kernel.objects.task(id).registers) }
    }
}
