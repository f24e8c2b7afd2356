//! Two Identify commands by which the kernel finds out whether remapping holds the controller: the first to a page in
//! hidden memory, the second to one outside of all that the controller may reach.
//!
//! They are the broker's own, before the driver has its turn: what they show depends on no task. The kernel stops the
//! controller afterwards and then looks what became of the second page.

use broker::{Device, Probe, ProbeFailure};
use nvme_spec::SubmissionEntry;
use nvme_spec::identify::Structure;
use nvme_spec::registers::{CAP, CSTS, Capabilities, ControllerStatus};

use crate::NvmeBroker;
use crate::layout::{PAGE, admin_page};

/// Time between two looks, in nanoseconds.
const LOOK_AGAIN: u64 = 1_000_000;
/// Longest time for an Identify, in nanoseconds. One whose data cannot be delivered may never end.
const PATIENCE: u64 = 1_000_000_000;
/// What the first page holds before. Identify Controller begins with two vendor identifiers, a serial number and a model:
/// text.
const PATTERN: [u8; 64] = [0xa5; 64];

/// How far it has come. Times are deadlines in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing was done.
    Begin,
    /// It was enabled.
    AwaitReady(u64),
    /// The first Identify is under way.
    Inside(u64),
    /// The second is.
    Outside(u64),
}

impl NvmeBroker {
    /// One look; see [`broker::Broker::probe`].
    pub(crate) fn probe_step(&mut self, device: &mut impl Device, outside: u64) -> Probe {
        let now = device.now();
        let next = match self.probe {
            Step::Begin => {
                if self.write_register(device, nvme_spec::registers::CC, 4, 1).is_err() {
                    return self.end_probe(Err(ProbeFailure::Unanswered));
                }
                let timeout = Capabilities(device.read_u64(CAP)).timeout();
                Step::AwaitReady(now.saturating_add(timeout.as_nanos() as u64))
            }
            Step::AwaitReady(deadline) => match self.takes_commands(device) {
                Ok(()) => {
                    for offset in (0..PAGE).step_by(PATTERN.len()) {
                        device.write_hidden(admin_page(0) + offset, &PATTERN);
                    }
                    self.identify_to(device, self.ledger.hidden + u64::from(admin_page(0)));
                    Step::Inside(now.saturating_add(PATIENCE))
                }
                Err(_) if now >= deadline => return self.end_probe(Err(ProbeFailure::Unanswered)),
                Err(_) => self.probe,
            },
            Step::Inside(deadline) => match self.admin.queue.take(device) {
                Some(_) => {
                    self.admin.queue.ring_head(device);
                    let mut bytes = PATTERN;
                    device.read_hidden(admin_page(0), &mut bytes);
                    if bytes == PATTERN {
                        return self.end_probe(Err(ProbeFailure::NotDelivered));
                    }
                    self.identify_to(device, outside);
                    Step::Outside(now.saturating_add(PATIENCE))
                }
                None if now >= deadline => return self.end_probe(Err(ProbeFailure::Unanswered)),
                None => self.probe,
            },
            Step::Outside(deadline) => {
                let status = ControllerStatus::from_bits_retain(device.read_u32(CSTS));
                let failed = status.contains(ControllerStatus::FATAL);
                // However it takes it: what counts is what the IOMMU did.
                if self.admin.queue.take(device).is_some() || failed || now >= deadline {
                    return self.end_probe(Ok(()));
                }
                self.probe
            }
        };
        self.probe = next;
        Probe::Again(now.saturating_add(LOOK_AGAIN))
    }

    fn end_probe(&mut self, how: Result<(), ProbeFailure>) -> Probe {
        self.probe = Step::Begin;
        Probe::Ended(how)
    }

    fn identify_to(&mut self, device: &mut impl Device, address: u64) {
        let entry = SubmissionEntry::identify(0, Structure::Controller, 0).with_data(address, 0);
        self.admin.queue.push_entry(device, &entry);
        self.admin.queue.ring_tail(device);
    }
}
