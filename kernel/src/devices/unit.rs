//! One device and its broker: what state it is in, and who gets through to the broker in which.

use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use broker::{Broker, Progress, Submitted};

use super::confinement::{Confinement, Holder, Next};
use super::hardware::{Hardware, Parts};
use super::lane::{self, Facts, HandOver, Step};
use super::{Because, Refusal};
use crate::log;
use crate::platform::pci::Function;
use crate::platform::vtd::Reason;
use abi::package::{LIMITS_MAX, Limit};
use heapless::Vec;

/// A device's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum State {
    /// No function matched the selector.
    Absent,
    /// A function matched but has no registers that can be used; its bus mastering stays off.
    Unusable,
    /// It is made to stop what firmware left it doing.
    Starting,
    /// Its driver may use it.
    Running,
    /// Its driver has stopped, and it is made to stop as well.
    Stopping,
    /// It has stopped after its driver and knows no address any more.
    Stopped,
    /// It did not stop in its time: neither it nor its regions are used again before power-off.
    Quarantined,
    /// The charter requires remapping for it, and there is none that holds; its bus mastering stays off.
    Unconfined,
}

impl core::fmt::Display for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Unusable => "unusable",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Quarantined => "quarantined",
            Self::Unconfined => "unconfined",
        })
    }
}

/// A device with a broker of type `B`.
#[derive(Debug)]
pub(super) struct Unit<B> {
    state: State,
    /// Its driver gets through to the broker: it runs, and its lane is brokered. Asked in each call.
    is_open: bool,
    broker: B,
    parts: Parts,
    confinement: Confinement,
    /// Whether it may be used only if it is held.
    must_be_held: bool,
    lane: LaneChoice,
}

/// Which lane its commands take.
#[derive(Debug)]
pub(super) struct LaneChoice {
    /// What the charter grants.
    pub(super) limits: Vec<Limit, LIMITS_MAX>,
    /// Bytes of registers that could be mapped into its driver.
    pub(super) own_pages: u32,
    /// Bytes of registers that are, if it is direct, or why it is brokered; `None` until it is known that it is held.
    chosen: Option<Result<u32, lane::Reason>>,
    hand_over: HandOver,
}

impl LaneChoice {
    /// Nothing was chosen.
    pub(super) const fn new(limits: Vec<Limit, LIMITS_MAX>, own_pages: u32) -> Self {
        Self { limits, own_pages, chosen: None, hand_over: HandOver::Begin }
    }
}

impl<B: Broker> Unit<B>
where
    Because: From<Wrapped<B::Reason>>,
{
    /// A device whose bus mastering is off; it is made to stop first of all.
    pub(super) fn new(broker: B, parts: Parts, confinement: Confinement, must_be_held: bool, lane: LaneChoice) -> Self {
        Self { state: State::Starting, is_open: false, broker, parts, confinement, must_be_held, lane }
    }

    /// Bytes of registers that its driver has mapped, or why it has none; `None` where it is not known, and where there is
    /// no choice.
    pub(super) fn lane(&self) -> Option<Result<u32, lane::Reason>> {
        self.lane.chosen
    }

    /// Why an IOMMU holds it, or why not, once that is known.
    pub(super) fn verdict(&self) -> Option<Reason> {
        self.confinement.verdict()
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_enabled(&mut self, function: &mut impl Function) -> bool {
        let is_on = match self.lane.chosen {
            Some(Ok(_)) => self.broker.is_on(&mut Hardware::new(function, &mut self.parts)),
            _ => self.broker.is_enabled(),
        };
        self.state == State::Running && is_on
    }

    /// The broker and the device that it may use, if the driver may.
    #[inline(always)]
    fn open<'a, F: Function>(&'a mut self, function: &'a mut F) -> Result<(&'a mut B, Hardware<'a, F>), Refusal> {
        if !self.is_open {
            return Err(self.why_closed());
        }
        Ok((&mut self.broker, Hardware::new(function, &mut self.parts)))
    }

    #[cold]
    fn why_closed(&self) -> Refusal {
        match self.state {
            State::Running => Because::Direct.into(),
            state => Because::State(state).into(),
        }
    }

    pub(super) fn read(&mut self, function: &mut impl Function, offset: u64, bytes: u64) -> Result<u64, Refusal> {
        let (broker, mut device) = self.open(function)?;
        broker.read(&mut device, narrow(offset)?, narrow(bytes)?).map_err(wrap)
    }

    pub(super) fn write(
        &mut self,
        function: &mut impl Function,
        offset: u64,
        bytes: u64,
        value: u64,
    ) -> Result<(), Refusal> {
        let (broker, mut device) = self.open(function)?;
        broker.write(&mut device, narrow(offset)?, narrow(bytes)?, value).map_err(wrap)
    }

    #[inline(always)]
    pub(super) fn submit(
        &mut self,
        function: &mut impl Function,
        queue: u64,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Because> {
        let outcome = self
            .open(function)
            .and_then(|(broker, mut device)| Ok(broker.submit(&mut device, narrow(queue)?, commands)));
        match outcome {
            Ok(submitted) => Submitted { accepted: submitted.accepted, refused: submitted.refused.map(wrap) },
            Err(refusal) => Submitted { accepted: 0, refused: Some(refusal) },
        }
    }

    /// What the device completed that nobody asked of it is logged: dropped by the broker, it tells of a device that
    /// cannot be trusted. Only the first of each power of two, because a device can do this without end.
    #[inline(always)]
    pub(super) fn complete(
        &mut self,
        name: &str,
        function: &mut impl Function,
        queue: u64,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Refusal> {
        let before = self.broker.anomalies();
        let (broker, mut device) = self.open(function)?;
        let taken = broker.complete(&mut device, narrow(queue)?, completions).map_err(wrap);
        if self.broker.anomalies() != before {
            self.tell_anomalies(name, before);
        }
        taken
    }

    #[cold]
    fn tell_anomalies(&self, name: &str, before: u64) {
        let anomalies = self.broker.anomalies();
        if anomalies.checked_ilog2() != before.checked_ilog2() {
            crate::log!("dma", "completions dropped device={name} count={anomalies}");
        }
    }

    pub(super) fn collect(
        &mut self,
        function: &mut impl Function,
        queue: u64,
        identifier: u64,
        data: &mut [u8],
    ) -> Result<usize, Refusal> {
        let (broker, mut device) = self.open(function)?;
        broker.collect(&mut device, narrow(queue)?, narrow(identifier)?, data).map_err(wrap)
    }

    /// The driver is gone. A device under quarantine stays there.
    pub(super) fn stop(&mut self) {
        if matches!(self.state, State::Starting | State::Running) {
            self.set_state(State::Stopping);
            // What was drained before the device was handed over says nothing of what it has sent since.
            if matches!(self.lane.hand_over, HandOver::Zeroing(_)) {
                self.lane.hand_over = HandOver::Begin;
            }
        }
    }

    /// Its driver runs again and may use it, if it has stopped: then it knows no address any more. One whose driver
    /// died before it was known whether an IOMMU holds it is yet to be tried.
    pub(super) fn restart(&mut self) {
        if self.state == State::Stopped {
            // What is driven directly is handed over anew.
            let is_ready = self.confinement.is_known() && !matches!(self.lane.chosen, Some(Ok(_)));
            self.set_state(if is_ready { State::Running } else { State::Starting });
        }
    }

    /// The next step of making the device stop, if it is to; when to come again.
    pub(super) fn service(
        &mut self,
        name: &str,
        function: &mut impl Function,
        holder: &mut impl Holder,
        now: u64,
    ) -> Option<u64> {
        match self.state {
            State::Starting => {
                let mut device = Hardware::new(function, &mut self.parts);
                // A time that has passed already must not keep the kernel from everything else.
                if let Some(again) = self.confinement.try_on(&mut self.broker, &mut device, now) {
                    return Some(again.max(now.saturating_add(1)));
                }
            }
            State::Stopping => {}
            _ => return None,
        }
        match self.broker.quiesce(&mut Hardware::new(function, &mut self.parts)) {
            // A time that has passed already must not keep the kernel from everything else.
            Progress::Again(time) => Some(time.max(now.saturating_add(1))),
            Progress::Done => {
                if self.state == State::Starting {
                    return self.go_on(name, function, holder, now);
                }
                if !B::SEES_STOP {
                    match self.lane.hand_over.drain(holder, now) {
                        Step::Again(at) => return Some(at.max(now.saturating_add(1))),
                        Step::Done => {}
                        Step::Failed => return self.never_forgotten(name),
                    }
                }
                self.confinement.give_up(holder);
                self.lane.hand_over = HandOver::Begin;
                self.set_state(State::Stopped);
                log!("charter", "device stopped name={name}");
                None
            }
            Progress::Failed => {
                self.confinement.give_up(holder);
                function.set_bus_mastering(false);
                self.set_state(State::Quarantined);
                log!("charter", "device quarantined name={name} because=\"it did not stop in its time\"");
                None
            }
        }
    }
}

impl<B: Broker> Unit<B> {
    /// It has stopped whatever it did: what is next before its driver's turn.
    #[cold]
    #[inline(never)]
    fn go_on<F: Function>(&mut self, name: &str, function: &mut F, holder: &mut impl Holder, now: u64) -> Option<u64> {
        match self.confinement.go_on(holder, now) {
            Next::Again(at) => return Some(at.max(now.saturating_add(1))),
            Next::Anew => match self.confinement.take_plain() {
                Some(ledger) => {
                    self.broker = B::new(ledger);
                    return Some(now.saturating_add(1));
                }
                None => self.set_state(State::Unusable),
            },
            Next::Unusable => self.set_state(State::Unusable),
            Next::Ready if self.must_be_held && self.verdict_is_less() => self.set_state(State::Unconfined),
            Next::Ready if self.verdict_is_less() => self.set_state(State::Running),
            Next::Ready => return self.hand_over(name, function, holder, now),
        }
        None
    }

    /// It is held and has stopped: its lane is chosen, once, and if that is the direct one, it is handed over.
    fn hand_over<F: Function>(
        &mut self,
        name: &str,
        function: &mut F,
        holder: &mut impl Holder,
        now: u64,
    ) -> Option<u64> {
        let ring_bytes = B::HIDDEN_BYTES;
        let mut device = Hardware::new(function, &mut self.parts);
        let LaneChoice { limits, own_pages, chosen, hand_over } = &mut self.lane;
        let chosen = *chosen.get_or_insert_with(|| {
            let needed = self.broker.direct_registers(&mut device);
            lane::choose(&Facts { limits, own_pages: *own_pages, needed, ring_bytes })
        });
        if chosen.is_ok() {
            match hand_over.go_on(&mut device, ring_bytes, holder, now) {
                Step::Again(at) => return Some(at.max(now.saturating_add(1))),
                Step::Done => {}
                Step::Failed => return self.never_forgotten(name),
            }
        } else if !B::SEES_STOP {
            // Nothing reads its commands, and its driver cannot have its registers.
            log!("charter", "device unusable name={name} because=\"it has no broker and its lane is not direct\"");
            self.set_state(State::Unusable);
            return None;
        }
        self.set_state(State::Running);
        None
    }

    /// Its lane, if there is a choice, was chosen before it runs.
    fn set_state(&mut self, state: State) {
        self.state = state;
        self.is_open = state == State::Running && !matches!(self.lane.chosen, Some(Ok(_)));
    }

    /// What the device had on its way may still arrive.
    fn never_forgotten(&mut self, name: &str) -> Option<u64> {
        self.set_state(State::Quarantined);
        log!("charter", "device quarantined name={name} because=\"the IOMMU did not forget in its time\"");
        None
    }

    fn verdict_is_less(&self) -> bool {
        !self.confinement.verdict().is_some_and(Reason::is_held)
    }
}

/// A number from a task's register, if it fits where it belongs.
fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, Refusal> {
    T::try_from(value).map_err(|_| Because::Argument.into())
}

/// A broker's own reason, on its way into [`Because`].
pub(super) struct Wrapped<R>(pub(super) R);

fn wrap<R>(refusal: broker::Refusal<R>) -> Refusal
where
    Because: From<Wrapped<R>>,
{
    broker::Refusal { error: refusal.error, because: Wrapped(refusal.because).into() }
}

#[cfg(test)]
mod tests;
