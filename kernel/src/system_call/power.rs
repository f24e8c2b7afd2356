//! The end of the machine.

use abi::Error;
use abi::package::{Capability, PowerAction};

use super::Results;
use crate::objects::TaskId;
use crate::state::Kernel;

pub(super) fn power(kernel: &mut Kernel, current: TaskId, handle: u64, doit: u64) -> Result<Results, Error> {
    let Capability::Power { action } = kernel.objects.task(current).capability(handle)? else {
        return Err(Error::Denied);
    };
    let power = kernel.machine.as_ref().map(|machine| &machine.power);
    let method = power.and_then(|power| match action {
        PowerAction::Off => power.off_method(),
        PowerAction::Reboot => Some(power.reset_method()),
    });
    match (doit, method) {
        (0, method) => Ok([method.is_some().into(), 0, 0]),
        (1, Some(method)) => {
            crate::log!(
                "charter",
                "power {} task={} method={method}",
                action.name(),
                kernel.objects.task(current).name
            );
            kernel.crashes.ended_on_purpose();
            end(kernel, action)
        }
        _ => Err(Error::Invalid),
    }
}

/// Switches the machine off or resets it. No task runs any more: what each of them had to bring to an end, whoever asked
/// for this has seen to.
#[cfg(target_os = "none")]
pub(crate) fn end(kernel: &mut Kernel, action: PowerAction) -> ! {
    use crate::platform::clock::Clock;
    use crate::platform::power::{MachinePorts, fault_for_ever};
    /// How long registers may take to have their effect.
    const NANOSECONDS: u64 = 500_000_000;
    let wait = |clock: &Clock| {
        let end = clock.now() + NANOSECONDS;
        while clock.now() < end {
            core::hint::spin_loop();
        }
    };
    kernel.devices.clear_bus_mastering();
    kernel.crashes.write();
    kernel.drain_log_completely();
    if let Some(machine) = &mut kernel.machine {
        match action {
            PowerAction::Off => {
                machine.power.switch_off(&mut MachinePorts);
                wait(&machine.clock);
            }
            PowerAction::Reboot => machine.power.reset(&mut MachinePorts, |_| wait(&machine.clock)),
        }
    }
    if action == PowerAction::Reboot {
        fault_for_ever();
    }
    crate::log!("charter", "power off failed reason=the-machine-still-runs");
    kernel.drain_log_completely();
    loop {
        x86_64::instructions::hlt();
    }
}

/// There is no machine on the host.
#[cfg(not(target_os = "none"))]
pub(crate) fn end(_: &mut Kernel, _: PowerAction) -> ! {
    unreachable!("without a machine there is no method")
}
