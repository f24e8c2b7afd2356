//! Faults made on purpose in a task, for tests of what then goes on: only in a kernel with the feature `test-faults`, and
//! only in a task that the charter lets the caller kill. The image builder refuses such a kernel unless it is told that
//! the image is for tests.
//!
//! A fault is confined to what the task itself could have done to itself, or its device to it: its memory, its
//! registers, its interrupts, what it sends. Nothing of the kernel's own state changes.

use abi::Error;
use abi::crash::Cause;
use abi::faults::{Fault, STEPS_MAX};
use abi::features::TEST_FAULTS;
use abi::layout::{IPC_BUFFER_BYTES, STACK_TOP};
use abi::system_call::{MESSAGE_REGISTER_BYTES, NO_DEADLINE, NO_HANDLE, Number};

use crate::crash;
use crate::objects::TaskId;
use crate::objects::registers::{ENTERED_BY_SYSCALL, Registers};
use crate::objects::task::State;
use crate::state::Kernel;
use crate::supervision::Death;
use crate::system_call::Results;

/// Makes the processor strike after each instruction (Intel SDM volume 3, 18.3.1.4).
const TRAP_FLAG: u64 = 1 << 8;

/// `jmp` to itself.
const LOOP: [u8; 2] = [0xeb, 0xfe];
/// A reply-receive without endpoint, answer and deadline, and back to it when a notification comes.
const WAIT_FOR_EVER: [u8; 23] = {
    const { assert!(Number::ReplyReceive as u64 == 2 && NO_HANDLE == 0 && NO_DEADLINE == u64::MAX) };
    [
        0xb8, 2, 0, 0, 0, // mov eax, 2
        0x31, 0xff, // xor edi, edi
        0x31, 0xf6, // xor esi, esi
        0x48, 0xc7, 0xc2, 0xff, 0xff, 0xff, 0xff, // mov rdx, -1
        0x45, 0x31, 0xff, // xor r15d, r15d
        0x0f, 0x05, // syscall
        0xeb, 0xe9, // jmp to the first
    ]
};

/// What the kernel's file says of itself: see [`abi::features::MARK`].
#[used]
static MARK: [u8; 37] = *b"charter kernel features: test-faults\0";

const _: () = abi::features::check_mark(&MARK, TEST_FAULTS);

/// Faults that are under way.
pub struct Faults {
    /// Who is stopped after how many instructions.
    steps: Option<(TaskId, u64)>,
    /// Whose interrupts are dropped, and how many.
    drops: Option<(TaskId, u64)>,
    /// In whose next message a bit changes, and which.
    message: Option<(TaskId, u64)>,
}

impl Faults {
    /// None.
    pub const fn new() -> Self {
        Self { steps: None, drops: None, message: None }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel {
    /// Makes a fault in a task; `first` and `second` choose.
    ///
    /// # Errors
    /// Invalid if there is no such fault, dead peer if the task has stopped.
    pub fn inject(&mut self, victim: TaskId, number: u64, first: u64, second: u64) -> Result<Results, Error> {
        let fault = Fault::new(number).ok_or(Error::Invalid)?;
        if matches!(self.objects.task(victim).state, State::Empty | State::Stopped) {
            return Err(Error::DeadPeer);
        }
        let done = match fault {
            Fault::KillLater => {
                self.faults.steps = Some((victim, first % STEPS_MAX + 1));
                self.objects.task_mut(victim).registers.rflags |= TRAP_FLAG;
                true
            }
            Fault::FlipMemory => self.flip_memory(victim, first, second),
            Fault::FlipCode => self.flip_code(victim, first, second),
            Fault::FlipRegister => self.flip_register(victim, first, second),
            Fault::DropInterrupts => {
                self.faults.drops = Some((victim, first % 4 + 1));
                true
            }
            Fault::Loop => self.lead(victim, &LOOP),
            Fault::WaitForEver => self.lead(victim, &WAIT_FOR_EVER),
            Fault::RepeatInterrupt => self.repeat_interrupt(victim, first),
            Fault::CorruptMessage => {
                self.faults.message = Some((victim, first));
                true
            }
        };
        Ok([done.into(), 0, 0])
    }

    /// A task was struck after an instruction. Returns whether that was because it is to be stopped some time; then that
    /// is done, or it goes on.
    pub fn stepped(&mut self, id: TaskId) -> bool {
        let Some((victim, left)) = self.faults.steps.filter(|(victim, _)| *victim == id) else { return false };
        if left > 1 {
            self.faults.steps = Some((victim, left - 1));
            return true;
        }
        self.faults.steps = None;
        crash::report(self, id, Cause::Killed { by: "fault-injection".try_into().unwrap_or_default() });
        self.stop(id, Death::Kill);
        true
    }

    /// Whether an interrupt of this task is to be lost.
    pub fn drops_interrupt(&mut self, id: TaskId) -> bool {
        let Some((victim, left)) = self.faults.drops.filter(|(victim, _)| *victim == id) else { return false };
        self.faults.drops = (left > 1).then_some((victim, left - 1));
        true
    }

    /// Changes a bit of the message with which the current task has just entered, if that is to be.
    pub fn corrupt_message(&mut self) {
        let Some((victim, bit)) = self.faults.message else { return };
        if self.objects.current() != Some(victim) {
            return;
        }
        let registers = &mut self.objects.task_mut(victim).registers;
        let sends = match Number::new(registers.rax) {
            Some(Number::Call | Number::Reply | Number::SignalReceive | Number::PostReceive) => true,
            Some(Number::ReplyReceive) => registers.rdi != 0,
            _ => false,
        };
        let bytes = usize::try_from(registers.rsi).unwrap_or(usize::MAX).min(IPC_BUFFER_BYTES);
        if !sends || bytes == 0 {
            return;
        }
        self.faults.message = None;
        let (byte, bit) = ((bit / 8) as usize % bytes, bit % 8);
        if bytes <= MESSAGE_REGISTER_BYTES {
            let mut words = registers.words();
            words[byte / 8] ^= 1 << (byte % 8 * 8) << bit;
            registers.set_words(words);
        } else {
            self.objects.buffer(victim)[byte] ^= 1 << bit;
        }
    }

    /// Of every two, one in a page of variables, one in the stack from its pointer up.
    fn flip_memory(&mut self, victim: TaskId, first: u64, second: u64) -> bool {
        let task = self.objects.task(victim);
        let (code, stack) = (task.code.0..task.code.1, task.stack_bottom..STACK_TOP);
        let used = STACK_TOP.saturating_sub(task.registers.rsp);
        let address = if first.is_multiple_of(2) && stack.contains(&task.registers.rsp) {
            Some(task.registers.rsp + first / 2 % used)
        } else {
            let is_variable = |address: &u64| !code.contains(address) && *address < stack.start;
            let pages = || self.supervision.watches[victim.index()].image.pages().map(|page| page.address);
            let count = pages().filter(is_variable).count().max(1) as u64;
            pages().filter(is_variable).nth((first / 2 % count) as usize).map(|page| page + second / 8 % 4096)
        };
        address.is_some_and(|address| self.flip(victim, address, second))
    }

    fn flip_code(&mut self, victim: TaskId, first: u64, second: u64) -> bool {
        const NEAR: u64 = 64;
        let task = self.objects.task(victim);
        let (start, end) = task.code;
        let address = if first.is_multiple_of(2) {
            task.registers.rip.wrapping_add(first / 2 % NEAR)
        } else {
            start + first / 2 % (end - start).max(1)
        };
        (start..end).contains(&address) && self.flip(victim, address, second)
    }

    fn flip(&mut self, victim: TaskId, address: u64, bit: u64) -> bool {
        let root = self.objects.task(victim).address_space;
        let Some(memory) = &mut self.memory else { return false };
        let done = memory.change(root, address, |byte| byte ^ 1 << (bit % 8));
        memory.forget();
        done
    }

    /// Writes instructions where the task goes on.
    fn lead(&mut self, victim: TaskId, instructions: &[u8]) -> bool {
        let task = self.objects.task(victim);
        let (root, at, end) = (task.address_space, task.registers.rip, task.code.1);
        let fits = at.checked_add(instructions.len() as u64).is_some_and(|last| task.code.0 <= at && last <= end);
        let Some(memory) = &mut self.memory else { return false };
        let mut places = (at..).zip(instructions);
        let done = fits && places.all(|(address, new)| memory.change(root, address, |_| *new));
        memory.forget();
        done
    }

    fn flip_register(&mut self, victim: TaskId, first: u64, second: u64) -> bool {
        let task = self.objects.task_mut(victim);
        let registers = &mut task.registers;
        let kept = |registers: &mut Registers, index: u64, bit: u64| {
            let register = match index % 4 {
                0 => &mut registers.rbx,
                1 => &mut registers.rbp,
                2 => &mut registers.rsp,
                _ => &mut registers.rip,
            };
            *register ^= 1 << bit;
        };
        // What else a task's record holds while it waits is what the kernel has made of its call.
        if registers.vector == ENTERED_BY_SYSCALL || task.state != State::Ready {
            // No address beyond the lower half: an instruction pointer is always one that a jump can have made.
            kept(registers, first, second % 47);
            return true;
        }
        let index = first % 18;
        if index >= 14 {
            kept(registers, index, second % 47);
            return true;
        }
        let general = [
            &mut registers.r15,
            &mut registers.r14,
            &mut registers.r13,
            &mut registers.r12,
            &mut registers.r11,
            &mut registers.r10,
            &mut registers.r9,
            &mut registers.r8,
            &mut registers.rdi,
            &mut registers.rsi,
            &mut registers.rdx,
            &mut registers.rcx,
            &mut registers.rax,
            &mut registers.rbx,
        ];
        for (number, register) in general.into_iter().enumerate() {
            if number as u64 == index {
                *register ^= 1 << (second % 64);
            }
        }
        true
    }

    fn repeat_interrupt(&mut self, victim: TaskId, first: u64) -> bool {
        let own = |told: &crate::state::Interrupt| told.task == victim;
        let count = self.interrupts.iter().flatten().filter(|told| own(told)).count();
        let told =
            self.interrupts.iter().flatten().filter(|told| own(told)).nth(first as usize % count.max(1)).copied();
        if let Some(told) = told {
            self.objects.signal(told.task, told.bits);
        }
        told.is_some()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::objects::task::Task;

    fn kernel() -> (Kernel, TaskId) {
        let mut kernel = Kernel::new();
        let victim = TaskId::new(1).unwrap();
        kernel.objects.set_buffers(std::boxed::Box::leak(std::vec![[0; IPC_BUFFER_BYTES]; 2].into_boxed_slice()));
        kernel.objects.add(victim, Task { code: (0x40_0000, 0x40_1000), ..Task::empty() });
        kernel.objects.schedule(|| 0);
        (kernel, victim)
    }

    #[test]
    fn registers_stay_such_as_the_task_could_have() {
        for first in 0..200 {
            for second in 0..64 {
                let (mut kernel, victim) = kernel();
                kernel.objects.task_mut(victim).registers = Registers::at_entry(0x40_0000, STACK_TOP - 8, [1, 2, 3, 4]);
                let before = kernel.objects.task(victim).registers;
                assert_eq!(kernel.inject(victim, Fault::FlipRegister as u64, first, second), Ok([1, 0, 0]));
                let after = kernel.objects.task(victim).registers;
                assert_eq!((after.cs, after.ss, after.rflags), (before.cs, before.ss, before.rflags));
                assert!(after.rip < 1 << 47, "canonical");
                assert_eq!((after.vector, after.error_code), (before.vector, before.error_code));
            }
        }
    }

    #[test]
    fn a_task_is_stopped_after_as_many_instructions_and_no_other_is() {
        let (mut kernel, victim) = kernel();
        assert_eq!(kernel.inject(victim, Fault::KillLater as u64, 2, 0), Ok([1, 0, 0]));
        assert_eq!(kernel.objects.task(victim).registers.rflags & TRAP_FLAG, TRAP_FLAG);
        assert!(!kernel.stepped(TaskId::new(0).unwrap()));
        assert!(kernel.stepped(victim) && kernel.stepped(victim));
        assert_eq!(kernel.objects.task(victim).state, State::Ready);
        assert!(kernel.stepped(victim));
        assert_eq!(kernel.objects.task(victim).state, State::Stopped);
        assert!(!kernel.stepped(victim));
        assert_eq!(kernel.inject(victim, Fault::KillLater as u64, 0, 0), Err(Error::DeadPeer));
    }

    #[test]
    fn so_many_interrupts_are_lost_and_no_more() {
        let (mut kernel, victim) = kernel();
        kernel.inject(victim, Fault::DropInterrupts as u64, 1, 0).unwrap();
        assert!(!kernel.drops_interrupt(TaskId::new(0).unwrap()));
        assert!(kernel.drops_interrupt(victim) && kernel.drops_interrupt(victim) && !kernel.drops_interrupt(victim));
    }

    #[test]
    fn one_bit_of_the_next_message_changes_and_only_of_its_length() {
        let (mut kernel, victim) = kernel();
        for (bytes, bit) in [(1, 0), (48, 383), (48, 384), (49, 391), (4096, 9), (5000, 8)] {
            kernel.inject(victim, Fault::CorruptMessage as u64, bit, 0).unwrap();
            kernel.objects.buffer(victim).fill(0);
            let registers = &mut kernel.objects.task_mut(victim).registers;
            *registers = Registers { rax: Number::Call as u64, rsi: 0, ..Registers::default() };
            kernel.corrupt_message();
            assert!(kernel.faults.message.is_some(), "nothing was sent yet");
            kernel.objects.task_mut(victim).registers.rsi = bytes;
            kernel.corrupt_message();
            kernel.corrupt_message();
            let words = kernel.objects.task(victim).registers.words();
            let in_words: u32 = words.iter().map(|word| word.count_ones()).sum();
            let in_buffer: u32 = kernel.objects.buffer(victim).iter().map(|byte| byte.count_ones()).sum();
            assert_eq!((in_words, in_buffer), if bytes <= 48 { (1, 0) } else { (0, 1) }, "{bytes} {bit}");
        }
    }

    #[test]
    fn other_numbers_are_no_faults() {
        let (mut kernel, victim) = kernel();
        for number in [0, 1, 9, u64::MAX] {
            assert_eq!(kernel.inject(victim, number, 0, 0), Err(Error::Invalid));
        }
    }
}
