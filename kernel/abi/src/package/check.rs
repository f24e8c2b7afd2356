//! What must hold between the items of a package, so that the kernel need not ask again.

use super::*;

fn wrong(item: &'static str, index: usize, what: &'static str) -> PackageError {
    PackageError::Inconsistent { item, index: index as u16, what }
}

fn name_is_good(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_pages(bytes: u64) -> bool {
    bytes != 0 && bytes.is_multiple_of(layout::PAGE_BYTES)
}

pub(super) fn contents(contents: &Contents<'_>) -> Result<(), PackageError> {
    let limits = [
        (contents.tasks, TASKS_MAX, "too many tasks"),
        (contents.endpoints, ENDPOINTS_MAX, "too many endpoints"),
        (contents.devices, DEVICES_MAX, "too many devices"),
        (contents.regions, REGIONS_MAX, "too many regions"),
    ];
    for (count, most, what) in limits {
        if usize::from(count) > most {
            return Err(wrong("contents", 0, what));
        }
    }
    if contents.tasks == 0 { Err(wrong("contents", 0, "no tasks")) } else { Ok(()) }
}

pub(super) fn items(package: &Package<'_>) -> Result<(), PackageError> {
    for (index, region) in package.regions().enumerate() {
        if !name_is_good(region.name) {
            return Err(wrong("region", index, "name"));
        }
        if !is_pages(region.bytes) || region.bytes > layout::WINDOW_STRIDE {
            return Err(wrong("region", index, "size"));
        }
    }
    let mut regions_used = 0u64;
    for (index, item) in package.devices().enumerate() {
        device(package, index, &item)?;
        for region in &item.regions {
            if regions_used & (1 << region) != 0 {
                return Err(wrong("device", index, "region of another device"));
            }
            regions_used |= 1 << region;
        }
    }
    let mut owners = Owners::default();
    for (index, item) in package.tasks().enumerate() {
        task(package, index, &item, &mut owners)?;
    }
    Ok(())
}

fn device(package: &Package<'_>, index: usize, device: &Device<'_>) -> Result<(), PackageError> {
    let fail = |what| Err(wrong("device", index, what));
    if !name_is_good(device.name) {
        return fail("name");
    }
    let selector = device.selector;
    if selector.class.is_none() && selector.vendor.is_none() && selector.address.is_none() {
        return fail("selector matches everything");
    }
    if selector.address.is_some_and(|address| address.device > 31 || address.function > 7) {
        return fail("address");
    }
    if device.bar > 5 {
        return fail("BAR");
    }
    if device.broker == BrokerKind::None {
        // Nobody reads its commands: neither without remapping, nor to hold it to a part.
        if device.remapping != RemappingPolicy::Require {
            return fail("neither a broker nor remapping required");
        }
        if !device.limits.iter().all(Limit::is_whole_device) {
            return fail("limits and no broker");
        }
    }
    if device.limits.is_empty() {
        return fail("no limits");
    }
    if device.limits.iter().any(|limit| !limit.commands.is_good()) {
        return fail("commands of a limit");
    }
    if device.regions.iter().any(|region| *region >= package.contents.regions) {
        return fail("unknown region");
    }
    for (position, vector) in device.vectors.iter().enumerate() {
        if *vector > 2047 || device.vectors[..position].contains(vector) {
            return fail("vector");
        }
    }
    Ok(())
}

/// What only one task may hold.
#[derive(Default)]
struct Owners {
    receives: u64,
    registers: u64,
    console: u64,
    /// Tasks that are watched over.
    watched: u64,
}

fn task(package: &Package<'_>, index: usize, task: &Task<'_>, owners: &mut Owners) -> Result<(), PackageError> {
    let fail = |what| Err(wrong("task", index, what));
    if !name_is_good(task.name) || !task.log_names.iter().all(|name| name_is_good(name)) {
        return fail("name");
    }
    if task.priority > PRIORITY_MAX {
        return fail("priority");
    }
    if !is_pages(task.stack_bytes) || task.stack_bytes > layout::STACK_BYTES_MAX {
        return fail("stack");
    }
    if task.start_info.is_empty() || task.start_info.len() as u64 > layout::START_INFO_BYTES_MAX {
        return fail("start information");
    }
    segments(task).or_else(fail)?;
    windows(package, task).or_else(fail)?;
    for capability in &task.capabilities {
        self::capability(package, task, *capability, owners).or_else(fail)?;
    }
    Ok(())
}

fn segments(task: &Task<'_>) -> Result<(), &'static str> {
    let mut end = layout::PROGRAM_START;
    let mut entry_is_code = false;
    for segment in &task.segments {
        let last = segment.address.checked_add(segment.bytes).ok_or("segment")?;
        if !segment.address.is_multiple_of(layout::PAGE_BYTES) || segment.address < end || last > layout::PROGRAM_END {
            return Err("segment's place");
        }
        if segment.bytes == 0 || segment.data.len() as u64 > segment.bytes {
            return Err("segment's size");
        }
        entry_is_code |= segment.access == Access::ReadExecute && (segment.address..last).contains(&task.entry);
        end = last.next_multiple_of(layout::PAGE_BYTES);
    }
    if entry_is_code { Ok(()) } else { Err("entry is not in code") }
}

fn windows(package: &Package<'_>, task: &Task<'_>) -> Result<(), &'static str> {
    for (position, window) in task.windows.iter().enumerate() {
        let region = package.regions().nth(window.region.into()).ok_or("window of an unknown region")?;
        let end = window.offset.checked_add(window.bytes).ok_or("window")?;
        if !is_pages(window.bytes) || !window.offset.is_multiple_of(layout::PAGE_BYTES) || end > region.bytes {
            return Err("window beyond its region");
        }
        if window.address != layout::WINDOW_START + position as u64 * layout::WINDOW_STRIDE {
            return Err("window's place");
        }
    }
    Ok(())
}

fn capability(
    package: &Package<'_>,
    task: &Task<'_>,
    capability: Capability,
    owners: &mut Owners,
) -> Result<(), &'static str> {
    let contents = package.contents();
    match capability {
        Capability::Call { endpoint, .. } if endpoint >= contents.endpoints => Err("call to an unknown endpoint"),
        Capability::Receive { endpoint } if endpoint >= contents.endpoints => Err("receive on an unknown endpoint"),
        Capability::Receive { endpoint } => take(&mut owners.receives, endpoint, "endpoint received on by two"),
        Capability::Signal { task, bits } if task >= contents.tasks || bits >> 63 != 0 || bits == 0 => Err("signal"),
        Capability::Registers { device } if device >= contents.devices => Err("registers of an unknown device"),
        Capability::Registers { device } => take(&mut owners.registers, device, "registers granted to two"),
        Capability::Interrupt { device, vector, bits } => {
            let device = package.devices().nth(device.into()).ok_or("interrupt of an unknown device")?;
            if !device.vectors.contains(&vector) {
                return Err("interrupt that the device does not grant");
            }
            if bits >> 63 != 0 || bits == 0 { Err("interrupt's bits") } else { Ok(()) }
        }
        Capability::DeviceInformation { device } if device >= contents.devices => Err("unknown device"),
        Capability::Console { bits } if bits >> 63 != 0 || bits == 0 => Err("console's bits"),
        Capability::Console { .. } => take(&mut owners.console, 0, "console granted to two"),
        Capability::Supervise { task: watched, bits, .. } => {
            let other = package.tasks().nth(watched.into()).ok_or("supervision of an unknown task")?;
            if bits >> 63 != 0 || bits == 0 {
                return Err("supervision's bits");
            }
            if other.priority >= task.priority {
                return Err("supervision of a task that is not below");
            }
            if other.capabilities.iter().any(|own| matches!(own, Capability::Supervise { .. })) {
                return Err("supervision of a supervisor");
            }
            take(&mut owners.watched, watched, "task watched over by two")
        }
        Capability::Kill { task } if task >= contents.tasks => Err("kill of an unknown task"),
        Capability::Log { name } if usize::from(name) >= task.log_names.len() => Err("unknown log name"),
        _ => Ok(()),
    }
}

fn take(owned: &mut u64, index: u16, what: &'static str) -> Result<(), &'static str> {
    let bit = 1 << index;
    if *owned & bit != 0 {
        return Err(what);
    }
    *owned |= bit;
    Ok(())
}
