//! Whether an IOMMU holds a device: what is tried before its driver has its turn, and what follows from it.

use broker::{Broker, Ledger, Probe, ProbeFailure};

use super::hardware::Hardware;
use crate::platform::pci::Function;
use crate::platform::vtd::Reason;

/// Time between two looks, in nanoseconds.
const LOOK_AGAIN: u64 = 1_000_000;
/// Longest time for the IOMMU to let a device use memory where it is, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// What the IOMMU does for a device that is tried.
pub(super) trait Holder {
    /// Begins; returns a physical page that the device must not reach. `None` while another device is tried.
    fn begin(&mut self) -> Option<u64>;
    /// Whether the device was held, after it was told to write there, and was stopped.
    ///
    /// # Errors
    /// Why it is not believed.
    fn end(&mut self) -> Result<(), Reason>;
    /// Begins to let the device use memory where it is.
    fn release(&mut self);
    /// Begins to have the IOMMU forget what it remembers of the device's domain.
    fn forget(&mut self);
    /// Whether what was begun last has come to pass.
    fn is_settled(&self) -> bool;
    /// Whether the device's unit vouches for it.
    fn vouch(&self) -> Vouch;
}

/// Whether a unit vouches for a device that nobody can try: by having held another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouch {
    /// It has, in this boot.
    Given,
    /// A device behind it is yet to be tried.
    Pending,
    /// It has not, and there is nothing to wait for.
    Refused,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The device is to be tried as soon as it has stopped.
    Due,
    /// Nobody can try it: its unit is to have held another device.
    Waiting,
    /// The broker tries it, with this page.
    Trying(u64),
    /// The broker has; the device is to stop again.
    Tried(Result<(), Reason>),
    /// It is not held, because of this. Until then it may take to let it use memory where it is.
    Releasing(Reason, u64),
    /// It is known, or need not be.
    Known,
}

/// Whether a device is held.
#[derive(Debug)]
pub(super) struct Confinement {
    stage: Stage,
    /// Why it is, or why it is not; `None` until it is known.
    verdict: Option<Reason>,
    /// For a broker of a device that is not held after all: with memory where it is.
    plain: Option<Ledger>,
}

/// What is next for a device that has stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Its driver's turn.
    Ready,
    /// Look again at this time, in nanoseconds.
    Again(u64),
    /// Its broker is to begin anew, with memory where it is ([`Confinement::take_plain`]), and the device to be stopped
    /// first.
    Anew,
    /// It cannot be used.
    Unusable,
}

impl Confinement {
    /// It is known, and this is why.
    pub(super) fn known(reason: Reason) -> Self {
        Self { stage: Stage::Known, verdict: Some(reason), plain: None }
    }

    /// It is to be tried. `plain` is the ledger with memory where it is.
    pub(super) fn to_be_tried(plain: Ledger) -> Self {
        Self { stage: Stage::Due, verdict: None, plain: Some(plain) }
    }

    /// Nobody can try the device, so its unit is to have held another one.
    pub(super) fn to_be_vouched_for() -> Self {
        Self { stage: Stage::Waiting, verdict: None, plain: None }
    }

    /// Why the device is held, or why it is not, once that is known.
    pub(super) fn verdict(&self) -> Option<Reason> {
        self.verdict
    }

    /// Whether nothing is left to be found out.
    pub(super) fn is_known(&self) -> bool {
        self.stage == Stage::Known
    }

    /// The ledger with memory where it is, once.
    pub(super) fn take_plain(&mut self) -> Option<Ledger> {
        self.plain.take()
    }

    /// The device has stopped, or is under quarantine, for good or for now: what was begun is given up, and begins anew
    /// when the device does.
    pub(super) fn give_up(&mut self, holder: &mut impl Holder) {
        if matches!(self.stage, Stage::Trying(_) | Stage::Tried(_)) {
            let _ = holder.end();
            self.stage = Stage::Due;
        }
    }

    /// The time of the broker's next look while it tries the device; `None` if it does not.
    pub(super) fn try_on<B: Broker, F: Function>(
        &mut self,
        broker: &mut B,
        device: &mut Hardware<'_, F>,
        now: u64,
    ) -> Option<u64> {
        let Stage::Trying(outside) = self.stage else { return None };
        match broker.probe(device, outside) {
            Probe::Again(at) => Some(at),
            Probe::Ended(how) => {
                self.stage = Stage::Tried(how.map_err(|failure| match failure {
                    ProbeFailure::Unsupported => Reason::ProbeUnsupported,
                    ProbeFailure::Unanswered => Reason::ProbeUnanswered,
                    ProbeFailure::NotDelivered => Reason::ProbeNotDelivered,
                }));
                Some(now)
            }
        }
    }

    /// Goes on, with the device stopped.
    pub(super) fn go_on(&mut self, holder: &mut impl Holder, now: u64) -> Next {
        match self.stage {
            Stage::Known => Next::Ready,
            Stage::Waiting => {
                let reason = match holder.vouch() {
                    Vouch::Pending => return Next::Again(now + LOOK_AGAIN),
                    Vouch::Given => Reason::UnitProbed,
                    Vouch::Refused => Reason::UnitNotProbed,
                };
                self.verdict = Some(reason);
                self.stage = Stage::Known;
                Next::Again(now)
            }
            Stage::Due => match holder.begin() {
                None => Next::Again(now + LOOK_AGAIN),
                Some(outside) => {
                    self.stage = Stage::Trying(outside);
                    Next::Again(now)
                }
            },
            Stage::Trying(_) => Next::Again(now),
            Stage::Tried(how) => match (holder.end(), how) {
                (Ok(()), Ok(())) => {
                    self.verdict = Some(Reason::ProbePassed);
                    self.stage = Stage::Known;
                    // What is next is for another entry of the kernel, which are bounded.
                    Next::Again(now)
                }
                // What the canary says counts more than why the broker gave up; but what never was written outside
                // cannot have been recorded.
                (Err(Reason::CanaryWritten), _) => self.release(holder, Reason::CanaryWritten, now),
                (_, Err(reason)) | (Err(reason), Ok(())) => self.release(holder, reason, now),
            },
            Stage::Releasing(reason, end) => {
                if holder.is_settled() {
                    self.verdict = Some(reason);
                    self.stage = Stage::Known;
                    Next::Anew
                } else if now >= end {
                    self.verdict = Some(Reason::UnitTimedOut);
                    self.stage = Stage::Known;
                    Next::Unusable
                } else {
                    Next::Again(now + LOOK_AGAIN)
                }
            }
        }
    }

    fn release(&mut self, holder: &mut impl Holder, reason: Reason, now: u64) -> Next {
        holder.release();
        self.stage = Stage::Releasing(reason, now + PATIENCE);
        Next::Again(now)
    }
}
