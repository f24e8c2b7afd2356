//! From the UEFI application's hand-over to the first task.
//!
//! In this order: the processor's protections, memory, descriptor tables, the serial port, firmware's tables, clock and
//! interrupts, every PCI function's bus mastering off, then the charter: regions, devices, tasks. Nothing is allocated
//! after that.

#[cfg(target_os = "none")]
pub use bare::{halt_for_panic, start};

/// From the package's form of a task to the kernel's.
#[cfg(any(target_os = "none", test))]
mod record {
    use abi::layout::STACK_TOP;
    use abi::package::{Access, CAPABILITIES_MAX, Capability, Task as Packed};
    use heapless::Vec;

    use crate::objects::registers::Registers;
    use crate::objects::task::{NO_CALL, Task};

    /// A task's record as it is before it first runs; `memory` is what only it uses, in bytes.
    pub fn record(task: &Packed<'_>, registers: Registers, address_space: u64, memory: u64) -> Task {
        let mut capabilities = [None; CAPABILITIES_MAX];
        for (slot, capability) in capabilities.iter_mut().zip(&task.capabilities) {
            *slot = Some(*capability);
        }
        Task {
            registers,
            address_space,
            priority: task.priority,
            capabilities,
            // The names fit: `Package::open` checked them.
            name: task.name.try_into().unwrap_or_default(),
            log_names: task.log_names.iter().filter_map(|name| (*name).try_into().ok()).collect::<Vec<_, _>>(),
            required: task.required,
            stack_bottom: STACK_TOP - task.stack_bytes,
            code: code(task),
            last_call: NO_CALL,
            memory,
            ..Task::empty()
        }
    }

    /// From the first to the last address of a task's code; empty if it has none.
    fn code(task: &Packed<'_>) -> (u64, u64) {
        let code = || task.segments.iter().filter(|segment| segment.access == Access::ReadExecute);
        let start = code().map(|segment| segment.address).min().unwrap_or(0);
        let end = code().map(|segment| segment.address.saturating_add(segment.bytes)).max().unwrap_or(0);
        (start, end)
    }

    /// The endpoints that a task may call.
    pub fn callable(task: &Packed<'_>) -> impl Iterator<Item = u16> {
        task.capabilities.iter().filter_map(|capability| match capability {
            Capability::Call { endpoint, .. } => Some(*endpoint),
            _ => None,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::supervision::image::Image;
        use abi::layout::START_INFO;
        use abi::package::Segment;
        use abi::start::ClockScale;

        #[test]
        fn a_task_starts_with_what_the_package_says_and_nothing_else() {
            let packed = Packed {
                name: "reader",
                priority: 7,
                required: true,
                entry: 0x40_1000,
                stack_bytes: 0x3000,
                log_names: Vec::from_slice(&["block"]).unwrap(),
                segments: Vec::from_slice(&[
                    Segment { address: 0x40_0000, bytes: 0x1234, access: Access::ReadExecute, data: &[] },
                    Segment { address: 0x40_2000, bytes: 0x10, access: Access::ReadWrite, data: &[] },
                ])
                .unwrap(),
                windows: Vec::new(),
                capabilities: Vec::from_slice(&[
                    Capability::Log { name: 0 },
                    Capability::Call { endpoint: 3, badge: 9 },
                ])
                .unwrap(),
                start_info: &[0; 77],
            };
            let task = record(&packed, Image::new(&packed, &[]).registers(ClockScale::default()), 0x5000, 0x7000);
            let registers = task.registers;
            assert_eq!(
                (registers.rip, registers.rsp % 16, registers.rdi, registers.rsi),
                (0x40_1000, 8, START_INFO, 77)
            );
            assert_eq!((registers.cs & 3, registers.ss & 3, registers.rflags), (3, 3, 0x202));
            assert_eq!((task.address_space, task.memory, task.priority, task.required), (0x5000, 0x7000, 7, true));
            assert_eq!(task.capability(1), Ok(packed.capabilities[0]));
            assert_eq!(task.capability(2), Ok(packed.capabilities[1]));
            assert!(task.capability(3).is_err() && task.capability(0).is_err());
            assert_eq!((task.code, task.last_call), ((0x40_0000, 0x40_1234), NO_CALL));
            assert!(callable(&packed).eq([3]));
        }
    }
}

#[cfg(target_os = "none")]
mod bare {
    use core::fmt::Write;

    use abi::handoff::{BOOT_STACK_TOP, HANDOFF_MAGIC, Handoff, PACKAGE};
    use abi::layout::{IPC_BUFFER_BYTES, PAGE_BYTES};
    use abi::package::{Capability, Device, InspectTopic, Package, REGIONS_MAX, Task as Packed};
    use abi::start::ClockScale;
    use broker::Region;
    use heapless::Vec;

    use super::record;
    use crate::console::Holder;
    use crate::devices::{self, FIRST_VECTOR, Hidden};
    use crate::entry::{self, descriptors};
    use crate::log;
    use crate::memory::scratch::Scratch;
    use crate::memory::{Memory, MemoryError};
    use crate::objects::{EndpointId, TaskId};
    use crate::platform::acpi::madt::Trigger;
    use crate::platform::apic::SERIAL_VECTOR;
    use crate::platform::cpu::Protection;
    use crate::platform::ioapic::Target;
    use crate::platform::serial::Serial;
    use crate::platform::{self, Platform};
    use crate::state::{Interrupt, Kernel, Machine};
    use crate::supervision::Supervisor;
    use crate::supervision::image::Image;

    /// The kernel's entry.
    ///
    /// # Safety
    /// Once, from the UEFI application, as `abi::handoff` says.
    pub unsafe fn start(handoff: &'static Handoff) -> ! {
        // SAFETY: start-up is alone on the machine and comes here once.
        let kernel = unsafe { entry::install() };
        if let Err(error) = run(handoff, kernel) {
            panic!("start: {error}");
        }
        entry::leave()
    }

    /// Why the system could not start.
    #[derive(Debug, thiserror::Error)]
    enum StartError {
        #[error("the UEFI application is of another version")]
        Handoff,
        #[error("{0}")]
        Memory(#[from] MemoryError),
        #[error("no local interrupt controller")]
        NoApic,
        #[error("{0}")]
        Package(#[from] abi::package::PackageError),
    }

    fn run(handoff: &'static Handoff, kernel: &mut Kernel) -> Result<(), StartError> {
        let protection = Protection::switch_on();
        let mut serial = Serial::start();
        if handoff.magic != HANDOFF_MAGIC {
            return Err(StartError::Handoff);
        }
        // SAFETY: start-up comes here once, in the address space that the UEFI application built.
        let mut memory = Memory::new(handoff, unsafe { Scratch::take() });
        load_descriptors(&mut memory)?;
        // SAFETY: the UEFI application mapped this many bytes there, read-only, and nothing unmaps them before
        // `Memory::finish`.
        let bytes = unsafe { core::slice::from_raw_parts(PACKAGE as *const u8, handoff.package_bytes as usize) };
        // The UEFI application has compared the checksum; since then nobody but the two has run.
        let package = Package::open_checked(bytes)?;
        let contents = package.contents();
        log!(
            "charter",
            "starting system={} version={} tasks={} package={:#010x}",
            contents.name,
            env!("CARGO_PKG_VERSION"),
            contents.tasks,
            abi::package::identity(bytes)?
        );
        log!("kernel", "processor {protection}");
        #[cfg(feature = "test-faults")]
        log!("kernel", "features {}", abi::features::TEST_FAULTS);
        #[cfg(feature = "test-mutants")]
        crate::mutants::start();
        let mut platform = platform::start(&mut memory, handoff.acpi_root).ok_or(StartError::NoApic)?;
        log!("clock", "started {} apic={} timer={}", platform.clock, platform.apic.mode(), platform.apic.timer_mode());
        tell_firmware(&platform, handoff);
        kernel.crashes.start(&mut memory, handoff.crash_memory, abi::package::identity(bytes)?);
        kernel.devices.find(&mut memory, &platform);
        kernel.devices.start_remapping(&mut memory, &platform, package.devices());

        let regions = make_regions(&mut memory, &package)?;
        for device in package.devices() {
            add_device(&mut memory, kernel, &platform, &device, &regions);
        }
        add_tasks(&mut memory, kernel, &package, bytes, &regions, platform.clock.scale())?;
        let objects = &kernel.objects;
        kernel.crashes.recognise(|name| objects.tasks().find(|(_, task)| task.name == *name).map(|(id, _)| id));
        log!(
            "kernel",
            "memory used_bytes={} dma_bytes={} loader_bytes={} free_bytes={}",
            memory.frames.taken(),
            regions.iter().map(|region| region.bytes).sum::<u64>(),
            handoff.loader_bytes,
            memory.frames.left()
        );
        kernel.memory = Some(memory.finish(handoff.package_bytes));

        platform.apic.stop_timer();
        take_input(kernel, &mut platform, &mut serial);
        while log::drain(usize::MAX, |bytes| {
            serial.send_blocking(bytes);
            bytes.len()
        }) {}
        kernel.machine = Some(Machine { clock: platform.clock, apic: platform.apic, serial, power: platform.power });
        let (now, count) = (kernel.now(), kernel.devices.count());
        for owner in &mut kernel.owners[..count] {
            owner.service_at = now;
        }
        kernel.start_input(now);
        kernel.start_heartbeats(now);
        kernel.serve_devices(now);
        Ok(())
    }

    fn load_descriptors(memory: &mut Memory) -> Result<(), StartError> {
        let mut own_stacks = [0; descriptors::OWN_STACKS.len()];
        for stack in &mut own_stacks {
            let (start, _) = memory.allocate(descriptors::OWN_STACK_BYTES)?;
            *stack = start.as_ptr() as u64 + descriptors::OWN_STACK_BYTES;
        }
        // SAFETY: start-up comes here once, before any task.
        let (cpu, tables) = unsafe { entry::descriptor_tables() };
        // SAFETY: the stacks were made just now; the kernel's own stack is used from its top only after `leave`.
        unsafe { descriptors::load(cpu, tables, BOOT_STACK_TOP, own_stacks) };
        Ok(())
    }

    /// How long the UEFI application took, and how much of that to collect evidence.
    fn tell_firmware(platform: &Platform, handoff: &Handoff) {
        let microseconds = |counts| platform.clock.nanoseconds(counts) / 1000;
        log!(
            "charter",
            "firmware left application_us={} evidence_us={} evidence_bytes={}",
            microseconds(handoff.exit_time.saturating_sub(handoff.entry_time)),
            microseconds(handoff.evidence_time),
            handoff.evidence_bytes
        );
    }

    /// Every DMA region, zeroed, in the order of the package.
    fn make_regions(memory: &mut Memory, package: &Package<'_>) -> Result<Vec<Region, REGIONS_MAX>, StartError> {
        let mut regions = Vec::new();
        for region in package.regions() {
            let base = memory.frames.contiguous(region.bytes)?;
            memory.zero(base, region.bytes);
            // The package has no more than fit, `Package::open` checked that.
            let _ = regions.push(Region { base, bytes: region.bytes });
        }
        Ok(regions)
    }

    fn add_device(
        memory: &mut Memory,
        kernel: &mut Kernel,
        platform: &Platform,
        device: &Device<'_>,
        regions: &[Region],
    ) {
        let granted = device.regions.iter().filter_map(|index| regions.get(usize::from(*index)).copied()).collect();
        kernel.devices.add(memory, platform, device, granted, |memory, bytes| {
            let (start, physical) = memory.allocate(bytes.into()).ok()?;
            Some(Hidden { physical, start })
        });
    }

    fn add_tasks(
        memory: &mut Memory,
        kernel: &mut Kernel,
        package: &Package<'_>,
        package_bytes: &[u8],
        regions: &[Region],
        clock: ClockScale,
    ) -> Result<(), StartError> {
        let count = usize::from(package.contents().tasks);
        let (buffers, buffers_physical) = memory.allocate((count * IPC_BUFFER_BYTES) as u64)?;
        // SAFETY: that much memory was mapped there for ever just now, zeroed; tasks write their pages of it only while
        // they run, which is never while the kernel does.
        kernel.objects.set_buffers(unsafe { core::slice::from_raw_parts_mut(buffers.cast().as_ptr(), count) });
        for (index, task) in package.tasks().enumerate() {
            let Some(id) = TaskId::new(index) else { continue };
            let buffer = buffers_physical + index as u64 * PAGE_BYTES;
            let base = |region: u16| regions.get(usize::from(region)).map(|region| region.base);
            let before = memory.frames.taken();
            let may_be_direct = |device: u16| kernel.devices.may_be_direct(device.into());
            let address_space = memory.task_space(&task, buffer, base, may_be_direct)?;
            bind(kernel, id, &task);
            let used = memory.frames.taken() - before + PAGE_BYTES;
            let image = Image::new(&task, package_bytes);
            kernel.objects.add(id, record::record(&task, image.registers(clock), address_space, used));
            kernel.supervision.watches[index].image = image;
        }
        Ok(())
    }

    /// Enters what a task's capabilities mean for endpoints, devices and interrupts.
    fn bind(kernel: &mut Kernel, id: TaskId, task: &Packed<'_>) {
        for endpoint in record::callable(task).filter_map(|endpoint| EndpointId::new(endpoint.into())) {
            kernel.objects.add_holder(endpoint, id);
        }
        for capability in &task.capabilities {
            match *capability {
                Capability::Receive { endpoint } => {
                    if let Some(endpoint) = EndpointId::new(endpoint.into()) {
                        kernel.objects.endpoint_mut(endpoint).server = Some(id);
                    }
                }
                Capability::Inspect { topic: InspectTopic::Tasks } => kernel.objects.keep_accounts(),
                Capability::Console { bits } => kernel.input.holder = Some(Holder { task: id, bits }),
                Capability::Registers { device } => kernel.owners[usize::from(device)].task = Some(id),
                Capability::Supervise { task, bits, heartbeat } => {
                    if let Some(watched) = TaskId::new(task.into()) {
                        kernel.supervision.watch(watched, Supervisor { task: id, bits }, heartbeat);
                    }
                }
                Capability::Interrupt { device, vector, bits } => {
                    let told = (FIRST_VECTOR..devices::END_VECTOR)
                        .position(|number| kernel.devices.interrupt(number) == Some((device, vector)));
                    if let Some(slot) = told {
                        kernel.interrupts[slot] = Some(Interrupt { task: id, bits });
                    }
                }
                _ => {}
            }
        }
    }

    /// Has the serial port tell what is typed, if a task may read it: by its interrupt where an I/O APIC carries it,
    /// else it is looked at.
    fn take_input(kernel: &mut Kernel, platform: &mut Platform, serial: &mut Serial) {
        /// The first serial port's interrupt on ISA.
        const INTERRUPT: u8 = 4;
        if kernel.input.holder.is_none() {
            return;
        }
        let (input, trigger) = platform.firmware.isa_input(INTERRUPT);
        let by = if !serial.is_present() {
            "nothing"
        } else if route_input(kernel, platform, input, trigger) {
            serial.interrupt_on_receive();
            "interrupt"
        } else {
            kernel.input.is_looked_for = true;
            "polling"
        };
        log!("kernel", "console input={by}");
    }

    /// Sends the interrupts of an I/O APIC's input to this processor, as those of the serial port. Returns whether there
    /// is a way.
    fn route_input(kernel: &mut Kernel, platform: &mut Platform, input: u32, trigger: Trigger) -> bool {
        let mut io_apics = core::mem::take(&mut platform.io_apics);
        let routed = io_apics.route(input, trigger, SERIAL_VECTOR, |number| {
            match kernel.devices.io_apic(platform, number, SERIAL_VECTOR, trigger.level)? {
                Some(entry) => Some(Target::Entry(entry)),
                // Without remapping, an input holds eight bits of the processor's number.
                None => u8::try_from(platform.apic.id()).ok().map(Target::Processor),
            }
        });
        platform.io_apics = io_apics;
        routed
    }

    /// Says what happened and halts for good.
    pub fn halt_for_panic(information: &core::panic::PanicInfo<'_>) -> ! {
        struct Blocking(Serial);
        impl Write for Blocking {
            fn write_str(&mut self, text: &str) -> core::fmt::Result {
                self.0.send_blocking(text.as_bytes());
                Ok(())
            }
        }
        x86_64::instructions::interrupts::disable();
        let mut serial = Serial::start();
        // SAFETY: nothing goes on after this.
        unsafe { log::force_free() };
        while log::drain(usize::MAX, |bytes| {
            serial.send_blocking(bytes);
            bytes.len()
        }) {}
        let _ = write!(Blocking(serial), "\r\nkernel: panic {information}\r\n");
        loop {
            x86_64::instructions::hlt();
        }
    }
}
