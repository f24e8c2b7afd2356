//! Everything that the kernel knows while it runs, in one place.

use abi::package::DEVICES_MAX;
use abi::system_call::NO_DEADLINE;

use crate::console::{BYTES_AT_ONCE, Input, LOOK_NANOSECONDS};
use crate::crash::kept::Crashes;
use crate::devices::{Devices, END_VECTOR, FIRST_VECTOR};
use crate::log;
use crate::log::refusals::Refusals;
use crate::memory::task_memory::TaskMemory;
use crate::objects::task::Started;
use crate::objects::{Objects, TaskId};
use crate::platform::apic::LocalApic;
use crate::platform::clock::Clock;
use crate::platform::power::Power;
use crate::platform::serial::Serial;
use crate::supervision::{Death, Supervision};

/// Device interrupts that there can be.
pub const INTERRUPTS: usize = (END_VECTOR - FIRST_VECTOR) as usize;

/// Who is told of a device interrupt.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt {
    /// Which task.
    pub task: TaskId,
    /// Which bits of its notification word.
    pub bits: u64,
}

/// The machine, as far as it is used while tasks run.
pub struct Machine {
    /// Time.
    pub clock: Clock,
    /// This CPU's interrupt controller and timer.
    pub apic: LocalApic,
    /// Where the log goes.
    pub serial: Serial,
    /// How the machine is switched off and reset.
    pub power: Power,
}

/// The kernel. In this order: what is zero at first comes last, so that the image need not hold it.
#[repr(C)]
pub struct Kernel {
    /// Who owns each device, and when it wants to be served next.
    pub owners: [Owner; DEVICES_MAX],
    /// Who is told of each device interrupt, from [`FIRST_VECTOR`].
    pub interrupts: [Option<Interrupt>; INTERRUPTS],
    /// When to look whether IOMMUs have blocked more; `NO_DEADLINE` if they interrupt for it.
    pub blocked_at: u64,
    /// What was typed.
    pub input: Input,
    /// The hardware; `None` until start-up has found it, and in host tests.
    pub machine: Option<Machine>,
    /// Looks into tasks' memory; `None` until start-up is over, and in host tests.
    pub memory: Option<TaskMemory>,
    /// Faults that are made on purpose.
    #[cfg(feature = "test-faults")]
    pub faults: crate::faults::Faults,
    /// For what the timer is set; `NO_DEADLINE` if it is not.
    pub armed: u64,
    /// How long the processor has been halted because nobody was ready, in counts of the time-stamp counter.
    pub halted: u64,
    /// Whether `boot complete` or `boot incomplete` was logged.
    pub boot_told: bool,
    /// Tasks and what they do with each other.
    pub objects: Objects,
    /// Granted devices.
    pub devices: Devices,
    /// Who watches over which task, and what tasks are restarted from.
    pub supervision: Supervision,
    /// What tasks were refused.
    pub refusals: Refusals,
    /// What is kept of tasks that stopped.
    pub crashes: Crashes,
    /// How often each interrupt vector came that nobody expects.
    pub strays: [u32; 256],
}

/// A device's task and what the device waits for.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The task that holds its registers, if any.
    pub task: Option<TaskId>,
    /// When to serve it next; `NO_DEADLINE` if nothing is under way.
    pub service_at: u64,
}

impl Kernel {
    /// Before start-up.
    pub const fn new() -> Self {
        Self {
            objects: Objects::new(),
            devices: Devices::new(),
            supervision: Supervision::new(),
            refusals: Refusals::new(),
            crashes: Crashes::new(),
            strays: [0; 256],
            owners: [Owner { task: None, service_at: NO_DEADLINE }; DEVICES_MAX],
            interrupts: [None; INTERRUPTS],
            blocked_at: NO_DEADLINE,
            input: Input::new(),
            machine: None,
            memory: None,
            #[cfg(feature = "test-faults")]
            faults: crate::faults::Faults::new(),
            armed: NO_DEADLINE,
            halted: 0,
            boot_told: false,
        }
    }

    /// Nanoseconds since the clock started; 0 before.
    #[inline]
    pub fn now(&self) -> u64 {
        self.machine.as_ref().map_or(0, |machine| machine.clock.now())
    }

    /// What the timer is for: ends waiting, time slices, and device work whose time has come.
    pub fn timer(&mut self) {
        let now = self.now();
        self.armed = NO_DEADLINE;
        if self.crashes.write() {
            // That is enough for one entry; the rest is done in the next.
            return self.arm_timer_for(now);
        }
        self.objects.expire(now);
        self.serve_devices(now);
        self.look_for_silence(now);
        self.drain_log();
        self.drain_log_soon(now);
        if self.input.look_at <= now {
            self.look_at_serial(now);
        }
        self.arm_timer_for(self.input.look_at);
        self.arm_timer_for(self.supervision.look_at());
        if self.blocked_at <= now {
            self.blocked_requests();
        }
        self.arm_timer_for(self.blocked_at);
    }

    /// An IOMMU has blocked something, or it is time to look again.
    pub fn blocked_requests(&mut self) {
        let now = self.now();
        self.blocked_at = self.devices.take_faults(now).unwrap_or(NO_DEADLINE);
        self.tell_blocked();
        let end = self.now();
        self.devices.account_faults(now, end);
        self.arm_timer_for(self.blocked_at);
        self.drain_log_soon(now);
    }

    /// Whether this vector came as an interrupt, to be acknowledged: of an exception it is known only by this, as where no
    /// IOMMU keeps it from it, a device may send any vector.
    pub fn is_sent(&self, vector: u8) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.apic.is_in_service(vector))
    }

    /// An interrupt that nobody expects. It is told once for each power of two: a device can do this without end.
    #[cold]
    pub fn stray(&mut self, vector: u8) {
        let count = &mut self.strays[usize::from(vector)];
        *count = count.saturating_add(1);
        if count.is_power_of_two() {
            log!("kernel", "stray interrupt vector={vector:#04x} count={count}");
        }
    }

    /// Begins to look at a serial port that does not interrupt.
    pub fn start_input(&mut self, now: u64) {
        if self.input.is_looked_for {
            self.input.look_at = now;
            self.arm_timer_for(now);
        }
    }

    /// The serial port has interrupted.
    pub fn serial_interrupt(&mut self) {
        const NANOSECONDS: u64 = 1_000_000;
        if self.take_input() {
            // The port does not interrupt again before it is empty.
            let again = self.now() + NANOSECONDS;
            self.input.look_at = self.input.look_at.min(again);
            self.arm_timer_for(again);
        }
    }

    /// Looks at a serial port that does not interrupt, or did and had more than was taken.
    fn look_at_serial(&mut self, now: u64) {
        let more = self.take_input();
        self.input.look_at = if more || self.input.is_looked_for { now + LOOK_NANOSECONDS } else { NO_DEADLINE };
    }

    /// Takes what was typed and tells the task that may read it. Returns whether there may be more.
    fn take_input(&mut self) -> bool {
        let (Some(machine), Some(holder)) = (&mut self.machine, self.input.holder) else { return false };
        let mut bytes = [0; BYTES_AT_ONCE];
        let count = machine.serial.receive(&mut bytes);
        bytes[..count].iter().for_each(|byte| self.input.put(*byte));
        if count > 0 {
            self.objects.signal(holder.task, holder.bits);
        }
        count == bytes.len()
    }

    /// Sets the timer for what waits in the log, so that it comes out while tasks keep the processor busy.
    pub fn drain_log_soon(&mut self, now: u64) {
        const NANOSECONDS: u64 = 1_000_000;
        if log::is_waiting() {
            self.arm_timer_for(now + NANOSECONDS);
        }
    }

    /// Takes the next step of every device that waits for its hardware and whose time has come, and sets the timer for
    /// those that wait on.
    pub fn serve_devices(&mut self, now: u64) {
        for index in 0..self.devices.count().min(DEVICES_MAX) {
            if self.owners[index].service_at <= now {
                self.owners[index].service_at = self.devices.service(index, now).unwrap_or(NO_DEADLINE);
                self.refuse_driver(index);
                self.open_to_driver(index);
            }
            self.arm_timer_for(self.owners[index].service_at);
        }
    }

    /// Maps registers and rings into the driver of a device that is its own from now on.
    fn open_to_driver(&mut self, index: usize) {
        let Some(opened) = self.devices.take_opened(index) else { return };
        let (Some(task), Some(memory)) = (self.owners[index].task, &mut self.memory) else { return };
        if !memory.map_direct(self.objects.task(task).address_space, index as u16, &opened) {
            // Start-up made the tables; without them the driver faults at its first access.
            log!("dma", "lane without room device={}", self.devices.name(index));
        }
    }

    /// Stops the driver of a device that may be used only behind an IOMMU, where none holds it.
    fn refuse_driver(&mut self, index: usize) {
        if let (true, Some(task)) = (self.devices.take_refused(index), self.owners[index].task) {
            log!(
                "charter",
                "task refused name={} device={} because=\"remapping is required and not in force\"",
                self.objects.task(task).name,
                self.devices.name(index)
            );
            self.stop(task, Death::Exit);
        }
    }

    /// Sets the timer for the tasks' next deadline or the end of the time slice. Called before the kernel is left.
    #[inline]
    pub fn arm_timer(&mut self) {
        self.arm_timer_for(self.objects.next_event());
    }

    /// Sets the timer for this time, if that is before what it is set for.
    #[inline]
    pub(crate) fn arm_timer_for(&mut self, at: u64) {
        if at < self.armed {
            self.set_timer(at);
        }
    }

    #[cold]
    fn set_timer(&mut self, at: u64) {
        if let Some(machine) = &mut self.machine {
            machine.apic.set_timer(&machine.clock, at);
            self.armed = at;
        }
    }

    /// Gives the serial port as much of the log as it takes now, bounded. Returns whether it takes more right away, or
    /// whether a task is to be told that the log has gone between what it writes.
    pub fn drain_log(&mut self) -> bool {
        const BYTES_AT_ONCE: usize = 256;
        let Some(machine) = &mut self.machine else { return false };
        let more = log::drain(BYTES_AT_ONCE, |bytes| machine.serial.try_send(bytes));
        match self.input.holder.filter(|_| log::console_interrupted(false)) {
            Some(holder) if !self.input.is_told => {
                self.input.is_told = true;
                self.objects.signal(holder.task, holder.bits);
                true
            }
            _ => more,
        }
    }

    /// Gives the serial port all of the log, however long it takes: for a machine that is about to end.
    pub fn drain_log_completely(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        while log::drain(usize::MAX, |bytes| {
            machine.serial.send_blocking(bytes);
            bytes.len()
        }) {}
    }

    /// Says once how the start of the tasks ended, as soon as that is known.
    pub fn tell_boot(&mut self) {
        if self.boot_told {
            return;
        }
        self.boot_told = self.try_tell_boot();
        if let (true, Some(holder)) = (self.boot_told, self.input.holder) {
            self.objects.signal(holder.task, holder.bits);
        }
    }

    fn try_tell_boot(&self) -> bool {
        let mut tasks = 0;
        let mut waiting = false;
        for (_, task) in self.objects.tasks() {
            tasks += 1;
            waiting |= task.required && task.started == Started::Unknown;
            if task.required && task.started == Started::Failed {
                log!("charter", "boot incomplete task={} reason=could-not-start", task.name);
                return true;
            }
        }
        if !waiting {
            log!("charter", "boot complete tasks={tasks}");
        }
        !waiting
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}
