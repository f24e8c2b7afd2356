//! What this task sees itself, beside what the UEFI application collected.

use core::time::Duration;

use abi::evidence::{ITEMS_MAX, Item, SeenBy, Topic, text};
use abi::system_call::{DeviceInformation, PciAddress};
use classify::controllers::NVME_CLASS;
use protocol::nvme::{Answer, Controller, NAMESPACES_MAX, Request};
use task::{Call, CallError, Deadline, Device, Evidence, Inbox, Instant, Log, abi, log};

/// Everything that was seen: what was collected, then of each granted controller its function, itself and its namespaces.
pub type Items = heapless::Vec<Item, { ITEMS_MAX + 2 * NAMESPACES_MAX + 16 }>;

/// How long the driver may take to bring its controller up: the longest that a controller may ask for is 127.5 s (NVMe
/// base 2.0, CAP.TO).
const START: Duration = Duration::from_secs(150);

/// How long to wait for a driver that has stopped, and how long between two looks for it.
const RETURN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// Adds an item. Where there is no more room, the last one says so.
fn add(items: &mut Items, item: Item) {
    if items.push(item).is_err()
        && let Some(last) = items.last_mut()
    {
        *last = unavailable(Topic::Identify, None, "more evidence than there was room for");
    }
}

fn unavailable(topic: Topic, address: Option<PciAddress>, reason: &str) -> Item {
    Item::Unavailable { topic, address, reason: text(reason.as_bytes()) }
}

/// Adds what the UEFI application collected, or why there is none of it.
pub fn machine(evidence: Option<Evidence>, items: &mut Items) {
    let none = |items: &mut Items, reason| {
        for topic in Topic::ALL {
            add(items, unavailable(*topic, None, reason));
        }
    };
    match evidence.map(|evidence| evidence.open()) {
        None => none(items, "the charter does not grant evidence"),
        Some(Err(_)) => none(items, "the UEFI application collected no evidence of this version"),
        Some(Ok(evidence)) => {
            evidence.items().take(ITEMS_MAX).for_each(|item| add(items, item));
            if evidence.left_out() > 0 {
                add(items, unavailable(Topic::Identify, None, "more evidence than there was room for"));
            }
        }
    }
}

/// Adds what a granted controller is now, and what its driver says of it. What keeps it from being one goes to the log,
/// with the name of its grant.
pub fn controller(
    grant: &str,
    device: Device,
    driver: Option<Call>,
    items: &mut Items,
    log: Log,
) -> Result<(), abi::Error> {
    // The driver answers once the controller is up, or will never be: what is asked of the device after that, stands.
    let controller = driver.ok_or("not-granted").and_then(ask);
    let DeviceInformation { present, enabled, vendor, device, class, address, .. } = device.information()?;
    if !present {
        log!(log, "cloud shape none reason=no-controller grant={grant}");
        return Ok(());
    }
    let (bound, seen_by) = (enabled && controller.is_ok(), SeenBy::Bus);
    add(items, Item::Function { seen_by, address, vendor, device, subsystem: None, class, bound });
    if class != NVME_CLASS {
        let (class, subclass, interface) = class;
        log!(
            log,
            "cloud shape none reason=not-nvme grant={grant} class={class:#04x} subclass={subclass:#04x} \
             prog_if={interface:#04x}"
        );
        return Ok(());
    }
    match controller {
        Ok((driver, Controller { model, serial, firmware, namespaces, .. })) => {
            add(items, Item::Controller { seen_by, address, model, serial, firmware, namespaces });
            self::namespaces(driver, address, items);
        }
        Err(reason) => {
            log!(log, "cloud shape of an unbound controller reason={reason} grant={grant}");
            add(items, unavailable(Topic::Identify, Some(address), reason));
        }
    }
    Ok(())
}

/// What the driver says of its controller.
fn ask(driver: Call) -> Result<(Call, Controller), &'static str> {
    let end = Instant::now().plus(RETURN);
    loop {
        return match driver.call_borrowed(&Request::Controller, Deadline::after(START), &mut Inbox::new()) {
            // It may be started again.
            Err(CallError::Kernel(abi::Error::DeadPeer)) if Instant::now() < end => {
                // Whatever ends it, the driver is asked.
                let _ = task::wait(Deadline::after(PAUSE));
                continue;
            }
            Ok(Answer::Controller(controller)) => Ok((driver, controller)),
            Ok(Answer::NoController) => Err("no-controller"),
            Ok(_) | Err(CallError::Malformed(_) | CallError::TooLong(_)) => Err("malformed"),
            Err(CallError::Kernel(abi::Error::DeadPeer)) => Err("dead-peer"),
            Err(CallError::Kernel(abi::Error::TimedOut)) => Err("timed-out"),
            Err(CallError::Kernel(abi::Error::Denied)) => Err("denied"),
            Err(CallError::Kernel(abi::Error::Invalid | abi::Error::Busy)) => Err("refused"),
        };
    }
}

fn namespaces(driver: Call, address: PciAddress, items: &mut Items) {
    match driver.call_borrowed(&Request::Namespaces, Deadline::after(START), &mut Inbox::new()) {
        Ok(Answer::Namespaces(namespaces)) => {
            for namespace in namespaces {
                let protocol::nvme::Namespace { nsid, blocks, block_bytes, .. } = namespace;
                // The driver does not tell the vendor area.
                let (seen_by, vendor_area) = (SeenBy::Bus, text(&[]));
                add(items, Item::Namespace { seen_by, address, nsid, blocks, block_bytes, vendor_area });
            }
        }
        _ => add(items, unavailable(Topic::Identify, Some(address), "the driver tells no namespaces")),
    }
}
